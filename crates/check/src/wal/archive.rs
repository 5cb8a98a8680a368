//! Does WAL reach the archive.

use pawang_core::{Level, Missing, Unit};

use super::{MEGABYTE, bytes, on_primary, seconds};
use crate::replication::senders;
use crate::{Check, Direction, Group, Observation, Scope, View};

pub(super) const FAILING: Check = Check {
    id: "archiver-failing",
    group: Group::Wal,
    title: "archiver works",
    scope: Scope::Server,
    needs: &["archiver", "wal-directory", "settings"],
    unit: Unit::Seconds,
    direction: Direction::Above,
    warning: Some(0.0),
    critical: Some(900.0),
    floors: &[],
    what: "pg_stat_archiver: the archiver fails when its last failure is later than its last success. failed_count alone says \
           nothing, because it is cumulative. The value is the age of the oldest segment that waits, else of the last failure.",
    why: "WAL that is not archived cannot be restored, and pg_wal grows until the disk is full.",
    fix: "Run archive_command by hand as the server's user with a real segment and read the server log: \
          SELECT * FROM pg_stat_archiver; SHOW archive_command;",
    observe: failing,
};

fn failing(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    archiving(view)?;
    let row = view.row("archiver")?;
    let (failed, archived) = (row.time("last_failed_time"), row.time("last_archived_time"));
    let Some(failed_at) =
        failed.filter(|failed| archived.is_none_or(|archived| *failed > archived))
    else {
        return Ok(vec![Observation {
            level: Some(Level::Ok),
            ..Observation::default()
        }]);
    };
    let waits = match view.row("wal-directory") {
        Ok(directory) => directory.float("oldest_ready_age"),
        Err(_) => None,
    };
    let age = waits
        .or(row.float("last_failed_age"))
        .unwrap_or(0.0)
        .max(0.0);
    let segment = row.text("last_failed_wal").unwrap_or("a segment");
    Ok(vec![Observation {
        value: age,
        title: format!(
            "the archiver cannot archive \"{segment}\": its last attempt at {failed_at:.0} failed and WAL has waited for {}",
            seconds(age)
        ),
        since: archived,
        evidence: row.evidence(&[
            "last_failed_wal",
            "last_failed_time",
            "failed_count",
            "last_archived_wal",
            "last_archived_time",
        ]),
        ..Observation::default()
    }])
}

pub(super) const BACKLOG: Check = Check {
    id: "archive-backlog",
    group: Group::Wal,
    title: "oldest WAL that waits for the archive",
    scope: Scope::Server,
    needs: &["wal-directory", "settings"],
    unit: Unit::Seconds,
    direction: Direction::Above,
    warning: Some(300.0),
    critical: Some(900.0),
    floors: &[],
    what: "The age of the oldest .ready file in pg_wal/archive_status (pg_ls_archive_statusdir). It also sees an archiver that hangs \
           without failing, of which pg_stat_archiver says nothing.",
    why: "It is the data that a disaster would lose now: the manuals allow 15 minutes.",
    fix: "See whether the archiver fails (archiver-failing), hangs (a stuck mount, a slow network) or is too slow for the load: \
          SELECT * FROM pg_stat_archiver;",
    observe: backlog,
};

fn backlog(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    archiving(view)?;
    let row = view.row("wal-directory")?;
    let age = row.float("oldest_ready_age").unwrap_or(0.0).max(0.0);
    let files = row.int("ready_files").unwrap_or(0);
    Ok(vec![Observation {
        value: age,
        title: format!(
            "the oldest of {files} WAL files that wait for the archive has waited for {}",
            seconds(age)
        ),
        since: row.time("oldest_ready"),
        evidence: row.evidence(&["ready_files", "oldest_ready", "first_ready"]),
        ..Observation::default()
    }])
}

pub(super) const QUEUE: Check = Check {
    id: "archive-queue",
    group: Group::Wal,
    title: "WAL files that wait for the archive",
    scope: Scope::Server,
    needs: &["wal-directory", "settings"],
    unit: Unit::Count,
    direction: Direction::Above,
    warning: Some(128.0),
    critical: Some(1_024.0),
    floors: &[],
    what: "The number of .ready files in pg_wal/archive_status (pg_ls_archive_statusdir).",
    why: "A long queue means that the archive is slower than the load: pg_wal grows, and a restore ends earlier than it should.",
    fix: "Archive several files per call (archive_library, or a backup tool with asynchronous archiving), or give the archive more bandwidth.",
    observe: queue,
};

fn queue(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    archiving(view)?;
    let row = view.row("wal-directory")?;
    let files = row.float("ready_files").unwrap_or(f64::NAN);
    let size = row.float("segment_size").unwrap_or(16.0 * MEGABYTE);
    Ok(vec![Observation {
        value: files,
        title: format!(
            "{files:.0} WAL files ({}) wait for the archive",
            bytes(files * size)
        ),
        evidence: row.evidence(&["ready_files", "done_files", "oldest_ready"]),
        ..Observation::default()
    }])
}

pub(super) const COMMAND: Check = Check {
    id: "archive-command",
    group: Group::Wal,
    title: "archive command is safe",
    scope: Scope::Server,
    needs: &["settings"],
    unit: Unit::State,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "Reads archive_mode, archive_command and archive_library: nothing to call (WAL piles up), a command that throws WAL away \
           (true, exit 0), and a plain cp or mv, which overwrites what is there and does not flush to disk.",
    why: "cp reports success before the data is on disk, and a copy that was cut off or overwritten is only noticed at the restore.",
    fix: "Use a backup tool's archive command (pgBackRest, Barman, WAL-G), or at least: \
          test ! -f /archive/%f && cp %p /archive/%f.part && sync /archive/%f.part && mv /archive/%f.part /archive/%f",
    observe: command,
};

