//! The guards: how an action waits, retries and gives up, so that nobody else has to wait for it.

use std::pin::pin;
use std::time::Duration;

use pawang_core::plan::{
    Action, GuardProfile, Impact, IndexCleanup, Relation, RowSource, State, Task,
};
use pawang_postgres::{Environment, Error, Host, Limits, Session, Target, Writer};
use tokio::time::{Instant, sleep, sleep_until};

use super::{Apply, Effects, Progress, Step};
use crate::monitor::{Monitor, Order};
use crate::{look, quote, task};

/// A lock that stops others is asked for this long, again and again with pauses.
const EXCLUSIVE_LOCK: Duration = Duration::from_millis(100);
const EXCLUSIVE_TRIES: u32 = 30;
const EXCLUSIVE_PAUSES: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(5));
/// When somebody has waited for us so long while a lock that stops others is held, it is given back.
const EXCLUSIVE_QUEUE: Duration = Duration::from_millis(100);

/// Waiting for a lock that only stops schema changes is no harm, but there is no need to queue for it either.
const VACUUM_LOCK: Duration = Duration::from_secs(1);
const VACUUM_TRIES: u32 = 10;
const VACUUM_PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// Inside CONCURRENTLY a lock that times out leaves an invalid index: it waits for long, but only for young transactions.
const CONCURRENT_LOCK: Duration = Duration::from_secs(600);
const CONCURRENT_TRIES: u32 = 3;
const CONCURRENT_PAUSES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(10));
/// Transactions older than this are waited for before CONCURRENTLY begins.
const OLD_TRANSACTION_SECONDS: u32 = 60;

/// What is only asked or told.
const READ: Limits = Limits {
    statement: Some(Duration::from_secs(5)),
    lock: Duration::from_millis(200),
};

/// A server that does not even cancel is given up after this.
const CANCEL_PATIENCE: Duration = Duration::from_secs(30);

/// How it went under guard.
pub(crate) struct Guarded {
    /// How often it was tried.
    pub tries: u32,
    /// What it cost others, over all tries.
    pub impact: Impact,
    /// The rows of the last statement, or why it did not work out.
    pub result: Result<usize, Fault>,
}

/// Why a guarded action did not work out.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The server refused.
    Server(Error),
    /// It was not begun, with the reason.
    NotBegun(String),
    /// It was begun and we cancelled it, with the reason.
    Cancelled(String),
    /// Others waited for it, and it gave way.
    GaveWay(Duration),
    /// The lock was never free, and who held it.
    Locked(String),
    /// The server did not answer, not even to the request to cancel.
    Hung,
}

/// Everything that a guard needs besides the action.
pub(crate) struct Guard<'a> {
    pub how: &'a Apply<'a>,
    pub monitor: &'a Monitor<'a>,
    pub writer: &'a Writer,
    pub action: &'a Action,
}

/// The numbers of one profile.
struct Profile {
    limits: Limits,
    tries: u32,
    pauses: (Duration, Duration),
    exclusive: bool,
    /// It gives way when somebody waits longer than this.
    queue: Option<Duration>,
}

