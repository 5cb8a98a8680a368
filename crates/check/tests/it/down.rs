//! Servers that were broken for real: the first cause must be the true one, within two seconds and without a connection.
#![expect(
    clippy::disallowed_methods,
    reason = "a test starts programs to break a server"
)]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pawang_check::down::{Cause, diagnose};
use pawang_collect::down::{DownRequest, inspect};
use pawang_core::{DownFacts, Level};
use pawang_postgres::{Environment, Session, Target};
use pawang_testbed::{Cluster, Setup, Stop, until};

use crate::mount::Mount;
use crate::watch::{Watch, now};

const TIME_MAX: Duration = Duration::from_secs(2);

/// Looks at a server that must refuse, knowing what a user's configuration would tell.
async fn look_at(url: &str, cluster: &Cluster) -> (DownFacts, Vec<Cause>) {
    let target = Target::parse(url, &Environment::default()).unwrap();
    let error = match Session::connect(&target, "test").await {
        Ok(_) => panic!("the server must refuse"),
        Err(error) => error,
    };
    let request = DownRequest {
        data_directories: vec![cluster.data_directory().to_owned()],
        log_file: Some(cluster.log_file().to_owned()),
        ..DownRequest::new(&target, &error)
    };
    let started = Instant::now();
    let facts = inspect(&request, now());
    let causes = diagnose(&facts);
    assert!(
        started.elapsed() < TIME_MAX,
        "it took {:?}",
        started.elapsed()
    );
    (facts, causes)
}

/// Asserts which cause comes first, and returns it.
async fn first(cluster: &Cluster, id: &str) -> Cause {
    let (facts, causes) = look_at(&cluster.url("postgres"), cluster).await;
    assert_eq!(causes[0].id, id, "{causes:#?}\n{facts:#?}");
    causes[0].clone()
}

/// Starts the server as its owner would and waits until it has given up.
async fn fails_to_start(cluster: &Cluster) {
    let mut child = command(cluster).spawn().unwrap();
    until("the server gives up", async || {
        child.try_wait().unwrap().is_some()
    })
    .await;
}

fn command(cluster: &Cluster) -> Command {
    let log = fs::File::options()
        .append(true)
        .open(cluster.log_file())
        .unwrap();
    let mut command = Command::new(cluster.bin_directory().join("postgres"));
    command.arg("-D").arg(cluster.data_directory());
    command.env_clear().env("LC_ALL", "C").current_dir("/");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    let owner = fs::metadata(cluster.data_directory().join("PG_VERSION")).unwrap();
    if rustix_is_root() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    command
}

/// Root's processes own what they create.
fn rustix_is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

fn signal(name: &str, pid: i64) {
    let status = Command::new("kill")
        .args(["-s", name, &pid.to_string()])
        .status();
    assert!(status.unwrap().success());
}

fn append(path: &Path, text: &str) -> String {
    let before = fs::read_to_string(path).unwrap();
    fs::write(path, format!("{before}{text}")).unwrap();
    before
}

async fn stopped() -> Cluster {
    let mut cluster = Cluster::start(&Setup::default()).await;
    cluster.stop(Stop::Fast).await;
    cluster
}

#[tokio::test]
async fn a_stopped_and_a_killed_server_are_told_apart() {
    let mut cluster = stopped().await;
    let cause = first(&cluster, "stopped").await;
    assert!(cause.remedy.contains("pg_ctl start"), "{cause:?}");

    cluster.start_again().await;
    cluster.kill();
    let cause = first(&cluster, "crashed").await;
    assert!(cause.title.contains("in production"), "{cause:?}");
    assert!(
        cause
            .evidence
            .iter()
            .any(|(name, _)| name == "postmaster.pid")
    );

    // Some other program got the process id of the dead postmaster.
    let path = cluster.data_directory().join("postmaster.pid");
    let file = fs::read_to_string(&path).unwrap();
    let (_, rest) = file.split_once('\n').unwrap();
    fs::write(&path, format!("{}\n{rest}", std::process::id())).unwrap();
    let cause = first(&cluster, "stale-pid-file").await;
    assert!(cause.remedy.contains("postmaster.pid"), "{cause:?}");
    fs::write(&path, file).unwrap();
    cluster.start_again().await;
}

