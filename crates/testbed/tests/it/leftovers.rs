//! Nothing is left behind when the process that started servers is killed.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use pawang_testbed::{Cluster, Pooler, Setup, until};

/// Set in the child process, which is this very test started again.
const ROLE: &str = "PAWANG_TESTBED_VICTIM";
/// A directory and a process of each cluster, the directories of pooler and killed cluster, and the frozen process.
const TRACES: usize = 7;

#[tokio::test]
async fn nothing_is_left_when_the_process_is_killed() {
    if env::var_os(ROLE).is_some() {
        return be_killed().await;
    }
    let this = env::current_exe().expect("the test has a program");
    let mut victim = Command::new(this)
        .args([
            "--exact",
            "leftovers::nothing_is_left_when_the_process_is_killed",
        ])
        .arg("--nocapture")
        .env(ROLE, "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test starts again");
    let lines = BufReader::new(victim.stdout.take().expect("it was asked for")).lines();
    let traces: Vec<String> = lines
        .map(|line| line.expect("the victim writes text"))
        .filter_map(|line| line.strip_prefix("trace ").map(str::to_owned))
        .take(TRACES)
        .collect();
    assert_eq!(
        traces.len(),
        TRACES,
        "the victim ended before it was killed"
    );
    assert!(
        traces.iter().all(|path| Path::new(path).exists()),
        "{traces:?}"
    );
    victim.kill().expect("it runs until it is killed");
    victim.wait().expect("it was killed");
    until("processes and directories are gone", async || {
        !traces.iter().any(|path| Path::new(path).exists())
    })
    .await;
}

/// Starts one of everything, says which paths prove that it exists, and waits for the end.
#[expect(clippy::print_stdout, reason = "this process talks to its parent")]
async fn be_killed() {
    let primary = Cluster::start(&Setup::default()).await;
    let standby = primary.standby("standby").await;
    let mut killed = Cluster::start(&Setup::default()).await;
    killed.kill();
    let pooler = Pooler::start(&primary, "").await;
    // The test runner may have begun a line.
    println!();
    for cluster in [&primary, &standby] {
        println!("trace {}", cluster.data_directory().display());
        println!("trace /proc/{}", cluster.postmaster());
    }
    println!("trace {}", pooler.socket_directory().display());
    println!("trace {}", killed.socket_directory().display());
    // A frozen server must not outlive the test either.
    let frozen = i32::try_from(standby.postmaster()).expect("process ids are positive");
    let frozen = Pid::from_raw(frozen).expect("process ids are not zero");
    kill_process(frozen, Signal::STOP).expect("the standby runs");
    println!("trace /proc/{}/stat", standby.postmaster());
    std::future::pending::<()>().await;
}
