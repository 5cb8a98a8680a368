//! Which tables are written anew without their free space, and how: by the gentlest way that the server has.

use std::collections::HashMap;
use std::time::Duration;

use pawang_core::bloat::{Space, SpaceKind, table_spaces};
use pawang_core::plan::{Cost, Left, Proposal, Relation, RewriteMethod, Task};
use pawang_core::{ByteSize, Facts, Missing, Row};

use crate::reindex::Wanted;

/// The collectors whose facts the planner needs.
pub(crate) const NEEDS: &[&str] = &["table-shape", "tables", "indexes", "extensions", "settings"];

/// The first version with REPACK.
const REPACK: u32 = 190_000;
/// Bytes per second that a rewrite is taken to move: slow disks do as much.
const RATE: u64 = 40 << 20;

/// From when on a table is written anew, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limits {
    /// Share of its size, TOAST counted, that a rewrite gives back.
    pub free_percent: f64,
    /// A smaller one is left alone.
    pub size_min: ByteSize,
    /// How, when not by the gentlest way that there is.
    pub method: Option<RewriteMethod>,
    /// Whether it is left alone whatever its free space.
    pub skip: bool,
}

/// What the planner must be told besides facts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Surroundings<'a> {
    /// Free space where the tables are, if known.
    pub free: Option<ByteSize>,
    /// The client program of pg_repack, absolute, if it is on this machine.
    pub repack_program: Option<&'a str>,
    /// Whether readers and writers may be made to wait: there is a window, and VACUUM FULL is allowed by name.
    pub may_block: bool,
}

/// What the server offers in one database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Offer {
    version: u32,
    squeeze: bool,
    repack: bool,
    wal_level: String,
    preloaded: String,
    program: bool,
}

/// Plans one database; `limits` tells those of a table named as `schema.table`.
///
/// # Errors
/// Why a collector saw nothing.
pub(crate) fn plan(
    facts: &Facts,
    database: &str,
    limits: &dyn Fn(&str) -> Limits,
    around: &Surroundings<'_>,
) -> Result<(Vec<Wanted>, Vec<Left>), Missing> {
    let spaces = table_spaces(facts, database)?;
    let tables = facts.snapshot("tables", Some(database))?;
    let rows = tables
        .rows()
        .filter_map(|row| Some((row.int("relid")?, row)));
    let rows: HashMap<i64, Row<'_>> = rows.collect();
    let offer = offer(facts, database, around)?;
    let index_bytes = index_bytes(facts, database);
    let (mut wanted, mut left) = (Vec::new(), Vec::new());
    for table in spaces.iter().filter(|space| space.kind == SpaceKind::Table) {
        let name = format!("{}.{}", table.schema, table.name);
        let limits = limits(&name);
        let toast = spaces.iter().find(|space| {
            space.kind == SpaceKind::Toast
                && space.schema == table.schema
                && space.name == table.name
        });
        let whole = Whole::of(table, toast, index_bytes.get(&table.oid).copied());
        let row = rows.get(&i64::from(table.oid)).copied();
        match decide(&whole, row, &limits, &offer, around) {
            Ok(None) => {}
            Ok(Some(method)) => wanted.push(whole.wanted(method, around)),
            Err((why, blind)) => left.push(Left {
                database: database.to_owned(),
                object: name,
                why,
                blind,
            }),
        }
    }
    wanted.sort_by_key(|wanted| std::cmp::Reverse(wanted.gain));
    Ok((wanted, left))
}

fn offer(facts: &Facts, database: &str, around: &Surroundings<'_>) -> Result<Offer, Missing> {
    let extensions = facts.snapshot("extensions", Some(database))?;
    let installed = |name: &str| {
        let mut rows = extensions.rows();
        rows.any(|row| row.text("extname") == Some(name))
    };
    let settings = facts.snapshot("settings", None)?;
    let setting = |name: &str| {
        let mut rows = settings.rows();
        let row = rows.find(|row| row.text("name") == Some(name));
        row.and_then(|row| row.text("setting"))
            .unwrap_or_default()
            .to_owned()
    };
    Ok(Offer {
        version: facts.server.as_ref().map_or(0, |server| server.version),
        squeeze: installed("pg_squeeze"),
        repack: installed("pg_repack"),
        wal_level: setting("wal_level"),
        preloaded: setting("shared_preload_libraries"),
        program: around.repack_program.is_some(),
    })
}

