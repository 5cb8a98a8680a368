//! WAL, archiving and checkpoints.

mod archive;
mod checkpoint;
mod directory;
mod generation;

use pawang_core::{Blind, Missing, Role, Unit};

use crate::{Check, View};

pub(crate) static CHECKS: &[Check] = &[
    archive::FAILING,
    archive::BACKLOG,
    archive::QUEUE,
    archive::COMMAND,
    archive::DISABLED,
    directory::SIZE,
    directory::RETENTION,
    directory::TIMELINE,
    directory::SUMMARIZER,
    checkpoint::REQUESTED,
    checkpoint::INTERVAL,
    checkpoint::SYNC_TIME,
    checkpoint::OVERDUE,
    generation::RATE,
    generation::FULL_PAGE_IMAGES,
    generation::BUFFERS_FULL,
    generation::SYNC_LATENCY,
];

/// One mebibyte, the unit of `max_wal_size` and its kin.
pub(crate) const MEGABYTE: f64 = 1_048_576.0;
pub(crate) const GIGABYTE: f64 = 1_073_741_824.0;

/// Returns a setting as a number in the setting's own unit; `None` when the server does not have it.
pub(crate) fn number(view: &View<'_>, name: &str) -> Result<Option<f64>, Missing> {
    Ok(view.setting(name)?.and_then(|text| text.parse().ok()))
}

/// Stops a check that only makes sense where WAL is written.
pub(crate) fn on_primary(view: &View<'_>) -> Result<(), Missing> {
    match view.server()?.role {
        Role::Primary => Ok(()),
        Role::Standby => Err(Missing::NotApplicable("the server is a standby".to_owned())),
    }
}

/// Stops a check that only makes sense where WAL is replayed.
pub(crate) fn on_standby(view: &View<'_>) -> Result<(), Missing> {
    match view.server()?.role {
        Role::Standby => Ok(()),
        Role::Primary => Err(Missing::NotApplicable("the server is a primary".to_owned())),
    }
}

pub(crate) fn bytes(value: f64) -> String {
    Unit::Bytes.show(value)
}

pub(crate) fn seconds(value: f64) -> String {
    Unit::Seconds.show(value)
}

/// Returns why something is hidden that members of `pg_monitor` see.
pub(crate) fn hidden(view: &View<'_>, what: &str) -> Missing {
    let user = view
        .server()
        .map_or("monitor", |server| server.user.as_str());
    let blind = Blind::NoPrivilege {
        what: what.to_owned(),
        grant: format!("GRANT pg_monitor TO \"{user}\";"),
    };
    blind.into()
}
