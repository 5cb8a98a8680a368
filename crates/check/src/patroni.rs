//! Patroni: is there one leader, could another member take over, and is anybody watching.

use pawang_core::{Blind, ByteSize, Level, Missing, Row, Unit};

use crate::{Check, Direction, Group, Observation, Scope, View};

/// What Patroni takes when `maximum_lag_on_failover` is not set.
const LAG_DEFAULT: f64 = 1_048_576.0;

pub(crate) static CHECKS: &[Check] = &[
    Check {
        id: "patroni-reachable",
        title: "Patroni answers",
        needs: &["patroni-node"],
        what: "Whether the REST API of Patroni answers GET /patroni.",
        why: "Without Patroni nobody renews the leader's lock: after ttl the cluster fails over, or stays without a leader.",
        fix: "systemctl status patroni; journalctl -u patroni -n 50; check restapi.listen in patroni.yml.",
        observe: reachable,
        ..PATRONI
    },
    Check {
        id: "patroni-leader",
        title: "one leader",
        needs: &["patroni-cluster", "patroni-node"],
        unit: Unit::Count,
        what: "Members with role leader or standby_leader in GET /cluster, whether the cluster says that it is unlocked, and what each member \
               says of itself in GET /patroni: a store without a majority goes on naming a leader that has long given up. \
               A leader whose REST API does not answer is reported as not seen.",
        why: "Without a leader nobody accepts writes; two leaders are two histories of the same data.",
        fix: "patronictl list; look at the logs of all members and at the DCS; with two leaders stop the wrong one at once: systemctl stop patroni.",
        observe: leader,
        ..PATRONI
    },
    Check {
        id: "patroni-member-state",
        title: "state of the members",
        needs: &["patroni-cluster"],
        what: "The state of each member by GET /patroni of its own, else by GET /cluster: running and streaming are good, creating replica and starting are on the way, all else is not. \
               A member that should run and does not answer GET /patroni itself is reported as not seen.",
        why: "A member that does not run cannot take over, and holds WAL back by its slot.",
        fix: "patronictl list; journalctl -u patroni on that member; patronictl reinit CLUSTER MEMBER builds a replica anew.",
        observe: states,
        ..PATRONI
    },
    Check {
        id: "patroni-lag",
        title: "lag of the members",
        needs: &["patroni-cluster", "patroni-node"],
        unit: Unit::Bytes,
        critical: Some(1_073_741_824.0),
        what: "Bytes that each replica has not received yet, as Patroni sees it (GET /cluster; WAL that is received and waits for replay \
               does not count, see replication-lag): a warning above maximum_lag_on_failover of the \
               dynamic configuration (1 MB by default), critical above the limit. \"unknown\" is reported as unknown.",
        why: "Patroni does not promote a replica that is further behind than maximum_lag_on_failover.",
        fix: "See replication-lag on the leader for the stage that is slow; patronictl reinit if the replica has lost its way.",
        observe: lag,
        ..PATRONI
    },
    Check {
        id: "patroni-paused",
        title: "automatic failover is paused",
        needs: &["patroni-node"],
        what: "Whether the cluster is in maintenance mode (pause in GET /patroni).",
        why: "While paused nobody is promoted when the leader dies; it is easily forgotten after maintenance.",
        fix: "patronictl resume",
        observe: paused,
        ..PATRONI
    },
    Check {
        id: "patroni-pending-restart",
        title: "members that wait for a restart",
        needs: &["patroni-cluster"],
        what: "Members whose PostgreSQL runs with settings that were changed and need a restart (pending_restart in GET /cluster).",
        why: "What is configured is not what runs, until the next failover or restart changes it unasked.",
        fix: "patronictl restart CLUSTER MEMBER --pending, replicas first, in a maintenance window.",
        observe: pending_restart,
        ..PATRONI
    },
    Check {
        id: "patroni-dcs",
        title: "contact with the consensus store",
        needs: &["patroni-node", "patroni-cluster"],
        unit: Unit::Seconds,
        warning: Some(30.0),
        critical: Some(120.0),
        what: "Time since the member last spoke to the DCS (dcs_last_seen in GET /patroni); normally less than loop_wait, 10 s. \
               Patroni's own Raft answers from memory even without a majority: critical also when the leader that GET /cluster names \
               says itself that it does not lead, because then its lock can be neither renewed nor given away.",
        why: "A leader that cannot renew its lock demotes itself after ttl: writes stop although the server is well.",
        fix: "Check etcd, Consul, ZooKeeper or the Raft partners: etcdctl endpoint health; and the network between.",
        observe: dcs,
        ..PATRONI
    },
    Check {
        id: "patroni-timeline",
        title: "members on the leader's timeline",
        needs: &["patroni-cluster"],
        what: "Whether every running member is on the timeline of the leader (GET /cluster).",
        why: "A replica on another timeline has gone its own way: it replays nothing more and must not be promoted.",
        fix: "patronictl reinit CLUSTER MEMBER, or set use_pg_rewind: true and restart that member.",
        observe: timeline,
        ..PATRONI
    },
    Check {
        id: "patroni-failover-candidates",
        title: "members that could take over",
        needs: &["patroni-cluster", "patroni-node"],
        unit: Unit::Count,
        direction: Direction::Below,
        warning: Some(0.0),
        what: "Replicas that run, are not tagged nofailover (or failover_priority 0), and are within maximum_lag_on_failover.",
        why: "Without a candidate the loss of the leader is an outage, although replicas exist.",
        fix: "Remove the tag on a suitable member (tags in patroni.yml, then patronictl reload), or repair its replication.",
        observe: candidates,
        ..PATRONI
    },
    Check {
        id: "patroni-failsafe",
        title: "fail-safe mode",
        needs: &["patroni-node"],
        what: "Whether the leader stays leader only because all members said so while the DCS is away (failsafe_mode_is_active in GET /patroni).",
        why: "One more failure, of any member, demotes the leader.",
        fix: "Bring the DCS back: etcdctl endpoint health --cluster.",
        observe: failsafe,
        ..PATRONI
    },
    Check {
        id: "patroni-synchronous",
        title: "synchronous standby",
        needs: &["patroni-cluster", "patroni-node"],
        what: "Whether a cluster with synchronous_mode has a member with role sync_standby or quorum_standby.",
        why: "Without one, commits are confirmed that a failover loses; with synchronous_mode_strict they wait.",
        fix: "patronictl list; repair a replica that is not tagged nosync.",
        observe: synchronous,
        ..PATRONI
    },
];

