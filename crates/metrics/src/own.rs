//! What Pawang says of itself: reachability, cost, verdicts, store, process.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use pawang_core::{Column, ColumnKind, Cost, Level, Outcome, Role, Snapshot, Timestamp, Value};
use pawang_store::live::{CollectorStatus, DaemonStatus, Present};

use crate::backup;
use crate::layout::{Family, Kind, Layout, Read};
use crate::name::{self, Scale};
use crate::sheet::Sheet;

/// Most findings of one instance that are shown one by one.
pub(crate) const FINDINGS_MAX: usize = 500;
const LEVELS: [Level; 5] = [
    Level::Ok,
    Level::Info,
    Level::Unknown,
    Level::Warning,
    Level::Critical,
];

/// Some metrics that are asked for together.
pub(crate) struct Part<'a> {
    /// What `collect[]` calls it.
    pub(crate) group: &'static str,
    pub(crate) sheets: Vec<Sheet<'a>>,
}

/// A metric of Pawang's own: name without `_total`, kind, base unit, help.
pub(crate) type Metric = (&'static str, Kind, Option<&'static str>, &'static str);

pub(crate) const INSTANCE: [Metric; 5] = [
    (
        "pawang_up",
        Kind::Gauge,
        None,
        "Whether the server answers: 1 is yes, 0 is no.",
    ),
    (
        "pawang_answered_timestamp_seconds",
        Kind::Gauge,
        Some("seconds"),
        "When the server last answered.",
    ),
    (
        "pawang_budget_limit_ratio",
        Kind::Gauge,
        Some("ratio"),
        "Share of one core that observing may use on the server.",
    ),
    (
        "pawang_budget_used_ratio",
        Kind::Gauge,
        Some("ratio"),
        "Share of one core that observing used on the server over the last minutes.",
    ),
    (
        "pawang_budget_stretch",
        Kind::Gauge,
        None,
        "How many times longer than asked for intervals are, to keep the budget.",
    ),
];
pub(crate) const COLLECTOR: [Metric; 8] = [
    (
        "pawang_collector_up",
        Kind::Gauge,
        None,
        "Whether the collector saw what it looks for when it was asked last.",
    ),
    (
        "pawang_collector_asked_timestamp_seconds",
        Kind::Gauge,
        Some("seconds"),
        "When the collector was asked last.",
    ),
    (
        "pawang_collector_interval_seconds",
        Kind::Gauge,
        Some("seconds"),
        "The interval in force, longer under pressure.",
    ),
    (
        "pawang_collector_elapsed_seconds",
        Kind::Gauge,
        Some("seconds"),
        "What asking cost last, from the first statement to the last row.",
    ),
    (
        "pawang_collector_core_ratio",
        Kind::Gauge,
        Some("ratio"),
        "Share of one core of the server over the last minutes.",
    ),
    (
        "pawang_collector_rows",
        Kind::Gauge,
        None,
        "Rows received last.",
    ),
    (
        "pawang_collector_runs",
        Kind::Counter,
        None,
        "How often the collector was asked.",
    ),
    (
        "pawang_collector_failures",
        Kind::Counter,
        None,
        "How often it saw nothing though it should have.",
    ),
];
pub(crate) const CHECK: [Metric; 1] = [(
    "pawang_check_state",
    Kind::Gauge,
    None,
    "The verdict: 0 ok, 1 info, 2 unknown, 3 warning, 4 critical; checks that do not apply are absent.",
)];
pub(crate) const FINDINGS: [Metric; 1] = [(
    "pawang_findings",
    Kind::Gauge,
    None,
    "Checks by the level of their verdict.",
)];
pub(crate) const FINDING: [Metric; 1] = [(
    "pawang_finding",
    Kind::Gauge,
    None,
    "Open findings, always 1; at most 500 of one instance, worst first.",
)];
pub(crate) const DAEMON: [Metric; 12] = [
    (
        "process_resident_memory_bytes",
        Kind::Gauge,
        Some("bytes"),
        "Resident memory of Pawang.",
    ),
    (
        "process_cpu_seconds",
        Kind::Counter,
        Some("seconds"),
        "CPU time of Pawang since its start.",
    ),
    (
        "process_start_time_seconds",
        Kind::Gauge,
        Some("seconds"),
        "When Pawang started, as seconds since 1970.",
    ),
    (
        "pawang_instances",
        Kind::Gauge,
        None,
        "Instances that Pawang looks after.",
    ),
    (
        "pawang_config_loaded_timestamp_seconds",
        Kind::Gauge,
        Some("seconds"),
        "When the configuration in force was read.",
    ),
    (
        "pawang_config_refused",
        Kind::Gauge,
        None,
        "Whether the newest configuration was refused, so that an older one is in force.",
    ),
    (
        "pawang_store_size_bytes",
        Kind::Gauge,
        Some("bytes"),
        "Size of the history and state files.",
    ),
    (
        "pawang_store_waiting_snapshots",
        Kind::Gauge,
        None,
        "Snapshots that wait in memory for the disk.",
    ),
    (
        "pawang_store_waiting_bytes",
        Kind::Gauge,
        Some("bytes"),
        "Memory that the waiting snapshots take.",
    ),
    (
        "pawang_store_dropped_snapshots",
        Kind::Counter,
        None,
        "Snapshots that were dropped because memory ran out while the disk refused.",
    ),
    (
        "pawang_store_trouble",
        Kind::Gauge,
        None,
        "Whether the store cannot be written.",
    ),
    (
        "pawang_store_committed_timestamp_seconds",
        Kind::Gauge,
        Some("seconds"),
        "When something was last written for good.",
    ),
];
pub(crate) const REMOTE: [Metric; 4] = [
    (
        "pawang_remote_write_samples_sent",
        Kind::Counter,
        None,
        "Samples that the remote store has acknowledged.",
    ),
    (
        "pawang_remote_write_samples_dropped",
        Kind::Counter,
        None,
        "Samples dropped because the queue was full or the store refused them for good.",
    ),
    (
        "pawang_remote_write_waiting_bytes",
        Kind::Gauge,
        Some("bytes"),
        "Bytes that wait on disk.",
    ),
    (
        "pawang_remote_write_trouble",
        Kind::Gauge,
        None,
        "Whether the last attempt did not work out.",
    ),
];
pub(crate) const DROPPED: [Metric; 1] = [(
    "pawang_series_dropped",
    Kind::Gauge,
    None,
    "Series of a collector that are not shown: beyond the bound, or with the labels of another one.",
)];
/// Metrics whose labels are their content.
pub(crate) const INFOS: [Metric; 2] = [
    (
        "pawang_build",
        Kind::Info,
        None,
        "Pawang's version; always 1.",
    ),
    (
        "pawang_instance",
        Kind::Info,
        None,
        "Group, role, version and configured labels of an instance; always 1.",
    ),
];

/// Samples that were not shown, by instance and collector.
#[derive(Default)]
pub(crate) struct Dropped {
    counts: BTreeMap<(String, String), usize>,
}

impl Dropped {
    /// Adds samples of one collector.
    pub(crate) fn add(&mut self, server: &str, collector: &str, count: usize) {
        if count > 0 {
            let key = (server.to_owned(), collector.to_owned());
            *self.counts.entry(key).or_default() += count;
        }
    }

    /// Returns them as metrics; instances of which everything is shown have one line that says so.
    pub(crate) fn sheet(&self, presents: &[&Present]) -> Sheet<'static> {
        let mut rows: Vec<Vec<Value>> = Vec::new();
        for present in presents {
            let name = present.instance.name.as_str();
            let of_instance = self.counts.iter().filter(|((server, _), _)| server == name);
            let before = rows.len();
            for ((_, collector), count) in of_instance {
                rows.push(vec![text(name), text(collector), whole(*count as u64)]);
            }
            if rows.len() == before {
                rows.push(vec![text(name), Value::Null, Value::Int(0)]);
            }
        }
        sheet(None, &["server", "collector"], &DROPPED, rows)
    }
}

