//! Watches while others work: window, interrupt, stop file, the governor's sample, and who waits for us.
//!
//! One read-only session does all of it. Lanes read its orders; it never touches their sessions.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pawang_core::plan::Impact;
use pawang_core::{Timestamp, Value};
use pawang_postgres::Session;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};

use crate::governor::{self, Limits, Sample, Verdict};
use crate::{Apply, Error};

/// How often it is looked who waits for a lock that stops readers, and for any other lock.
const SAMPLE_EXCLUSIVE: Duration = Duration::from_millis(50);
const SAMPLE_ELSE: Duration = Duration::from_secs(1);
/// How often the governor takes a sample.
const GOVERN: Duration = Duration::from_secs(2);
/// The first rate needs two samples.
const FIRST_RATE: Duration = Duration::from_secs(1);
/// No look of the governor may take longer.
const LOOK_MAX: Duration = Duration::from_secs(1);
/// So many looks may fail one after the other before nothing is known any more.
const BLIND_MAX: u32 = 3;

/// What lanes must do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Work goes on.
    Go,
    /// Nothing begins.
    Wait(String),
    /// Nothing begins, and what runs is cancelled.
    Cancel(String),
    /// The same, and for good.
    End(String),
}

/// The watch over one plan.
pub(crate) struct Monitor<'a> {
    session: &'a Session,
    limits: &'a Limits,
    until: Option<Timestamp>,
    clock: fn() -> Timestamp,
    stop: watch::Receiver<bool>,
    state: Mutex<State>,
    /// Counts looks, so that lanes learn of each.
    looks: watch::Sender<u64>,
    /// Somebody begins who stops others: the next look comes at once.
    wake: Notify,
}

struct State {
    order: Order,
    /// What the governor said last.
    verdict: Verdict,
    sample: Sample,
    sampled_at: Option<Instant>,
    waiters_at: Instant,
    /// Standbys that streamed at the beginning.
    standbys: u64,
    /// Our sessions that run something, by process id.
    watched: BTreeMap<i32, Watched>,
    blind: u32,
    finished: bool,
}

/// One of our sessions that runs something.
struct Watched {
    exclusive: bool,
    began: Instant,
    /// Who waits for it now, and for how long.
    waiting: BTreeMap<i32, Duration>,
    impact: Impact,
}

