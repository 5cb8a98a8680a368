//! The replication protocol of physical replication: base backups, WAL streams, slots and timelines.
//!
//! One connection does one thing at a time. A stream that is dropped before its end leaves the connection where nothing
//! else can be asked; a new one is needed then.

mod backup;
mod command;
mod conversation;
mod frame;
mod stream;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pawang_core::Lsn;
use postgres_protocol::message::frontend;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Instant;

pub use backup::{BackupEvent, BaseBackup, Tablespace};
pub use command::{BaseBackupOptions, CompressionMethod, ManifestChecksums, ServerCompression};
pub use stream::{NextTimeline, WalEvent, WalStream};

use crate::connect::{self, Connected};
use crate::error::REPLICATION;
use crate::session::{application_name, check_version};
use crate::{Error, Target, explain};
use conversation::{Broken, Conversation, SILENCE_MAX};
use frame::{Frame, Garbled, Notice};

/// The first major version with this.
const READ_SLOT_MAJOR: u32 = 15;
const UPLOAD_MANIFEST_MAJOR: u32 = 17;
/// Slots are acquired by the process that drops them, and a command that takes longer is stuck.
const COMMAND_MAX: Duration = Duration::from_secs(60);
const UPLOAD_BYTES: usize = 128 * 1024;

/// A connection that speaks the replication protocol.
pub struct Replication {
    talk: Conversation,
    address: String,
    user: String,
    /// `server_version` as the server writes it.
    version: String,
    local: bool,
    /// Whether the last command was answered to its end.
    idle: bool,
}

/// What the server says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct System {
    /// The identity that `initdb` gave the cluster, which all its copies share.
    pub system_identifier: u64,
    /// The timeline that it is on.
    pub timeline: u32,
    /// The end of the WAL that it has flushed, on a standby that it has replayed or received.
    pub position: Lsn,
}

/// Where a physical slot holds WAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotPosition {
    /// The first position that the server keeps; none while nothing was reserved, or after the slot was lost.
    pub restart_lsn: Option<Lsn>,
    /// The timeline of that position.
    pub restart_timeline: Option<u32>,
}

/// A timeline's history file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryFile {
    /// Its name, such as `00000002.history`.
    pub name: String,
    /// What is in it.
    pub bytes: Bytes,
}

/// Rows of an answer: texts, or `NULL`.
type Rows = Vec<Vec<Option<Bytes>>>;

impl Replication {
    /// Connects for physical replication to the first host that will do.
    ///
    /// # Errors
    /// No host can be reached, or none lets the role replicate. `target_session_attrs` goes by what servers report at
    /// log-in, so that a pooler that reports nothing satisfies only `any`.
    pub async fn connect(target: &Target, purpose: &str) -> Result<Replication, Error> {
        // The name that password files and pg_hba.conf know it by.
        let target = target.with_database(REPLICATION);
        let connected: Connected<Conversation> =
            connect::connect(&target, &application_name(purpose)).await?;
        check_version(&connected.version, &connected.name)?;
        Ok(Replication {
            talk: connected.talk,
            address: connected.name,
            user: target.user,
            version: connected.version,
            local: connected.local,
            idle: true,
        })
    }

    /// Returns `host:port` of the host that was chosen.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Says whether the peer of the connection is on this machine.
    pub fn local(&self) -> bool {
        self.local
    }

    /// Returns the server's version as `server_version_num` counts: 150018 is 15.18.
    pub fn server_version(&self) -> i32 {
        let mut numbers = self.version.split(|letter: char| !letter.is_ascii_digit());
        let mut number = || numbers.next().and_then(|digits| digits.parse().ok());
        let major: i32 = number().unwrap_or(0);
        major * 10_000 + number().unwrap_or(0)
    }

    /// Says whether the server was a standby at log-in; a promotion since is not seen.
    pub fn in_recovery(&self) -> bool {
        let reported = self.talk.parameters.get("in_hot_standby");
        reported.is_some_and(|value| value == "on")
    }

    /// Asks the server who it is and how far it is.
    pub async fn identify_system(&mut self) -> Result<System, Error> {
        const COMMAND: &str = "IDENTIFY_SYSTEM";
        let rows = self.ask(COMMAND, COMMAND, None).await?;
        let row = rows.first().map(Vec::as_slice).unwrap_or_default();
        let system = || {
            Some(System {
                system_identifier: number(row, 0)?,
                timeline: number(row, 1)?,
                position: number(row, 2)?,
            })
        };
        system().ok_or_else(|| self.garbled())
    }

    /// Returns the value of a setting, such as `wal_segment_size`, in the server's own spelling: `16MB`.
    pub async fn show(&mut self, name: &str) -> Result<String, Error> {
        let command = format!("SHOW {}", command::setting(name)?);
        let rows = self.ask(&command, "SHOW", None).await?;
        let value = rows.first().and_then(|row| text(row, 0));
        value.ok_or_else(|| self.garbled())
    }

