//! The only form in which an error reaches people.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of failure it is; the kind picks the exit code and the HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The answer itself is bad: a finding, a mismatch. Exit code 1.
    Answer,
    /// Wrong usage or configuration. Exit code 2.
    Usage,
    /// The target cannot be reached or denies a privilege. Exit code 3.
    Target,
    /// A safety rule refused. Exit code 4.
    Refused,
}

/// An error for people: what was tried, the facts around it, and what to do next.
///
/// `primary` is a lower-case fragment without full stop; `hint` is a runnable command or a link into `docs/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What was tried and did not work.
    pub primary: String,
    /// The facts: causes, positions, the server's own words.
    pub detail: Option<String>,
    /// What to do next.
    pub hint: Option<String>,
    /// What kind of failure it is.
    pub kind: Kind,
}

impl Report {
    /// Returns a report with neither detail nor hint.
    pub fn new(kind: Kind, primary: impl Into<String>) -> Report {
        Report {
            primary: primary.into(),
            detail: None,
            hint: None,
            kind,
        }
    }

    /// Returns a report of `error`, with the chain of its causes as detail; what a cause says again of its own cause is said once.
    pub fn from_error(kind: Kind, error: &dyn std::error::Error) -> Report {
        let mut causes: Vec<String> = Vec::new();
        let mut next = error.source();
        while let Some(cause) = next {
            let words = cause.to_string();
            if !causes.iter().any(|said| said.contains(&words)) {
                causes.push(words);
            }
            next = cause.source();
        }
        let detail = (!causes.is_empty()).then(|| causes.join(": "));
        Report {
            primary: error.to_string(),
            detail,
            hint: None,
            kind,
        }
    }

    /// Returns all of it in one line, for a log.
    pub fn line(&self) -> String {
        let whole = self.to_string();
        let lines = whole.lines().map(str::trim).filter(|line| !line.is_empty());
        let line = lines.collect::<Vec<_>>().join("; ");
        line.strip_prefix("error: ").unwrap_or(&line).to_owned()
    }

    /// Adds the facts around the failure.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Report {
        self.detail = Some(detail.into());
        self
    }

    /// Adds what to do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Report {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.primary)?;
        if let Some(detail) = &self.detail {
            write!(f, "\ndetail: {detail}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Said(&'static str, Option<Box<Said>>);

    impl fmt::Display for Said {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl std::error::Error for Said {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            let cause = self.1.as_deref();
            cause.map(|cause| cause as &(dyn std::error::Error + 'static))
        }
    }

    #[test]
    fn what_is_said_twice_is_told_once_and_a_log_has_it_in_one_line() {
        let chain = [
            "could not list",
            "store: no way: refused",
            "no way: refused",
            "refused",
            "errno 111",
        ];
        let error = chain
            .into_iter()
            .rev()
            .fold(None, |cause, words| Some(Box::new(Said(words, cause))));
        let report = Report::from_error(Kind::Target, &*error.unwrap()).with_hint("a\n\n  b");
        assert_eq!(
            report.detail.as_deref(),
            Some("store: no way: refused: errno 111")
        );
        assert_eq!(
            report.line(),
            "could not list; detail: store: no way: refused: errno 111; hint: a; b"
        );
    }
}
