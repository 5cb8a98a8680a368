//! Which backup is due: pure, from what is in the repositories.

use jiff::SignedDuration;
use pawang_backup::rolling;
use pawang_config::BackupSettings;
use pawang_core::Timestamp;
use pawang_core::backup::{BackupFacts, BackupSummary, Survey};

use super::signed;

/// A backup that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// The repository.
    pub(super) repository: String,
    /// Whether it has to be a full one.
    pub(super) full: bool,
}

/// Returns the first backup that is due; a repository that cannot be seen gets none.
pub(super) fn due(facts: &BackupFacts, settings: &BackupSettings, now: Timestamp) -> Option<Due> {
    let seen = facts.repositories.iter();
    let mut seen = seen.filter_map(|it| Some((it.name.as_str(), it.survey.as_ref().ok()?)));
    seen.find_map(|(name, survey)| {
        let full = of_survey(survey, settings, now)?;
        Some(Due {
            repository: name.to_owned(),
            full,
        })
    })
}

/// Says whether a full one is due, or one of any kind, or none.
fn of_survey(survey: &Survey, settings: &BackupSettings, now: Timestamp) -> Option<bool> {
    let newest = |wanted: &dyn Fn(&BackupSummary) -> bool| {
        let whole = survey.backups.iter().filter(|it| it.whole() && wanted(it));
        whole.map(|backup| backup.ended_at).max()
    };
    let old = |at: Option<Timestamp>, every: SignedDuration| {
        at.is_none_or(|at| now.duration_since(at) >= every)
    };
    if old(newest(&|it| it.kind == "full"), signed(settings.full_every)) {
        return Some(true);
    }
    old(newest(&|_| true), signed(settings.incremental_every)).then_some(false)
}

/// Returns the first repository whose backups were not drilled for too long; one that a drill of the newest found wrong is not
/// drilled again before its time either.
pub(super) fn drill_due<'a>(
    facts: &'a BackupFacts,
    settings: &BackupSettings,
    now: Timestamp,
) -> Option<&'a str> {
    let seen = facts.repositories.iter();
    let mut seen = seen.filter_map(|it| Some((it.name.as_str(), it.survey.as_ref().ok()?)));
    let found = seen.find(|(_, survey)| {
        let last = survey.drills().map(|(_, proof)| proof.at).max();
        let every = signed(settings.drill_every);
        let old = last.is_none_or(|at| now.duration_since(at) >= every);
        old && survey.backups.iter().any(BackupSummary::whole)
    });
    found.map(|(name, _)| name)
}

