//! The task: one message at a time per channel, all channels at once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use pawang_alert::book::Event;
use pawang_alert::channel::{Channel, Trouble, kinds};
use pawang_alert::recipient;
use pawang_alert::setup::Setup;
use pawang_config::ChannelConfig;
use pawang_core::alert::{ChannelStatus, Message, Parcel, ParcelState};
use pawang_core::{Finding, Level, Timestamp};
use pawang_http::{Client, Place, Request};
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use super::super::own;
use super::Tools;
use super::heartbeat::Heartbeat;
use super::outbox::{Next, Outbox, waiting};

/// The longest sleep: a clock that jumps is noticed by then.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// The shortest sleep, so that the task never spins.
const SLEEP_MIN: Duration = Duration::from_millis(5);
/// A channel in trouble for so long is an alert of its own.
const TROUBLE_MAX: Duration = Duration::from_secs(60);
/// So long the disk is waited for before messages go on without it.
const SAVE_MAX: Duration = Duration::from_secs(1);
/// A sign of life may take so long.
const HEARTBEAT_MAX: Duration = Duration::from_secs(10);
/// What marks a copy for the fallback: part of its key, and never copied again.
const FALLBACK: &str = "/fallback";

/// What the task hears.
pub(super) struct Inputs {
    /// Messages to deliver.
    pub messages: mpsc::UnboundedReceiver<Vec<Message>>,
    /// The configuration in force.
    pub setups: watch::Receiver<Arc<Setup>>,
    /// Whether to end.
    pub stopped: watch::Receiver<bool>,
}

/// Everything that waits, by channel.
pub(super) struct Post {
    setup: Arc<Setup>,
    tools: Tools,
    status: watch::Sender<Vec<ChannelStatus>>,
    ways: BTreeMap<String, Way>,
    sends: JoinSet<Outcome>,
    /// Channel and message of each piece of work under way.
    flying: HashMap<Id, (String, String)>,
    heartbeat: Heartbeat,
    /// How far messages got that the disk refused to note.
    unsaved: Vec<Parcel>,
    /// Messages that were taken, or given up, of which the alerts have not heard yet.
    ended: Vec<(String, bool)>,
    /// A disk that has not answered yet.
    saving: Option<JoinHandle<Saving>>,
    /// The own findings that were told last.
    told: Vec<Finding>,
}

/// What was to be saved, and whether it was.
type Saving = (Vec<Parcel>, Result<(), pawang_store::Error>);

/// One channel.
struct Way {
    config: ChannelConfig,
    outbox: Outbox,
    /// Away while a message is under way; or why it cannot be used.
    channel: Option<Channel>,
    busy: bool,
    sent: u64,
    dead: u64,
    sent_at: Option<Timestamp>,
}

/// What came of a piece of work.
enum Outcome {
    Message {
        channel: Box<Channel>,
        key: String,
        result: Result<(), Trouble>,
    },
    Heartbeat(Result<(), String>),
}

impl Post {
    /// Returns a post with what an earlier daemon did not get through.
    pub(super) fn new(
        setup: Arc<Setup>,
        parcels: Vec<Parcel>,
        tools: Tools,
        status: watch::Sender<Vec<ChannelStatus>>,
    ) -> Post {
        let mut post = Post {
            setup: Arc::clone(&setup),
            tools,
            status,
            ways: BTreeMap::new(),
            sends: JoinSet::new(),
            flying: HashMap::new(),
            heartbeat: Heartbeat::default(),
            unsaved: Vec::new(),
            ended: Vec::new(),
            saving: None,
            told: Vec::new(),
        };
        post.take_setup(setup);
        for parcel in parcels {
            post.put(parcel);
        }
        post
    }

    /// Delivers until it is told to end.
    pub(super) async fn run(mut self, mut inputs: Inputs) {
        loop {
            // First what is known is saved: what is sent twice after a crash has the same key both times.
            self.save().await;
            let wake = self.begin();
            self.tell().await;
            tokio::select! {
                biased;
                () = ended(&mut inputs.stopped) => break,
                Some(done) = self.sends.join_next_with_id() => self.land(done).await,
                Some(messages) = inputs.messages.recv() => {
                    let now = (self.tools.now)();
                    messages.into_iter().for_each(|message| self.put(waiting(message, now)));
                }
                Ok(()) = inputs.setups.changed() => {
                    let setup = Arc::clone(&inputs.setups.borrow_and_update());
                    self.take_setup(setup);
                }
                () = sleep_until(wake) => {}
            }
        }
        // What is under way gets its time; what it leads to is saved.
        while let Some(done) = self.sends.join_next_with_id().await {
            self.land(done).await;
        }
        self.save().await;
    }

