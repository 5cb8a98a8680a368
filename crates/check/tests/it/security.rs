//! Faults of the group `security`: silent when healthy, found when injected, gone when cleared.

use std::path::Path;
use std::process::Command;

use pawang_core::{Blind, Level, Outcome};
use pawang_postgres::{Environment, Session, Target};
use pawang_testbed::{Cluster, Setup, Stop, Version, until, versions};

use crate::watch::Watch;

/// A server as it should be, but for what a test changes.
const HEALTHY: &[(&str, &str)] = &[
    ("fsync", "on"),
    ("track_io_timing", "on"),
    ("log_checkpoints", "on"),
    ("log_lock_waits", "on"),
    ("log_autovacuum_min_duration", "10min"),
    ("log_temp_files", "10MB"),
    ("log_min_duration_statement", "1s"),
];

/// Check, setting, the value that is wrong, level, and the object that is found.
const SETTINGS: &[(&str, &str, &str, Level, &str)] = &[
    ("fsync", "fsync", "off", Level::Critical, ""),
    (
        "full-page-writes",
        "full_page_writes",
        "off",
        Level::Critical,
        "",
    ),
    (
        "synchronous-commit",
        "synchronous_commit",
        "off",
        Level::Warning,
        "",
    ),
    (
        "zero-damaged-pages",
        "zero_damaged_pages",
        "on",
        Level::Critical,
        "",
    ),
    (
        "ignore-checksum-failure",
        "ignore_checksum_failure",
        "on",
        Level::Critical,
        "",
    ),
    (
        "allow-system-table-mods",
        "allow_system_table_mods",
        "on",
        Level::Critical,
        "",
    ),
    (
        "session-replication-role",
        "session_replication_role",
        "replica",
        Level::Critical,
        "",
    ),
    (
        "planner-methods",
        "enable_seqscan",
        "off",
        Level::Warning,
        "enable_seqscan",
    ),
    ("track-counts", "track_counts", "off", Level::Critical, ""),
    (
        "track-activities",
        "track_activities",
        "off",
        Level::Warning,
        "",
    ),
    ("track-io-timing", "track_io_timing", "off", Level::Info, ""),
    (
        "log-settings",
        "log_lock_waits",
        "off",
        Level::Info,
        "log_lock_waits",
    ),
    (
        "password-encryption",
        "password_encryption",
        "md5",
        Level::Warning,
        "",
    ),
    (
        "password-in-conninfo",
        "primary_conninfo",
        "host=a password=b",
        Level::Warning,
        "",
    ),
    (
        "password-in-conninfo",
        "primary_conninfo",
        "postgres://u:b@a/",
        Level::Warning,
        "",
    ),
];

#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "only the server's own program switches checksums off"
)]
async fn a_cluster_without_checksums() {
    let program = Path::new("/usr/lib/postgresql/15/bin/pg_checksums");
    if !program.exists() {
        return;
    }
    let mut cluster = Cluster::start(&Setup {
        version: Some(Version(15)),
        ..Setup::default()
    })
    .await;
    let mut watch = Watch::start(&cluster).await;
    for (change, level) in [
        ("--enable", Level::Ok),
        ("--disable", Level::Warning),
        ("--enable", Level::Ok),
    ] {
        cluster.stop(Stop::Fast).await;
        // It fails when there is nothing to change; what counts is what the server says then.
        let arguments = [change, "--no-sync", "-D"];
        Command::new(program)
            .args(arguments)
            .arg(cluster.data_directory())
            .output()
            .unwrap();
        cluster.start_again().await;
        assert_eq!(
            watch.verdict("data-checksums").await.level,
            level,
            "{change}"
        );
    }
}

/// Changes one setting of the running server and waits until new sessions see it.
async fn set(cluster: &Cluster, name: &str, value: Option<&str>) {
    let statement = match value {
        Some(value) => format!("ALTER SYSTEM SET {name} = '{value}'"),
        None => format!("ALTER SYSTEM RESET {name}"),
    };
    let ask = format!("SELECT setting FROM pg_settings WHERE name = '{name}'");
    let before = cluster.sql("postgres", &ask).await;
    cluster.sql("postgres", &statement).await;
    cluster.reload().await;
    until(&statement, async || {
        cluster.sql("postgres", &ask).await != before
    })
    .await;
}

