//! Texts of statements: normalised before they are kept, and each asked for once.

use std::collections::BTreeSet;
use std::sync::Arc;

use pawang_core::{Column, ColumnKind, Facts, Snapshot, Value};
use pawang_store::text::normalise;

/// The column that carries the text of a statement, in every collector that has one.
const QUERY: &str = "query";
/// Columns that carry the identity of a statement.
const QUERY_IDS: [&str; 2] = ["queryid", "query_id"];
/// Identities remembered as asked for; beyond that the memory starts anew and texts are asked for once more.
const ASKED_MAX: usize = 20_000;
/// Texts asked for at a time.
pub(super) const ASKED_AT_ONCE_MAX: usize = 200;

/// Replaces every query text by its normalised form; a snapshot that somebody else holds is copied first.
pub(super) fn normalise_all(facts: &mut Facts) {
    for sighting in &mut facts.sightings {
        if let Ok(snapshot) = &mut sighting.seen
            && let Some(column) = query_column(&snapshot.columns)
        {
            normalise_column(Arc::make_mut(snapshot), column);
        }
    }
}

fn query_column(columns: &[Column]) -> Option<usize> {
    let is_query = |column: &Column| column.name == QUERY && column.kind == ColumnKind::Info;
    columns.iter().position(is_query)
}

fn normalise_column(snapshot: &mut Snapshot, column: usize) {
    for row in &mut snapshot.rows {
        if let Some(Value::Text(text)) = row.get_mut(column) {
            *text = normalise(text).into();
        }
    }
}

/// Which statements' texts were asked for.
#[derive(Default)]
pub(super) struct Asked {
    asked: BTreeSet<i64>,
    waiting: BTreeSet<i64>,
}

impl Asked {
    /// Notes the statements that a round or a sample saw.
    pub(super) fn notice(&mut self, snapshot: &Snapshot) {
        for (index, column) in snapshot.columns.iter().enumerate() {
            if !QUERY_IDS.contains(&column.name.as_str()) {
                continue;
            }
            for row in &snapshot.rows {
                if let Some(Value::Int(id)) = row.get(index)
                    && !self.asked.contains(id)
                    && self.waiting.len() < ASKED_MAX
                {
                    self.waiting.insert(*id);
                }
            }
        }
    }

    /// Returns the next statements to ask for; they count as asked for from now on.
    pub(super) fn next(&mut self) -> Vec<i64> {
        let mut next = Vec::new();
        while next.len() < ASKED_AT_ONCE_MAX
            && let Some(id) = self.waiting.pop_first()
        {
            next.push(id);
        }
        if self.asked.len() + next.len() > ASKED_MAX {
            self.asked.clear();
        }
        self.asked.extend(&next);
        next
    }

    /// Takes back that statements were asked for, because the server did not answer.
    pub(super) fn take_back(&mut self, ids: &[i64]) {
        for id in ids {
            self.asked.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use pawang_core::{Cost, Timestamp};

    use super::*;

    fn snapshot(ids: &[i64]) -> Snapshot {
        let column = Column {
            name: "queryid".to_owned(),
            kind: ColumnKind::Label,
            unit: None,
        };
        Snapshot {
            collector: "statements".to_owned(),
            database: None,
            at: Timestamp::UNIX_EPOCH,
            epoch: None,
            cost: Cost::default(),
            columns: [column].into(),
            rows: ids.iter().map(|id| vec![Value::Int(*id)]).collect(),
        }
    }

    #[test]
    fn each_text_is_asked_for_once_and_again_when_nobody_answered() {
        let mut asked = Asked::default();
        asked.notice(&snapshot(&[3, 1, 3]));
        assert_eq!(asked.next(), [1, 3]);
        asked.notice(&snapshot(&[1, 2, 3]));
        assert_eq!(asked.next(), [2]);
        asked.take_back(&[2]);
        asked.notice(&snapshot(&[1, 2, 3]));
        assert_eq!(asked.next(), [2]);
        assert_eq!(asked.next(), [0; 0]);
    }

    #[test]
    fn a_flood_of_statements_is_asked_for_in_pieces() {
        let mut asked = Asked::default();
        let ids: Vec<i64> = (0..1_000).collect();
        asked.notice(&snapshot(&ids));
        for _ in 0..5 {
            assert_eq!(asked.next().len(), ASKED_AT_ONCE_MAX);
        }
        assert_eq!(asked.next(), [0; 0]);
    }
}
