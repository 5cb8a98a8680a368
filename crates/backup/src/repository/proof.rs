//! What was proven of a backup, and what it is worth now (invariant I8).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{BackupId, ClusterId, Repository};
use crate::Error;

/// How far a backup is proven; each state holds all that come before it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It was taken, and nothing was looked at since.
    #[default]
    Taken,
    /// What is stored is what was stored, byte for byte.
    Hashed,
    /// The files inside are those of the manifest, and the pages inside have their checksums.
    PageVerified,
    /// It was restored, recovered, started and asked.
    Proven,
}

/// Who proved something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProvenBy {
    /// The repository was read again.
    Verify,
    /// A restore into a server that was thrown away.
    Drill,
}

/// How long one phase took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// Its name: `fetch`, `replay`, `start`, ...
    pub name: String,
    /// How long it took.
    pub milliseconds: u64,
    /// How many bytes went through it, where they can be counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// What somebody found who looked at a backup; written once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// [`super::FORMAT`].
    pub format: u32,
    /// Which.
    pub backup: BackupId,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// How far it was looked at, and is proven when there are no problems.
    pub state: State,
    /// Whether all of it was looked at, or a sample.
    pub whole: bool,
    /// The parts that were read, when only some were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<String>,
    /// Who looked.
    pub by: ProvenBy,
    /// What is wrong with it; nothing when it is proven.
    #[serde(default)]
    pub problems: Vec<String>,
    /// What it was recovered to, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// How long each phase took.
    #[serde(default)]
    pub phases: Vec<Phase>,
    /// From the order to a server that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rto_milliseconds: Option<u64>,
    /// How much of the newest would have been lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpo_milliseconds: Option<u64>,
    /// The program, with its version.
    pub tool: String,
}

/// What a backup is worth, by all that is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// How far it is proven.
    pub state: State,
    /// Since when it is known, by the newest proof of this state.
    pub proven_at: Option<Timestamp>,
    /// What the newest look found wrong; a backup with problems is worth no more than `taken`.
    pub problems: Vec<String>,
}

/// Computes what a backup is worth: the best that was proven since the last time that something was found wrong.
///
/// What a look found wrong stays until a whole look that goes as far finds nothing.
pub fn standing(proofs: &[Proof]) -> Standing {
    let mut ordered: Vec<&Proof> = proofs.iter().collect();
    ordered.sort_by_key(|proof| proof.ended_at);
    let mut standing = Standing::default();
    let mut wrong_at = State::Taken;
    for proof in ordered {
        if !proof.problems.is_empty() {
            wrong_at = wrong_at.max(proof.state);
            standing = Standing {
                problems: proof.problems.clone(),
                ..Standing::default()
            };
            continue;
        }
        // A sample proves what it read, but takes nothing back.
        if !proof.whole || proof.state < wrong_at {
            continue;
        }
        wrong_at = State::Taken;
        standing.problems.clear();
        if proof.state >= standing.state {
            standing.state = proof.state;
            standing.proven_at = Some(proof.ended_at);
        }
    }
    standing
}

/// Returns what looks into the stored bytes found wrong, as long as nothing says that they are right again; what a restore
/// found wrong may have other causes.
pub fn rotten(proofs: &[Proof]) -> Option<Vec<String>> {
    let about = |proof: &&Proof| proof.by == ProvenBy::Verify || proof.problems.is_empty();
    let of_bytes: Vec<Proof> = proofs.iter().filter(about).cloned().collect();
    let problems = standing(&of_bytes).problems;
    (!problems.is_empty()).then_some(problems)
}

impl Repository {
    /// Adds a proof.
    ///
    /// # Errors
    /// The store refused, or has another proof of the same millisecond.
    pub async fn add_proof(&self, cluster: &ClusterId, proof: &Proof) -> Result<(), Error> {
        let path = cluster.proof(&proof.backup, proof.ended_at);
        self.create_json(&path, proof).await.map(drop)
    }