fn command(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    archiving(view)?;
    let command = view.setting("archive_command")?.unwrap_or("").trim();
    let library = view.setting("archive_library")?.unwrap_or("").trim();
    let (level, title) = match command_fault(command, library) {
        Some(fault) => fault,
        None => (Level::Ok, ""),
    };
    Ok(vec![Observation {
        value: f64::from(u8::from(level != Level::Ok)),
        level: Some(level),
        title: title.to_owned(),
        evidence: vec![
            ("archive_command".to_owned(), command.to_owned()),
            ("archive_library".to_owned(), library.to_owned()),
        ],
        ..Observation::default()
    }])
}

/// Returns what is wrong with the way WAL is archived, if anything.
fn command_fault(command: &str, library: &str) -> Option<(Level, &'static str)> {
    if !library.is_empty() {
        return None;
    }
    let program = command.split_whitespace().next().unwrap_or("");
    let program = program.rsplit('/').next().unwrap_or("");
    let plain_copy = command.split(['&', ';', '|']).any(|part| {
        matches!(
            part.split_whitespace().next(),
            Some("cp" | "mv" | "/bin/cp" | "/usr/bin/cp" | "/bin/mv")
        )
    });
    let guarded = command.contains("test ! ") || command.contains("[ ! ");
    match program {
        "" | "(disabled)" => Some((
            Level::Warning,
            "archive_mode is on but there is neither archive_command nor archive_library: WAL piles up in pg_wal",
        )),
        "true" | ":" => Some((
            Level::Warning,
            "archive_command reports success without archiving anything: point-in-time recovery is not possible",
        )),
        "exit" if command.ends_with(" 0") => Some((
            Level::Warning,
            "archive_command reports success without archiving anything: point-in-time recovery is not possible",
        )),
        _ if plain_copy && !command.contains("sync") => Some((
            Level::Info,
            "archive_command copies without flushing to disk: a crash of the archive's machine can lose segments",
        )),
        _ if plain_copy && !guarded => Some((
            Level::Info,
            "archive_command overwrites a segment that is in the archive already",
        )),
        _ => None,
    }
}

pub(super) const DISABLED: Check = Check {
    id: "archiving-disabled",
    group: Group::Wal,
    title: "WAL is archived",
    scope: Scope::Server,
    needs: &["settings", "replication"],
    unit: Unit::State,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "archive_mode is off and no WAL receiver of a backup tool (pg_receivewal, Barman, Pawang) is connected.",
    why: "Without archived WAL a backup can only be restored to the moment at which it was taken, not to a point in time.",
    fix: "ALTER SYSTEM SET archive_mode = on; (restart) with a safe archive_command, or stream WAL with pg_receivewal or a backup tool",
    observe: disabled,
};

/// Parts of application names of programs that stream WAL into an archive.
const WAL_STREAMERS: [&str; 4] = ["pg_receivewal", "barman", "pawang", "wal-g"];

fn disabled(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    on_primary(view)?;
    let off = view.setting("archive_mode")? == Some("off");
    let streamed = senders(view)?.rows().any(|row| {
        let name = row.text("application_name").unwrap_or("");
        WAL_STREAMERS.iter().any(|streamer| name.contains(streamer))
    });
    let level = if off && !streamed {
        Level::Info
    } else {
        Level::Ok
    };
    Ok(vec![Observation {
        value: f64::from(u8::from(level != Level::Ok)),
        level: Some(level),
        title:
            "archive_mode is off and nothing streams WAL: point-in-time recovery is not possible"
                .to_owned(),
        evidence: vec![(
            "archive_mode".to_owned(),
            view.setting("archive_mode")?.unwrap_or("").to_owned(),
        )],
        ..Observation::default()
    }])
}

/// Stops a check of the archiver where nothing is to be archived.
fn archiving(view: &View<'_>) -> Result<(), Missing> {
    let mode = view.setting("archive_mode")?;
    match mode {
        Some("always") => Ok(()),
        Some("on") => match on_primary(view) {
            Ok(()) => Ok(()),
            Err(_) => Err(Missing::NotApplicable(
                "a standby archives only with archive_mode = always".to_owned(),
            )),
        },
        _ => Err(Missing::NotApplicable("archive_mode is off".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_lose_wal_are_told_from_those_that_do_not() {
        for (command, library, level) in [
            ("", "", Some(Level::Warning)),
            ("/bin/true", "", Some(Level::Warning)),
            ("exit 0", "", Some(Level::Warning)),
            ("", "basic_archive", None),
            ("cp %p /archive/%f", "", Some(Level::Info)),
            ("test ! -f /a/%f && cp %p /a/%f", "", Some(Level::Info)),
            ("test ! -f /a/%f && cp %p /a/%f && sync /a/%f", "", None),
            ("cp %p /a/%f && sync /a/%f", "", Some(Level::Info)),
            ("pgbackrest --stanza=main archive-push %p", "", None),
            ("false", "", None),
        ] {
            let found = command_fault(command, library).map(|(level, _)| level);
            assert_eq!(found, level, "{command}");
        }
    }
}
