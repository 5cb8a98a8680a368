//! One run over one instance: asks every wanted collector once and loses nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pawang_config::matches;
use pawang_core::{
    Blind, Cost, DownFacts, Facts, Instance, Missing, Role, Server, Sighting, Snapshot, Timestamp,
    Value,
};
use pawang_postgres::{Error, Rows, Session, Target};

use crate::catalog::parse_version;
use crate::down::{DownRequest, inspect};
use crate::host::{self, HostRequest};
use crate::{BackupPlace, Catalog, Collector, Question, Scope, backup, patroni, pgbouncer};

/// More databases than this are not looked into in one run; the run says so.
const DATABASES_MAX: usize = 200;

/// After so much time spent on statements that were cancelled, nothing more is asked: the server is in trouble, and
/// whoever waits for the answer needs it now.
const TIMEOUTS_MAX: Duration = Duration::from_secs(30);

/// A connection that breaks is not opened again: whoever ended it had a reason.
const LOST: &str = "a connection was lost during the run and not opened again: what was not asked by then is unknown";

/// Where every statement is told before it runs; `--explain` shows it.
const STATEMENT: &str = "pawang_collect::statement";

const DATABASES: &str = "\
SELECT d.datname, pg_catalog.has_database_privilege(d.oid, 'CONNECT')
  FROM pg_catalog.pg_database AS d
 WHERE d.datallowconn AND NOT d.datistemplate
 ORDER BY d.datname";

const EXTENSIONS: &str = "\
SELECT e.extname, e.extversion, pg_catalog.quote_ident(n.nspname)
  FROM pg_catalog.pg_extension AS e
  JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace";

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

/// A run in progress.
struct Run<'a> {
    request: &'a Request<'a>,
    started: Instant,
    facts: Facts,
    /// Time spent on statements that were cancelled for their length.
    timeouts: Duration,
    /// Collectors of the whole server whose extension is not in the database of the first connection.
    homeless: Vec<&'a Collector>,
}

/// Asks every wanted collector once; whatever cannot be seen is in the facts with its reason.
pub async fn observe(request: &Request<'_>) -> Facts {
    let facts = Facts {
        instance: request.instance.clone(),
        at: request.now,
        server: Err(Blind::Unreachable {
            what: "not asked yet".to_owned(),
            hint: None,
        }),
        down: None,
        databases: Vec::new(),
        sightings: Vec::new(),
        notes: Vec::new(),
    };
    let mut run = Run {
        request,
        started: Instant::now(),
        facts,
        timeouts: Duration::ZERO,
        homeless: Vec::new(),
    };
    match Session::connect(request.target, request.purpose).await {
        Ok(session) => run.server(session).await,
        Err(error) => {
            tracing::debug!(instance = request.instance.name, "{}", error.report());
            let database = &request.target.database;
            run.facts.server = Err(connect_blind(&error, database, &request.target.user));
            if let Some(hint) = error.report().hint {
                run.facts.notes.push(format!("to get in: {hint}"));
            }
            run.facts.down = Some(Box::new(down(request, &error)));
        }
    }
    run.surroundings().await;
    run.facts
}

/// Looks for the reason why the server lets nobody in, on this machine and without a connection.
fn down(request: &Request<'_>, error: &pawang_postgres::Error) -> DownFacts {
    let host = &request.host;
    let candidates = [&host.data_directory, &host.environment_data_directory];
    let request_down = DownRequest {
        data_directories: candidates.into_iter().flatten().cloned().collect(),
        log_directory: host.log_directory.clone(),
        ..DownRequest::new(request.target, error)
    };
    inspect(&request_down, request.now)
}

impl<'a> Run<'a> {
    /// Asks the collectors of the server, then those of each database.
    async fn server(&mut self, session: Session) {
        self.facts.server = Ok(session.server.clone());
        let extensions = extensions(&session).await;
        for collector in self.wanted(Scope::Server) {
            let sighting = self.ask(&session, collector, &extensions, None).await;
            let missing = matches!(
                &sighting.seen,
                Err(Missing::Blind(Blind::MissingExtension { .. }))
            );
            if missing {
                self.homeless.push(collector);
            } else {
                self.facts.sightings.push(sighting);
            }
        }
        self.databases(session, extensions).await;
        let database = self
            .facts
            .server
            .as_ref()
            .map(|server| server.database.clone())
            .unwrap_or_default();
        for collector in std::mem::take(&mut self.homeless) {
            let name = collector.header.extension.clone().unwrap_or_default();
            let blind = Blind::MissingExtension {
                name,
                database: database.clone(),
            };
            self.facts
                .sightings
                .push(sighting(collector, None, Err(blind.into())));
        }
    }

