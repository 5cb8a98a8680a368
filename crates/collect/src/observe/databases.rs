//! Which databases a round looks into, and looking into them.

use std::collections::{BTreeMap, BTreeSet};

use pawang_config::matches;
use pawang_core::{Blind, Sighting, Value};
use pawang_postgres::{Error, Session};

use super::answer::{
    self, Extension, connect_blind, connect_privilege, dropped, is_gone, nothing_included, sighting,
};
use super::run::Run;
use crate::{Collector, Scope};

const DATABASES: &str = "\
SELECT d.datname, pg_catalog.has_database_privilege(d.oid, 'CONNECT')
  FROM pg_catalog.pg_database AS d
 WHERE d.datallowconn AND NOT d.datistemplate
 ORDER BY d.datname";

/// A database of the server.
pub(super) struct Database {
    name: String,
    /// Whether the role may connect.
    allowed: bool,
    /// Whether it is looked into, or only asked the user's own questions.
    included: bool,
}

impl<'a> Run<'a> {
    /// Asks what is asked in the session's own database, and returns the others that something is asked in.
    pub(super) async fn databases(
        &mut self,
        first: &Session,
        extensions: &BTreeMap<String, Extension>,
    ) -> Vec<Database> {
        let wanted = self.wanted(Scope::Database);
        let home = first.server.database.clone();
        let nothing = wanted.is_empty()
            && self.homeless.is_empty()
            && self.request.questions.iter().all(|q| q.database.is_none());
        if nothing && self.bounds.rotate && !self.memory.databases.is_empty() {
            self.facts.databases = self.memory.databases.clone();
            self.in_database(first, &[], extensions, false).await;
            return Vec::new();
        }
        let databases = match self.database_names(first).await {
            Ok(databases) => databases,
            Err(blind) => {
                self.facts.databases.push(home.clone());
                self.unseen(&wanted, Some(&home), &blind);
                self.unreached_questions(|_| blind.clone());
                return Vec::new();
            }
        };
        if self.facts.databases.is_empty() {
            self.unseen(&wanted, None, &nothing_included(self.request.databases));
        }
        let here = databases.iter().find(|database| database.name == home);
        let here = here.is_some_and(|database| database.included);
        self.in_database(first, &wanted, extensions, here).await;
        let others = databases.into_iter();
        others.filter(|database| database.name != home).collect()
    }

    /// Opens one more connection per further database, one at a time, and only when something is asked there.
    pub(super) async fn elsewhere(&mut self, databases: Vec<Database>) {
        let wanted = self.wanted(Scope::Database);
        let asked: BTreeSet<&str> = self
            .request
            .questions
            .iter()
            .filter_map(|q| q.database.as_deref())
            .collect();
        let mut gone: Option<Blind> = None;
        for database in &databases {
            let name = database.name.as_str();
            let wanted: &[&Collector] = if database.included { &wanted } else { &[] };
            if wanted.is_empty() && !self.may_be_home(name) && !asked.contains(name) {
                continue;
            }
            let blind = match gone.clone().or_else(|| self.exhausted()) {
                _ if !database.allowed => Some(connect_privilege(name, self.user())),
                Some(blind) => Some(blind),
                None => self.other_database(name, wanted, &mut gone).await,
            };
            if let Some(blind) = blind {
                self.unseen(wanted, Some(name), &blind);
                self.unasked(Some(name), &blind);
            }
        }
        self.nowhere();
        self.unreached_questions(|name| dropped(name.unwrap_or_default()));
    }

    /// Says whether a collector that is not served in the first database may be served in this one.
    fn may_be_home(&self, database: &str) -> bool {
        let mut homeless = self.homeless.iter();
        homeless.any(|collector| {
            let extension = collector.header.extension.as_deref().unwrap_or_default();
            let known = self.memory.homes.get(extension);
            known.is_none_or(|home| home == database)
        })
    }

    /// Remembers where a collector of the whole server found its extension.
    pub(super) fn found(&mut self, collector: &Collector, database: &str) {
        if let Some(extension) = &collector.header.extension {
            let homes = &mut self.memory.homes;
            homes.insert(extension.clone(), database.to_owned());
        }
    }

