//! What a restored cluster is told: from where it gets WAL, where it stops, and that it archives nothing.
//!
//! Settings of its source that would lead elsewhere are turned into comments, never deleted.

use std::fmt::Write as _;

use pawang_core::{Kind, Report};
use serde::{Deserialize, Serialize};

use super::place::SALVAGED;
use super::plan::RestorePlan;

/// Where our lines begin in `postgresql.auto.conf`.
const BEGIN: &str = "# pawang restore: begin";
const END: &str = "# pawang restore: end";
/// What turns a line of the source into a comment.
const SILENCED: &str = "# pawang restore: ";
/// Settings of the source that must not decide where a restored cluster goes, in which directory it works, or into whose archive
/// it writes.
const FOREIGN: [&str; 18] = [
    "restore_command",
    "archive_cleanup_command",
    "recovery_end_command",
    "recovery_target",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_xid",
    "recovery_target_lsn",
    "recovery_target_inclusive",
    "recovery_target_timeline",
    "recovery_target_action",
    "archive_mode",
    "primary_conninfo",
    "primary_slot_name",
    "recovery_min_apply_delay",
    // These are of the source's own places: a server that is told of another data directory works in that one.
    "data_directory",
    "external_pid_file",
    "stats_temp_directory",
];

/// What the server does when it has reached the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It waits, open for reading, until somebody agrees.
    #[default]
    Pause,
    /// It becomes a primary on a new timeline.
    Promote,
    /// It stops, and can be told to go on to a later target.
    Shutdown,
}

impl Action {
    /// Returns PostgreSQL's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Pause => "pause",
            Action::Promote => "promote",
            Action::Shutdown => "shutdown",
        }
    }
}

/// Returns the lines of `postgresql.auto.conf` with those of the source silenced and ours behind them.
///
/// # Errors
/// The command has several lines.
pub(super) fn auto_conf(
    source: &str,
    plan: &RestorePlan,
    restore_command: &str,
    action: Action,
) -> Result<String, Report> {
    if restore_command.contains(['\n', '\r', '\0']) {
        return Err(Report::new(
            Kind::Usage,
            "a restore command cannot have several lines",
        ));
    }
    let mut settings = vec![
        ("restore_command", restore_command.to_owned()),
        ("archive_mode", "off".to_owned()),
        ("recovery_target_timeline", plan.timeline.0.to_string()),
    ];
    if let Some((name, value)) = plan.target.setting() {
        let inclusive = if plan.inclusive { "on" } else { "off" };
        settings.push((name, value));
        settings.push(("recovery_target_inclusive", inclusive.to_owned()));
        settings.push(("recovery_target_action", action.as_str().to_owned()));
    }
    let mut text = silenced(&without_block(source));
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(BEGIN);
    for (name, value) in settings {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{name} = '{}'", value.replace('\'', "''"));
    }
    text.push('\n');
    text.push_str(END);
    text.push('\n');
    Ok(text)
}

/// Returns a restore command that takes WAL of the old data directory before that of the archive, which has less of it. The
/// server runs it in its data directory.
pub(super) fn salvaged_first(restore_command: &str) -> String {
    format!("cp \"{SALVAGED}/%f\" \"%p\" 2>/dev/null || ({restore_command})")
}

/// Returns the text without the lines of an earlier restore, which came with the backup.
fn without_block(source: &str) -> String {
    let mut inside = false;
    let mut text = String::with_capacity(source.len());
    for line in source.split_inclusive('\n') {
        match line.trim_end() {
            BEGIN => inside = true,
            END => inside = false,
            _ if inside => {}
            _ => text.push_str(line),
        }
    }
    text
}

/// Returns a configuration file with the lines that would lead a restored cluster elsewhere as comments.
pub(super) fn silenced(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    for line in source.split_inclusive('\n') {
        if foreign(line) {
            text.push_str(SILENCED);
        }
        text.push_str(line);
    }
    text
}

/// Tells whether a line sets something that a restore decides. Names are not case-sensitive, and `=` is optional.
fn foreign(line: &str) -> bool {
    let name: String = line
        .trim_start()
        .chars()
        .take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_')
        .collect();
    FOREIGN
        .iter()
        .any(|foreign| foreign.eq_ignore_ascii_case(&name))
}

/// Returns the backup label without the lines that name the backup before: those make the server refuse the directory.
pub(super) fn label(source: &[u8]) -> Vec<u8> {
    const OF_INCREMENTS: [&[u8]; 2] = [b"INCREMENTAL FROM LSN: ", b"INCREMENTAL FROM TLI: "];
    let lines = source.split_inclusive(|byte| *byte == b'\n');
    let kept = lines.filter(|line| !OF_INCREMENTS.iter().any(|start| line.starts_with(start)));
    kept.flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::super::target::Target;
    use super::*;
    use crate::repository::ClusterId;
    use crate::wal::Timeline;
    use pawang_core::Lsn;

    fn plan(target: Target) -> RestorePlan {
        RestorePlan {
            cluster: ClusterId {
                system_identifier: 7,
                major: 15,
            },
            target,
            inclusive: true,
            chain: Vec::new(),
            timeline: Timeline(3),
            replay_from: Lsn(1),
            consistent_at: Lsn(2),
            replay_to: Lsn(3),
            data_bytes: 0,
            tablespace_bytes: std::collections::BTreeMap::new(),
            tablespaces: Vec::new(),
            passed_over: Vec::new(),
            rotten: Vec::new(),
            unproven: None,
            estimated: None,
        }
    }

    #[test]
    fn the_source_does_not_decide_where_its_copy_goes() {
        let source = "# Do not edit\nwork_mem = '64MB'\nArchive_Mode=on\nrecovery_target_time '2020-01-01'\n\
                      primary_conninfo = 'host=db-1'\narchive_mode_of_mine = 'x'";
        let text = auto_conf(
            source,
            &plan(Target::Lsn(Lsn(0x5_0000_0010))),
            "/a b/pawang 'x' %f",
            Action::Pause,
        )
        .unwrap();
        let expected = "# Do not edit\nwork_mem = '64MB'\n# pawang restore: Archive_Mode=on\n\
                        # pawang restore: recovery_target_time '2020-01-01'\n\
                        # pawang restore: primary_conninfo = 'host=db-1'\narchive_mode_of_mine = 'x'\n\
                        # pawang restore: begin\nrestore_command = '/a b/pawang ''x'' %f'\narchive_mode = 'off'\n\
                        recovery_target_timeline = '3'\nrecovery_target_lsn = '5/10'\n\
                        recovery_target_inclusive = 'on'\nrecovery_target_action = 'pause'\n# pawang restore: end\n";
        assert_eq!(text, expected);
        // A backup of the copy has our lines, and what silenced those of the source.
        let again = auto_conf(&text, &plan(Target::Latest), "get", Action::Promote).unwrap();
        assert_eq!(again.matches("restore_command").count(), 1);
        assert!(
            !again.contains("recovery_target_lsn") && !again.contains("recovery_target_action")
        );
        assert!(auto_conf("", &plan(Target::Latest), "a\nb", Action::Pause).is_err());
    }

    #[test]
    fn a_label_of_an_increment_becomes_that_of_a_full_backup() {
        let source =
            b"START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\nSTART TIMELINE: 1\n\
                       INCREMENTAL FROM LSN: 0/1000028\nINCREMENTAL FROM TLI: 1\nLABEL: x\n";
        let expected: &[u8] = b"START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\nSTART TIMELINE: 1\nLABEL: x\n";
        assert_eq!(label(source), expected);
    }
}