#[tokio::test]
async fn settings_that_risk_data() {
    let cluster = Cluster::start(&Setup {
        settings: HEALTHY,
        ..Setup::default()
    })
    .await;
    let mut watch = Watch::start(&cluster).await;
    let ids: Vec<&str> = SETTINGS.iter().map(|(id, ..)| *id).collect();
    for verdict in watch.look(&ids).await.verdicts {
        assert_eq!(
            (verdict.level, verdict.outcome),
            (Level::Ok, Outcome::Judged),
            "{verdict:#?}"
        );
    }
    for (id, name, value, level, object) in SETTINGS {
        set(&cluster, name, Some(value)).await;
        watch.found(id, *level, object).await;
        set(&cluster, name, None).await;
        watch.silent(id).await;
    }
}

#[tokio::test]
async fn settings_that_only_a_restart_changes() {
    for version in versions() {
        let cluster = Cluster::start(&Setup {
            version: Some(version),
            settings: &[
                ("ignore_invalid_pages", "on"),
                ("ignore_system_indexes", "on"),
                ("listen_addresses", "localhost"),
            ],
            ..Setup::default()
        })
        .await;
        let mut watch = Watch::start(&cluster).await;
        watch
            .found("ignore-invalid-pages", Level::Critical, "")
            .await;
        watch
            .found("ignore-system-indexes", Level::Warning, "")
            .await;
        watch.found("fsync", Level::Critical, "").await;
        let checksums = cluster.sql("postgres", "SHOW data_checksums").await;
        if checksums[0][0].as_deref() == Some("on") {
            watch.silent("data-checksums").await;
        } else {
            watch.found("data-checksums", Level::Warning, "").await;
        }
        watch.silent("ssl").await;
        let protocol = watch.verdict("ssl-protocol").await;
        assert_eq!(protocol.outcome, Outcome::NotApplicable);
    }
}

#[tokio::test]
async fn a_server_on_the_network_without_tls() {
    let mut cluster = Cluster::start(&Setup {
        tcp: true,
        ..Setup::default()
    })
    .await;
    let mut watch = Watch::start(&cluster).await;
    watch.silent("ssl").await;
    cluster
        .sql("postgres", "ALTER SYSTEM SET listen_addresses = '0.0.0.0'")
        .await;
    cluster.stop(Stop::Fast).await;
    cluster.start_again().await;
    watch.found("ssl", Level::Warning, "").await;
    watch.silent("superuser-sessions").await;
    let url = format!(
        "postgresql://postgres@127.0.0.1:{}/postgres",
        cluster.port()
    );
    let target = Target::parse(&url, &Environment::default()).unwrap();
    let session = Session::connect(&target, "etl").await.unwrap();
    watch
        .found("superuser-sessions", Level::Warning, "127.0.0.1")
        .await;
    drop(session);
    let ask = "SELECT count(*) FROM pg_stat_activity WHERE client_addr IS NOT NULL";
    until("the session to end", async || {
        cluster.sql("postgres", ask).await[0][0].as_deref() == Some("0")
    })
    .await;
    watch.silent("superuser-sessions").await;
}

#[tokio::test]
async fn changes_of_settings_are_told_with_old_and_new() {
    let cluster = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&cluster).await;
    let first = watch.verdict("settings-drift").await;
    assert_eq!(first.findings[0].blind, Some(Blind::FirstSample));
    watch.silent("settings-drift").await;
    set(&cluster, "work_mem", Some("7MB")).await;
    let finding = watch.found("settings-drift", Level::Info, "work_mem").await;
    assert!(
        finding.title.contains("from \"4096\" to \"7168\""),
        "{}",
        finding.title
    );
    watch.silent("settings-drift").await;

    watch.silent("role-settings").await;
    cluster
        .sql(
            "postgres",
            "ALTER ROLE postgres SET session_replication_role = replica",
        )
        .await;
    watch
        .found("role-settings", Level::Warning, "session_replication_role")
        .await;
    cluster
        .sql(
            "postgres",
            "ALTER ROLE postgres RESET session_replication_role",
        )
        .await;
    cluster
        .sql(
            "postgres",
            "ALTER DATABASE template1 SET synchronous_commit = off",
        )
        .await;
    watch
        .found("role-settings", Level::Info, "database \"template1\"")
        .await;
    cluster
        .sql(
            "postgres",
            "ALTER DATABASE template1 RESET synchronous_commit",
        )
        .await;
    watch.silent("role-settings").await;
}

