//! Why a server does not let anybody in: causes, most likely first, out of facts that need no connection.

mod log;

use pawang_core::{
    ByteSize, DataDirectory, DownFacts, Level, Listener, Missing, PidFile, Refusal, Unit,
};

use crate::{Check, Direction, Group, Observation, Scope, View};

pub(crate) static CHECKS: &[Check] = &[Check {
    id: "server-down",
    group: Group::Availability,
    title: "why the server lets nobody in",
    scope: Scope::Server,
    needs: &["server"],
    unit: Unit::State,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "Only when the connection fails, and within two seconds: postmaster.pid and its process, pg_control, who listens on \
           the port, ownership and permissions of the data directory, missing files, room on the disks of data, WAL and \
           log, mistakes in the configuration files, and the last lines of the server log. Needs no connection, but the \
           server's own machine; the data directory comes from pawang.toml, the last good run, PGDATA, or Debian's layout.",
    why: "\"Connection refused\" has a dozen causes, and at night each of them looks the same.",
    fix: "Each cause brings its own remedy. Run pawang as the owner of the data directory to let it see everything: \
          sudo -u postgres pawang check server-down.",
    observe: server_down,
}];

/// With less than one WAL file of room the server cannot start.
const ROOM_BYTES_MIN: u64 = 16 << 20;
/// Lines of the log that a cause quotes.
const QUOTED_MAX: usize = 6;

/// One reason why the server does not let anybody in.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    /// Kebab-case, never changes.
    pub id: &'static str,
    /// How bad it is: `info` for a server that was stopped or is only busy starting.
    pub level: Level,
    /// One sentence without full stop.
    pub title: String,
    /// What proves it.
    pub evidence: Vec<(String, String)>,
    /// What to do.
    pub remedy: String,
}

/// Returns the causes, most likely first; never empty.
pub fn diagnose(facts: &DownFacts) -> Vec<Cause> {
    let mut causes = Vec::new();
    answers(facts, &mut causes);
    if let Some(directory) = &facts.directory {
        let running = directory.pid_file.as_ref().filter(|file| file.postgres);
        match running {
            Some(file) => awake(facts, directory, file, &mut causes),
            None if causes.is_empty() => {
                damaged(directory, &mut causes);
                configured(facts, &mut causes);
                resources(facts, &mut causes);
                log::causes(facts, &mut causes);
                asleep(directory, &mut causes);
            }
            None => {}
        }
    }
    if causes.is_empty() {
        causes.push(elsewhere(facts));
    }
    let quoted = facts.log_lines.len().saturating_sub(QUOTED_MAX);
    for line in &facts.log_lines[quoted..] {
        causes[0].evidence.push(("log".to_owned(), line.clone()));
    }
    causes
}

/// Turns the causes into observations; a server that answers has none.
fn server_down(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let Err(blind) = &view.facts.server else {
        return Ok(Vec::new());
    };
    let facts = view.facts.down.as_ref().ok_or_else(|| blind.clone())?;
    let observation = |cause: Cause| Observation {
        object: cause.id.to_owned(),
        value: 1.0,
        level: Some(cause.level),
        title: cause.title,
        evidence: cause.evidence,
        remedy: Some(cause.remedy),
        ..Observation::default()
    };
    Ok(diagnose(facts).into_iter().map(observation).collect())
}

fn cause(id: &'static str, title: impl Into<String>, remedy: impl Into<String>) -> Cause {
    Cause {
        id,
        level: Level::Critical,
        title: title.into(),
        evidence: Vec::new(),
        remedy: remedy.into(),
    }
}

/// What the answer itself proves: somebody is there.
fn answers(facts: &DownFacts, causes: &mut Vec<Cause>) {
    let error = &facts.error;
    match facts.refusal {
        Refusal::Full => causes.push(cause(
            "too-many-connections",
            format!("the server is up and all its connection slots are taken: {error}"),
            "log in through a reserved slot as superuser and look: SELECT usename, state, count(*) FROM pg_stat_activity \
             GROUP BY 1, 2 ORDER BY 3 DESC; then end idle sessions with pg_terminate_backend(pid)",
        )),
        Refusal::LogIn => causes.push(cause(
            "log-in-refused",
            format!("the server is up and does not let this user in: {error}"),
            "check user, password, database and the lines of pg_hba.conf: SELECT * FROM pg_hba_file_rules;",
        )),
        Refusal::NotReady if facts.directory.as_ref().is_none_or(|d| d.pid_file.is_none()) => {
            causes.push(Cause {
                level: Level::Warning,
                ..cause(
                    "not-ready",
                    format!("the server is up and does not accept connections now: {error}"),
                    "wait, and follow its log",
                )
            });
        }
        Refusal::NotPostgres => causes.push(port_in_use(facts, None)),
        _ => {}
    }
}

