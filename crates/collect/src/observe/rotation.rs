//! Which of very many databases a round looks into, so that each has its turn.

use std::collections::{BTreeMap, BTreeSet};

/// How often each collector was asked, and at which of its turns in which database.
#[derive(Default)]
pub(super) struct Rotation {
    /// Collector to its column in `asked`, and the number of its turns.
    turns: BTreeMap<String, (usize, u32)>,
    /// Database to the last turn of each collector there; 0 is never.
    asked: BTreeMap<String, Vec<u32>>,
}

impl Rotation {
    /// Returns at most `most` of the databases: those that waited for most turns of the wanted collectors, `home`
    /// always, since nothing is to be opened there.
    pub(super) fn choose(
        &mut self,
        databases: &[String],
        wanted: &[&str],
        most: usize,
        home: &str,
    ) -> BTreeSet<String> {
        let existing: BTreeSet<&str> = databases.iter().map(String::as_str).collect();
        self.asked
            .retain(|name, _| existing.contains(name.as_str()));
        let turns: Vec<(usize, u32)> = wanted.iter().map(|name| self.turn(name)).collect();
        let mut waiting: Vec<(u64, &String)> = databases
            .iter()
            .map(|database| (self.waited(database, &turns), database))
            .collect();
        waiting.sort_by_key(|(waited, name)| (*name != home, std::cmp::Reverse(*waited), *name));
        waiting.truncate(most);
        let chosen: BTreeSet<String> = waiting.into_iter().map(|(_, name)| name.clone()).collect();
        for name in &chosen {
            let asked = self.asked.entry(name.clone()).or_default();
            for (column, turn) in &turns {
                if asked.len() <= *column {
                    asked.resize(*column + 1, 0);
                }
                asked[*column] = *turn;
            }
        }
        chosen
    }

    /// Forgets everything: all databases have their turn in every round.
    pub(super) fn forget(&mut self) {
        *self = Rotation::default();
    }

    /// Begins the next turn of a collector.
    fn turn(&mut self, collector: &str) -> (usize, u32) {
        let columns = self.turns.len();
        let turn = self
            .turns
            .entry(collector.to_owned())
            .or_insert((columns, 0));
        turn.1 = turn.1.saturating_add(1);
        *turn
    }

    /// Returns the turns that passed since a database was last looked into, added up over collectors.
    fn waited(&self, database: &str, turns: &[(usize, u32)]) -> u64 {
        let asked = self.asked.get(database);
        let last = |column: usize| asked.and_then(|asked| asked.get(column)).copied();
        let waited = turns
            .iter()
            .map(|(column, turn)| u64::from(turn - last(*column).unwrap_or(0)));
        waited.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_collector_reaches_every_database_and_no_round_is_larger_than_its_bound() {
        let databases: Vec<String> = (0..200).map(|i| format!("d{i:03}")).collect();
        let mut rotation = Rotation::default();
        let mut seen: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for round in 1..=400 {
            let wanted: &[&str] = match round {
                // Twenty-three rounds suffice for one that is asked each time, so one asked at every seventh needs 161.
                _ if round % 7 == 0 => &["tables", "grants"],
                _ => &["tables"],
            };
            let chosen = rotation.choose(&databases, wanted, 10, "d050");
            assert!(chosen.len() <= 10 && chosen.contains("d050"));
            for name in wanted {
                seen.entry(name).or_default().extend(chosen.iter().cloned());
            }
            if round == 25 {
                assert_eq!(seen["tables"].len(), 200);
            }
        }
        assert_eq!(seen["grants"].len(), 200, "the slow one is not starved");
    }

    #[test]
    fn databases_that_are_gone_are_forgotten() {
        let mut rotation = Rotation::default();
        let names = |range: std::ops::Range<u32>| -> Vec<String> {
            range.map(|i| format!("d{i}")).collect()
        };
        rotation.choose(&names(0..9), &["tables"], 9, "d0");
        rotation.choose(&names(5..9), &["tables"], 9, "d0");
        assert_eq!(rotation.asked.len(), 4);
    }
}
