//! From request to answer: who asks, whether they may, what they get, and what every answer carries.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{RawPathParams, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LINK, VARY};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, Uri};
use axum::middleware::{Next, from_fn};
use axum::routing::{MethodFilter, on};
use pawang_core::Timestamp;
use pawang_store::state::{Entry, Permission};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::drawn::Key;
use super::{Peer, Shared, blocking, compress, headers};
use crate::auth::{self, Actor};
use crate::layout;
use crate::page::{Page, Visit, range};
use crate::problem::Problem;
use crate::routes::{self, Answer, Arguments, Kind, Look, Render, Reply, Route, Run, Verb};

/// Longest path and parameters of a request; longer ones are answered 414.
const URI_BYTES_MAX: usize = 8 << 10;
/// Most parameters of an address.
const PARAMETERS_MAX: usize = 100;
/// Longest form; longer ones are answered 413.
pub(crate) const FORM_BYTES_MAX: usize = 16 << 10;
/// How long a form may take to arrive.
const FORM_TIME_MAX: Duration = Duration::from_secs(10);

/// One request on its way to its answer.
pub(crate) struct Call {
    /// What all requests share.
    pub shared: Arc<Shared>,
    /// Which of our routes it is.
    pub route: &'static Route,
    /// The parts of the path that vary.
    pub arguments: Arguments,
    /// The parameters of the address.
    pub query: Vec<(String, String)>,
    /// The fields of the form, or of a JSON object in its place.
    pub form: Vec<(String, String)>,
    /// The body as it came, where it is JSON.
    pub content: Bytes,
    /// The head of the request.
    pub headers: HeaderMap,
    /// The address that is asked.
    pub uri: Uri,
    /// From where.
    pub address: IpAddr,
    /// When.
    pub now: Timestamp,
    /// Who; `None` on routes that strangers may ask.
    pub actor: Option<Actor>,
}

/// Returns the router of all routes.
pub(crate) fn router(shared: &Arc<Shared>) -> Router {
    let mut router = Router::new();
    for route in routes::all() {
        let shared = Arc::clone(shared);
        let handler = async move |arguments: RawPathParams, request: Request| {
            let arguments = arguments.iter();
            let arguments = arguments.map(|(name, value)| (name.to_owned(), value.to_owned()));
            answer(shared, route, Arguments(arguments.collect()), request).await
        };
        let filter = match route.method {
            Verb::Get => MethodFilter::GET,
            Verb::Post => MethodFilter::POST,
        };
        router = router.route(route.path, on(filter, handler));
    }
    let shared = Arc::clone(shared);
    router
        .fallback(async |uri: Uri| refusal(&Problem::not_found("such page"), people(&uri)))
        .method_not_allowed_fallback(async |uri: Uri| {
            let problem = Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "the address does not take this method",
            );
            refusal(&problem, people(&uri))
        })
        .layer(from_fn(move |request: Request, next: Next| {
            let shared = Arc::clone(&shared);
            async move { guard(&shared, request, next).await }
        }))
}

/// Looks at every request before it is routed, and at every answer before it leaves.
async fn guard(shared: &Shared, request: Request, next: Next) -> Response<Body> {
    let settings = &shared.site.settings;
    let uri = request.uri().clone();
    let method = request.method().clone();
    let length = uri.path_and_query().map_or(0, |path| path.as_str().len());
    let checked = if length > URI_BYTES_MAX {
        Err(Problem::new(
            StatusCode::URI_TOO_LONG,
            format!("the address is longer than {URI_BYTES_MAX} bytes"),
        ))
    } else {
        headers::check_host(request.headers(), &uri, settings)
    };
    let mut response = match checked {
        Ok(()) => next.run(request).await,
        Err(problem) => refusal(&problem, people(&uri)),
    };
    headers::secure(response.headers_mut(), settings);
    tracing::debug!(%method, path = uri.path(), status = response.status().as_u16(), "answered");
    response
}

async fn answer(
    shared: Arc<Shared>,
    route: &'static Route,
    arguments: Arguments,
    request: Request,
) -> Response<Body> {
    let for_people = route.kind == Kind::Page;
    let call = match prepare(Arc::clone(&shared), route, arguments, request).await {
        Ok(call) => call,
        Err(Refused::Problem(problem)) => return refusal(&problem, for_people),
        Err(Refused::SignIn(path)) => return auth::redirect(&path),
    };
    let response = respond(Arc::new(call)).await;
    if route.action.is_some() {
        shared.pages.clear();
    }
    response.unwrap_or_else(|problem| refusal(&problem, for_people))
}

