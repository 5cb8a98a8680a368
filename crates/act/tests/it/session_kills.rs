//! kill -9 while sessions are ended, at each step: the next run finds out and writes down whether it was done.
#![expect(
    clippy::disallowed_methods,
    reason = "the one who is killed is this program once more, told by variables what to do"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use pawang_act::session::{Deed, How, Step, View, draft, free, look, one};
use pawang_act::{BEGUN, Effects, Error, Intent, Journal, JsonLines, settle};
use pawang_core::plan::{Plan, State, World};
use pawang_postgres::Session;
use pawang_store::state::Entry;
use pawang_testbed::{Client, Cluster, Setup, until, versions};
use tokio::sync::watch;

use crate::world::{DATABASE, clock, named, target};

const URL: &str = "PAWANG_ACT_SESSION_KILLS_URL";
const JOURNAL: &str = "PAWANG_ACT_SESSION_KILLS_JOURNAL";
const DEED: &str = "PAWANG_ACT_SESSION_KILLS_DEED";
const MOMENT: &str = "PAWANG_ACT_SESSION_KILLS_MOMENT";

/// When the program is killed.
const MOMENTS: [&str; 4] = ["before-intent", "after-intent", "after-signal", "after-end"];

/// A journal that stops the program at a moment, for whoever kills it.
struct Stopping {
    lines: JsonLines,
    moment: String,
}

impl Stopping {
    fn stop_at(&self, moment: &str) {
        if self.moment != moment {
            return;
        }
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "here")
            .and_then(|()| stdout.flush())
            .unwrap();
        loop {
            std::thread::park();
        }
    }
}

impl Journal for Stopping {
    fn write(&self, entry: &Entry) -> Result<(), Error> {
        let begun = entry.outcome == BEGUN;
        self.stop_at(if begun {
            "before-intent"
        } else {
            "after-signal"
        });
        self.lines.write(entry)?;
        self.stop_at(if begun { "after-intent" } else { "after-end" });
        Ok(())
    }

    fn open_intents(&self) -> Result<Vec<Intent>, Error> {
        self.lines.open_intents()
    }
}

fn plan(session: &Session, view: &View, deed: Deed) -> Option<Plan> {
    let app = Some("app".to_owned());
    let process = view.processes.iter().find(|p| p.user == app)?;
    let world = World {
        instance: "dwh-1".to_owned(),
        system_identifier: Some(session.server.epoch.system_identifier.to_string()),
        timeline: None,
        version: session.server.version,
    };
    let decision = one(view, process, deed, &named());
    let plan = draft("session", world, decision, view, "cli:test", clock()).unwrap();
    (!plan.actions.is_empty()).then_some(plan)
}

async fn carry_out(url: &str, deed: Deed, journal: &dyn Journal) -> Option<State> {
    let session = Session::connect(&target(url), "session").await.unwrap();
    let view = look(&session).await.unwrap();
    let plan = plan(&session, &view, deed)?;
    let how = How {
        session: &session,
        policy: &named(),
        step: Step::Named,
        effects: Effects::Real,
        allow_high_risk: true,
        actor: "cli:test",
        why: "to be killed",
        journal,
        stop: watch::Sender::new(false).subscribe(),
        stop_file: None,
        until: None,
        clock,
        watch: &|_| {},
    };
    let freed = free(&plan, &how).await.unwrap();
    Some(freed.outcome.actions[0].state)
}

/// The program that is killed.
#[tokio::test]
async fn child() {
    let Ok(url) = std::env::var(URL) else {
        return;
    };
    let journal = Stopping {
        lines: JsonLines::open(Path::new(&std::env::var(JOURNAL).unwrap())).unwrap(),
        moment: std::env::var(MOMENT).unwrap(),
    };
    let deed = match std::env::var(DEED).unwrap().as_str() {
        "cancel" => Deed::Cancel,
        _ => Deed::Terminate,
    };
    carry_out(&url, deed, &journal).await;
}

