//! Another tool that restores its own backups: found, asked what it has, and told where to put it.

use std::path::Path;
use std::process::ExitStatus;

use jiff::Timestamp;
use pawang_core::{Kind, Lsn, Report};

use super::barman::{self, Barman};
use super::foreign::{self, Foreign};
use super::pgbackrest::{PgBackRest, Stanza};
use super::program;
use crate::Error;
use crate::restore::{Owner, Target};
use crate::wal::Timeline;

/// Which tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolKind {
    /// pgBackRest.
    PgBackRest,
    /// Barman.
    Barman,
    /// Another one, that is known by its commands only.
    Foreign,
}

impl ToolKind {
    /// Returns the tool of a name.
    pub fn named(name: &str) -> Option<ToolKind> {
        [ToolKind::PgBackRest, ToolKind::Barman]
            .into_iter()
            .find(|kind| kind.name() == name)
    }

    /// Returns the name of its program.
    pub fn name(self) -> &'static str {
        match self {
            ToolKind::PgBackRest => "pgbackrest",
            ToolKind::Barman => "barman",
            ToolKind::Foreign => "another tool",
        }
    }

    /// Returns what it calls the backups of one cluster.
    pub fn set_word(self) -> &'static str {
        match self {
            ToolKind::PgBackRest => "stanza",
            ToolKind::Barman | ToolKind::Foreign => "server",
        }
    }
}

/// A tool, with the backups that are meant.
#[derive(Clone, Debug)]
pub struct Tool {
    /// The stanza, or the server.
    pub set: String,
    program: Program,
}

#[derive(Clone, Debug)]
enum Program {
    PgBackRest(PgBackRest),
    Barman(Barman),
    Foreign(Foreign),
}

/// A backup that a tool has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its name.
    pub label: String,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Where in WAL it ends, if the tool says so.
    pub stop: Option<Lsn>,
    /// How large it is.
    pub data_bytes: Option<u64>,
    /// The repository that has it, of a tool with several.
    pub repository: Option<u32>,
    /// The tablespaces that have to be put elsewhere by their names.
    pub tablespaces: Vec<String>,
}

/// What is restored to where.
pub(crate) struct Order<'a> {
    pub(crate) backup: &'a Kept,
    pub(crate) target: &'a Target,
    pub(crate) inclusive: bool,
    pub(crate) timeline: Option<Timeline>,
    pub(crate) into: &'a Path,
    pub(crate) tablespaces: &'a Path,
}

impl Tool {
    /// Takes a tool that is known by its commands only.
    pub fn foreign(set: String, tool: Foreign) -> Tool {
        Tool {
            set,
            program: Program::Foreign(tool),
        }
    }

    /// Returns what people call it.
    pub fn name(&self) -> &str {
        match &self.program {
            Program::Foreign(tool) => &tool.name,
            _ => self.kind().name(),
        }
    }

    /// Finds the program and the stanza or server, by name or as the only one; it runs as `owner`.
    ///
    /// # Errors
    /// There is no such program, it does not answer, or it has no such set, or several.
    pub async fn find(
        kind: ToolKind,
        set: Option<&str>,
        configuration: Option<&Path>,
        owner: Option<Owner>,
    ) -> Result<Tool, Error> {
        let program = program::find(kind.name()).map_err(|_| {
            refused(
                Kind::Target,
                format!("{} is not on this machine", kind.name()),
                "a drill restores by the tool's own program, where its repository can be read",
                format!("apt-get install {}", kind.name()),
            )
        })?;
        let mut options = Vec::new();
        let mut program = match kind {
            ToolKind::PgBackRest => {
                options.extend(configuration.map(|file| format!("--config={}", file.display())));
                Program::PgBackRest(PgBackRest {
                    program,
                    options,
                    owner,
                })
            }
            ToolKind::Foreign => unreachable!("it is made from its commands"),
            ToolKind::Barman => {
                let file = configuration.map(|file| file.display().to_string());
                options.extend(file.into_iter().flat_map(|file| ["-c".to_owned(), file]));
                Program::Barman(Barman {
                    program,
                    options,
                    owner,
                })
            }
        };
        let names = match &program {
            Program::PgBackRest(tool) => {
                let stanzas = tool.stanzas().await?;
                stanzas.into_iter().map(|stanza| stanza.name).collect()
            }
            Program::Barman(tool) => tool.servers().await?,
            Program::Foreign(_) => Vec::new(),
        };
        let set = one_of(kind, names, set)?;
        if let Program::PgBackRest(tool) = &mut program {
            tool.options.push(format!("--stanza={set}"));
        }
        Ok(Tool { set, program })
    }

    /// Returns which tool it is.
    pub fn kind(&self) -> ToolKind {
        match self.program {
            Program::PgBackRest(_) => ToolKind::PgBackRest,
            Program::Barman(_) => ToolKind::Barman,
            Program::Foreign(_) => ToolKind::Foreign,
        }
    }

