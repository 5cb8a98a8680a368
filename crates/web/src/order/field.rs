//! Fields of forms, read.

use std::time::Duration;

use axum::http::StatusCode;
use pawang_config::{Period, Quantity};
use pawang_core::Timestamp;
use pawang_core::alert::{Done, Matcher, Priority};

use crate::auth::own_path;
use crate::problem::Problem;
use crate::server::Call;

/// Longest text of a field, in bytes.
const TEXT_BYTES_MAX: usize = 8 << 10;
/// Most matchers of one silence or window.
const MATCHERS_MAX: usize = 50;

/// Returns the alert that the path names.
pub(super) fn alert(call: &Call) -> Result<String, Problem> {
    let wanted = call.arguments.get("fingerprint");
    let present = call.shared.site.live.alerts();
    let known = present
        .alerts
        .iter()
        .any(|alert| alert.fingerprint == wanted);
    match known {
        true => Ok(wanted.to_owned()),
        false => Err(Problem::not_found(&format!("alert \"{wanted}\""))),
    }
}

/// Returns the number that the path names.
pub(super) fn number(call: &Call) -> Result<i64, Problem> {
    let text = call.arguments.get("id");
    text.parse()
        .map_err(|_| Problem::not_found(&format!("number \"{text}\"")))
}

/// Returns a field without blanks around it, empty when it is not there.
pub(super) fn text(call: &Call, name: &str) -> String {
    let value = call.field(name).unwrap_or_default().trim();
    let end = value.floor_char_boundary(TEXT_BYTES_MAX);
    value[..end].to_owned()
}

/// Returns a field that must be there.
pub(super) fn required(call: &Call, name: &str) -> Result<String, Problem> {
    let value = text(call, name);
    match value.is_empty() {
        true => Err(wrong(&format!("the field \"{name}\" is missing"))),
        false => Ok(value),
    }
}

/// Returns all values of a field; one value may have several lines.
pub(super) fn all(call: &Call, name: &str) -> Vec<String> {
    let values = call.form.iter().filter(|(key, _)| key == name);
    let lines = values.flat_map(|(_, value)| value.lines().map(str::trim));
    lines
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Returns until when, by `until` or `for`; neither has to be there.
pub(super) fn until(call: &Call) -> Result<Option<Timestamp>, Problem> {
    if let Some(at) = instant(call, "until")? {
        return Ok(Some(at));
    }
    let period = text(call, "for");
    if period.is_empty() {
        return Ok(None);
    }
    let length = duration(&period)?;
    let at = call.now.checked_add(length);
    at.map(Some).map_err(|_| wrong("\"for\" is too long"))
}

/// Returns until when, which must be said.
pub(super) fn end(call: &Call) -> Result<Timestamp, Problem> {
    until(call)?.ok_or_else(|| {
        wrong("it must say until when")
            .with_hint("the field \"for\", such as \"2 h\", or \"until\"")
    })
}

fn duration(text: &str) -> Result<Duration, Problem> {
    let quantity: Result<Quantity, _> = text.parse();
    let period = quantity.map_err(|_| ()).and_then(|quantity| {
        let period = Period::try_from(quantity);
        period.map_err(drop)
    });
    period.map(|period| period.0).map_err(|()| {
        wrong(&format!("cannot read the duration \"{text}\""))
            .with_hint("such as \"30 min\", \"2 h\" or \"3 d\"")
    })
}

/// Returns an instant: RFC 3339, or as forms of browsers write it, in UTC.
pub(super) fn instant(call: &Call, name: &str) -> Result<Option<Timestamp>, Problem> {
    let text = text(call, name);
    if text.is_empty() {
        return Ok(None);
    }
    let read = text.parse().or_else(|_| format!("{text}Z").parse());
    read.map(Some).map_err(|_| {
        wrong(&format!("cannot read \"{name}\""))
            .with_hint("RFC 3339, such as 2026-12-01T22:00:00Z")
    })
}

/// Returns how urgent.
pub(super) fn priority(call: &Call) -> Result<Priority, Problem> {
    let text = text(call, "priority");
    let found = Priority::ALL
        .into_iter()
        .find(|priority| priority.as_str().eq_ignore_ascii_case(&text));
    found.ok_or_else(|| wrong("the field \"priority\" must be P1, P2, P3 or P4"))
}

/// Returns matchers, one of each text.
pub(crate) fn matchers<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Vec<Matcher>, Problem> {
    let read = texts.map(|text| {
        pawang_alert::matcher::parse(text)
            .map_err(|why| wrong(&format!("cannot read the matcher {text:?}")).with_detail(why))
    });
    let read: Vec<Matcher> = read.collect::<Result<_, _>>()?;
    match read.len() > MATCHERS_MAX {
        true => Err(wrong(&format!(
            "there are more than {MATCHERS_MAX} matchers"
        ))),
        false => Ok(read),
    }
}

/// Returns where a browser goes after its order: back to the page of the form, or to what was made.
pub(super) fn back(call: &Call, done: &Done) -> String {
    let asked = call.field("back").filter(|path| own_path(path));
    let back = asked.unwrap_or("/findings");
    match done.objects.first().filter(|_| back == "/incidents") {
        Some(id) => format!("/incidents/{}", crate::words::encode(id)),
        None => back.to_owned(),
    }
}

fn wrong(primary: &str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, primary)
}