/// What the checks of this group have in common.
const PATRONI: Check = Check {
    id: "",
    group: Group::Patroni,
    title: "",
    scope: Scope::Server,
    needs: &[],
    unit: Unit::State,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "",
    why: "",
    fix: "",
    observe: |_| Ok(Vec::new()),
};

fn judged(object: &str, level: Level, title: String) -> Observation {
    Observation {
        object: object.to_owned(),
        value: f64::from(u8::from(level > Level::Ok)),
        level: Some(level),
        title,
        ..Observation::default()
    }
}

fn text<'a>(row: Row<'a>, column: &str) -> &'a str {
    row.text(column).unwrap_or_default()
}

fn leads(row: &Row<'_>) -> bool {
    is_leader(text(*row, "role"))
}

/// Versions differ in the word: "master" until 3, "primary" since 4.
fn is_leader(role: &str) -> bool {
    matches!(
        role,
        "leader" | "standby_leader" | "master" | "primary" | "promoted"
    )
}

fn runs(row: &Row<'_>) -> bool {
    matches!(
        text(*row, "state"),
        "running" | "streaming" | "in archive recovery"
    )
}

fn reachable(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    match view.snapshot("patroni-node") {
        Ok(_) => Ok(vec![judged("", Level::Ok, "Patroni answers".to_owned())]),
        // That the server does not answer says nothing about it.
        Err(Missing::Blind(Blind::Unreachable { what, .. })) if view.asked("patroni-node") => {
            let title = format!("Patroni does not answer: {what}");
            Ok(vec![judged("", Level::Critical, title)])
        }
        Err(missing) => Err(missing),
    }
}

