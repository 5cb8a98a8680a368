//! Reads the end of a change to a server back from the journal: the one place that knows how its detail is written.

use std::time::Duration;

use pawang_store::state::Entry;
use serde_json::Value;

use crate::journal::BEGUN;

/// What the journal's entries of changes to servers end with.
const SUFFIX: &str = ".apply";

/// What the journal tells of a change to a server that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Told<'a> {
    /// The instance.
    pub instance: &'a str,
    /// `database/object`.
    pub object: &'a str,
    /// What was done, such as `vacuum`.
    pub task: &'a str,
    /// What became of it: the journal's own three outcomes do not tell a dry run from the real one.
    pub state: &'a str,
    /// Why, as a sentence; empty when there is nothing to say.
    pub detail: &'a str,
    /// The numbers that differ between before and after; `None` when none were read.
    pub changes: Option<Vec<Change>>,
    /// How long others waited for it.
    pub waited: Waited,
}

/// A number before and after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its name.
    pub name: String,
    /// What it was.
    pub before: String,
    /// What it is.
    pub after: String,
}

/// How long others waited for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// Nobody looked.
    NotMeasured,
    /// Nobody was seen to wait; shorter waits than this may have been missed.
    Nobody(Duration),
    /// The longest wait of one session.
    Longest(Duration),
}

impl<'a> Told<'a> {
    /// Reads an entry; `None` when it is not about the end of a change to a server.
    pub fn read(entry: &'a Entry) -> Option<Told<'a>> {
        let task = entry.action.strip_suffix(SUFFIX)?;
        // An order of the dashboard is no action of a plan.
        let known = entry.detail.get("action").is_some_and(Value::is_string);
        if entry.outcome == BEGUN || !known {
            return None;
        }
        let (instance, object) = entry.object.split_once('/').unwrap_or((&entry.object, ""));
        let text = |name: &str| entry.detail.get(name).and_then(Value::as_str);
        let state = text("state").unwrap_or(&entry.outcome);
        Some(Told {
            instance,
            object,
            task,
            state,
            detail: text("detail").unwrap_or_default(),
            changes: changes(&entry.detail),
            waited: waited(&entry.detail),
        })
    }

    /// Says whether what was planned holds now, or nothing was to be changed.
    pub fn good(&self) -> bool {
        matches!(self.state, "done" | "needless" | "dry-run")
    }
}

fn changes(detail: &Value) -> Option<Vec<Change>> {
    let numbers = |name: &str| detail.get(name).and_then(Value::as_object);
    let (before, after) = (numbers("before")?, numbers("after")?);
    let word = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    let changes = before.iter().filter_map(|(name, was)| {
        let is = after.get(name).filter(|is| *is != was)?;
        Some(Change {
            name: name.clone(),
            before: word(was),
            after: word(is),
        })
    });
    Some(changes.collect())
}

fn waited(detail: &Value) -> Waited {
    let milliseconds = |name: &str| {
        let length = detail.get(name).and_then(Value::as_f64).unwrap_or_default();
        Duration::try_from_secs_f64(length / 1e3).unwrap_or_default()
    };
    let resolution = milliseconds("blocked_resolution_ms");
    match milliseconds("blocked_ms_longest") {
        longest if !longest.is_zero() => Waited::Longest(longest),
        _ if !resolution.is_zero() => Waited::Nobody(resolution),
        _ => Waited::NotMeasured,
    }
}

#[cfg(test)]
mod tests {
    use pawang_core::Timestamp;
    use serde_json::json;

    use super::*;

    fn entry(action: &str, outcome: &str, detail: Value) -> Entry {
        Entry {
            at: Timestamp::UNIX_EPOCH,
            actor: "daemon".to_owned(),
            action: action.to_owned(),
            object: "dwh-1/sales/dw.fact".to_owned(),
            outcome: outcome.to_owned(),
            detail,
        }
    }

    #[test]
    fn the_end_of_a_change_is_read_back() {
        let detail = json!({
            "action": "reindex", "state": "dry-run", "detail": "nothing was changed",
            "before": { "bytes": "9", "rows": "1" }, "after": { "bytes": "4", "rows": "1", "new": "2" },
            "blocked_ms_longest": 0, "blocked_resolution_ms": 50,
        });
        let done = entry("reindex.apply", "done", detail);
        let told = Told::read(&done).unwrap();
        let seen = (told.instance, told.object, told.task, told.state);
        assert_eq!(seen, ("dwh-1", "sales/dw.fact", "reindex", "dry-run"));
        assert_eq!(told.waited, Waited::Nobody(Duration::from_millis(50)));
        let changes = told.changes.unwrap();
        assert_eq!(changes.len(), 1);
        assert_eq!((&*changes[0].before, &*changes[0].after), ("9", "4"));
    }

    #[test]
    fn what_has_not_ended_or_changed_no_server_is_left_out() {
        let plan = || json!({ "action": "reindex" });
        for other in [
            entry("reindex.apply", BEGUN, plan()),
            entry("reindex.settle", "done", plan()),
            entry("session.apply", "done", json!({ "plan": "cafe" })),
        ] {
            assert_eq!(Told::read(&other), None, "{other:?}");
        }
        let failed = entry("vacuum.apply", "failed", plan());
        let told = Told::read(&failed).unwrap();
        assert_eq!((told.state, told.good()), ("failed", false));
        assert_eq!((told.waited, told.changes), (Waited::NotMeasured, None));
    }
}
