//! WAL as it is written, and how far it is safe on our side.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use pawang_core::Lsn;
use postgres_protocol::message::frontend;
use tokio::time::Instant;

use super::conversation::Broken;
use super::frame::{Garbled, Notice, Reader, row};
use super::{COMMAND_MAX, Replication, number};
use crate::Error;

const COMMAND: &str = "START_REPLICATION";
/// After this long without a word the server is asked for one; after twice as long it is given up.
const SILENCE: Duration = Duration::from_secs(30);

/// What a server says while it streams WAL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WalEvent {
    /// WAL.
    Data {
        /// The position of the first byte.
        start: Lsn,
        /// The end of the server's WAL when it sent this.
        end: Lsn,
        /// The WAL; it may cross the end of a segment.
        bytes: Bytes,
    },
    /// Nothing new.
    Keepalive {
        /// The end of the server's WAL.
        end: Lsn,
        /// Whether the server gives the connection up if it hears nothing soon.
        reply_wanted: bool,
    },
    /// The timeline ends here; the connection is free for the next one.
    TimelineEnd {
        /// The timeline that follows.
        next_timeline: u32,
        /// Where it begins.
        position: Lsn,
    },
}

/// Where a server's history goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextTimeline {
    /// The timeline that follows.
    pub timeline: u32,
    /// Where it begins.
    pub position: Lsn,
}

/// WAL that is being streamed.
pub struct WalStream<'a> {
    replication: &'a mut Replication,
    slot: Option<String>,
    /// How far it is; whatever takes several messages is a state of its own, so that a future that is dropped loses nothing.
    state: State,
    /// Whether we have said that we do not want more.
    leaving: bool,
    /// Why the server ended it.
    failure: Option<Notice>,
    next: Option<NextTimeline>,
    /// The server's clock in microseconds since 2000, and when we heard it.
    clock: Option<(u64, Instant)>,
    /// Written, flushed, applied, as last told to the server.
    told: [Lsn; 3],
    /// When the server was asked for a word.
    asked_at: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The server sends WAL.
    Copying,
    /// The copy is over, and the next timeline may be told.
    Concluding,
    /// The server has sent an error, and will wait for a command.
    Failing,
    Ended,
}

