//! Settings and access that put data at risk.

mod access;
mod hba;
mod logging;
mod network;
mod roles;
mod settings;

use pawang_core::{Blind, Level, Missing, Row};

use crate::{Check, Observation, View};

pub(crate) static CHECKS: &[Check] = &[
    settings::FSYNC,
    settings::FULL_PAGE_WRITES,
    settings::SYNCHRONOUS_COMMIT,
    settings::DATA_CHECKSUMS,
    settings::ZERO_DAMAGED_PAGES,
    settings::IGNORE_CHECKSUM_FAILURE,
    settings::IGNORE_INVALID_PAGES,
    settings::IGNORE_SYSTEM_INDEXES,
    settings::ALLOW_SYSTEM_TABLE_MODS,
    settings::SESSION_REPLICATION_ROLE,
    settings::PLANNER_METHODS,
    settings::MEMORY_BUDGET,
    settings::SETTINGS_DRIFT,
    settings::ROLE_SETTINGS,
    logging::TRACK_COUNTS,
    logging::TRACK_ACTIVITIES,
    logging::TRACK_IO_TIMING,
    logging::LOG_SETTINGS,
    roles::SUPERUSERS,
    roles::SUPERUSER_MEMBERS,
    roles::SUPERUSER_SESSIONS,
    roles::SERVER_FILE_ROLES,
    roles::ROLE_POWERS,
    roles::PASSWORD_EXPIRY,
    roles::PASSWORD_ENCRYPTION,
    roles::MD5_PASSWORDS,
    roles::PASSWORD_IN_CONNINFO,
    roles::PARAMETER_GRANTS,
    network::SSL,
    network::SSL_PROTOCOL,
    hba::HBA_TRUST,
    hba::HBA_MD5,
    hba::HBA_SUPERUSER,
    hba::HBA_PLAINTEXT,
    hba::HBA_OPEN,
    hba::HBA_SHADOWED,
    access::PUBLIC_CREATE,
    access::PUBLIC_GRANTS,
    access::PUBLIC_COLUMN_GRANTS,
    access::DEFAULT_PRIVILEGES,
    access::DATABASE_GRANTS,
    access::SECURITY_DEFINER_PATH,
    access::SECURITY_DEFINER_PUBLIC,
    access::ROW_SECURITY_OFF,
    access::ROW_SECURITY_NOT_FORCED,
    access::UNTRUSTED_LANGUAGES,
    access::NATIVE_FUNCTIONS,
    access::EVENT_TRIGGERS,
];

/// Returns the row of a setting; a setting that is not shown is never taken for harmless.
pub(crate) fn setting_row<'a>(view: &View<'a>, name: &str) -> Result<Row<'a>, Missing> {
    let settings = view.snapshot("settings")?;
    let row = settings.rows().find(|row| row.text("name") == Some(name));
    row.ok_or_else(|| match monitor(view, &format!("setting \"{name}\"")) {
        Ok(()) => Missing::NotApplicable(format!("this server has no setting \"{name}\"")),
        Err(missing) => missing,
    })
}

/// Returns the value of a setting, in its own unit.
pub(crate) fn setting<'a>(view: &View<'a>, name: &str) -> Result<&'a str, Missing> {
    Ok(setting_row(view, name)?.text("setting").unwrap_or_default())
}

/// Returns a setting as a number, in its own unit.
pub(crate) fn number(view: &View<'_>, name: &str) -> Result<f64, Missing> {
    let text = setting(view, name)?;
    text.parse().map_err(|_| {
        Missing::from(Blind::Failed {
            what: format!("setting \"{name}\" is \"{text}\", which is no number"),
        })
    })
}

/// Refuses to judge what only members of `pg_monitor` see in full.
pub(crate) fn monitor(view: &View<'_>, what: &str) -> Result<(), Missing> {
    let server = view.server()?;
    if server.superuser || server.monitor {
        return Ok(());
    }
    Err(Blind::NoPrivilege {
        what: format!("{what} is hidden from role \"{}\"", server.user),
        grant: format!("GRANT pg_monitor TO {};", quoted(&server.user)),
    }
    .into())
}

/// Judges one setting: at `level` when `wrong` says so.
fn judged(
    view: &View<'_>,
    name: &str,
    level: Level,
    wrong: impl Fn(&str) -> bool,
    consequence: &str,
) -> Result<Vec<Observation>, Missing> {
    let row = setting_row(view, name)?;
    let value = row.text("setting").unwrap_or_default();
    let wrong = wrong(value);
    Ok(vec![Observation {
        value: f64::from(u8::from(wrong)),
        level: Some(if wrong { level } else { Level::Ok }),
        title: format!("{name} is {value}: {consequence}"),
        evidence: setting_evidence(row),
        ..Observation::default()
    }])
}

fn setting_evidence(row: Row<'_>) -> Vec<(String, String)> {
    row.evidence(&["name", "setting", "source", "sourcefile", "sourceline"])
}

/// Quotes an identifier, always: what is quoted needs no list of key words.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Writes at most `most` names, and how many more there are.
pub(crate) fn listed<'a>(names: impl IntoIterator<Item = &'a str>, most: usize) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let shown = names[..names.len().min(most)].join(", ");
    if names.len() > most {
        format!("{shown} and {} more", names.len() - most)
    } else {
        shown
    }
}
