//! A connection that speaks the replication protocol: log-in, messages in both directions, and time limits.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{
    ChannelBinding as Binding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::frame::{self, Frame, Garbled, Notice};
use crate::Error;
use crate::channel::Channel;
use crate::connect::{Attempt, Reported, Talk};
use crate::error::REPLICATION;
use crate::explain::{self, Peer};
use crate::target::ChannelBinding;
use crate::wire::Heard;

/// How much is read at once: many messages of a base backup, few of WAL.
const READ_BYTES: usize = 512 * 1024;
/// A new buffer is taken when there is less room than this.
const READ_BYTES_MIN: usize = 64 * 1024;
/// How long a server may be silent in the middle of something.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(300);
/// Warnings that are kept for whoever reads the stream; more are told to the log only.
const WARNINGS_MAX: usize = 256;

/// A logged-in connection for the replication protocol.
pub(crate) struct Conversation {
    channel: Channel,
    input: BytesMut,
    /// Parameters that the server reported.
    pub(super) parameters: BTreeMap<String, String>,
    /// Warnings that nobody has asked for yet.
    pub(super) warnings: VecDeque<String>,
    /// When the server was last heard.
    pub(super) heard_at: Instant,
    logged_in: bool,
}

/// Why nothing was received.
#[derive(Debug)]
pub(super) enum Broken {
    /// The connection ended or broke.
    Io(io::Error),
    /// The server was silent until the deadline.
    Silent,
    /// The bytes are no messages of PostgreSQL.
    Garbled,
}

impl From<Garbled> for Broken {
    fn from(_: Garbled) -> Broken {
        Broken::Garbled
    }
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Broken::Io(error) => error.fmt(f),
            Broken::Silent => f.write_str("nothing was heard of the server for too long"),
            Broken::Garbled => f.write_str("it sent something that is no message of PostgreSQL"),
        }
    }
}

impl Talk for Conversation {
    async fn log_in(
        attempt: &Attempt<'_>,
        channel: Channel,
        heard: Heard,
    ) -> Result<(Conversation, Reported), Error> {
        let mut conversation = Conversation {
            channel,
            input: BytesMut::new(),
            parameters: BTreeMap::new(),
            warnings: VecDeque::new(),
            heard_at: Instant::now(),
            logged_in: false,
        };
        let peer = Peer {
            replication: true,
            ..attempt.peer()
        };
        let log_in = LogIn {
            conversation: &mut conversation,
            attempt,
            peer,
        };
        match log_in.run().await {
            Ok(()) => conversation.logged_in = true,
            Err(Stop::Error(error)) => return Err(error),
            Err(Stop::Broken(broken)) => {
                let error = match broken {
                    Broken::Io(error) => error,
                    other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
                };
                let peer = attempt.peer();
                return Err(explain::broken(&error, &peer, heard.bytes()));
            }
        }
        let reported = Reported::new(|name| conversation.parameters.get(name).cloned());
        Ok((conversation, reported))
    }

    /// There is no SQL to ask with: whoever says nothing at log-in is not known.
    async fn ask_role(&mut self, _address: &str) -> Result<[Option<bool>; 2], Error> {
        Ok([None, None])
    }
}

impl Conversation {
    /// Sends messages.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.channel.write_all(bytes).await?;
        self.channel.flush().await
    }

    /// Receives the next message that is not about the connection itself.
    ///
    /// Nothing is lost when the future is dropped before it is done.
    pub(super) async fn receive(&mut self, deadline: Instant) -> Result<Frame, Broken> {
        loop {
            while let Some(frame) = frame::take(&mut self.input)? {
                if let Some(frame) = self.note(frame)? {
                    return Ok(frame);
                }
            }
            let room = self.input.capacity() - self.input.len();
            if room < READ_BYTES_MIN {
                // Takes the old buffer again when nobody holds a part of it any more.
                self.input.reserve(READ_BYTES);
            }
            match timeout_at(deadline, self.channel.read_buf(&mut self.input)).await {
                Ok(Ok(1..)) => self.heard_at = Instant::now(),
                Ok(Ok(0)) => return Err(Broken::Io(io::ErrorKind::UnexpectedEof.into())),
                Ok(Err(error)) => return Err(Broken::Io(error)),
                Err(_) => return Err(Broken::Silent),
            }
        }
    }

    /// Keeps what a server says at any time and what is no answer.
    fn note(&mut self, frame: Frame) -> Result<Option<Frame>, Garbled> {
        match frame.kind {
            b'S' => {
                let mut reader = frame::Reader(frame.body);
                let [name, value] = [reader.text()?, reader.text()?]
                    .map(|text| String::from_utf8_lossy(&text).into_owned());
                self.parameters.insert(name, value);
            }
            b'N' => {
                let notice = Notice::read(frame.body);
                if notice.severity == "WARNING" && self.warnings.len() < WARNINGS_MAX {
                    self.warnings.push_back(notice.words());
                } else {
                    tracing::debug!("the server says: {}", notice.words());
                }
            }
            // Notifications, and the key for cancelling, which replication commands do not need.
            b'A' | b'K' | b'v' => {}
            _ => return Ok(Some(frame)),
        }
        Ok(None)
    }
}

