//! The newest sighting of everything, gathered over rounds that each ask only what is due.

use std::collections::{BTreeMap, BTreeSet};

use pawang_collect::{Catalog, Scope};
use pawang_core::backup::{BACKUP_PREFIX, DRILL_PREFIX, REPOSITORY_PREFIX};
use pawang_core::{Blind, DownFacts, Facts, Instance, Server, Sighting, Timestamp};

/// More databases than this are not held in memory at a time; those looked into longest ago go first, and their history
/// stays in the store.
const DATABASES_MAX: usize = 2_000;

/// What is known of one instance.
pub(super) struct Known {
    instance: Instance,
    at: Timestamp,
    server: Result<Server, Blind>,
    down: Option<Box<DownFacts>>,
    /// Every database that was looked into, and when.
    databases: BTreeMap<String, Timestamp>,
    /// How many databases there are, looked into or not.
    listed: usize,
    /// By collector and database.
    sightings: BTreeMap<(String, Option<String>), Sighting>,
    notes: Vec<String>,
    /// Notes of the newest round that looked into databases: the rounds between say nothing about them.
    notes_of_databases: Vec<String>,
}

/// What a round changed.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Changed {
    /// The collectors that saw something else, or why they do not see.
    pub collectors: BTreeSet<String>,
    /// Whether the server came, went, restarted or changed its role: then every check has to be asked again.
    pub server: bool,
    /// Whether what was seen before is of another life of the server and has to be seen again.
    pub reborn: bool,
}

impl Known {
    /// Returns the knowledge of somebody who has not looked yet.
    pub(super) fn new(instance: Instance, now: Timestamp) -> Known {
        Known {
            instance,
            at: now,
            server: Err(Blind::Unreachable {
                what: "not asked yet".to_owned(),
                hint: None,
            }),
            down: None,
            databases: BTreeMap::new(),
            listed: 0,
            sightings: BTreeMap::new(),
            notes: Vec::new(),
            notes_of_databases: Vec::new(),
        }
    }

    /// Returns what the server says about itself, if it answered last time.
    pub(super) fn server(&self) -> Option<&Server> {
        self.server.as_ref().ok()
    }

    /// Takes over what a round saw.
    pub(super) fn absorb(&mut self, facts: &Facts, catalog: &Catalog) -> Changed {
        let mut changed = Changed {
            // Each refusal may have another reason, and the reason is what people need then.
            server: facts.server.is_err() || of_server(&self.server) != of_server(&facts.server),
            ..Changed::default()
        };
        if let (Ok(old), Ok(new)) = (&self.server, &facts.server) {
            changed.reborn = old.epoch != new.epoch || old.role != new.role;
        } else if let (Err(_), Ok(new)) = (&self.server, &facts.server) {
            changed.reborn = self.lived_in_another(new);
        }
        if changed.reborn {
            self.sightings.retain(|_, s| !is_of_server(s, catalog));
        }
        self.server = facts.server.clone();
        self.down = facts.down.clone();
        self.at = facts.at;
        self.notes = facts.notes.clone();
        for sighting in &facts.sightings {
            changed.collectors.insert(sighting.collector.clone());
            let key = (sighting.collector.clone(), sighting.database.clone());
            self.sightings.insert(key, sighting.clone());
        }
        self.absorb_databases(facts);
        changed
    }

    /// Adds one sighting that was made here, such as folded samples.
    pub(super) fn add(&mut self, sighting: Sighting) {
        let key = (sighting.collector.clone(), sighting.database.clone());
        self.sightings.insert(key, sighting);
    }

    /// Takes what is known of repositories in place of what was known of them before.
    pub(super) fn replace_repositories(&mut self, sightings: Vec<Sighting>) {
        let names: Vec<String> = self
            .sightings
            .keys()
            .map(|(name, _)| name.clone())
            .collect();
        let gone = names
            .iter()
            .filter_map(|name| name.strip_prefix(REPOSITORY_PREFIX));
        for name in gone {
            for prefix in [REPOSITORY_PREFIX, BACKUP_PREFIX] {
                self.sightings.remove(&(format!("{prefix}{name}"), None));
            }
        }
        self.sightings
            .retain(|(name, _), _| !name.starts_with(DRILL_PREFIX));
        for sighting in sightings {
            self.add(sighting);
        }
    }