fn leader(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let members = view.snapshot("patroni-cluster")?.rows();
    let leaders: Vec<&str> = members.filter(leads).map(|row| text(row, "name")).collect();
    let unlocked = view.row("patroni-node")?.flag("cluster_unlocked") == Some(true);
    let claims: Vec<&str> = view
        .snapshot("patroni-cluster")?
        .rows()
        .filter(|row| row.text("own_role").map_or_else(|| leads(row), is_leader))
        .map(|row| text(row, "name"))
        .collect();
    let leaders = if claims.len() > 1 { claims } else { leaders };
    let own = named_leader(view)?.map(own_word);
    let (level, title) = match leaders.as_slice() {
        [] => (Level::Critical, "the cluster has no leader".to_owned()),
        [name] if unlocked => (
            Level::Critical,
            format!("nobody holds the leader lock; the last leader was \"{name}\""),
        ),
        [name] => match own {
            Some(Own::Leads) => (Level::Ok, format!("the leader is \"{name}\"")),
            Some(Own::Not(what)) => (
                Level::Critical,
                format!(
                    "the cluster names \"{name}\" as leader, which says itself that it is {what}"
                ),
            ),
            Some(Own::Silent(problem)) => (
                Level::Unknown,
                format!("the cluster names \"{name}\" as leader, which does not answer: {problem}"),
            ),
            None => (Level::Critical, "the cluster has no leader".to_owned()),
        },
        names => (
            Level::Critical,
            format!(
                "the cluster has {} leaders: {}",
                names.len(),
                names.join(", ")
            ),
        ),
    };
    Ok(vec![Observation {
        value: leaders.len() as f64,
        ..judged("", level, title)
    }])
}

/// What a member that GET /cluster calls leader says of itself.
enum Own<'a> {
    Leads,
    Not(String),
    Silent(&'a str),
}

fn named_leader<'a>(view: &View<'a>) -> Result<Option<Row<'a>>, Missing> {
    Ok(view.snapshot("patroni-cluster")?.rows().find(leads))
}

fn own_word(row: Row<'_>) -> Own<'_> {
    let (role, state) = (text(row, "own_role"), text(row, "own_state"));
    match row.text("own_problem") {
        Some(problem) => Own::Silent(problem),
        None if is_leader(role) && state == "running" => Own::Leads,
        None => Own::Not(format!("a {role} that is {state}")),
    }
}

fn states(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let observation = |row: Row<'_>| {
        let (name, listed) = (text(row, "name"), text(row, "state"));
        let problem = row.text("own_problem");
        // What a member says of itself is newer than what it last wrote into the store.
        let own = row.text("own_state").filter(|own| *own != "running");
        let state = own.unwrap_or(listed);
        let level = match state {
            _ if runs(&row) && problem.is_some() => Level::Unknown,
            "running" | "streaming" | "in archive recovery" => Level::Ok,
            "starting" | "creating replica" | "restarting" | "running custom bootstrap script" => {
                Level::Info
            }
            _ if leads(&row) => Level::Critical,
            _ => Level::Warning,
        };
        Observation {
            evidence: row.evidence(&[
                "role",
                "state",
                "own_role",
                "own_state",
                "host",
                "port",
                "api_url",
            ]),
            ..judged(
                name,
                level,
                match problem {
                    Some(problem) => {
                        format!("member \"{name}\" was \"{state}\" and does not answer: {problem}")
                    }
                    None => format!("member \"{name}\" is \"{state}\""),
                },
            )
        }
    };
    Ok(view
        .snapshot("patroni-cluster")?
        .rows()
        .map(observation)
        .collect())
}

fn maximum_lag(view: &View<'_>) -> Result<f64, Missing> {
    let row = view.row("patroni-node")?;
    Ok(row.float("maximum_lag_on_failover").unwrap_or(LAG_DEFAULT))
}

fn lag(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let limit = maximum_lag(view)?;
    let mut observations = Vec::new();
    for row in view
        .snapshot("patroni-cluster")?
        .rows()
        .filter(|row| !leads(row))
    {
        let name = text(row, "name");
        let Some(bytes) = row.float("lag") else {
            let title = format!("member \"{name}\" does not report its position");
            observations.push(judged(name, Level::Unknown, title));
            continue;
        };
        let over = view
            .limits
            .critical
            .is_some_and(|critical| bytes >= critical);
        let level = match bytes > limit {
            _ if over => Level::Critical,
            true => Level::Warning,
            false => Level::Ok,
        };
        observations.push(Observation {
            value: bytes,
            evidence: row.evidence(&["role", "state", "timeline", "lag"]),
            ..judged(
                name,
                level,
                format!(
                    "member \"{name}\" is {} behind, maximum_lag_on_failover is {}",
                    ByteSize(bytes as u64),
                    ByteSize(limit as u64)
                ),
            )
        });
    }
    if observations.is_empty() {
        return Err(Missing::NotApplicable(
            "the cluster has no replica".to_owned(),
        ));
    }
    Ok(observations)
}

