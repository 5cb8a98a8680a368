//! Indexes that are not valid: what an interrupted CONCURRENTLY left, and what is still being built.

use pawang_core::plan::Task;
use pawang_core::{Missing, Row};

use pawang_config::Area;

use crate::scope::{Findings, Scope, named, relation};

pub(crate) const NEEDS: &[&str] = &["indexes", "progress-create-index"];

/// Plans which invalid indexes are dropped.
pub(crate) fn plan(scope: &Scope<'_>, found: &mut Findings) {
    if let Err(missing) = planned(scope, found) {
        found.left.extend(scope.missing("invalid indexes", missing));
    }
}

fn planned(scope: &Scope<'_>, found: &mut Findings) -> Result<(), Missing> {
    let building = building(scope)?;
    for row in scope.here("indexes")?.rows() {
        if row.flag("indisvalid") != Some(false) {
            continue;
        }
        let index = named(&row, "schemaname", "indexrelname", "indexrelid");
        let table = relation(&row);
        if let Some(why) = kept(scope, &row, building.contains(&table.oid)) {
            let left = match why {
                Why::Known(why) => scope.left(index.to_string(), why),
                Why::Unseen(why) => scope.unseen(index.to_string(), why),
            };
            found.left.push(left);
            continue;
        }
        let size = row.float("size_bytes").unwrap_or(0.0);
        let reason = format!(
            "{}; writers maintain it, no query uses it, and nobody is building it",
            origin(&index.name)
        );
        let mut proposal = scope.proposal(Task::DropInvalidIndex { index, table }, reason);
        proposal.evidence = row.evidence(&["relname", "indisvalid", "indisready", "size_bytes"]);
        proposal.cost.freed = Some(pawang_core::ByteSize(size as u64));
        found.want(Area::Leftovers, size, proposal);
    }
    Ok(())
}

enum Why {
    Known(&'static str),
    Unseen(&'static str),
}

/// Returns why an invalid index is no leftover, or may be none.
fn kept(scope: &Scope<'_>, row: &Row<'_>, building: bool) -> Option<Why> {
    if building || row.flag("in_progress") == Some(true) {
        return Some(Why::Known(
            "it is not valid yet: somebody builds an index of this table right now",
        ));
    }
    if row.text("relkind") == Some("I") {
        return Some(Why::Known(
            "it is the index of a partitioned table and lacks those of some partitions: ALTER INDEX ... ATTACH PARTITION",
        ));
    }
    let belongs = row.text("constraint_type").is_some() || row.flag("indisprimary") == Some(true);
    if belongs {
        return Some(Why::Known(
            "it is not valid but belongs to a constraint: REINDEX INDEX CONCURRENTLY it",
        ));
    }
    // Without pg_monitor, progress of other roles' sessions has no table: an index may seem abandoned while it is built.
    (!scope.sees_all_sessions()).then_some(Why::Unseen(
        "whether another role builds it right now cannot be seen; GRANT pg_monitor",
    ))
}

/// Returns the tables of this database of which an index is being built.
fn building(scope: &Scope<'_>) -> Result<Vec<u32>, Missing> {
    let progress = scope.server("progress-create-index")?;
    let here = progress
        .rows()
        .filter(|row| row.text("datname") == Some(scope.database));
    let tables = here.filter_map(|row| row.value("relid").to_string().parse().ok());
    Ok(tables.collect())
}

fn origin(name: &str) -> &'static str {
    let digits = name.trim_end_matches(|c: char| c.is_ascii_digit());
    if digits.ends_with("_ccnew") {
        "a REINDEX CONCURRENTLY that did not end left it"
    } else if digits.ends_with("_ccold") {
        "a REINDEX CONCURRENTLY that did not end left it after the new one took its place"
    } else {
        "a CREATE INDEX CONCURRENTLY that did not end left it"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::World;
    use crate::{Areas, Policy, plan};

    #[test]
    fn only_what_nobody_builds_and_nothing_needs_is_dropped() {
        let mut world = World::new(15);
        let index =
            |world: &mut World, name: &str, relid: i64, more: &[(&str, crate::fixture::Cell)]| {
                let mut columns = vec![
                    ("schemaname", "public".into()),
                    ("relname", "t".into()),
                    ("indexrelname", name.into()),
                    ("relid", relid.into()),
                    ("indexrelid", 9.into()),
                    ("relkind", "i".into()),
                    ("indisvalid", false.into()),
                    ("in_progress", false.into()),
                    ("size_bytes", 8192.into()),
                ];
                columns.extend_from_slice(more);
                world.row("indexes", &columns);
            };
        index(&mut world, "fine", 1, &[("indisvalid", true.into())]);
        index(&mut world, "left_ccnew1", 1, &[]);
        index(&mut world, "running", 2, &[]);
        index(
            &mut world,
            "running_too",
            1,
            &[("in_progress", true.into())],
        );
        index(&mut world, "parent", 1, &[("relkind", "I".into())]);
        index(&mut world, "key", 1, &[("constraint_type", "u".into())]);
        let progress = [
            ("datname", "sales".into()),
            ("relid", 2.into()),
            ("pid", 4.into()),
        ];
        world.row("progress-create-index", &progress);
        let areas: Areas = [Area::Leftovers].into_iter().collect();
        let facts = world.facts();
        let planned = plan(&areas, &facts, None, &Policy::default(), world.now());
        let names: Vec<String> = planned.proposals.iter().map(|p| p.task.object()).collect();
        assert_eq!(names, ["public.left_ccnew1"]);
        assert!(
            planned.proposals[0]
                .reason
                .starts_with("a REINDEX CONCURRENTLY")
        );
        assert_eq!(planned.left.len(), 4, "{:?}", planned.left);

        let mut narrow = facts;
        narrow.server.as_mut().unwrap().monitor = false;
        let planned = plan(&areas, &narrow, None, &Policy::default(), world.now());
        assert_eq!(planned.proposals, []);
        assert!(planned.left.iter().any(|left| left.blind));
    }
}
