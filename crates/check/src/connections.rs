//! Connection slots, sessions and their limits.

use pawang_core::{Missing, Unit};

use crate::{Check, Direction, Group, Observation, Scope, View};

pub(crate) static CHECKS: &[Check] = &[Check {
    id: "connections",
    group: Group::Connections,
    title: "connections used",
    scope: Scope::Server,
    needs: &["sessions"],
    unit: Unit::Percent,
    direction: Direction::Above,
    warning: Some(80.0),
    critical: Some(90.0),
    floors: &[],
    what: "Client backends as a share of the slots that ordinary roles can use: max_connections minus \
           superuser_reserved_connections and, from PostgreSQL 16, reserved_connections. Background processes do not count.",
    why: "When the last slot is taken, applications are refused and even the DBA needs a reserved slot to look.",
    fix: "Find who holds them (pawang check connections -v), put a pooler in front, or raise max_connections (restart).",
    observe: connections,
}];

fn connections(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let row = view.row("sessions")?;
    let used = row.float("client_backends").unwrap_or(f64::NAN);
    let usable = row.float("usable_connections").unwrap_or(f64::NAN);
    let share = 100.0 * used / usable;
    Ok(vec![Observation {
        value: share,
        title: format!("{used:.0} of {usable:.0} usable connections are taken ({share:.0} %)"),
        evidence: row.evidence(&["client_backends", "usable_connections"]),
        ..Observation::default()
    }])
}
