//! The kill guard: whose session may be cancelled or terminated, and what frees those that wait.
//!
//! Pure: from what was seen and a policy to proposals, and to what is left alone with its reason.

use std::time::Duration;

use pawang_config::{ActConfig, matches};
use pawang_core::Timestamp;
use pawang_core::plan::{Cost, Left, Proposal, Task};

use super::view::{PREPARED, Process, View};

/// How long Pawang looks at the effect of one step before it takes the next.
pub const PAUSE: Duration = Duration::from_secs(2);
/// Programs that make backups: their sessions are never touched.
const BACKUP_APPLICATIONS: [&str; 9] = [
    "pg_dump*",
    "pg_basebackup*",
    "pg_receivewal*",
    "pg_probackup*",
    "pg_rman*",
    "pgBackRest*",
    "barman*",
    "wal-g*",
    "wal-e*",
];
/// Functions that begin a backup by hand: the session must live until it ends.
const BACKUP_FUNCTIONS: [&str; 2] = ["pg_backup_start", "pg_start_backup"];
/// How Pawang's own sessions call themselves.
const OURS: &str = "pawang:*";

/// Whose sessions may be ended, and how many.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Roles that are never touched, with `*`.
    pub protected_roles: Vec<String>,
    /// Applications that are never touched, with `*`.
    pub protected_applications: Vec<String>,
    /// Whether sessions of superusers may be ended.
    pub allow_superuser: bool,
    /// How many sessions may be ended at once, however few there are.
    pub terminate_sessions_max: u32,
    /// Up to which share of all client sessions beyond that, in percent.
    pub terminate_percent_max: f64,
    /// How long the effect of one step is looked at.
    pub pause: Duration,
}

/// What is to be done to one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Cancel the statement that it runs.
    Cancel,
    /// End it.
    Terminate,
}

/// What a guard decided: what is to be done, and what is left alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// What is to be done, in this order.
    pub proposals: Vec<Proposal>,
    /// What is left alone, and why.
    pub left: Vec<Left>,
}

impl Policy {
    /// Returns the policy of a configuration.
    pub fn new(config: &ActConfig, allow_superuser: bool) -> Policy {
        Policy {
            protected_roles: config.protected_roles.clone(),
            protected_applications: config.protected_applications.clone(),
            allow_superuser,
            terminate_sessions_max: config.terminate_sessions_max,
            terminate_percent_max: config.terminate_percent_max,
            pause: PAUSE,
        }
    }

    /// Returns how many sessions may be ended at once, of so many sessions of clients.
    pub fn budget(&self, clients: usize) -> usize {
        let share = (clients as f64 * self.terminate_percent_max / 100.0).floor();
        let share = share.clamp(0.0, clients as f64) as usize;
        share.max(usize::try_from(self.terminate_sessions_max).unwrap_or(usize::MAX))
    }
}

/// Returns why a session may not be touched; `None` when it may.
pub fn refusal(process: &Process, policy: &Policy) -> Option<String> {
    let covers = |patterns: &[String], text: &str| patterns.iter().any(|p| matches(p, text));
    let user = process.user.as_deref().unwrap_or_default();
    let application = process.application.as_str();
    let Some(kind) = process.backend_type.as_deref() else {
        return Some("the role may not see what it is: it needs pg_monitor".to_owned());
    };
    if kind == "autovacuum worker" {
        return Some(
            "it is autovacuum: the server cancels it by itself when somebody waits, unless it prevents wraparound".to_owned(),
        );
    }
    if !process.client_backend() {
        return Some(format!("it is a {kind} and not a session of a client"));
    }
    if process.backend_start.is_none() || process.state.is_none() {
        return Some("the role may not see what it does: it needs pg_monitor".to_owned());
    }
    if matches(OURS, application) {
        return Some("it is a session of Pawang".to_owned());
    }
    let lower = application.to_lowercase();
    let backs_up = BACKUP_APPLICATIONS
        .iter()
        .any(|pattern| matches(&pattern.to_lowercase(), &lower));
    let query = process.query.to_lowercase();
    let begins_backup = |name: &str| query.contains(name);
    if backs_up || BACKUP_FUNCTIONS.iter().any(|name| begins_backup(name)) {
        return Some(format!("it makes a backup (application \"{application}\")"));
    }
    if covers(&policy.protected_roles, user) {
        return Some(format!(
            "role \"{user}\" is protected by act.protected_roles"
        ));
    }
    if covers(&policy.protected_applications, application) {
        return Some(format!(
            "application \"{application}\" is protected by act.protected_applications"
        ));
    }
    (process.superuser && !policy.allow_superuser)
        .then(|| format!("role \"{user}\" is a superuser; --allow-superuser lets it be touched"))
}