/// Returns the bytes of all indexes of each table: a rewrite makes them anew too.
fn index_bytes(facts: &Facts, database: &str) -> HashMap<u32, u64> {
    let mut sums = HashMap::new();
    let Ok(indexes) = facts.snapshot("indexes", Some(database)) else {
        return sums;
    };
    for row in indexes.rows() {
        let table = row.int("relid").and_then(|oid| u32::try_from(oid).ok());
        let size = row.float("size_bytes").unwrap_or(0.0) as u64;
        *sums.entry(table.unwrap_or_default()).or_default() += size;
    }
    sums
}

/// A table with all that a rewrite touches.
struct Whole<'a> {
    table: &'a Space,
    /// Table and TOAST.
    size: u64,
    /// What a rewrite gives back; nothing when that is not known.
    gain: Option<u64>,
    indexes: u64,
}

impl<'a> Whole<'a> {
    fn of(table: &'a Space, toast: Option<&Space>, indexes: Option<u64>) -> Whole<'a> {
        let likely = |space: &Space| {
            space
                .waste
                .and_then(|waste| waste.likely)
                .map(|bytes| bytes.0)
        };
        Whole {
            table,
            size: table.size.0 + toast.map_or(0, |toast| toast.size.0),
            gain: likely(table).map(|gain| gain + toast.and_then(likely).unwrap_or(0)),
            indexes: indexes.unwrap_or(0),
        }
    }

    /// Returns the space that both copies need at the same time, beyond the old one.
    fn needed(&self) -> u64 {
        self.size.saturating_sub(self.gain.unwrap_or(0)) + self.indexes
    }

    /// Returns how long reading the old copy and writing the new one takes.
    fn duration(&self) -> Duration {
        Duration::from_secs((self.size + self.needed()).div_ceil(RATE))
    }

    fn wanted(&self, method: RewriteMethod, around: &Surroundings<'_>) -> Wanted {
        let gain = ByteSize(self.gain.unwrap_or(0));
        let needed = ByteSize(self.needed());
        let blocked = match method {
            RewriteMethod::VacuumFull => format!(
                "; readers and writers wait until it is done, about {}",
                minutes(self.duration())
            ),
            _ => "; readers and writers go on, but for an instant at the end".to_owned(),
        };
        let known = |size: Option<ByteSize>| {
            size.map_or_else(|| "not known".to_owned(), |size| size.to_string())
        };
        let proposal = Proposal {
            database: self.table.database.clone(),
            task: Task::Rewrite {
                table: Relation {
                    oid: self.table.oid,
                    schema: self.table.schema.clone(),
                    name: self.table.name.clone(),
                },
                method,
            },
            reason: format!(
                "{:.0} % of {} is free space that no VACUUM gives back: a rewrite gives back {gain}{blocked}",
                self.percent(),
                ByteSize(self.size)
            ),
            evidence: vec![
                (
                    "size_with_toast".to_owned(),
                    ByteSize(self.size).to_string(),
                ),
                (
                    "size_of_indexes".to_owned(),
                    ByteSize(self.indexes).to_string(),
                ),
                ("needed_meanwhile".to_owned(), needed.to_string()),
                ("free_space".to_owned(), known(around.free)),
                ("assumed_rate".to_owned(), format!("{}/s", ByteSize(RATE))),
            ],
            cost: Cost {
                read: Some(ByteSize(self.size)),
                wal: Some(needed),
                disk: Some(needed),
                freed: Some(gain),
                duration: Some(self.duration()),
            },
        };
        Wanted { gain, proposal }
    }

    fn percent(&self) -> f64 {
        100.0 * self.gain.unwrap_or(0) as f64 / self.size.max(1) as f64
    }
}

fn minutes(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds => format!("{} min", seconds.div_ceil(60)),
    }
}

