//! An S3-compatible store in memory: signatures, conditions, ranges, multipart uploads, listings in pages; and faults.

mod answer;
mod sign;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::request::{self, Request};

/// A store on the loopback interface with one bucket, which ends on drop.
pub struct Bucket {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It has no effect, and is answered with a status and a code.
    Refuse(u16, &'static str),
    /// It has its effect, and is answered with a status and a code all the same.
    LoseAnswer(u16, &'static str),
    /// It has no effect, and is answered with 200 and an error inside.
    ErrorInside(&'static str),
    /// It has its effect, and the connection is closed instead of an answer.
    Close,
    /// It is never answered.
    Hang,
    /// The answer's body breaks off after so many bytes.
    Cut(usize),
}

/// Which requests a fault hits.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The method.
    pub method: &'static str,
    /// What path and query contain.
    pub contains: &'static str,
    /// How many are let through before.
    pub after: usize,
    /// How many are hit.
    pub times: usize,
    /// By what.
    pub fault: Fault,
}

struct Stored {
    bytes: Arc<Vec<u8>>,
    modified: Timestamp,
}

struct PartsOf {
    key: String,
    began_at: Timestamp,
    parts: BTreeMap<u32, Arc<Vec<u8>>>,
}

struct State {
    keys: (String, String),
    objects: BTreeMap<String, Stored>,
    uploads: BTreeMap<String, PartsOf>,
    uploads_begun: usize,
    rules: VecDeque<Rule>,
    requests: Vec<String>,
    page: usize,
    ahead: SignedDuration,
    locked: bool,
}

impl State {
    /// What time it is by the store's clock.
    fn now(&self) -> Timestamp {
        Timestamp::now() + self.ahead
    }

    /// Returns what goes wrong with a request.
    fn fault(&mut self, line: &str) -> Option<Fault> {
        let (method, path) = line.split_once(' ')?;
        for rule in &mut self.rules {
            if rule.method != method || !path.contains(rule.contains) || rule.times == 0 {
                continue;
            }
            if rule.after > 0 {
                rule.after -= 1;
                continue;
            }
            rule.times -= 1;
            return Some(rule.fault);
        }
        None
    }
}

impl Bucket {
    /// The bucket's name.
    pub const NAME: &'static str = "backups";
    /// The key that it knows.
    pub const ACCESS_KEY: &'static str = "AKIATESTBED";
    /// Its secret.
    pub const SECRET_KEY: &'static str = "testbed/secret+key";

    /// Starts it.
    ///
    /// # Panics
    ///
    /// When the loopback interface has no free port.
    pub async fn start() -> Bucket {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.expect("the loopback interface has a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(Mutex::new(State {
            keys: (Self::ACCESS_KEY.to_owned(), Self::SECRET_KEY.to_owned()),
            objects: BTreeMap::new(),
            uploads: BTreeMap::new(),
            uploads_begun: 0,
            rules: VecDeque::new(),
            requests: Vec::new(),
            page: 1000,
            ahead: SignedDuration::ZERO,
            locked: false,
        }));
        let task = tokio::spawn(accept(listener, Arc::clone(&state)));
        Bucket {
            address,
            state,
            task,
        }
    }

    /// Returns its address.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets something go wrong.
    pub fn fail(&self, rule: Rule) {
        self.lock().rules.push_back(rule);
    }

    /// Ends all that goes wrong.
    pub fn heal(&self) {
        self.lock().rules.clear();
    }

    /// Sets how many names one page of a listing has.
    pub fn set_page(&self, names: usize) {
        self.lock().page = names;
    }

    /// Sets how far its clock is ahead of this machine's.
    pub fn set_ahead(&self, ahead: SignedDuration) {
        self.lock().ahead = ahead;
    }

    /// Sets whether it denies every deletion, as under an object lock.
    pub fn set_locked(&self, locked: bool) {
        self.lock().locked = locked;
    }

    /// Returns the names of all objects.
    pub fn objects(&self) -> Vec<String> {
        self.lock().objects.keys().cloned().collect()
    }

    /// Returns the bytes of an object, or nothing when there is none.
    pub fn bytes(&self, key: &str) -> Vec<u8> {
        let state = self.lock();
        let stored = state.objects.get(key);
        stored.map_or_else(Vec::new, |stored| stored.bytes.to_vec())
    }

    /// Changes the bytes of an object.
    pub fn change(&self, key: &str, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some(stored) = self.lock().objects.get_mut(key) {
            change(Arc::make_mut(&mut stored.bytes));
        }
    }

    /// Returns how many multipart uploads were begun and are neither complete nor given up.
    pub fn open_uploads(&self) -> usize {
        self.lock().uploads.len()
    }

    /// Lets all of these have begun so much earlier.
    pub fn age_uploads(&self, by: SignedDuration) {
        for upload in self.lock().uploads.values_mut() {
            upload.began_at -= by;
        }
    }

    /// Returns the method and path of each request.
    pub fn requests(&self) -> Vec<String> {
        self.lock().requests.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, Arc::clone(&state)));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    while let Some(request) = request::read(&mut stream).await {
        let Some(answer) = decide(&request, &state) else {
            std::future::pending::<()>().await;
            return;
        };
        if stream.write_all(&answer.bytes(&request)).await.is_err() || answer.close {
            return;
        }
    }
}

/// Returns the answer; none when it never comes.
fn decide(request: &Request, state: &Mutex<State>) -> Option<answer::Answer> {
    let mut state = lock(state);
    state.requests.push(request.line.clone());
    let fault = state.fault(&request.line);
    match fault {
        Some(Fault::Refuse(status, code)) => return Some(answer::Answer::refused(status, code)),
        Some(Fault::ErrorInside(code)) => return Some(answer::Answer::refused(200, code)),
        Some(Fault::Hang) => return None,
        _ => {}
    }
    let answer = match sign::verify(request, &state.keys, state.now()) {
        Ok(()) => answer::answer(request, &mut state),
        Err(code) => answer::Answer::refused(403, code),
    };
    Some(match fault {
        Some(Fault::LoseAnswer(status, code)) => answer::Answer::refused(status, code),
        Some(Fault::Close) => answer::Answer::nothing(),
        Some(Fault::Cut(bytes)) => answer.cut(bytes),
        _ => answer,
    })
}