    /// Returns everything known, for checks and readers.
    ///
    /// While the server does not answer, nothing that it said before is told as if it were so now.
    pub(super) fn facts(&self, catalog: &Catalog) -> Facts {
        let down = self.server.is_err();
        let told = |sighting: &&Sighting| !down || !is_of_server(sighting, catalog);
        let sightings = self.sightings.values().filter(told).cloned().collect();
        let mut notes = self.notes.clone();
        for note in &self.notes_of_databases {
            if !down && !notes.contains(note) {
                notes.push(note.clone());
            }
        }
        let waiting = self.listed.saturating_sub(self.databases.len());
        if waiting > 0 && !down {
            notes.push(format!(
                "{waiting} of {} databases wait for their turn to be looked into: set databases in pawang.toml to choose",
                self.listed
            ));
        }
        Facts {
            instance: self.instance.clone(),
            at: self.at,
            server: self.server.clone(),
            down: self.down.clone(),
            databases: self.databases.keys().cloned().collect(),
            sightings,
            notes,
        }
    }

    /// Says whether what the server said before it went away is of another life than what it says now.
    fn lived_in_another(&self, server: &Server) -> bool {
        let snapshots = self.sightings.values().filter_map(|s| s.seen.as_ref().ok());
        snapshots
            .filter_map(|snapshot| snapshot.epoch.as_ref())
            .any(|epoch| *epoch != server.epoch)
    }

    /// Takes over which databases there are, and which of them were looked into.
    ///
    /// Only those are told of: what was never looked into is not judged, and a note says how many wait.
    fn absorb_databases(&mut self, facts: &Facts) {
        if facts.server.is_err() || listing_failed(facts) {
            return;
        }
        let into = facts.sightings.iter().filter_map(|s| s.database.as_ref());
        let mut looked_into = false;
        for name in into {
            looked_into = true;
            self.databases.insert(name.clone(), facts.at);
        }
        if looked_into {
            self.notes_of_databases = facts.notes.clone();
        }
        self.listed = facts.databases.len();
        let listed: BTreeSet<&String> = facts.databases.iter().collect();
        self.databases.retain(|name, _| listed.contains(name));
        if self.databases.len() > DATABASES_MAX {
            let mut by_age: Vec<(Timestamp, String)> = Vec::new();
            by_age.extend(self.databases.iter().map(|(name, at)| (*at, name.clone())));
            by_age.sort();
            for (_, name) in &by_age[..by_age.len() - DATABASES_MAX] {
                self.databases.remove(name);
            }
        }
        let databases = &self.databases;
        self.sightings.retain(|(_, database), _| {
            database
                .as_ref()
                .is_none_or(|name| databases.contains_key(name))
        });
    }
}

/// Says whether the list of databases could not be read: then it names only the one that the connection is in.
fn listing_failed(facts: &Facts) -> bool {
    let mut inside = facts.sightings.iter().filter(|s| s.database.is_some());
    facts.databases.len() <= 1
        && inside.clone().next().is_some()
        && inside.all(|sighting| sighting.seen.is_err())
}

/// What of a server's state decides which checks have to be asked again.
fn of_server(server: &Result<Server, Blind>) -> Option<(&pawang_core::Epoch, pawang_core::Role)> {
    server
        .as_ref()
        .ok()
        .map(|server| (&server.epoch, server.role))
}

/// Says whether the server itself told this, as opposed to its host, its pooler or its agent.
fn is_of_server(sighting: &Sighting, catalog: &Catalog) -> bool {
    match catalog.collectors.get(&sighting.collector) {
        Some(collector) => matches!(
            collector.header.scope,
            Scope::Server | Scope::Database | Scope::Derived
        ),
        // Backups are looked for in files, except where a statement of the user's tells about them.
        None => {
            let name = &sighting.collector;
            let prefixes = [BACKUP_PREFIX, REPOSITORY_PREFIX, DRILL_PREFIX];
            let files = prefixes.iter().any(|prefix| name.starts_with(prefix));
            !files || name.starts_with("backup:sql-")
        }
    }
}
