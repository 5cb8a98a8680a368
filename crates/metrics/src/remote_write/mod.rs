//! Remote-write 1.0: everything that is seen, to a Prometheus-compatible store, each sample at its own time.
//!
//! What is offered goes to a queue on disk first and from there to the store, oldest first. Nothing runs by itself and
//! nothing reads a clock: whoever owns a [`Remote`] offers what is new and calls [`Remote::step`].
//! Version 2.0 of the protocol is not spoken: its receivers take 1.0 as well.

mod encode;
mod message;
mod queue;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pawang_config::RemoteWriteConfig;
use pawang_core::{ByteSize, Timestamp};
use pawang_http::{Answer, Client, Place, Request, basic};
use pawang_store::live::{Present, RemoteWriteStatus};

use crate::Error;
use crate::name;
use encode::{Batch, Encoder};
use queue::{Queue, Record};

/// Folder of all queues, in the data directory.
const FOLDER: &str = "remote-write";
/// The first pause after an attempt that did not work out; each further one doubles it.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause of ours.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// The longest pause that a store may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);
/// How long one request may take, from the connection to the end of the answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Longest file with a password or token.
const SECRET_BYTES_MAX: u64 = 64 * 1024;
/// Longest words of a store that are shown.
const WORDS_MAX: usize = 300;

/// One remote store with its queue; shared by whoever offers and whoever sends.
pub struct Remote {
    name: String,
    username: Option<String>,
    password_file: Option<PathBuf>,
    token_file: Option<PathBuf>,
    place: Place,
    waiting: Mutex<Waiting>,
    client: tokio::sync::Mutex<Client>,
}

struct Waiting {
    encoder: Encoder,
    queue: Queue,
    sent: u64,
    dropped: u64,
    failures: u32,
    retry_at: Option<Timestamp>,
    trouble: Option<String>,
    /// Why the newest samples could not be put into the queue.
    unkept: Option<String>,
}

/// What one step did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The queue is empty.
    Idle,
    /// The store is left alone until then.
    Waiting {
        /// When a step is worth it again.
        until: Timestamp,
    },
    /// One request was acknowledged; there may be more.
    Sent {
        /// Samples in it.
        samples: u64,
    },
    /// One request was refused for good, and dropped; there may be more.
    Dropped {
        /// Samples in it.
        samples: u64,
        /// What the store said.
        why: String,
    },
    /// The store does not answer, or is busy; the request stays at the head of the queue.
    Kept {
        /// When it is tried again.
        until: Timestamp,
        /// What happened.
        why: String,
    },
}

/// What an answer means for the request.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    Drop,
    Keep,
}

impl Remote {
    /// Opens the queue of a store below the data directory; what an earlier process left in it is sent first.
    ///
    /// # Errors
    /// The folder cannot be made or read, or the address is none.
    pub fn open(config: &RemoteWriteConfig, data_directory: &Path) -> Result<Remote, Error> {
        let wrong = |error: pawang_http::Error| Error::Url {
            name: config.name.clone(),
            problem: error.to_string(),
        };
        let place = Place::parse(config.url.reveal()).map_err(wrong)?;
        let client = Client::new(place.clone(), None).map_err(wrong)?;
        let directory = data_directory.join(FOLDER).join(folder(&config.name));
        let ByteSize(bytes_max) = config.queue_size.0;
        Ok(Remote {
            name: config.name.clone(),
            username: config.username.clone(),
            password_file: config.password_file.clone(),
            token_file: config.token_file.clone(),
            client: tokio::sync::Mutex::new(client),
            place,
            waiting: Mutex::new(Waiting {
                encoder: Encoder::new(&config.labels, config.collectors.as_deref()),
                queue: Queue::open(&directory, bytes_max)?,
                sent: 0,
                dropped: 0,
                failures: 0,
                retry_at: None,
                trouble: None,
                unkept: None,
            }),
        })
    }

