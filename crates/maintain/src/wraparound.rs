//! The end of transaction numbers: how near each table is, how fast it comes, who stands in the way, and what to freeze.

use pawang_core::plan::{Cost, IndexCleanup, Task, VacuumOptions, VacuumPace};
use pawang_core::{ByteSize, Facts, Missing, Row};

use pawang_config::Area;

use crate::horizon::Horizon;
use crate::scope::{Findings, Scope, object, target};

pub(crate) const NEEDS: &[&str] = &[
    "freeze",
    "database",
    "settings",
    "horizon",
    "progress-vacuum",
    "tables",
];

/// The server stops giving out transaction numbers 3 million before they wrap around.
const XID_STOP_AGE: f64 = 2_147_483_647.0 - 3_000_000.0;
/// From this share of `vacuum_failsafe_age` on nothing but freezing counts: indexes are cleaned later.
const FAILSAFE_SHARE: f64 = 0.8;
/// A holder this near to the age of a table keeps it from becoming younger.
const BLOCKING_SHARE: f64 = 0.9;
/// A table that is held is left only if freezing would leave it above this share of the limit of the policy.
const USELESS_SHARE: f64 = 1.0;
const SECONDS_PER_DAY: f64 = 86_400.0;
/// What freezing reads and writes per second where nobody measured it.
const FREEZE_BYTES_PER_SECOND: f64 = 30.0 * 1024.0 * 1024.0;

/// How fast transaction numbers are used, and how long they last.
#[derive(Clone, Debug, PartialEq)]
pub struct Burn {
    /// Transaction numbers per second.
    pub per_second: f64,
    /// The database that is nearest to the end.
    pub database: String,
    /// Its age.
    pub age: f64,
    /// Days until the server stops at this rate; `None` when none were used.
    pub days_left: Option<f64>,
}

/// Returns how fast transaction numbers are used between two looks.
///
/// # Errors
/// Why that cannot be told: there is no earlier look, or the databases could not be seen.
pub fn burn(facts: &Facts, older: Option<&Facts>) -> Result<Burn, Missing> {
    let policy = crate::Policy::default();
    let scope = Scope {
        facts,
        older,
        policy: &policy,
        now: facts.at,
        database: "",
    };
    let growth = scope.growth_server("database")?;
    let age = |row: &Row<'_>| row.float("frozen_xid_age").unwrap_or(0.0);
    // A database that was frozen in between became younger; the others tell the rate.
    let grown = growth.rows.iter().filter_map(|(row, older)| {
        let grown = age(row) - age(older.as_ref()?);
        (grown >= 0.0).then_some(grown)
    });
    let per_second = grown.fold(0.0, f64::max) / growth.seconds;
    let oldest = growth
        .rows
        .iter()
        .map(|(row, _)| row)
        .max_by(|a, b| age(a).total_cmp(&age(b)));
    let oldest_age = oldest.map_or(0.0, age);
    let left = (XID_STOP_AGE - oldest_age).max(0.0) / per_second / SECONDS_PER_DAY;
    Ok(Burn {
        per_second,
        database: oldest
            .and_then(|row| row.text("datname"))
            .unwrap_or_default()
            .to_owned(),
        age: oldest_age,
        days_left: (per_second > 0.0).then_some(left),
    })
}

/// Plans which tables are frozen, the one nearest to its limit first.
pub(crate) fn plan(scope: &Scope<'_>, found: &mut Findings) {
    if let Err(missing) = planned(scope, found) {
        found.left.extend(scope.missing("freeze age", missing));
    }
}

