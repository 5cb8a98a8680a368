//! What can be asked about alerts, silences, windows and incidents.

use super::*;
use crate::order::{self, Read};

const OPERATOR: Option<Permission> = Some(Permission::Operator);
/// Longest message of an Alertmanager: thousands of alerts.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

const STATE: Parameter = parameter(
    "state",
    "only this state: `pending`, `firing`, `recovering`, `resolved`, `unknown` or `stale`",
);
const HANDLING: Parameter = parameter(
    "handling",
    "only handled like this: `new`, `acknowledged`, `snoozed`, `silenced`, `inhibited`, `in-maintenance` or `escalated`",
);
const MATCHER: Parameter = parameter(
    "matcher",
    "only alerts with labels like this, such as `instance=~\"dwh-.*\"`; may be repeated",
);

/// An order about alerts, by a form of a page or by a program.
const fn order(
    path: &'static str,
    summary: &'static str,
    kind: Kind,
    action: &'static str,
    answer: Other,
) -> Route {
    Route {
        schema: match kind {
            Kind::Api => Some(SchemaGenerator::subschema_for::<api::Ordered>),
            _ => None,
        },
        ..change(path, summary, kind, OPERATOR, action, answer)
    }
}

fn obey(call: Arc<Call>, read: Read) -> BoxFuture<'static, Result<Response<Body>, Problem>> {
    Box::pin(order::obey(call, read))
}