/// Runs the program up to a moment, and kills it there.
fn run_and_kill(url: &str, journal: &Path, deed: &str, moment: &str) {
    let mut child = Command::new("/proc/self/exe")
        .args([
            "--exact",
            "session_kills::child",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(URL, url)
        .env(JOURNAL, journal)
        .env(DEED, deed)
        .env(MOMENT, moment)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let here = lines
        .map_while(Result::ok)
        .any(|line| line.ends_with("here"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(here, "{deed} comes to {moment}");
}

/// Lets a session of role app run a statement until somebody cancels it.
async fn victim(cluster: &Cluster) -> (Arc<Client>, tokio::task::JoinHandle<bool>) {
    let client = Arc::new(cluster.connect_as("app", DATABASE).await);
    let works = Arc::clone(&client);
    let work =
        tokio::spawn(async move { works.batch_execute("SELECT pg_sleep(600)").await.is_ok() });
    until("it runs", async || {
        let sql = "SELECT 1 FROM pg_stat_activity WHERE usename = 'app' AND state = 'active'";
        cluster.sql(DATABASE, sql).await.len() == 1
    })
    .await;
    (client, work)
}

async fn gone(cluster: &Cluster, whose: &str) {
    until("their sessions are gone", async || {
        let sql = format!("SELECT 1 FROM pg_stat_activity WHERE {whose}");
        cluster.sql(DATABASE, &sql).await.is_empty()
    })
    .await;
}

/// Returns what the settled end of an action says.
fn settled_end(path: &Path, deed: &str) -> (String, String) {
    let text = std::fs::read_to_string(path).unwrap();
    let line: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let entry = &line["entry"];
    assert_eq!(entry["action"], format!("{deed}-backend.settle"), "{text}");
    let word = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    (word(&entry["outcome"]), word(&entry["detail"]["detail"]))
}

#[tokio::test]
async fn whoever_is_killed_at_any_step_is_settled_by_the_next_run() {
    let cluster = Cluster::start(&Setup {
        version: versions().pop(),
        ..Setup::default()
    })
    .await;
    let create = format!("CREATE DATABASE \"{DATABASE}\"");
    cluster.sql("postgres", &create).await;
    cluster.sql("postgres", "CREATE ROLE app LOGIN").await;
    let url = cluster.url(DATABASE);
    for deed in ["cancel", "terminate"] {
        for moment in MOMENTS {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("journal.jsonl");
            let (client, work) = victim(&cluster).await;
            run_and_kill(&url, &path, deed, moment);
            gone(&cluster, "application_name LIKE 'pawang:%'").await;
            let journal = JsonLines::open(&path).unwrap();
            let open = journal.open_intents().unwrap();
            let begun = usize::from(["after-intent", "after-signal"].contains(&moment));
            assert_eq!(open.len(), begun, "{deed} {moment}: {open:?}");
            let settled = settle(&target(&url), &journal, clock).await.unwrap();
            assert_eq!(settled.len(), begun, "{deed} {moment}: {settled:?}");
            let signalled = ["after-signal", "after-end"].contains(&moment);
            if let Some(settled) = settled.first() {
                let (state, end) = match signalled {
                    true => (State::Done, ("done", "it had been done")),
                    false => (
                        State::Cancelled,
                        ("failed", "it had not been done, and nothing is left of it"),
                    ),
                };
                assert_eq!(settled.state, state, "{deed} {moment}");
                let (outcome, detail) = settled_end(&path, deed);
                assert_eq!((outcome.as_str(), detail.as_str()), end, "{deed} {moment}");
            }
            assert_eq!(journal.open_intents().unwrap(), []);
            assert_eq!(journal.verify().unwrap().1, None);
            if signalled {
                assert!(!work.await.unwrap(), "{deed} {moment}: it was hit");
            } else {
                assert!(!work.is_finished(), "{deed} {moment}: nobody was hit");
                work.abort();
            }
            drop(client);
            gone(&cluster, "usename = 'app' AND state <> 'active'").await;
            let end =
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'";
            cluster.sql(DATABASE, end).await;
            gone(&cluster, "usename = 'app'").await;
        }
    }
}

#[tokio::test]
async fn the_next_command_about_sessions_settles_as_well() {
    let cluster = Cluster::start(&Setup::default()).await;
    let create = format!("CREATE DATABASE \"{DATABASE}\"");
    cluster.sql("postgres", &create).await;
    cluster.sql("postgres", "CREATE ROLE app LOGIN").await;
    let url = cluster.url(DATABASE);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    let (_client, work) = victim(&cluster).await;
    run_and_kill(&url, &path, "cancel", "after-intent");
    gone(&cluster, "application_name LIKE 'pawang:%'").await;
    let journal = JsonLines::open(&path).unwrap();
    let done = carry_out(&url, Deed::Terminate, &journal).await;
    assert_eq!(done, Some(State::Done));
    assert!(!work.await.unwrap());
    assert_eq!(journal.open_intents().unwrap(), []);
    let text = std::fs::read_to_string(&path).unwrap();
    let actions: Vec<String> = text
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let entry = &line["entry"];
            format!("{} {}", entry["action"], entry["outcome"]).replace('"', "")
        })
        .collect();
    assert_eq!(
        actions,
        [
            "cancel-backend.apply begun",
            "cancel-backend.settle failed",
            "terminate-backend.apply begun",
            "terminate-backend.apply done",
        ]
    );
}
