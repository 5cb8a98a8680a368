//! A gigabyte of real log in each format: one run of a server that logs everything three times, repeated with other days.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use memchr::memmem::Finder;
use pawang_testbed::{Cluster, Setup, until};

use crate::run;

/// What the server writes, by the ending of its file.
pub(super) const FORMATS: [(&str, &str); 3] =
    [("stderr", "log"), ("csvlog", "csv"), ("jsonlog", "json")];
/// Everything that a prefix can tell, and that csvlog and jsonlog tell anyway.
pub(super) const PREFIX: &str =
    "%m [%p] %c %l user=%u,db=%d,app=%a,client=%h,state=%e,backend=%b,qid=%Q ";
/// How long each way of asking (simple, extended, prepared) runs.
const SECONDS: &str = "2";
const DAY: u64 = 86_400;

/// Runs a server under load and returns the folder with `postgresql.log`, `.csv` and `.json`, and the server that owns it.
pub(super) async fn capture() -> Result<(Cluster, PathBuf), String> {
    let settings = [
        ("logging_collector", "on"),
        ("log_filename", "postgresql.log"),
        ("log_rotation_age", "0"),
        ("log_rotation_size", "0"),
        ("log_destination", "stderr,csvlog,jsonlog"),
        ("log_timezone", "UTC"),
        ("log_min_duration_statement", "0"),
        ("log_connections", "on"),
        ("log_disconnections", "on"),
        ("log_lock_waits", "on"),
        ("log_temp_files", "0"),
        ("log_autovacuum_min_duration", "0"),
        ("log_checkpoints", "on"),
        ("compute_query_id", "on"),
        ("deadlock_timeout", "200ms"),
        ("checkpoint_timeout", "30s"),
        ("log_line_prefix", PREFIX),
    ];
    let cluster = Cluster::start(&Setup {
        settings: &settings,
        ..Setup::default()
    })
    .await;
    pgbench(&cluster, &["-i", "-q", "-s", "5"])?;
    for mode in ["simple", "extended", "prepared"] {
        pgbench(&cluster, &["-M", mode, "-c", "4", "-T", SECONDS])?;
    }
    trouble(&cluster).await;
    let folder = cluster.data_directory().join("log");
    Ok((cluster, folder))
}

fn pgbench(cluster: &Cluster, words: &[&str]) -> Result<(), String> {
    let program = cluster.bin_directory().join("pgbench");
    let mut command = Command::new(program);
    command
        .args(words)
        .args(["-h", &cluster.socket_directory().to_string_lossy()])
        .args([
            "-p",
            &cluster.port().to_string(),
            "-U",
            "postgres",
            "postgres",
        ]);
    run::quiet(&mut command).map(drop)
}

/// Errors, a lock that is waited for, and a temporary file.
async fn trouble(cluster: &Cluster) {
    let session = cluster.connect("postgres").await;
    for number in 0..50 {
        let wrong = [
            format!("SELECT * FROM missing_{number}"),
            "SELECT 1 / 0".to_owned(),
            format!(
                "INSERT INTO pgbench_branches VALUES ({}, 0, '')",
                number % 5 + 1
            ),
            "SELECT 'a text\nof two lines' || 1 / 0".to_owned(),
        ];
        for statement in &wrong {
            // The server's refusal is what the log is to hold.
            let _ = session.batch_execute(statement).await;
        }
    }
    let sort = "SET work_mem = '64kB'; SELECT count(*) FROM (SELECT * FROM pgbench_accounts ORDER BY filler, aid OFFSET 1) AS s";
    cluster.sql("postgres", sort).await;
    let holder = cluster
        .hold(
            "postgres",
            "UPDATE pgbench_branches SET bbalance = 0 WHERE bid = 1",
        )
        .await;
    let waiter = cluster.connect("postgres").await;
    let blocked = waiter.batch_execute("UPDATE pgbench_branches SET bbalance = 1 WHERE bid = 1");
    let told = until("the wait is logged", async || {
        fs::read_to_string(cluster.data_directory().join("log/postgresql.log"))
            .is_ok_and(|text| text.contains("still waiting for"))
    });
    let release = async {
        told.await;
        let _ = holder.batch_execute("COMMIT").await;
    };
    let _ = tokio::join!(blocked, release);
}

/// Writes the capture again and again, each time a day later, until the file has `bytes`.
pub(super) fn repeat(source: &Path, target: &Path, bytes: u64) -> Result<u64, String> {
    let told = |error: std::io::Error| format!("could not write \"{}\": {error}", target.display());
    let text = fs::read(source)
        .map_err(|error| format!("could not read \"{}\": {error}", source.display()))?;
    let first = day_of(&text)?;
    let mut file = BufWriter::new(File::create(target).map_err(told)?);
    let mut written = 0;
    for number in 0.. {
        if written >= bytes {
            break;
        }
        let copy = shifted(&text, first, number)?;
        file.write_all(&copy).map_err(told)?;
        written += copy.len() as u64;
    }
    file.flush().map_err(told)?;
    Ok(written)
}

/// Returns the first date in the text.
fn day_of(text: &[u8]) -> Result<jiff::civil::Date, String> {
    let start = Finder::new(b"20")
        .find(text)
        .ok_or("the capture is empty")?;
    let date = String::from_utf8_lossy(&text[start..start + 10]).into_owned();
    date.parse()
        .map_err(|error| format!("\"{date}\" is no date: {error}"))
}

/// Returns the text with its dates, and the sessions that are named after their start, so many days later.
fn shifted(text: &[u8], first: jiff::civil::Date, days: u64) -> Result<Vec<u8>, String> {
    let mut text = text.to_vec();
    let move_by = i64::try_from(days).map_err(|error| error.to_string())?;
    // From the last day back, so that no date is moved twice.
    for offset in [1, 0] {
        let later = |by: i64| {
            first
                .checked_add(jiff::Span::new().days(by))
                .map_err(|error| error.to_string())
        };
        let (old, new) = (
            later(offset)?.to_string(),
            later(offset + move_by)?.to_string(),
        );
        let places: Vec<usize> = Finder::new(&old).find_iter(&text).collect();
        places
            .into_iter()
            .for_each(|at| text[at..at + new.len()].copy_from_slice(new.as_bytes()));
    }
    let midnight = first
        .to_zoned(jiff::tz::TimeZone::UTC)
        .map_err(|error| error.to_string())?
        .timestamp()
        .as_second();
    let session = format!("{midnight:08x}");
    // Sessions of two days share the first four of their eight digits, or the next value of them.
    for start in [&session[..4], &format!("{:08x}", midnight + 86_400)[..4]] {
        let places: Vec<usize> = Finder::new(start).find_iter(&text).collect();
        for at in places {
            move_session(&mut text, at, days);
        }
        if session[..4] == format!("{:08x}", midnight + 86_400)[..4] {
            break;
        }
    }
    Ok(text)
}

/// Moves the session id at this place, if it is one.
fn move_session(text: &mut [u8], at: usize, days: u64) {
    let Some(digits) = text
        .get(at..at + 8)
        .filter(|_| text.get(at + 8) == Some(&b'.'))
    else {
        return;
    };
    let number = std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| u64::from_str_radix(digits, 16).ok());
    if let Some(seconds) = number {
        let moved = format!("{:08x}", seconds + days * DAY);
        text[at..at + 8].copy_from_slice(moved.as_bytes());
    }
}