/// The postmaster runs: it is starting, stopping, suspended, or listens elsewhere.
fn awake(facts: &DownFacts, directory: &DataDirectory, file: &PidFile, causes: &mut Vec<Cause>) {
    if matches!(facts.refusal, Refusal::Full | Refusal::LogIn) {
        return;
    }
    let status = file.status.as_deref().unwrap_or("starting");
    let state = directory.control.as_ref().map_or("", |c| c.state.as_str());
    let mut evidence = vec![
        ("pid".to_owned(), file.pid.to_string()),
        ("status".to_owned(), status.to_owned()),
        ("pg_control".to_owned(), state.to_owned()),
    ];
    if let Some(startup) = &file.startup {
        evidence.push(("startup process".to_owned(), startup.clone()));
    }
    let doing = file.startup.as_deref().unwrap_or(state);
    let follow = match &facts.log {
        Some(log) => format!("follow its log: tail -f '{}'", log.display()),
        None => "follow its log".to_owned(),
    };
    let mut found = if file.suspended {
        cause(
            "suspended",
            format!(
                "the postmaster {} was stopped by a signal and does nothing",
                file.pid
            ),
            format!("kill -CONT {}", file.pid),
        )
    } else if status == "stopping" {
        let remedy = "a smart shutdown waits for all clients to leave: pg_ctl stop -m fast -D DATA_DIRECTORY ends them";
        warning(cause("stopping", "the server is shutting down", remedy))
    } else if status == "starting" || facts.refusal == Refusal::NotReady {
        let (id, words) = if directory.standby {
            (
                "standby-recovering",
                "the standby has not reached a consistent state yet",
            )
        } else if state == "in crash recovery"
            || directory.control.is_some() && doing.contains("recovering")
        {
            ("crash-recovery", "the server replays WAL after a crash")
        } else {
            ("starting", "the server is starting")
        };
        let progress = if doing.is_empty() {
            String::new()
        } else {
            format!(" ({doing})")
        };
        let remedy = format!("wait, do not kill it: recovery would begin anew; {follow}");
        warning(cause(id, format!("{words}{progress}"), remedy))
    } else {
        listens_elsewhere(facts, file)
    };
    found.evidence = evidence;
    causes.insert(0, found);
}

fn warning(cause: Cause) -> Cause {
    Cause {
        level: Level::Warning,
        ..cause
    }
}

fn listens_elsewhere(facts: &DownFacts, file: &PidFile) -> Cause {
    let asked: Vec<String> = facts
        .addresses
        .iter()
        .map(|(host, port)| format!("{host}:{port}"))
        .collect();
    let asked = asked.join(", ");
    let port = file.port.unwrap_or_default();
    if facts.addresses.iter().all(|(_, wanted)| *wanted != port) {
        let title = format!("the server runs on port {port} and {asked} was asked");
        return cause(
            "other-port",
            title,
            format!("connect with port={port}, or set port in postgresql.conf and restart"),
        );
    }
    if facts.refusal == Refusal::Silent {
        let title = format!("the server runs and does not answer on {asked}");
        let remedy = "look for an exhausted machine (pawang check load memory-available) or a firewall; see who waits: ps -o pid,stat,wchan,args -C postgres";
        return cause("silent", title, remedy);
    }
    cause(
        "not-listening",
        format!("the server runs and does not listen on {asked}"),
        "check listen_addresses and unix_socket_directories in postgresql.conf; both need a restart; \
         connect through the address that ss -lntxp | grep postgres shows",
    )
}

/// What is wrong with the data directory itself.
fn damaged(directory: &DataDirectory, causes: &mut Vec<Cause>) {
    let path = directory.path.display();
    if !directory.exists {
        let title = format!("the data directory \"{path}\" does not exist");
        causes.push(cause("data-directory-missing", title, "is its disk mounted? compare mount and /etc/fstab; do not run initdb over an empty mount point"));
        return;
    }
    let mode = directory.mode.unwrap_or(0o700);
    let owner = directory.owner.clone().unwrap_or_default();
    let inside = directory
        .owner_inside
        .clone()
        .unwrap_or_else(|| owner.clone());
    if owner == "root" || owner != inside {
        let user = if inside == "root" {
            "postgres"
        } else {
            &inside
        };
        let title = format!(
            "the data directory \"{path}\" belongs to \"{owner}\", the server runs as \"{user}\""
        );
        causes.push(cause(
            "data-directory-owner",
            title,
            format!("chown {user}: '{path}'"),
        ));
    }
    if mode & 0o7777 & !0o750 != 0 || mode & 0o700 != 0o700 {
        let title = format!(
            "the data directory \"{path}\" has mode {mode:04o}, the server starts only with 0700 or 0750"
        );
        causes.push(cause(
            "data-directory-permissions",
            title,
            format!("chmod 0700 '{path}'"),
        ));
    }
    contents(directory, causes);
}

