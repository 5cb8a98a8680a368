//! Stored bytes are read again bit by bit: what was not read for longest comes first, so that all of it is read within a
//! promised time. Pure: what was read is in the proofs, and whoever goes on next goes on from there.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::repository::{BackupId, Commit, Part, Proof, ProvenBy};

/// Turns are begun so often, unless all has to be read sooner.
const TURN_EVERY: SignedDuration = SignedDuration::from_hours(24);
/// So many turns have to be enough where little time is promised.
const TURNS: i32 = 4;
/// The share of the promised time in which all is read: the rest is for windows that were missed.
const AIM_PERCENT: i128 = 80;

/// When a part was last read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Read {
    /// When; a part that never was read again, when its backup ended.
    pub at: Timestamp,
    /// Its backup.
    pub backup: BackupId,
    /// Its name.
    pub part: String,
    /// Its size as it is stored.
    pub bytes: u64,
}

/// What one turn reads again of one backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The backup.
    pub backup: BackupId,
    /// Its parts, what was not read for longest first.
    pub parts: Vec<String>,
    /// How many bytes they have together.
    pub bytes: u64,
}

/// Returns when each part of a backup was last read.
pub fn reads<'a>(commit: &Commit, proofs: impl Iterator<Item = &'a Proof>) -> Vec<Read> {
    let mut all = commit.ended_at;
    let mut single: BTreeMap<&str, Timestamp> = BTreeMap::new();
    for proof in proofs.filter(|proof| proof.by == ProvenBy::Verify) {
        if proof.whole {
            all = all.max(proof.ended_at);
        }
        for part in &proof.parts {
            let at = single.entry(part).or_insert(proof.ended_at);
            *at = proof.ended_at.max(*at);
        }
    }
    let read = |part: &Part| Read {
        at: single
            .get(part.name.as_str())
            .map_or(all, |at| all.max(*at)),
        backup: commit.backup.clone(),
        part: part.name.clone(),
        bytes: part.bytes,
    };
    commit.parts.iter().map(read).collect()
}

/// Returns when the last turn ended, by what it wrote.
pub fn turn_at<'a>(proofs: impl Iterator<Item = &'a Proof>) -> Option<Timestamp> {
    let turns = proofs.filter(|proof| !proof.parts.is_empty());
    turns.map(|proof| proof.ended_at).max()
}

/// Returns how often a turn is begun when all is to be read within a time.
pub fn turn_every(every: SignedDuration) -> SignedDuration {
    (every / TURNS).min(TURN_EVERY)
}

/// Returns what a turn reads that begins now: as much as the time since the last one asks for, and one part at least.
pub fn plan(
    mut reads: Vec<Read>,
    turn_at: Option<Timestamp>,
    every: SignedDuration,
    now: Timestamp,
) -> Vec<Share> {
    let total = reads.iter().map(|read| i128::from(read.bytes)).sum();
    let mut wanted = wanted(total, turn_at, every, now);
    reads.sort();
    let mut shares: Vec<Share> = Vec::new();
    for read in reads {
        if wanted <= 0 {
            break;
        }
        wanted -= i128::from(read.bytes);
        let known = shares.iter().position(|share| share.backup == read.backup);
        let place = known.unwrap_or_else(|| {
            shares.push(Share {
                backup: read.backup.clone(),
                parts: Vec::new(),
                bytes: 0,
            });
            shares.len() - 1
        });
        shares[place].parts.push(read.part);
        shares[place].bytes += read.bytes;
    }
    shares
}

/// Returns the names of what a turn reads that begins now, of what was read at a time and has so many bytes.
pub(crate) fn due(
    mut aged: Vec<(Timestamp, &str, u64)>,
    turn_at: Option<Timestamp>,
    every: SignedDuration,
    now: Timestamp,
) -> Vec<&str> {
    let total = aged.iter().map(|(_, _, bytes)| i128::from(*bytes)).sum();
    let mut wanted = wanted(total, turn_at, every, now);
    aged.sort_unstable();
    let within = aged.into_iter().take_while(|(_, _, bytes)| {
        let more = wanted > 0;
        wanted -= i128::from(*bytes);
        more
    });
    within.map(|(_, name, _)| name).collect()
}

/// Returns how many bytes the time since the last turn asks for.
fn wanted(total: i128, turn_at: Option<Timestamp>, every: SignedDuration, now: Timestamp) -> i128 {
    let since = turn_at.map_or_else(|| turn_every(every), |at| now.duration_since(at));
    let since = since.clamp(SignedDuration::ZERO, every);
    let aim = (every.as_millis() * AIM_PERCENT / 100).max(1);
    total * since.as_millis() / aim + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: SignedDuration = SignedDuration::from_hours(24);

    fn at(day: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + DAY * i32::try_from(day).unwrap()
    }

    fn backup(number: u8) -> BackupId {
        BackupId::new(Timestamp::UNIX_EPOCH, [number; 10])
    }

    fn read(backup_number: u8, part: usize, bytes: u64, day: i64) -> Read {
        Read {
            at: at(day),
            backup: backup(backup_number),
            part: format!("part-{part:05}"),
            bytes,
        }
    }

    #[test]
    fn what_was_not_read_for_longest_comes_first() {
        let reads = vec![
            read(1, 0, 100, 9),
            read(1, 1, 100, 3),
            read(2, 0, 100, 2),
            read(2, 1, 100, 8),
        ];
        // A tenth of the time passed: an eighth of the bytes, in whole parts.
        let shares = plan(reads.clone(), Some(at(9)), DAY * 10, at(10));
        let parts = |shares: &[Share]| -> Vec<(BackupId, Vec<String>)> {
            let parts = shares.iter();
            let parts = parts.map(|share| (share.backup.clone(), share.parts.clone()));
            parts.collect()
        };
        assert_eq!(parts(&shares), [(backup(2), vec!["part-00000".to_owned()])]);
        let all = plan(reads, Some(at(0)), DAY * 10, at(90));
        assert_eq!(all.iter().map(|share| share.bytes).sum::<u64>(), 400);
        assert_eq!(all[0].parts, ["part-00000", "part-00001"]);
        assert_eq!(plan(Vec::new(), None, DAY, at(1)), []);
    }

    #[test]
    fn everything_is_read_within_the_promise_by_bounded_turns() {
        let every = DAY * 30;
        for (turn_days, parts) in [(1, 3), (1, 1000), (7, 200)] {
            let mut reads: Vec<Read> = (0..parts)
                .map(|part| {
                    read(
                        u8::try_from(part % 7).unwrap(),
                        part,
                        1 + part as u64 % 9,
                        0,
                    )
                })
                .collect();
            let total: u64 = reads.iter().map(|read| read.bytes).sum();
            let mut last = None;
            for day in (turn_days..200).step_by(usize::try_from(turn_days).unwrap()) {
                let shares = plan(reads.clone(), last, every, at(day));
                let bytes: u64 = shares.iter().map(|share| share.bytes).sum();
                let most = total * u64::try_from(turn_days).unwrap() / 24 + 10;
                assert!(bytes > 0 && bytes <= most, "day {day}: {bytes} of {total}");
                for share in shares {
                    for part in share.parts {
                        let found = reads.iter_mut().find(|it| it.part == part).unwrap();
                        found.at = at(day);
                    }
                }
                last = Some(at(day));
                let oldest = reads.iter().map(|read| read.at).min().unwrap();
                let age = at(day).duration_since(oldest);
                assert!(age <= every, "{parts} parts each {turn_days} d, day {day}");
            }
        }
        assert_eq!(turn_every(every), DAY);
        assert_eq!(turn_every(DAY), DAY / 4);
    }
}
