//! Measures what a daemon costs with many instances: one throw-away server under many names.
//!
//! `cargo run -p pawang --example fleet -- PATH_OF_PAWANG INSTANCES SECONDS`; each line is the time, the resident memory
//! and the processor time of the daemon since the line before, and that of the server.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a tool of developers that starts the program and prints"
)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pawang_testbed::{Cluster, Setup};

const EVERY: Duration = Duration::from_secs(10);
/// Ends the daemon when this process goes away, however it goes.
const GUARD: &str = "trap '' INT TERM; \"$@\" </dev/null >serve.log 2>&1 & child=$!; echo $child; read -r _; \
                     kill -s TERM $child; wait $child";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let words: Vec<String> = std::env::args().collect();
    let [_, program, instances, seconds] = words.as_slice() else {
        println!("fleet PATH_OF_PAWANG INSTANCES SECONDS");
        return;
    };
    let (instances, seconds): (u32, u64) = (instances.parse().unwrap(), seconds.parse().unwrap());
    let settings = [("max_connections", "500")];
    let setup = Setup {
        settings: &settings,
        ..Setup::default()
    };
    let cluster = Cluster::start(&setup).await;
    for table in 0..50 {
        let create = format!("CREATE TABLE t{table} (id int PRIMARY KEY, note text)");
        cluster.sql("postgres", &create).await;
    }
    let desk = tempfile::tempdir().unwrap();
    let mut file = String::from("state_directory = \"state\"\n");
    for index in 0..instances {
        let url = cluster.url("postgres");
        file += &format!("[[instance]]\nname = \"i{index}\"\nurl = \"{url}\"\n");
    }
    std::fs::write(desk.path().join("pawang.toml"), file).unwrap();
    let program = std::fs::canonicalize(program).unwrap();
    let mut guard = Command::new("/bin/sh")
        .args(["-c", GUARD, "guard"])
        .arg(program)
        .args(["serve", "--listen", "127.0.0.1:0"])
        .current_dir(desk.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pid = String::new();
    let mut answers = BufReader::new(guard.stdout.take().unwrap());
    answers.read_line(&mut pid).unwrap();
    measure(pid.trim(), Duration::from_secs(seconds)).await;
    end(&mut guard);
    let log = std::fs::read_to_string(desk.path().join("serve.log")).unwrap();
    println!("{}", log.lines().take(20).collect::<Vec<_>>().join("\n"));
}

async fn measure(pid: &str, most: Duration) {
    let started = Instant::now();
    let mut before = (cpu(pid), server_cpu(), Instant::now());
    println!(
        "{:>8} {:>10} {:>14} {:>14}",
        "seconds", "RSS MB", "daemon cores", "server cores"
    );
    while started.elapsed() < most {
        tokio::time::sleep(EVERY).await;
        let now = (cpu(pid), server_cpu(), Instant::now());
        let passed = (now.2 - before.2).as_secs_f64();
        println!(
            "{:>8.0} {:>10.1} {:>14.3} {:>14.3}",
            started.elapsed().as_secs_f64(),
            memory(pid),
            (now.0 - before.0) / passed,
            (now.1 - before.1).max(0.0) / passed
        );
        before = now;
    }
}

fn end(guard: &mut Child) {
    drop(guard.stdin.take());
    guard.wait().unwrap();
}

/// Returns the resident memory of a process in MB.
fn memory(pid: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kilobytes / 1024.0
}

/// Returns the processor time of a process in seconds.
fn cpu(pid: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}

/// Returns the processor time of all backends that serve a daemon, as far as they still live.
fn server_cpu() -> f64 {
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let pids = names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    let backends = pids.filter(|pid| {
        let words = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.starts_with("postgres: postgres postgres [local]")
    });
    let times =
        backends.filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok());
    times
        .map(|stat| {
            let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
            (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
        })
        .sum()
}
