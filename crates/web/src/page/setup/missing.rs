//! What is missing, grouped by what would bring it.

use std::collections::{BTreeMap, BTreeSet};

use pawang_core::{Blind, Missing};
use pawang_store::live::Present;

/// How something that is missing is brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// A statement, part of the script.
    Sql,
    /// A setting of the server: whoever changes it should read about it first.
    Setting,
    /// A key of `pawang.toml`.
    File,
    /// Anything else.
    Hand,
}

/// One remedy and everything that it brings.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Group {
    /// How.
    pub way: Way,
    /// What to run or write.
    pub remedy: String,
    /// The database to run it in, where that matters.
    pub run_in: Option<String>,
    /// Why something is not seen, in words.
    pub reasons: BTreeSet<String>,
    /// Checks that are unknown because of it.
    pub checks: BTreeSet<String>,
    /// Collectors that see nothing because of it.
    pub collectors: BTreeSet<String>,
    /// Databases where that is so.
    pub databases: BTreeSet<String>,
    /// Pages that are empty because of it.
    pub pages: BTreeSet<String>,
}

/// The pages that show what a collector sees.
const PAGES: [(&str, &[&str]); 9] = [
    (
        "Activity",
        &["activity", "activity-samples", "blocking", "locks"],
    ),
    ("Queries", &["statements", "statements-info"]),
    ("Tables", &["tables"]),
    ("Indexes", &["indexes"]),
    (
        "Replication",
        &["replication", "slots", "wal-receiver", "recovery"],
    ),
    (
        "Storage",
        &["host-filesystem", "wal-directory", "tables", "indexes"],
    ),
    ("Settings", &["settings"]),
    ("bloat of tables", &["table-shape"]),
    ("bloat of indexes", &["index-shape"]),
];

/// Returns what is missing on an instance, what brings most first.
pub(super) fn groups(present: &Present) -> Vec<Group> {
    let mut found: BTreeMap<(Way, String), Group> = BTreeMap::new();
    for sighting in &present.facts.sightings {
        if let Err(Missing::Blind(blind)) = &sighting.seen {
            let group = add(&mut found, blind);
            let Some(group) = group else { continue };
            group.databases.extend(sighting.database.clone());
            of_collector(group, &sighting.collector);
        }
    }
    for status in present.collectors.iter() {
        if let Some(group) = status
            .blind
            .as_ref()
            .and_then(|blind| add(&mut found, blind))
        {
            of_collector(group, &status.name);
        }
    }
    let evaluation = present.evaluation.iter();
    let verdicts = evaluation.flat_map(|evaluation| &evaluation.verdicts);
    for finding in verdicts.flat_map(|verdict| &verdict.findings) {
        if let Some(group) = finding
            .blind
            .as_ref()
            .and_then(|blind| add(&mut found, blind))
        {
            group.checks.insert(finding.check.clone());
            group.databases.extend(finding.database.clone());
        }
    }
    let mut groups: Vec<Group> = found.into_values().collect();
    groups.sort_by_key(|group| (group.way, std::cmp::Reverse(group.checks.len())));
    groups
}

/// Finds or makes the group of a reason; `None` for reasons that are over by themselves.
fn add<'a>(found: &'a mut BTreeMap<(Way, String), Group>, blind: &Blind) -> Option<&'a mut Group> {
    let (way, remedy, run_in) = match blind {
        Blind::FirstSample | Blind::Reset { .. } => return None,
        Blind::Failed { what } if what.ends_with("was not asked") => return None,
        Blind::NoPrivilege { grant, .. } if is_statement(grant) => (Way::Sql, grant.clone(), None),
        Blind::MissingExtension { name, database } => (
            Way::Sql,
            format!("CREATE EXTENSION {name};{}", needs(name)),
            Some(database.clone()),
        ),
        Blind::Disabled { .. } => (Way::Setting, blind.remedy(), None),
        Blind::NotConfigured { .. } => (Way::File, blind.remedy(), None),
        _ => (Way::Hand, blind.remedy(), None),
    };
    let key = format!("{remedy}\0{}", run_in.as_deref().unwrap_or_default());
    let group = found.entry((way, key)).or_insert_with(|| Group {
        way,
        remedy,
        run_in,
        reasons: BTreeSet::new(),
        checks: BTreeSet::new(),
        collectors: BTreeSet::new(),
        databases: BTreeSet::new(),
        pages: BTreeSet::new(),
    });
    group.reasons.insert(blind.sentence());
    Some(group)
}