impl Guard<'_> {
    /// Does the action under its profile.
    pub(crate) async fn run(&self, indexes: &[u32]) -> Guarded {
        let profile = self.profile();
        let deadline = Instant::now() + self.how.limits.patience;
        let mut guarded = Guarded {
            tries: 0,
            impact: Impact::default(),
            result: Ok(0),
        };
        loop {
            if let Err(why) = self.permit().await {
                guarded.result = Err(match guarded.tries {
                    0 => Fault::NotBegun(why),
                    tries => Fault::NotBegun(format!("{why}; tried {tries} times before")),
                });
                return guarded;
            }
            guarded.tries += 1;
            self.tell(Step::Begun {
                tries: guarded.tries,
                backend: self.writer.backend,
            });
            let result = self.once(&profile, &mut guarded.impact).await;
            if result.is_err() && self.action.guard == GuardProfile::Concurrent {
                self.clean(indexes).await;
            }
            guarded.result = match result {
                Err(fault)
                    if fault.passes()
                        && guarded.tries < profile.tries
                        && Instant::now() < deadline =>
                {
                    self.pause(&profile, guarded.tries).await;
                    continue;
                }
                Err(Fault::Server(Error::LockTimeout { .. })) => {
                    Err(Fault::Locked(self.holders().await))
                }
                result => result,
            };
            return guarded;
        }
    }

    /// Waits until the server can bear the action; the error says why it was in vain.
    pub(crate) async fn permit(&self) -> Result<(), String> {
        let deadline = Instant::now() + self.how.limits.patience;
        let mut looks = self.monitor.looks();
        let needs = self.action.cost.disk.map_or(0, |disk| disk.0);
        let mut told = String::new();
        loop {
            let why = match self.monitor.order_for(needs) {
                Order::End(why) => return Err(why),
                Order::Wait(why) | Order::Cancel(why) => Some(why),
                Order::Go if self.action.guard == GuardProfile::Concurrent => {
                    self.old_transactions().await.map_err(|e| e.line())?
                }
                Order::Go => None,
            };
            let Some(why) = why else { return Ok(()) };
            if self.how.effects == Effects::Dry {
                return Err(format!("it would wait: {why}"));
            }
            if Instant::now() >= deadline {
                let waited = self.how.limits.patience.as_secs();
                return Err(format!("waited {waited} s in vain: {why}"));
            }
            // Its numbers change all the time.
            let (subject, _) = why.split_once(':').unwrap_or((&why, ""));
            if subject != told {
                subject.clone_into(&mut told);
                self.tell(Step::Waiting { why });
            }
            tokio::select! {
                _ = looks.changed() => {}
                () = sleep_until(deadline) => {}
            }
        }
    }

    /// Returns what CONCURRENTLY would wait for, if that is old already.
    pub(crate) async fn old_transactions(&self) -> Result<Option<String>, Error> {
        let table = self.action.task.table().map_or(0, |table| table.oid);
        let own = self.monitor.own();
        let pid = self.writer.backend;
        let sql = format!(
            "SELECT pg_catalog.format('a transaction of pid %s (role \"%s\", application \"%s\", %s) has been open for %s s',
        a.pid, a.usename, a.application_name, a.state,
        extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::pg_catalog.int8) AS why
FROM pg_catalog.pg_stat_activity AS a
WHERE a.datname = pg_catalog.current_database() AND a.pid <> {pid} AND a.pid <> ALL ({own})
    AND a.xact_start < pg_catalog.clock_timestamp() - interval '{OLD_TRANSACTION_SECONDS} s'
    AND (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL OR EXISTS (
        SELECT FROM pg_catalog.pg_locks AS l WHERE l.pid = a.pid AND l.relation = {table}))
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_vacuum AS v WHERE v.pid = a.pid AND v.relid <> {table})
UNION ALL
SELECT 'a prepared transaction holds a lock on the table'
FROM pg_catalog.pg_locks AS l
WHERE l.pid IS NULL AND l.relation = {table}
    AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
