//! Keeps the daemon's observations until the disk has them, also while it refuses.

use std::collections::{BTreeMap, VecDeque};

use pawang_core::{Evaluation, Facts, Report, Timestamp, Value};
use rusqlite::ErrorCode;

use crate::history::{Retention, Tended, Writer};
use crate::live::StoreStatus;
use crate::{Error, Store};

/// Memory for what waits while the disk refuses; beyond, the oldest is dropped and counted.
pub const WAITING_BYTES_MAX: usize = 64 << 20;
/// What one transaction takes at most, so that a long backlog is written a piece at a time.
const BATCH_BYTES_MAX: usize = 8 << 20;
/// Texts of statements that wait at most.
const TEXTS_MAX: usize = 5_000;
/// After so many refusals that are not the disk's, each round is written alone, and the one that is refused is dropped.
const REFUSALS_MAX: u32 = 3;
/// How often tending may meet damage before the history is set aside.
const DAMAGED_TENDS_MAX: u32 = 3;
/// How often one run of the daemon sets files aside; a disk that damages more than that needs a person.
const ASIDE_MAX: u32 = 3;
/// Notes that wait for the daemon at most.
const NOTES_MAX: usize = 20;

/// The one who writes: facts, findings and texts go in, and leave memory when the disk has them.
pub struct Recorder {
    store: Store,
    /// `None` after trouble; each flush tries to get a new one, which begins from what the disk really has.
    writer: Option<Writer>,
    waiting: VecDeque<Waiting>,
    texts: BTreeMap<i64, String>,
    bytes_max: usize,
    status: StoreStatus,
    troubles: BTreeMap<Part, Trouble>,
    refusals: u32,
    damaged_tends: u32,
    asides: u32,
    notes: Vec<String>,
}

/// What the disk may refuse; each comes back on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    History,
    Findings,
    Texts,
    Tending,
}

/// Since when and why the disk refuses.
struct Trouble {
    since: Timestamp,
    report: Report,
}

/// One round that the disk does not have yet.
struct Waiting {
    facts: Facts,
    bytes: usize,
    snapshots: usize,
}

impl Recorder {
    /// Takes the store's writer. When the history cannot be opened right now, facts wait in memory until it can.
    pub fn new(store: Store) -> Recorder {
        let status = StoreStatus {
            directory: store.directory().to_owned(),
            bytes: store.bytes(),
            ..StoreStatus::default()
        };
        let writer = store.writer();
        let mut recorder = Recorder {
            store,
            writer: None,
            waiting: VecDeque::new(),
            texts: BTreeMap::new(),
            bytes_max: WAITING_BYTES_MAX,
            status,
            troubles: BTreeMap::new(),
            refusals: 0,
            damaged_tends: 0,
            asides: 0,
            notes: Vec::new(),
        };
        match writer {
            Ok(writer) => recorder.writer = Some(writer),
            Err(error) => recorder.status.trouble = Some(error.report()),
        }
        recorder
    }

    /// Lowers the memory for what waits; the default is [`WAITING_BYTES_MAX`].
    pub fn bound_memory(&mut self, bytes: usize) {
        self.bytes_max = bytes;
    }

    /// Takes what one round newly saw; the next flush writes it.
    pub fn offer(&mut self, facts: Facts) {
        let snapshots = facts
            .sightings
            .iter()
            .filter(|sighting| sighting.seen.is_ok())
            .count();
        let bytes = memory(&facts);
        self.status.waiting_bytes += bytes;
        self.status.waiting_snapshots += snapshots;
        self.waiting.push_back(Waiting {
            facts,
            bytes,
            snapshots,
        });
        while self.status.waiting_bytes > self.bytes_max {
            let Some(oldest) = self.take() else { break };
            self.status.dropped_snapshots += oldest.snapshots as u64;
        }
    }

    /// Takes the normalised text of a statement; the next flush writes it.
    pub fn text(&mut self, queryid: i64, text: String) {
        if self.texts.len() < TEXTS_MAX {
            self.texts.insert(queryid, text);
        }
    }