fn of_collector(group: &mut Group, collector: &str) {
    group.collectors.insert(collector.to_owned());
    let needs = pawang_check::CHECKS
        .iter()
        .filter(|check| check.needs.contains(&collector));
    group.checks.extend(needs.map(|check| check.id.to_owned()));
    let pages = PAGES
        .iter()
        .filter(|(_, collectors)| collectors.contains(&collector));
    group
        .pages
        .extend(pages.map(|(page, _)| (*page).to_owned()));
}

fn is_statement(text: &str) -> bool {
    ["GRANT ", "ALTER ", "CREATE "]
        .iter()
        .any(|word| text.starts_with(word))
}

/// Returns what an extension needs besides being created.
fn needs(extension: &str) -> &'static str {
    if extension == "pg_stat_statements" {
        "  -- shared_preload_libraries must name it: that needs a restart"
    } else {
        ""
    }
}

/// Returns all statements as one script for `psql`, or `None` when there is nothing to run.
pub(super) fn script(instance: &str, groups: &[Group]) -> Option<String> {
    let statements: Vec<&Group> = groups
        .iter()
        .filter(|group| group.way == Way::Sql)
        .collect();
    if statements.is_empty() {
        return None;
    }
    let mut script = format!(
        "-- What Pawang needs to see all of {}; psql as a superuser\n",
        plain(instance)
    );
    for group in statements.iter().filter(|group| group.run_in.is_none()) {
        script.push_str(&group.remedy);
        script.push('\n');
    }
    for group in statements {
        let Some(database) = &group.run_in else {
            continue;
        };
        if database.contains(char::is_control) {
            script.push_str(&format!(
                "-- connect to {} by hand, then\n-- ",
                plain(database)
            ));
        } else {
            script.push_str(&format!(
                "\\connect \"{}\"\n",
                database.replace('"', "\"\"")
            ));
        }
        script.push_str(&group.remedy);
        script.push('\n');
    }
    Some(script)
}

/// Returns a name that cannot end a comment.
fn plain(name: &str) -> String {
    name.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pawang_core::{Facts, Instance, Sighting, Timestamp};
    use pawang_store::live::BudgetStatus;

    use super::*;

    fn present(blinds: &[(&str, Option<&str>, Blind)]) -> Present {
        let sightings = blinds.iter().map(|(collector, database, blind)| Sighting {
            collector: (*collector).to_owned(),
            database: database.map(str::to_owned),
            seen: Err(Missing::Blind(blind.clone())),
        });
        Present {
            instance: Instance::default(),
            labels: BTreeMap::new(),
            facts: Arc::new(Facts {
                instance: Instance::default(),
                at: Timestamp::UNIX_EPOCH,
                server: Err(Blind::FirstSample),
                down: None,
                databases: Vec::new(),
                sightings: sightings.collect(),
                notes: Vec::new(),
            }),
            evaluation: None,
            since: Arc::default(),
            collectors: Arc::new([]),
            budget: BudgetStatus::default(),
            activity: Arc::new([]),
            answered_at: None,
        }
    }

    fn no_privilege() -> Blind {
        Blind::NoPrivilege {
            what: "the sessions of other roles are hidden".to_owned(),
            grant: "GRANT pg_monitor TO pawang;".to_owned(),
        }
    }

    fn extension(database: &str) -> Blind {
        Blind::MissingExtension {
            name: "pg_stat_statements".to_owned(),
            database: database.to_owned(),
        }
    }

    #[test]
    fn one_remedy_is_told_once_with_all_that_it_brings() {
        let groups = groups(&present(&[
            ("activity", None, no_privilege()),
            ("locks", None, no_privilege()),
            ("tables", Some("sales"), Blind::FirstSample),
            ("statements", None, extension("postgres")),
        ]));
        assert_eq!(groups.len(), 2);
        let monitor = groups.iter().find(|group| group.run_in.is_none()).unwrap();
        assert_eq!(monitor.collectors.len(), 2);
        assert!(monitor.checks.contains("oldest-transaction"));
        assert_eq!(Vec::from_iter(&monitor.pages), ["Activity"]);
        let script = script("dwh-1", &groups).unwrap();
        assert_eq!(script.matches("GRANT pg_monitor").count(), 1);
        assert!(script.contains("\\connect \"postgres\"\nCREATE EXTENSION pg_stat_statements;"));
    }

    #[test]
    fn a_hostile_name_cannot_become_a_command() {
        let groups = groups(&present(&[
            ("statements", None, extension("a\"b")),
            ("statements", None, extension("x\n\\! touch y\n")),
        ]));
        let script = script("i\n\\! touch z", &groups).unwrap();
        assert!(script.contains("\\connect \"a\"\"b\"\n"));
        for line in script.lines() {
            assert!(!line.starts_with("\\!"), "{script}");
        }
    }

    #[test]
    fn nothing_missing_is_no_script() {
        assert_eq!(script("a", &groups(&present(&[]))), None);
    }
}