/// Returns everything that Pawang says of itself, except what only the end of the scrape knows.
pub(crate) fn parts<'a>(
    presents: &[&'a Present],
    daemon: &DaemonStatus,
    dropped: &mut Dropped,
    now: Timestamp,
) -> Vec<Part<'a>> {
    let mut pawang = of_daemon(presents.len(), daemon);
    let mut checks = Vec::new();
    for present in presents {
        pawang.push(of_instance(present));
    }
    for present in presents {
        pawang.push(description(present));
    }
    for present in presents {
        pawang.push(of_collectors(present));
        checks.extend(of_checks(present, dropped));
    }
    vec![
        Part {
            group: "pawang",
            sheets: pawang,
        },
        Part {
            group: "checks",
            sheets: checks,
        },
        Part {
            group: "backups",
            sheets: presents
                .iter()
                .filter_map(|present| backup::of_backups(present, now))
                .collect(),
        },
    ]
}

/// Returns what is known of one instance besides its snapshots.
pub(crate) fn of_present<'a>(present: &'a Present, dropped: &mut Dropped) -> Vec<Sheet<'a>> {
    let mut sheets = vec![
        of_instance(present),
        description(present),
        of_collectors(present),
    ];
    sheets.extend(of_checks(present, dropped));
    sheets.extend(backup::of_backups(present, present.facts.at));
    sheets
}

