//! A report as a busy day of a warehouse would give it, made up by hand.

use std::collections::BTreeMap;

use pawang_core::Level;
use pawang_logs::report::*;
use pawang_logs::severity::Severity;

/// Start of the day: 2026-11-21 00:00:00 UTC.
pub(crate) const START: i64 = 1_795_219_200_000_000;
const MINUTE: i64 = 60_000_000;

pub(crate) fn at(minutes: i64) -> Option<i64> {
    Some(START + minutes * MINUTE)
}

fn top<T>(items: Vec<T>, total: u64) -> Top<T> {
    Top {
        items,
        total,
        complete: true,
    }
}

fn counts(all: &[(&str, u64)]) -> BTreeMap<String, u64> {
    let all = all.iter();
    all.map(|(name, count)| ((*name).to_owned(), *count))
        .collect()
}

/// Returns a day of minutes that looks like work: a night load, office hours, and noise.
fn series(scale: u64, seed: u64) -> Series {
    let mut state = seed;
    let values = (0..1_440_u64).map(|minute| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let noise = (state >> 40) % (scale / 2 + 1);
        let hour = minute / 60;
        let load = match hour {
            1..=3 => 8,
            8..=16 => 5,
            6..=19 => 3,
            _ => 1,
        };
        scale * load / 8 + noise
    });
    Series {
        start: START / 1_000_000,
        step: 60,
        values: values.collect(),
    }
}

fn sparse(every: usize, value: u64) -> Series {
    let mut series = series(0, 1);
    let values = series.values.iter_mut().enumerate();
    values
        .filter(|(index, _)| index % every == 0)
        .for_each(|(_, found)| *found = value);
    series
}

fn durations(count: u64, mean: u64, max: u64) -> Durations {
    Durations {
        count,
        total: count * mean,
        max,
        p50: mean / 2,
        p95: mean * 3,
        p99: mean * 6,
    }
}

fn slow(minutes: i64, duration: u64, text: &str) -> Slow {
    Slow {
        at: at(minutes),
        duration,
        user: "etl".to_owned(),
        database: "dwh".to_owned(),
        application: "nightly-load".to_owned(),
        host: "10.4.0.17".to_owned(),
        text: text.to_owned(),
        parameters: String::new(),
    }
}

fn shape(id: &str, text: &str, count: u64, mean: u64, max: u64) -> Shape {
    Shape {
        id: id.to_owned(),
        text: text.to_owned(),
        verb: text.split(' ').next().unwrap_or_default().to_owned(),
        durations: durations(count, mean, max),
        first_at: at(3),
        last_at: at(1_431),
        users: counts(&[
            ("etl", count / 2),
            ("dashboard", count / 3),
            ("budi@itera.ac.id", 3),
        ]),
        databases: counts(&[("dwh", count)]),
        applications: counts(&[("nightly-load", count / 2), ("metabase", count / 3)]),
        hours: [(2_u8, count / 2), (9, count / 4)].into_iter().collect(),
        temp_bytes: mean * 900,
        tags: [("route".to_owned(), "/reports/daily".to_owned())]
            .into_iter()
            .collect(),
        slowest: Some(slow(133, max, text)),
    }
}

const LOAD: &str = "insert into mart.sales_daily select d.day, p.category, r.region, sum(s.amount), count(*) \
    from staging.sales s join dim.day d on d.id = s.day_id join dim.product p on p.id = s.product_id \
    join dim.region r on r.id = s.region_id where d.day between ? and ? group by d.day, p.category, r.region";