    /// Opens one more connection per extra database, one at a time, and only when something is asked there.
    async fn databases(&mut self, first: Session, extensions: BTreeMap<String, Extension>) {
        let wanted = self.wanted(Scope::Database);
        let asked: BTreeSet<&str> = self
            .request
            .questions
            .iter()
            .filter_map(|q| q.database.as_deref())
            .collect();
        let home = first.server.database.clone();
        let databases = match self.database_names(&first).await {
            Ok(databases) => databases,
            Err(blind) => {
                self.facts.databases.push(home.clone());
                self.unseen(&wanted, Some(&home), &blind);
                self.unreached_questions(|_| blind.clone());
                return;
            }
        };
        let included = databases.iter().filter(|database| database.included);
        self.facts.databases = included.map(|database| database.name.clone()).collect();
        if self.facts.databases.is_empty() {
            self.unseen(&wanted, None, &nothing_included(self.request.databases));
        }
        let here = databases.iter().find(|database| database.name == home);
        let here = here.is_some_and(|database| database.included);
        self.in_database(&first, &wanted, &extensions, here).await;
        drop(first);
        let mut gone: Option<Blind> = None;
        for database in databases.iter().filter(|database| database.name != home) {
            let name = database.name.as_str();
            let wanted: &[&Collector] = if database.included { &wanted } else { &[] };
            if wanted.is_empty() && self.homeless.is_empty() && !asked.contains(name) {
                continue;
            }
            let blind = match &gone {
                _ if !database.allowed => Some(connect_privilege(name, self.user())),
                Some(blind) => Some(blind.clone()),
                None => self.other_database(name, wanted, &mut gone).await,
            };
            if let Some(blind) = blind {
                self.unseen(wanted, Some(name), &blind);
                self.unasked(Some(name), &blind);
            }
        }
        self.unreached_questions(|name| dropped(name.unwrap_or_default()));
    }

    /// Asks everything in one more database, or returns why nothing can be asked there; `gone` is set when the whole
    /// server stopped answering, so that nobody waits for it once per database.
    async fn other_database(
        &mut self,
        name: &str,
        wanted: &[&'a Collector],
        gone: &mut Option<Blind>,
    ) -> Option<Blind> {
        let target = self.request.target.with_database(name);
        match Session::connect(&target, self.request.purpose).await {
            Ok(session) => {
                let extensions = extensions(&session).await;
                self.in_database(&session, wanted, &extensions, true).await;
                None
            }
            Err(Error::NoDatabase { .. }) => {
                self.facts.databases.retain(|database| database != name);
                self.facts.notes.push(format!(
                    "database \"{name}\" was dropped or renamed during the run and was not looked into"
                ));
                self.unasked(Some(name), &dropped(name));
                None
            }
            Err(error) => {
                let blind = connect_blind(&error, name, &self.request.target.user);
                if is_gone(&error) {
                    *gone = Some(blind.clone());
                }
                Some(blind)
            }
        }
    }

    /// Records that all of `wanted` could not see, and why.
    fn unseen(&mut self, wanted: &[&Collector], database: Option<&str>, blind: &Blind) {
        let unseen = |c: &&Collector| sighting(c, database, Err(blind.clone().into()));
        self.facts.sightings.extend(wanted.iter().map(unseen));
    }

    /// Asks everything that is asked inside one database.
    async fn in_database(
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
            if matches!(
                &sighting.seen,
                Err(Missing::Blind(Blind::MissingExtension { .. }))
            ) {
                self.homeless.push(collector);
            } else {
                self.facts.sightings.push(sighting);
            }
        }
        let first = self
            .facts
            .server
            .as_ref()
            .is_ok_and(|server| server.database == database);
        for question in self.request.questions {
            if question
                .database
                .as_deref()
                .map_or(first, |wanted| wanted == database)
            {
                let sighting = self.answer(session, question).await;
                self.facts.sightings.push(sighting);
            }
        }
    }