/// Returns the first repository of which a share has to be read again.
pub(super) fn verify_due<'a>(
    facts: &'a BackupFacts,
    settings: &BackupSettings,
    now: Timestamp,
) -> Option<&'a str> {
    let seen = facts.repositories.iter();
    let mut seen = seen.filter_map(|it| Some((it.name.as_str(), it.survey.as_ref().ok()?)));
    let every = rolling::turn_every(signed(settings.verify_every));
    let found = seen.find(|(_, survey)| {
        let first = survey.backups.iter().map(|backup| backup.ended_at).min();
        first.is_some_and(|first| {
            let last = survey.read_at.map_or(first, |at| at.max(first));
            now.duration_since(last) >= every
        })
    });
    found.map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use pawang_config::{Config, InstanceConfig};
    use pawang_core::Blind;
    use pawang_core::backup::RepositoryFacts;
    use serde_json::json;

    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(hours * 3_600).unwrap()
    }

    fn backup(kind: &str, hours: i64, wrong: u64) -> BackupSummary {
        let at = at(hours);
        serde_json::from_value(json!({
            "id": "A", "kind": kind, "parent": null, "state": "taken", "started_at": at, "ended_at": at,
            "timeline": 1, "start": "0/0", "stop": "0/1", "data_bytes": 1, "stored_bytes": 1,
            "pages_checked": 1, "pages_wrong": wrong, "proofs": [], "held": null, "marked_at": null,
            "fate": "", "broken": null,
        }))
        .unwrap()
    }

    fn repository(name: &str, survey: Result<Vec<BackupSummary>, Blind>) -> RepositoryFacts {
        RepositoryFacts {
            name: name.to_owned(),
            place: String::new(),
            at: at(0),
            survey: survey.map(|backups| Survey {
                backups,
                ..Survey::default()
            }),
            troubles: Vec::new(),
        }
    }

    #[test]
    fn what_is_old_or_missing_is_due() {
        // A full one each week and another one each day.
        let settings = Config::default().backup_settings(&InstanceConfig::default());
        let week = 7 * 24;
        for (backups, now, expected) in [
            (vec![], 1, Some(true)),
            (vec![backup("full", 0, 0)], 23, None),
            (vec![backup("full", 0, 0)], 24, Some(false)),
            (
                vec![backup("full", 0, 0), backup("incremental", 24, 0)],
                30,
                None,
            ),
            (
                vec![backup("full", 0, 0), backup("incremental", week - 1, 0)],
                week,
                Some(true),
            ),
            (vec![backup("full", 0, 3)], 1, Some(true)),
        ] {
            let facts = BackupFacts {
                repositories: vec![repository("main", Ok(backups.clone()))],
                ..BackupFacts::default()
            };
            let found = due(&facts, &settings, at(now)).map(|due| due.full);
            assert_eq!(found, expected, "{backups:?} at {now}");
        }
    }

    #[test]
    fn backups_are_drilled_once_in_a_while() {
        let settings = Config::default().backup_settings(&InstanceConfig::default());
        let week = 7 * 24;
        let drilled = |hours: i64, passed: bool| {
            let mut backup = backup("full", 0, 0);
            backup.proofs = serde_json::from_value(json!([
                { "at": at(hours), "state": "proven", "passed": passed, "detail": "", "rto": null }
            ]))
            .unwrap();
            backup
        };
        for (backups, now, expected) in [
            (vec![], 1, None),
            (vec![backup("full", 0, 0)], 1, Some("main")),
            (vec![backup("full", 0, 3)], 1, None),
            (vec![drilled(1, true)], week, None),
            (vec![drilled(1, true)], week + 1, Some("main")),
            (vec![drilled(1, false)], week, None),
            (vec![drilled(1, true), backup("full", 2, 0)], 3, None),
        ] {
            let facts = BackupFacts {
                repositories: vec![repository("main", Ok(backups.clone()))],
                ..BackupFacts::default()
            };
            let found = drill_due(&facts, &settings, at(now));
            assert_eq!(found, expected, "{backups:?} at {now}");
        }
    }

    #[test]
    fn a_share_is_read_again_each_day() {
        let settings = Config::default().backup_settings(&InstanceConfig::default());
        let check = |backups: Vec<BackupSummary>, read: Option<i64>, now: i64, expected| {
            let mut facts = BackupFacts {
                repositories: vec![repository("main", Ok(backups))],
                ..BackupFacts::default()
            };
            facts.repositories[0].survey.as_mut().unwrap().read_at = read.map(at);
            let found = verify_due(&facts, &settings, at(now));
            assert_eq!(found, expected, "{read:?} at {now}");
        };
        check(vec![], None, 100, None);
        let one = || vec![backup("full", 10, 0), backup("full", 90, 0)];
        check(one(), None, 33, None);
        check(one(), None, 34, Some("main"));
        check(one(), Some(34), 57, None);
        check(one(), Some(34), 58, Some("main"));
    }

    #[test]
    fn a_repository_that_cannot_be_seen_gets_no_backup() {
        let blind = Blind::Failed {
            what: "it is gone".to_owned(),
        };
        let facts = BackupFacts {
            repositories: vec![
                repository("main", Err(blind)),
                repository("away", Ok(vec![])),
            ],
            ..BackupFacts::default()
        };
        let settings = Config::default().backup_settings(&InstanceConfig::default());
        let found = due(&facts, &settings, at(0));
        assert_eq!(found.map(|due| due.repository).as_deref(), Some("away"));
    }
}