#[tokio::test]
async fn superusers_whatever_their_names() {
    for version in versions() {
        let cluster = Cluster::start(&Setup {
            version: Some(version),
            ..Setup::default()
        })
        .await;
        let mut watch = Watch::start(&cluster).await;
        for id in [
            "superusers",
            "superuser-members",
            "server-file-roles",
            "role-powers",
            "password-expiry",
        ] {
            watch.silent(id).await;
        }
        let faults = "CREATE ROLE pgbouncer LOGIN SUPERUSER; CREATE ROLE \"pgAdmin\" LOGIN SUPERUSER;
            CREATE ROLE dba SUPERUSER NOLOGIN; CREATE ROLE jane LOGIN; GRANT dba TO jane;
            CREATE ROLE loader LOGIN; GRANT pg_execute_server_program TO loader; CREATE ROLE reader LOGIN BYPASSRLS;
            CREATE ROLE gone LOGIN VALID UNTIL '2020-01-01'; CREATE ROLE group_gone NOLOGIN VALID UNTIL '2020-01-01';
            CREATE ROLE forever LOGIN VALID UNTIL 'infinity';";
        cluster.sql("postgres", faults).await;
        let soon = "DO $$ BEGIN EXECUTE format('CREATE ROLE soon LOGIN VALID UNTIL %L', now() + interval '5 days'); END $$";
        cluster.sql("postgres", soon).await;
        watch.found("superusers", Level::Warning, "pgbouncer").await;
        let finding = watch.found("superusers", Level::Warning, "pgAdmin").await;
        assert_eq!(finding.remedy, "ALTER ROLE \"pgAdmin\" NOSUPERUSER;");
        watch
            .found("superuser-members", Level::Warning, "jane")
            .await;
        watch
            .found("server-file-roles", Level::Warning, "loader")
            .await;
        watch.found("role-powers", Level::Info, "reader").await;
        let finding = watch
            .found("password-expiry", Level::Critical, "gone")
            .await;
        assert!(
            finding.title.contains("all others still work"),
            "{}",
            finding.title
        );
        watch.found("password-expiry", Level::Warning, "soon").await;
        let verdict = watch.verdict("password-expiry").await;
        assert_eq!(verdict.findings_total, 2, "{verdict:#?}");
        let cleared = "DROP ROLE pgbouncer; DROP ROLE \"pgAdmin\"; REVOKE dba FROM jane; DROP ROLE loader; DROP ROLE reader;
            DROP ROLE gone; ALTER ROLE soon VALID UNTIL 'infinity';";
        cluster.sql("postgres", cleared).await;
        for id in [
            "superusers",
            "superuser-members",
            "server-file-roles",
            "role-powers",
            "password-expiry",
        ] {
            watch.silent(id).await;
        }
    }
}

#[tokio::test]
async fn passwords_are_only_judged_by_a_superuser() {
    let cluster = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&cluster).await;
    let verdict = watch.verdict("md5-passwords").await;
    assert_eq!(verdict.outcome, Outcome::Unknown);
    assert!(
        matches!(verdict.findings[0].blind, Some(Blind::NoPrivilege { .. })),
        "{verdict:#?}"
    );
    let mut watch = Watch::over(&cluster.url("postgres"));
    watch.silent("md5-passwords").await;
    let hash = "md5aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    cluster
        .sql(
            "postgres",
            &format!("CREATE ROLE old LOGIN PASSWORD '{hash}'"),
        )
        .await;
    let finding = watch.found("md5-passwords", Level::Warning, "old").await;
    assert!(
        !format!("{finding:?}").contains(hash),
        "the verifier must not be shown"
    );
    cluster
        .sql(
            "postgres",
            "SET password_encryption = 'scram-sha-256'; ALTER ROLE old PASSWORD 'x'",
        )
        .await;
    watch.silent("md5-passwords").await;
}

const GRANT: &str = "GRANT EXECUTE ON FUNCTION pg_catalog.pg_hba_file_rules() TO \"monitor\";";