/// Says that no further session may be ended.
pub(super) fn spent(budget: usize) -> String {
    format!(
        "the budget of {budget} sessions is spent (act.terminate_sessions_max, act.terminate_percent_max)"
    )
}

/// Decides what frees those that wait: root blockers only, the idle ones first, within the budget.
///
/// A statement that runs is cancelled first, and its session terminated only when it makes others wait all the same.
pub fn blockers(view: &View, policy: &Policy) -> Decision {
    let graph = view.graph();
    let mut decision = Decision::default();
    let mut roots = view.root_blockers(&graph);
    // An idle session gives nothing up; a statement that runs may end by itself meanwhile.
    roots.sort_by_key(|pid| view.process(*pid).is_some_and(Process::running));
    let budget = policy.budget(view.clients());
    let mut spent = 0;
    for pid in roots {
        let Some(process) = view.process(pid) else {
            decision.left.push(gone(view, pid));
            continue;
        };
        if let Some(why) = refusal(process, policy) {
            decision.left.push(left(process, why));
            continue;
        }
        if spent == budget {
            decision.left.push(left(process, self::spent(budget)));
            continue;
        }
        spent += 1;
        if process.running() {
            decision
                .proposals
                .extend(proposal(view, process, Deed::Cancel));
        }
        decision
            .proposals
            .extend(proposal(view, process, Deed::Terminate));
    }
    let circles = graph.circles();
    if !circles.is_empty() {
        let pids: Vec<String> = circles.iter().map(i64::to_string).collect();
        decision.left.push(Left {
            database: String::new(),
            object: format!("pid {}", pids.join(", ")),
            why: "they wait in a circle: the server ends one of them after deadlock_timeout"
                .to_owned(),
            blind: false,
        });
    }
    decision
}

/// Decides about one session that somebody named.
pub fn one(view: &View, process: &Process, deed: Deed, policy: &Policy) -> Decision {
    let mut decision = Decision::default();
    if let Some(why) = refusal(process, policy) {
        decision.left.push(left(process, why));
    } else if deed == Deed::Cancel && !process.running() {
        let state = process.state.as_deref().unwrap_or_default();
        let why = format!("it runs no statement that could be cancelled: it is {state}");
        decision.left.push(left(process, why));
    } else {
        decision.proposals.extend(proposal(view, process, deed));
    }
    decision
}

fn proposal(view: &View, process: &Process, deed: Deed) -> Option<Proposal> {
    let session = process.key()?;
    let task = match deed {
        Deed::Cancel => Task::CancelBackend {
            session,
            query_start: process.query_start,
        },
        Deed::Terminate => Task::TerminateBackend { session },
    };
    Some(Proposal {
        database: process.database.clone().unwrap_or_default(),
        task,
        reason: reason(view, process),
        evidence: evidence(process),
        cost: Cost::default(),
    })
}

/// Says why a session is in the way, in one sentence.
fn reason(view: &View, process: &Process) -> String {
    let graph = view.graph();
    let mut victims = graph.victims(process.pid);
    victims.remove(&process.pid);
    let state = process.state.as_deref().unwrap_or("in a hidden state");
    let since = |at: Option<Timestamp>| {
        let age = at.and_then(|at| Duration::try_from(at.duration_until(view.at)).ok());
        age.map(|age| format!(" for {}", seconds(age)))
            .unwrap_or_default()
    };
    let doing = format!("{state}{}", since(process.state_change));
    match victims.len() {
        0 => format!("it is {doing}; nobody waits for it"),
        1 => format!(
            "it is {doing}; 1 session has waited for it for {}",
            seconds(view.waited_below(&graph, process.pid))
        ),
        count => format!(
            "it is {doing}; {count} sessions have waited for it for {} together",
            seconds(view.waited_below(&graph, process.pid))
        ),
    }
}

