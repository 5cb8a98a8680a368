//! kill -9 anywhere between a sample and the receipt of its message: nothing is lost, and what is sent twice has one key.
#![expect(
    clippy::disallowed_methods,
    reason = "the one who is killed is this program once more, told by variables what to do"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pawang_alert::book::{Book, Event, Subject};
use pawang_alert::channel::Channel;
use pawang_alert::setup::Setup;
use pawang_config::{AlertConfig, Config};
use pawang_core::alert::{Changes, Message, Parcel, ParcelState};
use pawang_core::{
    Epoch, Evaluation, Finding, Instance, Level, Outcome, Role, Server, Timestamp, Unit, Verdict,
    fingerprint,
};
use pawang_store::Store;
use pawang_store::state::{EventQuery, State};
use serde_json::Value;

const DIRECTORY: &str = "PAWANG_KILLS_DIRECTORY";
const RECEIVER: &str = "PAWANG_KILLS_RECEIVER";
const SEED: &str = "PAWANG_KILLS_SEED";

const KILLS: u64 = 200;
const CHECK: &str = "level";
/// Seconds from one sample to the next, each with a new fault.
const INTERVAL: i64 = 60;
/// Samples that show a fault.
const BAD: i64 = 5;
/// Samples after which every fault was told to be over.
const LAST_SAMPLES: i64 = 60;

/// The program that is killed: goes on where the last one stopped.
#[tokio::test]
async fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let receiver = std::env::var(RECEIVER).unwrap().parse().unwrap();
    let store = Store::open(Path::new(&directory), at(0)).unwrap().store;
    let mut program = Program::new(store.state(), receiver);
    program.deliver_waiting().await;
    loop {
        program.take(i64::MAX).await;
        let mut stdout = std::io::stdout().lock();
        let told = writeln!(stdout, "taken {}", program.sample);
        if told.and_then(|()| stdout.flush()).is_err() {
            return;
        }
    }
}

/// What the daemon does with alerts, one thing after the other.
struct Program<'a> {
    state: &'a State,
    book: Book,
    channel: Channel,
    waiting: Vec<Parcel>,
    /// The last sample that was judged.
    sample: i64,
}

impl Program<'_> {
    fn new(state: &State, receiver: SocketAddr) -> Program<'_> {
        let config: AlertConfig = toml::from_str(&format!(
            r#"
            group_by = ["object"]
            group_wait = "0 s"
            group_interval = "1 min"
            channel = [{{ name = "web", webhook = {{ url = "http://{receiver}/" }} }}]
            route = [{{ name = "all", notify = ["web"] }}]
            rule = [{{ check = "level", for = "0 s", for_critical = "0 s", keep_firing = "1 min" }}]
            "#
        ))
        .unwrap();
        let channel = Channel::new(&config.channels[0]).unwrap();
        let config = Config {
            alert: config,
            ..Config::default()
        };
        let saved = state.saved_alerts().unwrap();
        let sample = last_sample(state);
        let waiting = saved.parcels.clone();
        let setup = Arc::new(Setup::compile(&config).unwrap());
        Program {
            state,
            book: Book::new(setup, saved, at(sample * INTERVAL)),
            channel,
            waiting,
            sample,
        }
    }

    /// Judges the next sample; faults begin up to a last one.
    async fn take(&mut self, last: i64) {
        self.sample += 1;
        let now = at(self.sample * INTERVAL);
        let bad = (self.sample - BAD + 1).max(1)..=self.sample.min(last);
        let event = Event::Judged {
            evaluation: Arc::new(evaluation(now, bad.map(finding).collect())),
            asked: None,
            subject: Arc::new(Subject {
                name: "dwh-1".to_owned(),
                ..Subject::default()
            }),
        };
        let mut changes = self.book.step(event, now);
        changes.absorb(self.book.step(Event::Tick, now));
        self.save(changes).await;
    }

    async fn deliver_waiting(&mut self) {
        for parcel in std::mem::take(&mut self.waiting) {
            self.deliver(parcel.message).await;
        }
    }

    /// Saves first, then sends.
    async fn save(&mut self, changes: Changes) {
        self.state.save_alerts(&changes).unwrap();
        for message in changes.messages {
            self.deliver(message).await;
        }
    }

    async fn deliver(&mut self, message: Message) {
        self.channel.send(&message).await.unwrap();
        let now = at(self.sample * INTERVAL);
        let (key, taken) = (message.key.clone(), true);
        let sent = Parcel {
            due_at: now,
            attempts: 1,
            trouble: None,
            state: ParcelState::Sent { at: now },
            message,
        };
        self.state.save_parcels(&[sent]).unwrap();
        let changes = self.book.step(Event::Delivered { key, taken }, now);
        Box::pin(self.save(changes)).await;
    }
}

/// Returns the last sample that changed anything.
fn last_sample(state: &State) -> i64 {
    let newest = EventQuery {
        limit: 1,
        ..EventQuery::default()
    };
    let newest = state.alert_events(&newest).unwrap().pop();
    newest.map_or(0, |event| {
        (event.at.as_second() - at(0).as_second()) / INTERVAL
    })
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + seconds).unwrap()
}

fn name(fault: i64) -> String {
    format!("object {fault}")
}

fn finding(fault: i64) -> Finding {
    let object = name(fault);
    Finding {
        check: CHECK.to_owned(),
        fingerprint: fingerprint(CHECK, "dwh-1", None, &object),
        title: format!("{object} is at 9 (limit 1)"),
        object,
        database: None,
        level: Level::Critical,
        value: Some(9.0),
        unit: Unit::Count,
        threshold: Some(1.0),
        since: None,
        evidence: Vec::new(),
        remedy: String::new(),
        blind: None,
    }
}

