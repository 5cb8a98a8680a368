//! The one thread that owns all alerts: takes what was judged and what people ask for, saves what changes, and hands
//! messages on. What the disk refuses is told all the same, and saved later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pawang_alert::book::{Book, Event, External, Subject};
use pawang_alert::setup::Setup;
use pawang_core::alert::{Changes, ChannelStatus, Done, Message, Order, Saved};
use pawang_core::{Evaluation, Finding, Kind, Report, Timestamp};
use pawang_store::live::Live;
use pawang_store::state::{Entry, State};
use serde_json::json;
use tokio::sync::oneshot;

use super::beat::Beat;
use super::unsaved::Unsaved;

/// Inputs that wait for the thread.
const INPUTS_MAX: usize = 1_024;
/// Inputs that are taken before anything is saved, so that a storm is one transaction.
const AT_ONCE_MAX: usize = 256;
/// A task waits so long for a place in the queue; then its news waits for the next evaluation.
const SEND_MAX: Duration = Duration::from_secs(5);
const SEND_RETRY: Duration = Duration::from_millis(10);
/// The longest sleep: a clock that jumps is noticed by then.
const SLEEP_MAX: Duration = Duration::from_millis(500);
/// The shortest sleep, so that the thread never spins.
const SLEEP_MIN: Duration = Duration::from_millis(2);
/// What is wrong with Pawang itself is a sample like any other, and told again so often.
const OWN_EVERY: Duration = Duration::from_secs(10);
/// Readers see times go on, such as the end of a silence, so often even when nothing happens.
const SHOW_EVERY: Duration = Duration::from_secs(2);

/// Something for the thread.
enum Input {
    /// Something happened.
    Event(Box<Event>),
    /// What is wrong with a part of Pawang itself, all of it.
    Own(&'static str, Vec<Finding>),
    /// Somebody asks for something.
    Order {
        order: Order,
        /// Whether it is written into the journal here, and not by whoever took it.
        journal: bool,
        answer: oneshot::Sender<Result<Done, Report>>,
    },
}

/// The way to the thread.
#[derive(Clone)]
pub(super) struct Alerting {
    inputs: SyncSender<Input>,
    refused: Arc<AtomicU64>,
}

/// The thread.
pub(super) struct Thread {
    handle: JoinHandle<()>,
    /// Its signs of life.
    pub beat: Arc<Beat>,
}

/// What the thread works with.
pub(super) struct Tools {
    /// Where everything is saved.
    pub state: State,
    /// Where readers look.
    pub live: Arc<Live>,
    /// Takes messages; called only within the thread.
    pub offer: Box<dyn FnMut(Vec<Message>) + Send>,
    /// Tells how each channel is doing.
    pub channels: Box<dyn Fn() -> Vec<ChannelStatus> + Send>,
    /// The clock.
    pub now: fn() -> Timestamp,
}

impl Alerting {
    /// Returns a way that leads nowhere: nobody is told.
    pub(super) fn nowhere() -> Alerting {
        let (inputs, _) = sync_channel(1);
        Alerting {
            inputs,
            refused: Arc::default(),
        }
    }

    /// Hands on what was judged.
    pub(super) async fn judged(
        &self,
        evaluation: Arc<Evaluation>,
        asked: Option<Arc<BTreeSet<String>>>,
        subject: Arc<Subject>,
    ) {
        self.event(Event::Judged {
            evaluation,
            asked,
            subject,
        })
        .await;
    }

    /// Hands on that something happened.
    pub(super) async fn event(&self, event: Event) {
        self.send(Input::Event(Box::new(event))).await;
    }

    /// Says what is wrong with a part of Pawang itself, all of it; nothing when it is well.
    pub(super) async fn own(&self, part: &'static str, findings: Vec<Finding>) {
        self.send(Input::Own(part, findings)).await;
    }

    /// Hands on somebody else's alerts; says whether there was a place for them.
    pub(super) async fn external(&self, alerts: Vec<External>) -> bool {
        self.send(Input::Event(Box::new(Event::External(alerts))))
            .await
    }

    /// Does what somebody asks for, and writes it into the journal.
    ///
    /// # Errors
    /// It cannot be done, or the thread is busy.
    pub(super) async fn order(&self, order: Order) -> Result<Done, Report> {
        self.ask(order, true).await
    }