#[tokio::test]
async fn lines_of_pg_hba() {
    for version in versions() {
        let cluster = Cluster::start(&Setup {
            version: Some(version),
            hba: Some(
                "local all monitor trust\nhost all postgres all reject\nhostnossl all all all reject",
            ),
            ..Setup::default()
        })
        .await;
        let mut watch = Watch::start(&cluster).await;
        let verdict = watch.verdict("hba-md5").await;
        assert_eq!(verdict.findings[0].remedy, GRANT, "{verdict:#?}");
        cluster.sql("postgres", GRANT).await;
        for id in [
            "hba-md5",
            "hba-superuser",
            "hba-plaintext",
            "hba-open",
            "hba-shadowed",
        ] {
            watch.silent(id).await;
        }
        let file = cluster.data_directory().join("pg_hba.conf");
        let healthy = std::fs::read_to_string(&file).unwrap();
        let first = healthy.lines().count() + 1;
        let place = |index: usize| format!("pg_hba.conf:{}", first + index);
        assert!(
            !watch
                .verdict("hba-trust")
                .await
                .findings
                .iter()
                .any(|f| f.level == Level::Critical)
        );
        // Document 001 2.1.3: the fourth line lets the whole network in before the stricter ones are reached.
        let healthy = healthy.replace(
            "host all postgres all reject\nhostnossl all all all reject",
            "# none\n# none",
        );
        let faults = "host all all 10.0.0.0/8 md5\nhostssl dw app 10.2.0.0/16 scram-sha-256\nhost dw app 172.16.0.0/12 password
host dw app 192.168.0.0/16 trust\nhost dw app ::1/128 trust\nhost all all 0.0.0.0/0 scram-sha-256\nhost dw app 999.0.0.0/8 md5\n";
        std::fs::write(&file, format!("{healthy}{faults}")).unwrap();
        watch.found("hba-md5", Level::Warning, &place(0)).await;
        watch.found("hba-md5", Level::Critical, &place(2)).await;
        let finding = watch.found("hba-shadowed", Level::Warning, &place(1)).await;
        assert!(finding.title.contains(&place(0)), "{}", finding.title);
        watch.found("hba-trust", Level::Critical, &place(3)).await;
        watch.found("hba-trust", Level::Warning, &place(4)).await;
        watch.found("hba-open", Level::Warning, &place(5)).await;
        watch
            .found("hba-superuser", Level::Warning, &place(0))
            .await;
        watch
            .found("hba-plaintext", Level::Warning, &place(0))
            .await;
        std::fs::write(&file, &healthy).unwrap();
        for id in [
            "hba-md5",
            "hba-superuser",
            "hba-plaintext",
            "hba-open",
            "hba-shadowed",
        ] {
            watch.silent(id).await;
        }
    }
}

