//! Rules about memory and the files that replace it.

use pawang_core::Level;

use super::view::{BLOCK, Step, View, expression, kilobytes, milliseconds, real, work_mem};
use super::{Found, Rule, at_least};
use crate::plan::node::HashTable;

/// Kilobytes of files below which a spill does not matter.
const SPILL: f64 = 1_024.0;
/// How much more memory than file the same rows take when they are sorted in memory.
const SORT_GROWTH: f64 = 2.5;
/// Kilobytes of temporary files that one statement may write.
const TEMP: f64 = 65_536.0;
/// Share of lookups that may throw out a key.
const EVICTIONS: f64 = 0.2;
/// Lookups below which a cache does not matter.
const LOOKUPS: f64 = 1_000.0;

const fn spill() -> super::Threshold {
    at_least("files", SPILL, "kB")
}

pub(super) fn rules() -> Vec<Rule> {
    vec![
        Rule {
            id: "sort-spill",
            level: Level::Warning,
            what: "A sort did not fit into work_mem and went through files.",
            why: "Writing, reading and merging files is several times slower than sorting in memory.",
            fix: "Raise work_mem for this statement or role to what the finding says; or let an index return the rows in order.",
            thresholds: const { &[spill()] },
            analyze: true,
            look: sort_spill,
        },
        Rule {
            id: "hash-batches",
            level: Level::Warning,
            what: "The hash table of a join was split into several batches.",
            why: "All batches but the first, of both inputs, are written to files and read again.",
            fix: "Raise work_mem or hash_mem_multiplier for this statement to what the finding says; or hash fewer rows and columns.",
            thresholds: const { &[spill()] },
            analyze: true,
            look: hash_batches,
        },
        Rule {
            id: "hash-aggregate-spill",
            level: Level::Warning,
            what: "A hashed aggregate kept its groups partly in files.",
            why: "Rows of groups that do not fit are written out and read again, sometimes more than once.",
            fix: "Raise work_mem or hash_mem_multiplier for this statement; correct the estimate of groups (CREATE STATISTICS ndistinct).",
            thresholds: const { &[spill()] },
            analyze: true,
            look: aggregate_spill,
        },
        Rule {
            id: "temp-io",
            level: Level::Warning,
            what: "The statement wrote many temporary files in all.",
            why: "Temporary files compete with the data for the disk, and may fill it.",
            fix: "Find the node that spills; set temp_file_limit so that one statement cannot fill the disk.",
            thresholds: const { &[at_least("files", TEMP, "kB")] },
            analyze: true,
            look: temp_io,
        },
        Rule {
            id: "memoize-evictions",
            level: Level::Info,
            what: "The cache of a Memoize threw out many keys, or had no room for some.",
            why: "A key that was thrown out is looked up again: the cache costs and does not save.",
            fix: "Raise work_mem or hash_mem_multiplier for this statement; or SET enable_memoize = off when the keys are mostly different.",
            thresholds: const {
                &[
                    at_least("evictions", EVICTIONS * 100.0, "% of lookups"),
                    at_least("lookups", LOOKUPS, "lookups"),
                ]
            },
            analyze: true,
            look: memoize,
        },
        Rule {
            id: "storage-spill",
            level: Level::Warning,
            what: "A CTE, a window, a Materialize or a recursive query kept its rows in files.",
            why: "They are written once and read, perhaps many times, from files.",
            fix: "Raise work_mem for this statement; or write the CTE NOT MATERIALIZED.",
            thresholds: const { &[spill()] },
            analyze: true,
            look: storage,
        },
    ]
}

fn sort_spill(view: &View<'_>, found: &mut Found<'_>) {
    for step in view.steps() {
        let node = step.node;
        let workers = node
            .workers
            .iter()
            .filter_map(|worker| worker.sort.as_ref());
        let sorts = node.sort.iter().chain(workers).filter(|sort| sort.disk);
        let spaces: Vec<f64> = sorts
            .map(|sort| real(sort.space))
            .chain(node.sort_groups.iter().map(|groups| real(groups.disk)))
            .collect();
        let most = spaces.iter().copied().fold(0.0, f64::max);
        if most < SPILL {
            continue;
        }
        let parts = if spaces.len() > 1 {
            " in the largest of its processes or groups"
        } else {
            ""
        };
        let title = format!("sorted through {} of files{parts}", kilobytes(most));
        let key = expression(node, "Sort Key", "its keys");
        let remedy = format!(
            "SET work_mem = '{}' for this statement; or an index on ({key})",
            work_mem(most * SORT_GROWTH)
        );
        found.add(most, node.title(), title, remedy);
    }
}

