//! What each process was last seen with: its statement, its role, its database. Other sections ask it about processes that they only know
//! by number: who holds a lock, who crashed.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use super::{Event, ShapeId};
use crate::extract::{named, printable};
use crate::record::{Origin, Record};

/// Most processes that are remembered; the longest unseen half is forgotten when there are more.
pub(crate) const PROCESSES_MAX: usize = 8_192;

/// Longest name of a role, database or application, in bytes: what PostgreSQL allows, each as four.
const NAME_BYTES_MAX: usize = 252;

/// What is known of a process at one point of the log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Known {
    /// Start of its session in seconds; 0 when not said.
    pub(crate) started: u32,
    /// The statement.
    pub(crate) shape: Option<ShapeId>,
    /// Role, database and application.
    pub(crate) who: Box<str>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    first: Known,
    last: Known,
    turn: u64,
}

/// What each process was first and last seen with in a part of a log.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Processes {
    rows: HashMap<u32, Row, FixedState>,
    turn: u64,
}

impl Processes {
    /// Adds one record that has a statement.
    pub(crate) fn take(&mut self, event: &Event<'_>) {
        let record = event.record;
        if event.shape.is_none() || record.pid == 0 || record.origin != Origin::Server {
            return;
        }
        self.turn += 1;
        if let Some(row) = self.rows.get_mut(&record.pid)
            && row.last.started == record.session_started
        {
            row.last.shape = event.shape;
            row.turn = self.turn;
            return;
        }
        let known = Known {
            started: record.session_started,
            shape: event.shape,
            who: who(record).into(),
        };
        let turn = self.turn;
        self.rows
            .entry(record.pid)
            .and_modify(|row| {
                row.last = known.clone();
                row.turn = turn;
            })
            .or_insert_with(|| Row {
                first: known.clone(),
                last: known,
                turn,
            });
        self.shrink();
    }

    /// Adds the part that follows.
    pub(crate) fn absorb(&mut self, later: Processes) {
        let base = self.turn;
        self.turn += later.turn;
        for (pid, mut row) in later.rows {
            row.turn += base;
            match self.rows.get_mut(&pid) {
                Some(earlier) => {
                    earlier.last = row.last;
                    earlier.turn = row.turn;
                }
                None => {
                    self.rows.insert(pid, row);
                }
            }
        }
        self.shrink();
    }

    /// Returns what the log has last of a process.
    pub(crate) fn last(&self, pid: u32) -> Option<&Known> {
        self.rows.get(&pid).map(|row| &row.last)
    }

    /// Returns what the log has first of a process.
    pub(crate) fn first(&self, pid: u32) -> Option<&Known> {
        self.rows.get(&pid).map(|row| &row.first)
    }

    fn shrink(&mut self) {
        if self.rows.len() <= PROCESSES_MAX {
            return;
        }
        let mut turns: Vec<u64> = self.rows.values().map(|row| row.turn).collect();
        let middle = turns.len() / 2;
        let (_, &mut middle, _) = turns.select_nth_unstable(middle);
        self.rows.retain(|_, row| row.turn >= middle);
    }
}

/// Returns `role@database (application)`, as far as the record says.
pub(crate) fn who(record: &Record<'_>) -> String {
    let name = |bytes: &[u8]| printable(&named(bytes), NAME_BYTES_MAX);
    let mut who = name(record.user);
    if !record.database.is_empty() {
        who.push('@');
        who.push_str(&name(record.database));
    }
    if !record.application.is_empty() {
        let gap = if who.is_empty() { "" } else { " " };
        who.push_str(&format!("{gap}({})", name(record.application)));
    }
    who
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::KindId;

    fn seen(processes: &mut Processes, pid: u32, started: u32, user: &str, shape: u64) {
        let record = Record {
            pid,
            session_started: started,
            user: user.as_bytes(),
            database: b"shop",
            application: b"psql",
            ..Record::default()
        };
        processes.take(&Event {
            record: &record,
            kind: KindId(0),
            shape: Some(ShapeId(shape)),
        });
    }

    #[test]
    fn the_last_statement_is_that_of_the_later_part() {
        let (mut first, mut second) = (Processes::default(), Processes::default());
        seen(&mut first, 7, 1, "a", 1);
        seen(&mut first, 7, 1, "a", 2);
        seen(&mut second, 7, 9, "b", 3);
        seen(&mut second, 8, 9, "b", 4);
        first.absorb(second);
        let last = first.last(7).expect("it was seen");
        assert_eq!(
            (last.shape, &*last.who),
            (Some(ShapeId(3)), "b@shop (psql)")
        );
        assert_eq!(
            first.first(7).map(|known| known.shape),
            Some(Some(ShapeId(1)))
        );
        assert!(first.last(8).is_some() && first.last(9).is_none());
    }

    #[test]
    fn the_longest_unseen_are_forgotten() {
        let mut processes = Processes::default();
        for pid in 1..=u32::try_from(PROCESSES_MAX).expect("it fits") + 1 {
            seen(&mut processes, pid, 1, "a", 1);
        }
        assert!(processes.rows.len() <= PROCESSES_MAX / 2 + 1);
        assert!(processes.last(1).is_none());
        assert!(
            processes
                .last(u32::try_from(PROCESSES_MAX).expect("it fits"))
                .is_some()
        );
    }
}
