//! What pg_partman and TimescaleDB do by functions of their own.

use pawang_core::plan::Task;

use super::{Probe, Proof, Recipe, ownership, relation, relation_facts};
use crate::quote;

pub(super) fn recipe(task: &Task) -> Recipe {
    let (statement, undo) = match task {
        Task::PartmanMaintenance {
            extension_schema,
            parent,
        } => (
            format!(
                "SELECT {}({})",
                quote::qualified(extension_schema, "run_maintenance"),
                // pg_partman keeps names as people write them.
                quote::text(&parent.to_string())
            ),
            "partitions that it dropped come back from a backup only",
        ),
        Task::CompressChunk {
            extension_schema,
            chunk,
        } => (
            format!(
                "SELECT {}({}, true)",
                quote::qualified(extension_schema, "compress_chunk"),
                quote::regclass(chunk)
            ),
            "decompress_chunk() makes it a plain table again",
        ),
        Task::DropChunks {
            extension_schema,
            hypertable,
            older_than,
        } => (
            format!(
                "SELECT {}({}, older_than => {}::pg_catalog.timestamptz)",
                quote::qualified(extension_schema, "drop_chunks"),
                quote::regclass(hypertable),
                quote::text(&older_than.to_string())
            ),
            "nothing brings the chunks back but a restore from a backup",
        ),
        Task::RunJob {
            extension_schema,
            job,
        } => (
            format!(
                "CALL {}({job})",
                quote::qualified(extension_schema, "run_job")
            ),
            "what it undoes depends on the job",
        ),
        _ => unreachable!("only tasks of extensions come here"),
    };
    Recipe {
        sql: vec![statement],
        verify: "the function returns without an error".to_owned(),
        undo: undo.to_owned(),
    }
}

pub(super) fn probe(task: &Task) -> Probe {
    let object = relation(task).map(|relation| relation.oid);
    Probe {
        facts: object.map(|oid| relation_facts(oid, "")),
        numbers: match task {
            Task::CompressChunk { chunk, .. } => Some(super::table_numbers(chunk.oid)),
            Task::PartmanMaintenance { parent, .. } => Some(format!(
                "SELECT pg_catalog.count(*)::pg_catalog.text AS partitions FROM pg_catalog.pg_inherits AS i WHERE i.inhparent = {}",
                parent.oid
            )),
            _ => None,
        },
        proof: Proof::Success,
        privilege: object.map(|oid| ownership(oid, "", None)),
    }
}
