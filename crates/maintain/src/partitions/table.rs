//! One range-partitioned table: what comes next, and what is over.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use pawang_config::Area;
use pawang_config::schedule::Schedule;
use pawang_core::plan::{Relation, Task};
use pawang_core::{ByteSize, Row};

use crate::Settings;
use crate::scope::{Findings, Scope, named};

use super::bound::{Edge, Key, KeyKind, Step, parse};
use super::name::Naming;
use super::partition;

/// So many newest partitions tell how the table goes on.
const EXAMPLES: usize = 6;
/// More are not made at once: then something else is wrong.
const MADE_MAX: usize = 60;
/// So many ranges back a detached table is recognised by its name.
const STEPS_BACK_MAX: i32 = 5_000;
/// Without a partition for now, every insert fails.
const FAILING: f64 = 1e6;

/// A range-partitioned table that can be continued.
pub(super) struct Partitioned<'a> {
    parent: Relation,
    kind: KeyKind,
    zone: TimeZone,
    step: Step,
    naming: Naming,
    /// By their begin.
    partitions: Vec<Partition<'a>>,
    default: Option<Row<'a>>,
}

struct Partition<'a> {
    row: Row<'a>,
    from: Key,
    to: Key,
}

impl<'a> Partitioned<'a> {
    /// Finds out how the table is partitioned.
    ///
    /// # Errors
    /// Why it cannot be continued.
    pub(super) fn of(
        scope: &Scope<'_>,
        parent: &Relation,
        rows: &[Row<'a>],
    ) -> Result<Partitioned<'a>, String> {
        let first = &rows[0];
        let columns = first.list("key_columns");
        if first.flag("relispartition") == Some(true) {
            return Err("it is a partition itself, and ends where that ends".to_owned());
        }
        if columns.len() > 1 {
            return Err(format!(
                "its key has {} columns ({})",
                columns.len(),
                columns.join(", ")
            ));
        }
        let type_name = first.text("key_type").unwrap_or("an expression");
        let kind = KeyKind::of(type_name)
            .ok_or_else(|| format!("a key of type {type_name} has no next value"))?;
        if rows
            .iter()
            .any(|row| row.text("partition_kind") == Some("p"))
        {
            return Err(
                "its partitions are partitioned themselves: how is not known here".to_owned(),
            );
        }
        let default = rows
            .iter()
            .find(|row| row.flag("is_default") == Some(true))
            .copied();
        let partitions = bounded(rows, kind)?;
        let newest = &partitions[partitions.len().saturating_sub(EXAMPLES)..];
        let ranges: Vec<(Key, Key)> = newest.iter().map(|part| (part.from, part.to)).collect();
        let (step, zone) = zones(scope)
            .into_iter()
            .find_map(|zone| Some((Step::detect(&ranges, &zone)?, zone)))
            .ok_or("its newest ranges are not all of one length")?;
        let names = newest
            .iter()
            .map(|part| (part.row.text("partition_name").unwrap_or(""), part.from));
        let naming = Naming::detect(&names.collect::<Vec<_>>(), step, &zone);
        Ok(Partitioned {
            naming: naming.unwrap_or_else(|| Naming::of_our_own(&parent.name, step)),
            parent: parent.clone(),
            kind,
            zone,
            step,
            partitions,
            default,
        })
    }