#[tokio::test]
async fn everybody_and_the_tables() {
    for version in versions() {
        let cluster = Cluster::start(&Setup {
            version: Some(version),
            ..Setup::default()
        })
        .await;
        cluster
            .sql("postgres", "CREATE DATABASE \"Data Mart\"")
            .await;
        let database = "Data Mart";
        let mut watch = Watch::start(&cluster).await;
        if version.0 == 14 {
            watch.found("public-create", Level::Warning, "public").await;
            for database in ["postgres", database] {
                cluster
                    .sql(database, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
                    .await;
            }
        }
        let ids = [
            "public-create",
            "public-grants",
            "public-column-grants",
            "default-privileges",
            "database-grants",
        ];
        for id in ids {
            watch.silent(id).await;
        }
        let faults = "CREATE SCHEMA \"Fact\"; CREATE TABLE \"Fact\".\"Surat.x\" (id int, note text); CREATE TABLE dim_waktu (id int);
            GRANT CREATE, USAGE ON SCHEMA \"Fact\" TO PUBLIC; GRANT SELECT (note) ON \"Fact\".\"Surat.x\" TO PUBLIC;
            GRANT SELECT ON dim_waktu TO PUBLIC; CREATE VIEW v AS SELECT 1; GRANT INSERT ON v TO PUBLIC;
            ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC; GRANT CREATE ON DATABASE \"Data Mart\" TO PUBLIC;";
        cluster.sql(database, faults).await;
        let mut remedies = Vec::new();
        for (id, level, object) in [
            ("public-create", Level::Warning, "Fact"),
            ("public-column-grants", Level::Warning, "Fact.Surat.x.note"),
            ("public-grants", Level::Warning, "public.dim_waktu"),
            ("public-grants", Level::Critical, "public.v"),
            (
                "default-privileges",
                Level::Warning,
                "postgres tables in any schema",
            ),
            ("database-grants", Level::Warning, database),
        ] {
            let finding = watch.found(id, level, object).await;
            let place = (id != "database-grants").then(|| database.to_owned());
            assert_eq!(finding.database, place, "{id}");
            remedies.push(finding.remedy);
        }
        for remedy in remedies {
            cluster.sql(database, &remedy).await;
        }
        for id in ids {
            watch.silent(id).await;
        }
    }
}

/// The shape of document 001 9.2.2: everybody may call it, and it asks current_user, which is the owner.
const CODE_FAULTS: &str = "CREATE FUNCTION \"getSsn\"(who text) RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT current_user::text';
            CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN RETURN NULL; END';
            CREATE TABLE tenants (id int); CREATE POLICY own ON tenants USING (true);
            CREATE TABLE held (id int); ALTER TABLE held ENABLE ROW LEVEL SECURITY;
            CREATE FUNCTION guard() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
            CREATE EVENT TRIGGER guard ON ddl_command_end EXECUTE FUNCTION guard(); ALTER EVENT TRIGGER guard DISABLE;
            CREATE FUNCTION native(internal) RETURNS void LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_validator';
            CREATE LANGUAGE plwild HANDLER plpgsql_call_handler;";

#[tokio::test]
async fn code_with_the_privileges_of_its_owner() {
    for version in versions() {
        let cluster = Cluster::start(&Setup {
            version: Some(version),
            ..Setup::default()
        })
        .await;
        let mut watch = Watch::start(&cluster).await;
        let ids = [
            "security-definer-search-path",
            "security-definer-public",
            "row-security-off",
            "row-security-not-forced",
            "untrusted-languages",
            "native-functions",
            "event-triggers",
        ];
        for id in ids {
            watch.silent(id).await;
        }
        cluster.sql("postgres", CODE_FAULTS).await;
        let mut remedies = Vec::new();
        for (id, level, object) in [
            (
                "security-definer-search-path",
                Level::Critical,
                "public.getSsn(who text)",
            ),
            (
                "security-definer-search-path",
                Level::Warning,
                "public.note()",
            ),
            (
                "security-definer-public",
                Level::Warning,
                "public.getSsn(who text)",
            ),
            ("row-security-off", Level::Warning, "public.tenants"),
            ("row-security-not-forced", Level::Info, "public.held"),
            ("untrusted-languages", Level::Info, "plwild"),
            (
                "native-functions",
                Level::Warning,
                "public.native(internal)",
            ),
            ("event-triggers", Level::Warning, "guard"),
        ] {
            remedies.push(watch.found(id, level, object).await.remedy);
        }
        let definer = watch.verdict("security-definer-public").await;
        assert_eq!(
            definer.findings_total, 1,
            "trigger functions cannot be called: {definer:#?}"
        );
        for remedy in remedies
            .iter()
            .filter(|remedy| !remedy.starts_with("DROP EXTENSION"))
        {
            cluster.sql("postgres", remedy).await;
        }
        cluster
            .sql(
                "postgres",
                "DROP LANGUAGE plwild; ALTER TABLE tenants FORCE ROW LEVEL SECURITY",
            )
            .await;
        for id in ids {
            watch.silent(id).await;
        }
    }
}

#[tokio::test]
async fn settings_that_everybody_may_change() {
    for version in versions() {
        let cluster = Cluster::start(&Setup {
            version: Some(version),
            ..Setup::default()
        })
        .await;
        let mut watch = Watch::start(&cluster).await;
        if version.0 == 14 {
            assert_eq!(
                watch.verdict("parameter-grants").await.outcome,
                Outcome::NotApplicable
            );
            continue;
        }
        watch.silent("parameter-grants").await;
        cluster
            .sql(
                "postgres",
                "GRANT SET, ALTER SYSTEM ON PARAMETER log_statement TO PUBLIC",
            )
            .await;
        let finding = watch
            .found("parameter-grants", Level::Warning, "log_statement")
            .await;
        cluster.sql("postgres", &finding.remedy).await;
        watch.silent("parameter-grants").await;
    }
}

#[tokio::test]
async fn memory_that_the_settings_allow() {
    let cluster = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&cluster).await;
    watch.silent("memory-budget").await;
    cluster.set("work_mem", Some("1TB")).await;
    let finding = watch.found("memory-budget", Level::Critical, "").await;
    assert!(
        finding.title.contains("100 connections"),
        "{}",
        finding.title
    );
    cluster.set("work_mem", None).await;
    watch.silent("memory-budget").await;
}