    /// Creates a physical slot; with `reserve_wal` the server keeps WAL from now on and not only from its first use on.
    ///
    /// # Errors
    /// [`Error::SlotExists`], [`Error::NoFreeSlot`].
    pub async fn create_physical_slot(
        &mut self,
        name: &str,
        reserve_wal: bool,
    ) -> Result<(), Error> {
        let command = command::create_slot(name, reserve_wal, self.major());
        self.ask(&command, "CREATE_REPLICATION_SLOT", Some(name))
            .await?;
        Ok(())
    }

    /// Creates a physical slot that keeps WAL from now on, until this connection ends in whatever way.
    ///
    /// # Errors
    /// [`Error::SlotExists`], [`Error::NoFreeSlot`].
    pub async fn create_temporary_slot(&mut self, name: &str) -> Result<(), Error> {
        let command = command::create_temporary_slot(name, self.major());
        self.ask(&command, "CREATE_REPLICATION_SLOT", Some(name))
            .await?;
        Ok(())
    }

    /// Returns where a physical slot holds WAL; `None` when there is no such slot.
    ///
    /// # Errors
    /// [`Error::NeedsVersion`] on PostgreSQL 14, where only `pg_replication_slots` over an ordinary session tells.
    pub async fn read_slot(&mut self, name: &str) -> Result<Option<SlotPosition>, Error> {
        self.needs(
            READ_SLOT_MAJOR,
            "to read a slot over the replication protocol",
        )?;
        let command = format!("READ_REPLICATION_SLOT {}", command::quote(name));
        let rows = self
            .ask(&command, "READ_REPLICATION_SLOT", Some(name))
            .await?;
        let Some(row) = rows.first() else {
            return Err(self.garbled());
        };
        // Without a slot, all columns are NULL.
        Ok(text(row, 0).map(|_| SlotPosition {
            restart_lsn: number(row, 1),
            restart_timeline: number(row, 2),
        }))
    }

    /// Drops a slot.
    ///
    /// # Errors
    /// [`Error::NoSlot`], [`Error::SlotActive`].
    pub async fn drop_slot(&mut self, name: &str) -> Result<(), Error> {
        let command = format!("DROP_REPLICATION_SLOT {}", command::quote(name));
        self.ask(&command, "DROP_REPLICATION_SLOT", Some(name))
            .await?;
        Ok(())
    }

    /// Returns a timeline's history file; timeline 1 has none.
    pub async fn timeline_history(&mut self, timeline: u32) -> Result<HistoryFile, Error> {
        let command = format!("TIMELINE_HISTORY {timeline}");
        let rows = self.ask(&command, "TIMELINE_HISTORY", None).await?;
        let row = rows.first().map(Vec::as_slice).unwrap_or_default();
        match (text(row, 0), row.get(1)) {
            (Some(name), Some(Some(bytes))) => Ok(HistoryFile {
                name,
                bytes: bytes.clone(),
            }),
            _ => Err(self.garbled()),
        }
    }

