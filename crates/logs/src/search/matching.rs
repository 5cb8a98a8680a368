//! Whether a record is wanted, and what is shown of it.

use serde::Serialize;

use super::{Wanted, error_id};
use crate::kind::{KindId, classify, find};
use crate::language::Translator;
use crate::record::Record;
use crate::render::{Masked, safe, without_secrets};
use crate::severity::Severity;
use crate::statement::{cut, normalise_message};
use crate::tally::{Shapes, foreign};

/// Bytes of a text that are kept.
const TEXT_BYTES_MAX: usize = 4_096;
/// Bytes of a name that are kept.
const NAME_BYTES_MAX: usize = 256;

/// A record as it may be shown: without secrets.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Line {
    /// When it was written, in microseconds since 1970-01-01 UTC; none when the log does not say.
    pub at: Option<i64>,
    /// How bad the server thinks it is.
    pub severity: Severity,
    /// Id of its kind.
    pub kind: String,
    /// SQLSTATE; empty when the log does not say.
    pub sqlstate: String,
    /// The process; 0 when the log does not say.
    pub pid: u32,
    /// Role.
    pub user: String,
    /// Database.
    pub database: String,
    /// Application.
    pub application: String,
    /// Client host.
    pub host: String,
    /// The message.
    pub message: String,
    /// DETAIL, without parameters where constants are not shown.
    pub detail: String,
    /// HINT.
    pub hint: String,
    /// CONTEXT.
    pub context: String,
    /// What the session was running.
    pub statement: String,
}

/// Says which records are wanted.
pub(super) struct Matcher<'a> {
    wanted: &'a Wanted,
    /// The kind that is wanted; none is wanted when there is no such kind.
    kind: Option<Option<KindId>>,
    text: String,
    masked: Masked,
    translator: Translator,
    shapes: Shapes,
    normalised: String,
}

impl<'a> Matcher<'a> {
    /// Takes what is wanted.
    pub(super) fn new(wanted: &'a Wanted, masked: Masked) -> Matcher<'a> {
        Matcher {
            wanted,
            kind: wanted.kind.as_deref().map(find),
            text: wanted.text.to_lowercase(),
            masked,
            translator: Translator::default(),
            shapes: Shapes::default(),
            normalised: String::new(),
        }
    }

    /// Returns what is shown of a record, if it is wanted.
    pub(super) fn line(&mut self, record: &Record<'_>) -> Option<Line> {
        let wanted = self.wanted;
        let early = wanted.since.is_some_and(|since| record.at < Some(since));
        let late = wanted
            .until
            .is_some_and(|until| record.at.is_none_or(|at| at >= until));
        if early || late {
            return None;
        }
        let kind = classify(record);
        if !foreign(record, kind) {
            return self.known(record, kind);
        }
        let mut translator = std::mem::take(&mut self.translator);
        let line = match translator.translate(record) {
            Some(english) => self.known(&english, classify(&english)),
            None => self.known(record, kind),
        };
        self.translator = translator;
        line
    }

    fn known(&mut self, record: &Record<'_>, kind: KindId) -> Option<Line> {
        let wanted = self.wanted;
        let mild = wanted.severity.is_some_and(|least| record.severity < least);
        if mild || self.kind.is_some_and(|wanted| wanted != Some(kind)) {
            return None;
        }
        if let Some(error) = &wanted.error
            && (record.severity < Severity::Error || self.error(record) != *error)
        {
            return None;
        }
        if let Some(shape) = &wanted.shape {
            let id = self.shapes.of_record(record, kind)?;
            if id.to_string() != *shape {
                return None;
            }
        }
        let line = self.shown(record, kind);
        let has = |text: &str| text.to_lowercase().contains(&self.text);
        let passes = self.text.is_empty() || has(&line.message) || has(&line.statement);
        passes.then_some(line)
    }

    /// Returns the id of the error that a record is, as that of the report.
    fn error(&mut self, record: &Record<'_>) -> String {
        self.normalised.clear();
        normalise_message(record.message, &mut self.normalised);
        let text = without_secrets(&self.normalised);
        error_id(&sqlstate(record), &without_secrets(&text))
    }

    fn shown(&self, record: &Record<'_>, kind: KindId) -> Line {
        let kind = &kind.kind().id;
        let text = |text: &[u8]| short(&safe(text), TEXT_BYTES_MAX);
        let name = |text: &[u8]| short(&safe(text), NAME_BYTES_MAX);
        let detail = self.masked.detail(record.detail);
        Line {
            at: record.at,
            severity: record.severity,
            kind: kind.clone(),
            sqlstate: sqlstate(record),
            pid: record.pid,
            user: name(record.user),
            database: name(record.database),
            application: name(record.application),
            host: name(record.host),
            message: short(&self.masked.message(record, kind), TEXT_BYTES_MAX),
            detail: short(&detail.unwrap_or_default(), TEXT_BYTES_MAX),
            hint: text(record.hint),
            context: text(record.context),
            statement: short(&self.masked.statement(record.statement), TEXT_BYTES_MAX),
        }
    }
}

/// Returns the SQLSTATE; empty when the log does not say.
fn sqlstate(record: &Record<'_>) -> String {
    match &record.sqlstate {
        [0, ..] | b"00000" => String::new(),
        known => String::from_utf8_lossy(known).into_owned(),
    }
}

fn short(text: &str, bytes_max: usize) -> String {
    let kept = cut(text.as_bytes(), bytes_max);
    let mut out = kept.to_string();
    if out.len() < text.len() {
        out.push('…');
    }
    out
}