/// Why a request gets no further.
enum Refused {
    Problem(Problem),
    SignIn(String),
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Refused {
        Refused::Problem(problem)
    }
}

/// Finds out who asks and whether they may.
async fn prepare(
    shared: Arc<Shared>,
    route: &'static Route,
    arguments: Arguments,
    request: Request,
) -> Result<Call, Refused> {
    let (parts, body) = request.into_parts();
    let peer = parts.extensions.get::<Peer>().map(|peer| peer.0.ip());
    let peer = peer.unwrap_or(IpAddr::from([0, 0, 0, 0]));
    let mut call = Call {
        address: shared.address(&parts.headers, peer),
        now: (shared.site.now)(),
        query: pairs(parts.uri.query().unwrap_or_default().as_bytes())?,
        form: Vec::new(),
        content: Bytes::new(),
        headers: parts.headers,
        uri: parts.uri,
        actor: None,
        shared,
        route,
        arguments,
    };
    if let Some(needed) = route.needs {
        call.actor = identify(&call).await?;
        admit(&call, needed).await?;
    }
    if route.action.is_some() {
        let body = body_of(&call.headers, body, route.body_bytes_max).await?;
        (call.form, call.content) = match is_json(&call.headers) {
            true => (fields(&body)?, body),
            false => (pairs(&body)?, Bytes::new()),
        };
    }
    if let (Some(_), Some(actor)) = (route.action, &call.actor)
        && let Err(problem) = auth::check(&call.headers, &call.uri, &call.form, actor)
    {
        call.journal_refusal(&call.object(), &problem.report.primary)
            .await;
        return Err(problem.into());
    }
    Ok(call)
}

async fn identify(call: &Call) -> Result<Option<Actor>, Problem> {
    let (shared, headers) = (Arc::clone(&call.shared), call.headers.clone());
    let (address, now) = (call.address, call.now);
    blocking(move || auth::identify(&shared, &headers, address, now)).await
}

/// Lets in whoever may.
async fn admit(call: &Call, needed: Permission) -> Result<(), Refused> {
    let Some(actor) = &call.actor else {
        if call.route.action.is_some() {
            call.journal_refusal(&call.object(), "nobody has signed in")
                .await;
        } else if call.route.kind == Kind::Page {
            return Err(Refused::SignIn(sign_in_path(&call.uri)));
        }
        return Err(
            Problem::new(StatusCode::UNAUTHORIZED, "nobody has signed in")
                .with_hint(
                    "programs send \"Authorization: Bearer TOKEN\": pawang token create NAME",
                )
                .into(),
        );
    };
    if actor.permission() >= needed {
        return Ok(());
    }
    let why = format!("needs the permission \"{}\"", permission_name(needed));
    if call.route.action.is_some() {
        call.journal_refusal(&call.object(), &why).await;
    }
    Err(Problem::new(StatusCode::FORBIDDEN, format!("this {why}")).into())
}

/// Returns a permission as it is written on every wire.
pub(crate) fn permission_name(permission: Permission) -> &'static str {
    match permission {
        Permission::Viewer => "viewer",
        Permission::Operator => "operator",
        Permission::Admin => "admin",
    }
}

fn sign_in_path(uri: &Uri) -> String {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let next: String = form_urlencoded::byte_serialize(path.as_bytes()).collect();
    match path {
        "/" => "/sign-in".to_owned(),
        _ => format!("/sign-in?next={next}"),
    }
}

async fn respond(call: Arc<Call>) -> Result<Response<Body>, Problem> {
    match call.route.answer {
        Answer::Page(render) => page(&call, render).await,
        Answer::Api(run) => api(&call, run).await,
        Answer::Other(other) => other(call).await,
    }
}

