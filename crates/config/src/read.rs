//! From a file to a [`Config`], or to every problem that it has.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;

use serde::Deserialize;
use toml::de::{DeTable, Deserializer};

use crate::backup::RepositoryPlace;
use crate::problem::{Draft, Errors, Origin};
use crate::schema::SCHEMA;
use crate::sense;
use crate::tree::{BackupSource, Config};
use crate::walk::walk;

/// Largest file that is read.
const FILE_BYTES_MAX: usize = 1 << 20;

/// Returns the commented example file, `pawang.example.toml`.
pub fn example() -> &'static str {
    include_str!("../../../pawang.example.toml")
}

/// Reads a file; relative paths in it become relative to its folder.
pub fn load(path: &Path) -> Result<Config, Errors> {
    let file = path.display().to_string();
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| {
            let hint =
                (error.kind() == ErrorKind::NotFound).then_some("pawang init writes a first one");
            Errors::of_file(&file, format!("could not read the file: {error}"), hint)
        })?;
    let text = String::from_utf8(bytes).map_err(|error| not_utf8(&file, &error))?;
    let mut config = parse(&text, &file)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    for path in paths(&mut config) {
        *path = folder.join(&path);
    }
    for repository in &mut config.repositories {
        if let Some(RepositoryPlace::Directory(path)) = repository.location() {
            repository.place = folder.join(path).display().to_string();
        }
    }
    Ok(config)
}

fn not_utf8(file: &str, error: &FromUtf8Error) -> Errors {
    let start = error.utf8_error().valid_up_to();
    let origin = Origin {
        file: file.to_owned(),
        text: String::from_utf8_lossy(error.as_bytes()).into(),
        ..Origin::default()
    };
    let span = start..start + char::REPLACEMENT_CHARACTER.len_utf8();
    let draft = Draft::new(Some(span), "the text is not UTF-8", "");
    origin.errors(vec![
        draft.with_hint(Some("save the file as UTF-8".to_owned())),
    ])
}

/// Reads a text; `file` is the name that its problems carry.
pub fn parse(text: &str, file: &str) -> Result<Config, Errors> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > FILE_BYTES_MAX {
        let message = format!("the file is larger than {FILE_BYTES_MAX} bytes");
        return Err(Errors::of_file(file, message, None));
    }
    let mut origin = Origin {
        file: file.to_owned(),
        text: text.into(),
        ..Origin::default()
    };
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut drafts = syntax(text, &errors);
    let reliable = drafts.iter().all(|draft| !is_header(text, draft));
    if reliable {
        let broken: BTreeSet<usize> = drafts.iter().map(|draft| line(text, draft)).collect();
        let walked = walk(&SCHEMA, &document, &mut origin);
        // Where the syntax is broken, keys may be lost: neither they nor their line are a second problem.
        let second = |draft: &Draft| {
            broken.is_empty() || !draft.absence && !broken.contains(&line(text, draft))
        };
        drafts.extend(walked.into_iter().filter(second));
    }
    if !drafts.is_empty() {
        return Err(origin.errors(drafts));
    }
    let mut config = Config::deserialize(Deserializer::from(document))
        .map_err(|error| origin.errors(vec![Draft::new(error.span(), error.message(), "")]))?;
    config.origin = origin;
    let drafts = sense::problems(&config);
    if !drafts.is_empty() {
        return Err(config.origin.errors(drafts));
    }
    config.warnings = sense::warnings(&config);
    Ok(config)
}

/// Returns the first syntax error of each line: those after it are its echo.
fn syntax(text: &str, errors: &[toml::de::Error]) -> Vec<Draft> {
    let mut lines = BTreeSet::new();
    let drafts = errors.iter().map(|error| {
        let message = format!("the text is not TOML: {}", error.message());
        Draft::new(error.span().or(Some(0..0)), message, "")
    });
    drafts
        .filter(|draft| lines.insert(line(text, draft)))
        .collect()
}

/// Returns the start of the line that a draft is about.
fn line(text: &str, draft: &Draft) -> usize {
    let start = draft
        .span
        .as_ref()
        .map_or(0, |span| span.start.min(text.len()));
    let newline = text.as_bytes()[..start]
        .iter()
        .rposition(|byte| *byte == b'\n');
    newline.map_or(0, |index| index + 1)
}

/// Returns whether a syntax error stands in a table header, after which no key is where it seems.
fn is_header(text: &str, draft: &Draft) -> bool {
    text[line(text, draft)..]
        .trim_start_matches([' ', '\t'])
        .starts_with('[')
}

/// Returns every path of the tree that may be relative.
fn paths(config: &mut Config) -> Vec<&mut PathBuf> {
    let mut paths: Vec<&mut PathBuf> = Vec::new();
    paths.extend(&mut config.collectors.directory);
    paths.extend(&mut config.state_directory);
    paths.extend(&mut config.serve.data_directory);
    if let Some(tls) = &mut config.serve.tls {
        paths.extend([&mut tls.certificate, &mut tls.key]);
    }
    for store in &mut config.serve.remote_write {
        paths.extend(&mut store.password_file);
        paths.extend(&mut store.token_file);
    }
    for policy in config.maintenance.policies.values_mut() {
        paths.extend(&mut policy.cleanup.archive_directory);
    }
    for repository in &mut config.repositories {
        paths.extend(&mut repository.secret_key_file);
        paths.extend(&mut repository.identity_file);
        paths.extend(&mut repository.ca_file);
    }
    paths.extend(config.backup.scratch.folders());
    for channel in &mut config.alert.channels {
        paths.extend(channel.files());
    }
    for instance in &mut config.instances {
        paths.extend(&mut instance.password_file);
        paths.extend(&mut instance.data_directory);
        paths.extend(&mut instance.log_directory);
        paths.extend(instance.backup_policy.scratch.folders());
        for source in &mut instance.backup {
            match source {
                BackupSource::Directory { path, .. } | BackupSource::Pgbackrest { path, .. } => {
                    paths.push(path);
                }
                BackupSource::Sql { .. } => {}
            }
        }
    }
    paths
}
