//! Why no answer came.

use std::path::PathBuf;
use std::time::Duration;

/// Why no answer came; the text is only what happened, since whoever asked knows where.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is none; it may carry a password, so no message repeats it.
    #[error("{problem}")]
    Address {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A file with certificates cannot be used.
    #[error("could not read certificates from \"{}\": {problem}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The host has no address.
    #[error("could not find the address of \"{host}\": {problem}")]
    Name {
        /// The host.
        host: String,
        /// What the resolver said.
        problem: String,
    },
    /// Nothing accepts the connection.
    #[error("{problem}")]
    Connect {
        /// What the operating system said.
        problem: String,
    },
    /// The server cannot prove who it is, or speaks no TLS.
    #[error("could not agree on TLS: {problem}")]
    Tls {
        /// What is wrong.
        problem: String,
        /// Whether it is the certificate that is not trusted.
        certificate: bool,
    },
    /// It took too long.
    #[error("no answer within {} s", after.as_secs_f32())]
    Timeout {
        /// After how long it was given up.
        after: Duration,
    },
    /// The connection broke, or what came is no HTTP.
    #[error("{problem}")]
    Broken {
        /// What happened.
        problem: String,
    },
}

/// Returns an error with all its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// Says whether an error, or one of its causes, is a certificate that is not trusted.
pub fn is_certificate(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        // An I/O error does not count what it wraps among its causes.
        let wrapped = error
            .downcast_ref::<std::io::Error>()
            .and_then(|error| error.get_ref())
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let found = wrapped.or_else(|| error.downcast_ref());
        if matches!(found, Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        next = error.source();
    }
    false
}
