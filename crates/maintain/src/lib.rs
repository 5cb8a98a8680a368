//! What a server needs to stay healthy: policies and facts in, proposals out. Pure: it asks no server and changes none.

mod analyze;
mod budget;
mod cleanup;
mod coverage;
#[cfg(test)]
mod fixture;
mod horizon;
mod leftovers;
#[cfg(test)]
mod model;
mod partitions;
mod policy;
mod rebuild;
mod reindex;
mod rewrite;
mod scope;
mod statistics;
mod timescaledb;
mod tuning;
mod vacuum;
mod wraparound;

use std::collections::{BTreeSet, HashMap};

use pawang_core::plan::{Left, Proposal, Task};
use pawang_core::{Facts, Role, Timestamp};

pub use pawang_config::Area;
pub use policy::{Policy, Rule, Settings};
pub use wraparound::{Burn, burn};

use scope::{Findings, Scope, Want};

/// Subjects of maintenance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Areas(pub BTreeSet<Area>);

/// What is to be done, and what is left alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Planned {
    /// What is to be done, the most pressing first.
    pub proposals: Vec<Proposal>,
    /// What is left alone, and why.
    pub left: Vec<Left>,
}

impl Areas {
    /// Returns every subject.
    pub fn all() -> Areas {
        Area::ALL.into_iter().collect()
    }

    /// Returns what a policy looks after when it does not say.
    pub fn usual() -> Areas {
        let rare = [Area::Tuning, Area::Rewrite, Area::Cleanup];
        Area::ALL
            .into_iter()
            .filter(|area| !rare.contains(area))
            .collect()
    }

    /// Says whether a subject is among them.
    pub fn contains(&self, area: Area) -> bool {
        self.0.contains(&area)
    }

    /// Returns the collectors whose facts the planners of these subjects need.
    pub fn collectors(&self) -> BTreeSet<String> {
        let needs = self.0.iter().flat_map(|area| needs(*area));
        // Rules are matched against the tables that are there.
        needs
            .chain(&["tables", "host-filesystem"])
            .map(|name| (*name).to_owned())
            .collect()
    }
}

fn needs(area: Area) -> &'static [&'static str] {
    match area {
        Area::Wraparound => wraparound::NEEDS,
        Area::Partitions => partitions::NEEDS,
        Area::Leftovers => leftovers::NEEDS,
        Area::Vacuum => vacuum::NEEDS,
        Area::Analyze => analyze::NEEDS,
        Area::Statistics => statistics::NEEDS,
        Area::Tuning => tuning::NEEDS,
        Area::Cleanup => cleanup::NEEDS,
        Area::Reindex => reindex::NEEDS,
        Area::Rewrite => rewrite::NEEDS,
    }
}

/// Plans what is to be done on one instance, the most pressing first.
///
/// What could not be seen is among what is left, and says so; so does what the policy names and nothing matches, and what
/// does not fit into its budget.
pub fn plan(
    areas: &Areas,
    facts: &Facts,
    older: Option<&Facts>,
    policy: &Policy,
    now: Timestamp,
) -> Planned {
    if let Some(left) = hopeless(facts) {
        return Planned {
            proposals: Vec::new(),
            left: vec![left],
        };
    }
    let mut found = Findings::default();
    let covered = facts.databases.iter().filter(|name| policy.covers(name));
    for database in covered {
        let scope = Scope {
            facts,
            older,
            policy,
            now,
            database,
        };
        for area in &areas.0 {
            look(*area, &scope, &mut found);
        }
    }
    if areas.contains(Area::Cleanup) {
        cleanup::plan(facts, policy, now, &mut found);
    }
    coverage::unmatched(facts, policy, &mut found);
    let Findings { wants, mut left } = found;
    let wants = merged(ordered(wants));
    let proposals = budget::fit(wants, policy, &mut left);
    left.dedup();
    Planned { proposals, left }
}

fn look(area: Area, scope: &Scope<'_>, found: &mut Findings) {
    match area {
        Area::Wraparound => wraparound::plan(scope, found),
        Area::Partitions => {
            partitions::plan(scope, found);
            timescaledb::plan(scope, found);
        }
        Area::Leftovers => leftovers::plan(scope, found),
        Area::Vacuum => vacuum::plan(scope, found),
        Area::Analyze => analyze::plan(scope, found),
        Area::Statistics => statistics::plan(scope, found),
        Area::Tuning => tuning::plan(scope, found),
        Area::Reindex => rebuild::indexes(scope, found),
        Area::Rewrite => rebuild::tables(scope, found),
        // Files belong to the whole server.
        Area::Cleanup => {}
    }
}

/// Returns why nothing can be planned at all.
fn hopeless(facts: &Facts) -> Option<Left> {
    let left = |why: String, blind| Left {
        database: String::new(),
        object: facts.instance.name.clone(),
        why,
        blind,
    };
    match &facts.server {
        Err(blind) => Some(left(
            format!("{}; {}", blind.sentence(), blind.remedy()),
            true,
        )),
        Ok(server) if server.role == Role::Standby => Some(left(
            "it is a standby: what is done on its primary comes here by itself".to_owned(),
            false,
        )),
        Ok(_) => None,
    }
}

