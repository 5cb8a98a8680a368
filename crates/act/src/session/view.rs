//! What there is on a server at one instant: sessions, what they wait for, and for whom.

use std::time::Duration;

use pawang_core::plan::SessionKey;
use pawang_core::{Timestamp, WaitGraph};
use serde::Serialize;

/// What a client's session is called in `backend_type`.
pub const CLIENT_BACKEND: &str = "client backend";
/// What stands for all prepared transactions among blockers.
pub const PREPARED: i64 = 0;

/// One process of a server.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Process {
    /// `pid`.
    pub pid: i64,
    /// When it was started; not there when the role may not see it.
    pub backend_start: Option<Timestamp>,
    /// When its statement began, or the last one.
    pub query_start: Option<Timestamp>,
    /// When its transaction began.
    pub xact_start: Option<Timestamp>,
    /// Since when it is in its state.
    pub state_change: Option<Timestamp>,
    /// The process that it is a parallel worker of.
    pub leader_pid: Option<i64>,
    /// The database.
    pub database: Option<String>,
    /// The role that connected.
    pub user: Option<String>,
    /// `application_name`.
    pub application: String,
    /// The address of the client.
    pub client: Option<String>,
    /// What kind of process; not there when the role may not see it.
    pub backend_type: Option<String>,
    /// What it does; not there when the role may not see it.
    pub state: Option<String>,
    /// Class and name of what it waits for.
    pub wait_event: Option<String>,
    /// Its statement, or the last one, with its values.
    #[serde(skip)]
    pub query: String,
    /// Whether the role that connected is a superuser.
    pub superuser: bool,
    /// What lock it waits for.
    pub wait: Option<Wait>,
}

/// A wait for a lock.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Wait {
    /// Who holds it or stands before it in the queue; `None` when so many wait that this one was not asked for.
    pub blockers: Option<Vec<i64>>,
    /// The mode that it wants.
    pub mode: String,
    /// What kind of object.
    pub kind: String,
    /// The relation, where it is about one.
    pub relation: Option<String>,
    /// Since when.
    pub since: Option<Timestamp>,
}

/// A prepared transaction that somebody waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Prepared {
    /// Its global identifier.
    pub gid: String,
    /// Whose.
    pub owner: String,
    /// Where.
    pub database: String,
    /// Since when.
    pub prepared_at: Option<Timestamp>,
}

/// All processes of a server at one instant, without the one that looks.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct View {
    /// When, by the server's clock.
    pub at: Timestamp,
    /// Every process; those that wait for a lock first, the longest wait foremost.
    pub processes: Vec<Process>,
    /// Prepared transactions that somebody waits for.
    pub prepared: Vec<Prepared>,
}

/// One line of the lock tree; its victims follow it, one level deeper.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Branch {
    /// 0 for root blockers: they wait for nobody.
    pub depth: usize,
    /// The process; 0 stands for prepared transactions.
    pub pid: i64,
    /// How many sessions cannot go on before this one does.
    pub victims: usize,
    /// How long all of them have waited together, in milliseconds.
    pub waited_below_ms: u64,
    /// Whether it waits for one of those that wait for it: a deadlock that the server is about to break.
    pub circle: bool,
    /// The other processes that it waits for as well.
    pub also_behind: Vec<i64>,
}

impl Process {
    /// Returns what tells it from every other session that ever was; `None` where that cannot be seen.
    pub fn key(&self) -> Option<SessionKey> {
        Some(SessionKey {
            pid: i32::try_from(self.pid).ok()?,
            backend_start: self.backend_start?,
        })
    }

    /// Returns the session ID as `%c` of `log_line_prefix` writes it; `None` where its start cannot be seen.
    pub fn session_id(&self) -> Option<String> {
        Some(self.key()?.session_id())
    }

    /// Says whether it is a session of a client.
    pub fn client_backend(&self) -> bool {
        self.backend_type.as_deref() == Some(CLIENT_BACKEND)
    }

    /// Says whether a statement runs in it.
    pub fn running(&self) -> bool {
        matches!(
            self.state.as_deref(),
            Some("active" | "fastpath function call")
        )
    }
}

impl View {
    /// Returns the process with a number.
    pub fn process(&self, pid: i64) -> Option<&Process> {
        self.processes.iter().find(|process| process.pid == pid)
    }

    /// Returns how many sessions of clients there are.
    pub fn clients(&self) -> usize {
        let clients = self.processes.iter().filter(|p| p.client_backend());
        clients.count()
    }

    /// Returns who waits for whom; a parallel worker stands for its leader.
    pub fn graph(&self) -> WaitGraph {
        let leader = |pid: i64| {
            let leader = self.process(pid).and_then(|process| process.leader_pid);
            leader.unwrap_or(pid)
        };
        let mut graph = WaitGraph::default();
        for process in &self.processes {
            let blockers = process.wait.iter().flat_map(|wait| &wait.blockers);
            for blocker in blockers.flatten() {
                let (waiter, blocker) = (leader(process.pid), leader(*blocker));
                if waiter != blocker {
                    graph.wait(waiter, blocker);
                }
            }
        }
        graph
    }

    /// Returns how long a process has waited for its lock.
    pub fn waited(&self, pid: i64) -> Duration {
        let wait = self.process(pid).and_then(|process| process.wait.as_ref());
        let since = wait.and_then(|wait| wait.since);
        let waited = since.map(|since| since.duration_until(self.at));
        waited
            .and_then(|waited| Duration::try_from(waited).ok())
            .unwrap_or_default()
    }

    /// Returns how long all victims of a process have waited together.
    pub fn waited_below(&self, graph: &WaitGraph, pid: i64) -> Duration {
        let victims = graph.victims(pid).into_iter();
        victims
            .filter(|victim| *victim != pid)
            .map(|victim| self.waited(victim))
            .sum()
    }

    /// Returns those whom others wait for and who wait for nobody themselves, the longest waits below them first.
    ///
    /// Somebody whose own wait was not followed, because so many wait, is none.
    pub fn root_blockers(&self, graph: &WaitGraph) -> Vec<i64> {
        let waits = |pid: i64| self.process(pid).is_some_and(|p| p.wait.is_some());
        let mut roots = graph.roots();
        roots.retain(|pid| !waits(*pid));
        roots.sort_by_cached_key(|pid| (std::cmp::Reverse(self.waited_below(graph, *pid)), *pid));
        roots
    }

    /// Returns the lock tree: root blockers first, the longest waits below them foremost, each process once.
    pub fn tree(&self) -> Vec<Branch> {
        let graph = self.graph();
        let mut trees: Vec<Vec<Branch>> = Vec::new();
        for twig in graph.forest() {
            let pid = twig.process;
            if twig.depth == 0 {
                trees.push(Vec::new());
            }
            let above = trees.last().and_then(|tree| {
                let mut lines = tree.iter().rev();
                lines.find(|line| line.depth < twig.depth)
            });
            let above = above.map(|line| line.pid);
            let below = self.waited_below(&graph, pid).as_millis();
            let line = Branch {
                depth: twig.depth,
                pid,
                victims: twig.victims,
                waited_below_ms: u64::try_from(below).unwrap_or(u64::MAX),
                circle: twig.circle,
                also_behind: graph.blockers(pid).filter(|b| Some(*b) != above).collect(),
            };
            if let Some(tree) = trees.last_mut() {
                tree.push(line);
            }
        }
        trees.sort_by_cached_key(|tree| {
            tree.first()
                .map(|root| std::cmp::Reverse(root.waited_below_ms))
        });
        trees.into_iter().flatten().collect()
    }
}
