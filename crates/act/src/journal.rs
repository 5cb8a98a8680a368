//! The journal as the engine needs it: what is about to be done, what became of it, and what nobody ended.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use pawang_core::plan::Task;
use pawang_store::state::{Entry, State};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::task::Facts;

/// The outcome of an entry that says what is about to be done.
pub const BEGUN: &str = "begun";
/// Pages of the journal that are looked through for what nobody ended.
const PAGES_MAX: usize = 100;
const PAGE_RECORDS: usize = 1_000;
/// What comes before the first line of a file.
const FIRST_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Where everything that is done to a server is written down, before and after.
pub trait Journal: Sync {
    /// Appends an entry; it is durable when this returns.
    ///
    /// # Errors
    /// The disk refuses: what was to be journalled must not be done then.
    fn write(&self, entry: &Entry) -> Result<(), Error>;

    /// Returns what was begun and whose end nobody wrote down, oldest first.
    ///
    /// # Errors
    /// The journal cannot be read.
    fn open_intents(&self) -> Result<Vec<Intent>, Error>;
}

/// Something that was about to be done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// Its name in the journal; the entry of its end has it too.
    pub intent: String,
    /// The hash of the plan.
    pub plan: String,
    /// What kind of change: the first word of the plan's title.
    pub area: String,
    /// The action of the plan.
    pub action: String,
    /// The name of the instance.
    pub instance: String,
    /// The system identifier of the server, where the role may see it.
    pub system_identifier: Option<String>,
    /// `host:port` that it was reached at.
    pub address: String,
    /// The database.
    pub database: String,
    /// What is done.
    pub task: Task,
    /// The exact statements.
    pub sql: Vec<String>,
    /// Why this is done, as the plan says.
    pub reason: String,
    /// Why it is done now, as whoever confirmed it says.
    pub why: String,
    /// Sizes and other numbers before.
    pub before: Facts,
    /// The identities of all indexes of the table, where it is about one.
    pub indexes: Vec<u32>,
    /// The process id of the session that does it.
    pub backend: i32,
    /// When that session began.
    pub backend_start: Timestamp,
}

impl Journal for State {
    fn write(&self, entry: &Entry) -> Result<(), Error> {
        self.journal(entry).map_err(Error::Journal)?;
        Ok(())
    }

    fn open_intents(&self) -> Result<Vec<Intent>, Error> {
        let mut open = Open::default();
        let mut before = None;
        for _ in 0..PAGES_MAX {
            let page = self
                .journal_page(before, PAGE_RECORDS)
                .map_err(Error::Journal)?;
            for record in &page {
                open.look(&record.entry);
            }
            match page.last() {
                Some(record) if page.len() == PAGE_RECORDS => before = Some(record.id),
                _ => break,
            }
        }
        Ok(open.finish())
    }
}

/// Finds what nobody ended; entries are shown to it newest first.
#[derive(Default)]
struct Open {
    ended: BTreeSet<String>,
    begun: Vec<Intent>,
}

impl Open {
    fn look(&mut self, entry: &Entry) {
        let Some(name) = entry.detail.get("intent").and_then(|name| name.as_str()) else {
            return;
        };
        if entry.outcome != BEGUN {
            self.ended.insert(name.to_owned());
        } else if !self.ended.contains(name)
            && let Ok(intent) = serde_json::from_value(entry.detail.clone())
        {
            self.begun.push(intent);
        }
    }

    fn finish(mut self) -> Vec<Intent> {
        self.begun.reverse();
        self.begun
    }
}

/// One line of a journal file.
#[derive(Serialize, Deserialize)]
struct Line {
    entry: Entry,
    /// SHA-256 of the hash of the line before and of this entry.
    hash: String,
}

/// The journal as a file of JSON lines, each chained to the one before.
pub struct JsonLines {
    path: PathBuf,
    inner: Mutex<Inner>,
}

struct Inner {
    file: File,
    hash: String,
    /// The length of the file that the hash is of: another program may append as well.
    length: u64,
}