async fn page(call: &Arc<Call>, render: Render) -> Result<Response<Body>, Problem> {
    let range = range::parse(&call.query, call.now)?;
    let key = Key {
        address: call.uri.to_string(),
        secret: call.actor.as_ref().map(Actor::secret).unwrap_or_default(),
    };
    let of = Arc::clone(call);
    let work = move |reader: &_| {
        let visit = of.visit(reader, range);
        let page = render(&visit, &of.arguments)?;
        let text = layout::frame(&visit, &page).into_string();
        Ok(text.into_bytes())
    };
    let change = *call.shared.changes.borrow();
    let draw = call.shared.readers.run(work);
    let drawn = call.shared.pages.get(key, change, draw).await?;
    let (body, compressed) = drawn.body(&call.headers);
    Ok(response(
        StatusCode::OK,
        "text/html; charset=utf-8",
        body,
        compressed,
    ))
}

async fn api(call: &Arc<Call>, run: Run) -> Result<Response<Body>, Problem> {
    let named = call.route.parameters.iter();
    let known: Vec<&str> = named.map(|parameter| parameter.name).collect();
    let stranger = call
        .query
        .iter()
        .find(|(name, _)| !known.contains(&name.as_str()));
    if let Some((name, _)) = stranger {
        let hint = match known.is_empty() {
            true => "this address takes no parameters".to_owned(),
            false => format!("this address takes {}", known.join(", ")),
        };
        let problem = Problem::new(
            StatusCode::BAD_REQUEST,
            format!("there is no parameter \"{name}\""),
        );
        return Err(problem.with_hint(hint));
    }
    let range = range::parse(&call.query, call.now)?;
    let of = Arc::clone(call);
    let work = move |reader: &_| {
        let look = Look {
            visit: of.visit(reader, range),
            arguments: &of.arguments,
            actor: of.actor.as_ref(),
        };
        run(&look)
    };
    let reply = call.shared.readers.run(work).await?;
    Ok(call.reply(reply))
}

impl Call {
    /// Returns a parameter of the address.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        find(&self.query, name)
    }

    /// Returns a field of the form.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        find(&self.form, name)
    }

    /// Answers with a text, compressed when that is asked for.
    pub(crate) fn body(
        &self,
        status: StatusCode,
        content_type: &'static str,
        body: Vec<u8>,
    ) -> Response<Body> {
        match compress::gzip(&body, &self.headers) {
            Some(compressed) => response(status, content_type, compressed.into(), true),
            None => response(status, content_type, body.into(), false),
        }
    }

    /// Writes what was done, or not, into the journal as the actor's.
    pub(crate) async fn journal(&self, outcome: &str, object: &str, detail: Value) {
        self.journal_as(&self.name(), outcome, object, detail).await;
    }

    /// Writes a refusal into the journal, unless refusals have filled this minute's room: that of strangers, or that of
    /// everybody else, which strangers cannot take away.
    pub(crate) async fn journal_refusal(&self, object: &str, why: &str) {
        let stranger = self.actor.is_none();
        if let Some(omitted) = self.shared.doors.record(stranger, self.now) {
            let detail = match omitted {
                0 => json!({"why": why}),
                omitted => json!({"why": why, "not-recorded-before": omitted}),
            };
            self.journal("refused", object, detail).await;
        }
    }

    /// Returns who asks, as the journal names it.
    pub(crate) fn name(&self) -> String {
        match &self.actor {
            Some(actor) => actor.name(),
            None => auth::stranger(self.address),
        }
    }

    /// Writes into the journal.
    pub(crate) async fn journal_as(&self, actor: &str, outcome: &str, object: &str, detail: Value) {
        let entry = Entry {
            at: self.now,
            actor: actor.to_owned(),
            action: self.route.action.unwrap_or_default().to_owned(),
            object: object.to_owned(),
            outcome: outcome.to_owned(),
            detail,
        };
        let shared = Arc::clone(&self.shared);
        let written = blocking(move || Ok(shared.site.store.state().journal(&entry)?)).await;
        if let Err(problem) = written {
            tracing::error!("could not write the journal: {}", problem.report);
        }
    }

    /// Returns what a changing request is about: the part of its path that varies.
    pub(crate) fn object(&self) -> String {
        let first = self.arguments.0.first();
        first.map(|(_, value)| value.clone()).unwrap_or_default()
    }

    /// Returns the visit of whoever asks.
    pub(crate) fn visit<'a>(
        &'a self,
        reader: &'a pawang_store::history::Reader,
        range: crate::page::Range,
    ) -> Visit<'a> {
        Visit {
            site: &self.shared.site,
            reader,
            now: self.now,
            range,
            query: &self.query,
            account: self.actor.as_ref().and_then(Actor::account),
            csrf: self.actor.as_ref().and_then(Actor::csrf),
        }
    }

    /// Answers with a page within the frame that is drawn for this request alone.
    pub(crate) async fn framed(
        self: &Arc<Call>,
        draw: impl FnOnce(&Visit<'_>) -> Page + Send + 'static,
    ) -> Result<Response<Body>, Problem> {
        let of = Arc::clone(self);
        let work = move |reader: &_| {
            let range = range::parse(&[], of.now)?;
            let visit = of.visit(reader, range);
            let page = draw(&visit);
            Ok(layout::frame(&visit, &page).into_string().into_bytes())
        };
        let body = self.shared.readers.run(work).await?;
        Ok(self.body(StatusCode::OK, "text/html; charset=utf-8", body))
    }

    /// Answers a program; one that has the same already is told so.
    fn reply(&self, reply: Reply) -> Response<Body> {
        let hash: String = Sha256::digest(&reply.body)
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        // Weak, because the compressed form has the same.
        let tag = format!("W/\"{hash}\"");
        let known = self.headers.get_all(IF_NONE_MATCH).iter();
        let known = known
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|known| known.trim().trim_start_matches("W/") == &tag[2..]);
        let mut response = match known {
            true => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                response
            }
            false => self.body(StatusCode::OK, "application/json", reply.body),
        };
        let headers = response.headers_mut();
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            headers.insert(ETAG, tag);
        }
        if let Some(after) = reply.after
            && let Ok(link) = HeaderValue::from_str(&self.link(&after))
        {
            headers.insert(LINK, link);
        }
        response
    }

    /// Returns the `Link` to the page after this one: the same address with another `after`.
    fn link(&self, after: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let kept = self.query.iter().filter(|(name, _)| name != "after");
        for (name, value) in kept {
            query.append_pair(name, value);
        }
        query.append_pair("after", after);
        format!("<{}?{}>; rel=\"next\"", self.uri.path(), query.finish())
    }
}