    /// Chooses the newest backup that ends before the target, or the one that is named; with the major version of its cluster.
    ///
    /// # Errors
    /// The tool does not say what it has, or has no such backup.
    pub async fn choose(&self, target: &Target, named: Option<&str>) -> Result<(Kept, u32), Error> {
        let (all, major) = match &self.program {
            Program::PgBackRest(tool) => {
                let stanzas = tool.stanzas().await?;
                let stanza = stanzas.iter().find(|stanza| stanza.name == self.set);
                stanza.map(kept).unwrap_or_default()
            }
            Program::Barman(tool) => (tool.backups(&self.set).await?, None),
            Program::Foreign(_) => (Vec::new(), None),
        };
        let first = all.first().map(|kept| kept.ended_at);
        let fits = |kept: &&Kept| match (named, target, kept.stop) {
            (Some(label), ..) => kept.label == label,
            (_, Target::Time(at), _) => kept.ended_at < *at,
            (_, Target::Lsn(at), Some(stop)) => stop <= *at,
            _ => true,
        };
        let chosen = all.iter().rev().find(fits).cloned();
        let chosen = chosen.ok_or_else(|| {
            let detail = match first {
                Some(first) => format!("its first backup ended at {first}"),
                None => "it has no whole backup".to_owned(),
            };
            let what = named.map_or_else(|| format!("for {target}"), |name| format!("\"{name}\""));
            let (kind, set) = (self.kind(), &self.set);
            let primary = format!(
                "{} \"{set}\" of {} has no backup {what}",
                kind.set_word(),
                kind.name()
            );
            refused(Kind::Refused, primary, &detail, self.list_command())
        })?;
        let major = match (&self.program, major) {
            (Program::Barman(tool), _) => tool.major(&self.set, &chosen.label).await?,
            (_, major) => major.unwrap_or(0),
        };
        Ok((chosen, major))
    }

    /// Restores by the tool's own program; returns how it ended, with its last words.
    pub(crate) async fn restore(&self, order: &Order<'_>) -> Result<(ExitStatus, String), Error> {
        let (program, words, owner) = match &self.program {
            Program::PgBackRest(tool) => {
                let words = restore_words(tool, order);
                (tool.program.as_path(), words, tool.owner)
            }
            Program::Barman(tool) => {
                let words = tool.words(&self.set, order);
                (tool.program.as_path(), words, tool.owner)
            }
            Program::Foreign(tool) => tool.order(order.into),
        };
        program::told(program, &words, owner).await
    }

    /// Puts what the tool restored where a guarded recovery takes it.
    pub(crate) fn settle(&self, data: &Path) -> Result<(), Error> {
        match &self.program {
            Program::PgBackRest(_) => Ok(()),
            Program::Barman(tool) => barman::put_wal_aside(data, tool.owner),
            Program::Foreign(tool) => tool.settle(data),
        }
    }

    /// Returns what the tool's backup is called that was restored, where the tool itself did not say.
    pub(crate) fn label(&self, data: &Path) -> Option<String> {
        match &self.program {
            Program::Foreign(_) => foreign::label(data),
            _ => None,
        }
    }

    /// Returns the settings of a recovery that the tool does not write itself.
    pub(crate) fn recovery(
        &self,
        target: &Target,
        inclusive: bool,
        timeline: Option<Timeline>,
    ) -> Vec<(&'static str, String)> {
        match &self.program {
            Program::Foreign(_) => Foreign::recovery(target, inclusive, timeline),
            _ => Vec::new(),
        }
    }

    /// Returns the command by which the restored server gets WAL, behind `guard`: `pawang wal guard --`.
    pub(crate) fn restore_command(&self, guard: &str, data: &Path) -> String {
        match &self.program {
            Program::PgBackRest(tool) => {
                let mut words = vec![tool.program.display().to_string()];
                words.extend(tool.options.iter().cloned());
                words.push(format!("--pg1-path={}", data.display()));
                words.push("archive-get".to_owned());
                let words: Vec<String> = words.iter().map(|word| shell(word)).collect();
                format!("{guard} {} %f %p", words.join(" "))
            }
            Program::Barman(_) => {
                let folder = data.join(barman::WAL).display().to_string();
                format!("{guard} cp {}/%f %p", shell(&folder))
            }
            Program::Foreign(tool) => tool.restore_command(),
        }
    }

    fn list_command(&self) -> String {
        match self.kind() {
            ToolKind::PgBackRest => format!("pgbackrest --stanza={} info", self.set),
            ToolKind::Barman => format!("barman list-backups {}", self.set),
            ToolKind::Foreign => "pawang drill run --help".to_owned(),
        }
    }
}

/// Returns a word as a shell takes it, and as a server does, which takes % for its own words.
pub fn shell(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''").replace('%', "%%"))
}