impl<'a> Monitor<'a> {
    /// Takes the first two samples, where there is anything to govern.
    pub(crate) async fn start(
        session: &'a Session,
        how: &'a Apply<'_>,
        governed: bool,
    ) -> Result<Monitor<'a>, Error> {
        let monitor = Monitor {
            session,
            limits: how.limits,
            until: how.until,
            clock: how.clock,
            stop: how.stop.clone(),
            state: Mutex::new(State {
                order: Order::Go,
                verdict: Verdict::Go,
                sample: Sample::default(),
                sampled_at: None,
                waiters_at: Instant::now(),
                standbys: 0,
                watched: BTreeMap::new(),
                blind: 0,
                finished: false,
            }),
            looks: watch::Sender::new(0),
            wake: Notify::new(),
        };
        monitor.decide();
        if governed && monitor.order() == Order::Go {
            monitor.govern().await?;
            let standbys = monitor.state().sample.standbys.unwrap_or(0);
            monitor.state().standbys = standbys;
            sleep(FIRST_RATE).await;
            monitor.govern().await?;
            monitor.decide();
        }
        Ok(monitor)
    }

    /// Looks again and again until [`Monitor::finish`].
    pub(crate) async fn run(&self) {
        let mut stop = self.stop.clone();
        let mut stoppable = true;
        while !self.state().finished {
            tokio::select! {
                () = sleep(self.delay()) => {}
                () = self.wake.notified() => {}
                changed = stop.changed(), if stoppable => stoppable = changed.is_ok(),
            }
            let looked = self.look().await;
            self.note(looked);
            self.decide();
            self.looks.send_modify(|looks| *looks += 1);
        }
    }

    /// Ends [`Monitor::run`].
    pub(crate) fn finish(&self) {
        self.state().finished = true;
        self.wake.notify_one();
    }

    /// Tells of every look from now on.
    pub(crate) fn looks(&self) -> watch::Receiver<u64> {
        self.looks.subscribe()
    }

    /// Returns what lanes must do now.
    pub(crate) fn order(&self) -> Order {
        self.state().order.clone()
    }

    /// Returns what lanes must do now when one of them would need so much disk.
    pub(crate) fn order_for(&self, needs: u64) -> Order {
        let state = self.state();
        match (&state.order, needs) {
            (Order::Go, 1..) if state.sampled_at.is_some() => {
                match governor::judge(&state.sample, self.limits, state.standbys, needs) {
                    Verdict::Go => Order::Go,
                    Verdict::Wait(why) | Verdict::Cancel(why) => Order::Wait(why),
                }
            }
            (order, _) => order.clone(),
        }
    }

    /// Begins to watch one of our sessions.
    pub(crate) fn enter(&self, backend: i32, exclusive: bool) {
        let resolution = if exclusive {
            SAMPLE_EXCLUSIVE
        } else {
            SAMPLE_ELSE
        };
        let watched = Watched {
            exclusive,
            began: Instant::now(),
            waiting: BTreeMap::new(),
            impact: Impact {
                resolution,
                ..Impact::default()
            },
        };
        self.state().watched.insert(backend, watched);
        // Where nobody is stopped the next look comes soon enough: one for each of many short actions would cost more than they do.
        if exclusive {
            self.wake.notify_one();
        }
    }

    /// Ends watching one of our sessions, and returns what it cost others.
    pub(crate) fn leave(&self, backend: i32) -> Impact {
        let watched = self.state().watched.remove(&backend);
        watched.map_or_else(Impact::default, |mut watched| {
            watched.settle(BTreeMap::new());
            watched.impact
        })
    }

    /// Returns how long somebody has been waiting for one of our sessions.
    pub(crate) fn waited_for(&self, backend: i32) -> Duration {
        let state = self.state();
        let watched = state.watched.get(&backend);
        let longest = watched.and_then(|watched| watched.waiting.values().max());
        longest.copied().unwrap_or(Duration::ZERO)
    }

    /// Returns our sessions that run something, as an array in SQL.
    pub(crate) fn own(&self) -> String {
        let pids: Vec<String> = self.state().watched.keys().map(i32::to_string).collect();
        format!("'{{{}}}'::pg_catalog.int4[]", pids.join(","))
    }

    /// Returns what nobody knows about the server.
    pub(crate) fn unseen(&self) -> Vec<&'static str> {
        let state = self.state();
        match state.sampled_at {
            Some(_) => state.sample.unseen(),
            None => Vec::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long until the next look.
    fn delay(&self) -> Duration {
        let state = self.state();
        let step = match state.watched.values().any(|watched| watched.exclusive) {
            true => SAMPLE_EXCLUSIVE,
            false => SAMPLE_ELSE,
        };
        (state.waiters_at + step).saturating_duration_since(Instant::now())
    }

    async fn look(&self) -> Result<(), pawang_postgres::Error> {
        if !self.state().watched.is_empty() {
            self.waiters().await?;
        }
        self.state().waiters_at = Instant::now();
        let due = self
            .state()
            .sampled_at
            .is_some_and(|at| at.elapsed() >= GOVERN);
        if due {
            self.govern().await?;
        }
        Ok(())
    }

    /// Remembers how a look went; who cannot see must not go on.
    fn note(&self, looked: Result<(), pawang_postgres::Error>) {
        let mut state = self.state();
        match looked {
            Ok(()) => state.blind = 0,
            Err(error) => {
                state.blind += 1;
                tracing::debug!("could not look at the server: {}", error.line());
                if !self.session.alive() || state.blind >= BLIND_MAX {
                    let why = format!("the server can no longer be watched: {}", error.line());
                    state.order = Order::End(why);
                }
            }
        }
    }

    /// Asks who waits for one of our sessions, and since when.
    async fn waiters(&self) -> Result<(), pawang_postgres::Error> {
        let sql = waiters_of(&self.own());
        let rows = self.session.read_within(&sql, LOOK_MAX).await?;
        let now = Instant::now();
        let mut found: BTreeMap<i32, BTreeMap<i32, Duration>> = BTreeMap::new();
        for row in &rows.rows {
            let pid = |value: &Value| value.as_int().and_then(|pid| i32::try_from(pid).ok());
            let (Some(ours), Some(waiter)) = (pid(&row[0]), pid(&row[1])) else {
                continue;
            };
            let seconds = match row[2] {
                Value::Float(seconds) => seconds.max(0.0),
                _ => 0.0,
            };
            let waited = Duration::from_secs_f64(seconds);
            found.entry(ours).or_default().insert(waiter, waited);
        }
        for (backend, watched) in &mut self.state().watched {
            let running = now.saturating_duration_since(watched.began);
            let mut waiting = found.remove(backend).unwrap_or_default();
            // Whoever waited before we came did not wait for us.
            waiting
                .values_mut()
                .for_each(|waited| *waited = running.min(*waited));
            watched.settle(waiting);
        }
        Ok(())
    }

    async fn govern(&self) -> Result<(), pawang_postgres::Error> {
        let mut sample = Sample::default();
        let load = self.session.read_within(governor::LOAD, LOOK_MAX).await?;
        sample.load(&load);
        // Refused to roles without pg_monitor: then nobody knows.
        if let Ok(files) = self.session.read_within(governor::FILES, LOOK_MAX).await {
            sample.files(&files);
        }
        let server = &self.session.server;
        if let (true, Some(directory)) = (server.local, &server.data_directory)
            && let Ok(space) = rustix::fs::statvfs(directory.as_str())
        {
            sample.free_disk = Some(space.f_bavail.saturating_mul(space.f_frsize));
        }
        let mut state = self.state();
        let now = Instant::now();
        if let Some(at) = state.sampled_at {
            sample.rate(&state.sample, now - at);
        }
        state.verdict = governor::judge(&sample, self.limits, state.standbys, 0);
        state.sample = sample;
        state.sampled_at = Some(now);
        Ok(())
    }

    /// Makes the order of what is known; an end is for good.
    fn decide(&self) {
        let stopped = *self.stop.borrow();
        let file = self.limits.stop_file.as_ref().filter(|file| file.exists());
        let closed = self.until.is_some_and(|until| (self.clock)() >= until);
        let mut state = self.state();
        if matches!(state.order, Order::End(_)) {
            return;
        }
        state.order = if stopped {
            Order::End("interrupted".to_owned())
        } else if let Some(file) = file {
            Order::End(format!("the stop file \"{}\" is there", file.display()))
        } else if closed {
            Order::End("the window has closed".to_owned())
        } else {
            match &state.verdict {
                Verdict::Go => Order::Go,
                Verdict::Wait(why) => Order::Wait(why.clone()),
                Verdict::Cancel(why) => Order::Cancel(why.clone()),
            }
        };
    }
}