impl Drop for Conversation {
    /// Says goodbye without waiting: a server that hears nothing writes a line into its log.
    fn drop(&mut self) {
        if !self.logged_in {
            return;
        }
        let mut goodbye = BytesMut::new();
        frontend::terminate(&mut goodbye);
        let mut cx = Context::from_waker(Waker::noop());
        let mut channel = Pin::new(&mut self.channel);
        if channel.as_mut().poll_write(&mut cx, &goodbye).is_ready() {
            let _ = channel.poll_flush(&mut cx);
        }
    }
}

/// Why a log-in ended.
enum Stop {
    Error(Error),
    Broken(Broken),
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Stop {
        Stop::Broken(broken)
    }
}

impl From<Garbled> for Stop {
    fn from(garbled: Garbled) -> Stop {
        Stop::Broken(garbled.into())
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Broken(Broken::Io(error))
    }
}

/// What the server wants to see before it lets somebody in.
enum Demand {
    Nothing,
    Password,
    Md5([u8; 4]),
    Sasl(Vec<String>),
    SaslContinue(Bytes),
    SaslFinal(Bytes),
    Other(i32),
}

struct LogIn<'a> {
    conversation: &'a mut Conversation,
    attempt: &'a Attempt<'a>,
    peer: Peer<'a>,
}