/// Returns the hash tables of a node and its workers.
fn tables<'a>(step: &'a Step<'_>) -> impl Iterator<Item = &'a HashTable> {
    step.node.hash.iter().chain(
        step.node
            .workers
            .iter()
            .filter_map(|worker| worker.hash.as_ref()),
    )
}

fn hash_batches(view: &View<'_>, found: &mut Found<'_>) {
    for step in view.of_kind("Hash") {
        let Some(table) = tables(&step)
            .filter(|table| table.batches > 1)
            .max_by_key(|table| table.batches)
        else {
            continue;
        };
        let needed = real(table.memory) * real(table.batches);
        if needed < SPILL {
            continue;
        }
        let grown = if table.original_batches < table.batches {
            format!(
                " (originally {}: more rows than estimated)",
                table.original_batches
            )
        } else {
            String::new()
        };
        let title = format!(
            "{} batches{grown} of {} each",
            table.batches,
            kilobytes(real(table.memory))
        );
        // hash_mem_multiplier is 2 since PostgreSQL 15; it can only make the advice too generous.
        let remedy = format!(
            "SET work_mem = '{}' for this statement, or half of it where hash_mem_multiplier is 2",
            work_mem(needed)
        );
        found.add(needed, step.node.title(), title, remedy);
    }
}

fn aggregate_spill(view: &View<'_>, found: &mut Found<'_>) {
    for step in view.of_kind("Aggregate") {
        let most = tables(&step).max_by_key(|table| table.disk);
        let Some(table) = most.filter(|table| real(table.disk) >= SPILL) else {
            continue;
        };
        let title = format!(
            "{} of files in {} batches",
            kilobytes(real(table.disk)),
            table.batches
        );
        // What was written is rows, not groups: that much memory is surely enough.
        let remedy = format!(
            "SET work_mem = '{}' for this statement; check the estimate of its groups",
            work_mem(real(table.disk + table.memory))
        );
        found.add(real(table.disk), step.node.title(), title, remedy);
    }
}

fn temp_io(view: &View<'_>, found: &mut Found<'_>) {
    let root = &view.plan.root;
    let written = real(root.buffers.temp_written) * BLOCK / 1024.0;
    if written < TEMP {
        return;
    }
    let worst = view
        .steps()
        .max_by_key(|step| view.own_blocks(step, |node| node.buffers.temp_written));
    let node = worst.map_or_else(|| root.title(), |step| step.node.title());
    let read = kilobytes(real(root.buffers.temp_read) * BLOCK / 1024.0);
    let waited = root.buffers.temp_read_time + root.buffers.temp_write_time;
    let waited = if waited > 0.0 {
        format!(", waiting {} for them", milliseconds(waited))
    } else {
        String::new()
    };
    let title = format!(
        "{} of temporary files written and {read} read{waited}",
        kilobytes(written)
    );
    found.add(
        written,
        node,
        title,
        "raise work_mem for this statement; set temp_file_limit as a guard".to_owned(),
    );
}

fn memoize(view: &View<'_>, found: &mut Found<'_>) {
    for step in view.of_kind("Memoize") {
        let workers = step.node.workers.iter().filter_map(|worker| worker.cache);
        for cache in step.node.cache.into_iter().chain(workers) {
            let lookups = real(cache.hits + cache.misses);
            let lost = real(cache.evictions + cache.overflows);
            if lookups < LOOKUPS || lost < lookups * EVICTIONS {
                continue;
            }
            let hits = real(cache.hits) / lookups * 100.0;
            let title = format!(
                "{lost:.0} of {lookups:.0} lookups threw out a key; {hits:.0} % found theirs in {}",
                kilobytes(real(cache.memory))
            );
            let remedy = format!(
                "SET work_mem = '{}' for this statement, or SET enable_memoize = off",
                work_mem(real(cache.memory) * 4.0)
            );
            found.add(lost, step.node.title(), title, remedy);
        }
    }
}

fn storage(view: &View<'_>, found: &mut Found<'_>) {
    for step in view.steps() {
        if let Some((place, size)) = &step.node.storage
            && place == "Disk"
            && real(*size) >= SPILL
        {
            let title = format!("kept {} of rows in files", kilobytes(real(*size)));
            let remedy = format!(
                "SET work_mem = '{}' for this statement",
                work_mem(real(*size) * SORT_GROWTH)
            );
            found.add(real(*size), step.node.title(), title, remedy);
        }
    }
}
