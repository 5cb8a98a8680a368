//! From a task to the statements that do it, and to those that look before and afterwards.
//!
//! Everything here is pure: it makes texts. Only the engine sends them.

mod backend;
mod copy;
mod extension;
mod file;
mod index;
mod partition;
mod rewrite;
mod table;
mod vacuum;

use std::collections::BTreeMap;

use pawang_core::plan::{Relation, RewriteMethod, Task};

pub use copy::COPY_RIGHT;
pub(crate) use copy::{CHANGED, feeds};
pub(crate) use file::{delete, describe};
pub(crate) use index::{SIBLINGS, leftovers};
pub(crate) use partition::default_rows;

/// Facts of an object, or numbers, by name.
pub(crate) type Facts = BTreeMap<String, String>;

/// How a task is done, in texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recipe {
    /// The statements, in order.
    pub sql: Vec<String>,
    /// What must hold afterwards, in words.
    pub verify: String,
    /// How to take it back, or what mitigates it.
    pub undo: String,
}

/// How it is known that a task was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// A query whose single value is true when it is as wanted; before the task it says whether the task is needless.
    Holds(String),
    /// A query of the same kind that says nothing before the task.
    Became(String),
    /// A counter among the numbers is higher than before.
    Grew(&'static str),
    /// One of the numbers is another one than before.
    Changed(&'static str),
    /// The statement's own success is all there is.
    Success,
}

/// What a task needs to be looked at; each query returns one row of named texts, or none when the object is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    /// What must be the same at apply as when the plan was made; nothing when not set.
    pub facts: Option<String>,
    /// Sizes and other numbers that people compare before and after.
    pub numbers: Option<String>,
    /// How it is known that it was done.
    pub proof: Proof,
    /// Returns `may` (whether the role may do it) and `grant` (the statement that would let it).
    pub privilege: Option<String>,
}

/// Returns the statements of a task, or why it is refused on servers of this version.
pub(crate) fn recipe(task: &Task, version: u32) -> Result<Recipe, String> {
    match task {
        Task::Vacuum { .. } | Task::Analyze { .. } => Ok(vacuum::recipe(task, version)),
        Task::Reindex { .. } | Task::DropInvalidIndex { .. } | Task::SummarizeBrin { .. } => {
            index::recipe(task, version)
        }
        Task::Rewrite { table, method } => rewrite::recipe(table, *method, version),
        Task::CreatePartition { .. }
        | Task::DetachPartition { .. }
        | Task::FinalizeDetach { .. } => Ok(partition::recipe(task)),
        Task::DropTable { .. }
        | Task::SetStorageParameters { .. }
        | Task::SetStatisticsTarget { .. }
        | Task::CreateStatistics { .. } => table::recipe(task),
        Task::PartmanMaintenance { .. }
        | Task::CompressChunk { .. }
        | Task::DropChunks { .. }
        | Task::RunJob { .. } => Ok(extension::recipe(task)),
        Task::CopyTables { .. } | Task::MergeRows { .. } => copy::recipe(task),
        Task::DeleteFile { path, .. } => Ok(file::recipe(path)),
        Task::CancelBackend { .. } | Task::TerminateBackend { .. } => Ok(backend::recipe(task)),
    }
}

/// Returns how a task's object is looked at.
pub(crate) fn probe(task: &Task, version: u32) -> Probe {
    match task {
        Task::Vacuum { .. } | Task::Analyze { .. } => vacuum::probe(task, version),
        Task::Reindex { .. } | Task::DropInvalidIndex { .. } | Task::SummarizeBrin { .. } => {
            index::probe(task, version)
        }
        Task::Rewrite { table, method } => rewrite::probe(table, *method),
        Task::CreatePartition { .. }
        | Task::DetachPartition { .. }
        | Task::FinalizeDetach { .. } => partition::probe(task),
        Task::DropTable { .. }
        | Task::SetStorageParameters { .. }
        | Task::SetStatisticsTarget { .. }
        | Task::CreateStatistics { .. } => table::probe(task),
        Task::PartmanMaintenance { .. }
        | Task::CompressChunk { .. }
        | Task::DropChunks { .. }
        | Task::RunJob { .. } => extension::probe(task),
        Task::CopyTables { .. } | Task::MergeRows { .. } => copy::probe(task),
        Task::DeleteFile { .. } => Probe {
            facts: None,
            numbers: None,
            proof: Proof::Success,
            privilege: None,
        },
        Task::CancelBackend { .. } | Task::TerminateBackend { .. } => backend::probe(task),
    }
}