#[tokio::test]
async fn errors_in_configuration_files_are_named_by_line() {
    let mut cluster = stopped().await;
    let data = cluster.data_directory().to_owned();
    let cases = [
        (
            "postgresql.conf",
            "work_memm = '4MB'\n",
            "configuration-parameter",
            "work_memm",
        ),
        (
            "postgresql.conf",
            "work_mem = 4MB 5\n",
            "configuration-syntax",
            "syntax error",
        ),
        (
            "postgresql.conf",
            "shared_buffers = 'plenty'\n",
            "configuration-value",
            "plenty",
        ),
        (
            "postgresql.auto.conf",
            "max_connections = '-3'\n",
            "configuration-value",
            "between",
        ),
        (
            "postgresql.conf",
            "include 'gone.conf'\n",
            "configuration-file",
            "gone.conf",
        ),
        (
            "postgresql.conf",
            "hba_file = '/nowhere/pg_hba.conf'\n",
            "hba-syntax",
            "/nowhere",
        ),
        (
            "pg_hba.conf",
            "host all all 10.0.0.0/8 scram\n",
            "hba-syntax",
            "scram",
        ),
        ("postgresql.conf", "ssl = on\n", "ssl-file", "server.crt"),
        (
            "postgresql.conf",
            "unix_socket_directories = '/nowhere/run'\n",
            "socket-directory-missing",
            "/nowhere/run",
        ),
        (
            "postgresql.conf",
            "shared_preload_libraries = 'no_such_library'\n",
            "library-missing",
            "no_such_library",
        ),
    ];
    for (file, line, id, word) in cases {
        let path = data.join(file);
        let before = append(&path, line);
        fails_to_start(&cluster).await;
        let cause = first(&cluster, id).await;
        assert!(cause.title.contains(word), "{line}: {cause:?}");
        fs::write(&path, before).unwrap();
    }
    cluster.start_again().await;
}

#[tokio::test]
async fn a_private_key_that_others_may_read_is_found() {
    let mut cluster = stopped().await;
    let data = cluster.data_directory().to_owned();
    let before = append(&data.join("postgresql.conf"), "ssl = on\n");
    let owner = fs::metadata(data.join("PG_VERSION")).unwrap();
    for name in ["server.crt", "server.key"] {
        let path = data.join(name);
        fs::write(&path, "-----BEGIN NOTHING-----\n").unwrap();
        chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }
    fails_to_start(&cluster).await;
    let cause = first(&cluster, "ssl-file").await;
    assert!(cause.title.contains("0644"), "{cause:?}");
    fs::write(data.join("postgresql.conf"), before).unwrap();
    cluster.start_again().await;
}

#[tokio::test]
async fn damage_of_the_data_directory_is_found() {
    let mut cluster = stopped().await;
    let data = cluster.data_directory().to_owned();
    let seen = fs::metadata(&data).unwrap();

    fs::set_permissions(&data, fs::Permissions::from_mode(0o777)).unwrap();
    fails_to_start(&cluster).await;
    first(&cluster, "data-directory-permissions").await;
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();

    if rustix_is_root() {
        chown(&data, Some(0), Some(0)).unwrap();
        first(&cluster, "data-directory-owner").await;
        chown(&data, Some(seen.uid()), Some(seen.gid())).unwrap();
    }

    let control = data.join("global/pg_control");
    let bytes = fs::read(&control).unwrap();
    let mut broken = bytes.clone();
    broken[40] ^= 0xff;
    fs::write(&control, &broken).unwrap();
    fails_to_start(&cluster).await;
    let cause = first(&cluster, "pg-control-damaged").await;
    assert!(cause.title.contains("checksum"), "{cause:?}");
    fs::write(&control, &bytes).unwrap();

    for (entry, id) in [
        ("global/pg_control", "pg-control-missing"),
        ("pg_wal", "pg-wal-missing"),
    ] {
        let (path, aside) = (data.join(entry), data.join("aside"));
        fs::rename(&path, &aside).unwrap();
        fails_to_start(&cluster).await;
        first(&cluster, id).await;
        if path.exists() {
            // The server makes an empty pg_wal before it gives up.
            fs::remove_dir_all(&path).unwrap();
        }
        fs::rename(&aside, &path).unwrap();
    }

    let aside = data.with_extension("aside");
    fs::rename(&data, &aside).unwrap();
    first(&cluster, "data-directory-missing").await;
    fs::rename(&aside, &data).unwrap();
    cluster.start_again().await;
}