impl Inner {
    /// Appends an entry to what is there now; the file is locked meanwhile.
    fn append(&mut self, entry: &Entry, durable: bool) -> std::io::Result<()> {
        if self.file.metadata()?.len() != self.length {
            self.read_again()?;
        }
        let hash = chained(&self.hash, entry);
        let line = Line {
            entry: entry.clone(),
            hash: hash.clone(),
        };
        let mut text =
            serde_json::to_string(&line).expect("an entry is texts, an instant and JSON");
        text.push('\n');
        self.file.write_all(text.as_bytes())?;
        if durable {
            self.file.sync_data()?;
        }
        self.hash = hash;
        self.length = self.file.metadata()?.len();
        Ok(())
    }

    /// Finds the end of the chain; a last line that was torn stays behind.
    fn read_again(&mut self) -> std::io::Result<()> {
        let lines = Walk::of(&mut self.file)?;
        if lines.torn {
            self.file.write_all(b"\n")?;
        }
        self.hash = lines.hash;
        self.length = self.file.metadata()?.len();
        Ok(())
    }
}

impl JsonLines {
    /// Opens the file for appending, and makes it when there is none; a last line that was torn stays behind.
    ///
    /// # Errors
    /// The file cannot be read or made.
    pub fn open(path: &Path) -> Result<JsonLines, Error> {
        let could_not = |source| Error::Lines {
            path: path.to_owned(),
            source,
        };
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .map_err(could_not)?;
        let mut inner = Inner {
            file,
            hash: FIRST_HASH.to_owned(),
            length: 0,
        };
        inner.file.lock().map_err(could_not)?;
        let read = inner.read_again();
        inner.file.unlock().and(read).map_err(could_not)?;
        Ok(JsonLines {
            path: path.to_owned(),
            inner: Mutex::new(inner),
        })
    }

    /// Walks the whole file: how many lines are as they were written, and the first that is not.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn verify(&self) -> Result<(u64, Option<u64>), Error> {
        let lines = self.walk()?;
        Ok((lines.entries.len() as u64, lines.broken))
    }

    fn walk(&self) -> Result<Walk, Error> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        Walk::of(&mut inner.file).map_err(|source| self.could_not(source))
    }

    /// Appends an entry; one that is not `durable` outlives us, but not the machine.
    fn add(&self, entry: &Entry, durable: bool) -> Result<(), Error> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.file.lock().map_err(|source| self.could_not(source))?;
        let appended = inner.append(entry, durable);
        let unlocked = inner.file.unlock();
        appended
            .and(unlocked)
            .map_err(|source| self.could_not(source))
    }

    fn could_not(&self, source: std::io::Error) -> Error {
        Error::Lines {
            path: self.path.clone(),
            source,
        }
    }
}

impl Journal for JsonLines {
    fn write(&self, entry: &Entry) -> Result<(), Error> {
        self.add(entry, true)
    }

    fn open_intents(&self) -> Result<Vec<Intent>, Error> {
        let lines = self.walk()?;
        let mut open = Open::default();
        for entry in lines.entries.iter().rev() {
            open.look(entry);
        }
        Ok(open.finish())
    }
}

/// The lines of a file.
struct Walk {
    entries: Vec<Entry>,
    hash: String,
    /// The last line has no end.
    torn: bool,
    /// The number of the first whole line that is not as it was written.
    broken: Option<u64>,
}

impl Walk {
    fn of(file: &mut File) -> std::io::Result<Walk> {
        let mut text = String::new();
        file.seek(SeekFrom::Start(0))?;
        file.read_to_string(&mut text)?;
        let mut walk = Walk {
            entries: Vec::new(),
            hash: FIRST_HASH.to_owned(),
            torn: !text.is_empty() && !text.ends_with('\n'),
            broken: None,
        };
        for (number, text) in (1..).zip(text.lines()) {
            // A line that a crash tore is no line: its entry was never promised.
            let Ok(line) = serde_json::from_str::<Line>(text) else {
                continue;
            };
            if chained(&walk.hash, &line.entry) != line.hash && walk.broken.is_none() {
                walk.broken = Some(number);
            }
            walk.hash = line.hash;
            walk.entries.push(line.entry);
        }
        Ok(walk)
    }
}