/// Returns how the daemon is doing.
pub(crate) fn of_daemon(instances: usize, daemon: &DaemonStatus) -> Vec<Sheet<'static>> {
    let store = &daemon.store;
    let row = vec![
        whole(daemon.memory_bytes),
        Value::Float(daemon.cpu_time.as_secs_f64()),
        seconds(Some(daemon.started_at)),
        whole(instances as u64),
        seconds(Some(daemon.config_loaded_at)),
        Value::Bool(daemon.config_refused.is_some()),
        whole(store.bytes),
        whole(store.waiting_snapshots as u64),
        whole(store.waiting_bytes as u64),
        whole(store.dropped_snapshots),
        Value::Bool(store.trouble.is_some()),
        seconds(store.committed_at),
    ];
    let remotes = daemon.remote_writes.iter().map(|remote| {
        vec![
            text(&remote.name),
            whole(remote.samples_sent),
            whole(remote.samples_dropped),
            whole(remote.waiting_bytes),
            Value::Bool(remote.trouble.is_some()),
        ]
    });
    let build = vec![text(&daemon.version)];
    vec![
        described(None, INFOS[0], &["version"], build),
        sheet(None, &[], &DAEMON, vec![row]),
        sheet(None, &["remote"], &REMOTE, remotes.collect()),
    ]
}

fn of_instance(present: &Present) -> Sheet<'_> {
    let budget = &present.budget;
    let row = vec![
        Value::Bool(present.facts.server.is_ok()),
        seconds(present.answered_at),
        Value::Float(budget.limit_percent / 100.0),
        Value::Float(budget.used_percent / 100.0),
        Value::Float(budget.stretch),
    ];
    sheet(Some(&present.instance.name), &[], &INSTANCE, vec![row])
}

fn description(present: &Present) -> Sheet<'_> {
    let server = present.facts.server.as_ref().ok();
    let role = server.map(|server| match server.role {
        Role::Primary => "primary",
        Role::Standby => "standby",
    });
    let version = server.map(pawang_core::Server::short_version);
    let mut labels: Vec<String> = ["group", "role", "version"].map(str::to_owned).to_vec();
    let mut row = vec![
        present.instance.group.as_deref().map_or(Value::Null, text),
        role.map_or(Value::Null, text),
        version.as_deref().map_or(Value::Null, text),
    ];
    for (label, value) in &present.labels {
        let mut label = name::label(label, false);
        while labels.contains(&label) {
            label = format!("exported_{label}");
        }
        labels.push(label);
        row.push(text(value));
    }
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    described(Some(&present.instance.name), INFOS[1], &labels, row)
}

fn of_collectors(present: &Present) -> Sheet<'_> {
    let rows = present.collectors.iter().map(|status: &CollectorStatus| {
        let up = status.asked_at.map(|_| Value::Bool(status.blind.is_none()));
        vec![
            text(&status.name),
            up.unwrap_or_default(),
            seconds(status.asked_at),
            Value::Float(status.interval_now.as_secs_f64()),
            Value::Float(status.elapsed.as_secs_f64()),
            Value::Float(status.percent / 100.0),
            whole(status.rows as u64),
            whole(status.runs),
            whole(status.failures),
        ]
    });
    sheet(
        Some(&present.instance.name),
        &["collector"],
        &COLLECTOR,
        rows.collect(),
    )
}

