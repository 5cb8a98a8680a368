//! Sessions as checks talk about them: who they are, what they run, and what may not be seen of them.

use pawang_core::{Blind, Level, Missing, Row, Unit};

use crate::view::Growth;
use crate::{Observation, View};

/// What the server shows instead of a query that the role may not see.
const HIDDEN: &str = "<insufficient privilege>";
/// Query texts are shown up to this many characters.
const QUERY_CHARS_MAX: usize = 160;

/// Returns the processes of the collector `activity`.
///
/// # Errors
/// [`Blind::NoPrivilege`] when the role cannot see other people's sessions, [`Blind::Disabled`] when a session does
/// not report what it does: a hidden session is never a good one.
pub(crate) fn processes<'a>(view: &View<'a>) -> Result<Vec<Row<'a>>, Missing> {
    let rows: Vec<Row<'a>> = view.snapshot("activity")?.rows().collect();
    if rows.iter().any(is_hidden) {
        return Err(hidden(view));
    }
    if rows.iter().any(|row| row.text("state") == Some("disabled")) {
        return Err(Blind::Disabled {
            setting: "track_activities = on".to_owned(),
        }
        .into());
    }
    Ok(rows)
}

/// Returns the sessions of clients, without Pawang's own.
///
/// # Errors
/// As [`processes`].
pub(crate) fn clients<'a>(view: &View<'a>) -> Result<Vec<Row<'a>>, Missing> {
    let mut rows = processes(view)?;
    rows.retain(|row| row.text("backend_type") == Some("client backend") && !ours(row));
    Ok(rows)
}

/// Returns the row of the collector `sessions`.
///
/// # Errors
/// As [`processes`].
pub(crate) fn counts<'a>(view: &View<'a>) -> Result<Row<'a>, Missing> {
    let row = view.row("sessions")?;
    if row.int("hidden").unwrap_or(0) > 0 {
        return Err(hidden(view));
    }
    Ok(row)
}

/// Says that the sessions of other roles are hidden, and what would show them.
pub(crate) fn hidden(view: &View<'_>) -> Missing {
    let user = view
        .facts
        .server
        .as_ref()
        .map_or("", |server| server.user.as_str());
    Blind::NoPrivilege {
        what: "the sessions of other roles are hidden".to_owned(),
        grant: format!("GRANT pg_monitor TO {};", quote(user)),
    }
    .into()
}

/// Returns whether a session belongs to Pawang.
pub(crate) fn ours(row: &Row<'_>) -> bool {
    row.text("application_name")
        .is_some_and(|name| name.starts_with("pawang:"))
}

/// Returns whether a session's other facts may not be seen.
pub(crate) fn is_hidden(row: &Row<'_>) -> bool {
    row.text("query") == Some(HIDDEN)
}

/// Returns whether a session runs a statement that begins with one of these words.
pub(crate) fn runs(row: &Row<'_>, words: &[&str]) -> bool {
    let first = row
        .text("query")
        .and_then(|query| query.split_whitespace().next());
    let first = first.map(|word| word.trim_end_matches(['(', ';']));
    row.text("state") == Some("active")
        && first.is_some_and(|first| words.iter().any(|word| word.eq_ignore_ascii_case(first)))
}

/// Returns the object that a session is: `pid 4711`.
pub(crate) fn object(row: &Row<'_>) -> String {
    format!("pid {}", row.value("pid"))
}

/// Returns who a session is: `"etl" in database "dwh" (nightly.py, 10.0.0.7)`.
pub(crate) fn who(row: &Row<'_>) -> String {
    let named = |name: &str, what: &str| {
        row.text(name)
            .filter(|text| !text.is_empty())
            .map(|text| format!("{what}\"{text}\""))
    };
    let user = named("usename", "").unwrap_or_else(|| {
        row.text("backend_type")
            .unwrap_or("a session that has ended")
            .to_owned()
    });
    let database = named("datname", " in database ").unwrap_or_default();
    let rest: Vec<&str> = ["application_name", "client_addr"]
        .iter()
        .filter_map(|name| row.text(name).filter(|text| !text.is_empty()))
        .collect();
    if rest.is_empty() {
        format!("{user}{database}")
    } else {
        format!("{user}{database} ({})", rest.join(", "))
    }
}

/// Returns facts about a session: who it is and the statement that it runs or ran last, without its constants.
pub(crate) fn evidence(row: &Row<'_>) -> Vec<(String, String)> {
    let mut evidence = row.evidence(&["pid"]);
    evidence.push(("session".to_owned(), who(row)));
    if let Some(state) = row.text("state") {
        evidence.push(("state".to_owned(), state.to_owned()));
    }
    if let Some(query) = row.text("query").filter(|query| !query.is_empty()) {
        evidence.push(("query".to_owned(), without_constants(query)));
    }
    evidence
}

