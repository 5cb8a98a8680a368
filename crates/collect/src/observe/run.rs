//! One round over one instance: asks every wanted collector once and loses nothing.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pawang_core::{Blind, Cost, Facts, Missing, Sighting, Snapshot, Timestamp};
use pawang_postgres::{Error, Session};

use super::answer::{self, Extension, arrange, extensions, is_homeless, sighting, statement};
use super::{Bounds, Memory, Open, Request, down, not_asked};
use crate::down::inspect;
use crate::paging::{PAGES_MAX, Page, RELATIONS_PER_PAGE, keep_new};
use crate::{Collector, Question, Scope, backup, host, patroni, pgbouncer};

/// After so much time spent on statements that were cancelled, nothing more is asked: the server is in trouble, and
/// whoever waits for the answer needs it now.
const TIMEOUTS_MAX: Duration = Duration::from_secs(30);

/// A connection that breaks is not opened again: whoever ended it had a reason.
const LOST: &str = "a connection was lost during the run and not opened again: what was not asked by then is unknown";

/// Where every statement is told before it runs; `--explain` shows it.
const STATEMENT: &str = "pawang_collect::statement";

/// The collector that tells where the server's files are.
const PATHS: &str = "host-paths";

/// A round in progress.
pub(super) struct Run<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) bounds: Bounds,
    pub(super) memory: &'a mut Memory,
    pub(super) facts: Facts,
    /// Collectors of the whole server whose extension is not in the database of the first connection.
    pub(super) homeless: Vec<&'a Collector>,
    started: Instant,
    /// Time spent on statements that were cancelled for their length.
    timeouts: Duration,
    /// What the network takes of each statement.
    round_trip: Duration,
}