    /// Takes the end of a piece of work, also of one that broke.
    async fn land(&mut self, done: Result<(Id, Outcome), JoinError>) {
        let broken = match done {
            Ok((id, outcome)) => {
                self.flying.remove(&id);
                return self.take(outcome).await;
            }
            Err(error) => error,
        };
        let Some((name, key)) = self.flying.remove(&broken.id()) else {
            return;
        };
        if let Some(way) = self.ways.get_mut(&name) {
            way.busy = false;
            way.renew((self.tools.now)());
        }
        let trouble = Trouble::new(format!("sending broke: {broken}"));
        let now = (self.tools.now)();
        self.refused(&name, key, &trouble, now).await;
    }

    /// Begins whatever can be begun, and returns when to look again.
    fn begin(&mut self) -> Instant {
        let now = (self.tools.now)();
        let mut pause = SLEEP_MAX;
        for way in self.ways.values_mut() {
            while !way.busy {
                match way.outbox.next(now) {
                    Next::Idle => break,
                    Next::Wait(at) => {
                        let until = Duration::try_from(at.duration_since(now));
                        pause = pause.min(until.unwrap_or_default());
                        break;
                    }
                    Next::Merge(parcels) => {
                        self.unsaved.extend(parcels);
                        pause = Duration::ZERO;
                        break;
                    }
                    Next::Send(message) => {
                        let Some(mut channel) = way.channel.take() else {
                            break;
                        };
                        way.busy = true;
                        let what = (channel.name().to_owned(), message.key.clone());
                        let send = self.sends.spawn(async move {
                            let result = channel.send(&message).await;
                            Outcome::Message {
                                channel: Box::new(channel),
                                key: message.key,
                                result,
                            }
                        });
                        self.flying.insert(send.id(), what);
                    }
                }
            }
        }
        let wake = Instant::now() + pause.max(SLEEP_MIN);
        let beat = self.beat();
        beat.map_or(wake, |beat| wake.min(beat))
    }

    /// Gives a sign of life when it is due and everything moves.
    fn beat(&mut self) -> Option<Instant> {
        let due = self.heartbeat.due();
        let moves = *self.tools.moves.borrow();
        if let Some(url) = due.filter(|_| moves) {
            self.sends
                .spawn(async move { Outcome::Heartbeat(ask(&url).await) });
        }
        self.heartbeat.next()
    }

    async fn take(&mut self, outcome: Outcome) {
        let now = (self.tools.now)();
        match outcome {
            Outcome::Heartbeat(result) => {
                if let Err(why) = &result
                    && self.heartbeat.trouble.is_none()
                {
                    tracing::warn!("the sign of life is not taken: {why}");
                }
                self.heartbeat.trouble = result.err();
            }
            Outcome::Message {
                channel,
                key,
                result,
            } => {
                let name = channel.name().to_owned();
                let Some(way) = self.ways.get_mut(&name) else {
                    return;
                };
                way.busy = false;
                // A reload may have put another channel in its place meanwhile.
                way.channel.get_or_insert(*channel);
                match result {
                    Ok(()) => self.taken(&name, key, now).await,
                    Err(trouble) => self.refused(&name, key, &trouble, now).await,
                }
            }
        }
    }

    async fn taken(&mut self, name: &str, key: String, now: Timestamp) {
        if let Some(way) = self.ways.get_mut(name) {
            if way.outbox.trouble.is_some() {
                tracing::info!(channel = name, "messages get through again");
            }
            way.sent += 1;
            way.sent_at = Some(now);
            self.unsaved.extend(way.outbox.sent(&key, now));
            let ended = way.outbox.stands_for(&key).into_iter();
            self.ended.extend(ended.map(|key| (key, true)));
        }
        self.tell_ended().await;
    }