#[tokio::test]
async fn wal_without_a_checkpoint_is_found_in_the_log() {
    let cluster = stopped().await;
    let wal = cluster.data_directory().join("pg_wal");
    for entry in fs::read_dir(&wal).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::remove_file(path).unwrap();
        }
    }
    fails_to_start(&cluster).await;
    first(&cluster, "checkpoint-missing").await;
}

#[tokio::test]
async fn a_port_that_another_program_has_is_found() {
    let setup = Setup {
        tcp: true,
        ..Setup::default()
    };
    let mut cluster = Cluster::start(&setup).await;
    let port = cluster.port();
    cluster.stop(Stop::Fast).await;
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    fails_to_start(&cluster).await;
    let hangs_up = listener.try_clone().unwrap();
    let thread = std::thread::spawn(move || drop(hangs_up.accept().unwrap()));
    let url = format!("postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=disable");
    let (facts, causes) = look_at(&url, &cluster).await;
    thread.join().unwrap();
    assert_eq!(causes[0].id, "port-in-use", "{causes:#?}\n{facts:#?}");
    assert!(
        causes[0].title.contains(&std::process::id().to_string()),
        "{causes:#?}"
    );
    drop(listener);
    cluster.start_again().await;
}

#[tokio::test]
async fn a_server_that_is_up_is_not_called_down() {
    let settings = [
        ("max_connections", "4"),
        ("superuser_reserved_connections", "3"),
    ];
    let cluster = Cluster::start(&Setup {
        settings: &settings,
        ..Setup::default()
    })
    .await;
    let monitor = cluster.monitor().await;
    let _taken = cluster.connect("postgres").await;
    let (_, causes) = look_at(&cluster.url_as(&monitor, "postgres"), &cluster).await;
    assert_eq!(causes[0].id, "too-many-connections", "{causes:#?}");

    let url = cluster.url_as("nobody at all", "postgres");
    drop(_taken);
    let (_, causes) = look_at(&url, &cluster).await;
    assert_eq!(causes[0].id, "log-in-refused", "{causes:#?}");

    let directory = cluster.socket_directory().display();
    let url = format!("postgresql:///postgres?host={directory}&port=5499&user=postgres");
    let (_, causes) = look_at(&url, &cluster).await;
    assert_eq!(causes[0].id, "other-port", "{causes:#?}");

    let pid = i64::from(cluster.postmaster());
    signal("STOP", pid);
    let url = format!("{}&connect_timeout=1", cluster.url("postgres"));
    let (_, causes) = look_at(&url, &cluster).await;
    signal("CONT", pid);
    assert_eq!(causes[0].id, "suspended", "{causes:#?}");
}

