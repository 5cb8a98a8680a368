//! Drills of backups that other tools keep: they are in the journal, since the repositories of other tools are only read.

use pawang_backup::drill::other::OtherProof;
use pawang_core::Server;
use pawang_core::backup::OtherDrill;
use pawang_store::Error;
use pawang_store::state::State;

/// What the journal calls such a drill.
pub(crate) const ACTION: &str = "drill.run";

/// The drills that a journal tells of, read on from where it was left.
#[derive(Debug, Default)]
pub(crate) struct Drills {
    /// Oldest first.
    pub(crate) proofs: Vec<OtherProof>,
    read_to: i64,
}

impl Drills {
    /// Reads what came since.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub(crate) fn read_on(&mut self, state: &State) -> Result<(), Error> {
        let (records, newest) = state.journal_of(ACTION, self.read_to)?;
        let details = records.into_iter().map(|record| record.entry.detail);
        let proofs = details.filter_map(|detail| serde_json::from_value(detail).ok());
        self.proofs.extend(proofs);
        self.read_to = newest;
        Ok(())
    }

    /// Returns what was proven last of each set of backups of a server's cluster.
    pub(crate) fn of(&self, server: &Server) -> Vec<OtherDrill> {
        let identifier = server.epoch.system_identifier;
        let ours = |proof: &&OtherProof| {
            let cluster = proof.cluster.as_ref();
            identifier != 0 && cluster.is_some_and(|it| it.system_identifier == identifier)
        };
        let mut sets: Vec<(&str, &str)> = Vec::new();
        for proof in self.proofs.iter().filter(ours) {
            let set = (proof.tool.as_str(), proof.set.as_str());
            if !sets.contains(&set) {
                sets.push(set);
            }
        }
        sets.iter().filter_map(|set| self.last(*set)).collect()
    }

    /// Tells of the drills of one set; one that failed before anything was there to read is one of it too.
    fn last(&self, (tool, set): (&str, &str)) -> Option<OtherDrill> {
        let mut newest = self.proofs.iter().rev();
        let of_set = |proof: &&OtherProof| proof.tool == tool && proof.set == set;
        let last = newest.find(of_set)?;
        let good = |proof: &&OtherProof| of_set(proof) && proof.whole && proof.problems.is_empty();
        let proven = self.proofs.iter().rev().find(good);
        let passed = last.problems.is_empty();
        Some(OtherDrill {
            tool: tool.to_owned(),
            set: set.to_owned(),
            at: last.ended_at,
            passed,
            detail: match passed {
                true => format!("recovered to {}", last.target),
                false => last.problems.join("; "),
            },
            proven: proven.map(|proof| (proof.backup.clone(), proof.ended_at)),
        })
    }
}
