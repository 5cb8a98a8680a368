//! What was done needs not be done again: `plan(apply(plan))` is empty on a model of a server, whatever its tables are like.

use pawang_config::Area;
use pawang_core::Value;
use pawang_core::plan::{Proposal, Relation, Task};
use proptest::prelude::*;

use crate::fixture::{Cell, World, ago};
use crate::{Areas, Policy, plan};

/// A table as a test draws it: rows, dead, inserted, changed, whether it was ever analyzed.
type Drawn = (u32, u32, u32, u32, bool);

fn world(tables: &[Drawn]) -> World {
    let mut world = World::new(18);
    for (index, (rows, dead, inserted, changed, analyzed)) in tables.iter().enumerate() {
        let last = if *analyzed {
            Cell::from(ago(60))
        } else {
            Cell(Value::Null)
        };
        world.table(
            &format!("public.t{index}"),
            &[
                ("reltuples", f64::from(*rows).into()),
                ("n_live_tup", f64::from(*rows).into()),
                ("n_dead_tup", f64::from(*dead).into()),
                ("n_ins_since_vacuum", f64::from(*inserted).into()),
                ("n_mod_since_analyze", f64::from(*changed).into()),
                ("last_analyze", last),
            ],
        );
    }
    world
}

/// Does to the model what VACUUM and ANALYZE do to the counters of a server.
fn apply(world: &mut World, proposals: &[Proposal]) {
    for proposal in proposals {
        let named = |table: &Relation| table.to_string();
        let (table, vacuum, analyze) = match &proposal.task {
            Task::Vacuum { table, options } => (named(table), true, options.analyze),
            Task::Analyze { table, .. } => (named(table), false, true),
            other => panic!("{other:?}"),
        };
        if vacuum {
            world.change(
                &table,
                &[("n_dead_tup", 0.into()), ("n_ins_since_vacuum", 0.into())],
            );
        }
        if analyze {
            let done = [
                ("n_mod_since_analyze", 0.into()),
                ("last_analyze", world.now().into()),
            ];
            world.change(&table, &done);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_done_is_not_planned_again(
        tables in prop::collection::vec((0_u32..10_000_000, 0_u32..5_000_000, 0_u32..5_000_000, 0_u32..5_000_000, any::<bool>()), 0..12),
        dead_percent in 1.0..100.0,
    ) {
        let mut world = world(&tables);
        let mut policy = Policy::default();
        policy.base.dead_percent = dead_percent;
        let areas: Areas = [Area::Vacuum, Area::Analyze].into_iter().collect();
        let planned = plan(&areas, &world.facts(), None, &policy, world.now());
        let again = plan(&areas, &world.facts(), None, &policy, world.now());
        prop_assert_eq!(&planned, &again, "the same facts make the same plan");
        let mut names: Vec<String> = planned.proposals.iter().map(|p| p.task.object()).collect();
        names.sort();
        names.dedup();
        prop_assert_eq!(names.len(), planned.proposals.len(), "a table is worked on once");
        apply(&mut world, &planned.proposals);
        let after = plan(&areas, &world.facts(), None, &policy, world.now());
        prop_assert_eq!(after.proposals, vec![]);
    }
}
