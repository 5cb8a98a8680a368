//! Rules about reading tables and indexes.

use pawang_core::Level;

use super::view::{BLOCK, Step, View, count, expression, kilobytes, milliseconds, real};
use super::{Found, Rule, at_least};
use crate::plan::node::Node;

/// Rows thrown away below which a filter does not matter.
const ROWS: f64 = 10_000.0;
/// Share of rows read that a scan must throw away to be called waste.
const WASTE: f64 = 0.9;
/// Share of the statement's time below which a scan does not matter.
const SHARE: f64 = 0.05;
/// Share of the rows of an Index Only Scan that may be looked up in the table.
const FETCHES: f64 = 0.1;
/// Lookups in the table below which they do not matter.
const FETCHED: f64 = 1_000.0;
/// Lossy blocks below which they do not matter.
const LOSSY: f64 = 1_000.0;
/// Kilobytes read from disk below which they do not matter.
const READ: f64 = 65_536.0;
/// Share of all blocks that came from disk.
const COLD: f64 = 0.5;
/// Rows that one bitmap has more than what remains of both.
const BITMAP: f64 = 5.0;
/// Partitions scanned that make one look for pruning.
const PARTITIONS: usize = 12;

pub(super) fn rules() -> Vec<Rule> {
    let mut rules = filters();
    rules.extend(others());
    rules
}

fn filters() -> Vec<Rule> {
    vec![
        Rule {
            id: "seq-scan-filter",
            level: Level::Warning,
            what: "A sequential scan throws away at least nine of ten rows that it reads.",
            why: "The whole table is read for few rows; an index would read those alone.",
            fix: "CREATE INDEX CONCURRENTLY on the columns of the filter, a partial one where the condition is fixed.",
            thresholds: const {
                &[
                    at_least("removed", ROWS, "rows"),
                    at_least("share", WASTE * 100.0, "% of rows"),
                    at_least("time", SHARE * 100.0, "% of the time"),
                ]
            },
            analyze: true,
            look: seq_scan_filter,
        },
        Rule {
            id: "index-filter",
            level: Level::Warning,
            what: "An index finds many rows that a filter then throws away.",
            why: "Each of them is fetched from the table for nothing.",
            fix: "Add the column of the filter to the index, behind the columns of its condition.",
            thresholds: const {
                &[
                    at_least("removed", ROWS, "rows"),
                    at_least("share", WASTE * 100.0, "% of rows"),
                    at_least("time", SHARE * 100.0, "% of the time"),
                ]
            },
            analyze: true,
            look: index_filter,
        },
        Rule {
            id: "foreign-scan-filter",
            level: Level::Warning,
            what: "A foreign table sends many rows that are thrown away here.",
            why: "The condition is not sent to the other server: all rows travel for few.",
            fix: "Use conditions that the wrapper can send (built-in, immutable operators); set extensions and use_remote_estimate of the server.",
            thresholds: const {
                &[
                    at_least("removed", ROWS, "rows"),
                    at_least("share", 50.0, "% of rows"),
                ]
            },
            analyze: true,
            look: foreign_filter,
        },
        Rule {
            id: "bitmap-and",
            level: Level::Info,
            what: "Two bitmaps are made to be cut with each other, and one has far more rows than what remains.",
            why: "Most of the large bitmap is made for nothing; one index on both columns finds the rows at once.",
            fix: "CREATE INDEX CONCURRENTLY on both columns, the more selective first.",
            thresholds: const {
                &[
                    at_least("rows", ROWS, "rows"),
                    at_least("factor", BITMAP, "times"),
                ]
            },
            analyze: true,
            look: bitmap_and,
        },
    ]
}