/// Returns a length of time with one unit.
pub(super) fn seconds(duration: Duration) -> String {
    match duration.as_secs_f64() {
        value if value >= 7_200.0 => format!("{:.1} h", value / 3_600.0),
        value if value >= 120.0 => format!("{:.1} min", value / 60.0),
        value => format!("{value:.1} s"),
    }
}

fn evidence(process: &Process) -> Vec<(String, String)> {
    let query = pawang_store::text::normalise(&process.query);
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
    let facts = [
        ("session", process.session_id()),
        ("user", process.user.clone()),
        ("application", Some(process.application.clone())),
        ("client", process.client.clone()),
        ("state", process.state.clone()),
        ("transaction since", time(process.xact_start)),
        ("statement", Some(query)),
    ];
    let facts = facts.into_iter();
    facts
        .filter_map(|(name, value)| Some((name.to_owned(), value.filter(|v| !v.is_empty())?)))
        .collect()
}

fn left(process: &Process, why: String) -> Left {
    Left {
        database: process.database.clone().unwrap_or_default(),
        object: format!("pid {}", process.pid),
        why,
        blind: process.backend_type.is_none() || process.state.is_none(),
    }
}

/// Says what a blocker is that is no process.
fn gone(view: &View, pid: i64) -> Left {
    if pid != PREPARED {
        return Left {
            database: String::new(),
            object: format!("pid {pid}"),
            why: "it had ended before it was looked at".to_owned(),
            blind: false,
        };
    }
    let gids: Vec<String> = view
        .prepared
        .iter()
        .map(|prepared| {
            format!(
                "'{}' of {} in {}",
                prepared.gid.replace('\'', "''"),
                prepared.owner,
                prepared.database
            )
        })
        .collect();
    Left {
        database: view
            .prepared
            .first()
            .map(|p| p.database.clone())
            .unwrap_or_default(),
        object: "prepared transaction".to_owned(),
        why: format!(
            "whoever prepared {} must say COMMIT PREPARED or ROLLBACK PREPARED",
            if gids.is_empty() {
                "it".to_owned()
            } else {
                gids.join(", ")
            }
        ),
        blind: false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::view::{CLIENT_BACKEND, Wait};
    use super::*;

    fn policy() -> Policy {
        Policy {
            terminate_sessions_max: 1_000,
            ..Policy::new(&ActConfig::default(), false)
        }
    }

    fn now() -> Timestamp {
        "2026-11-22T10:00:00Z".parse().unwrap()
    }

    fn client(pid: i64, state: &str, blockers: &[i64]) -> Process {
        let ago = |seconds: i64| Some(Timestamp::from_second(now().as_second() - seconds).unwrap());
        Process {
            pid,
            backend_start: ago(600),
            query_start: ago(60),
            state_change: ago(30),
            user: Some("etl".to_owned()),
            database: Some("dwh".to_owned()),
            backend_type: Some(CLIENT_BACKEND.to_owned()),
            state: Some(state.to_owned()),
            wait: (!blockers.is_empty()).then(|| Wait {
                blockers: Some(blockers.to_vec()),
                since: ago(pid),
                ..Wait::default()
            }),
            ..Process::default()
        }
    }

    fn view(processes: Vec<Process>) -> View {
        View {
            at: now(),
            processes,
            prepared: Vec::new(),
        }
    }

    fn steps(decision: &Decision) -> Vec<String> {
        let steps = decision.proposals.iter();
        steps
            .map(|proposal| format!("{} {}", proposal.task.name(), proposal.task.object()))
            .collect()
    }

    #[test]
    fn only_root_blockers_are_ended_idle_ones_first() {
        // The graph of the manual whose query ends four sessions, two of them victims.
        let view = view(vec![
            client(1, "active", &[]),
            client(2, "idle in transaction", &[]),
            client(3, "active", &[1, 2]),
            client(4, "active", &[3]),
            client(5, "idle in transaction", &[]),
        ]);
        let decision = blockers(&view, &policy());
        assert_eq!(
            steps(&decision),
            [
                "terminate-backend pid 2",
                "cancel-backend pid 1",
                "terminate-backend pid 1"
            ]
        );
        assert_eq!(
            decision.proposals[0].reason,
            "it is idle in transaction for 30.0 s; 2 sessions have waited for it for 7.0 s together"
        );
        let tree = view.tree();
        let lines = tree
            .iter()
            .map(|b| (b.depth, b.pid, b.waited_below_ms, b.also_behind.as_slice()));
        let lines: Vec<_> = lines.collect();
        assert_eq!(
            lines,
            [
                (0, 1, 7_000, &[][..]),
                (1, 3, 4_000, &[2][..]),
                (2, 4, 0, &[][..]),
                (0, 2, 7_000, &[][..])
            ]
        );
    }

    #[test]
    fn some_sessions_are_never_touched() {
        let spared = |change: &dyn Fn(&mut Process), why: &str| {
            let mut process = client(1, "idle in transaction", &[]);
            change(&mut process);
            let view = view(vec![process.clone(), client(2, "active", &[1])]);
            let mut policy = policy();
            policy.protected_roles = vec!["pay*".to_owned()];
            policy.protected_applications = vec!["ledger".to_owned()];
            let decision = blockers(&view, &policy);
            assert_eq!(steps(&decision), [""; 0]);
            assert!(decision.left[0].why.contains(why), "{:?}", decision.left);
            let named = one(&view, &process, Deed::Terminate, &policy);
            assert_eq!(named.left, decision.left);
        };
        spared(
            &|p| p.backend_type = Some("walsender".to_owned()),
            "it is a walsender",
        );
        spared(
            &|p| p.backend_type = Some("autovacuum worker".to_owned()),
            "the server cancels it by itself",
        );
        spared(&|p| p.backend_type = None, "pg_monitor");
        spared(&|p| p.state = None, "pg_monitor");
        spared(&|p| p.application = "pawang:reindex".to_owned(), "Pawang");
        spared(&|p| p.application = "pg_dump".to_owned(), "backup");
        spared(
            &|p| p.application = "pgbackrest [backup]".to_owned(),
            "backup",
        );
        spared(
            &|p| p.query = "SELECT pg_backup_start('x')".to_owned(),
            "backup",
        );
        spared(
            &|p| p.user = Some("payments".to_owned()),
            "act.protected_roles",
        );
        spared(
            &|p| p.application = "ledger".to_owned(),
            "act.protected_applications",
        );
        spared(&|p| p.superuser = true, "--allow-superuser");
    }

    #[test]
    fn a_prepared_transaction_and_a_circle_are_left_alone() {
        let mut view = view(vec![
            client(2, "active", &[PREPARED]),
            client(3, "active", &[4]),
            client(4, "active", &[3]),
        ]);
        view.prepared.push(super::super::view::Prepared {
            gid: "order-7".to_owned(),
            owner: "app".to_owned(),
            database: "dwh".to_owned(),
            prepared_at: None,
        });
        let decision = blockers(&view, &policy());
        assert_eq!(steps(&decision), [""; 0]);
        assert!(decision.left[0].why.contains("'order-7' of app in dwh"));
        assert!(decision.left[1].why.contains("circle"));
    }

    #[test]
    fn the_budget_is_kept() {
        let mut processes = vec![client(1_000, "active", &(0..100).collect::<Vec<i64>>())];
        processes.extend((0..100).map(|pid| client(pid + 1, "idle in transaction", &[])));
        let view = view(processes);
        let budget = |terminate_sessions_max, terminate_percent_max| Policy {
            terminate_sessions_max,
            terminate_percent_max,
            ..policy()
        };
        for (policy, expected) in [
            (budget(3, 0.0), 3),
            (budget(3, 5.0), 5),
            (budget(0, 0.0), 0),
        ] {
            assert_eq!(blockers(&view, &policy).proposals.len(), expected);
        }
    }

    #[test]
    fn a_session_whose_own_wait_was_not_followed_is_no_root() {
        let mut waits = client(1, "active", &[9]);
        waits.wait.as_mut().unwrap().blockers = None;
        let view = view(vec![waits, client(2, "active", &[1])]);
        assert_eq!(steps(&blockers(&view, &policy())), [""; 0]);
    }

    /// A graph of up to 30 processes, each of which may wait for some others.
    fn graph() -> impl Strategy<Value = Vec<(u8, bool, Vec<i64>)>> {
        let process = (
            0_u8..6,
            any::<bool>(),
            proptest::collection::vec(1_i64..30, 0..4),
        );
        proptest::collection::vec(process, 1..30)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3_000))]

        #[test]
        fn nobody_innocent_is_ended_and_every_graph_is_freed(graph in graph()) {
            let states = ["active", "idle in transaction", "idle", "idle in transaction (aborted)"];
            let pids = 1..=graph.len() as i64;
            let processes = pids.clone().zip(&graph).map(|(pid, (kind, leads, wanted))| {
                let mut wanted: Vec<i64> = wanted.iter().copied().filter(|b| *b != pid && pids.contains(b)).collect();
                wanted.dedup();
                // Some make nobody wait but would, and some are protected.
                let mut process = client(pid, states[usize::from(*kind) % 4], if *leads { &[] } else { &wanted });
                process.superuser = *kind == 5;
                process
            });
            let view = view(processes.collect());
            let edges: Vec<(i64, i64)> = view.processes.iter()
                .flat_map(|p| p.wait.iter().flat_map(|w| w.blockers.clone().unwrap_or_default()).map(|b| (p.pid, b)))
                .collect();
            let decision = blockers(&view, &policy());
            let mut ended = BTreeSet::new();
            for proposal in &decision.proposals {
                let (Task::CancelBackend { session, .. } | Task::TerminateBackend { session }) = &proposal.task else {
                    unreachable!("nothing else is proposed");
                };
                let pid = i64::from(session.pid);
                prop_assert!(edges.iter().any(|(_, blocker)| *blocker == pid), "{pid} blocks nobody");
                prop_assert!(edges.iter().all(|(waiter, _)| *waiter != pid), "{pid} is a victim");
                prop_assert!(!view.process(pid).unwrap().superuser, "{pid} is protected");
                ended.insert(pid);
            }
            // Whoever waits for nobody any more goes on and ends.
            let mut open = edges;
            loop {
                let waits: BTreeSet<i64> = open.iter().map(|(waiter, _)| *waiter).collect();
                let before = open.len();
                let spared = |pid: i64| view.process(pid).unwrap().superuser && !waits.contains(&pid);
                open.retain(|(_, b)| waits.contains(b) || spared(*b) || !(ended.contains(b) || view.process(*b).unwrap().wait.is_some()));
                if open.len() == before {
                    break;
                }
            }
            // What is not free stands behind somebody who is protected, or behind a circle.
            let waits_for = view.graph();
            let circles = waits_for.circles();
            for (waiter, _) in &open {
                let behind: Vec<i64> = view.processes.iter().map(|p| p.pid)
                    .filter(|pid| waits_for.victims(*pid).contains(waiter)).collect();
                prop_assert!(behind.iter().any(|pid| circles.contains(pid) || view.process(*pid).unwrap().superuser), "{waiter} waits for ever");
            }
            // Each process stands in the tree once, after one that it waits for.
            let tree = view.tree();
            let drawn: BTreeSet<i64> = tree.iter().map(|branch| branch.pid).collect();
            prop_assert_eq!(drawn.len(), tree.len());
            let waiting = view.processes.iter().filter(|p| p.wait.as_ref().is_some_and(|w| !w.blockers.clone().unwrap_or_default().is_empty()));
            for process in waiting {
                prop_assert!(drawn.contains(&process.pid));
            }
        }
    }
}