fn of_checks<'a>(present: &'a Present, dropped: &mut Dropped) -> Vec<Sheet<'a>> {
    let Some(evaluation) = &present.evaluation else {
        return Vec::new();
    };
    let server = Some(present.instance.name.as_str());
    let applicable = evaluation.verdicts.iter();
    let applicable = applicable.filter(|v| v.outcome != Outcome::NotApplicable);
    let states =
        applicable.map(|verdict| vec![text(&verdict.check), Value::Int(code(verdict.level))]);
    let counts = LEVELS.map(|level| {
        let count = evaluation.count(level) as u64;
        vec![text(level.as_str()), whole(count)]
    });
    let findings = evaluation.findings();
    dropped.add(
        &present.instance.name,
        "checks",
        findings.len().saturating_sub(FINDINGS_MAX),
    );
    let findings = findings.into_iter().take(FINDINGS_MAX).map(|finding| {
        vec![
            text(&finding.check),
            finding.database.as_deref().map_or(Value::Null, text),
            text(&finding.object),
            text(finding.level.as_str()),
            Value::Int(1),
        ]
    });
    let labels = ["check", "database", "object", "level"];
    vec![
        sheet(server, &["check"], &CHECK, states.collect()),
        sheet(server, &["level"], &FINDINGS, counts.to_vec()),
        sheet(server, &labels, &FINDING, findings.collect()),
    ]
}

/// Returns a level as a number that grows with how bad it is.
pub(crate) fn code(level: Level) -> i64 {
    match level {
        Level::Ok => 0,
        Level::Info => 1,
        Level::Unknown => 2,
        Level::Warning => 3,
        Level::Critical => 4,
    }
}

/// Returns rows of labels, then one number per metric, into a sheet.
pub(crate) fn sheet<'a>(
    server: Option<&'a str>,
    labels: &[&str],
    metrics: &[Metric],
    rows: Vec<Vec<Value>>,
) -> Sheet<'a> {
    let families = metrics.iter().enumerate();
    let families = families.map(|(place, (base, kind, unit, help))| Family {
        base: (*base).to_owned(),
        kind: *kind,
        unit: *unit,
        help: (*help).to_owned(),
        column: labels.len() + place,
        read: Read::Number(Scale::Same),
    });
    let families = families.collect();
    finish(server, labels, families, rows)
}

/// Makes a sheet of one row whose labels are its content.
fn described<'a>(
    server: Option<&'a str>,
    metric: Metric,
    labels: &[&str],
    row: Vec<Value>,
) -> Sheet<'a> {
    let family = Family {
        base: metric.0.to_owned(),
        kind: metric.1,
        unit: None,
        help: metric.3.to_owned(),
        column: 0,
        read: Read::One(Vec::new()),
    };
    finish(server, labels, vec![family], vec![row])
}

pub(crate) fn finish<'a>(
    server: Option<&'a str>,
    labels: &[&str],
    families: Vec<Family>,
    rows: Vec<Vec<Value>>,
) -> Sheet<'a> {
    let columns = labels.iter().map(|label| Column {
        name: (*label).to_owned(),
        kind: ColumnKind::Label,
        unit: None,
    });
    let snapshot = Snapshot {
        collector: "pawang".to_owned(),
        database: None,
        at: Timestamp::UNIX_EPOCH,
        epoch: None,
        cost: Cost::default(),
        columns: Arc::from(columns.collect::<Vec<_>>()),
        rows,
    };
    let layout = Layout {
        server_label: "server",
        database_label: "database",
        user_schemas: None,
        labels: labels
            .iter()
            .map(|label| (*label).to_owned())
            .enumerate()
            .collect(),
        families,
    };
    Sheet::new(server, Cow::Owned(snapshot), layout).0
}

pub(crate) fn text(text: &str) -> Value {
    Value::Text(text.into())
}

pub(crate) fn whole(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

pub(crate) fn seconds(at: Option<Timestamp>) -> Value {
    at.map_or(Value::Null, |at| {
        Value::Float(at.as_microsecond() as f64 / 1e6)
    })
}