impl<'a> WalStream<'a> {
    pub(super) async fn begin(
        replication: &'a mut Replication,
        slot: Option<&str>,
    ) -> Result<WalStream<'a>, Error> {
        let mut stream = WalStream {
            replication,
            slot: slot.map(str::to_owned),
            state: State::Copying,
            leaving: false,
            failure: None,
            next: None,
            clock: None,
            told: [Lsn(0); 3],
            asked_at: None,
        };
        let deadline = Instant::now() + COMMAND_MAX;
        let frame = stream.replication.answer(deadline, COMMAND, slot).await?;
        match frame.kind {
            b'W' => Ok(stream),
            // The timeline ended exactly here: there is nothing to copy.
            b'T' => {
                stream.leaving = true;
                stream.state = State::Concluding;
                Ok(stream)
            }
            _ => Err(stream.replication.garbled()),
        }
    }

    /// Returns what the server says next.
    ///
    /// Nothing is lost when the future is dropped before it is done. Every event should be read within
    /// `wal_sender_timeout`, and replies sent.
    ///
    /// # Errors
    /// [`Error::WalRemoved`], [`Error::ShutDown`], and [`Error::Lost`] when nothing is heard for a minute.
    pub async fn next(&mut self) -> Result<WalEvent, Error> {
        loop {
            if self.state == State::Ended {
                return match self.next {
                    Some(next) => Ok(WalEvent::TimelineEnd {
                        next_timeline: next.timeline,
                        position: next.position,
                    }),
                    None => Err(self.replication.lost("the stream has ended")),
                };
            }
            if let Some(event) = self.advance().await? {
                return Ok(event);
            }
        }
    }

    async fn advance(&mut self) -> Result<Option<WalEvent>, Error> {
        match self.state {
            State::Copying => return self.step().await,
            State::Concluding => self.conclude().await?,
            State::Failing => return Err(self.fail().await),
            State::Ended => {}
        }
        Ok(None)
    }

    /// Ends the stream in good order; the connection is free for another command afterwards.
    ///
    /// WAL that is still on its way is thrown away. Returns the next timeline when this one has ended.
    pub async fn finish(mut self) -> Result<Option<NextTimeline>, Error> {
        if self.state == State::Copying {
            self.leave().await?;
        }
        while self.state != State::Ended {
            self.advance().await?;
        }
        Ok(self.next)
    }

    /// Tells the server how far WAL is written, flushed and applied on our side; the slot moves to `flushed`.
    ///
    /// With `reply_now` the server answers at once with a keepalive.
    pub async fn reply(
        &mut self,
        written: Lsn,
        flushed: Lsn,
        applied: Lsn,
        reply_now: bool,
    ) -> Result<(), Error> {
        self.told = [written, flushed, applied];
        if self.state != State::Copying || self.leaving {
            return Ok(());
        }
        let mut status = BytesMut::with_capacity(39);
        status.put_u8(b'd');
        status.put_u32(38);
        status.put_u8(b'r');
        for position in self.told {
            status.put_u64(position.0);
        }
        // By the server's clock, since ours may go wrong: its last time and what passed since.
        let now = self.clock.map_or(0, |(clock, at)| {
            let passed = u64::try_from(at.elapsed().as_micros()).unwrap_or(u64::MAX);
            clock.saturating_add(passed)
        });
        status.put_u64(now);
        status.put_u8(u8::from(reply_now));
        self.replication.send(&status).await
    }

    /// Takes one message; an event if it is one.
    async fn step(&mut self) -> Result<Option<WalEvent>, Error> {
        let Some(frame) = self.receive().await? else {
            return Ok(None);
        };
        match frame.kind {
            b'd' => self
                .data(frame.body)
                .map_err(|Garbled| self.replication.garbled()),
            b'c' => {
                self.state = State::Concluding;
                Ok(None)
            }
            // Without an end of the copy before: a server that shuts down, once all WAL was confirmed.
            b'C' => Err(Error::ShutDown {
                address: self.replication.address.clone(),
            }),
            b'E' => {
                self.failure = Some(Notice::read(frame.body));
                self.state = State::Failing;
                Ok(None)
            }
            _ => Err(self.replication.garbled()),
        }
    }

    /// Receives a message, and asks for one when there was none for long; then there may be `None`.
    async fn receive(&mut self) -> Result<Option<super::Frame>, Error> {
        let heard_at = self.replication.talk.heard_at;
        let asked_at = self.asked_at.filter(|asked_at| *asked_at >= heard_at);
        let deadline = asked_at.unwrap_or(heard_at) + SILENCE;
        match self.replication.talk.receive(deadline).await {
            Ok(frame) => Ok(Some(frame)),
            Err(Broken::Silent) if asked_at.is_none() => {
                let [written, flushed, applied] = self.told;
                self.reply(written, flushed, applied, true).await?;
                self.asked_at = Some(Instant::now());
                Ok(None)
            }
            Err(broken) => Err(self.replication.last_words(broken)),
        }
    }

    fn data(&mut self, body: Bytes) -> Result<Option<WalEvent>, Garbled> {
        let mut reader = Reader(body);
        match reader.u8()? {
            b'w' => {
                let [start, end, clock] = [reader.u64()?, reader.u64()?, reader.u64()?];
                self.clock = Some((clock, self.replication.talk.heard_at));
                Ok((!reader.0.is_empty()).then(|| WalEvent::Data {
                    start: Lsn(start),
                    end: Lsn(end),
                    bytes: reader.0.copy_to_bytes(reader.0.remaining()),
                }))
            }
            b'k' => {
                let [end, clock] = [reader.u64()?, reader.u64()?];
                self.clock = Some((clock, self.replication.talk.heard_at));
                Ok(Some(WalEvent::Keepalive {
                    end: Lsn(end),
                    reply_wanted: reader.u8()? != 0,
                }))
            }
            _ => Err(Garbled),
        }
    }

    /// Says that we do not want more.
    async fn leave(&mut self) -> Result<(), Error> {
        if self.leaving {
            return Ok(());
        }
        let mut message = BytesMut::new();
        frontend::copy_done(&mut message);
        self.replication.send(&message).await?;
        self.leaving = true;
        Ok(())
    }

    /// Explains the server's error, once the connection is ready for the next command if it survived.
    async fn fail(&mut self) -> Error {
        let notice = self.failure.as_ref();
        if notice.is_some_and(|notice| !notice.fatal()) {
            self.replication.settle().await;
        }
        self.state = State::Ended;
        let notice = self.failure.take().unwrap_or_default();
        self.replication
            .explain(notice, COMMAND, self.slot.as_deref())
    }

    /// Receives what comes after the copy: the next timeline, if this one has ended.
    async fn conclude(&mut self) -> Result<(), Error> {
        self.leave().await?;
        let deadline = Instant::now() + COMMAND_MAX;
        loop {
            let slot = self.slot.clone();
            let frame = self
                .replication
                .answer(deadline, COMMAND, slot.as_deref())
                .await?;
            match frame.kind {
                b'D' => {
                    let row = row(frame.body).map_err(|Garbled| self.replication.garbled())?;
                    let next = number(&row, 0).zip(number(&row, 1));
                    self.next =
                        next.map(|(timeline, position)| NextTimeline { timeline, position });
                }
                b'T' | b'C' => {}
                b'Z' => {
                    self.replication.idle = true;
                    self.state = State::Ended;
                    return Ok(());
                }
                _ => return Err(self.replication.garbled()),
            }
        }
    }
}