    /// Returns the store's name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Puts into the queue what is new since this instance was offered last, and an end to the series that ended.
    ///
    /// It writes to disk and takes milliseconds, a second for 10,000 tables. What the disk refuses is dropped and counted.
    pub fn offer(&self, present: &Arc<Present>) {
        let waiting = &mut *self.lock();
        let Waiting { encoder, queue, .. } = waiting;
        let mut kept = Kept::default();
        let late = encoder.offer(present, &mut |batch| kept.push(queue, &batch));
        waiting.took(kept, late);
    }

    /// Ends all series of an instance that is no longer looked after.
    pub fn forget(&self, instance: &str, now: Timestamp) {
        let waiting = &mut *self.lock();
        let Waiting { encoder, queue, .. } = waiting;
        let mut kept = Kept::default();
        encoder.forget(instance, now, &mut |batch| kept.push(queue, &batch));
        waiting.took(kept, 0);
    }

    /// Sends the oldest request, if it is time; takes at most half a minute. Dropping the future loses nothing.
    pub async fn step(&self, now: Timestamp) -> Step {
        let mut client = self.client.lock().await;
        let record = match self.next(now) {
            Ok(record) => record,
            Err(step) => return step,
        };
        let answer = match self.authorization() {
            Ok(authorization) => post(&mut client, &record.body, authorization).await,
            Err(problem) => Err(problem),
        };
        let mut waiting = self.lock();
        let samples = u64::from(record.samples);
        let (verdict, why, retry_after) = match answer {
            Ok(answer) => (
                judge(answer.status),
                words(&self.place, &answer),
                answer.retry_after,
            ),
            Err(problem) => {
                let why = format!("{}: {problem}", self.place.shown());
                (Verdict::Keep, why, None)
            }
        };
        match verdict {
            Verdict::Good => {
                waiting.sent += samples;
                waiting.failures = 0;
                waiting.trouble = None;
                waiting.pop(&record);
                Step::Sent { samples }
            }
            Verdict::Drop => {
                waiting.dropped += samples;
                waiting.failures = 0;
                waiting.trouble = Some(why.clone());
                waiting.pop(&record);
                Step::Dropped { samples, why }
            }
            Verdict::Keep => {
                let until = waiting.pause(now, retry_after);
                waiting.trouble = Some(why.clone());
                Step::Kept { until, why }
            }
        }
    }