    /// Starts a base backup; the returned stream must be read to its end.
    ///
    /// The server does not wait until its own archiver has the WAL of the backup: whoever takes the backup sees to that.
    pub async fn base_backup(
        &mut self,
        options: &BaseBackupOptions,
    ) -> Result<BaseBackup<'_>, Error> {
        let command = command::base_backup(options, self.major(), || self.described())?;
        let limit = self.start_limit(options.checkpoint_fast).await?;
        self.start(&command).await?;
        BaseBackup::begin(self, options, limit).await
    }

    /// Hands the server the manifest of an earlier backup, on which an incremental one will stand (PostgreSQL 17).
    pub async fn upload_manifest(
        &mut self,
        mut reader: impl AsyncRead + Unpin,
    ) -> Result<(), Error> {
        const COMMAND: &str = "UPLOAD_MANIFEST";
        self.needs(UPLOAD_MANIFEST_MAJOR, "an incremental backup")?;
        self.start(COMMAND).await?;
        let deadline = Instant::now() + COMMAND_MAX;
        let frame = self.answer(deadline, COMMAND, None).await?;
        if frame.kind != b'G' {
            return Err(self.garbled());
        }
        let mut chunk = BytesMut::with_capacity(UPLOAD_BYTES);
        let mut message = BytesMut::new();
        loop {
            chunk.clear();
            let read = reader.read_buf(&mut chunk).await;
            // Hanging up makes the server forget the half manifest.
            let count = read.map_err(|error| self.lost(&error.to_string()))?;
            message.clear();
            if count == 0 {
                frontend::copy_done(&mut message);
                self.send(&message).await?;
                break;
            }
            frontend::CopyData::new(&chunk[..])
                .map_err(|error| self.lost(&error.to_string()))?
                .write(&mut message);
            self.send(&message).await?;
        }
        self.finish(COMMAND, None).await?;
        Ok(())
    }

    /// Streams WAL of a timeline from a position on, and lets a slot follow.
    ///
    /// # Errors
    /// [`Error::NoSlot`], [`Error::SlotActive`], [`Error::SlotUnusable`], [`Error::WalRemoved`].
    pub async fn start_replication(
        &mut self,
        slot: Option<&str>,
        position: Lsn,
        timeline: u32,
    ) -> Result<WalStream<'_>, Error> {
        let command = command::start_replication(slot, position, timeline);
        self.start(&command).await?;
        WalStream::begin(self, slot).await
    }

    fn major(&self) -> u32 {
        u32::try_from(self.server_version() / 10_000).unwrap_or(0)
    }

    fn described(&self) -> [String; 2] {
        [self.address.clone(), self.version.clone()]
    }

    fn needs(&self, needed: u32, what: &'static str) -> Result<(), Error> {
        command::needs(self.major(), needed, what, || self.described())
    }

    /// Returns how long the server may be silent before a backup begins: a checkpoint comes first, behind one that runs.
    async fn start_limit(&mut self, fast: bool) -> Result<Duration, Error> {
        if fast {
            return Ok(backup::CHECKPOINT_MAX);
        }
        let spread = self.show("checkpoint_timeout").await?;
        let spread = command::duration(&spread).unwrap_or(backup::CHECKPOINT_MAX);
        Ok(2 * spread + backup::CHECKPOINT_MAX)
    }

    /// Sends a command whose answer may be long.
    async fn start(&mut self, command: &str) -> Result<(), Error> {
        if !self.idle {
            return Err(self.lost("an earlier command was not read to its end"));
        }
        self.idle = false;
        let mut message = BytesMut::new();
        frontend::query(command, &mut message).map_err(|error| self.lost(&error.to_string()))?;
        self.send(&message).await
    }

    async fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        match tokio::time::timeout(SILENCE_MAX, self.talk.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.last_words(Broken::Io(error))),
            Err(_) => Err(self.lost("the server takes nothing any more")),
        }
    }

    /// Sends a command and returns the rows of its last result.
    async fn ask(
        &mut self,
        command: &str,
        word: &'static str,
        slot: Option<&str>,
    ) -> Result<Rows, Error> {
        self.start(command).await?;
        self.finish(word, slot).await
    }

    /// Receives results until the server waits for a command again.
    async fn finish(&mut self, word: &'static str, slot: Option<&str>) -> Result<Rows, Error> {
        let deadline = Instant::now() + COMMAND_MAX;
        let mut rows = Vec::new();
        loop {
            let frame = self.answer(deadline, word, slot).await?;
            match frame.kind {
                b'T' => rows.clear(),
                b'D' => rows.push(frame::row(frame.body).map_err(|Garbled| self.garbled())?),
                b'C' | b'c' | b'I' => {}
                b'Z' => {
                    self.idle = true;
                    return Ok(rows);
                }
                _ => return Err(self.garbled()),
            }
        }
    }

    /// Receives a message of an answer; an error ends the command.
    async fn answer(
        &mut self,
        deadline: Instant,
        word: &'static str,
        slot: Option<&str>,
    ) -> Result<Frame, Error> {
        match self.talk.receive(deadline).await {
            Ok(Frame { kind: b'E', body }) => {
                Err(self.refused(Notice::read(body), word, slot).await)
            }
            Ok(frame) => Ok(frame),
            Err(broken) => Err(self.last_words(broken)),
        }
    }

    /// Explains an error of the server, and makes the connection ready for the next command if it survived.
    async fn refused(&mut self, notice: Notice, word: &'static str, slot: Option<&str>) -> Error {
        if !notice.fatal() {
            self.settle().await;
        }
        self.explain(notice, word, slot)
    }

    fn explain(&self, notice: Notice, word: &'static str, slot: Option<&str>) -> Error {
        explain::replication(notice.refusal(), word, slot, &self.user, &self.address)
    }

    /// Waits until the server is ready for a command after an error.
    async fn settle(&mut self) {
        let deadline = Instant::now() + COMMAND_MAX;
        while let Ok(frame) = self.talk.receive(deadline).await {
            if frame.kind == b'Z' {
                self.idle = true;
                return;
            }
        }
    }

    fn last_words(&self, broken: Broken) -> Error {
        self.lost(&broken.to_string())
    }

    fn garbled(&self) -> Error {
        self.last_words(Broken::Garbled)
    }

    fn lost(&self, message: &str) -> Error {
        Error::Lost {
            address: self.address.clone(),
            message: message.to_owned(),
        }
    }
}

fn text(row: &[Option<Bytes>], column: usize) -> Option<String> {
    let bytes = row.get(column)?.as_deref()?;
    Some(String::from_utf8_lossy(bytes).into_owned())
}

fn number<T: std::str::FromStr>(row: &[Option<Bytes>], column: usize) -> Option<T> {
    text(row, column)?.parse().ok()
}