/// Returns how a table is written anew, nothing when there is little to gain, or why it is left and whether unseen.
fn decide(
    whole: &Whole<'_>,
    row: Option<Row<'_>>,
    limits: &Limits,
    offer: &Offer,
    around: &Surroundings<'_>,
) -> Result<Option<RewriteMethod>, (String, bool)> {
    if limits.skip || whole.size < limits.size_min.0 {
        return Ok(None);
    }
    if whole.gain.is_none() {
        let why = whole.table.why_not.clone();
        let why = why.unwrap_or_else(|| "its free space is not known".to_owned());
        return Err((why, whole.table.blind));
    }
    if whole.percent() < limits.free_percent {
        return Ok(None);
    }
    let told = format!(
        "{:.0} % of {} is free space",
        whole.percent(),
        ByteSize(whole.size)
    );
    if whole.table.schema == "pg_catalog" {
        let why = format!(
            "{told}; catalogs are only written anew by hand: VACUUM FULL in a maintenance window"
        );
        return Err((why, false));
    }
    if let Some(free) = around.free.filter(|free| free.0 < whole.needed()) {
        let needed = ByteSize(whole.needed());
        return Err((
            format!("{told}; the copy needs up to {needed} and only {free} is free"),
            false,
        ));
    }
    let ways = [
        RewriteMethod::Repack,
        RewriteMethod::PgSqueeze,
        RewriteMethod::PgRepack,
        RewriteMethod::VacuumFull,
    ];
    let mut obstacles = Vec::new();
    for method in ways
        .into_iter()
        .filter(|way| limits.method.is_none_or(|only| only == *way))
    {
        match obstacle(method, row, offer, around) {
            None => return Ok(Some(method)),
            Some(why) => obstacles.push(why),
        }
    }
    let minutes = minutes(whole.duration());
    obstacles.push(format!(
        "VACUUM FULL would make readers and writers wait about {minutes}"
    ));
    Err((format!("{told}; {}", obstacles.join("; ")), false))
}

/// Returns why a table cannot be written anew this way.
fn obstacle(
    method: RewriteMethod,
    row: Option<Row<'_>>,
    offer: &Offer,
    around: &Surroundings<'_>,
) -> Option<String> {
    let flag = |name: &str| row.is_some_and(|row| row.flag(name) == Some(true));
    let identity = flag("has_primary_key") || flag("has_replica_identity");
    let unlogged = row.is_some_and(|row| row.text("relpersistence") == Some("u"));
    let matview = row.is_some_and(|row| row.text("relkind") == Some("m"));
    let no_key = "the table has no primary key and no replica identity index";
    let why = match method {
        RewriteMethod::Repack if offer.version < REPACK => {
            "REPACK (CONCURRENTLY) needs PostgreSQL 19"
        }
        RewriteMethod::PgSqueeze if !offer.squeeze => "pg_squeeze is not installed",
        RewriteMethod::PgSqueeze if offer.wal_level != "logical" => {
            "pg_squeeze needs wal_level = logical"
        }
        RewriteMethod::PgSqueeze if !preloaded(offer, "pg_squeeze") => {
            "pg_squeeze must be in shared_preload_libraries"
        }
        RewriteMethod::PgRepack if !offer.repack => "pg_repack is not installed",
        RewriteMethod::PgRepack if !offer.program => {
            "the client program of pg_repack is not on this machine"
        }
        RewriteMethod::Repack | RewriteMethod::PgSqueeze | RewriteMethod::PgRepack if matview => {
            "a materialized view cannot be written anew while it is read"
        }
        RewriteMethod::Repack | RewriteMethod::PgSqueeze if unlogged => {
            "changes of an unlogged table cannot be followed"
        }
        RewriteMethod::Repack | RewriteMethod::PgSqueeze | RewriteMethod::PgRepack if !identity => {
            no_key
        }
        RewriteMethod::VacuumFull if !around.may_block => {
            "VACUUM FULL only happens in a window and where it is allowed by name"
        }
        _ => return None,
    };
    Some(why.to_owned())
}

fn preloaded(offer: &Offer, library: &str) -> bool {
    let mut names = offer.preloaded.split(',');
    names.any(|name| name.trim().trim_matches('"') == library)
}

#[cfg(test)]
mod tests {
    use pawang_core::bloat::Waste;
    use pawang_core::{Column, ColumnKind, Snapshot, Timestamp, Value};

    use super::*;

