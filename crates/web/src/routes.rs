//! The one table of everything that can be asked: it makes the router, says who may, and is what tests walk along.

mod alert;

use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use futures_util::future::BoxFuture;
use pawang_store::state::Permission;
use schemars::{Schema, SchemaGenerator};

use crate::auth::{self, Actor};
use crate::page::{self, Page, PageError, Visit};
use crate::problem::Problem;
use crate::server::{self, Call, FORM_BYTES_MAX};
use crate::{api, events, health, metrics, order};

/// Something that can be asked.
pub(crate) struct Route {
    /// How.
    pub method: Verb,
    /// Where; `{name}` is a part that varies.
    pub path: &'static str,
    /// What it is, in one line.
    pub summary: &'static str,
    /// What whoever asks must be allowed; `None` lets in strangers.
    pub needs: Option<Permission>,
    /// What the journal calls it, when it changes something.
    pub action: Option<&'static str>,
    /// What kind of answer it gives.
    pub kind: Kind,
    /// The parameters that it takes; others are refused by the API.
    pub parameters: &'static [Parameter],
    /// Longest body that it takes.
    pub body_bytes_max: usize,
    /// The schema of its JSON answer.
    pub schema: Option<SchemaOf>,
    /// Who answers.
    pub answer: Answer,
}

/// A method of HTTP; `Get` stands for `HEAD` too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Changes nothing.
    Get,
    /// Changes something.
    Post,
}

/// What kind of answer a route gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A page for people.
    Page,
    /// JSON for programs.
    Api,
    /// A file that pages load.
    Asset,
    /// A file that people keep.
    File,
    /// Prometheus metrics.
    Metrics,
    /// A stream of events.
    Events,
    /// Whether it runs.
    Health,
}

/// A parameter of an address.
pub(crate) struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub summary: &'static str,
}

/// Who answers.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    /// A page within the frame.
    Page(Render),
    /// JSON out of the present and the history.
    Api(Run),
    /// Anything else.
    Other(Other),
}

/// Draws a page.
pub(crate) type Render = fn(&Visit<'_>, &Arguments) -> Result<Page, PageError>;
/// Answers a program.
pub(crate) type Run = fn(&Look<'_>) -> Result<Reply, Problem>;
/// Answers anything else.
pub(crate) type Other = fn(Arc<Call>) -> BoxFuture<'static, Result<Response<Body>, Problem>>;
/// Tells the schema of an answer.
pub(crate) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// The parts of a path that vary, decoded, with their names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arguments(pub(crate) Vec<(String, String)>);

/// What a program looks at.
pub(crate) struct Look<'a> {
    /// Present, history, time and parameters.
    pub visit: Visit<'a>,
    /// The parts of the path that vary.
    pub arguments: &'a Arguments,
    /// Who looks.
    pub actor: Option<&'a Actor>,
}

/// What a program gets.
pub(crate) struct Reply {
    /// JSON.
    pub body: Vec<u8>,
    /// Where the next page begins, when there is more.
    pub after: Option<String>,
}

impl Arguments {
    /// Returns a part of the path.
    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        let mut found = self.0.iter().filter(|(key, _)| key == name);
        found.next().map(|(_, value)| value.as_str())
    }

    /// Returns a part of the path that the route has.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.find(name)
            .unwrap_or_else(|| unreachable!("no route has a part \"{name}\""))
    }
}

const VIEWER: Option<Permission> = Some(Permission::Viewer);

const fn parameter(name: &'static str, summary: &'static str) -> Parameter {
    Parameter { name, summary }
}

const fn page(path: &'static str, summary: &'static str, render: Render) -> Route {
    Route {
        method: Verb::Get,
        path,
        summary,
        needs: VIEWER,
        action: None,
        kind: Kind::Page,
        parameters: &[],
        body_bytes_max: FORM_BYTES_MAX,
        schema: None,
        answer: Answer::Page(render),
    }
}

