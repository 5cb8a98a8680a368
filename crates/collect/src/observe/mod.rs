//! Observes one instance: one round of questions, or round after round over one session that stays open.

mod answer;
mod databases;
mod files;
mod rotation;
mod run;
mod sample;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use pawang_core::{Blind, Facts, Instance, Snapshot, Timestamp};
use pawang_postgres::{Error, Session, Target};

use crate::down::DownRequest;
use crate::host::{self, HostRequest};
use crate::{BackupPlace, Catalog, Question};

use files::Files;
use rotation::Rotation;
use run::Run;

pub use sample::{TEXT_CHARACTERS_MAX, TEXTS_MAX};

/// More databases than this are not looked into in one run; the run says so.
const DATABASES_MAX: usize = 200;
/// How many databases a round of an [`Observer`] looks into unless it is told otherwise.
const DATABASES_PER_ROUND: usize = 50;
/// After so long an [`Observer`] asks nothing more in this round, so that one that hardly gets answers comes to an end.
const ROUND_MAX: Duration = Duration::from_secs(60);
/// The same for a single run, whose reader waits for all databases.
const RUN_MAX: Duration = Duration::from_secs(600);

/// What to observe, and where.
pub struct Request<'a> {
    /// Which instance it is.
    pub instance: &'a Instance,
    /// How to connect to it.
    pub target: &'a Target,
    /// What `application_name` says after `pawang:`.
    pub purpose: &'a str,
    /// Where collectors come from.
    pub catalog: &'a Catalog,
    /// The collectors to ask.
    pub collectors: &'a BTreeSet<String>,
    /// The user's own statements.
    pub questions: &'a [Question],
    /// Databases to look into, with `*` as wildcard; empty means all.
    pub databases: &'a [String],
    /// PgBouncer's console, if there is one.
    pub pgbouncer: Option<&'a Target>,
    /// Patroni's REST address, if there is one.
    pub patroni: Option<&'a str>,
    /// What is known of the host beforehand.
    pub host: HostRequest,
    /// Where backups lie on this machine.
    pub backups: &'a [BackupPlace],
    /// The time at which the run begins.
    pub now: Timestamp,
}

/// Observes one instance again and again over one session, which it opens when there is none.
///
/// It belongs to one target: when that changes, so must the observer. A future of its that is dropped half-way takes
/// the session with it; the next one opens a new one. Every round ends: no statement and no attempt to connect is
/// waited for longer than the limits of the target, and after a minute nothing more is asked.
pub struct Observer {
    /// Databases that one round looks into; the next one looks into others when there are more.
    pub databases_per_round: usize,
    open: Option<Open>,
    memory: Memory,
}

impl Default for Observer {
    fn default() -> Observer {
        Observer {
            databases_per_round: DATABASES_PER_ROUND,
            open: None,
            memory: Memory::default(),
        }
    }
}

/// A session, and what was found out about it.
struct Open {
    session: Session,
    /// The shortest time from asking nothing to its answer.
    round_trip: Duration,
    /// Whether the role sees what other roles' sessions do; asked when first needed.
    sees_all: Option<bool>,
}

/// What is kept from one round to the next.
#[derive(Default)]
struct Memory {
    /// The newest snapshot of `host-paths`, for the collectors of the host.
    paths: Option<Arc<Snapshot>>,
    /// Whether the server was on this machine when it last answered.
    local: bool,
    /// The databases that are looked into, by name.
    databases: Vec<String>,
    /// Which of them were looked into when.
    rotation: Rotation,
    /// The database that an extension was found in, for those that are not in the first one.
    homes: BTreeMap<String, String>,
    /// The ways to files of the machine: one that hangs does not hide the others.
    host: Files,
    backups: Files,
    down: Files,
}

/// What bounds a round.
#[derive(Clone, Copy)]
struct Bounds {
    databases: usize,
    /// Whether the next round looks into other databases, instead of none ever.
    rotate: bool,
    round: Duration,
}

const ONCE: Bounds = Bounds {
    databases: DATABASES_MAX,
    rotate: false,
    round: RUN_MAX,
};

/// Asks every wanted collector once; whatever cannot be seen is in the facts with its reason.
pub async fn observe(request: &Request<'_>) -> Facts {
    let mut memory = Memory::default();
    let mut run = Run::new(request, ONCE, &mut memory);
    match open(request).await {
        Ok(open) => {
            let further = run.home(&open).await;
            // A single run never holds two connections at a time.
            drop(open);
            run.elsewhere(further).await;
        }
        Err(error) => run.refused(&error).await,
    }
    run.surroundings().await;
    run.facts
}

impl Observer {
    /// Asks every wanted collector once; whatever cannot be seen is in the facts with its reason.
    ///
    /// The facts hold the wanted collectors only, and the names of all databases whether looked into this time or
    /// not. Of very many databases each round looks into some, those that waited longest.
    pub async fn look(&mut self, request: &Request<'_>) -> Facts {
        let opened = self.session(request).await;
        let bounds = Bounds {
            databases: self.databases_per_round,
            rotate: true,
            round: ROUND_MAX,
        };
        let mut run = Run::new(request, bounds, &mut self.memory);
        match opened {
            Ok(open) => {
                let further = run.home(&open).await;
                if open.session.alive() {
                    self.open = Some(open);
                }
                run.elsewhere(further).await;
            }
            Err(error) => run.refused(&error).await,
        }
        run.surroundings().await;
        run.facts
    }

    /// Returns the session with what the server says about itself now, or a new one when it is gone.
    async fn session(&mut self, request: &Request<'_>) -> Result<Open, Error> {
        if let Some(mut open) = self.open.take() {
            match open.refresh().await {
                Ok(()) => return Ok(open),
                Err(error) => {
                    tracing::debug!(instance = request.instance.name, "{}", error.report());
                }
            }
        }
        let mut open = open(request).await?;
        open.round_trip = open.session.round_trip().await?;
        Ok(open)
    }
}

impl Open {
    async fn refresh(&mut self) -> Result<(), Error> {
        self.round_trip = self.round_trip.min(self.session.round_trip().await?);
        self.session.refresh().await
    }
}

async fn open(request: &Request<'_>) -> Result<Open, Error> {
    Ok(Open {
        session: Session::connect(request.target, request.purpose).await?,
        round_trip: Duration::ZERO,
        sees_all: None,
    })
}

/// Returns where to look for the reason why the server lets nobody in, on this machine and without a connection.
fn down(request: &Request<'_>, memory: &Memory, error: &Error) -> DownRequest {
    let host = &request.host;
    let told = memory.paths.as_deref().filter(|_| memory.local);
    let told = told.and_then(host::data_directory);
    let candidates = [
        &told,
        &host.data_directory,
        &host.environment_data_directory,
    ];
    DownRequest {
        data_directories: candidates.into_iter().flatten().cloned().collect(),
        log_directory: host.log_directory.clone(),
        ..DownRequest::new(request.target, error)
    }
}

/// Says that nobody was asked yet; replaced before anybody reads it.
fn not_asked() -> Blind {
    Blind::Unreachable {
        what: "not asked yet".to_owned(),
        hint: None,
    }
}