fn chained(before: &str, entry: &Entry) -> String {
    let text = serde_json::to_string(entry).expect("an entry is texts, an instant and JSON");
    let mut hasher = Sha256::new();
    for part in [before, "\n", &text] {
        hasher.update(part.as_bytes());
    }
    let hash = hasher.finalize();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The journal in the state, with a copy in JSON lines beside it for people and other programs.
pub struct Mirrored {
    /// The journal that counts.
    pub state: State,
    /// Its copy.
    pub lines: JsonLines,
}

impl Journal for Mirrored {
    fn write(&self, entry: &Entry) -> Result<(), Error> {
        Journal::write(&self.state, entry)?;
        // The state is on disk already; waiting for the copy as well would cost each short action as much again.
        self.lines.add(entry, false)
    }

    fn open_intents(&self) -> Result<Vec<Intent>, Error> {
        self.state.open_intents()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;

    use jiff::Timestamp;
    use serde_json::json;

    use super::*;

    fn entry(number: i64, intent: &str, outcome: &str) -> Entry {
        let task = Task::RunJob {
            extension_schema: "x".to_owned(),
            job: 1,
        };
        let intent = Intent {
            intent: intent.to_owned(),
            plan: "p".to_owned(),
            area: "maintain".to_owned(),
            action: "run-job".to_owned(),
            instance: "dwh-1".to_owned(),
            system_identifier: None,
            address: "db:5432".to_owned(),
            database: "sales".to_owned(),
            task,
            sql: Vec::new(),
            reason: String::new(),
            why: String::new(),
            before: Facts::new(),
            indexes: Vec::new(),
            backend: 1,
            backend_start: Timestamp::UNIX_EPOCH,
        };
        Entry {
            at: Timestamp::from_second(number).unwrap(),
            actor: "daemon".to_owned(),
            action: "run-job.apply".to_owned(),
            object: String::new(),
            outcome: outcome.to_owned(),
            detail: json!(intent),
        }
    }

    #[test]
    fn a_torn_last_line_is_no_line_and_what_follows_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let journal = JsonLines::open(&path).unwrap();
        journal.write(&entry(1, "a", BEGUN)).unwrap();
        journal.write(&entry(2, "a", "done")).unwrap();
        journal.write(&entry(3, "b", BEGUN)).unwrap();
        drop(journal);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"entry\":{\"at\":\"19").unwrap();
        let journal = JsonLines::open(&path).unwrap();
        journal.write(&entry(4, "c", BEGUN)).unwrap();
        assert_eq!(journal.verify().unwrap(), (4, None));
        let open: Vec<String> = journal
            .open_intents()
            .unwrap()
            .into_iter()
            .map(|intent| intent.intent)
            .collect();
        assert_eq!(open, ["b", "c"]);
    }

    #[test]
    fn two_programs_append_to_one_chain() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let journals = [(); 2].map(|()| JsonLines::open(&path).unwrap());
        for number in 0..6_u8 {
            let journal = &journals[usize::from(number % 3 == 0)];
            journal.write(&entry(number.into(), "a", BEGUN)).unwrap();
        }
        for journal in &journals {
            assert_eq!(journal.verify().unwrap(), (6, None));
        }
    }

    #[test]
    fn a_changed_line_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let journal = JsonLines::open(&path).unwrap();
        for number in 1..4 {
            journal.write(&entry(number, "a", BEGUN)).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let changed = text.replacen("1970-01-01T00:00:02Z", "1970-01-01T00:00:09Z", 1);
        File::create(&path)
            .unwrap()
            .write_all(changed.as_bytes())
            .unwrap();
        let journal = JsonLines::open(&path).unwrap();
        assert_eq!(journal.verify().unwrap(), (3, Some(2)));
    }
}