    fn newest(&self) -> &Partition<'a> {
        self.partitions
            .last()
            .expect("a table without bounded partitions is refused")
    }

    /// Returns the newest partition that is an ordinary table: the next ones shall be like it.
    fn like(&self) -> Option<Relation> {
        let mut newest = self.partitions.iter().rev();
        let like = newest.find(|part| part.row.text("partition_kind") == Some("r"))?;
        Some(partition(&like.row))
    }

    /// Returns the begin of what is in use: now, or for numbers the newest range that has rows.
    fn in_use(&self, scope: &Scope<'_>) -> Key {
        match self.kind {
            KeyKind::Number => {
                let used = self
                    .partitions
                    .iter()
                    .rev()
                    .find(|part| rows_of(&part.row) > 0.0);
                used.unwrap_or(&self.partitions[0]).from
            }
            KeyKind::Date | KeyKind::Civil => Key::Civil(wall(scope).to_datetime(scope.now)),
            KeyKind::Instant => Key::Instant(scope.now),
        }
    }

    /// Returns how many partitions stand ready after the one in use.
    pub(super) fn ready(&self, scope: &Scope<'_>) -> usize {
        let now = self.in_use(scope);
        self.partitions
            .iter()
            .filter(|part| part.from > now)
            .count()
    }

    /// Returns how many partitions stand ready after the newest that has rows; all of them when none has.
    pub(super) fn after_rows(&self) -> usize {
        let newest_first = self.partitions.iter().rev();
        newest_first
            .take_while(|part| rows_of(&part.row) <= 0.0)
            .count()
    }

    /// Plans the partitions that are missing ahead.
    pub(super) fn ahead(&self, scope: &Scope<'_>, found: &mut Findings, wanted: u32) {
        let now = self.in_use(scope);
        let mut ready = self.ready(scope);
        if wanted == 0 || ready >= wanted as usize {
            return;
        }
        let stood = ready;
        let name = self.parent.to_string();
        let waiting = self.default.map_or(0.0, |row| rows_of(&row));
        if waiting > 0.0 {
            let why = format!(
                "its default partition holds about {waiting:.0} rows: a new partition would be refused for those in its range, and \
                 the server would read all of them under a lock to find out; move them first"
            );
            return found.left.push(scope.left(name, why));
        }
        let mut from = self.newest().to;
        let mut made = Vec::new();
        while ready < wanted as usize {
            let next = self.step.add(from, 1, &self.zone);
            let Some((to, partition)) = next.zip(self.naming.name(from, self.step, &self.zone))
            else {
                return found
                    .left
                    .push(scope.left(name, "the name of its next partition would be too long"));
            };
            if made.len() == MADE_MAX {
                let why = format!(
                    "its newest partition ends at {}: more than {MADE_MAX} are missing until now",
                    self.kind.literal(self.newest().to)
                );
                return found.left.push(scope.left(name, why));
            }
            ready += usize::from(from > now);
            made.push((partition, from, to));
            from = to;
        }
        let late = if self.newest().to <= now {
            FAILING
        } else {
            0.0
        };
        for (index, (partition, from, to)) in made.into_iter().enumerate() {
            let reason = format!(
                "{stood} partitions of {} stand ready after the one in use and {wanted} are wanted{}",
                self.step.words(),
                if late > 0.0 {
                    "; there is none for now"
                } else {
                    ""
                }
            );
            let task = Task::CreatePartition {
                parent: self.parent.clone(),
                name: partition,
                from: self.kind.literal(from),
                to: self.kind.literal(to),
                like: self.like(),
            };
            let mut proposal = scope.proposal(task, reason);
            let newest = self.kind.literal(self.newest().to);
            proposal.evidence = vec![("newest partition ends".to_owned(), newest)];
            let like = self
                .like()
                .map(|like| ("as on".to_owned(), like.to_string()));
            proposal.evidence.extend(like);
            proposal.cost.duration = Some(Duration::from_secs(1));
            found.want(Area::Partitions, late + 1000.0 - index as f64, proposal);
        }
    }

    /// Plans which partitions are taken out of the table.
    pub(super) fn detach(&self, scope: &Scope<'_>, found: &mut Findings, settings: &Settings) {
        let Some(keep) = settings.partitions_keep else {
            return;
        };
        if self.kind == KeyKind::Number {
            let why = "its key is a number: how old a partition is cannot be told";
            return found.left.push(scope.left(self.parent.to_string(), why));
        }
        let ended = |part: &&Partition<'_>| {
            part.to
                .instant(&self.zone_of(scope))
                .is_some_and(|end| end <= scope.now)
        };
        let ended: Vec<&Partition<'_>> = self.partitions.iter().filter(ended).collect();
        let over = ended
            .len()
            .saturating_sub(settings.partitions_keep_min as usize);
        for (index, part) in ended.into_iter().take(over).enumerate() {
            let pending = part.row.flag("detach_pending") == Some(true);
            if pending || !self.is_over(scope, part.to, keep) {
                continue;
            }
            let task = Task::DetachPartition {
                parent: self.parent.clone(),
                partition: partition(&part.row),
                // The server refuses CONCURRENTLY beside a default partition.
                concurrently: self.default.is_none(),
            };
            let reason = format!(
                "its range ended at {}, and partitions are kept for {}",
                self.kind.literal(part.to),
                days(keep)
            );
            let mut proposal = scope.proposal(task, reason);
            proposal.evidence = part.row.evidence(&["bound", "reltuples", "relpages"]);
            found.want(Area::Partitions, 500.0 - index as f64 / 1000.0, proposal);
        }
    }

    /// Plans which tables that were partitions are dropped: only what the names of its ranges explain.
    pub(super) fn dropped(&self, scope: &Scope<'_>, found: &mut Findings, settings: &Settings) {
        let Some(after) = settings.partitions_drop_after else {
            return;
        };
        let rows = match scope.here("detached-partitions") {
            Ok(snapshot) => snapshot.rows(),
            Err(missing) => {
                return found
                    .left
                    .extend(scope.missing("detached partitions", missing));
            }
        };
        let mine = rows.filter(|row| row.int("relid") == Some(i64::from(self.parent.oid)));
        let mine: Vec<Row<'_>> = mine.collect();
        if mine.is_empty() {
            return;
        }
        let ends = self.ends();
        for row in mine {
            let table = named(&row, "schemaname", "detached_name", "detached_relid");
            let Some(end) = ends.get(&table.name) else {
                let why = format!(
                    "it has the columns of {}, but its name tells no range",
                    self.parent
                );
                found.left.push(scope.left(table.to_string(), why));
                continue;
            };
            if !self.is_over(scope, *end, after) {
                continue;
            }
            let reason = format!(
                "it was a partition of {} until {}, and what was taken out is kept for {}",
                self.parent,
                self.kind.literal(*end),
                days(after)
            );
            let mut proposal = scope.proposal(Task::DropTable { table }, reason);
            proposal.evidence = row.evidence(&["reltuples", "size_bytes"]);
            proposal.cost.freed = row.float("size_bytes").map(|size| ByteSize(size as u64));
            found.want(Area::Partitions, 0.0, proposal);
        }
    }

    /// Returns the end of every range before the newest, by the name that its partition would have.
    fn ends(&self) -> BTreeMap<String, Key> {
        let newest = self.newest().to;
        let ranges = (1..=STEPS_BACK_MAX).map_while(|back| {
            let from = self.step.add(newest, -back, &self.zone)?;
            let to = self.step.add(newest, 1 - back, &self.zone)?;
            Some((self.naming.name(from, self.step, &self.zone)?, to))
        });
        ranges.collect()
    }

    fn is_over(&self, scope: &Scope<'_>, end: Key, keep: Duration) -> bool {
        let end = end.instant(&self.zone_of(scope));
        let keep = SignedDuration::try_from(keep).ok();
        let until = end
            .zip(keep)
            .and_then(|(end, keep)| end.checked_add(keep).ok());
        until.is_some_and(|until: Timestamp| until <= scope.now)
    }

    fn zone_of(&self, scope: &Scope<'_>) -> TimeZone {
        match self.kind {
            KeyKind::Instant => self.zone.clone(),
            _ => wall(scope),
        }
    }
}