impl LogIn<'_> {
    async fn run(mut self) -> Result<(), Stop> {
        let target = self.attempt.target;
        let mut parameters = vec![
            ("user", target.user.as_str()),
            ("replication", "true"),
            ("client_encoding", "UTF8"),
            ("application_name", self.attempt.application),
        ];
        if let Some(options) = &target.options {
            parameters.push(("options", options));
        }
        let mut startup = BytesMut::new();
        frontend::startup_message(parameters, &mut startup)?;
        self.conversation.send(&startup).await?;
        self.authenticate().await?;
        // Parameters and the key for cancelling are taken on the way.
        match self.receive().await?.kind {
            b'Z' => Ok(()),
            _ => Err(Garbled.into()),
        }
    }

    /// Receives a message; whoever connects bounds the time.
    async fn receive(&mut self) -> Result<Frame, Stop> {
        let deadline = Instant::now() + SILENCE_MAX;
        let frame = self.conversation.receive(deadline).await?;
        match frame.kind {
            b'E' => {
                let refusal = Notice::read(frame.body).refusal();
                Err(Stop::Error(explain::refused(refusal, &self.peer)))
            }
            _ => Ok(frame),
        }
    }

    async fn demand(&mut self) -> Result<Demand, Stop> {
        let frame = self.receive().await?;
        if frame.kind != b'R' {
            return Err(Garbled.into());
        }
        let mut reader = frame::Reader(frame.body);
        Ok(match reader.i32()? {
            0 => Demand::Nothing,
            3 => Demand::Password,
            5 => {
                let salt = reader.0.first_chunk().ok_or(Garbled)?;
                Demand::Md5(*salt)
            }
            10 => {
                let mut mechanisms = Vec::new();
                loop {
                    let name = reader.text()?;
                    if name.is_empty() {
                        break Demand::Sasl(mechanisms);
                    }
                    mechanisms.push(String::from_utf8_lossy(&name).into_owned());
                }
            }
            11 => Demand::SaslContinue(reader.0),
            12 => Demand::SaslFinal(reader.0),
            other => Demand::Other(other),
        })
    }

    async fn authenticate(&mut self) -> Result<(), Stop> {
        let user = self.attempt.target.user.as_bytes();
        match self.demand().await? {
            Demand::Nothing => return self.unbound(),
            Demand::Password => {
                self.unbound()?;
                let password = self.password()?;
                self.send_password(&password).await?;
            }
            Demand::Md5(salt) => {
                self.unbound()?;
                let hash = md5_hash(user, &self.password()?, salt);
                self.send_password(hash.as_bytes()).await?;
            }
            Demand::Sasl(mechanisms) => self.scram(&mechanisms).await?,
            Demand::Other(code) => {
                return Err(self.problem(format!(
                    "it wants a way to log in that Pawang does not have ({code})"
                )));
            }
            Demand::SaslContinue(_) | Demand::SaslFinal(_) => return Err(Garbled.into()),
        }
        match self.demand().await? {
            Demand::Nothing => Ok(()),
            _ => Err(Garbled.into()),
        }
    }

    async fn scram(&mut self, mechanisms: &[String]) -> Result<(), Stop> {
        let password = self.password()?;
        let offers = |name: &str| mechanisms.iter().any(|offered| offered == name);
        let wanted = self.attempt.target.ssl.channel_binding;
        let end_point = match wanted {
            ChannelBinding::Disable => None,
            _ => self.conversation.channel.end_point(),
        };
        let (binding, mechanism) = match end_point {
            Some(digest) if offers(SCRAM_SHA_256_PLUS) => {
                (Binding::tls_server_end_point(digest), SCRAM_SHA_256_PLUS)
            }
            _ if !offers(SCRAM_SHA_256) => {
                return Err(self.problem("it offers no mechanism of SCRAM that Pawang has"));
            }
            // Tells the server that we could have, so that nobody in between can hide its offer.
            Some(_) => (Binding::unrequested(), SCRAM_SHA_256),
            None => (Binding::unsupported(), SCRAM_SHA_256),
        };
        if mechanism != SCRAM_SHA_256_PLUS {
            self.unbound()?;
        }
        let mut scram = ScramSha256::new(&password, binding);
        let mut message = BytesMut::new();
        frontend::sasl_initial_response(mechanism, scram.message(), &mut message)?;
        self.conversation.send(&message).await?;
        let Demand::SaslContinue(challenge) = self.demand().await? else {
            return Err(Garbled.into());
        };
        scram
            .update(&challenge)
            .map_err(|error| self.problem(error.to_string()))?;
        message.clear();
        frontend::sasl_response(scram.message(), &mut message)?;
        self.conversation.send(&message).await?;
        let Demand::SaslFinal(proof) = self.demand().await? else {
            return Err(Garbled.into());
        };
        scram
            .finish(&proof)
            .map_err(|error| self.problem(error.to_string()))
    }

    async fn send_password(&mut self, password: &[u8]) -> Result<(), Stop> {
        let mut message = BytesMut::new();
        frontend::password_message(password, &mut message)?;
        Ok(self.conversation.send(&message).await?)
    }

    /// Refuses to go on without channel binding where it is demanded.
    fn unbound(&self) -> Result<(), Stop> {
        match self.attempt.target.ssl.channel_binding {
            ChannelBinding::Require => Err(self.problem("the server did not use channel binding")),
            ChannelBinding::Disable | ChannelBinding::Prefer => Ok(()),
        }
    }

    fn password(&self) -> Result<Vec<u8>, Stop> {
        let password = self.attempt.target.password_for(self.attempt.host);
        let password = password.ok_or_else(|| {
            Stop::Error(Error::PasswordMissing {
                address: self.peer.address.clone(),
                user: self.peer.user.to_owned(),
                database: REPLICATION.to_owned(),
            })
        })?;
        Ok(password.reveal().clone().into_bytes())
    }

    fn problem(&self, problem: impl Into<String>) -> Stop {
        Stop::Error(Error::LogIn {
            address: self.peer.address.clone(),
            user: self.peer.user.to_owned(),
            problem: problem.into(),
        })
    }
}