/// What is wrong inside of the data directory.
fn contents(directory: &DataDirectory, causes: &mut Vec<Cause>) {
    let path = directory.path.display();
    if let Some(problem) = &directory.unreadable {
        let mut found = cause(
            "data-directory-unreadable",
            format!("the data directory \"{path}\" cannot be read by this user: {problem}"),
            "run pawang as the owner: sudo -u postgres pawang check",
        );
        found.level = Level::Unknown;
        causes.push(found);
        return;
    }
    if !directory.missing.is_empty() {
        let missing = directory.missing.join(", ");
        let (id, remedy) = match directory.missing[0].as_str() {
            "pg_wal" => (
                "pg-wal-missing",
                "if it was a link, mount its disk again; else restore from a backup; pg_resetwal loses data and is the last resort",
            ),
            "global/pg_control" => (
                "pg-control-missing",
                "restore from a backup, or fail over to a standby; pg_control cannot be made up safely",
            ),
            _ => (
                "files-missing",
                "is its disk mounted, all of it? else restore from a backup, or fail over to a standby",
            ),
        };
        causes.push(cause(id, format!("\"{path}\" lacks {missing}"), remedy));
    }
    if let Some(problem) = &directory.control_problem {
        causes.push(cause(
            "pg-control-damaged",
            problem.clone(),
            "save the whole directory first; fail over to a standby or restore from a backup; check the disk (dmesg, smartctl)",
        ));
    }
    if let (Some(version), Some(control)) = (directory.version, &directory.control)
        && version != control.major
    {
        let title = format!(
            "PG_VERSION says {version} and pg_control is of PostgreSQL {}",
            control.major
        );
        causes.push(cause(
            "version-mismatch",
            title,
            "files of two clusters were mixed: restore from a backup",
        ));
    }
}

/// What keeps the server from starting and stands in its files.
fn configured(facts: &DownFacts, causes: &mut Vec<Cause>) {
    for problem in &facts.configuration {
        let (id, remedy) = match problem.kind.as_str() {
            "syntax" => ("configuration-syntax", "correct the line"),
            "parameter" => (
                "configuration-parameter",
                "remove the line, or correct the name",
            ),
            "value" => ("configuration-value", "correct the value"),
            "hba" => ("hba-syntax", "correct the line"),
            "ssl" => (
                "ssl-file",
                "put the file in its place with chmod 0600, owned by the server's user; or set ssl = off",
            ),
            "socket-directory" => (
                "socket-directory-missing",
                "create it, owned by the server's user; /run is empty after a restart: see /usr/lib/tmpfiles.d",
            ),
            _ => (
                "configuration-file",
                "put the file back, or remove the line that names it",
            ),
        };
        let file = problem.file.display();
        let place = if problem.line == 0 {
            format!("\"{file}\"")
        } else {
            format!("line {} of \"{file}\"", problem.line)
        };
        let automatic = file.to_string().ends_with("postgresql.auto.conf");
        let remedy = if automatic {
            format!(
                "{remedy}; it was written by ALTER SYSTEM and may be edited while the server is down"
            )
        } else {
            remedy.to_owned()
        };
        causes.push(cause(id, format!("{place}: {}", problem.what), remedy));
    }
}

