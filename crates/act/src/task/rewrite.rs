//! Tables written anew without their free space.

use pawang_core::plan::{Relation, RewriteMethod};

use super::{Probe, Proof, Recipe, ownership, relation_facts, table_numbers};
use crate::quote;

/// The first version with REPACK.
const REPACK: u32 = 190_000;

pub(super) fn recipe(
    table: &Relation,
    method: RewriteMethod,
    version: u32,
) -> Result<Recipe, String> {
    let name = quote::relation(table);
    let statement = match method {
        RewriteMethod::Repack if version < REPACK => {
            return Err("REPACK (CONCURRENTLY) needs PostgreSQL 19".to_owned());
        }
        RewriteMethod::Repack => format!("REPACK (CONCURRENTLY) {name}"),
        RewriteMethod::PgSqueeze => format!(
            "SELECT squeeze.squeeze_table({}, {}, NULL, NULL, NULL)",
            quote::text(&table.schema),
            quote::text(&table.name)
        ),
        // A program beside the server: what it is called with stands where a statement would.
        RewriteMethod::PgRepack => format!("-- pg_repack --no-kill-backend --table={name}"),
        RewriteMethod::VacuumFull => format!("VACUUM (FULL) {name}"),
    };
    Ok(Recipe {
        sql: vec![statement],
        verify: "the server accepts it; the sizes before and after tell the gain".to_owned(),
        undo: "nothing to take back: no row changes".to_owned(),
    })
}

pub(super) fn probe(table: &Relation) -> Probe {
    Probe {
        facts: Some(relation_facts(table.oid, "")),
        numbers: Some(table_numbers(table.oid)),
        proof: Proof::Success,
        privilege: Some(ownership(table.oid, "", None)),
    }
}