#[expect(
    clippy::too_many_lines,
    reason = "made-up data is read from top to bottom"
)]
fn statements() -> Statements {
    let shapes = vec![
        shape("9c3f11a07be2d410", LOAD, 48, 212_000_000, 941_000_000),
        shape(
            "51b8e2f0a9c77d02",
            "select * from mart.sales_daily where day >= ? and region = any(?) order by day",
            91_204,
            38_000,
            4_120_000,
        ),
        shape(
            "07aa0c4411fe9b13",
            "update staging.customer set name = ?, email = ?, updated_at = now() where id = ?",
            410_882,
            2_300,
            61_000_000,
        ),
        shape(
            "e2b1904d5a6c8830",
            "refresh materialized view concurrently mart.customer_value",
            24,
            31_000_000,
            58_000_000,
        ),
        shape(
            "c09d8e7f6a5b4c3d",
            "copy staging.sales (id, day_id, product_id, region_id, amount) from stdin with (format csv)",
            96,
            5_400_000,
            14_000_000,
        ),
        shape(
            "1f2e3d4c5b6a7988",
            "select count(*) from log.events where payload @> ?",
            812,
            431_000,
            9_800_000,
        ),
    ];
    let all = durations(1_204_551, 14_900, 941_000_000);
    let map = |all: &[(&str, u64)]| -> BTreeMap<String, Durations> {
        let all = all.iter();
        all.map(|(name, count)| ((*name).to_owned(), durations(*count, 14_000, 900_000_000)))
            .collect()
    };
    Statements {
        all,
        phases: map(&[
            ("simple", 700_000),
            ("parse", 50_000),
            ("bind", 80_000),
            ("execute", 374_551),
        ]),
        by_max: shapes.clone(),
        by_count: shapes.clone(),
        by_mean: shapes.clone(),
        by_time: top(shapes, 157),
        slowest: vec![
            slow(133, 941_000_000, LOAD),
            slow(
                402,
                61_000_000,
                "update staging.customer set name = ?, email = ?, updated_at = now() where id = ?",
            ),
        ],
        users: map(&[
            ("etl", 300_000),
            ("dashboard", 800_000),
            ("budi@itera.ac.id", 104_551),
        ]),
        databases: map(&[("dwh", 1_200_000), ("Data Mart", 4_551)]),
        applications: map(&[
            ("metabase", 800_000),
            ("nightly-load", 300_000),
            ("psql", 51),
            ("", 4_500),
        ]),
        hosts: map(&[
            ("10.4.0.17", 300_000),
            ("10.4.0.22", 800_000),
            ("[local]", 104_551),
        ]),
        hours: (0..24)
            .map(|hour| {
                (
                    hour,
                    durations(50_000 - u64::from(hour) * 900, 14_000, 900_000),
                )
            })
            .collect(),
        verbs: map(&[
            ("select", 700_000),
            ("update", 410_882),
            ("insert", 90_000),
            ("copy", 96),
        ]),
        series: series(900, 7),
        time_series: series(14_000_000, 9),
        without_duration: 0,
        timed_out: top(
            vec![counted(
                "1f2e3d4c5b6a7988",
                "select count(*) from log.events where payload @> ?",
                14,
                0,
                0,
            )],
            1,
        ),
        cancelled: top(
            vec![counted(
                "51b8e2f0a9c77d02",
                "select * from mart.sales_daily where day >= ? and region = any(?) order by day",
                31,
                0,
                0,
            )],
            1,
        ),
    }
}

fn counted(id: &str, text: &str, count: u64, total: u64, max: u64) -> Counted {
    Counted {
        id: id.to_owned(),
        text: text.to_owned(),
        count,
        total,
        max,
        last_at: at(1_300),
    }
}

fn kinds() -> Vec<KindCount> {
    let kind = |kind: &str, level, count, sample: &str| KindCount {
        kind: kind.to_owned(),
        level,
        count,
        first_at: at(4),
        last_at: at(1_437),
        sample: sample.to_owned(),
    };
    vec![
        kind(
            "backend-crash",
            Level::Critical,
            1,
            "server process (PID 24771) was terminated by signal 9: Killed",
        ),
        kind("out-of-memory", Level::Critical, 2, "out of memory"),
        kind("deadlock", Level::Warning, 3, "deadlock detected"),
        kind(
            "lock-waiting",
            Level::Warning,
            211,
            "process 4712 still waiting for ShareLock on transaction 734121 after 1000.123 ms",
        ),
        kind(
            "statement-timeout",
            Level::Warning,
            14,
            "canceling statement due to statement timeout",
        ),
        kind(
            "duration",
            Level::Info,
            1_204_551,
            "duration: 0.855 ms  statement: create role \"budi@itera.ac.id\"",
        ),
        kind(
            "checkpoint-done",
            Level::Info,
            301,
            "checkpoint complete: wrote 48211 buffers (36.8%); 0 WAL file(s) added, 12 removed, 44 recycled",
        ),
        kind(
            "connection-authorized",
            Level::Info,
            48_112,
            "connection authorized: user=dashboard database=dwh application_name=metabase",
        ),
    ]
}