    /// Opens, updates and closes findings; returns since when each open one is open, by fingerprint.
    ///
    /// While the disk refuses, findings that it does not have yet count from this evaluation on.
    pub fn judge(&mut self, evaluation: &Evaluation) -> BTreeMap<String, Timestamp> {
        let state = self.store.state().clone();
        let judged = match state.judge(evaluation) {
            Err(Error::Damaged { what, .. }) if self.asides < ASIDE_MAX => {
                self.asides += 1;
                self.store
                    .renew_state(&what, evaluation.at)
                    .and_then(|note| {
                        self.note(note);
                        state.judge(evaluation)
                    })
            }
            judged => judged,
        };
        match judged {
            Ok(since) => {
                self.settled(Part::Findings);
                since
            }
            Err(error) => {
                self.refused(Part::Findings, &error, evaluation.at);
                let mut since = state.known_since(&evaluation.instance.name);
                for finding in evaluation.findings() {
                    let fingerprint = finding.fingerprint.clone();
                    since.entry(fingerprint).or_insert(evaluation.at);
                }
                since
            }
        }
    }

    /// Writes all that waits for good, as far as the disk takes it; says how the store is doing.
    pub fn flush(&mut self, now: Timestamp) -> &StoreStatus {
        let outcome = match self.write_all(now) {
            Err(Error::Damaged { .. }) if self.asides < ASIDE_MAX => {
                self.renew(now).and_then(|()| self.write_all(now))
            }
            outcome => outcome,
        };
        match outcome {
            Ok(()) => {
                self.refusals = 0;
                self.settled(Part::History);
            }
            Err(error) => self.refused(Part::History, &error, now),
        }
        match self.write_texts(now) {
            Ok(()) => self.settled(Part::Texts),
            Err(error) => self.refused(Part::Texts, &error, now),
        }
        self.status.bytes = self.store.bytes();
        &self.status
    }

    /// Seals, compacts, rolls up and drops what is due, a bounded piece at a time.
    pub fn tend(&mut self, retention: &Retention, now: Timestamp) -> Tended {
        let tended = self.writer().and_then(|writer| writer.tend(retention, now));
        match tended {
            Ok(tended) => {
                self.damaged_tends = 0;
                self.settled(Part::Tending);
                tended
            }
            Err(error) => {
                // What was only in its transaction still waits here.
                self.writer = None;
                self.damaged_tends += u32::from(matches!(error, Error::Damaged { .. }));
                if self.damaged_tends >= DAMAGED_TENDS_MAX && self.asides < ASIDE_MAX {
                    self.damaged_tends = 0;
                    if let Err(error) = self.renew(now) {
                        self.refused(Part::Tending, &error, now);
                    }
                } else {
                    self.refused(Part::Tending, &error, now);
                }
                Tended {
                    refused: true,
                    ..Tended::default()
                }
            }
        }
    }

    /// Returns how the store is doing.
    pub fn status(&self) -> &StoreStatus {
        &self.status
    }

