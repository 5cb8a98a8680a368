//! `cargo xtask tidy`: the rules of the repository that no compiler checks; every breach is told, not only the first.

mod law;
mod links;
mod manifest;
mod rust;
mod source;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::MetadataCommand;

use crate::run;

/// A breach of a rule, where it is and what to do.
pub(crate) type Problem = String;

/// A text file of the repository.
pub(crate) struct File {
    /// Its path from the repository's folder, with `/`.
    pub(crate) path: String,
    /// Its content.
    pub(crate) text: String,
}

/// Checks everything; the error lists every breach.
pub(crate) fn run() -> Result<(), String> {
    let root = run::repository();
    let files = files(&root)?;
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .other_options(vec!["--locked".to_owned()])
        .exec()
        .map_err(|error| format!("could not read the metadata of the workspace: {error}"))?;
    let mut problems = Vec::new();
    law::check(&metadata, &mut problems);
    manifest::check(&metadata, &files, &mut problems);
    for file in &files {
        source::check(file, &mut problems);
        if file.path.ends_with(".rs") {
            rust::check(file, &files, &mut problems);
        }
    }
    links::check(&root, &files, &mut problems);
    if problems.is_empty() {
        println!("tidy: {} files, nothing to complain about", files.len());
        return Ok(());
    }
    let mut message = String::new();
    for problem in &problems {
        let _ = writeln!(message, "{problem}");
    }
    let _ = write!(message, "\ntidy: {} problems", problems.len());
    Err(message)
}

/// Returns every text file that git tracks or would track.
fn files(root: &Path) -> Result<Vec<File>, String> {
    let list = run::quiet(run::command("git").args([
        "-c",
        "core.quotePath=off",
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    let mut paths: Vec<&str> = list.lines().collect();
    paths.sort_unstable();
    paths.dedup();
    let mut files = Vec::new();
    for path in paths {
        let full: PathBuf = root.join(path);
        // A tracked file that is deleted in the work tree, or a link to somewhere.
        if !full.is_file() || full.is_symlink() {
            continue;
        }
        let bytes =
            fs::read(&full).map_err(|error| format!("could not read \"{path}\": {error}"))?;
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(File {
                path: path.to_owned(),
                text,
            });
        }
    }
    Ok(files)
}