const fn api(
    path: &'static str,
    summary: &'static str,
    parameters: &'static [Parameter],
    schema: SchemaOf,
    run: Run,
) -> Route {
    Route {
        method: Verb::Get,
        path,
        summary,
        needs: VIEWER,
        action: None,
        kind: Kind::Api,
        parameters,
        body_bytes_max: FORM_BYTES_MAX,
        schema: Some(schema),
        answer: Answer::Api(run),
    }
}

const fn other(
    path: &'static str,
    summary: &'static str,
    kind: Kind,
    needs: Option<Permission>,
    answer: Other,
) -> Route {
    Route {
        method: Verb::Get,
        path,
        summary,
        needs,
        action: None,
        kind,
        parameters: &[],
        body_bytes_max: FORM_BYTES_MAX,
        schema: None,
        answer: Answer::Other(answer),
    }
}

const fn change(
    path: &'static str,
    summary: &'static str,
    kind: Kind,
    needs: Option<Permission>,
    action: &'static str,
    answer: Other,
) -> Route {
    Route {
        method: Verb::Post,
        path,
        summary,
        needs,
        action: Some(action),
        kind,
        parameters: &[],
        body_bytes_max: FORM_BYTES_MAX,
        schema: match kind {
            Kind::Api => Some(SchemaGenerator::subschema_for::<api::Done>),
            _ => None,
        },
        answer: Answer::Other(answer),
    }
}

const LIMIT: Parameter = parameter("limit", "most entries of one answer");
const AFTER: Parameter = parameter(
    "after",
    "where the page begins, as the Link header of the page before says",
);
const RANGE: Parameter = parameter(
    "range",
    "`1h`, `6h`, `24h`, `7d` or `30d` until now, or until `to`",
);
const FROM: Parameter = parameter("from", "begin, RFC 3339 or milliseconds since 1970");
const TO: Parameter = parameter("to", "end, RFC 3339 or milliseconds since 1970");
const AT: Parameter = parameter(
    "at",
    "as it was at this time, RFC 3339 or milliseconds since 1970",
);
const COLLECTOR: Parameter = parameter("collector", "collector, such as `database`");
const COLUMNS: Parameter = parameter(
    "column",
    "columns of kind counter or gauge, with commas between them",
);
const DATABASE: Parameter = parameter("database", "only this database");
const LEVEL: Parameter = parameter(
    "level",
    "only this level and worse: `info`, `unknown`, `warning`, `critical`",
);
const CHECK: Parameter = parameter("check", "only this check");
const INSTANCE: Parameter = parameter("instance", "only this instance");

/// Returns everything that can be asked.
pub(crate) fn all() -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().chain(alert::ROUTES)
}