fn others() -> Vec<Rule> {
    vec![
        Rule {
            id: "partitions-not-pruned",
            level: Level::Info,
            what: "Many partitions of a table are scanned.",
            why: "Each partition is locked, planned and opened; without a condition on the key none can be left out.",
            fix: "Add a condition on the partition key that can be compared with constants or parameters.",
            thresholds: const { &[at_least("partitions", 12.0, "partitions")] },
            analyze: false,
            look: partitions,
        },
        Rule {
            id: "heap-fetches",
            level: Level::Warning,
            what: "An Index Only Scan looks up many of its rows in the table.",
            why: "The visibility map does not know those blocks as visible to all; the scan is a plain Index Scan then.",
            fix: "VACUUM the table; make autovacuum come sooner (autovacuum_vacuum_scale_factor, autovacuum_vacuum_insert_scale_factor).",
            thresholds: const {
                &[
                    at_least("fetches", FETCHED, "rows"),
                    at_least("share", FETCHES * 100.0, "% of rows"),
                ]
            },
            analyze: true,
            look: heap_fetches,
        },
        Rule {
            id: "lossy-bitmap",
            level: Level::Warning,
            what: "A bitmap did not fit into work_mem and tells blocks instead of rows.",
            why: "Every row of these blocks is read and checked again.",
            fix: "Raise work_mem for this statement.",
            thresholds: const { &[at_least("blocks", LOSSY, "blocks")] },
            analyze: true,
            look: lossy,
        },
        Rule {
            id: "cold-reads",
            level: Level::Info,
            what: "Most of the blocks came from outside of shared buffers.",
            why: "The second run may be many times faster; the first one is what users feel after a restart or for rare data.",
            fix: "Read fewer blocks (index, partitions); raise shared_buffers when the working set is larger; pg_prewarm after restarts.",
            thresholds: const {
                &[
                    at_least("read", READ, "kB"),
                    at_least("share", COLD * 100.0, "% of blocks"),
                ]
            },
            analyze: true,
            look: cold,
        },
    ]
}

/// Returns the rows that a filter threw away, those that it left, and the share.
fn waste(step: &Step<'_>, removed: f64) -> Option<(f64, f64, f64)> {
    let loops = step.node.loops();
    let removed = removed * loops;
    let kept = step.node.rows();
    let share = removed / (removed + kept);
    (removed >= ROWS && share >= WASTE).then_some((removed, kept, share))
}

/// Adds a finding where a filter throws away most rows.
fn filtered(
    view: &View<'_>,
    found: &mut Found<'_>,
    step: &Step<'_>,
    remedy: &dyn Fn(&Node) -> String,
) {
    let Some((removed, kept, share)) = waste(step, step.node.removed.filter) else {
        return;
    };
    if !view.matters(step.spent.exclusive, SHARE) {
        return;
    }
    let title = format!(
        "the filter throws away {} rows and leaves {} ({:.1} % waste)",
        count(removed),
        count(kept),
        share * 100.0
    );
    found.add(removed, step.node.title(), title, remedy(step.node));
}

fn seq_scan_filter(view: &View<'_>, found: &mut Found<'_>) {
    for step in view.of_kind("Seq Scan") {
        filtered(view, found, &step, &|node| {
            let relation = node.relation.as_deref().unwrap_or("the table");
            format!(
                "CREATE INDEX CONCURRENTLY on {relation} for {}",
                expression(node, "Filter", "its filter")
            )
        });
    }
}

fn index_filter(view: &View<'_>, found: &mut Found<'_>) {
    for step in view.steps() {
        if matches!(
            step.node.kind.as_str(),
            "Index Scan" | "Index Only Scan" | "Bitmap Heap Scan"
        ) {
            filtered(view, found, &step, &|node| {
                let index = node.index.as_deref().unwrap_or("the index");
                format!(
                    "an index with the columns of {index} and then those of {}",
                    expression(node, "Filter", "the filter")
                )
            });
        }
    }
}

fn foreign_filter(view: &View<'_>, found: &mut Found<'_>) {
    const SHARE: f64 = 0.5;
    for step in view.of_kind("Foreign Scan") {
        let removed = step.node.removed.filter * step.node.loops();
        let kept = step.node.rows();
        if removed >= ROWS && removed >= (removed + kept) * SHARE {
            let title = format!(
                "{} rows were sent, of which {} were thrown away here",
                count(removed + kept),
                count(removed)
            );
            let remedy = format!(
                "make the other server filter: {}",
                expression(step.node, "Filter", "its filter")
            );
            found.add(removed, step.node.title(), title, remedy);
        }
    }
}

