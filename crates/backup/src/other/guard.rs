//! Makes the `restore_command` of another tool honest: PostgreSQL takes every exit code from 1 to 125 for the end of the
//! archive, and these tools end so for a damaged file, a missing one, and a store that is down.

use std::path::{Path, PathBuf};

use pawang_core::{Kind, Report};

use super::pgbackrest::PgBackRest;
use super::{folder, program};
use crate::Error;
use crate::repository::ClusterId;
use crate::wal::get::check_file;
use crate::wal::{Catalogue, History, Timeline, WalFile};

/// A `restore_command` of another tool, after PostgreSQL filled in its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guarded {
    /// The program, found.
    pub program: PathBuf,
    /// Its words.
    pub words: Vec<String>,
    /// The file that is asked for.
    pub file: WalFile,
    /// Where it is to be written.
    pub target: PathBuf,
    /// The folder that it is taken from, when a word says so.
    pub folder: Option<PathBuf>,
}

/// What is told to PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The file is there, whole.
    Delivered,
    /// The tool's own catalogue proves that its archive ends before it.
    End,
}

impl Guarded {
    /// Reads a command: one of its words is, or ends in, the name of a file of WAL, and the next one says where to write it.
    ///
    /// # Errors
    /// There is no such program, or no such word.
    pub fn parse(command: &[String]) -> Result<Guarded, Error> {
        let wrong = |problem: &str| {
            let report = Report::new(Kind::Usage, "cannot guard this command");
            let hint = "pawang wal guard -- pgbackrest --stanza=main archive-get %f %p";
            Error::Refused(Box::new(report.with_detail(problem).with_hint(hint)))
        };
        let (word, words) = command.split_first().ok_or_else(|| wrong("it is empty"))?;
        let program = program::find(word)?;
        let named = |word: &String| {
            let path = Path::new(word);
            let file = WalFile::parse(path.file_name()?.to_str()?)?;
            let folder = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            Some((file, folder.map(Path::to_owned)))
        };
        let mut found = words.iter().enumerate();
        let found = found.find_map(|(index, word)| Some((index, named(word)?)));
        let (index, (file, folder)) =
            found.ok_or_else(|| wrong("no word of it is the name of a file of WAL, %f"))?;
        let target = words.get(index + 1);
        let target = target.ok_or_else(|| wrong("nothing follows the name: where is %p?"))?;
        Ok(Guarded {
            program,
            words: words.to_vec(),
            file,
            target: target.into(),
            folder,
        })
    }
}

/// Runs the command, and looks at what it did.
///
/// # Errors
/// The file could not be got, is not whole, or is another one, and that does not prove that the archive ends there.
pub async fn guard(
    guarded: &Guarded,
    cluster: &ClusterId,
    segment_bytes: u32,
) -> Result<Verdict, Error> {
    let status = program::run(&guarded.program, &guarded.words).await?;
    if status.success() {
        let (guarded, cluster) = (guarded.clone(), *cluster);
        let check = move || judge(&guarded, &cluster, segment_bytes);
        let checked = tokio::task::spawn_blocking(check).await;
        return checked
            .expect("the walk does not panic")
            .map(|()| Verdict::Delivered);
    }
    let catalogue = catalogue(guarded, cluster, segment_bytes).await;
    let catalogue = catalogue.map_err(|error| {
        let why = error.report();
        let detail = format!("it ended with {status}, and {}", why.primary);
        let detail = why
            .detail
            .map_or(detail.clone(), |more| format!("{detail}: {more}"));
        refused(guarded, &detail)
    })?;
    let why = match &guarded.file {
        WalFile::Segment(name) => catalogue.beyond(name.timeline, name.start(segment_bytes)),
        WalFile::History(timeline) => {
            let newest = catalogue.newest_timeline();
            let beyond =
                *timeline == Timeline(1) || newest.is_some_and(|newest| newest < *timeline);
            (!beyond).then(|| "a timeline as new as this one is known".to_owned())
        }
        WalFile::Partial(_) | WalFile::BackupHistory(..) => Some("nobody needs it".to_owned()),
    };
    match why {
        None => Ok(Verdict::End),
        Some(why) => Err(refused(
            guarded,
            &format!("it ended with {status}, and {why}"),
        )),
    }
}

/// Says whether the file that the program left is what it should be; one that is not is removed.
fn judge(guarded: &Guarded, cluster: &ClusterId, segment_bytes: u32) -> Result<(), Error> {
    let target = &guarded.target;
    let checked = match &guarded.file {
        WalFile::Segment(name) => check_file(cluster, name, segment_bytes, target),
        WalFile::History(timeline) => {
            let text = std::fs::read_to_string(target).map_err(|error| error.to_string());
            let parsed = text
                .and_then(|text| History::parse(*timeline, &text).map_err(|error| error.problem));
            parsed.map(|_| ())
        }
        WalFile::Partial(_) | WalFile::BackupHistory(..) => Ok(()),
    };
    checked.map_err(|problem| {
        // It may not even be there.
        let _gone = std::fs::remove_file(target);
        refused(guarded, &format!("it said that it was good, but {problem}"))
    })
}

/// Asks the tool what it has.
async fn catalogue(
    guarded: &Guarded,
    cluster: &ClusterId,
    segment_bytes: u32,
) -> Result<Catalogue, Error> {
    let name = guarded.program.file_name().and_then(|name| name.to_str());
    let catalogue = match (name, &guarded.folder) {
        (Some("pgbackrest"), _) => {
            let tool = PgBackRest::of_command(&guarded.program, &guarded.words);
            tool.catalogue(cluster, segment_bytes).await?
        }
        (_, Some(folder)) => folder::catalogue(folder, segment_bytes)?,
        _ => {
            let report = Report::new(
                Kind::Target,
                "nothing is known of how to read its catalogue",
            );
            return Err(Error::Refused(Box::new(report)));
        }
    };
    Ok(catalogue)
}

fn refused(guarded: &Guarded, why: &str) -> Error {
    let program = guarded.program.display();
    let target = guarded.target.display();
    let report = Report::new(
        Kind::Target,
        format!("could not get \"{target}\" by {program}"),
    );
    let words = guarded.words.join(" ");
    Error::Refused(Box::new(
        report
            .with_detail(why)
            .with_hint(format!("{program} {words}")),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Guarded, Error> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        Guarded::parse(&words)
    }

    #[test]
    fn the_words_that_postgresql_filled_in_are_found() {
        let found = parse("/bin/cp /srv/archive/0000000A0000000100000002 pg_wal/RECOVERYXLOG");
        let found = found.unwrap();
        assert_eq!(found.folder.as_deref(), Some(Path::new("/srv/archive")));
        assert_eq!(found.target, Path::new("pg_wal/RECOVERYXLOG"));
        let found = parse("cp --stanza=x archive-get 0000000A.history pg_wal/RECOVERYHISTORY");
        assert_eq!(found.unwrap().file, WalFile::History(Timeline(10)));
        for line in [
            "cp",
            "cp x y",
            "cp 0000000A0000000100000002",
            "no-such-program 0000000A.history x",
            "bin/cp 0000000A.history x",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
