//! One run over one instance: asks every wanted collector once and loses nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use pawang_core::{
    Blind, Cost, DownFacts, Facts, Instance, Missing, Role, Server, Sighting, Snapshot, Timestamp,
    Value,
};
use pawang_postgres::{Rows, Session, Target};

use crate::catalog::parse_version;
use crate::down::{DownRequest, inspect};
use crate::host::{self, HostRequest};
use crate::{BackupPlace, Catalog, Collector, Question, Scope, backup, patroni, pgbouncer};

/// More databases than this are not looked into in one run; the run says so.
const DATABASES_MAX: usize = 200;

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
        homeless: Vec::new(),
    };
    match Session::connect(request.target, request.purpose).await {
        Ok(session) => run.server(session).await,
        Err(error) => {
            tracing::debug!(instance = request.instance.name, "{}", error.report());
            run.facts.server = Err(error.blind());
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
        let (visible, refused) = match self.database_names(&first).await {
            Ok(names) => names,
            Err(blind) => {
                let blind = Err(Missing::Blind(blind));
                self.facts.sightings.extend(
                    wanted
                        .iter()
                        .map(|c| sighting(c, Some(&home), blind.clone())),
                );
                return;
            }
        };
        self.facts.databases = visible.iter().chain(&refused).cloned().collect();
        self.facts.databases.sort();
        self.in_database(&first, &wanted, &extensions, visible.contains(&home))
            .await;
        drop(first);
        for database in refused {
            let blind = Blind::NoPrivilege {
                what: format!("CONNECT on database \"{database}\""),
                grant: format!(
                    "GRANT CONNECT ON DATABASE \"{database}\" TO \"{}\";",
                    self.user()
                ),
            };
            self.facts.sightings.extend(
                wanted
                    .iter()
                    .map(|c| sighting(c, Some(&database), Err(blind.clone().into()))),
            );
        }
        for database in visible.iter().filter(|database| **database != home) {
            if wanted.is_empty() && self.homeless.is_empty() && !asked.contains(database.as_str()) {
                continue;
            }
            match Session::connect(
                &self.request.target.with_database(database),
                self.request.purpose,
            )
            .await
            {
                Ok(session) => {
                    let extensions = crate::observe::extensions(&session).await;
                    self.in_database(&session, &wanted, &extensions, true).await;
                }
                Err(error) => {
                    let blind = Err(Missing::Blind(error.blind()));
                    self.facts.sightings.extend(
                        wanted
                            .iter()
                            .map(|c| sighting(c, Some(database), blind.clone())),
                    );
                    self.unasked(Some(database), &error.blind());
                }
            }
        }
        self.unreached_questions(&visible);
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
        &self,
        session: &Session,
        collector: &Collector,
        extensions: &BTreeMap<String, Extension>,
        database: Option<&str>,
    ) -> Sighting {
        let seen = match statement(collector, &session.server, extensions) {
            Ok(sql) => self.read(session, collector, &sql, database).await,
            Err(missing) => Err(missing),
        };
        sighting(collector, database, seen)
    }

    async fn read(
        &self,
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
        let rows = answer.map_err(|error| match error.blind() {
            Blind::NoPrivilege { what, .. } => {
                let role = format!("\"{}\"", session.server.user);
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
    async fn answer(&self, session: &Session, question: &Question) -> Sighting {
        tracing::debug!(target: STATEMENT, "-- {}\n{}", question.name, question.sql.trim_end());
        let started = Instant::now();
        let answer = session.read_within(&question.sql, question.timeout).await;
        let cost = |rows: &Rows| Cost {
            elapsed: started.elapsed(),
            rows: rows.rows.len(),
        };
        let seen = answer.map_err(|error| Missing::Blind(error.blind()));
        let seen = seen.and_then(|rows| {
            let cost = cost(&rows);
            Ok(Snapshot {
                collector: question.name.clone(),
                database: None,
                at: self.now(),
                epoch: Some(session.server.epoch.clone()),
                cost,
                columns: question.columns.clone(),
                rows: question.arrange(rows)?,
            })
        });
        Sighting {
            collector: question.name.clone(),
            database: None,
            seen,
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

    fn unreached_questions(&mut self, visible: &[String]) {
        let answered: BTreeSet<String> = self
            .facts
            .sightings
            .iter()
            .map(|s| s.collector.clone())
            .collect();
        for question in self
            .request
            .questions
            .iter()
            .filter(|q| !answered.contains(&q.name))
        {
            let database = question.database.clone().unwrap_or_default();
            debug_assert!(
                !visible.contains(&database),
                "every visible database was asked"
            );
            let what = format!(
                "database \"{database}\" of \"{}\" does not exist or may not be opened",
                question.name
            );
            let seen = Err(Blind::Failed { what }.into());
            self.facts.sightings.push(Sighting {
                collector: question.name.clone(),
                database: None,
                seen,
            });
        }
    }

    /// Returns the databases that may be opened, and those that may not.
    async fn database_names(
        &mut self,
        session: &Session,
    ) -> Result<(Vec<String>, Vec<String>), Blind> {
        let rows = session
            .read(DATABASES)
            .await
            .map_err(|error| error.blind())?;
        let (mut visible, mut refused) = (Vec::new(), Vec::new());
        for row in rows.rows {
            let [Value::Text(name), Value::Bool(allowed)] = row.as_slice() else {
                continue;
            };
            let included = self.request.databases.is_empty()
                || self.request.databases.iter().any(|p| matches(p, name));
            let asked = self
                .request
                .questions
                .iter()
                .any(|q| q.database.as_deref() == Some(name));
            match (included || asked, allowed) {
                (true, true) => visible.push(name.to_string()),
                (true, false) => refused.push(name.to_string()),
                (false, _) => {}
            }
        }
        if visible.len() > DATABASES_MAX {
            let left = visible.split_off(DATABASES_MAX);
            self.facts.notes.push(format!(
                "{} databases were not looked into (limit {DATABASES_MAX}): set databases in pawang.toml",
                left.len()
            ));
        }
        Ok((visible, refused))
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
        seen,
    }
}

/// Returns whether `name` matches a pattern in which `*` stands for any text.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((prefix, rest)) => name.strip_prefix(prefix).is_some_and(|tail| {
            rest.is_empty()
                || (0..=tail.len())
                    .any(|at| tail.is_char_boundary(at) && matches(rest, &tail[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name, expected) in [
            ("dw", "dw", true),
            ("dw", "dwh", false),
            ("dw*", "dwh", true),
            ("*_test", "a_test", true),
            ("*a*b", "xaybzb", true),
            ("*a*b", "xayb-", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