fn planned(scope: &Scope<'_>, found: &mut Findings) -> Result<(), Missing> {
    let horizon = Horizon::of(scope)?;
    let failsafe = Failsafe {
        xid: scope.number("vacuum_failsafe_age")?,
        multixact: scope.number("vacuum_multixact_failsafe_age")?,
    };
    let burn = burn(scope.facts, scope.older).ok();
    for row in scope.here("freeze")?.rows() {
        let age = Age::of(&row);
        let table = target(&row, "nspname");
        let settings = scope.settings(&table);
        if age.percent() < settings.freeze_age_percent {
            continue;
        }
        let name = object(&row, &table);
        if row.text("relpersistence") == Some("t") {
            let why = format!(
                "only its own session can freeze a temporary table; {}",
                age.words()
            );
            found.left.push(scope.left(name, why));
            continue;
        }
        let blocker = horizon.holders.first();
        let limit = age.xid_limit * settings.freeze_age_percent / 100.0;
        let useless = blocker.filter(|holder| {
            age.by_xid()
                && holder.xmin_age >= limit * USELESS_SHARE
                && holder.xmin_age >= age.xid * BLOCKING_SHARE
        });
        if let Some(holder) = useless {
            let why = format!(
                "{}, and it cannot become younger than {}, which is {} old: {}",
                age.words(),
                holder.name(),
                holder.age(),
                holder.remedy()
            );
            found.left.insert(0, scope.left(name, why));
            continue;
        }
        let task = Task::Vacuum {
            table,
            options: options(&age, &failsafe, settings.pace),
        };
        let mut proposal = scope.proposal(task, reason(&name, &row, &age));
        proposal.evidence = evidence(&row, burn.as_ref());
        proposal.cost = cost(&row);
        found.want(Area::Wraparound, age.percent(), proposal);
    }
    Ok(())
}

/// How old a table is, and its limits.
struct Age {
    xid: f64,
    xid_limit: f64,
    multixact: f64,
    multixact_limit: f64,
}

struct Failsafe {
    xid: f64,
    multixact: f64,
}

impl Age {
    fn of(row: &Row<'_>) -> Age {
        let number = |name| row.float(name).unwrap_or(0.0);
        Age {
            xid: number("frozen_xid_age"),
            xid_limit: number("freeze_max_age").max(1.0),
            multixact: number("minimum_multixact_age"),
            multixact_limit: number("multixact_freeze_max_age").max(1.0),
        }
    }

    fn by_xid(&self) -> bool {
        self.xid / self.xid_limit >= self.multixact / self.multixact_limit
    }

    fn percent(&self) -> f64 {
        100.0 * (self.xid / self.xid_limit).max(self.multixact / self.multixact_limit)
    }

    fn words(&self) -> String {
        let percent = self.percent();
        if self.by_xid() {
            format!(
                "its oldest row is {:.0} transactions old, {percent:.0} % of autovacuum_freeze_max_age",
                self.xid
            )
        } else {
            format!(
                "its oldest multixact is {:.0} multixacts old, {percent:.0} % of autovacuum_multixact_freeze_max_age",
                self.multixact
            )
        }
    }
}

fn reason(name: &str, row: &Row<'_>, age: &Age) -> String {
    match row.text("toast_of") {
        Some(_) => format!("{name}: {}", age.words()),
        None => age.words(),
    }
}

/// Near the end only freezing counts: indexes are cleaned another day, at full speed.
fn options(age: &Age, failsafe: &Failsafe, pace: VacuumPace) -> VacuumOptions {
    let near = age.xid >= failsafe.xid * FAILSAFE_SHARE
        || age.multixact >= failsafe.multixact * FAILSAFE_SHARE;
    VacuumOptions {
        freeze: true,
        index_cleanup: if near {
            IndexCleanup::Off
        } else {
            IndexCleanup::Auto
        },
        pace: match near {
            true => VacuumPace {
                cost_delay_ms: Some(0.0),
                cost_limit: None,
            },
            false => pace,
        },
        ..VacuumOptions::default()
    }
}

fn evidence(row: &Row<'_>, burn: Option<&Burn>) -> Vec<(String, String)> {
    let mut evidence = row.evidence(&[
        "frozen_xid_age",
        "freeze_max_age",
        "minimum_multixact_age",
        "multixact_freeze_max_age",
        "relation_bytes",
    ]);
    if let Some(burn) = burn {
        let rate = format!("{:.1} per second", burn.per_second);
        evidence.push(("transaction numbers used".to_owned(), rate));
        if let Some(days) = burn.days_left {
            evidence.push(("days left on the server".to_owned(), format!("{days:.0}")));
        }
    }
    evidence
}