fn errors() -> Top<ErrorText> {
    let error = |severity,
                 sqlstate: &str,
                 text: &str,
                 count,
                 sample: &str,
                 statement: &str,
                 detail: &str| ErrorText {
        kind: "constraint".to_owned(),
        severity,
        sqlstate: sqlstate.to_owned(),
        text: text.to_owned(),
        count,
        first_at: at(12),
        last_at: at(1_402),
        databases: counts(&[("dwh", count)]),
        users: counts(&[("dashboard", count)]),
        sample: sample.to_owned(),
        statement: statement.to_owned(),
        detail: detail.to_owned(),
    };
    let items = vec![
        error(
            Severity::Fatal,
            "28P01",
            "password authentication failed for user ?",
            412,
            "password authentication failed for user \"admin\"",
            "",
            "Connection matched pg_hba.conf line 98: \"host all all 0.0.0.0/0 scram-sha-256\"",
        ),
        error(
            Severity::Error,
            "23505",
            "duplicate key value violates unique constraint ?",
            1_904,
            "duplicate key value violates unique constraint \"customer_email_key\"",
            "insert into staging.customer (id, email) values (?, ?)",
            "Key (email)=(a@b.id) already exists.",
        ),
        error(
            Severity::Error,
            "57014",
            "canceling statement due to statement timeout",
            14,
            "canceling statement due to statement timeout",
            "select count(*) from log.events where payload @> ?",
            "",
        ),
        error(
            Severity::Error,
            "42P01",
            "relation ? does not exist",
            88,
            "relation \"mart.sale_daily\" does not exist",
            "select * from mart.sale_daily",
            "",
        ),
        error(
            Severity::Error,
            "40P01",
            "deadlock detected",
            3,
            "deadlock detected",
            "update staging.customer set name = ? where id = ?",
            "Process 4712 waits for ShareLock on transaction 734; blocked by process 4713.",
        ),
    ];
    top(items, 23)
}

#[expect(
    clippy::too_many_lines,
    reason = "made-up data is read from top to bottom"
)]
fn locks() -> Locks {
    let edge = |waiter, holder, object: &str| Edge {
        waiter,
        holder,
        mode: "ShareLock".to_owned(),
        object: object.to_owned(),
        statement: "update staging.customer set name = ? where id = ?".to_owned(),
    };
    Locks {
        waits: 211,
        waited: durations(208, 7_400_000, 412_000_000),
        unended: 3,
        blockers: top(
            vec![
                Blocker {
                    pid: 4_711,
                    at: at(611),
                    cost: 1_320_000_000,
                    victims: 37,
                    root: true,
                    statement: "alter table staging.customer add column score numeric".to_owned(),
                    who: "budi@itera.ac.id in dwh with psql".to_owned(),
                },
                Blocker {
                    pid: 9_120,
                    at: at(140),
                    cost: 201_000_000,
                    victims: 4,
                    root: false,
                    statement: String::new(),
                    who: "etl in dwh".to_owned(),
                },
            ],
            19,
        ),
        objects: top(
            vec![
                counted("", "transaction", 160, 900_000_000, 412_000_000),
                counted(
                    "",
                    "relation 16384 of database 5",
                    51,
                    600_000_000,
                    200_000_000,
                ),
            ],
            2,
        ),
        statements: top(
            vec![counted(
                "07aa0c4411fe9b13",
                "update staging.customer set name = ?, email = ?, updated_at = now() where id = ?",
                160,
                900_000_000,
                412_000_000,
            )],
            9,
        ),
        deadlocks: top(
            vec![Deadlock {
                at: at(815),
                victim: 4_712,
                edges: vec![
                    edge(4_712, 4_713, "transaction 734121"),
                    edge(4_713, 4_712, "transaction 734122"),
                ],
            }],
            3,
        ),
        refused: top(
            vec![counted(
                "07aa0c4411fe9b13",
                "lock table staging.customer in exclusive mode nowait",
                6,
                0,
                0,
            )],
            1,
        ),
        series: sparse(37, 4),
    }
}