    /// Returns how the store is doing.
    pub fn status(&self) -> RemoteWriteStatus {
        let waiting = self.lock();
        RemoteWriteStatus {
            name: self.name.clone(),
            samples_sent: waiting.sent,
            waiting_bytes: waiting.queue.bytes(),
            samples_dropped: waiting.dropped,
            trouble: waiting.unkept.clone().or_else(|| waiting.trouble.clone()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the oldest request, or why none is sent now.
    fn next(&self, now: Timestamp) -> Result<Record, Step> {
        let waiting = &mut *self.lock();
        // A clock that was set back must not silence the store for longer than any pause.
        let longest = now.saturating_add(RETRY_AFTER_MAX).unwrap_or(now);
        if let Some(until) = waiting
            .retry_at
            .filter(|until| *until > now && *until <= longest)
        {
            return Err(Step::Waiting { until });
        }
        waiting.retry_at = None;
        match waiting.queue.front(&mut waiting.dropped) {
            Ok(Some(record)) => Ok(record),
            Ok(None) => Err(Step::Idle),
            Err(error) => {
                let why = error.report().to_string();
                waiting.trouble = Some(why.clone());
                let until = waiting.pause(now, None);
                Err(Step::Kept { until, why })
            }
        }
    }

    /// Reads the files anew each time, so that a password that was changed needs no restart.
    fn authorization(&self) -> Result<Option<String>, String> {
        let read = |path: &Path| secret(path).map_err(|error| error.report().to_string());
        if let Some(path) = &self.token_file {
            return Ok(Some(format!("Bearer {}", read(path)?)));
        }
        if let Some(username) = &self.username {
            let password = self.password_file.as_deref().map(read).transpose()?;
            let password = password.unwrap_or_default();
            return Ok(Some(basic(&format!("{username}:{password}"))));
        }
        Ok(self.place.user_info.as_deref().map(basic))
    }
}

/// What became of the requests of one offer.
#[derive(Default)]
struct Kept {
    dropped: u64,
    problem: Option<String>,
}

impl Kept {
    fn push(&mut self, queue: &mut Queue, batch: &Batch) {
        match queue.push(batch.samples, &batch.body) {
            Ok(dropped) => self.dropped += dropped,
            Err(error) => {
                self.dropped += u64::from(batch.samples);
                self.problem = Some(error.report().to_string());
            }
        }
    }
}

impl Waiting {
    fn took(&mut self, kept: Kept, late: u64) {
        self.dropped += kept.dropped + late;
        self.unkept = kept.problem;
    }

    fn pop(&mut self, record: &Record) {
        if let Err(error) = self.queue.pop(record) {
            self.trouble = Some(error.report().to_string());
        }
    }

    fn pause(&mut self, now: Timestamp, wanted: Option<Duration>) -> Timestamp {
        let doubled = PAUSE_MIN * 2_u32.pow(self.failures.min(10));
        let pause = wanted.map_or(doubled.min(PAUSE_MAX), |wanted| {
            wanted.clamp(PAUSE_MIN, RETRY_AFTER_MAX)
        });
        self.failures += 1;
        let until = now.saturating_add(pause).unwrap_or(now);
        self.retry_at = Some(until);
        until
    }
}

async fn post(
    client: &mut Client,
    body: &[u8],
    authorization: Option<String>,
) -> Result<Answer, String> {
    let mut headers = vec![
        ("content-encoding", "snappy"),
        ("content-type", "application/x-protobuf"),
        ("x-prometheus-remote-write-version", "0.1.0"),
    ];
    headers.extend(authorization.as_deref().map(|text| ("authorization", text)));
    let request = Request {
        headers: &headers,
        body: Some(body),
        timeout: TIMEOUT,
    };
    client
        .ask(&request)
        .await
        .map_err(|error| error.to_string())
}

/// The protocol says that what is refused is not sent again. Answers that say nothing about the samples but about the
/// way to the store (a wrong password, a wrong path, a proxy) are no such refusal: whoever repairs it loses nothing.
fn judge(status: u16) -> Verdict {
    match status {
        200..=299 => Verdict::Good,
        401 | 403 | 404 | 405 | 407 | 408 | 421 | 425 | 429 => Verdict::Keep,
        400..=499 => Verdict::Drop,
        _ => Verdict::Keep,
    }
}

fn words(place: &Place, answer: &Answer) -> String {
    let text = answer.line();
    let text = &text[..text.floor_char_boundary(WORDS_MAX)];
    let shown = place.shown();
    match text {
        "" => format!("{shown} answered with HTTP status {}", answer.status),
        text => format!(
            "{shown} answered with HTTP status {}: {text}",
            answer.status
        ),
    }
}

fn secret(path: &Path) -> Result<String, Error> {
    use std::io::Read;
    let mut text = String::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(SECRET_BYTES_MAX).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(text.lines().next().unwrap_or_default().trim().to_owned()),
        Err(source) => Err(Error::File {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Returns the folder of a store: its name, and where that has letters that folders should not have, a checksum too.
fn folder(name: &str) -> String {
    let plain = name::plain(name);
    if plain == name {
        plain
    } else {
        format!("{plain}-{:08x}", crc32c::crc32c(name.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_nothing_about_the_samples_does_not_cost_them() {
        for (status, expected) in [
            (200, Verdict::Good),
            (204, Verdict::Good),
            (400, Verdict::Drop),
            (413, Verdict::Drop),
            (422, Verdict::Drop),
            (401, Verdict::Keep),
            (404, Verdict::Keep),
            (429, Verdict::Keep),
            (302, Verdict::Keep),
            (500, Verdict::Keep),
            (503, Verdict::Keep),
        ] {
            assert_eq!(judge(status), expected, "{status}");
        }
    }

    #[test]
    fn folders_of_different_stores_differ() {
        assert_eq!(folder("mimir"), "mimir");
        assert_ne!(folder("a/b"), folder("a.b"));
        assert!(!folder("../x").contains(['/', '.']));
    }
}