/// The most pressing subject first, in it the most urgent; names decide among equals, so that a plan is always the same.
fn ordered(mut wants: Vec<Want>) -> Vec<Want> {
    wants.sort_by(|a, b| {
        let by_urgency = b.urgency.total_cmp(&a.urgency);
        a.area.cmp(&b.area).then(by_urgency).then_with(|| {
            let key = |want: &Want| (want.proposal.database.clone(), want.proposal.task.object());
            key(a).cmp(&key(b))
        })
    });
    wants
}

/// Makes one of several wishes for one table: a vacuum that freezes does for one that does not, and it can analyze too.
fn merged(wants: Vec<Want>) -> Vec<Want> {
    let mut kept: Vec<Want> = Vec::new();
    let mut by_table: HashMap<(String, u32), Vec<usize>> = HashMap::new();
    for want in wants {
        let Some(table) = want.proposal.task.table() else {
            kept.push(want);
            continue;
        };
        let places = by_table
            .entry((want.proposal.database.clone(), table.oid))
            .or_default();
        match places.iter().find(|place| absorbs(&kept[**place], &want)) {
            Some(place) => absorb(&mut kept[*place], want),
            None => {
                places.push(kept.len());
                kept.push(want);
            }
        }
    }
    kept
}

fn absorb(one: &mut Want, want: Want) {
    if let Task::Vacuum { options, .. } = &mut one.proposal.task {
        match &want.proposal.task {
            Task::Vacuum { options: more, .. } => options.analyze |= more.analyze,
            _ => options.analyze = true,
        }
    }
    if one.proposal.reason != want.proposal.reason {
        one.proposal.reason = format!("{}; {}", one.proposal.reason, want.proposal.reason);
    }
    let known: BTreeSet<String> = one
        .proposal
        .evidence
        .iter()
        .map(|(name, _)| name.clone())
        .collect();
    let more = want.proposal.evidence.into_iter();
    one.proposal
        .evidence
        .extend(more.filter(|(name, _)| !known.contains(name)));
}

/// Statistics that were just made exact are taken after that: an earlier ANALYZE does not do for it.
fn absorbs(one: &Want, other: &Want) -> bool {
    if other.area == Area::Statistics && one.area != Area::Statistics {
        return false;
    }
    match (&one.proposal.task, &other.proposal.task) {
        (Task::Vacuum { table, .. }, Task::Vacuum { table: same, .. }) => table == same,
        (Task::Vacuum { table, .. }, Task::Analyze { table: same, .. }) => table == same,
        (
            Task::Analyze { table, columns, .. },
            Task::Analyze {
                table: same,
                columns: fewer,
                ..
            },
        ) => table == same && (columns.is_empty() || columns == fewer),
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use pawang_core::Blind;

    use super::*;
    use crate::fixture::World;

    #[test]
    fn one_visit_serves_several_wishes_but_never_before_what_it_waits_for() {
        let want = |area, urgency, task| Want {
            area,
            urgency,
            proposal: Proposal {
                database: "sales".to_owned(),
                task,
                reason: format!("{area:?}"),
                evidence: Vec::new(),
                cost: pawang_core::plan::Cost::default(),
            },
        };
        let table = pawang_core::plan::Relation {
            oid: 1,
            schema: "public".to_owned(),
            name: "t".to_owned(),
        };
        let vacuum = |freeze| Task::Vacuum {
            table: table.clone(),
            options: pawang_core::plan::VacuumOptions {
                freeze,
                ..Default::default()
            },
        };
        let analyze = |columns: &[&str]| Task::Analyze {
            table: table.clone(),
            columns: columns.iter().map(|name| (*name).to_owned()).collect(),
            pace: Default::default(),
        };
        let target = Task::SetStatisticsTarget {
            table: table.clone(),
            column: "a".to_owned(),
            target: 500,
        };
        let wants = vec![
            want(Area::Statistics, 0.0, analyze(&["a"])),
            want(Area::Statistics, 1.0, target),
            want(Area::Analyze, 1.0, analyze(&[])),
            want(Area::Vacuum, 1.0, vacuum(false)),
            want(Area::Wraparound, 1.0, vacuum(true)),
        ];
        let kept = merged(ordered(wants));
        let names: Vec<&str> = kept.iter().map(|want| want.proposal.task.name()).collect();
        assert_eq!(names, ["vacuum", "set-statistics-target", "analyze"]);
        let Task::Vacuum { options, .. } = &kept[0].proposal.task else {
            panic!("{kept:?}")
        };
        assert!(options.freeze && options.analyze);
        assert_eq!(kept[0].proposal.reason, "Wraparound; Vacuum; Analyze");
    }

    #[test]
    fn a_server_that_cannot_be_asked_is_blind_and_a_standby_is_not() {
        let world = World::new(15);
        let mut facts = world.facts();
        let policy = Policy::default();
        if let Ok(server) = &mut facts.server {
            server.role = Role::Standby;
        }
        let planned = plan(&Areas::all(), &facts, None, &policy, world.now());
        assert!(planned.proposals.is_empty() && !planned.left[0].blind);
        facts.server = Err(Blind::Failed {
            what: "it is down".to_owned(),
        });
        let planned = plan(&Areas::all(), &facts, None, &policy, world.now());
        assert!(planned.proposals.is_empty() && planned.left[0].blind);
    }
}