    /// Tells the alerts which messages were taken or given up.
    async fn tell_ended(&mut self) {
        for (key, taken) in std::mem::take(&mut self.ended) {
            let delivered = Event::Delivered { key, taken };
            self.tools.alerting.event(delivered).await;
        }
    }

    async fn refused(&mut self, name: &str, key: String, trouble: &Trouble, now: Timestamp) {
        let Some(way) = self.ways.get_mut(name) else {
            return;
        };
        if way.outbox.trouble.is_none() {
            tracing::warn!(
                channel = name,
                key,
                "a message does not get through: {trouble}"
            );
        }
        let failed = way.outbox.failed(&key, trouble, now);
        way.dead += failed.dead.len() as u64;
        self.unsaved.extend(failed.parcels);
        for message in &failed.dead {
            tracing::error!(
                channel = name,
                key = message.key,
                "a message was given up: {trouble}"
            );
            let ended = way.outbox.stands_for(&message.key).into_iter();
            self.ended.extend(ended.map(|key| (key, false)));
        }
        self.tell_ended().await;
        for message in failed.dead {
            self.go_round(name, message, &trouble.what, now);
        }
    }

    /// Tells the fallback what a channel does not get through.
    fn go_round(&mut self, name: &str, message: Message, why: &str, now: Timestamp) {
        if message.key.contains(FALLBACK) {
            return;
        }
        let fallback = &self.setup.config.fallback;
        let recipients = recipient::find(&self.setup, fallback, now).recipients;
        for recipient in recipients {
            if recipient == message.recipient {
                continue;
            }
            let mut copy = message.clone();
            copy.key = format!("{}{FALLBACK}/{}", message.key, recipient.key());
            copy.thread = format!("{}{FALLBACK}", message.thread);
            copy.recipient = recipient;
            copy.notes.push(format!(
                "channel \"{name}\" does not get this through ({why}): the fallback is told"
            ));
            let parcel = waiting(copy, now);
            self.unsaved.push(parcel.clone());
            self.put(parcel);
        }
    }

    fn put(&mut self, parcel: Parcel) {
        let now = (self.tools.now)();
        let name = parcel.message.recipient.channel.clone();
        match self.ways.get_mut(&name) {
            Some(way) => {
                let done = way.outbox.offer(parcel, now);
                let dead = done
                    .iter()
                    .filter(|done| matches!(done.state, ParcelState::Dead { .. }));
                let dead = dead.map(|dead| (dead.message.key.clone(), false));
                self.ended.extend(dead);
                self.unsaved.extend(done);
            }
            None => {
                let mut dead = parcel;
                let why = "there is no such channel any more";
                dead.trouble = Some(why.to_owned());
                dead.state = ParcelState::Dead { at: now };
                let message = dead.message.clone();
                tracing::error!(
                    channel = name,
                    key = message.key,
                    "a message was given up: {why}"
                );
                self.ended.push((message.key.clone(), false));
                self.unsaved.push(dead);
                self.go_round(&name, message, why, now);
            }
        }
    }

    fn take_setup(&mut self, setup: Arc<Setup>) {
        let now = (self.tools.now)();
        self.heartbeat.take_config(setup.config.heartbeat.as_ref());
        let mut before = std::mem::take(&mut self.ways);
        for config in &setup.config.channels {
            let way = match before.remove(&config.name) {
                Some(mut way) => {
                    way.outbox.take_config(config, now);
                    if way.config != *config {
                        way.config = config.clone();
                        way.renew(now);
                    }
                    way
                }
                None => Way::new(config, now),
            };
            self.ways.insert(config.name.clone(), way);
        }
        self.setup = setup;
        let homeless = before.into_values();
        let homeless: Vec<Parcel> = homeless.flat_map(|way| way.outbox.into_waiting()).collect();
        homeless.into_iter().for_each(|parcel| self.put(parcel));
    }