fn one_of(kind: ToolKind, names: Vec<String>, wanted: Option<&str>) -> Result<String, Error> {
    let word = kind.set_word();
    let all = names.join(", ");
    let found = match (wanted, &names[..]) {
        (Some(name), _) => names.iter().find(|known| *known == name),
        (None, [only]) => Some(only),
        (None, []) => None,
        (None, [first, ..]) => {
            let primary = format!("{} has several {word}s", kind.name());
            return Err(refused(
                Kind::Usage,
                primary,
                &all,
                format!("--stanza {first}"),
            ));
        }
    };
    found.cloned().ok_or_else(|| {
        let primary = match wanted {
            Some(name) => format!("{} has no {word} \"{name}\"", kind.name()),
            None => format!("{} has no {word}", kind.name()),
        };
        let detail = match names.is_empty() {
            true => "its configuration names none that can be read".to_owned(),
            false => format!("it has {all}"),
        };
        let hint = match kind {
            ToolKind::PgBackRest => "pgbackrest info",
            ToolKind::Barman => "barman list-servers",
            ToolKind::Foreign => "pawang drill run --help",
        };
        refused(Kind::Target, primary, &detail, hint.to_owned())
    })
}

/// Returns the backups of a stanza's newest cluster, oldest first, and its major version.
fn kept(stanza: &Stanza) -> (Vec<Kept>, Option<u32>) {
    let newest = stanza.databases.iter().max_by_key(|database| database.id);
    let Some(newest) = newest else {
        return (Vec::new(), None);
    };
    let mut all: Vec<Kept> = stanza
        .backups
        .iter()
        .filter(|backup| backup.database.id == newest.id)
        .filter_map(|backup| {
            Some(Kept {
                label: backup.label.clone(),
                ended_at: backup.ended_at()?,
                stop: backup.lsn.map(|lsn| lsn.stop),
                data_bytes: backup.size.map(|size| size.bytes),
                repository: Some(backup.database.repository),
                tablespaces: Vec::new(),
            })
        })
        .collect();
    all.sort_by_key(|kept| kept.ended_at);
    (all, newest.version.parse().ok())
}

fn restore_words(tool: &PgBackRest, order: &Order<'_>) -> Vec<String> {
    let mut words = tool.options.clone();
    words.push(format!("--pg1-path={}", order.into.display()));
    words.push(format!("--set={}", order.backup.label));
    words.extend(order.backup.repository.map(|key| format!("--repo={key}")));
    let elsewhere = order.tablespaces.display();
    words.push(format!("--tablespace-map-all={elsewhere}"));
    words.push("--archive-mode=off".to_owned());
    words.push("--log-level-console=off".to_owned());
    words.push("--log-level-stderr=warn".to_owned());
    if let Some((setting, value)) = order.target.setting() {
        let kind = setting.rsplit_once('_').map_or(setting, |(_, kind)| kind);
        match order.target {
            Target::Immediate => words.push("--type=immediate".to_owned()),
            _ => words.extend([format!("--type={kind}"), format!("--target={value}")]),
        }
        words.push("--target-action=promote".to_owned());
        if !order.inclusive {
            words.push("--target-exclusive".to_owned());
        }
    }
    let timeline = order.timeline;
    words.extend(timeline.map(|timeline| format!("--target-timeline={}", timeline.0)));
    words.push("restore".to_owned());
    words
}

fn refused(kind: Kind, primary: String, detail: &str, hint: String) -> Error {
    let report = Report::new(kind, primary);
    Error::Refused(Box::new(report.with_detail(detail).with_hint(hint)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_set_is_named_or_the_only_one() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let of = |all: &[&str], wanted| one_of(ToolKind::PgBackRest, names(all), wanted);
        assert_eq!(of(&["main"], None).unwrap(), "main");
        assert_eq!(of(&["a", "b"], Some("b")).unwrap(), "b");
        for (all, wanted, words) in [
            (&["a", "b"][..], None, "several stanzas"),
            (&["a"], Some("x"), "no stanza \"x\""),
            (&[], None, "has no stanza"),
        ] {
            let told = of(all, wanted).unwrap_err().report().primary;
            assert!(told.contains(words), "{told}");
        }
    }

    #[test]
    fn a_restore_is_said_in_the_words_of_pgbackrest() {
        let backup = Kept {
            label: "20261122-080000F".to_owned(),
            ended_at: Timestamp::UNIX_EPOCH,
            stop: None,
            data_bytes: None,
            repository: Some(2),
            tablespaces: Vec::new(),
        };
        let tool = PgBackRest {
            program: "/usr/bin/pgbackrest".into(),
            options: vec!["--stanza=main".to_owned()],
            owner: None,
        };
        let target = Target::Time("2026-11-22T09:00:00Z".parse().unwrap());
        let order = Order {
            backup: &backup,
            target: &target,
            inclusive: false,
            timeline: None,
            into: Path::new("/s/data"),
            tablespaces: Path::new("/s/t"),
        };
        assert_eq!(
            restore_words(&tool, &order).join(" "),
            "--stanza=main --pg1-path=/s/data --set=20261122-080000F --repo=2 --tablespace-map-all=/s/t \
             --archive-mode=off --log-level-console=off --log-level-stderr=warn --type=time \
             --target=2026-11-22 09:00:00.000000+00 --target-action=promote --target-exclusive restore"
        );
        assert_eq!(shell("it's 5%"), "'it'\\''s 5%%'");
    }
}