fn bitmap_and(view: &View<'_>, found: &mut Found<'_>) {
    for step in view.of_kind("BitmapAnd") {
        let rows = view
            .inputs(&step)
            .map(|input| input.node.rows())
            .fold(0.0, f64::max);
        let Some(scan) = view.parent(&step) else {
            continue;
        };
        let kept = scan.node.rows() + scan.node.removed.filter * scan.node.loops();
        if rows >= ROWS && rows >= kept.max(1.0) * BITMAP {
            let title = format!(
                "one bitmap has {} rows, of which {} remain",
                count(rows),
                count(kept)
            );
            let remedy = format!(
                "one index on the columns of {}",
                expression(scan.node, "Recheck Cond", "both conditions")
            );
            found.add(rows, scan.node.title(), title, remedy);
        }
    }
}

fn partitions(view: &View<'_>, found: &mut Found<'_>) {
    for step in view.steps() {
        let append = matches!(step.node.kind.as_str(), "Append" | "Merge Append");
        let relation =
            |step: &Step<'_>| view.below(step).find_map(|step| step.node.relation.clone());
        let scanned: Vec<String> = view
            .inputs(&step)
            .filter(|input| input.node.loops() > 0.0 || !view.plan.analyzed())
            .filter_map(|input| relation(&input))
            .collect();
        let stem = |name: &str| {
            name.trim_end_matches(|last: char| {
                last.is_ascii_digit() || matches!(last, '_' | 'p' | 'y' | 'm' | 'w')
            })
            .to_owned()
        };
        let alike = scanned
            .first()
            .is_some_and(|first| scanned.iter().all(|name| stem(name) == stem(first)));
        if append && alike && scanned.len() >= PARTITIONS && step.node.subplans_removed == 0 {
            let title = format!(
                "{} partitions are scanned, from {} to {}",
                scanned.len(),
                scanned[0],
                scanned[scanned.len() - 1]
            );
            let remedy =
                "add a condition on the partition key, without a function or cast around it"
                    .to_owned();
            found.add(real(scanned.len() as u64), step.node.title(), title, remedy);
        }
    }
}

fn heap_fetches(view: &View<'_>, found: &mut Found<'_>) {
    for step in view.of_kind("Index Only Scan") {
        // The count is of all loops, the rows are of each.
        let fetches = step.node.heap_fetches.unwrap_or_default();
        let rows = step.node.rows() + step.node.removed.filter * step.node.loops();
        if fetches >= FETCHED && fetches >= rows * FETCHES {
            let title = format!(
                "{} of {} rows were looked up in the table",
                count(fetches),
                count(rows.max(fetches))
            );
            let relation = step.node.relation.as_deref().unwrap_or_default();
            found.add(
                fetches,
                step.node.title(),
                title,
                format!("VACUUM {relation}"),
            );
        }
    }
}

fn lossy(view: &View<'_>, found: &mut Found<'_>) {
    for step in view.of_kind("Bitmap Heap Scan") {
        let lossy = real(step.node.lossy_blocks);
        if lossy >= LOSSY {
            let recheck = step.node.removed.recheck * step.node.loops();
            let title = format!(
                "{} lossy and {} exact blocks; {} rows were checked for nothing",
                count(lossy),
                count(real(step.node.exact_blocks)),
                count(recheck)
            );
            // A page of a bitmap takes some 50 bytes of memory in the hash of tidbitmap.c.
            let needed = (lossy + real(step.node.exact_blocks)) * 100.0 / 1024.0;
            let remedy = format!(
                "SET work_mem = '{}' for this statement",
                super::view::work_mem(needed)
            );
            found.add(lossy, step.node.title(), title, remedy);
        }
    }
}

fn cold(view: &View<'_>, found: &mut Found<'_>) {
    let buffers = view.plan.root.buffers;
    let read = real(buffers.shared_read + buffers.local_read);
    let hit = real(buffers.shared_hit + buffers.local_hit);
    let size = read * BLOCK / 1024.0;
    if size < READ || read < (read + hit) * COLD {
        return;
    }
    let worst = view
        .steps()
        .max_by_key(|step| view.own_blocks(step, |node| node.buffers.shared_read));
    let node = worst.map_or_else(String::new, |step| step.node.title());
    let waited = if buffers.read_time > 0.0 {
        format!(", waiting {}", milliseconds(buffers.read_time))
    } else {
        String::new()
    };
    let title = format!(
        "{} read, {:.0} % of all blocks{waited}",
        kilobytes(size),
        read / (read + hit) * 100.0
    );
    found.add(
        size,
        node,
        title,
        "read fewer blocks, or run it again to see it warm".to_owned(),
    );
}