/// Returns the partitions with two bounds, by their begin.
fn bounded<'a>(rows: &[Row<'a>], kind: KeyKind) -> Result<Vec<Partition<'a>>, String> {
    let mut partitions = Vec::new();
    for row in rows
        .iter()
        .filter(|row| row.flag("is_default") != Some(true))
    {
        let bound = row.text("bound").unwrap_or_default();
        match parse(bound, kind) {
            Some((Edge::At(from), Edge::At(to))) => partitions.push(Partition {
                row: *row,
                from,
                to,
            }),
            Some((_, Edge::Open)) => {
                return Err(
                    "its newest partition goes up to MAXVALUE: there is nothing after it"
                        .to_owned(),
                );
            }
            Some((Edge::Open, _)) => {}
            None => return Err(format!("the bound {bound} cannot be read")),
        }
    }
    if partitions.is_empty() {
        return Err("it has no partition with two bounds to go on from".to_owned());
    }
    partitions.sort_by_key(|part| part.from);
    Ok(partitions)
}

/// Returns the zones by whose clock ranges may have been made: UTC, the server's, that of the policy's window.
fn zones(scope: &Scope<'_>) -> Vec<TimeZone> {
    let window = scope
        .policy
        .window
        .as_deref()
        .and_then(|window| Schedule::parse(window).ok());
    let mut zones = vec![TimeZone::UTC, wall(scope)];
    zones.extend(window.map(|window| window.zone().clone()));
    zones
}

/// Returns the zone of the server's clock on the wall.
fn wall(scope: &Scope<'_>) -> TimeZone {
    let name = scope.configured("TimeZone").ok().flatten();
    name.and_then(|name| TimeZone::get(name).ok())
        .unwrap_or(TimeZone::UTC)
}

fn rows_of(row: &Row<'_>) -> f64 {
    let known = row.float("reltuples").unwrap_or(0.0);
    known.max(row.float("n_live_tup").unwrap_or(0.0))
}

fn days(period: Duration) -> String {
    format!("{} days", period.as_secs() / 86_400)
}