/// Estimates freezing at worst: every page is read and written.
fn cost(row: &Row<'_>) -> Cost {
    let bytes = row.float("relation_bytes").unwrap_or(0.0);
    Cost {
        read: Some(ByteSize(bytes as u64)),
        wal: Some(ByteSize(bytes as u64)),
        duration: std::time::Duration::try_from_secs_f64(bytes / FREEZE_BYTES_PER_SECOND).ok(),
        ..Cost::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Cell, World};
    use crate::{Areas, Policy, plan};

    fn aged(world: &mut World, name: &str, xid: f64, multixact: f64) {
        let (schema, table) = name.split_once('.').unwrap();
        world.row(
            "freeze",
            &[
                ("nspname", schema.into()),
                ("relname", table.into()),
                ("relid", 5.into()),
                ("frozen_xid_age", xid.into()),
                ("freeze_max_age", 2e8.into()),
                ("minimum_multixact_age", multixact.into()),
                ("multixact_freeze_max_age", 4e8.into()),
                ("relation_bytes", 1e9.into()),
            ],
        );
    }

    fn areas() -> Areas {
        [Area::Wraparound].into_iter().collect()
    }

    #[test]
    fn tables_are_ranked_by_the_limit_that_comes_first() {
        let mut world = World::new(15);
        aged(&mut world, "public.young", 1e8, 1e8);
        aged(&mut world, "public.old", 1.6e8, 0.0);
        aged(&mut world, "public.multi", 1e6, 3.9e8);
        aged(&mut world, "public.failsafe", 1.3e9, 0.0);
        let planned = plan(
            &areas(),
            &world.facts(),
            None,
            &Policy::default(),
            world.now(),
        );
        let seen: Vec<(String, bool, IndexCleanup)> = planned
            .proposals
            .iter()
            .map(|proposal| match &proposal.task {
                Task::Vacuum { options, .. } => (
                    proposal.task.object(),
                    options.freeze,
                    options.index_cleanup,
                ),
                other => panic!("{other:?}"),
            })
            .collect();
        let expected = [
            ("public.failsafe", IndexCleanup::Off),
            ("public.multi", IndexCleanup::Auto),
            ("public.old", IndexCleanup::Auto),
        ];
        assert_eq!(
            seen,
            expected.map(|(name, cleanup)| (name.to_owned(), true, cleanup))
        );
    }

    #[test]
    fn who_stands_in_the_way_is_named_instead_of_freezing_in_vain() {
        for (xmin_age, proposed) in [(1.7e8, 0), (1e6, 1)] {
            let mut world = World::new(15);
            aged(&mut world, "public.old", 1.8e8, 0.0);
            world.row(
                "horizon",
                &[
                    ("kind", "slot".into()),
                    ("name", "lost".into()),
                    ("xmin_age", Cell::from(xmin_age)),
                ],
            );
            let planned = plan(
                &areas(),
                &world.facts(),
                None,
                &Policy::default(),
                world.now(),
            );
            assert_eq!(planned.proposals.len(), proposed);
            let named = planned
                .left
                .iter()
                .any(|left| left.why.contains("slot \"lost\""));
            assert_eq!(named, proposed == 0);
        }
    }

    #[test]
    fn two_looks_tell_how_many_days_are_left() {
        let look = |age: f64, frozen: f64| {
            let mut world = World::new(15);
            for (name, age) in [("a", age), ("frozen", frozen)] {
                world.row(
                    "database",
                    &[("datname", name.into()), ("frozen_xid_age", age.into())],
                );
            }
            world
        };
        let older = look(1.0e9, 5e8).facts();
        let newer = look(1.0e9 + 3.6e6, 1e3).later(3600).facts();
        let found = burn(&newer, Some(&older)).unwrap();
        assert_eq!((found.per_second, found.database.as_str()), (1000.0, "a"));
        let days = found.days_left.unwrap();
        assert!((13.2..13.3).contains(&days), "{days}");
        assert!(burn(&newer, None).is_err());
    }
}
