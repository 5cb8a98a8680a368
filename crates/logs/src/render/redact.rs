//! Removes secrets from every text of a report.

use serde_json::{Map, Value};

use crate::report::Report;
use crate::secret::without_secrets;

/// Removes the secrets from every text of a report: samples, details, statements, plans, and names that clients chose.
///
/// It walks the report as data, so that no text of it, today's or tomorrow's, is forgotten.
pub fn redact(report: &mut Report) {
    let value = serde_json::to_value(&*report);
    let mut value = value.unwrap_or_else(|error| unreachable!("a report is data: {error}"));
    walk(&mut value);
    *report = serde_json::from_value(value)
        .unwrap_or_else(|error| unreachable!("a report that lost texts is one: {error}"));
}

fn walk(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let std::borrow::Cow::Owned(safe) = without_secrets(text) {
                *text = safe;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(walk),
        Value::Object(map) => {
            map.values_mut().for_each(walk);
            keys(map);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Removes secrets from names; counts of names that become the same are added.
fn keys(map: &mut Map<String, Value>) {
    let unsafe_names: Vec<String> = map
        .keys()
        .filter(|name| matches!(without_secrets(name), std::borrow::Cow::Owned(_)))
        .cloned()
        .collect();
    for name in unsafe_names {
        let Some(value) = map.remove(&name) else {
            continue;
        };
        let mut safe = without_secrets(&name).into_owned();
        let sum = map.get(&safe).and_then(Value::as_u64).zip(value.as_u64());
        if let Some((before, more)) = sum {
            map.insert(safe, before.saturating_add(more).into());
            continue;
        }
        while map.contains_key(&safe) {
            safe.push('\'');
        }
        map.insert(safe, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Durations, ErrorText, Shape, Slow};

    #[test]
    fn every_text_of_a_report_loses_its_secrets() {
        let mut report = Report::default();
        report.errors.items.push(ErrorText {
            sample: "could not connect to postgres://u:hunter2@h/d".to_owned(),
            detail: "Key (token)=(hunter2) already exists.".to_owned(),
            statement: "alter role a password 'hunter2'".to_owned(),
            ..ErrorText::default()
        });
        report.statements.by_max.push(Shape {
            slowest: Some(Slow {
                text: "select dblink('password=hunter2')".to_owned(),
                ..Slow::default()
            }),
            ..Shape::default()
        });
        let sessions = &mut report.sessions.applications;
        sessions.insert("job token=hunter2".to_owned(), 3);
        sessions.insert("job token=hunter2x".to_owned(), 4);
        sessions.insert("psql".to_owned(), 1);
        let users = &mut report.statements.applications;
        users.insert("pwd=hunter2".to_owned(), Durations::default());
        users.insert("pwd=hunter2x".to_owned(), Durations::default());
        redact(&mut report);
        let text = serde_json::to_string(&report).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
        let sum: u64 = report.sessions.applications.values().sum();
        assert_eq!((sum, report.sessions.applications.len()), (8, 2));
        assert_eq!(report.statements.applications.len(), 2);
    }

    #[test]
    fn a_report_without_secrets_stays_as_it_is() {
        let mut report = Report::default();
        report.totals.records = u64::MAX;
        report.totals.first_at = Some(i64::MIN);
        report.statements.hours.insert(23, Durations::default());
        let before = report.clone();
        redact(&mut report);
        assert_eq!(report, before);
    }
}