fn server() -> Server {
    let event = |minutes, kind: &str, level, message: &str| ServerEvent {
        at: at(minutes),
        kind: kind.to_owned(),
        level,
        message: message.to_owned(),
        count: 1,
    };
    Server {
        events: top(
            vec![
                event(
                    0,
                    "server-ready",
                    Level::Info,
                    "database system is ready to accept connections",
                ),
                event(
                    702,
                    "backend-crash",
                    Level::Critical,
                    "server process (PID 24771) was terminated by signal 9: Killed",
                ),
                event(
                    702,
                    "crash-cascade",
                    Level::Critical,
                    "terminating any other active server processes",
                ),
                event(
                    703,
                    "server-ready",
                    Level::Info,
                    "database system is ready to accept connections",
                ),
            ],
            4,
        ),
        crashes: vec![Crash {
            at: at(702),
            pid: 24_771,
            process: "server process".to_owned(),
            signal: 9,
            cause: "killed from outside, often by the kernel for memory".to_owned(),
            statement: "select count(*) from log.events where payload @> ?".to_owned(),
            who: "dashboard in dwh with metabase".to_owned(),
            memory: "out of memory 2 times within the 10 minutes before".to_owned(),
            victims: 61,
            ready_at: at(703),
            ..Crash::default()
        }],
    }
}

fn sessions() -> Sessions {
    let refused = |kind: &str, user: &str, host: &str, count| Refused {
        kind: kind.to_owned(),
        user: user.to_owned(),
        database: "dwh".to_owned(),
        host: host.to_owned(),
        count,
        first_at: at(30),
        last_at: at(1_111),
    };
    Sessions {
        received: 48_530,
        authorized: 48_112,
        lasted: durations(48_040, 4_000_000, 43_200_000_000),
        open_max: Some(198),
        open_max_at: at(701),
        series: series(50, 3),
        minute_max: 912,
        minute_max_at: at(703),
        minute_median: 31,
        users: counts(&[
            ("dashboard", 40_000),
            ("etl", 8_000),
            ("budi@itera.ac.id", 112),
        ]),
        databases: counts(&[("dwh", 48_000), ("Data Mart", 112)]),
        hosts: counts(&[
            ("10.4.0.22", 40_000),
            ("10.4.0.17", 8_000),
            ("[local]", 112),
        ]),
        applications: counts(&[("metabase", 40_000), ("nightly-load", 8_000), ("psql", 112)]),
        refused: top(
            vec![
                refused("password-failed", "admin", "203.0.113.77", 400),
                refused("no-hba-entry", "root", "203.0.113.77", 12),
            ],
            2,
        ),
    }
}

fn vacuums() -> Vacuums {
    let table = |table: &str, vacuums, elapsed, removed, index_scans| VacuumedTable {
        table: table.to_owned(),
        vacuums,
        analyzes: vacuums + 2,
        elapsed,
        removed,
        dead_kept: removed / 9,
        pages_removed: 12,
        index_scans,
        dirtied: 80_112,
        wal_bytes: 812_000_000,
        last_at: at(1_380),
    };
    Vacuums {
        vacuums: 311,
        aggressive: 4,
        wraparound: 1,
        analyzes: 402,
        cancelled: 14,
        tables: top(
            vec![
                table("dwh.staging.customer", 212, 3_900_000_000, 41_000_000, 640),
                table("dwh.log.events", 40, 1_800_000_000, 9_000_000, 40),
            ],
            41,
        ),
        elapsed: durations(311, 19_000_000, 880_000_000),
        series: sparse(11, 1),
    }
}

fn plans() -> Plans {
    let finding = PlanFinding {
        rule: "seq-scan-filter-waste".to_owned(),
        level: Level::Warning,
        node: "Seq Scan on log.events".to_owned(),
        title: "it reads 41,200,118 rows to return 12".to_owned(),
        remedy: "CREATE INDEX CONCURRENTLY ON log.events USING gin (payload jsonb_path_ops);"
            .to_owned(),
    };
    Plans {
        count: 812,
        unread: 1,
        plans: top(vec![PlanShape {
            shape: "1f2e3d4c5b6a7988".to_owned(),
            text: "select count(*) from log.events where payload @> ?".to_owned(),
            plan: "77aa10b2c3d4e5f6".to_owned(),
            count: 640,
            total: 276_000_000,
            max: 9_800_000,
            sample: "Aggregate  (cost=912.11..912.12 rows=1 width=8) (actual time=9799.1..9799.1 rows=1 loops=1)\n  \
                    ->  Seq Scan on events  (cost=0.00..912.00 rows=41 width=0) (actual time=41.0..9798.8 rows=12)\n        \
                    Filter: (payload @> '?'::jsonb)\n        \
                    Rows Removed by Filter: 41200106".to_owned(),
            findings: vec![finding],
        }], 6),
    }
}