impl<'a> Run<'a> {
    /// Begins a round.
    pub(super) fn new(request: &'a Request<'a>, bounds: Bounds, memory: &'a mut Memory) -> Run<'a> {
        let facts = Facts {
            instance: request.instance.clone(),
            at: request.now,
            server: Err(not_asked()),
            down: None,
            databases: Vec::new(),
            sightings: Vec::new(),
            notes: Vec::new(),
        };
        Run {
            request,
            bounds,
            memory,
            facts,
            homeless: Vec::new(),
            started: Instant::now(),
            timeouts: Duration::ZERO,
            round_trip: Duration::ZERO,
        }
    }

    /// Records why the server let nobody in, and looks for the reason on this machine.
    pub(super) async fn refused(&mut self, error: &Error) {
        let request = self.request;
        tracing::debug!(instance = request.instance.name, "{}", error.report());
        let database = &request.target.database;
        self.facts.server = Err(answer::connect_blind(error, database, &request.target.user));
        if let Some(hint) = error.report().hint {
            self.facts.notes.push(format!("to get in: {hint}"));
        }
        let place = down(request, self.memory, error);
        let now = request.now;
        let look = move || inspect(&place, now);
        match self.memory.down.look("the server's files", look).await {
            Ok(found) => self.facts.down = Some(Box::new(found)),
            Err(blind) => self.facts.notes.push(blind.sentence()),
        }
        self.facts.databases = self.memory.databases.clone();
    }

    /// Asks the collectors of the server, then everything in the database of the session; returns which further
    /// databases are to be looked into.
    pub(super) async fn home(&mut self, open: &Open) -> Vec<super::databases::Database> {
        let session = &open.session;
        self.round_trip = open.round_trip;
        self.facts.server = Ok(session.server.clone());
        self.memory.local = session.server.local;
        let extensions = self.extensions(session).await;
        for collector in self.wanted(Scope::Server) {
            let sighting = self.ask(session, collector, &extensions, None).await;
            if is_homeless(&sighting) {
                self.homeless.push(collector);
            } else {
                self.facts.sightings.push(sighting);
            }
        }
        self.paths(session).await;
        self.databases(session, &extensions).await
    }

    /// Returns the extensions of the session's database, when a wanted collector reads one.
    pub(super) async fn extensions(&self, session: &Session) -> BTreeMap<String, Extension> {
        let request = self.request;
        let mut wanted = request.collectors.iter();
        let asked = wanted.any(|name| {
            let collector = request.catalog.collectors.get(name);
            collector.is_some_and(|c| c.header.extension.is_some())
        });
        if asked {
            extensions(session).await
        } else {
            BTreeMap::new()
        }
    }

    /// Keeps where the server's files are, and asks for it when the host is wanted and nobody has told yet.
    async fn paths(&mut self, session: &Session) {
        let mut seen = self.facts.sightings.iter();
        let newest = seen.find(|sighting| sighting.collector == PATHS);
        if let Some(sighting) = newest {
            if let Ok(snapshot) = &sighting.seen {
                self.memory.paths = Some(Arc::clone(snapshot));
            }
            return;
        }
        let of_this_life = self.memory.paths.as_ref().is_some_and(|snapshot| {
            let known = snapshot.epoch.as_ref().map(|epoch| epoch.started_at);
            known == Some(session.server.epoch.started_at)
        });
        if of_this_life || !session.server.local || self.wanted(Scope::Host).is_empty() {
            return;
        }
        if let Some(collector) = self.request.catalog.collectors.get(PATHS) {
            let sighting = self.ask(session, collector, &BTreeMap::new(), None).await;
            self.memory.paths = sighting.seen.ok();
        }
    }

    /// Records that all of `wanted` could not see, and why.
    pub(super) fn unseen(&mut self, wanted: &[&Collector], database: Option<&str>, blind: &Blind) {
        let unseen = |c: &&Collector| sighting(c, database, Err(blind.clone().into()));
        self.facts.sightings.extend(wanted.iter().map(unseen));
    }

    /// Asks everything that is asked inside one database.
    pub(super) async fn in_database(
        &mut self,
        session: &Session,
        wanted: &[&'a Collector],
        extensions: &BTreeMap<String, Extension>,
        included: bool,
    ) {
        let database = session.server.database.clone();
        for collector in wanted.iter().filter(|_| included) {
            let sighting = self
                .ask(session, collector, extensions, Some(&database))
                .await;
            self.facts.sightings.push(sighting);
        }
        for collector in std::mem::take(&mut self.homeless) {
            let sighting = self.ask(session, collector, extensions, None).await;
            if is_homeless(&sighting) {
                self.homeless.push(collector);
            } else {
                self.found(collector, &database);
                self.facts.sightings.push(sighting);
            }
        }
        let first = self.facts.server.as_ref();
        let first = first.is_ok_and(|server| server.database == database);
        for question in self.request.questions {
            let wanted = question.database.as_deref();
            if wanted.map_or(first, |wanted| wanted == database) {
                let sighting = self.answer(session, question).await;
                self.facts.sightings.push(sighting);
            }
        }
    }

    /// Asks PgBouncer, Patroni and the host: they answer also when PostgreSQL does not.
    pub(super) async fn surroundings(&mut self) {
        self.backups().await;
        let poolers = self.wanted(Scope::Pgbouncer);
        if !poolers.is_empty() {
            let seen = pgbouncer::observe(
                self.request.pgbouncer,
                self.request.purpose,
                &poolers,
                self.now(),
            )
            .await;
            self.facts.sightings.extend(seen);
        }
        let agents = self.wanted(Scope::Patroni);
        if !agents.is_empty() {
            let seen = patroni::observe(self.request.patroni, &agents, self.now()).await;
            self.facts.sightings.extend(seen);
        }
        self.host().await;
    }

    /// Looks into the folders of backups, each by itself.
    async fn backups(&mut self) {
        for place in self.request.backups {
            let (name, now) = (place.name.clone(), self.now());
            let looked = place.clone();
            let look = move || backup::observe(&looked, now);
            let seen = self.memory.backups.look("the backups", look).await;
            self.facts
                .sightings
                .push(seen.unwrap_or_else(|blind| Sighting {
                    collector: name,
                    database: None,
                    seen: Err(blind.into()),
                }));
        }
    }

    /// Looks at the machine.
    async fn host(&mut self) {
        let wanted = self.wanted(Scope::Host);
        if wanted.is_empty() {
            return;
        }
        let told = host::Told {
            server: self.facts.server.as_ref().ok().cloned(),
            was_local: self.memory.local,
            paths: self.memory.paths.clone(),
        };
        let (request, now) = (self.request.host.clone(), self.now());
        let asked: Vec<Collector> = wanted.iter().map(|&collector| collector.clone()).collect();
        let look = move || host::observe(&request, &told, &asked, now);
        match self.memory.host.look("the host", look).await {
            Ok(seen) => self.facts.sightings.extend(seen),
            Err(blind) => self.unseen(&wanted, None, &blind),
        }
    }

    /// Runs one collector's statement for the version at hand.
    async fn ask(
        &mut self,
        session: &Session,
        collector: &Collector,
        extensions: &BTreeMap<String, Extension>,
        database: Option<&str>,
    ) -> Sighting {
        let seen = match (
            statement(collector, &session.server, extensions),
            self.exhausted(),
        ) {
            (Err(missing), _) => Err(missing),
            (Ok(_), Some(blind)) => Err(blind.into()),
            (Ok(sql), None) => match (collector.whole, &collector.header.paging) {
                (Some(pages_min), Some(paging)) => {
                    self.read_whole(session, collector, &sql, database, pages_min, &paging.key)
                        .await
                }
                _ => self.read(session, collector, &sql, database).await,
            },
        };
        sighting(collector, database, seen)
    }

    async fn read(
        &mut self,
        session: &Session,
        collector: &Collector,
        sql: &str,
        database: Option<&str>,
    ) -> Result<Snapshot, Missing> {
        let header = &collector.header;
        tracing::debug!(target: STATEMENT, "-- collector {}\n{}", collector.name, sql.trim_end());
        let started = Instant::now();
        let answer = match header.timeout {
            Some(limit) => session.read_within(sql, limit).await,
            None => session.read(sql).await,
        };
        let rows = answer.map_err(|error| {
            let blind = answer::refusal(collector, &session.server, &error);
            self.counted(started, blind)
        })?;
        let cost = Cost {
            elapsed: started.elapsed().saturating_sub(self.round_trip),
            rows: rows.rows.len(),
        };
        let mut snapshot = Snapshot {
            collector: collector.name.clone(),
            database: database.map(str::to_owned),
            at: self.now(),
            epoch: Some(session.server.epoch.clone()),
            cost,
            columns: header.columns.clone(),
            rows: Vec::new(),
        };
        snapshot.rows = arrange(&snapshot, rows)?;
        Ok(snapshot)
    }

    /// Reads page after page until one is not full; between two of them others get their turn.
    async fn read_whole(
        &mut self,
        session: &Session,
        collector: &Collector,
        template: &str,
        database: Option<&str>,
        pages_min: u32,
        key: &str,
    ) -> Result<Snapshot, Missing> {
        let mut page = Page::first(pages_min);
        let mut whole: Option<Snapshot> = None;
        let mut seen = HashSet::new();
        for number in 1..=PAGES_MAX {
            if let Some(blind) = self.exhausted() {
                return Err(blind.into());
            }
            let sql = page.fill(template);
            let mut snapshot = self.read(session, collector, &sql, database).await?;
            let next = snapshot
                .rows()
                .last()
                .map(|last| (last.int("relpages"), last.int(key)));
            let position = snapshot
                .columns
                .iter()
                .position(|column| column.name == key);
            let position = position.expect("a test reads the keys of all paged collectors");
            let count = keep_new(&mut snapshot.rows, position, &mut seen);
            match &mut whole {
                None => whole = Some(snapshot),
                Some(whole) => {
                    whole.cost.elapsed += snapshot.cost.elapsed;
                    whole.cost.rows += snapshot.cost.rows;
                    whole.rows.append(&mut snapshot.rows);
                }
            }
            let Some((Some(pages), Some(oid))) = next.filter(|_| count >= RELATIONS_PER_PAGE)
            else {
                break;
            };
            page = page.after(pages, oid);
            if number == PAGES_MAX {
                self.facts.notes.push(format!(
                    "only the largest {} relations of collector \"{}\" were asked for",
                    u64::from(PAGES_MAX) * u64::from(RELATIONS_PER_PAGE),
                    collector.name
                ));
            }
        }
        Ok(whole.expect("there is at least one page"))
    }

    /// Runs one statement of the user's; its columns count by position.
    async fn answer(&mut self, session: &Session, question: &Question) -> Sighting {
        tracing::debug!(target: STATEMENT, "-- {}\n{}", question.name, question.sql.trim_end());
        let started = Instant::now();
        let answer = match self.exhausted() {
            Some(blind) => Err(blind),
            None => {
                let answer = session.read_within(&question.sql, question.timeout).await;
                answer.map_err(|error| self.counted(started, error.blind()))
            }
        };
        let seen = answer.map_err(Missing::Blind).and_then(|rows| {
            Ok(Snapshot {
                collector: question.name.clone(),
                database: None,
                at: self.now(),
                epoch: Some(session.server.epoch.clone()),
                cost: Cost {
                    elapsed: started.elapsed().saturating_sub(self.round_trip),
                    rows: rows.rows.len(),
                },
                columns: question.columns.clone(),
                rows: question.arrange(rows)?,
            })
        });
        Sighting {
            collector: question.name.clone(),
            database: None,
            seen: seen.map(Arc::new),
        }
    }

    /// Counts the time of a statement that was cancelled for its length, and tells when a connection is lost.
    fn counted(&mut self, started: Instant, blind: Blind) -> Blind {
        match &blind {
            Blind::Timeout { .. } => self.timeouts += started.elapsed(),
            Blind::Unreachable { .. } if !self.facts.notes.iter().any(|note| note == LOST) => {
                self.facts.notes.push(LOST.to_owned());
            }
            _ => {}
        }
        blind
    }

    /// Says why nothing more is asked in this round, if so.
    pub(super) fn exhausted(&self) -> Option<Blind> {
        let milliseconds = |limit: Duration| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        if self.timeouts >= TIMEOUTS_MAX {
            return Some(Blind::Timeout {
                what: format!(
                    "not asked after {} s of statements each of which",
                    self.timeouts.as_secs()
                ),
                limit_ms: milliseconds(self.request.target.statement_timeout),
            });
        }
        (self.started.elapsed() >= self.bounds.round).then(|| Blind::Timeout {
            what: "not asked because what came before".to_owned(),
            limit_ms: milliseconds(self.bounds.round),
        })
    }

    pub(super) fn wanted(&self, scope: Scope) -> Vec<&'a Collector> {
        let request = self.request;
        request
            .catalog
            .of_scope(scope)
            .filter(|c| request.collectors.contains(&c.name))
            .collect()
    }

    pub(super) fn now(&self) -> Timestamp {
        let elapsed = jiff::SignedDuration::try_from(self.started.elapsed()).unwrap_or_default();
        self.request
            .now
            .checked_add(elapsed)
            .unwrap_or(self.request.now)
    }
}