LIMIT 1"
        );
        let row = look::row(self.writer, &sql).await?;
        Ok(row.and_then(|row| row.get("why").cloned()))
    }

    /// Tells whoever watches.
    pub(crate) fn tell(&self, step: Step) {
        (self.how.watch)(&Progress {
            action: self.action.id.clone(),
            step,
        });
    }

    fn profile(&self) -> Profile {
        let unlimited = |lock| Limits {
            statement: None,
            lock,
        };
        let give_way = Some(self.how.limits.give_way);
        match self.action.guard {
            GuardProfile::Read => Profile {
                limits: READ,
                tries: 1,
                pauses: EXCLUSIVE_PAUSES,
                exclusive: false,
                queue: None,
            },
            GuardProfile::Exclusive => Profile {
                limits: unlimited(EXCLUSIVE_LOCK),
                tries: EXCLUSIVE_TRIES,
                pauses: EXCLUSIVE_PAUSES,
                exclusive: true,
                queue: (!task::holds_long(&self.action.task)).then_some(EXCLUSIVE_QUEUE),
            },
            GuardProfile::Vacuum => Profile {
                limits: unlimited(VACUUM_LOCK),
                tries: VACUUM_TRIES,
                pauses: VACUUM_PAUSES,
                exclusive: false,
                queue: give_way.filter(|_| !urgent(&self.action.task)),
            },
            GuardProfile::Concurrent => Profile {
                limits: unlimited(CONCURRENT_LOCK),
                tries: CONCURRENT_TRIES,
                pauses: CONCURRENT_PAUSES,
                exclusive: false,
                queue: give_way,
            },
        }
    }

    /// Sends the statements once.
    async fn once(&self, profile: &Profile, impact: &mut Impact) -> Result<usize, Fault> {
        let backend = self.writer.backend;
        self.monitor.enter(backend, profile.exclusive);
        let mut result = Ok(0);
        for sql in &self.action.sql {
            result = self.supervise(sql, profile).await;
            if result.is_err() {
                break;
            }
        }
        let in_block = self.action.sql.first().is_some_and(|sql| sql == "BEGIN");
        if in_block
            && !matches!(result, Ok(_) | Err(Fault::Hung))
            && let Err(error) = self.writer.roll_back().await
        {
            tracing::debug!("could not roll back: {}", error.line());
        }
        add(impact, self.monitor.leave(backend));
        result
    }

    /// Runs one statement, and cancels it when it must not go on.
    async fn supervise(&self, sql: &str, profile: &Profile) -> Result<usize, Fault> {
        let mut looks = self.monitor.looks();
        let mut work = pin!(self.send(sql, profile));
        let mut fault: Option<Fault> = None;
        let mut given_up = pin!(sleep(Duration::MAX));
        loop {
            tokio::select! {
                result = &mut work => return match (result, fault) {
                    (Ok(rows), _) => Ok(rows),
                    (Err(Error::Cancelled { .. }), Some(fault)) => Err(fault),
                    (Err(error), _) => Err(Fault::Server(error)),
                },
                _ = looks.changed(), if fault.is_none() => {
                    fault = self.must_stop(profile);
                    if fault.is_some() {
                        given_up.set(sleep(CANCEL_PATIENCE));
                        self.writer.cancel().await;
                    }
                }
                () = &mut given_up => return Err(Fault::Hung),
            }
        }
    }

    /// Sends one statement, with rows of another server where it takes some; returns how many rows there were.
    async fn send(&self, sql: &str, profile: &Profile) -> Result<usize, Error> {
        match (task::feeds(&self.action.task, sql), &self.action.task) {
            (Some(out), Task::CopyTables { source, .. }) => {
                let session = Session::connect(&reach(source)?, "act").await?;
                let rows = self.writer.feed(sql, &session, &out).await?;
                Ok(usize::try_from(rows).unwrap_or(usize::MAX))
            }
            _ => {
                let rows = self.writer.run(sql, profile.limits).await?;
                Ok(rows.rows.len())
            }
        }
    }

    fn must_stop(&self, profile: &Profile) -> Option<Fault> {
        match self.monitor.order() {
            Order::End(why) | Order::Cancel(why) => return Some(Fault::Cancelled(why)),
            Order::Go | Order::Wait(_) => {}
        }
        let waited = self.monitor.waited_for(self.writer.backend);
        match profile.queue {
            Some(most) if waited >= most => Some(Fault::GaveWay(waited)),
            _ => None,
        }
    }

    /// Waits before the next try: longer each time, and never in step with others.
    async fn pause(&self, profile: &Profile, tries: u32) {
        let (shortest, longest) = profile.pauses;
        let growing = shortest.mul_f64(1.5_f64.powi(tries.min(20).cast_signed() - 1));
        let clock = (self.how.clock)().subsec_nanosecond().unsigned_abs();
        let jitter = f64::from(clock / 1_000 % 1_000) / 1_000.0;
        let pause = growing.min(longest).mul_f64(0.75 + jitter / 2.0);
        let end = Instant::now() + pause;
        let mut looks = self.monitor.looks();
        while Instant::now() < end && !matches!(self.monitor.order(), Order::End(_)) {
            tokio::select! {
                _ = looks.changed() => {}
                () = sleep_until(end) => {}
            }
        }
    }

    /// Takes away what a CONCURRENTLY of ours left, where that is certain.
    async fn clean(&self, indexes: &[u32]) {
        if !self.writer.alive() {
            return;
        }
        if let Err(error) = clean(self.writer, &self.action.task, indexes).await {
            // The journal still says that this was begun: the next run settles it.
            tracing::debug!("could not clean up after {}: {error}", self.action.id);
        }
    }

    /// Returns who holds the locks that were asked for in vain.
    async fn holders(&self) -> String {
        let oids: Vec<String> = task::touches(&self.action.task)
            .iter()
            .map(u32::to_string)
            .collect();
        let sql = format!(
            "SELECT pg_catalog.string_agg(DISTINCT pg_catalog.format('pid %s of role \"%s\", application \"%s\", %s since %s',
        a.pid, a.usename, a.application_name, a.state, pg_catalog.date_trunc('second', a.xact_start)), '; ') AS who