/// Room, ports and process ids that somebody else has.
fn resources(facts: &DownFacts, causes: &mut Vec<Cause>) {
    for space in &facts.space {
        let path = space.path.display();
        let full = space.available_bytes < ROOM_BYTES_MIN.min(space.total_bytes / 20);
        let no_inodes = space.inodes > 0 && space.inodes_free == 0;
        if space.purpose == "log" || !(full || no_inodes) {
            continue;
        }
        let title = if full {
            format!(
                "the disk of {} (\"{path}\") is full: {} of {} are available",
                space.purpose,
                ByteSize(space.available_bytes),
                ByteSize(space.total_bytes)
            )
        } else {
            format!(
                "the disk of {} (\"{path}\") has no free inode",
                space.purpose
            )
        };
        let remedy = format!(
            "free room outside of the data directory on that disk: du -xh --max-depth=2 '{path}' | sort -h | tail; grow the volume; never delete files in pg_wal"
        );
        let known = causes.iter().any(|known| known.id == "disk-full");
        if !known {
            causes.push(cause("disk-full", title, remedy));
        }
    }
    let stranger = facts
        .listeners
        .iter()
        .find(|listener| !listener.postgres && listener.pid.is_some());
    let other = facts.listeners.iter().find(|listener| listener.postgres);
    if let Some(listener) = stranger.or(other) {
        causes.push(port_in_use(facts, Some(listener)));
    }
    let file = facts
        .directory
        .as_ref()
        .and_then(|d| Some((d, d.pid_file.as_ref()?)));
    if let Some((directory, file)) = file.filter(|(_, file)| file.alive) {
        let name = file.process.as_deref().unwrap_or("another program");
        let title = format!(
            "postmaster.pid names process {}, which is {name} and no PostgreSQL server",
            file.pid
        );
        let path = directory.path.join("postmaster.pid");
        let remedy = format!(
            "make sure that no postgres process uses the directory (fuser -v '{}'), then rm '{}'",
            directory.path.display(),
            path.display()
        );
        causes.push(cause("stale-pid-file", title, remedy));
    }
}

fn port_in_use(facts: &DownFacts, listener: Option<&Listener>) -> Cause {
    let asked = facts.addresses.first().map_or(0, |(_, port)| *port);
    let (address, who) = match listener.or(facts.listeners.first()) {
        Some(listener) => (
            listener.address.clone(),
            match (listener.pid, &listener.process) {
                (Some(pid), Some(name)) => format!("{name} (pid {pid})"),
                _ => "a process that this user may not see".to_owned(),
            },
        ),
        None => (format!("port {asked}"), "another program".to_owned()),
    };
    let mut found = cause(
        "port-in-use",
        format!("{address} is taken by {who}, which is not this server"),
        format!("stop that program, or give one of them another port: ss -lntxp | grep {asked}"),
    );
    found
        .evidence
        .push(("answer".to_owned(), facts.error.clone()));
    found
}

/// How it ended, when nothing keeps it from starting.
fn asleep(directory: &DataDirectory, causes: &mut Vec<Cause>) {
    let Some(control) = &directory.control else {
        return;
    };
    let path = directory.path.display();
    let mut evidence = vec![
        ("pg_control".to_owned(), control.state.clone()),
        (
            "pg_control written".to_owned(),
            control.written_at.to_string(),
        ),
        (
            "last checkpoint".to_owned(),
            control.checkpoint_at.to_string(),
        ),
    ];
    let left = directory.pid_file.as_ref().filter(|file| !file.alive);
    if let Some(file) = left {
        evidence.push((
            "postmaster.pid".to_owned(),
            format!("{}, which does not run", file.pid),
        ));
    }
    let start = format!("systemctl start postgresql, or pg_ctl start -D '{path}'");
    let mut found = if control.state.starts_with("shut down") {
        let title = format!(
            "the server was stopped in an orderly way at {}",
            control.written_at
        );
        cause("stopped", title, start)
    } else {
        let title = format!(
            "the server ended without a shutdown: pg_control says \"{}\" and no postmaster runs",
            control.state
        );
        let remedy = format!(
            "look for the reason (dmesg -T | grep -i 'killed process'; the server log), then {start}: it recovers by itself; a left postmaster.pid does no harm"
        );
        cause("crashed", title, remedy)
    };
    found.evidence = evidence;
    causes.push(found);
}

/// Nothing on this machine tells.
fn elsewhere(facts: &DownFacts) -> Cause {
    let asked: Vec<String> = facts
        .addresses
        .iter()
        .map(|(host, port)| format!("{host}:{port}"))
        .collect();
    let asked = asked.join(", ");
    let listener = facts.listeners.first();
    if let Some(listener) = listener {
        return match listener.postgres {
            true => cause(
                "silent",
                format!(
                    "{} listens and does not answer: {}",
                    listener.address, facts.error
                ),
                "look at the machine's load and the server's log",
            ),
            false => port_in_use(facts, Some(listener)),
        };
    }
    if facts.local {
        return cause(
            "no-server",
            format!("nobody listens on {asked} and no data directory was found"),
            "name it: data_directory in pawang.toml, or PGDATA; pg_lsclusters lists Debian's clusters",
        );
    }
    let mut found = cause(
        "not-local",
        format!(
            "the server at {asked} cannot be reached from here: {}",
            facts.error
        ),
        "run pawang check on that machine: it then looks at files and processes",
    );
    found.level = Level::Unknown;
    found
}