fn response(
    status: StatusCode,
    content_type: &'static str,
    body: Bytes,
    compressed: bool,
) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding, cookie"));
    if compressed {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn find<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut found = pairs.iter().filter(|(key, _)| key == name);
    found.next().map(|(_, value)| value.as_str())
}

fn refusal(problem: &Problem, for_people: bool) -> Response<Body> {
    match for_people {
        true => problem.page(),
        false => problem.json(),
    }
}

/// Says whether an address that is none of ours was probably meant by a person.
fn people(uri: &Uri) -> bool {
    !uri.path().starts_with("/api/")
}

fn pairs(text: &[u8]) -> Result<Vec<(String, String)>, Problem> {
    let pairs: Vec<_> = form_urlencoded::parse(text)
        .take(PARAMETERS_MAX + 1)
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    match pairs.len() > PARAMETERS_MAX {
        true => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            format!("the address has more than {PARAMETERS_MAX} parameters"),
        )),
        false => Ok(pairs),
    }
}

/// Says whether a body is JSON.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    content_type.is_some_and(|value| value.starts_with("application/json"))
}

/// Returns the fields of a JSON object as a form has them: lists are fields that come several times. What is neither a
/// text nor a number nor a list of those is no field.
fn fields(body: &[u8]) -> Result<Vec<(String, String)>, Problem> {
    let value: Value = serde_json::from_slice(body).map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, "cannot read the body as JSON")
            .with_detail(error.to_string())
    })?;
    let Value::Object(object) = value else {
        return Ok(Vec::new());
    };
    let text = |value: Value| match value {
        Value::String(text) => Some(text),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    let pairs = object.into_iter().flat_map(|(name, value)| {
        let values = match value {
            Value::Array(values) => values,
            value => vec![value],
        };
        let texts = values.into_iter().filter_map(text);
        texts.map(move |text| (name.clone(), text))
    });
    Ok(pairs.take(PARAMETERS_MAX).collect())
}

async fn body_of(headers: &HeaderMap, body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    let too_large = || {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is longer than {bytes_max} bytes"),
        )
    };
    let announced = headers.get("content-length");
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > bytes_max as u64) {
        return Err(too_large());
    }
    let read = axum::body::to_bytes(body, bytes_max);
    match tokio::time::timeout(FORM_TIME_MAX, read).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(too_large()),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "the body did not arrive in time",
        )),
    }
}