/// Everything that can be asked, but of alerts.
static ROUTES: &[Route] = &[
    page("/", "All instances, worst first", |visit, _| {
        page::fleet::render(visit)
    }),
    page("/findings", "All findings, worst first", |visit, _| {
        page::findings::render(visit)
    }),
    page(
        "/findings/{fingerprint}",
        "One finding: what, why, evidence, what to do",
        |visit, at| page::finding::render(visit, at.get("fingerprint")),
    ),
    page(
        "/instances/{name}",
        "One instance: verdicts and vital signs",
        |visit, at| page::instance::render(visit, at.get("name")),
    ),
    page(
        "/instances/{name}/activity",
        "Sessions, waits, who blocks whom",
        |visit, at| page::activity::render(visit, at.get("name")),
    ),
    other(
        "/instances/{name}/activity/plan",
        "What cancelling or terminating sessions would do",
        Kind::Page,
        VIEWER,
        |call| Box::pin(order::sessions::show(call)),
    ),
    change(
        "/instances/{name}/activity/apply",
        "Carry out a plan about sessions that was shown",
        Kind::Page,
        Some(Permission::Operator),
        "session.apply",
        |call| Box::pin(order::sessions::apply(call)),
    ),
    page(
        "/instances/{name}/queries",
        "Statements by what they cost",
        |visit, at| page::queries::render(visit, at.get("name")),
    ),
    page(
        "/instances/{name}/slower",
        "Statements that became slower, and why",
        |visit, at| page::slower::render(visit, at.get("name")),
    ),
    page(
        "/instances/{name}/queries/{queryid}",
        "One statement over time",
        |visit, at| page::query::render(visit, at.get("name"), at.get("queryid")),
    ),
    page(
        "/instances/{name}/tables",
        "Tables: size, rows, vacuum",
        |visit, at| page::tables::render(visit, at.get("name")),
    ),
    page(
        "/instances/{name}/indexes",
        "Indexes: size, use, validity",
        |visit, at| page::indexes::render(visit, at.get("name")),
    ),
    page(
        "/instances/{name}/replication",
        "Who follows whom, and how far behind",
        |visit, at| page::replication::render(visit, at.get("name")),
    ),
    page(
        "/instances/{name}/storage",
        "Databases, disks, growth",
        |visit, at| page::storage::render(visit, at.get("name")),
    ),
    page(
        "/instances/{name}/logs",
        "What the server wrote: kinds, errors, slow statements",
        |visit, at| page::logs::render(visit, at.get("name")),
    ),
    page(
        "/instances/{name}/logs/records",
        "Records of the server's log, newest first",
        |visit, at| page::logs::records(visit, at.get("name")),
    ),
    page(
        "/instances/{name}/backups",
        "What could be restored, how far that is proven, and why each backup stays or goes",
        |visit, at| page::backups::render(visit, at.get("name")),
    ),
    page(
        "/instances/{name}/maintenance",
        "What is due, what is being done, and what was done",
        |visit, at| page::maintenance::render(visit, at.get("name")),
    ),
    page(
        "/instances/{name}/settings",
        "Settings, and how they changed",
        |visit, at| page::settings::render(visit, at.get("name")),
    ),
    page(
        "/instances/{name}/setup",
        "What cannot be seen, and what it costs to look",
        |visit, at| page::setup::render(visit, at.get("name")),
    ),
    page("/journal", "What was changed through Pawang", |visit, _| {
        page::journal::render(visit)
    }),
    page("/account", "Who one is and what one may", |visit, _| {
        page::account::render(visit)
    }),
    other(
        "/sign-in",
        "The form to sign in",
        Kind::Page,
        None,
        |call| Box::pin(auth::ask(call)),
    ),
    change(
        "/sign-in",
        "Sign in",
        Kind::Page,
        None,
        "sign-in.create",
        |call| Box::pin(auth::sign_in(call)),
    ),
    change(
        "/sign-out",
        "Sign out",
        Kind::Page,
        VIEWER,
        "sign-in.remove",
        |call| Box::pin(auth::sign_out(call)),
    ),
    other(
        "/assets/{file}",
        "Stylesheet, script and icons",
        Kind::Asset,
        None,
        |call| Box::pin(server::asset(call)),
    ),
    other(
        "/events",
        "Tells open pages what changed",
        Kind::Events,
        VIEWER,
        |call| Box::pin(events::open(call)),
    ),
    other(
        "/metrics",
        "Everything as Prometheus metrics",
        Kind::Metrics,
        VIEWER,
        |call| Box::pin(metrics::scrape(call)),
    ),
    other(
        "/healthz",
        "Whether the program runs",
        Kind::Health,
        None,
        |call| Box::pin(health::alive(call)),
    ),
    other(
        "/readyz",
        "Whether it observes and remembers",
        Kind::Health,
        None,
        |call| Box::pin(health::ready(call)),
    ),
    api(
        "/api/v1/instances",
        "All instances, by name",
        &[LIMIT, AFTER],
        SchemaGenerator::subschema_for::<Vec<api::Instance>>,
        api::instances,
    ),
    api(
        "/api/v1/instances/{name}",
        "One instance",
        &[],
        SchemaGenerator::subschema_for::<api::InstanceDetail>,
        api::instance,
    ),
    api(
        "/api/v1/instances/{name}/findings",
        "Open findings of one instance, worst first",
        &[LEVEL, CHECK, LIMIT, AFTER],
        SchemaGenerator::subschema_for::<Vec<api::Finding>>,
        api::instance_findings,
    ),
    api(
        "/api/v1/instances/{name}/verdicts",
        "What each check says of one instance, worst first",
        &[LEVEL, CHECK],
        SchemaGenerator::subschema_for::<Vec<api::Verdict>>,
        api::verdicts,
    ),
    api(
        "/api/v1/instances/{name}/collectors",
        "How each collector is doing and what it costs",
        &[],
        SchemaGenerator::subschema_for::<Vec<api::Collector>>,
        api::collectors,
    ),
    api(
        "/api/v1/instances/{name}/snapshots/{collector}",
        "What a collector saw last, or at a time",
        &[AT, DATABASE],
        SchemaGenerator::subschema_for::<Vec<api::Snapshot>>,
        api::snapshots,
    ),
    api(
        "/api/v1/instances/{name}/series",
        "Values over time; counters as growth per second",
        &[
            COLLECTOR,
            COLUMNS,
            DATABASE,
            parameter("rows", "labels of one row as a JSON list; may be repeated"),
            parameter(
                "fold",
                "`each` row (default), or the sum by these label columns; `none` is the sum of all rows",
            ),
            RANGE,
            FROM,
            TO,
            parameter("step", "seconds from one point to the next"),
        ],
        SchemaGenerator::subschema_for::<Vec<api::Series>>,
        api::series,
    ),
    api(
        "/api/v1/instances/{name}/growth",
        "How much the counters of every row grew, and where they ended",
        &[
            COLLECTOR,
            COLUMNS,
            DATABASE,
            RANGE,
            FROM,
            TO,
            parameter(
                "sort",
                "the column that rows are ordered by, largest growth first",
            ),
            LIMIT,
        ],
        SchemaGenerator::subschema_for::<Vec<api::Growth>>,
        api::growth,
    ),
    api(
        "/api/v1/instances/{name}/changes",
        "Changes of texts: settings, objects, versions",
        &[COLLECTOR, RANGE, FROM, TO, LIMIT],
        SchemaGenerator::subschema_for::<Vec<api::Change>>,
        api::changes,
    ),
    api(
        "/api/v1/instances/{name}/activity",
        "The newest samples of active sessions",
        &[LIMIT],
        SchemaGenerator::subschema_for::<Vec<api::Snapshot>>,
        api::activity,
    ),
    api(
        "/api/v1/instances/{name}/sessions/tree",
        "Who waits for whom, root blockers first",
        &[],
        SchemaGenerator::subschema_for::<api::LockTree>,
        api::lock_tree,
    ),
    Route {
        parameters: &[
            parameter(
                "do",
                "`cancel`, `terminate`, or `blockers` (default): root blockers, so that those that wait go on",
            ),
            parameter(
                "session",
                "the session ID for `cancel` and `terminate`, as `pawang session list` shows it",
            ),
        ],
        schema: Some(SchemaGenerator::subschema_for::<api::SessionPlan>),
        ..other(
            "/api/v1/instances/{name}/sessions/plan",
            "What cancelling or terminating sessions would do; kept for ten minutes to be applied",
            Kind::Api,
            Some(Permission::Operator),
            |call| Box::pin(api::plan_sessions(call)),
        )
    },
    Route {
        schema: Some(SchemaGenerator::subschema_for::<api::SessionsFreed>),
        ..change(
            "/api/v1/instances/{name}/sessions/apply",
            "Carry out a plan about sessions: `plan` is its hash, `name` the instance's where it is one of production",
            Kind::Api,
            Some(Permission::Operator),
            "session.apply",
            |call| Box::pin(api::apply_sessions(call)),
        )
    },
    api(
        "/api/v1/instances/{name}/logs",
        "What the server's log adds up to, in whole hours",
        &[RANGE, FROM, TO],
        SchemaGenerator::subschema_for::<api::Log>,
        api::log,
    ),
    api(
        "/api/v1/instances/{name}/logs/records",
        "Records of the server's log, newest first",
        &[
            RANGE,
            FROM,
            TO,
            parameter("kind", "only this kind of event"),
            parameter("error", "only the error with this `id`"),
            parameter("statement", "only the statement with this `id`"),
            parameter("severity", "this bad or worse, such as `error`"),
            parameter("q", "only records whose message or statement has this text"),
            LIMIT,
        ],
        SchemaGenerator::subschema_for::<api::Records>,
        api::log_records,
    ),
    api(
        "/api/v1/findings",
        "Open findings of the whole estate, worst first",
        &[LEVEL, CHECK, INSTANCE, LIMIT, AFTER],
        SchemaGenerator::subschema_for::<Vec<api::Finding>>,
        api::findings,
    ),
    api(
        "/api/v1/findings/{fingerprint}",
        "Every time that a finding was open, newest first",
        &[LIMIT, AFTER],
        SchemaGenerator::subschema_for::<Vec<api::FindingRecord>>,
        api::finding,
    ),
    api(
        "/api/v1/checks",
        "All checks with their texts and limits",
        &[],
        SchemaGenerator::subschema_for::<Vec<api::Check>>,
        api::checks,
    ),
    api(
        "/api/v1/daemon",
        "How the daemon itself is doing",
        &[],
        SchemaGenerator::subschema_for::<api::Daemon>,
        api::daemon,
    ),
    api(
        "/api/v1/journal",
        "What was changed through Pawang, newest first",
        &[LIMIT, AFTER],
        SchemaGenerator::subschema_for::<Vec<api::JournalRecord>>,
        api::journal,
    ),
    api(
        "/api/v1/session",
        "Who asks, what it may, and what changing requests must carry",
        &[],
        SchemaGenerator::subschema_for::<api::Session>,
        api::session,
    ),
    api(
        "/api/v1/openapi.json",
        "This description",
        &[],
        SchemaGenerator::subschema_for::<serde_json::Value>,
        api::description,
    ),
    change(
        "/api/v1/daemon/reload",
        "Read pawang.toml again; refused whole when it is wrong",
        Kind::Api,
        Some(Permission::Admin),
        "daemon.reload",
        |call| Box::pin(api::reload(call)),
    ),
    change(
        "/api/v1/instances/{name}/ask",
        "Ask all collectors of an instance now",
        Kind::Api,
        Some(Permission::Operator),
        "instance.ask",
        |call| Box::pin(api::ask(call)),
    ),
];

/// What programs outside may know of a route: documentation and tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteFacts {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// Where; `{name}` is a part that varies.
    pub path: &'static str,
    /// What it is, in one line.
    pub summary: &'static str,
    /// What whoever asks must be allowed; `None` lets in strangers.
    pub needs: Option<Permission>,
    /// What the journal calls it, when it changes something.
    pub action: Option<&'static str>,
    /// `page`, `api`, `asset`, `file`, `metrics`, `events` or `health`.
    pub kind: &'static str,
}

/// Returns everything that can be asked.
pub fn routes() -> Vec<RouteFacts> {
    let facts = |route: &Route| RouteFacts {
        method: route.method.name(),
        path: route.path,
        summary: route.summary,
        needs: route.needs,
        action: route.action,
        kind: match route.kind {
            Kind::Page => "page",
            Kind::Api => "api",
            Kind::Asset => "asset",
            Kind::File => "file",
            Kind::Metrics => "metrics",
            Kind::Events => "events",
            Kind::Health => "health",
        },
    };
    all().map(facts).collect()
}

impl Verb {
    /// Returns the method as HTTP writes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Verb::Get => "GET",
            Verb::Post => "POST",
        }
    }
}