impl Watched {
    /// Takes over who waits now; the waits of those who do so no more are counted.
    fn settle(&mut self, waiting: BTreeMap<i32, Duration>) {
        for (waiter, waited) in &waiting {
            self.impact.longest = self.impact.longest.max(*waited);
            // A shorter wait of the same session is another one.
            match self.waiting.get(waiter) {
                Some(before) if before <= waited => {}
                Some(before) => self.count(*before),
                None => {}
            }
        }
        let over: Vec<Duration> = self
            .waiting
            .iter()
            .filter(|(waiter, _)| !waiting.contains_key(waiter))
            .map(|(_, waited)| *waited)
            .collect();
        over.into_iter().for_each(|waited| self.count(waited));
        self.waiting = waiting;
    }

    fn count(&mut self, waited: Duration) {
        self.impact.total += waited;
        self.impact.sessions += 1;
    }
}

/// `pg_blocking_pids` stops the lock manager for an instant: it is asked only about sessions that wait for a lock.
fn waiters_of(own: &str) -> String {
    format!(
        "WITH waiting AS MATERIALIZED (
    SELECT a.pid, pg_catalog.pg_blocking_pids(a.pid) AS blockers
    FROM pg_catalog.pg_stat_activity AS a
    WHERE a.pid <> ALL ({own}) AND a.backend_type IS DISTINCT FROM 'autovacuum worker'
        AND (a.wait_event_type = 'Lock' OR a.backend_type IS NULL AND EXISTS (
            -- Hidden from the role; its locks are not.
            SELECT FROM pg_catalog.pg_locks AS h WHERE h.pid = a.pid AND NOT h.granted))
)
SELECT o.pid AS ours, w.pid AS waiter, (
        SELECT extract(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.min(l.waitstart))
        FROM pg_catalog.pg_locks AS l WHERE l.pid = w.pid AND NOT l.granted
    )::pg_catalog.float8 AS waited
FROM waiting AS w
JOIN pg_catalog.unnest({own}) AS o (pid) ON o.pid = ANY (w.blockers)"
    )
}