/// What can be asked about alerts.
pub(super) static ROUTES: &[Route] = &[
    page(
        "/incidents",
        "Incidents: open ones first, with the clock",
        |visit, _| page::incidents::render(visit),
    ),
    page(
        "/incidents/{id}",
        "One incident: alerts, timeline, notes",
        |visit, at| page::incident::render(visit, at.get("id")),
    ),
    other(
        "/incidents/{id}/report.md",
        "The review of an incident as Markdown",
        Kind::File,
        VIEWER,
        |call| Box::pin(page::incident::markdown(call)),
    ),
    other(
        "/incidents/{id}/report.html",
        "The review of an incident as HTML",
        Kind::File,
        VIEWER,
        |call| Box::pin(page::incident::document(call)),
    ),
    page(
        "/windows",
        "Maintenance windows and silences",
        |visit, _| page::windows::render(visit),
    ),
    other(
        "/status",
        "How the warehouse is, for everybody",
        Kind::Page,
        None,
        |call| Box::pin(page::status::show(call)),
    ),
    order(
        "/findings/{fingerprint}/acknowledge",
        "Take care of an alert",
        Kind::Page,
        "alert.acknowledge",
        |call| obey(call, order::acknowledge),
    ),
    order(
        "/findings/{fingerprint}/unacknowledge",
        "Take care of an alert no longer",
        Kind::Page,
        "alert.unacknowledge",
        |call| obey(call, order::unacknowledge),
    ),
    order(
        "/findings/{fingerprint}/snooze",
        "Be reminded of an alert later",
        Kind::Page,
        "alert.snooze",
        |call| obey(call, order::snooze),
    ),
    order(
        "/findings/{fingerprint}/mute",
        "Keep one alert quiet",
        Kind::Page,
        "alert.mute",
        |call| obey(call, order::mute),
    ),
    order(
        "/findings/{fingerprint}/unmute",
        "End what keeps one alert quiet",
        Kind::Page,
        "alert.unmute",
        |call| obey(call, order::unmute),
    ),
    order(
        "/silences",
        "Keep alerts quiet",
        Kind::Page,
        "silence.add",
        |call| obey(call, order::add_silence),
    ),
    order(
        "/silences/{id}/expire",
        "End a silence",
        Kind::Page,
        "silence.expire",
        |call| obey(call, order::expire_silence),
    ),
    order(
        "/windows",
        "Add a maintenance window",
        Kind::Page,
        "window.add",
        |call| obey(call, order::add_window),
    ),
    order(
        "/windows/{name}/remove",
        "Remove a maintenance window",
        Kind::Page,
        "window.remove",
        |call| obey(call, order::remove_window),
    ),
    order(
        "/incidents",
        "Open an incident",
        Kind::Page,
        "incident.open",
        |call| obey(call, order::open_incident),
    ),
    order(
        "/incidents/{id}/notes",
        "Write a note into the timeline of an incident",
        Kind::Page,
        "incident.note",
        |call| obey(call, order::note_incident),
    ),
    order(
        "/incidents/{id}/acknowledge",
        "Take care of all alerts of an incident",
        Kind::Page,
        "incident.acknowledge",
        |call| obey(call, order::acknowledge_incident),
    ),
    order(
        "/incidents/{id}/close",
        "Close an incident",
        Kind::Page,
        "incident.close",
        |call| obey(call, order::close_incident),
    ),
    api(
        "/api/v1/alerts",
        "Alerts, the most urgent first",
        &[
            STATE, HANDLING, LEVEL, CHECK, INSTANCE, MATCHER, LIMIT, AFTER,
        ],
        SchemaGenerator::subschema_for::<Vec<api::Alert>>,
        api::alerts,
    ),
    api(
        "/api/v1/alerts/{fingerprint}",
        "One alert, and what happened to it, newest first",
        &[LIMIT],
        SchemaGenerator::subschema_for::<api::AlertDetail>,
        api::alert,
    ),
    api(
        "/api/v1/silences",
        "Silences that hold or will hold",
        &[],
        SchemaGenerator::subschema_for::<Vec<api::Silence>>,
        api::silences,
    ),
    api(
        "/api/v1/silences/preview",
        "The alerts that a silence with these matchers would keep quiet now",
        &[MATCHER, LIMIT, AFTER],
        SchemaGenerator::subschema_for::<Vec<api::Alert>>,
        api::preview,
    ),
    api(
        "/api/v1/windows",
        "Maintenance windows, and when they are open: the next 30 days, or between two instants",
        &[FROM, TO],
        SchemaGenerator::subschema_for::<api::Windows>,
        api::windows,
    ),
    api(
        "/api/v1/incidents",
        "Incidents, newest first; those that are closed too",
        &[LIMIT, AFTER],
        SchemaGenerator::subschema_for::<Vec<api::Incident>>,
        api::incidents,
    ),
    api(
        "/api/v1/incidents/{id}",
        "One incident with its timeline",
        &[],
        SchemaGenerator::subschema_for::<api::IncidentDetail>,
        api::incident,
    ),
    order(
        "/api/v1/alerts/{fingerprint}/acknowledge",
        "Take care of an alert: `for` or `until`, `note`",
        Kind::Api,
        "alert.acknowledge",
        |call| obey(call, order::acknowledge),
    ),
    order(
        "/api/v1/alerts/{fingerprint}/unacknowledge",
        "Take care of an alert no longer",
        Kind::Api,
        "alert.unacknowledge",
        |call| obey(call, order::unacknowledge),
    ),
    order(
        "/api/v1/alerts/{fingerprint}/snooze",
        "Be reminded of an alert later: `for` or `until`, `note`",
        Kind::Api,
        "alert.snooze",
        |call| obey(call, order::snooze),
    ),
    order(
        "/api/v1/alerts/{fingerprint}/mute",
        "Keep one alert quiet: `for` or `until`, `reason`",
        Kind::Api,
        "alert.mute",
        |call| obey(call, order::mute),
    ),
    order(
        "/api/v1/alerts/{fingerprint}/unmute",
        "End what keeps one alert quiet",
        Kind::Api,
        "alert.unmute",
        |call| obey(call, order::unmute),
    ),
    order(
        "/api/v1/silences",
        "Keep alerts quiet: `matcher` (may be repeated), `for` or `until`, `starts-at`, `reason`, `everything`",
        Kind::Api,
        "silence.add",
        |call| obey(call, order::add_silence),
    ),
    order(
        "/api/v1/silences/{id}/expire",
        "End a silence",
        Kind::Api,
        "silence.expire",
        |call| obey(call, order::expire_silence),
    ),
    order(
        "/api/v1/windows",
        "Add a maintenance window: `schedule`, `matcher` (may be repeated), `name`, `reason`, `everything`",
        Kind::Api,
        "window.add",
        |call| obey(call, order::add_window),
    ),
    order(
        "/api/v1/windows/{name}/remove",
        "Remove a maintenance window",
        Kind::Api,
        "window.remove",
        |call| obey(call, order::remove_window),
    ),
    order(
        "/api/v1/incidents",
        "Open an incident: `title`, `priority`, `instance` and `alert` (may be repeated)",
        Kind::Api,
        "incident.open",
        |call| obey(call, order::open_incident),
    ),
    order(
        "/api/v1/incidents/{id}/notes",
        "Write a note into the timeline of an incident: `text`",
        Kind::Api,
        "incident.note",
        |call| obey(call, order::note_incident),
    ),
    order(
        "/api/v1/incidents/{id}/acknowledge",
        "Take care of all alerts of an incident that fire: `for` or `until`, `note`",
        Kind::Api,
        "incident.acknowledge",
        |call| obey(call, order::acknowledge_incident),
    ),
    order(
        "/api/v1/incidents/{id}/close",
        "Close an incident: `review`",
        Kind::Api,
        "incident.close",
        |call| obey(call, order::close_incident),
    ),
    Route {
        body_bytes_max: MESSAGE_BYTES_MAX,
        ..change(
            "/api/v1/alertmanager",
            "Take alerts of somebody else: the webhook of an Alertmanager",
            Kind::Api,
            OPERATOR,
            "alert.accept",
            |call| Box::pin(order::accept(call)),
        )
    },
];
