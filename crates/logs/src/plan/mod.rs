//! Plans: what EXPLAIN and auto_explain print, in any of their four formats, read to one tree; what is wrong with them; and a fingerprint
//! that tells one plan of a statement from another.
//!
//! It runs nothing: it reads what the server has printed.

mod build;
mod fingerprint;
mod header;
mod mask;
mod node;
mod outline;
mod property;
pub mod rules;
mod spent;
mod text;
mod undress;
mod xml;
mod yaml;

pub use fingerprint::fingerprint;
pub use mask::mask;
pub use node::*;
pub use outline::outline;
pub use rules::{Rule, Threshold, review, rules};
pub use spent::{Spent, spent};

use serde_json::{Map, Value};

/// Longest text that is read as a plan.
pub const MAX_TEXT: usize = 16 << 20;

/// Why a text is no plan.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing in it.
    #[error("the text has no plan: it is empty")]
    Empty,
    /// A line is not what it should be.
    #[error("line {line}: expected {expected}, found {found:?}")]
    Line {
        /// Its number, from 1, in the text as given.
        line: usize,
        /// What was expected.
        expected: &'static str,
        /// Its beginning.
        found: String,
    },
    /// It begins as JSON, and is none.
    #[error("line {line}, column {column}: expected JSON: {reason}")]
    Json {
        /// Where, from 1.
        line: usize,
        /// Where, from 1.
        column: usize,
        /// What the JSON reader says.
        reason: String,
    },
    /// It was read, and has no `Plan`.
    #[error("the text has no \"Plan\": a utility statement has none")]
    NoPlan,
    /// A node has no type.
    #[error("a node of the plan has no \"Node Type\"")]
    NoNodeType,
    /// It is longer, deeper or has more nodes than any plan.
    #[error("the plan has more text, nodes or levels than are read")]
    TooLarge,
}

impl Error {
    /// Says that line `number`, counted from 0, is not what it should be.
    fn line(number: usize, expected: &'static str, found: &str) -> Error {
        const SHOWN: usize = 60;
        let found = found.lines().next().unwrap_or_default().trim();
        Error::Line {
            line: number + 1,
            expected,
            found: found.chars().take(SHOWN).collect(),
        }
    }

    /// Counts lines that were before the plan.
    fn after(mut self, skipped: usize) -> Error {
        if let Error::Line { line, .. } | Error::Json { line, .. } = &mut self {
            *line += skipped;
        }
        self
    }
}

/// Reads a plan: EXPLAIN's text, JSON, YAML or XML, as psql prints it, or as a message of auto_explain.
pub fn read(text: &str) -> Result<Plan, Error> {
    if text.len() > MAX_TEXT {
        return Err(Error::TooLarge);
    }
    let undressed = undress::undress(text);
    let mut plan = read_plain(&undressed.text).map_err(|error| error.after(undressed.skipped))?;
    if plan.execution_time.is_none() {
        plan.execution_time = undressed.duration;
    }
    Ok(plan)
}

fn read_plain(text: &str) -> Result<Plan, Error> {
    let begin = text.trim_start();
    if begin.is_empty() {
        return Err(Error::Empty);
    }
    let (mut fields, more) = if begin.starts_with(['[', '{']) {
        first(json(text)?)?
    } else if begin.starts_with('<') {
        first(xml::read(text)?)?
    } else if yaml_begins(begin) {
        first(yaml::read(text)?)?
    } else {
        text::read(text)?
    };
    let mut plan = build::plan(&mut fields)?;
    plan.more = more;
    Ok(plan)
}

/// Reads the first JSON value; what follows, such as psql's count of rows, is none of it.
fn json(text: &str) -> Result<Value, Error> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    match values.next() {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(Error::Json {
            line: error.line(),
            column: error.column(),
            reason: error
                .to_string()
                .split(" at line ")
                .next()
                .unwrap_or_default()
                .to_owned(),
        }),
        None => Err(Error::Empty),
    }
}

/// Tells the YAML of auto_explain from its text, which begins with `Query Text:` too but has no quotes.
fn yaml_begins(begin: &str) -> bool {
    let begin = begin.trim_start_matches("---").trim_start();
    begin.starts_with("- ")
        || begin.starts_with("Plan:")
        || begin.starts_with("Query Text: \"") && begin.contains("\nPlan:")
}

/// Returns the first of the plans, and how many follow.
fn first(value: Value) -> Result<(Map<String, Value>, u32), Error> {
    match value {
        Value::Object(fields) => Ok((fields, 0)),
        Value::Array(values) => {
            let more = u32::try_from(values.len().saturating_sub(1)).unwrap_or(u32::MAX);
            match values.into_iter().next() {
                Some(Value::Object(fields)) => Ok((fields, more)),
                _ => Err(Error::NoPlan),
            }
        }
        _ => Err(Error::NoPlan),
    }
}