    /// Returns what people must know since the last call, such as a damaged file that was set aside.
    pub fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// Writes what waits, one bounded transaction after another.
    fn write_all(&mut self, now: Timestamp) -> Result<(), Error> {
        while !self.waiting.is_empty() {
            let alone = self.refusals >= REFUSALS_MAX;
            let written = self.write_batch(alone);
            if written.is_err() {
                // Its transaction is gone or half done; the next one starts from what the disk has.
                self.writer = None;
            }
            match written {
                Ok(count) => {
                    for _ in 0..count {
                        self.take();
                    }
                    self.status.committed_at = Some(now);
                }
                Err(error) if alone && !disk_refuses(&error) => {
                    let dropped = self.take().map_or(0, |waiting| waiting.snapshots);
                    self.status.dropped_snapshots += dropped as u64;
                    tracing::warn!(%error, dropped, "snapshots that the history refuses were dropped");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes the oldest of what waits in one transaction; returns how many rounds it held.
    fn write_batch(&mut self, alone: bool) -> Result<usize, Error> {
        self.writer()?;
        let writer = self.writer.as_mut().expect("it was just made");
        let (mut count, mut bytes) = (0, 0);
        for waiting in &self.waiting {
            if count > 0 && (alone || bytes + waiting.bytes > BATCH_BYTES_MAX) {
                break;
            }
            writer.append(&waiting.facts)?;
            bytes += waiting.bytes;
            count += 1;
        }
        writer.commit()?;
        Ok(count)
    }

    fn write_texts(&mut self, now: Timestamp) -> Result<(), Error> {
        let texts: Vec<(i64, String)> = std::mem::take(&mut self.texts).into_iter().collect();
        self.store.state().put_texts(&texts, now).inspect_err(|_| {
            self.texts = texts.into_iter().collect();
        })
    }

    fn writer(&mut self) -> Result<&mut Writer, Error> {
        if self.writer.is_none() {
            self.writer = Some(self.store.new_writer()?);
        }
        Ok(self.writer.as_mut().expect("it was just made"))
    }

    /// Sets the damaged history aside and begins anew.
    fn renew(&mut self, now: Timestamp) -> Result<(), Error> {
        self.writer = None;
        self.asides += 1;
        let note = self.store.renew_history(now)?;
        self.note(note);
        Ok(())
    }

    fn note(&mut self, note: String) {
        tracing::error!("{note}");
        if self.notes.len() < NOTES_MAX {
            self.notes.push(note);
        }
    }

    fn refused(&mut self, part: Part, error: &Error, now: Timestamp) {
        if part == Part::History {
            self.refusals += u32::from(!disk_refuses(error));
        }
        let mut report = error.report();
        let before = self.troubles.get(&part);
        if before.is_none() {
            tracing::error!(detail = report.detail.as_deref(), "{error}");
        }
        let since = before.map_or(now, |trouble| trouble.since);
        let waits = format!("since {since:.0}; what is seen waits in memory");
        report.detail = Some(match report.detail {
            Some(detail) => format!("{detail}; {waits}"),
            None => waits,
        });
        self.troubles.insert(part, Trouble { since, report });
        self.tell();
    }

    fn settled(&mut self, part: Part) {
        if self.troubles.remove(&part).is_some() {
            tracing::info!(?part, "the disk takes it again");
        }
        self.tell();
    }

    /// Shows the worst trouble: that of the history before others.
    fn tell(&mut self) {
        let trouble = self.troubles.values().next();
        self.status.trouble = trouble.map(|trouble| trouble.report.clone());
    }

    /// Forgets the oldest of what waits.
    fn take(&mut self) -> Option<Waiting> {
        let oldest = self.waiting.pop_front()?;
        self.status.waiting_bytes -= oldest.bytes;
        self.status.waiting_snapshots -= oldest.snapshots;
        Some(oldest)
    }
}

/// Returns whether it is the disk (or another process) that refuses, and not what was to be written.
fn disk_refuses(error: &Error) -> bool {
    match error {
        Error::Full { .. } | Error::File { .. } | Error::Damaged { .. } => true,
        Error::Database { source, .. } => matches!(
            source.sqlite_error_code(),
            Some(
                ErrorCode::SystemIoFailure
                    | ErrorCode::CannotOpen
                    | ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::ReadOnly
                    | ErrorCode::PermissionDenied
                    | ErrorCode::OutOfMemory
                    | ErrorCode::FileLockingProtocolFailed
            )
        ),
        _ => false,
    }
}

/// Estimates the memory that facts take.
fn memory(facts: &Facts) -> usize {
    let snapshots = facts
        .sightings
        .iter()
        .filter_map(|sighting| sighting.seen.as_ref().ok());
    let rows = snapshots.flat_map(|snapshot| &snapshot.rows);
    let values: usize = rows
        .map(|row| size_of::<Vec<Value>>() + row.iter().map(value_memory).sum::<usize>())
        .sum();
    size_of::<Facts>() + facts.sightings.len() * 256 + values
}

fn value_memory(value: &Value) -> usize {
    let beside = match value {
        Value::Text(text) => text.len(),
        Value::List(texts) => texts
            .iter()
            .map(|text| size_of::<String>() + text.len())
            .sum(),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Time(_) => 0,
    };
    size_of::<Value>() + beside
}
