//! Storage over HTTP goes through our own client: no second HTTP stack and no second TLS are in the program.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use http_body_util::BodyExt;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpResponseBody, HttpService,
};
use pawang_http::{Error, Patience, Pool};

/// How long each step of a request to a store may take; a piece of some MiB is sent within the answer's time.
const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(10),
    answer: Duration::from_secs(120),
    piece: Duration::from_secs(30),
};

/// Makes the client of a store.
#[derive(Debug)]
pub(super) struct Connector {
    /// Certificates that are trusted besides those of the system.
    pub(super) certificates: Option<PathBuf>,
    /// How long the head of an answer may take, where it is not the usual time.
    pub(super) answer: Option<Duration>,
}

#[derive(Debug)]
struct Service {
    pool: Pool<HttpRequestBody>,
}

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        let patience = Patience {
            answer: self.answer.unwrap_or(PATIENCE.answer),
            ..PATIENCE
        };
        let pool = Pool::new(patience, self.certificates.as_deref()).map_err(|error| {
            object_store::Error::Generic {
                store: "S3",
                source: Box::new(error),
            }
        })?;
        Ok(HttpClient::new(Service { pool }))
    }
}

// The expansion of `#[async_trait]`, which the trait is written with.
impl HttpService for Service {
    fn call<'service, 'call>(
        &'service self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'call>>
    where
        'service: 'call,
        Self: 'call,
    {
        Box::pin(async move {
            let response = self.pool.call(request).await.map_err(http_error)?;
            Ok(response.map(|flow| HttpResponseBody::new(flow.map_err(http_error))))
        })
    }
}

/// What is tried again depends on the kind. A request whose answer got lost may have been done: whoever writes here either
/// writes the same again, or looks at what is there when it exists already.
fn http_error(error: Error) -> HttpError {
    let kind = match &error {
        Error::Name { .. } | Error::Connect { .. } => HttpErrorKind::Connect,
        Error::Timeout { .. } => HttpErrorKind::Timeout,
        Error::Broken { .. } => HttpErrorKind::Request,
        Error::Tls { certificate, .. } if !certificate => HttpErrorKind::Connect,
        Error::Tls { .. } | Error::Address { .. } | Error::Certificates { .. } => {
            HttpErrorKind::Unknown
        }
    };
    HttpError::new(kind, error)
}
