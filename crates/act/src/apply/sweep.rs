//! What pg_repack leaves on a table when it or its session is killed: found, and taken away once nobody works on it.
//!
//! A trigger that is left writes every change of the table into a log that nobody reads, for ever.

use std::time::Duration;

use pawang_core::plan::Relation;
use pawang_postgres::{Error, Limits, Writer};
use tokio::time::sleep;

use crate::{look, quote};

/// pg_repack holds the advisory lock of this class and the table's identity as long as it works on a table.
const LOCK_CLASS: u32 = 16_185_446;
/// The server cuts `application_name` here.
const APPLICATION_BYTES_MAX: usize = 63;
/// Taking the trigger away stops others for an instant: it is tried again and again until the lock is free.
const LIMITS: Limits = Limits {
    statement: None,
    lock: Duration::from_millis(100),
};
const TRIES: u32 = 30;
const PAUSE: Duration = Duration::from_millis(300);

/// Returns the name of the sessions of an action's program.
pub(crate) fn application(action: &str) -> String {
    let name = format!("pawang:{action}");
    name[..name.floor_char_boundary(APPLICATION_BYTES_MAX)].to_owned()
}

/// Returns a query of whether a program of this action, or any pg_repack, is at work on the table.
pub(crate) fn at_work(table: &Relation, action: &str) -> String {
    format!(
        "SELECT (EXISTS (SELECT FROM pg_catalog.pg_locks AS l
        WHERE l.locktype = 'advisory' AND l.classid = {LOCK_CLASS} AND l.objid = {} AND l.granted
            AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database()))
    OR EXISTS (SELECT FROM pg_catalog.pg_stat_activity AS a
        WHERE a.application_name = {} AND a.datname = pg_catalog.current_database()
            AND a.pid <> pg_catalog.pg_backend_pid()))::pg_catalog.text AS at_work",
        table.oid,
        quote::text(&application(action))
    )
}

/// Takes away what is left, and returns the statements that did it; the caller knows that nobody is at work on the table.
///
/// # Errors
/// The lock was not free, or the role may not.
pub(crate) async fn sweep(writer: &Writer, table: &Relation) -> Result<Vec<String>, Error> {
    let mut done = Vec::new();
    for row in look::rows(writer, &leftovers(table.oid)).await? {
        let sql = row.get("statement").cloned().unwrap_or_default();
        patiently(writer, &sql).await?;
        done.push(sql);
    }
    Ok(done)
}

/// Takes away what a program that has ended left.
///
/// # Errors
/// Why something may be left, as a sentence.
pub(super) async fn swept(writer: &Writer, table: &Relation) -> Result<(), String> {
    let left = |error: Error| {
        format!(
            "what pg_repack left of {table} could not be taken away: {}",
            error.line()
        )
    };
    // An empty action names no session: only the advisory lock counts here.
    if look::holds(writer, &at_work(table, ""))
        .await
        .map_err(left)?
    {
        return Err(format!("another pg_repack works on {table}"));
    }
    sweep(writer, table).await.map_err(left)?;
    Ok(())
}

/// Returns a query of the statements that take away what is left; the trigger first, for its sake others go on.
fn leftovers(oid: u32) -> String {
    format!(
        "SELECT x.statement
FROM (SELECT 1 AS step, pg_catalog.format('DROP TRIGGER %I ON %s', t.tgname, t.tgrelid::pg_catalog.regclass) AS statement
        FROM pg_catalog.pg_trigger AS t WHERE t.tgrelid = {oid} AND t.tgname IN ('repack_trigger', 'z_repack_trigger')
    UNION ALL
    SELECT 2, pg_catalog.format('DROP TABLE %s', c.oid::pg_catalog.regclass)
        FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = 'repack' AND c.relkind = 'r' AND c.relname IN ('log_{oid}', 'table_{oid}')
    UNION ALL
    SELECT 3, pg_catalog.format('DROP TYPE %s', y.oid::pg_catalog.regtype)
        FROM pg_catalog.pg_type AS y JOIN pg_catalog.pg_namespace AS n ON n.oid = y.typnamespace
        JOIN pg_catalog.pg_class AS c ON c.oid = y.typrelid AND c.relkind = 'c'
        WHERE n.nspname = 'repack' AND y.typname = 'pk_{oid}') AS x
ORDER BY x.step"
    )
}

async fn patiently(writer: &Writer, sql: &str) -> Result<(), Error> {
    for _ in 1..TRIES {
        match writer.run(sql, LIMITS).await {
            Err(Error::LockTimeout { .. }) => sleep(PAUSE).await,
            result => return result.map(|_| ()),
        }
    }
    writer.run(sql, LIMITS).await.map(|_| ())
}
