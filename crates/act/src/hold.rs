//! Before anything is done: is this the server of the plan, and is no other Pawang at work there?

use pawang_core::plan::World;
use pawang_core::{Role, Server};
use pawang_postgres::{Session, Target};
use sha2::{Digest, Sha256};

use crate::Error;

/// The first key of all our advisory locks: "pawa" in ASCII.
const KEY: i32 = 0x7061_7761;

/// A session that holds the lock of an area in one database until it is dropped.
pub(crate) struct Hold {
    pub(crate) database: String,
    pub(crate) session: Session,
}

/// Takes the lock of an area in a database, without waiting.
pub(crate) async fn take(target: &Target, database: &str, area: &str) -> Result<Hold, Error> {
    let session = Session::connect(&target.with_database(database), "act").await?;
    if session.pooled() {
        return Err(Error::Server(pawang_postgres::Error::Pooled {
            address: session.address().to_owned(),
        }));
    }
    lock(&session, database, area).await?;
    Ok(Hold {
        database: database.to_owned(),
        session,
    })
}

/// Takes the lock of an area for a session, without waiting; it holds it as long as it lives.
pub(crate) async fn lock(session: &Session, database: &str, area: &str) -> Result<(), Error> {
    let key = area_key(area);
    let sql = format!("SELECT pg_catalog.pg_try_advisory_lock({KEY}, {key}) AS taken");
    let taken = session.read(&sql).await?;
    if taken.rows.first().map(|row| &row[0]) == Some(&pawang_core::Value::Bool(true)) {
        return Ok(());
    }
    let holder = session.read(&holder(key)).await?;
    let holder = holder.rows.first().and_then(|row| row[0].as_text());
    Err(Error::AnotherPawang {
        area: area.to_owned(),
        database: database.to_owned(),
        holder: holder
            .unwrap_or("it has just given the lock back")
            .to_owned(),
    })
}

/// Returns what kind of change a plan is: the first word of its title.
pub(crate) fn area(title: &str) -> &str {
    title.split_whitespace().next().unwrap_or("act")
}

/// Refuses a server that is not the one of the plan, or that cannot be written to any more.
pub(crate) fn same_world(world: &World, server: &Server) -> Result<(), Error> {
    if server.role == Role::Standby {
        return Err(Error::OtherWorld {
            instance: world.instance.clone(),
            problem: "it is a standby now".to_owned(),
        });
    }
    same_server(world, server)
}

/// Refuses a server that is not the one of the plan, whether it is a primary or a standby.
pub(crate) fn same_server(world: &World, server: &Server) -> Result<(), Error> {
    let other = |problem: String| {
        Err(Error::OtherWorld {
            instance: world.instance.clone(),
            problem,
        })
    };
    let epoch = &server.epoch;
    // 0 is what the role may not see.
    if let Some(expected) = &world.system_identifier
        && epoch.system_identifier != 0
        && *expected != epoch.system_identifier.to_string()
    {
        return other(format!(
            "its system identifier is {}, not {expected}",
            epoch.system_identifier
        ));
    }
    if let Some(expected) = world.timeline
        && epoch.timeline != 0
        && expected != i64::from(epoch.timeline)
    {
        return other(format!(
            "it is on timeline {}, not {expected}: it was promoted or restored",
            epoch.timeline
        ));
    }
    if world.version / 10_000 != server.version / 10_000 {
        return other(format!(
            "it runs PostgreSQL {}, not {}",
            server.version / 10_000,
            world.version / 10_000
        ));
    }
    Ok(())
}

fn area_key(area: &str) -> i32 {
    let hash = Sha256::digest(area.as_bytes());
    i32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

fn holder(key: i32) -> String {
    let (class, object) = (KEY.cast_unsigned(), key.cast_unsigned());
    format!(
        "SELECT pg_catalog.format('pid %s of role \"%s\", application \"%s\", from %s, since %s',
    l.pid, a.usename, a.application_name, COALESCE(pg_catalog.host(a.client_addr), 'this machine'),
    pg_catalog.date_trunc('second', a.backend_start))
FROM pg_catalog.pg_locks AS l
LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.classid = {class} AND l.objid = {object} AND l.objsubid = 2 AND l.granted
    AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())"
    )
}