    fn table(size_mb: u64, waste_mb: u64) -> Space {
        let mb = |mb: u64| ByteSize(mb << 20);
        Space {
            database: "sales".to_owned(),
            kind: SpaceKind::Table,
            oid: 8,
            schema: "dw".to_owned(),
            name: "fact".to_owned(),
            table: None,
            table_oid: None,
            access_method: None,
            size: mb(size_mb),
            rows: Some(1e6),
            waste: Some(Waste {
                least: mb(waste_mb),
                likely: Some(mb(waste_mb)),
                most: mb(waste_mb),
            }),
            why_not: None,
            blind: false,
        }
    }

    fn row(key: bool) -> Snapshot {
        let values = [
            ("has_primary_key", Value::Bool(key)),
            ("has_replica_identity", Value::Bool(false)),
            ("relpersistence", Value::Text("p".into())),
            ("relkind", Value::Text("r".into())),
        ];
        Snapshot {
            collector: "tables".to_owned(),
            database: None,
            at: Timestamp::UNIX_EPOCH,
            epoch: None,
            cost: pawang_core::Cost::default(),
            columns: values
                .iter()
                .map(|(name, _)| Column {
                    name: (*name).to_owned(),
                    kind: ColumnKind::Info,
                    unit: None,
                })
                .collect(),
            rows: vec![values.into_iter().map(|(_, value)| value).collect()],
        }
    }

    const LIMITS: Limits = Limits {
        free_percent: 50.0,
        size_min: ByteSize(1 << 20),
        method: None,
        skip: false,
    };

    #[test]
    fn the_gentlest_way_that_the_server_has_is_chosen() {
        let space = table(1000, 600);
        let whole = Whole::of(&space, None, Some(100 << 20));
        let squeezed = Offer {
            version: 150_000,
            squeeze: true,
            repack: true,
            program: true,
            wal_level: "logical".to_owned(),
            preloaded: "pg_stat_statements, pg_squeeze".to_owned(),
        };
        let repacked = Offer {
            wal_level: "replica".to_owned(),
            ..squeezed.clone()
        };
        let newest = Offer {
            version: 190_000,
            ..Offer::default()
        };
        let old = Offer {
            version: 150_000,
            ..Offer::default()
        };
        for (offer, key, may_block, expected) in [
            (&newest, true, false, Ok(Some(RewriteMethod::Repack))),
            (&squeezed, true, false, Ok(Some(RewriteMethod::PgSqueeze))),
            (&repacked, true, false, Ok(Some(RewriteMethod::PgRepack))),
            (&squeezed, false, true, Ok(Some(RewriteMethod::VacuumFull))),
            (&old, true, true, Ok(Some(RewriteMethod::VacuumFull))),
            (
                &old,
                true,
                false,
                Err("readers and writers wait about 38 s"),
            ),
            (&squeezed, false, false, Err("no primary key")),
        ] {
            let around = Surroundings {
                may_block,
                ..Surroundings::default()
            };
            let decided = decide(&whole, row(key).first(), &LIMITS, offer, &around);
            match (decided, expected) {
                (Ok(method), Ok(expected)) => assert_eq!(method, expected),
                (Err((why, false)), Err(part)) => assert!(why.contains(part), "{why}"),
                (decided, expected) => panic!("{decided:?} instead of {expected:?}"),
            }
        }
    }

    #[test]
    fn little_gain_or_little_room_leaves_a_table_alone() {
        let (offer, around) = (Offer::default(), Surroundings::default());
        let space = table(1000, 300);
        let whole = Whole::of(&space, None, None);
        assert_eq!(
            decide(&whole, row(true).first(), &LIMITS, &offer, &around),
            Ok(None)
        );
        let toast = Space {
            kind: SpaceKind::Toast,
            ..table(4000, 3900)
        };
        let whole = Whole::of(&space, Some(&toast), None);
        let (why, _) = decide(&whole, row(true).first(), &LIMITS, &offer, &around).unwrap_err();
        assert!(why.starts_with("84 % of 4.8 GB"), "TOAST counts: {why}");
        let around = Surroundings {
            free: Some(ByteSize(100 << 20)),
            may_block: true,
            ..around
        };
        let (why, _) = decide(&whole, row(true).first(), &LIMITS, &offer, &around).unwrap_err();
        assert!(
            why.contains("800 MB") && why.contains("100 MB is free"),
            "{why}"
        );
    }
}