    /// Saves how far messages got; what the disk refuses is saved later, and a disk that hangs holds up no message.
    async fn save(&mut self) {
        if let Some(saving) = &mut self.saving {
            match timeout(SAVE_MAX, saving).await {
                Err(_) => return,
                Ok(saved) => self.saved(saved),
            }
        }
        if self.unsaved.is_empty() {
            return;
        }
        let parcels = std::mem::take(&mut self.unsaved);
        let state = self.tools.state.clone();
        let mut saving = tokio::task::spawn_blocking(move || {
            let saved = state.save_parcels(&parcels);
            (parcels, saved)
        });
        match timeout(SAVE_MAX, &mut saving).await {
            Err(_) => self.saving = Some(saving),
            Ok(saved) => self.saved(saved),
        }
    }

    fn saved(&mut self, saved: Result<Saving, JoinError>) {
        self.saving = None;
        match saved {
            Ok((_, Ok(()))) => {}
            Ok((mut parcels, Err(error))) => {
                tracing::debug!("how far messages got is not saved yet: {error}");
                parcels.append(&mut self.unsaved);
                self.unsaved = parcels;
            }
            Err(error) => tracing::error!("how far messages got is lost: {error}"),
        }
    }

    /// Tells how the channels are doing, and makes an alert of those that have been in trouble for long.
    async fn tell(&mut self) {
        let now = (self.tools.now)();
        self.tell_ended().await;
        let mut urgent = Vec::new();
        for (name, way) in &mut self.ways {
            let why = way.outbox.trouble.as_ref().map(|(_, why)| why.clone());
            let why = why.unwrap_or_default();
            let diverted = way.outbox.divert(now).into_iter();
            urgent.extend(diverted.map(|message| (name.clone(), message, why.clone())));
        }
        for (name, message, why) in urgent {
            self.go_round(&name, message, &why, now);
        }
        let statuses: Vec<ChannelStatus> = self.ways.values().map(Way::status).collect();
        let findings: Vec<Finding> = statuses
            .iter()
            .filter_map(|status| {
                let (since, why) = status.trouble.as_ref()?;
                let long = Duration::try_from(now.duration_since(*since)).unwrap_or_default();
                (long >= TROUBLE_MAX).then(|| failing(status, why))
            })
            .collect();
        self.status.send_if_modified(|shown| {
            let changed = *shown != statuses;
            *shown = statuses;
            changed
        });
        if findings != self.told {
            self.tools.alerting.own("delivery", findings.clone()).await;
            self.told = findings;
        }
    }
}

impl Way {
    fn new(config: &ChannelConfig, now: Timestamp) -> Way {
        let mut way = Way {
            channel: None,
            outbox: Outbox::new(config),
            config: config.clone(),
            busy: false,
            sent: 0,
            dead: 0,
            sent_at: None,
        };
        way.renew(now);
        way
    }

    /// Makes the channel anew; one that cannot be made is in trouble, and what waits for it goes round it.
    fn renew(&mut self, now: Timestamp) {
        match Channel::new(&self.config) {
            Ok(channel) => self.channel = Some(channel),
            Err(report) => {
                self.channel = None;
                self.outbox.trouble = Some((now, report.to_string()));
            }
        }
    }

    fn status(&self) -> ChannelStatus {
        ChannelStatus {
            name: self.config.name.clone(),
            kind: kinds(&self.config)
                .first()
                .copied()
                .unwrap_or_default()
                .to_owned(),
            sent: self.sent,
            waiting: self.outbox.len() as u64,
            dead: self.dead,
            sent_at: self.sent_at,
            trouble: self.outbox.trouble.clone(),
        }
    }
}

fn failing(status: &ChannelStatus, why: &str) -> Finding {
    own::finding(
        "notification-failed",
        &status.name,
        Level::Warning,
        format!(
            "channel \"{}\" does not get messages through, and {} wait: {why}",
            status.name, status.waiting
        ),
        &format!("pawang notify test {}", status.name),
    )
}

/// Waits until it is told to end, or nobody is left who could.
async fn ended(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}

async fn ask(url: &str) -> Result<(), String> {
    let place = Place::parse(url).map_err(|error| error.to_string())?;
    let mut client = Client::new(place, None).map_err(|error| error.to_string())?;
    let request = Request {
        headers: &[],
        body: None,
        timeout: HEARTBEAT_MAX,
    };
    let answer = client
        .ask(&request)
        .await
        .map_err(|error| error.to_string())?;
    match answer.status {
        200..=299 => Ok(()),
        status => Err(format!("it was answered with status {status}")),
    }
}
