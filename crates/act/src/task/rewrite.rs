//! Tables written anew without their free space.

use pawang_core::plan::{Relation, RewriteMethod};

use super::{Facts, Probe, Proof, Recipe, numbers, ownership, relation_facts};
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
        verify: "the table has another file; the sizes before and after tell the gain".to_owned(),
        undo: "nothing to take back: no row changes".to_owned(),
    })
}

pub(super) fn probe(table: &Relation, method: RewriteMethod) -> Probe {
    Probe {
        facts: Some(relation_facts(table.oid, further(method))),
        numbers: Some(numbers(
            table.oid,
            ",
    pg_catalog.pg_relation_filenode(c.oid)::pg_catalog.text AS filenode",
        )),
        proof: Proof::Changed("filenode"),
        privilege: Some(match method {
            // Its client program refuses any other role.
            RewriteMethod::PgRepack => {
                "SELECT (pg_catalog.current_setting('is_superuser') = 'on')::pg_catalog.text AS may,
    pg_catalog.format('ALTER ROLE %I SUPERUSER;', current_user) AS grant"
                    .to_owned()
            }
            _ => ownership(table.oid, "", None),
        }),
    }
}

/// Returns what a way of writing anew needs besides the table; the facts of the ways that the server has itself are few.
fn further(method: RewriteMethod) -> &'static str {
    match method {
        RewriteMethod::Repack | RewriteMethod::VacuumFull => "",
        RewriteMethod::PgRepack => {
            ",
    (SELECT e.extversion FROM pg_catalog.pg_extension AS e WHERE e.extname = 'pg_repack') AS extension,
    EXISTS (SELECT FROM pg_catalog.pg_index AS i WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid
        AND i.indpred IS NULL AND i.indexprs IS NULL AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_attribute AS a
            WHERE a.attrelid = c.oid AND a.attnum = ANY (i.indkey) AND NOT a.attnotnull))::pg_catalog.text AS key,
    EXISTS (SELECT FROM pg_catalog.pg_trigger AS t
        WHERE t.tgrelid = c.oid AND t.tgname IN ('repack_trigger', 'z_repack_trigger'))::pg_catalog.text AS leftover"
        }
        RewriteMethod::PgSqueeze => {
            ",
    (SELECT e.extversion FROM pg_catalog.pg_extension AS e WHERE e.extname = 'pg_squeeze') AS extension,
    (c.relreplident = 'i' OR EXISTS (SELECT FROM pg_catalog.pg_index AS i
        WHERE i.indrelid = c.oid AND i.indisprimary))::pg_catalog.text AS key,
    pg_catalog.current_setting('wal_level') AS wal_level,
    (SELECT pg_catalog.bool_or(pg_catalog.btrim(l.library, ' \"') = 'pg_squeeze')
        FROM pg_catalog.string_to_table(pg_catalog.current_setting('shared_preload_libraries'), ',') AS l (library)
    )::pg_catalog.text AS preloaded"
        }
    }
}

/// Returns why a table cannot be written anew this way.
pub(super) fn refusal(method: RewriteMethod, facts: &Facts) -> Option<String> {
    let fact = |name: &str| facts.get(name).map_or("", String::as_str);
    let extension = match method {
        RewriteMethod::PgRepack => "pg_repack",
        RewriteMethod::PgSqueeze => "pg_squeeze",
        RewriteMethod::Repack | RewriteMethod::VacuumFull => return None,
    };
    if fact("extension").is_empty() {
        return Some(format!("{extension} is not installed in this database"));
    }
    if fact("key") != "true" {
        return Some(format!(
            "the table has no key that {extension} needs: a primary key{}",
            match method {
                RewriteMethod::PgRepack => ", or a unique index of columns that are NOT NULL",
                _ => ", or an index as its replica identity",
            }
        ));
    }
    if fact("leftover") == "true" {
        return Some(
            "an earlier pg_repack, not of Pawang, left its trigger on the table; every change is still written into its log"
                .to_owned(),
        );
    }
    if method == RewriteMethod::PgSqueeze && fact("wal_level") != "logical" {
        return Some(format!(
            "pg_squeeze needs wal_level = logical, and it is {}",
            fact("wal_level")
        ));
    }
    if method == RewriteMethod::PgSqueeze && fact("preloaded") != "true" {
        return Some("pg_squeeze must be in shared_preload_libraries".to_owned());
    }
    None
}