FROM pg_catalog.pg_locks AS l
JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
WHERE l.granted AND l.locktype = 'relation' AND l.relation = ANY ('{{{}}}'::pg_catalog.oid[])
    AND l.pid <> pg_catalog.pg_backend_pid()",
            oids.join(",")
        );
        match look::row(self.writer, &sql).await {
            Ok(Some(row)) if !row["who"].is_empty() => format!("held by {}", row["who"]),
            _ => "nobody holds it now".to_owned(),
        }
    }
}

/// Returns how a throw-away server is reached.
fn reach(source: &RowSource) -> Result<Target, Error> {
    let nobody = Environment {
        variables: std::collections::BTreeMap::new(),
        home: None,
        os_user: source.role.clone(),
    };
    let mut target = Target::parse("", &nobody)?;
    target.hosts = vec![Host::Socket {
        directory: source.folder.clone().into(),
        port: source.port,
    }];
    target.user.clone_from(&source.role);
    Ok(target.with_database(&source.database))
}

impl Fault {
    /// Says whether it may work out the next time.
    fn passes(&self) -> bool {
        match self {
            Fault::GaveWay(_) | Fault::Server(Error::LockTimeout { .. }) => true,
            // A deadlock: the server has chosen us.
            Fault::Server(Error::Sql { sqlstate, .. }) => sqlstate == "40P01",
            _ => false,
        }
    }

    /// Returns what became of the action, why, and what to do about it.
    pub(crate) fn explain(&self, tries: u32) -> (State, String, Option<String>) {
        match self {
            Fault::NotBegun(why) => (State::Skipped, why.clone(), None),
            Fault::Cancelled(why) => (State::Cancelled, why.clone(), None),
            Fault::GaveWay(waited) => (
                State::Cancelled,
                format!(
                    "others waited {} ms for it, and it gave way {tries} times",
                    waited.as_millis()
                ),
                Some("try again when nobody changes the table's schema".to_owned()),
            ),
            Fault::Locked(who) => (
                State::Failed,
                format!("the lock was not free in {tries} tries: {who}"),
                Some("pawang session tree".to_owned()),
            ),
            Fault::Hung => (
                State::Failed,
                "the server did not answer to the request to cancel; the statement may still run"
                    .to_owned(),
                Some("pawang progress".to_owned()),
            ),
            Fault::Server(Error::Undefined { message, .. }) => (
                State::Stale,
                format!("it is gone or changed: {message}"),
                Some("make the plan again".to_owned()),
            ),
            Fault::Server(Error::Sql {
                sqlstate, message, ..
            }) if sqlstate == task::CHANGED => (
                State::Stale,
                message.clone(),
                Some("make the plan again".to_owned()),
            ),
            Fault::Server(error) => (State::Failed, error.line(), error.report().hint),
        }
    }