fn evaluation(at: Timestamp, findings: Vec<Finding>) -> Evaluation {
    Evaluation {
        instance: Instance {
            name: "dwh-1".to_owned(),
            ..Instance::default()
        },
        at,
        server: Some(Server {
            version: 150_018,
            version_text: "15.18".to_owned(),
            role: Role::Primary,
            epoch: Epoch::default(),
            user: "monitor".to_owned(),
            superuser: false,
            monitor: true,
            database: "postgres".to_owned(),
            data_directory: None,
            local: true,
        }),
        profile: None,
        verdicts: vec![Verdict {
            check: CHECK.to_owned(),
            title: CHECK.to_owned(),
            outcome: Outcome::Judged,
            level: findings.first().map_or(Level::Ok, |finding| finding.level),
            unit: Unit::Count,
            findings_total: findings.len(),
            findings,
            measures: Vec::new(),
            measures_total: 0,
            note: None,
        }],
        costs: BTreeMap::new(),
        notes: Vec::new(),
    }
}

/// Keys and bodies, in the order of their coming.
type Received = Arc<Mutex<Vec<(String, Value)>>>;

/// Takes messages until the program ends; what it answered, it has.
fn receive(listener: TcpListener) -> Received {
    let received = Received::default();
    let kept = Arc::clone(&received);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // Whoever is killed in the middle of a message has not sent it.
            let _ = take(&stream.unwrap(), &kept);
        }
    });
    received
}

fn take(mut stream: &TcpStream, received: &Received) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut key, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("idempotency-key") => {
                value.trim().clone_into(&mut key);
            }
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().unwrap();
            }
            None if line == "\r\n" => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = serde_json::from_slice(&body).unwrap();
    received.lock().unwrap().push((key, body));
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

fn start(directory: &Path, receiver: SocketAddr) -> Child {
    // Not its path: this very program is started also when a newer build has replaced it meanwhile.
    Command::new("/proc/self/exe")
        .args(["--exact", "kills::child", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory)
        .env(RECEIVER, receiver.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Runs the program until some samples were taken and some time passed, and kills it; returns the last one that it told.
fn run_and_kill(directory: &Path, receiver: SocketAddr, random: &mut Random) -> Option<i64> {
    let mut child = start(directory, receiver);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let number = |line: &str| line.strip_prefix("taken ")?.parse().ok();
    let mut taken: Option<i64> = None;
    let mut left = random.below(6);
    while left > 0 {
        let line = lines.next().expect("it runs until it is killed").unwrap();
        let told = number(&line);
        left -= u64::from(told.is_some());
        taken = told.or(taken);
    }
    // Some moments are within a commit, some within a message, some before the first line.
    let moment = Instant::now() + Duration::from_micros(random.below(20_000));
    while Instant::now() < moment {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    for line in lines.map(Result::unwrap) {
        taken = number(&line).or(taken);
    }
    child.wait().unwrap();
    taken
}

/// Returns the keys under which it was told that a fault fires, and that it is over.
fn keys<'a>(received: &'a [(String, Value)], status: &str) -> BTreeMap<String, BTreeSet<&'a str>> {
    let mut keys: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (key, body) in received {
        for alert in body["alerts"].as_array().unwrap() {
            if alert["status"] == status {
                let object = alert["labels"]["object"].as_str().unwrap().to_owned();
                keys.entry(object).or_default().insert(key);
            }
        }
    }
    keys
}

#[tokio::test]
async fn two_hundred_kills_lose_no_message_and_double_none_that_its_target_can_recognise() {
    let seed = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(0));
    println!("{SEED}={seed}");
    let mut random = Random(seed);
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let receiver = listener.local_addr().unwrap();
    let received = receive(listener);
    let mut told = 0;
    for _ in 0..KILLS {
        told = run_and_kill(directory.path(), receiver, &mut random).unwrap_or(told);
    }
    let opened = Store::open(directory.path(), at(0)).unwrap();
    assert!(opened.notes.is_empty(), "{:?}", opened.notes);
    let mut program = Program::new(opened.store.state(), receiver);
    let last = program.sample;
    assert!(
        (told..=told + 1).contains(&last),
        "{told} were told, {last} are there"
    );
    program.deliver_waiting().await;
    for _ in 0..LAST_SAMPLES {
        program.take(last).await;
    }
    let received = received.lock().unwrap();
    let mut bodies: BTreeMap<&str, &Value> = BTreeMap::new();
    for (key, body) in received.iter() {
        assert_eq!(
            *bodies.entry(key).or_insert(body),
            body,
            "two messages of one key"
        );
    }
    let (firing, resolved) = (keys(&received, "firing"), keys(&received, "resolved"));
    for fault in (1..=last).map(name) {
        let count =
            |keys: &BTreeMap<String, BTreeSet<&str>>| keys.get(&fault).map_or(0, BTreeSet::len);
        assert_eq!(count(&firing), 1, "{fault} fires: {:?}", firing.get(&fault));
        assert_eq!(
            count(&resolved),
            1,
            "{fault} is over: {:?}",
            resolved.get(&fault)
        );
    }
    assert_eq!(firing.len() as i64, last);
    let again = received.len() - bodies.len();
    println!(
        "{last} faults, {} messages, {again} sent once more",
        bodies.len()
    );
    assert!(last > 200, "the program got to {last}");
}

/// Numbers that look random, the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        // splitmix64, whose every seed is as good as any other.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }
}