fn flagged(
    view: &View<'_>,
    column: &str,
    level: Level,
    title: &str,
) -> Result<Vec<Observation>, Missing> {
    let set = view.row("patroni-node")?.flag(column) == Some(true);
    let level = if set { level } else { Level::Ok };
    Ok(vec![judged("", level, title.to_owned())])
}

fn paused(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    flagged(
        view,
        "pause",
        Level::Warning,
        "the cluster is paused: nobody is promoted when the leader fails",
    )
}

fn failsafe(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    flagged(
        view,
        "failsafe_mode_is_active",
        Level::Critical,
        "the consensus store is away and fail-safe mode keeps the leader",
    )
}

fn pending_restart(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let observation = |row: Row<'_>| {
        let name = text(row, "name");
        let pending = row.flag("pending_restart") == Some(true);
        let level = if pending { Level::Warning } else { Level::Ok };
        judged(
            name,
            level,
            format!("member \"{name}\" waits for a restart to take over changed settings"),
        )
    };
    Ok(view
        .snapshot("patroni-cluster")?
        .rows()
        .map(observation)
        .collect())
}

fn dcs(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let snapshot = view.snapshot("patroni-node")?;
    let row = view.row("patroni-node")?;
    let Some(seen) = row.time("dcs_last_seen") else {
        return Err(Missing::NotApplicable(
            "this version of Patroni does not tell when it saw the DCS".to_owned(),
        ));
    };
    let seconds = snapshot.at.duration_since(seen).as_secs_f64().max(0.0);
    let mut title = format!(
        "Patroni spoke to the DCS {} ago",
        Unit::Seconds.show(seconds.floor())
    );
    let stale = named_leader(view)?.filter(|row| matches!(own_word(*row), Own::Not(_)));
    if let Some(row) = stale {
        let name = text(row, "name");
        title = format!("the DCS still names \"{name}\" as leader, which does not lead any more");
    }
    Ok(vec![Observation {
        value: seconds,
        level: stale.map(|_| Level::Critical),
        title,
        since: Some(seen),
        ..Observation::default()
    }])
}

fn timeline(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let snapshot = view.snapshot("patroni-cluster")?;
    let leader = snapshot
        .rows()
        .find(leads)
        .and_then(|row| row.int("timeline"));
    let Some(leader) = leader else {
        return Err(Blind::Failed {
            what: "no leader tells its timeline".to_owned(),
        }
        .into());
    };
    let observation = |row: Row<'_>| {
        let name = text(row, "name");
        let own = row.int("timeline")?;
        let level = if own == leader {
            Level::Ok
        } else {
            Level::Critical
        };
        let title = format!("member \"{name}\" is on timeline {own} and the leader on {leader}");
        Some(judged(name, level, title))
    };
    Ok(snapshot
        .rows()
        .filter(runs)
        .filter_map(observation)
        .collect())
}

fn candidates(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let limit = maximum_lag(view)?;
    let snapshot = view.snapshot("patroni-cluster")?;
    let replicas: Vec<Row<'_>> = snapshot.rows().filter(|row| !leads(row)).collect();
    if replicas.is_empty() {
        return Err(Missing::NotApplicable(
            "the cluster has one member".to_owned(),
        ));
    }
    let able = |row: &&Row<'_>| {
        runs(row)
            && row.flag("nofailover") != Some(true)
            && row.int("failover_priority") != Some(0)
            && row.float("lag").is_some_and(|lag| lag <= limit)
    };
    let able = replicas.iter().filter(able).count();
    Ok(vec![Observation {
        value: able as f64,
        title: format!("{able} of {} replicas could take over", replicas.len()),
        ..Observation::default()
    }])
}

fn synchronous(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    if view.row("patroni-node")?.flag("synchronous_mode") != Some(true) {
        return Err(Missing::NotApplicable("synchronous_mode is off".to_owned()));
    }
    let mut members = view.snapshot("patroni-cluster")?.rows();
    let found = members.any(|row| matches!(text(row, "role"), "sync_standby" | "quorum_standby"));
    let level = if found { Level::Ok } else { Level::Warning };
    Ok(vec![judged(
        "",
        level,
        "synchronous_mode is on and no member is synchronous".to_owned(),
    )])
}
