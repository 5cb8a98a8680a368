//! Any other tool: a command that restores into a folder, and the `restore_command` that its manual gives.
//!
//! It tells nothing of what it has, so that everything known of the backup is read from what it restored.

use std::fs;
use std::path::{Path, PathBuf};

use pawang_core::{Kind, Report};

use super::program;
use crate::Error;
use crate::restore::{Owner, Target};
use crate::wal::Timeline;

/// Where the folder stands in the command.
const FOLDER: &str = "%d";
const RECOVERY_SIGNAL: &str = "recovery.signal";
const STANDBY_SIGNAL: &str = "standby.signal";
const LABEL: &str = "backup_label";
/// What begins the line of a label that says when the backup began.
const START: &str = "START TIME: ";

/// A tool that is known by its commands only.
#[derive(Clone, Debug)]
pub struct Foreign {
    /// What people call it.
    pub name: String,
    program: PathBuf,
    words: Vec<String>,
    restore_command: String,
    owner: Option<Owner>,
}

impl Foreign {
    /// Takes the command that restores, with `%d` where the folder stands, and the server's own to get WAL.
    ///
    /// # Errors
    /// There is no such program, or no word has a folder.
    pub fn new(
        name: String,
        command: &[String],
        restore_command: String,
        owner: Option<Owner>,
    ) -> Result<Foreign, Error> {
        let (word, words) = match command.split_first() {
            Some((word, words)) if words.iter().any(|word| word.contains(FOLDER)) => (word, words),
            _ => {
                return Err(refused(
                    Kind::Usage,
                    "no word of the command says where to restore to",
                    "%d stands for the folder",
                    "pawang drill run ... -- wal-g backup-fetch %d LATEST",
                ));
            }
        };
        Ok(Foreign {
            name,
            program: program::find(word)?,
            words: words.to_vec(),
            restore_command,
            owner,
        })
    }

    /// Returns the program and its words, for a folder.
    pub(super) fn order(&self, into: &Path) -> (&Path, Vec<String>, Option<Owner>) {
        let into = into.display().to_string();
        let words = self.words.iter().map(|word| word.replace(FOLDER, &into));
        (&self.program, words.collect(), self.owner)
    }

    /// Returns the server's command to get WAL.
    pub(super) fn restore_command(&self) -> String {
        self.restore_command.clone()
    }

    /// Returns the settings of a recovery, which other tools write themselves.
    pub(super) fn recovery(
        target: &Target,
        inclusive: bool,
        timeline: Option<Timeline>,
    ) -> Vec<(&'static str, String)> {
        let timeline = timeline.map_or_else(|| "latest".to_owned(), |it| it.0.to_string());
        let mut settings = vec![("recovery_target_timeline", timeline)];
        if let Some((name, value)) = target.setting() {
            let inclusive = if inclusive { "on" } else { "off" };
            settings.push((name, value));
            settings.push(("recovery_target_inclusive", inclusive.to_owned()));
        }
        settings
    }

    /// Lets what was restored recover, and nothing else: never as a standby, and never into files outside of its folder.
    pub(super) fn settle(&self, data: &Path) -> Result<(), Error> {
        leads_nowhere(data)?;
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::File {
                doing: "write",
                path,
                source,
            }
        };
        let standby = data.join(STANDBY_SIGNAL);
        if standby.exists() {
            fs::remove_file(&standby).map_err(failed(&standby))?;
        }
        let signal = data.join(RECOVERY_SIGNAL);
        fs::File::create(&signal).map_err(failed(&signal))?;
        if let Some(owner) = self.owner {
            owner.give(&signal).map_err(failed(&signal))?;
        }
        Ok(())
    }
}

/// Says what a backup is called: by when it began, as its label says.
pub(super) fn label(data: &Path) -> Option<String> {
    let text = fs::read_to_string(data.join(LABEL)).ok()?;
    let mut lines = text.lines();
    let begun = lines.find_map(|line| line.strip_prefix(START))?;
    Some(format!("of {begun}"))
}

/// Refuses links out of the folder: recovery would write into what lies there, which may be the server that lives.
fn leads_nowhere(data: &Path) -> Result<(), Error> {
    let folder = data.parent().unwrap_or(data);
    let spaces = data.join("pg_tblspc");
    let entries = fs::read_dir(&spaces).into_iter().flatten().flatten();
    let links = entries
        .map(|entry| entry.path())
        .chain([data.join("pg_wal")]);
    for link in links {
        let Ok(to) = fs::read_link(&link) else {
            continue;
        };
        let whole = fs::canonicalize(&link).unwrap_or_else(|_| to.clone());
        if !whole.starts_with(folder) {
            return Err(refused(
                Kind::Answer,
                &format!("\"{}\" leads to \"{}\"", link.display(), to.display()),
                "a recovery would write into what lies there",
                "let the tool restore tablespaces below %d",
            ));
        }
    }
    Ok(())
}

fn refused(kind: Kind, primary: &str, detail: &str, hint: &str) -> Error {
    let report = Report::new(kind, primary);
    Error::Refused(Box::new(report.with_detail(detail).with_hint(hint)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_command_says_where_to() {
        let new = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(ToString::to_string).collect();
            Foreign::new("tar".to_owned(), &words, "cp %f %p".to_owned(), None)
        };
        let tar = new(&["sh", "-c", "tar -x -C %d -f /b.tar"]).unwrap();
        let (program, words, _) = tar.order(Path::new("/s/data"));
        assert!(program.is_absolute());
        assert_eq!(words, ["-c", "tar -x -C /s/data -f /b.tar"]);
        for wrong in [
            &[][..],
            &["sh"],
            &["sh", "-c", "true"],
            &["no-such-program", "%d"],
        ] {
            assert!(new(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn links_out_of_the_folder_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let data = folder.join("data");
        fs::create_dir_all(data.join("pg_tblspc")).unwrap();
        fs::create_dir(folder.join("space")).unwrap();
        symlink(folder.join("space"), data.join("pg_tblspc/1")).unwrap();
        assert!(leads_nowhere(&data).is_ok());
        symlink("/", data.join("pg_tblspc/2")).unwrap();
        let told = leads_nowhere(&data).unwrap_err().report().primary;
        assert!(told.contains("pg_tblspc/2"), "{told}");
    }
}