/// Returns why an object with these facts must not be treated so.
pub(crate) fn refusal(task: &Task, facts: &Facts) -> Option<String> {
    let fact = |name: &str| facts.get(name).map_or("", String::as_str);
    let object = relation(task)?;
    if fact("schema") != object.schema || fact("name") != object.name {
        return Some(format!(
            "the object with that identity is now named \"{}.{}\"",
            fact("schema"),
            fact("name")
        ));
    }
    if fact("relpersistence") == "t" {
        return Some("it is a temporary table of another session".to_owned());
    }
    match task {
        Task::Vacuum { .. } | Task::Rewrite { .. } if fact("relkind") == "p" => {
            Some("it is partitioned: its partitions have the rows".to_owned())
        }
        Task::Reindex { .. } | Task::DropInvalidIndex { .. } => index::refusal(task, facts),
        Task::Rewrite { method, .. } => rewrite::refusal(*method, facts),
        Task::DropTable { .. } if fact("partition") == "true" => {
            Some("it is still a partition of another table".to_owned())
        }
        Task::DropTable { .. } if !["r", "p"].contains(&fact("relkind")) => {
            Some("it is no table".to_owned())
        }
        Task::CreatePartition { .. } => partition::refusal(facts),
        Task::MergeRows { .. } => copy::refusal(facts),
        _ => None,
    }
}

/// Returns the words that take a task back, now that it is known what there was before.
pub(crate) fn undo(task: &Task, facts: &Facts) -> Option<String> {
    match task {
        Task::SetStorageParameters { .. } | Task::SetStatisticsTarget { .. } => {
            table::undo(task, facts)
        }
        Task::DropInvalidIndex { .. } => facts.get("definition").cloned(),
        Task::DetachPartition {
            parent, partition, ..
        }
        | Task::FinalizeDetach { parent, partition } => partition::undo(parent, partition, facts),
        _ => None,
    }
}

/// Returns what people have to know besides, now that it is known what there is.
pub(crate) fn evidence(task: &Task, facts: &Facts) -> Option<(String, String)> {
    match task {
        Task::CreatePartition { parent, name, .. } => partition::evidence(parent, name, facts),
        _ => None,
    }
}

/// Returns the relation whose facts are read.
pub(crate) fn relation(task: &Task) -> Option<&Relation> {
    match task {
        Task::Vacuum { table, .. }
        | Task::Analyze { table, .. }
        | Task::Rewrite { table, .. }
        | Task::DropTable { table }
        | Task::SetStorageParameters { table, .. }
        | Task::SetStatisticsTarget { table, .. }
        | Task::MergeRows { table, .. }
        | Task::CreateStatistics { table, .. } => Some(table),
        Task::Reindex { index, .. }
        | Task::DropInvalidIndex { index, .. }
        | Task::SummarizeBrin { index, .. } => Some(index),
        Task::CreatePartition { parent, .. } | Task::PartmanMaintenance { parent, .. } => {
            Some(parent)
        }
        Task::DetachPartition { partition, .. } | Task::FinalizeDetach { partition, .. } => {
            Some(partition)
        }
        Task::CompressChunk { chunk, .. } => Some(chunk),
        Task::DropChunks { hypertable, .. } => Some(hypertable),
        Task::RunJob { .. }
        | Task::DeleteFile { .. }
        | Task::CopyTables { .. }
        | Task::CancelBackend { .. }
        | Task::TerminateBackend { .. } => None,
    }
}

/// Returns every relation that no other lane may touch meanwhile.
pub(crate) fn touches(task: &Task) -> Vec<u32> {
    let mut touched: Vec<u32> = [task.table(), relation(task)]
        .into_iter()
        .flatten()
        .map(|relation| relation.oid)
        .collect();
    touched.dedup();
    touched
}

/// Says whether a task is only possible after another one was done.
pub(crate) fn needs(later: &Task, earlier: &Task) -> bool {
    match (later, earlier) {
        (
            Task::DropTable { table },
            Task::DetachPartition { partition, .. } | Task::FinalizeDetach { partition, .. },
        ) => table.oid == partition.oid,
        _ => false,
    }
}