    /// Records whose extension is in no database that was looked into.
    fn nowhere(&mut self) {
        let server = self.facts.server.as_ref();
        let database = server.map(|server| server.database.clone());
        let database = database.unwrap_or_default();
        for collector in std::mem::take(&mut self.homeless) {
            let name = collector.header.extension.clone().unwrap_or_default();
            // It may have been dropped there, or live elsewhere now.
            self.memory.homes.remove(&name);
            let blind = Blind::MissingExtension {
                name,
                database: database.clone(),
            };
            let unseen = sighting(collector, None, Err(blind.into()));
            self.facts.sightings.push(unseen);
        }
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
                let extensions = self.extensions(&session).await;
                self.in_database(&session, wanted, &extensions, true).await;
                None
            }
            Err(Error::NoDatabase { .. }) => {
                self.facts.databases.retain(|database| database != name);
                self.memory.databases.retain(|database| database != name);
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

    /// Records why the questions to a database that could not be opened have no answer.
    fn unasked(&mut self, database: Option<&str>, blind: &Blind) {
        let questions = self.request.questions.iter();
        for question in questions.filter(|q| q.database.as_deref() == database) {
            let unanswered = answer::unanswered(question, blind.clone());
            self.facts.sightings.push(unanswered);
        }
    }

    /// Records `why` for every question that nobody could be asked.
    fn unreached_questions(&mut self, why: impl Fn(Option<&str>) -> Blind) {
        let sightings = self.facts.sightings.iter();
        let answered: BTreeSet<&str> = sightings.map(|s| s.collector.as_str()).collect();
        let questions = self.request.questions.iter();
        let unreached = questions.filter(|question| !answered.contains(question.name.as_str()));
        let unreached: Vec<Sighting> = unreached
            .map(|question| answer::unanswered(question, why(question.database.as_deref())))
            .collect();
        self.facts.sightings.extend(unreached);
    }

    /// Returns the databases that are looked into or asked in during this round, by name.
    async fn database_names(&mut self, session: &Session) -> Result<Vec<Database>, Blind> {
        let rows = session.read(DATABASES).await;
        let rows = rows.map_err(|error| error.blind())?;
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
        self.bounded(&mut databases, &session.server.database);
        Ok(databases)
    }

    /// Keeps those that this round looks into, and tells how many are left out.
    fn bounded(&mut self, databases: &mut Vec<Database>, home: &str) {
        let most = self.bounds.databases;
        if !self.bounds.rotate && databases.len() > most {
            let left = databases.split_off(most);
            self.facts.notes.push(format!(
                "{} databases were not looked into (limit {most}): set databases in pawang.toml",
                left.len()
            ));
        }
        let included = databases.iter().filter(|database| database.included);
        let names: Vec<String> = included.map(|database| database.name.clone()).collect();
        if self.bounds.rotate && names.len() > most {
            let wanted = self.wanted(Scope::Database);
            let wanted: Vec<&str> = wanted.iter().map(|c| c.name.as_str()).collect();
            // A round that asks for nothing inside databases is no turn of theirs.
            if !wanted.is_empty() {
                self.facts.notes.push(format!(
                    "{} databases are looked into in turns, {most} per round",
                    names.len()
                ));
            }
            let chosen = self.memory.rotation.choose(&names, &wanted, most, home);
            for database in databases.iter_mut() {
                database.included = chosen.contains(database.name.as_str());
            }
            let homes: BTreeSet<&String> = self.memory.homes.values().collect();
            let questions = self.request.questions.iter();
            let asked: BTreeSet<&str> = questions.filter_map(|q| q.database.as_deref()).collect();
            databases.retain(|database| {
                database.included
                    || homes.contains(&database.name)
                    || asked.contains(database.name.as_str())
            });
        } else {
            self.memory.rotation.forget();
        }
        self.memory.databases.clone_from(&names);
        self.facts.databases = names;
    }

    fn user(&self) -> &str {
        self.facts.server.as_ref().map_or("", |server| &server.user)
    }
}