#[tokio::test]
async fn recovery_in_progress_is_no_reason_to_intervene() {
    let settings = [
        ("max_wal_size", "1GB"),
        ("checkpoint_timeout", "1h"),
        ("autovacuum", "off"),
    ];
    let mut cluster = Cluster::start(&Setup {
        settings: &settings,
        ..Setup::default()
    })
    .await;
    let fill = "CREATE TABLE t AS SELECT g, repeat('x', 100) AS x FROM generate_series(1, 400000) AS g; CREATE INDEX ON t (g)";
    cluster.sql("postgres", fill).await;
    cluster.kill();
    let mut child = command(&cluster).spawn().unwrap();
    let startup = startup_of(child.id()).await;
    signal("STOP", startup);
    let cause = first(&cluster, "crash-recovery").await;
    signal("CONT", startup);
    assert_eq!(cause.level, Level::Warning);
    assert!(cause.remedy.contains("do not kill"), "{cause:?}");
    signal("TERM", i64::from(child.id()));
    until("the server has ended", async || {
        child.try_wait().unwrap().is_some()
    })
    .await;

    let data = cluster.data_directory().to_owned();
    fs::write(data.join("standby.signal"), "").unwrap();
    append(&data.join("postgresql.conf"), "hot_standby = off\n");
    let mut child = command(&cluster).spawn().unwrap();
    let _replaying = startup_of(child.id()).await;
    until("the socket is there", async || {
        cluster.socket_directory().join(".s.PGSQL.5432").exists()
    })
    .await;
    first(&cluster, "standby-recovering").await;
    signal("INT", i64::from(child.id()));
    until("the server has ended", async || {
        child.try_wait().unwrap().is_some()
    })
    .await;
}

/// Waits until the startup process replays WAL, and returns it.
async fn startup_of(postmaster: u32) -> i64 {
    let mut startup = None;
    let children = format!("/proc/{postmaster}/task/{postmaster}/children");
    let deadline = Instant::now() + Duration::from_secs(20);
    while startup.is_none() {
        assert!(Instant::now() < deadline, "no startup process");
        for pid in fs::read_to_string(&children)
            .unwrap_or_default()
            .split_whitespace()
        {
            let title = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if title.contains("startup recovering") {
                startup = pid.parse().ok();
            }
        }
        tokio::task::yield_now().await;
    }
    startup.unwrap()
}

#[tokio::test]
async fn a_full_disk_is_found_after_the_panic() {
    if !Mount::allowed() {
        return;
    }
    let mut cluster = stopped().await;
    let data = cluster.data_directory().to_owned();
    let mount = Mount::new(cluster.socket_directory().join("small"), 60, &data, "");
    mount.replace(&data.join("pg_wal"));
    cluster.start_again().await;
    let mut filler = fs::File::create(mount.path().join("filler")).unwrap();
    let zeros = vec![0_u8; 1 << 20];
    while std::io::Write::write_all(&mut filler, &zeros).is_ok() {}
    let client = cluster.connect("postgres").await;
    let fill =
        "CREATE TABLE t AS SELECT g, repeat('x', 100) AS x FROM generate_series(1, 400000) AS g";
    client.batch_execute(fill).await.unwrap_err();
    let pid = cluster.postmaster();
    until("the server has given up", async || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    })
    .await;
    let cause = first(&cluster, "disk-full").await;
    assert!(cause.title.contains("wal"), "{cause:?}");
    drop(filler);
    fs::remove_file(mount.path().join("filler")).unwrap();
}

#[tokio::test]
async fn causes_become_a_verdict_and_a_remote_server_is_not_guessed_at() {
    let mut cluster = stopped().await;
    let mut watch = Watch::over(&cluster.url("postgres"));
    watch.host.data_directory = Some(cluster.data_directory().to_owned());
    watch.found("server-down", Level::Critical, "stopped").await;
    cluster.start_again().await;
    watch.silent("server-down").await;

    let request = DownRequest {
        addresses: vec![("db.example.org".to_owned(), 5432)],
        error: "no route".to_owned(),
        ..DownRequest::default()
    };
    let causes = diagnose(&inspect(&request, now()));
    assert_eq!(
        (causes[0].id, causes[0].level),
        ("not-local", Level::Unknown)
    );
}