/// Changes facts into those that will hold after an earlier action of the same plan.
pub(crate) fn foresee(later: &Task, earlier: &Task, facts: &mut Facts) {
    if needs(later, earlier) {
        facts.insert("partition".to_owned(), "false".to_owned());
        facts.insert("parent".to_owned(), String::new());
    }
}

/// Says whether others wait for the task's lock by design as long as it works: then it has to be confirmed, and only
/// waiting for the lock is cut short.
pub(crate) fn holds_long(task: &Task) -> bool {
    matches!(
        task,
        Task::Rewrite {
            method: RewriteMethod::VacuumFull | RewriteMethod::PgSqueeze | RewriteMethod::PgRepack,
            ..
        } | Task::PartmanMaintenance { .. }
            | Task::CompressChunk { .. }
            | Task::DropChunks { .. }
            | Task::MergeRows { .. }
            | Task::RunJob { .. }
    )
}

/// Returns the parameters that the session of a task has besides those of every session.
pub(crate) fn session_settings(task: &Task) -> Vec<(&'static str, String)> {
    let pace = match task {
        Task::Vacuum { options, .. } => options.pace,
        Task::Analyze { pace, .. } => *pace,
        _ => return Vec::new(),
    };
    let delay = pace.cost_delay_ms.map(|delay| delay.to_string());
    let limit = pace.cost_limit.map(|limit| limit.to_string());
    [("vacuum_cost_delay", delay), ("vacuum_cost_limit", limit)]
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| (name, value)))
        .collect()
}

/// Returns a query of what is true of a relation, with further columns of `c` (`pg_class`).
fn relation_facts(oid: u32, further: &str) -> String {
    format!(
        "SELECT c.oid::pg_catalog.text AS oid, n.nspname AS schema, c.relname AS name,
    c.relkind::pg_catalog.text AS relkind, c.relpersistence::pg_catalog.text AS relpersistence,
    c.relispartition::pg_catalog.text AS partition,
    (SELECT pg_catalog.string_agg(i.inhparent::pg_catalog.text, ' ' ORDER BY i.inhseqno)
        FROM pg_catalog.pg_inherits AS i WHERE i.inhrelid = c.oid) AS parent{further}
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.oid = {oid}"
    )
}

/// Returns a query of the numbers of a table.
fn table_numbers(oid: u32) -> String {
    numbers(oid, "")
}

/// The same with further columns of `c` (`pg_class`).
fn numbers(oid: u32, further: &str) -> String {
    format!(
        "SELECT pg_catalog.pg_table_size(c.oid)::pg_catalog.text AS table_bytes,
    pg_catalog.pg_indexes_size(c.oid)::pg_catalog.text AS index_bytes,
    pg_catalog.pg_stat_get_live_tuples(c.oid)::pg_catalog.text AS live_tuples,
    pg_catalog.pg_stat_get_dead_tuples(c.oid)::pg_catalog.text AS dead_tuples,
    pg_catalog.pg_stat_get_mod_since_analyze(c.oid)::pg_catalog.text AS modified_since_analyze,
    pg_catalog.age(c.relfrozenxid)::pg_catalog.text AS freeze_age,
    pg_catalog.pg_stat_get_vacuum_count(c.oid)::pg_catalog.text AS vacuum_count,
    pg_catalog.pg_stat_get_analyze_count(c.oid)::pg_catalog.text AS analyze_count{further}
FROM pg_catalog.pg_class AS c
WHERE c.oid = {oid}"
    )
}

/// Returns a query that says whether the role may do what an owner may, or has another right, an expression over `c`.
fn ownership(oid: u32, or: &str, grant: Option<String>) -> String {
    let grant = grant.unwrap_or_else(|| {
        // Who is granted a superuser is one.
        "CASE WHEN (SELECT o.rolsuper FROM pg_catalog.pg_roles AS o WHERE o.oid = c.relowner)
    THEN pg_catalog.format('let role %I do it, which owns it, or make a role that is no superuser its owner',
        pg_catalog.pg_get_userbyid(c.relowner))
    ELSE pg_catalog.format('GRANT %I TO %I;', pg_catalog.pg_get_userbyid(c.relowner), current_user) END"
            .to_owned()
    });
    format!(
        "SELECT (pg_catalog.pg_has_role(current_user, c.relowner, 'USAGE'){or})::pg_catalog.text AS may,
    {grant} AS grant
FROM pg_catalog.pg_class AS c
WHERE c.oid = {oid}"
    )
}

#[cfg(test)]
mod tests;