    /// Does what somebody asks for who writes the journal himself: the dashboard.
    ///
    /// # Errors
    /// As [`Alerting::order`].
    pub(super) async fn order_of_dashboard(&self, order: Order) -> Result<Done, Report> {
        self.ask(order, false).await
    }

    async fn ask(&self, order: Order, journal: bool) -> Result<Done, Report> {
        let (answer, answered) = oneshot::channel();
        let busy = || {
            Report::new(Kind::Refused, "could not hand the order to the alerts")
                .with_detail("the daemon is busy or ending")
                .with_hint("pawang serve status")
        };
        let input = Input::Order {
            order,
            journal,
            answer,
        };
        if !self.send(input).await {
            return Err(busy());
        }
        answered.await.unwrap_or_else(|_| Err(busy()))
    }

    async fn send(&self, mut input: Input) -> bool {
        let deadline = Instant::now() + SEND_MAX;
        loop {
            match self.inputs.try_send(input) {
                Ok(()) => return true,
                Err(TrySendError::Full(back)) if Instant::now() < deadline => input = back,
                Err(TrySendError::Full(_)) => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    return false;
                }
                Err(TrySendError::Disconnected(_)) => return false,
            }
            tokio::time::sleep(SEND_RETRY).await;
        }
    }
}

/// Starts the thread with what was saved.
///
/// # Errors
/// The operating system gives no thread.
pub(super) fn start(
    setup: Arc<Setup>,
    saved: Saved,
    tools: Tools,
) -> Result<(Alerting, Thread), Report> {
    let now = (tools.now)();
    let (inputs, receiver) = sync_channel(INPUTS_MAX);
    let beat = Arc::new(Beat::default());
    let refused = Arc::new(AtomicU64::new(0));
    let mut work = Work {
        refused: Arc::clone(&refused),
        book: Book::new(setup, saved, now).with_causes(causes),
        own: BTreeMap::new(),
        owned_at: Instant::now(),
        unsaved: Unsaved::default(),
        beat: Arc::clone(&beat),
        shown_at: None,
        tools,
    };
    let handle = std::thread::Builder::new()
        .name("alerts".to_owned())
        .spawn(move || work.run(&receiver))
        .map_err(|error| {
            Report::new(Kind::Refused, "could not start the alerts").with_detail(error.to_string())
        })?;
    let alerting = Alerting { inputs, refused };
    Ok((alerting, Thread { handle, beat }))
}

impl Thread {
    /// Waits for the end, which comes when the last way to the thread is dropped; says whether it came in time.
    pub(super) async fn join(self, most: Duration) -> bool {
        let deadline = Instant::now() + most;
        while !self.handle.is_finished() {
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(SEND_RETRY).await;
        }
        self.handle.join().is_ok()
    }

    /// Says whether it ended though nobody told it to.
    pub(super) fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }
}

/// Returns what the journal says of an order that was given at the command line, with or without a daemon.
pub(crate) fn journal_entry(order: &Order, done: &Result<Done, Report>, now: Timestamp) -> Entry {
    let (action, asked) = order.request.action();
    let (outcome, object, detail) = match done {
        Ok(done) => ("done", done.objects.join(" "), json!({ "done": done.text })),
        Err(report) => ("refused", asked, json!({ "why": report.primary })),
    };
    Entry {
        at: now,
        actor: format!("cli:{}", order.by),
        action: action.to_owned(),
        object,
        outcome: outcome.to_owned(),
        detail: json!({ "request": order.request, "outcome": detail }),
    }
}

struct Work {
    book: Book,
    /// What is wrong with Pawang itself, by part.
    own: BTreeMap<&'static str, Vec<Finding>>,
    owned_at: Instant,
    unsaved: Unsaved,
    /// Inputs that found no place.
    refused: Arc<AtomicU64>,
    beat: Arc<Beat>,
    shown_at: Option<Instant>,
    tools: Tools,
}