fn checkpoints() -> Checkpoints {
    Checkpoints {
        count: 301,
        restartpoints: 0,
        reasons: counts(&[("wal", 214), ("time", 80), ("immediate force wait", 7)]),
        too_frequent: 18,
        total: durations(301, 101_000_000, 270_000_000),
        write: durations(301, 98_000_000, 269_000_000),
        sync: durations(301, 400_000, 9_100_000),
        longest_sync: 4_200_000,
        buffers: 14_511_902,
        added: 12,
        removed: 301,
        recycled: 9_120,
        distance: 301 * 540_000_000,
        distance_max: 1_480_000_000,
        estimate_max: 1_500_000_000,
        series: sparse(5, 1),
        buffers_series: series(60_000, 5),
    }
}

/// Returns the report.
#[expect(
    clippy::too_many_lines,
    reason = "made-up data is read from top to bottom"
)]
pub(crate) fn report() -> Report {
    let advice = |id: &str, level, title: &str, because: &str, remedy: &str| Advice {
        id: id.to_owned(),
        level,
        title: title.to_owned(),
        because: because.to_owned(),
        remedy: remedy.to_owned(),
    };
    let severities: BTreeMap<Severity, u64> = [
        (Severity::Log, 1_310_220),
        (Severity::Warning, 40),
        (Severity::Error, 2_011),
        (Severity::Fatal, 473),
    ]
    .into_iter()
    .collect();
    Report {
        source: Source {
            files: vec![SourceFile {
                zones: Vec::new(),
                foreign: 0,
                name: "/var/log/postgresql/postgresql-15-main.log".to_owned(),
                format: "stderr".to_owned(),
                prefixes: vec!["%m [%p] %q%u@%d ".to_owned()],
                match_rate: Some(0.9997),
                compression: None,
                bytes: 412_881_920,
                records: 1_312_744,
                trouble: None,
            }],
            bytes: 412_881_920,
        },
        totals: Totals {
            first_at: at(0),
            last_at: at(1_439),
            records: 1_312_744,
            severities,
            series: [
                (Severity::Log, series(950, 1)),
                (Severity::Error, sparse(9, 13)),
                (Severity::Fatal, sparse(21, 7)),
                (Severity::Warning, sparse(80, 3)),
            ]
            .into_iter()
            .collect(),
            unclassified: 12,
        },
        integrity: Integrity {
            forged: top(
                vec![OddLine {
                    text: "2026-11-21 03:12:07.001 UTC [1] PANIC:  all is lost".to_owned(),
                    count: 1,
                }],
                1,
            ),
            gaps: top(
                vec![Gap {
                    pid: 4_711,
                    at: at(300),
                    lines: 14,
                }],
                1,
            ),
            ..Integrity::default()
        },
        kinds: kinds(),
        unclassified: top(
            vec![Text {
                text: "some extension said ?".to_owned(),
                count: 12,
                first_at: at(5),
                last_at: at(900),
                sample: "some extension said 42".to_owned(),
            }],
            1,
        ),
        errors: errors(),
        statements: statements(),
        temp_files: TempFiles {
            count: 912,
            bytes: 91_000_000_000,
            max: 4_100_000_000,
            statements: top(
                vec![
                    counted("9c3f11a07be2d410", LOAD, 48, 80_000_000_000, 4_100_000_000),
                    counted("", "", 864, 11_000_000_000, 100_000_000),
                ],
                2,
            ),
            series: series(90_000_000, 21),
        },
        locks: locks(),
        sessions: sessions(),
        checkpoints: checkpoints(),
        vacuums: vacuums(),
        server: server(),
        plans: plans(),
        audit: Audit::default(),
        pgbouncer: PgBouncer::default(),
        timeline: Timeline::default(),
        advice: vec![
            advice(
                "memory-killed",
                Level::Critical,
                "keep the kernel from killing the server for memory",
                "the server process 24771 was killed by signal 9 at 11:42 and took 61 sessions with it",
                "ALTER SYSTEM SET work_mem = '64MB';",
            ),
            advice(
                "checkpoint-max-wal-size",
                Level::Warning,
                "raise max_wal_size",
                "214 of 301 checkpoints were started by WAL and not by the clock; 540 MB of WAL were written between them, 1.4 GB at most",
                "ALTER SYSTEM SET max_wal_size = '16GB';",
            ),
            advice(
                "pooler",
                Level::Info,
                "put a pooler in front of the dashboard",
                "48,112 logins in a day, 912 of them within one minute",
                "",
            ),
        ],
    }
}