    /// Asks PgBouncer, Patroni and the host: they answer also when PostgreSQL does not.
    async fn surroundings(&mut self) {
        for place in self.request.backups {
            let seen = backup::observe(place, self.now());
            self.facts.sightings.push(seen);
        }
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
        let hosts = self.wanted(Scope::Host);
        if !hosts.is_empty() {
            let seen = host::observe(&self.request.host, &self.facts, &hosts, self.now());
            self.facts.sightings.extend(seen);
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
        let seen = match statement(collector, &session.server, extensions) {
            Ok(_) if self.timeouts >= TIMEOUTS_MAX => Err(self.tired().into()),
            Ok(sql) => self.read(session, collector, &sql, database).await,
            Err(missing) => Err(missing),
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
        let rows = answer.map_err(|error| match self.counted(started, error.blind()) {
            Blind::NoPrivilege { what, .. } => {
                let role = quoted(&session.server.user);
                Blind::NoPrivilege {
                    what,
                    grant: header.grant.replace("{role}", &role),
                }
            }
            Blind::Failed { what } => Blind::Failed {
                what: format!("collector \"{}\": {what}", collector.name),
            },
            blind => blind,
        })?;
        let cost = Cost {
            elapsed: started.elapsed(),
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

    /// Runs one statement of the user's; its columns count by position.
    async fn answer(&mut self, session: &Session, question: &Question) -> Sighting {
        tracing::debug!(target: STATEMENT, "-- {}\n{}", question.name, question.sql.trim_end());
        let started = Instant::now();
        let answer = if self.timeouts >= TIMEOUTS_MAX {
            Err(self.tired())
        } else {
            let answer = session.read_within(&question.sql, question.timeout).await;
            answer.map_err(|error| self.counted(started, error.blind()))
        };
        let seen = answer.map_err(Missing::Blind).and_then(|rows| {
            Ok(Snapshot {
                collector: question.name.clone(),
                database: None,
                at: self.now(),
                epoch: Some(session.server.epoch.clone()),
                cost: Cost {
                    elapsed: started.elapsed(),
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

    /// Why nothing more is asked.
    fn tired(&self) -> Blind {
        let limit = self.request.target.statement_timeout;
        Blind::Timeout {
            what: format!(
                "not asked after {} s of statements each of which",
                self.timeouts.as_secs()
            ),
            limit_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Records why the questions to a database that could not be opened have no answer.
    fn unasked(&mut self, database: Option<&str>, blind: &Blind) {
        for question in self
            .request
            .questions
            .iter()
            .filter(|q| q.database.as_deref() == database)
        {
            let seen = Err(blind.clone().into());
            self.facts.sightings.push(Sighting {
                collector: question.name.clone(),
                database: None,
                seen,
            });
        }
    }

    /// Records `why` for every question that nobody could be asked.
    fn unreached_questions(&mut self, why: impl Fn(Option<&str>) -> Blind) {
        let sightings = self.facts.sightings.iter();
        let answered: BTreeSet<&str> = sightings.map(|s| s.collector.as_str()).collect();
        let unreached = |question: &&Question| !answered.contains(question.name.as_str());
        let unreached: Vec<Sighting> = self
            .request
            .questions
            .iter()
            .filter(unreached)
            .map(|question| Sighting {
                collector: question.name.clone(),
                database: None,
                seen: Err(why(question.database.as_deref()).into()),
            })
            .collect();
        self.facts.sightings.extend(unreached);
    }

    /// Returns the databases that are looked into or asked in, by name.
    async fn database_names(&mut self, session: &Session) -> Result<Vec<Database>, Blind> {
        let rows = session
            .read(DATABASES)
            .await
            .map_err(|error| error.blind())?;
        let request = self.request;
        let mut databases = Vec::new();
        for row in rows.rows {
            let [Value::Text(name), Value::Bool(allowed)] = row.as_slice() else {
                continue;
            };
            let included =
                request.databases.is_empty() || request.databases.iter().any(|p| matches(p, name));
            let mut questions = request.questions.iter();
            if included || questions.any(|q| q.database.as_deref() == Some(name)) {
                databases.push(Database {
                    name: name.to_string(),
                    allowed: *allowed,
                    included,
                });
            }
        }
        if databases.len() > DATABASES_MAX {
            let left = databases.split_off(DATABASES_MAX);
            self.facts.notes.push(format!(
                "{} databases were not looked into (limit {DATABASES_MAX}): set databases in pawang.toml",
                left.len()
            ));
        }
        Ok(databases)
    }

    fn wanted(&self, scope: Scope) -> Vec<&'a Collector> {
        let request = self.request;
        request
            .catalog
            .of_scope(scope)
            .filter(|c| request.collectors.contains(&c.name))
            .collect()
    }

    fn now(&self) -> Timestamp {
        let elapsed = jiff::SignedDuration::try_from(self.started.elapsed()).unwrap_or_default();
        self.request
            .now
            .checked_add(elapsed)
            .unwrap_or(self.request.now)
    }

    fn user(&self) -> &str {
        self.facts.server.as_ref().map_or("", |server| &server.user)
    }
}

/// A database of the server.
struct Database {
    name: String,
    /// Whether the role may connect.
    allowed: bool,
    /// Whether it is looked into, or only asked the user's own questions.
    included: bool,
}

/// An installed extension: its version and the schema it lives in, quoted.
struct Extension {
    version: (u32, u32),
    schema: String,
}

async fn extensions(session: &Session) -> BTreeMap<String, Extension> {
    let rows = match session.read(EXTENSIONS).await {
        Ok(Rows { rows, .. }) => rows,
        Err(error) => {
            tracing::warn!("could not list extensions: {error}");
            Vec::new()
        }
    };
    let mut extensions = BTreeMap::new();
    for row in rows {
        if let [Value::Text(name), Value::Text(version), Value::Text(schema)] = row.as_slice()
            && let Some(version) = parse_version(version)
        {
            extensions.insert(
                name.to_string(),
                Extension {
                    version,
                    schema: schema.to_string(),
                },
            );
        }
    }
    extensions
}

/// Picks the statement, or says why there is none.
fn statement(
    collector: &Collector,
    server: &Server,
    extensions: &BTreeMap<String, Extension>,
) -> Result<String, Missing> {
    let header = &collector.header;
    if header.role.is_some_and(|role| role != server.role) {
        let role = if server.role == Role::Primary {
            "a primary"
        } else {
            "a standby"
        };
        return Err(Missing::NotApplicable(format!("the server is {role}")));
    }
    let Some(name) = &header.extension else {
        let sql = collector
            .statement((server.major(), u32::MAX))
            .map(str::to_owned);
        return sql.ok_or_else(|| {
            let oldest = collector
                .statements
                .keys()
                .next()
                .map_or(0, |version| version.0);
            Missing::NotApplicable(format!("needs PostgreSQL {oldest}"))
        });
    };
    match extensions.get(name) {
        Some(extension) => match collector.statement(extension.version) {
            Some(sql) => Ok(sql.replace("{schema}", &extension.schema)),
            None => Err(Missing::NotApplicable(format!(
                "needs a newer version of extension \"{name}\""
            ))),
        },
        None if header.optional => Err(Missing::NotApplicable(format!(
            "extension \"{name}\" is not installed"
        ))),
        None => Err(Blind::MissingExtension {
            name: name.clone(),
            database: server.database.clone(),
        }
        .into()),
    }
}

/// Brings the server's columns into the header's order; a column that was not sent is NULL.
fn arrange(snapshot: &Snapshot, rows: Rows) -> Result<Vec<Vec<Value>>, Missing> {
    let declared = &snapshot.columns;
    if let Some(name) = rows
        .names
        .iter()
        .find(|name| !declared.iter().any(|column| column.name == **name))
    {
        let what = format!(
            "collector \"{}\" does not declare its column \"{name}\"",
            snapshot.collector
        );
        return Err(Blind::Failed { what }.into());
    }
    let sources: Vec<Option<usize>> = declared
        .iter()
        .map(|column| rows.names.iter().position(|name| *name == column.name))
        .collect();
    if sources
        .iter()
        .enumerate()
        .all(|(index, source)| *source == Some(index))
    {
        return Ok(rows.rows);
    }
    let arrange = |mut row: Vec<Value>| -> Vec<Value> {
        sources
            .iter()
            .map(|source| source.map_or(Value::Null, |index| std::mem::take(&mut row[index])))
            .collect()
    };
    Ok(rows.rows.into_iter().map(arrange).collect())
}

fn sighting(
    collector: &Collector,
    database: Option<&str>,
    seen: Result<Snapshot, Missing>,
) -> Sighting {
    Sighting {
        collector: collector.name.clone(),
        database: database.map(str::to_owned),
        seen: seen.map(Arc::new),
    }
}

/// Says why a log-in did not work out; a missing CONNECT is given by another statement than other privileges.
fn connect_blind(error: &Error, database: &str, user: &str) -> Blind {
    match error.blind() {
        Blind::NoPrivilege { .. } => connect_privilege(database, user),
        blind => blind,
    }
}

fn connect_privilege(database: &str, user: &str) -> Blind {
    let (database, user) = (quoted(database), quoted(user));
    Blind::NoPrivilege {
        what: format!("CONNECT on database {database}"),
        grant: format!("GRANT CONNECT ON DATABASE {database} TO {user};"),
    }
}

fn dropped(database: &str) -> Blind {
    Blind::Failed {
        what: format!("database \"{database}\" does not exist or does not accept connections"),
    }
}

fn nothing_included(patterns: &[String]) -> Blind {
    if patterns.is_empty() {
        return Blind::Failed {
            what: "the server has no database but templates".to_owned(),
        };
    }
    Blind::NotConfigured {
        key: "databases".to_owned(),
        what: format!("no database of the server matches {}", patterns.join(", ")),
    }
}

/// Says whether the whole server stopped answering, as opposed to one database that does not let Pawang in.
fn is_gone(error: &Error) -> bool {
    matches!(
        error,
        Error::Unreachable { .. }
            | Error::ConnectTimeout { .. }
            | Error::NoHost { .. }
            | Error::Closed { .. }
            | Error::StartingUp { .. }
            | Error::Lost { .. }
            | Error::Timeout { .. }
    )
}

fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}
