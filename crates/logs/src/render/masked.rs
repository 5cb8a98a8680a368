//! The texts of one record as they may be shown: without secrets, and unless asked for without constants of statements.

use std::borrow::Cow;

use crate::record::Record;
use crate::secret::without_secrets;
use crate::statement::{normalise, told};

/// How DETAIL with the parameters of a statement begins.
const PARAMETERS: &[u8] = b"parameters:";

/// How the texts of a record are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Masked {
    /// Whether statements keep their constants and parameters; secrets go all the same.
    pub constants: bool,
}

impl Masked {
    /// Returns the message of a record of a kind.
    pub fn message(self, record: &Record<'_>, kind: &str) -> String {
        let message = record.message;
        if self.constants {
            return safe(message).into_owned();
        }
        if kind == "plan" {
            let mut lines = message.split(|byte| *byte == b'\n');
            return safe(lines.next().unwrap_or_default()).into_owned();
        }
        match told(message).filter(|told| !told.text.is_empty()) {
            Some(told) => {
                let head = &message[..message.len().saturating_sub(told.text.len())];
                let statement = self.statement(told.text);
                format!("{}{statement}", String::from_utf8_lossy(head))
            }
            None => safe(message).into_owned(),
        }
    }

    /// Returns a statement.
    pub fn statement(self, text: &[u8]) -> String {
        if self.constants || text.is_empty() {
            return safe(text).into_owned();
        }
        let shown = normalise(text);
        match without_secrets(&shown) {
            Cow::Owned(safe) => safe,
            Cow::Borrowed(_) => shown,
        }
    }

    /// Returns DETAIL; none where it has parameters that are not shown.
    pub fn detail(self, text: &[u8]) -> Option<String> {
        let begin = text.get(..PARAMETERS.len());
        let parameters = begin.is_some_and(|begin| begin.eq_ignore_ascii_case(PARAMETERS));
        (self.constants || !parameters).then(|| safe(text).into_owned())
    }
}

/// Returns a text of a log without secrets.
pub fn safe(text: &[u8]) -> Cow<'_, str> {
    match String::from_utf8_lossy(text) {
        Cow::Borrowed(text) => without_secrets(text),
        Cow::Owned(text) => Cow::Owned(without_secrets(&text).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_shown_only_when_asked_for() {
        let record = Record {
            message: b"duration: 12.5 ms  statement: select * from t where a = 4711",
            ..Record::default()
        };
        for (constants, shown) in [(false, false), (true, true)] {
            let masked = Masked { constants };
            let message = masked.message(&record, "duration");
            assert_eq!(message.contains("4711"), shown, "{message}");
            assert!(message.starts_with("duration: 12.5 ms"), "{message}");
            assert_eq!(masked.detail(b"Parameters: $1 = '4711'").is_some(), shown);
        }
        let detail = Masked::default().detail(b"Key (a)=(1) already exists.");
        assert_eq!(detail.as_deref(), Some("Key (a)=(1) already exists."));
    }
}