    /// Returns the proofs of a backup, oldest first.
    ///
    /// # Errors
    /// The store could not say, or a proof cannot be read.
    pub async fn proofs(&self, cluster: &ClusterId, id: &BackupId) -> Result<Vec<Proof>, Error> {
        let marks = self.marks(&cluster.proofs(id)).await?;
        Ok(marks.into_iter().map(|(proof, _)| proof).collect())
    }

    /// Returns what drills proved, oldest first, also of backups that are gone; one that cannot be read is passed over.
    ///
    /// # Errors
    /// The store could not say.
    pub async fn drills(&self, cluster: &ClusterId) -> Result<Vec<Proof>, Error> {
        let mut drills = Vec::new();
        for entry in self.list(&cluster.all_proofs()).await? {
            match self.read_json::<Proof>(&entry.path).await {
                Ok(proof) => drills.extend(proof.filter(|proof| proof.by == ProvenBy::Drill)),
                Err(Error::Format { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        drills.sort_by_key(|proof| proof.ended_at);
        Ok(drills)
    }

    /// Returns what a backup is worth.
    ///
    /// # Errors
    /// The store could not say, or a proof cannot be read.
    pub async fn standing(&self, cluster: &ClusterId, id: &BackupId) -> Result<Standing, Error> {
        Ok(standing(&self.proofs(cluster, id).await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(second: i64, state: State, whole: bool, problems: &[&str]) -> Proof {
        let at = Timestamp::from_second(second).unwrap();
        Proof {
            format: super::super::FORMAT,
            backup: BackupId::new(at, [0; 10]),
            started_at: at,
            ended_at: at,
            state,
            whole,
            parts: Vec::new(),
            by: ProvenBy::Verify,
            problems: problems.iter().map(ToString::to_string).collect(),
            target: None,
            phases: Vec::new(),
            rto_milliseconds: None,
            rpo_milliseconds: None,
            tool: "pawang".to_owned(),
        }
    }

    #[test]
    fn a_backup_is_worth_the_best_that_was_proven_since_the_last_problem() {
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        for (proofs, state, proven_at, problems) in [
            (vec![], State::Taken, None, 0),
            (
                vec![proof(1, State::Proven, true, &[])],
                State::Proven,
                at(1),
                0,
            ),
            (
                vec![
                    proof(2, State::Hashed, true, &[]),
                    proof(1, State::Proven, true, &[]),
                ],
                State::Proven,
                at(1),
                0,
            ),
            (
                vec![
                    proof(1, State::Proven, true, &[]),
                    proof(2, State::Hashed, true, &["rot"]),
                ],
                State::Taken,
                None,
                1,
            ),
            (
                vec![
                    proof(1, State::Hashed, true, &["rot"]),
                    proof(2, State::Hashed, false, &[]),
                ],
                State::Taken,
                None,
                1,
            ),
            (
                vec![
                    proof(1, State::Proven, true, &["amcheck"]),
                    proof(2, State::PageVerified, true, &[]),
                ],
                State::Taken,
                None,
                1,
            ),
            (
                vec![
                    proof(1, State::Hashed, true, &["rot"]),
                    proof(2, State::PageVerified, true, &[]),
                ],
                State::PageVerified,
                at(2),
                0,
            ),
        ] {
            let standing = standing(&proofs);
            assert_eq!(standing.state, state, "{proofs:?}");
            assert_eq!(standing.proven_at, proven_at, "{proofs:?}");
            assert_eq!(standing.problems.len(), problems, "{proofs:?}");
        }
    }

    #[test]
    fn what_rots_is_told_from_what_a_restore_found() {
        let rot = proof(1, State::Hashed, false, &["rot"]);
        let share = proof(2, State::Hashed, false, &[]);
        let whole = proof(3, State::Hashed, true, &[]);
        let mut drill = proof(4, State::Proven, true, &["a probe"]);
        drill.by = ProvenBy::Drill;
        for (proofs, expected) in [
            (vec![&drill], false),
            (vec![&rot, &share, &drill], true),
            (vec![&rot, &whole, &drill], false),
        ] {
            let proofs: Vec<Proof> = proofs.into_iter().cloned().collect();
            assert_eq!(rotten(&proofs).is_some(), expected, "{proofs:?}");
        }
    }
}