    /// Says whether nobody knows how it ended.
    pub(crate) fn open(&self) -> bool {
        matches!(
            self,
            Fault::Hung | Fault::Server(Error::Lost { .. } | Error::Timeout { .. })
        )
    }
}

/// Takes away what a CONCURRENTLY left on a table, and returns the statements that did it.
///
/// # Errors
/// The server refused, or the lock was not free.
pub(crate) async fn clean(
    writer: &Writer,
    task: &Task,
    indexes: &[u32],
) -> Result<Vec<String>, Error> {
    let mut done = Vec::new();
    match task {
        Task::Reindex { index, table } => {
            for left in leftovers(writer, index, table, indexes).await? {
                let sql = format!("DROP INDEX CONCURRENTLY {}", quote::relation(&left));
                writer.run(&sql, concurrent()).await?;
                done.push(sql);
            }
        }
        Task::DetachPartition {
            parent, partition, ..
        }
        | Task::FinalizeDetach { parent, partition }
            if is_pending(writer, partition).await? =>
        {
            let finalize = Task::FinalizeDetach {
                parent: parent.clone(),
                partition: partition.clone(),
            };
            let recipe = task::recipe(&finalize, writer.server.version);
            for sql in recipe.map(|recipe| recipe.sql).unwrap_or_default() {
                patiently(writer, &sql).await?;
                done.push(sql);
            }
        }
        _ => {}
    }
    Ok(done)
}

/// Returns what is left of an interrupted REINDEX CONCURRENTLY of ours.
pub(crate) async fn leftovers(
    writer: &Writer,
    index: &Relation,
    table: &Relation,
    before: &[u32],
) -> Result<Vec<Relation>, Error> {
    let rows = look::rows(writer, &format!("{}{}", task::SIBLINGS, table.oid)).await?;
    Ok(task::leftovers(&rows, index, before))
}

/// Says whether a partition is between attached and detached.
async fn is_pending(writer: &Writer, partition: &Relation) -> Result<bool, Error> {
    let sql = format!(
        "SELECT i.inhdetachpending::pg_catalog.text AS pending FROM pg_catalog.pg_inherits AS i WHERE i.inhrelid = {}",
        partition.oid
    );
    look::holds(writer, &sql).await
}

/// Runs a statement that stops others for an instant, again and again until its lock is free.
async fn patiently(writer: &Writer, sql: &str) -> Result<(), Error> {
    let limits = Limits {
        statement: None,
        lock: EXCLUSIVE_LOCK,
    };
    for _ in 1..EXCLUSIVE_TRIES {
        match writer.run(sql, limits).await {
            Err(Error::LockTimeout { .. }) => sleep(EXCLUSIVE_PAUSES.0).await,
            result => return result.map(|_| ()),
        }
    }
    writer.run(sql, limits).await.map(|_| ())
}

fn concurrent() -> Limits {
    Limits {
        statement: None,
        lock: CONCURRENT_LOCK,
    }
}

/// Says whether it is against wraparound: then it does not give way, as autovacuum does not.
fn urgent(task: &Task) -> bool {
    matches!(task, Task::Vacuum { options, .. }
        if options.freeze && options.index_cleanup == IndexCleanup::Off)
}

fn add(sum: &mut Impact, more: Impact) {
    sum.longest = sum.longest.max(more.longest);
    sum.total += more.total;
    sum.sessions += more.sessions;
    sum.resolution = more.resolution;
}
