//! The messages of PostgreSQL's own source with the codes that the server gives them, for logs that do not say the code.
//!
//! `data/messages.zst` is made by `cargo xtask messages` from a source tree of PostgreSQL (PostgreSQL licence): one line per message,
//! with the severity (`E` error and worse, `W` warning), the SQLSTATE and the pattern.

use super::matcher::bit;
use crate::severity::Severity;

/// The most bytes that the table may unpack to.
const MAXIMUM: usize = 4 << 20;

/// One message.
pub(super) struct Message {
    pub(super) severities: u8,
    pub(super) code: [u8; 5],
    pub(super) pattern: String,
}

/// Reads the table.
pub(super) fn messages() -> Vec<Message> {
    let packed = include_bytes!("../../data/messages.zst");
    let bytes = zstd::bulk::decompress(packed, MAXIMUM)
        .unwrap_or_else(|error| unreachable!("messages.zst: {error}"));
    let text =
        String::from_utf8(bytes).unwrap_or_else(|error| unreachable!("messages.zst: {error}"));
    text.lines().map(message).collect()
}

fn message(line: &str) -> Message {
    let errors = bit(Severity::Error) | bit(Severity::Fatal) | bit(Severity::Panic);
    let mut fields = line.splitn(3, '\t');
    let severity = fields.next();
    let code = fields
        .next()
        .and_then(|code| code.as_bytes().try_into().ok());
    let pattern = fields.next().unwrap_or_default().replace("\\n", "\n");
    Message {
        severities: if severity == Some("W") {
            bit(Severity::Warning)
        } else {
            errors
        },
        code: code.unwrap_or_else(|| {
            unreachable!("a line of messages.zst has a code of five characters")
        }),
        pattern,
    }
}