impl Work {
    fn run(&mut self, inputs: &Receiver<Input>) {
        self.show();
        loop {
            self.beat.mark();
            let mut answers = Vec::new();
            let mut changes = Changes::default();
            match inputs.recv_timeout(self.pause()) {
                Ok(input) => {
                    self.take(input, &mut changes, &mut answers);
                    let more = inputs.try_iter().take(AT_ONCE_MAX);
                    more.for_each(|input| self.take(input, &mut changes, &mut answers));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let now = (self.tools.now)();
            let ails = self.own.values().any(|findings| !findings.is_empty());
            if ails && self.owned_at.elapsed() >= OWN_EVERY {
                self.tell_own(&mut changes, now);
            }
            changes.absorb(self.book.step(Event::Tick, now));
            self.settle(changes);
            for (answer, done) in answers {
                // Whoever asked may have hung up.
                let _ = answer.send(done);
            }
        }
        self.unsaved.hurry();
        self.settle(Changes::default());
        if !self.unsaved.is_empty() {
            tracing::error!("some changes of alerts could not be saved before the end");
        }
    }

    fn take(&mut self, input: Input, changes: &mut Changes, answers: &mut Vec<Answer>) {
        let now = (self.tools.now)();
        match input {
            Input::Event(event) => changes.absorb(self.book.step(*event, now)),
            Input::Own(part, findings) => {
                self.own.insert(part, findings);
                self.tell_own(changes, now);
            }
            Input::Order {
                order,
                journal,
                answer,
            } => {
                let done = self.book.order(&order, now).map(|(done, more)| {
                    changes.absorb(more);
                    done
                });
                if journal {
                    self.journal(&order, &done, now);
                }
                answers.push((answer, done));
            }
        }
    }

    fn tell_own(&mut self, changes: &mut Changes, now: Timestamp) {
        let all = self.own.values().flatten().cloned().collect();
        changes.absorb(self.book.step(Event::Own(all), now));
        self.owned_at = Instant::now();
    }

    /// A journal that refuses does not keep anybody from acknowledging, but is told.
    fn journal(&self, order: &Order, done: &Result<Done, Report>, now: Timestamp) {
        let entry = journal_entry(order, done, now);
        if let Err(error) = self.tools.state.journal(&entry) {
            tracing::error!("the journal refuses \"{}\": {error}", entry.action);
        }
    }

    /// Returns how long there is nothing to do.
    fn pause(&self) -> Duration {
        let now = (self.tools.now)();
        let until = self.book.next_at().map_or(SLEEP_MAX, |at| {
            Duration::try_from(at.duration_since(now)).unwrap_or_default()
        });
        until.clamp(SLEEP_MIN, SLEEP_MAX)
    }

    /// Saves what changed, hands messages on, and shows the rest.
    fn settle(&mut self, changes: Changes) {
        let changed = !changes.is_empty();
        let messages = changes.messages.clone();
        let state = self.tools.state.clone();
        self.unsaved
            .save(changes, |changes| state.save_alerts(changes));
        if !messages.is_empty() {
            (self.tools.offer)(messages);
        }
        let due = self.shown_at.is_none_or(|at| at.elapsed() >= SHOW_EVERY);
        if changed || due {
            self.show();
        }
    }

    fn show(&mut self) {
        let mut present = self.book.present((self.tools.now)());
        present.running = true;
        present.notes.extend(self.unsaved.note());
        let refused = self.refused.load(Ordering::Relaxed);
        if refused > 0 {
            let note = format!("{refused} verdicts came faster than alerts could be made of them");
            present.notes.push(note);
        }
        present.channels = (self.tools.channels)();
        self.tools.live.put_alerts(present);
        self.shown_at = Some(Instant::now());
    }
}

/// Who asked, and what came of it; told only when it is saved.
type Answer = (oneshot::Sender<Result<Done, Report>>, Result<Done, Report>);

/// Returns what a check's texts say to look at, the most probable first.
fn causes(check: &str) -> Vec<String> {
    /// More than a few are no help at night.
    const CAUSES_MAX: usize = 4;
    let fix = pawang_check::find(check).map_or("", |check| check.fix);
    let sentences = fix.split_inclusive(". ").map(str::trim);
    sentences
        .filter(|sentence| !sentence.is_empty())
        .take(CAUSES_MAX)
        .map(str::to_owned)
        .collect()
}