/// Returns the statements that cancel a session's statement, or end the session.
pub(crate) fn end(row: &Row<'_>) -> String {
    let pid = row.value("pid");
    format!(
        "ask its owner to commit or roll back; else SELECT pg_cancel_backend({pid});, and only when that does not help \
         SELECT pg_terminate_backend({pid}); its work since BEGIN is lost then, and rolling back takes time"
    )
}

/// Returns an observation of level unknown for each database whose counters were reset since the last look: its growth
/// cannot be told, and that is not the same as no growth. New databases have grown from nothing and are not among them.
pub(crate) fn reset_databases(view: &View<'_>, growth: &Growth<'_>) -> Vec<Observation> {
    let older = view
        .older
        .and_then(|older| older.snapshot("database", None).ok());
    let known = |name: &str| {
        older.is_some_and(|older| older.rows().any(|row| row.text("datname") == Some(name)))
    };
    let reset = growth.rows.iter().filter(|(_, old)| old.is_none());
    let reset = reset.filter_map(|(row, _)| row.text("datname").filter(|name| known(name)));
    reset
        .map(|name| Observation {
            object: name.to_owned(),
            level: Some(Level::Unknown),
            title: format!(
                "the statistics of database \"{name}\" were reset or begun since the last look"
            ),
            remedy: Some("run the same command again in a minute".to_owned()),
            ..Observation::default()
        })
        .collect()
}

/// Shows a duration in seconds.
pub(crate) fn seconds(value: f64) -> String {
    Unit::Seconds.show(value.max(0.0).floor())
}

/// Returns an identifier in double quotes.
pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns a query in one line, with `?` for texts and numbers: constants are other people's data.
pub(crate) fn without_constants(query: &str) -> String {
    let mut out = String::new();
    let mut rest = query.trim_start();
    let mut written = 0;
    while let Some(c) = rest.chars().next() {
        if written >= QUERY_CHARS_MAX {
            out.push('…');
            break;
        }
        written += 1;
        let word_before = out
            .chars()
            .next_back()
            .is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$');
        let taken = match c {
            '\'' => {
                out.push('?');
                1 + text_length(&rest[1..], word_before && out.ends_with(['E', 'e', '?']))
            }
            '$' if !word_before && dollar_tag(rest).is_some() => {
                let tag = dollar_tag(rest).unwrap_or("$$");
                out.push('?');
                let body = &rest[tag.len()..];
                tag.len() + body.find(tag).map_or(body.len(), |end| end + tag.len())
            }
            c if c.is_ascii_digit() && !word_before => {
                out.push('?');
                rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '_')
                    .unwrap_or(rest.len())
            }
            c if c.is_whitespace() => {
                out.push(' ');
                rest.len() - rest.trim_start().len()
            }
            c => {
                out.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    out.truncate(out.trim_end().len());
    out
}

/// Returns the length of a text constant after its opening quote, closing quote included; a cut-off one runs to the end.
fn text_length(rest: &str, backslashes: bool) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if backslashes => at += 2,
            b'\'' if bytes.get(at + 1) == Some(&b'\'') => at += 2,
            b'\'' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Returns the opening tag of a dollar-quoted text: `$$` or `$body$`.
fn dollar_tag(rest: &str) -> Option<&str> {
    let end = rest[1..].find('$')? + 1;
    let name = &rest[1..end];
    let is_tag = !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    is_tag.then(|| &rest[..=end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::without_constants;

    #[test]
    fn constants_do_not_leave_the_server() {
        for (query, shown) in [
            ("SELECT 1", "SELECT ?"),
            (
                "select *\n  from t2\n where a = 'it''s'  and b=1.5e3",
                "select * from t2 where a = ? and b=?",
            ),
            ("ALTER ROLE x PASSWORD 'secret", "ALTER ROLE x PASSWORD ?"),
            (r"SELECT E'a\'b', c", "SELECT E?, c"),
            ("DO $x$ secret $$ 'a' $x$; SELECT $1", "DO ?; SELECT $1"),
            ("SELECT $$secret", "SELECT ?"),
            ("SELECT col_1 FROM \"T 1\"", "SELECT col_1 FROM \"T ?\""),
            ("SELECT é FROM t", "SELECT é FROM t"),
        ] {
            assert_eq!(without_constants(query), shown, "{query}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken(query in any::<String>()) {
            prop_assert!(without_constants(&query).chars().count() <= super::QUERY_CHARS_MAX + 1);
        }
    }
}
