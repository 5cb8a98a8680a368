//! Fuzzes the log parsers with cargo-fuzz: each target begins with its kept corpus, which `--keep` replaces by the smallest that reaches as
//! much.

use std::fs;
use std::path::{Path, PathBuf};

use crate::run;

/// Where cargo-fuzz finds the targets.
const FOLDER: &str = "crates/logs/fuzz";

/// Seconds for each target when nobody says how many.
const SECONDS: u32 = 60;

/// The longest input, and the memory that reading it may take.
const LIMITS: [&str; 2] = ["-max_len=65536", "-rss_limit_mb=1500"];

/// Files of one target that are kept, and their bytes before they are packed: the smallest ones.
const KEPT_FILES_MAX: usize = 300;
/// As above.
const KEPT_BYTES_MAX: u64 = 80_000;

/// How to compile: the fuzzer's counters work with a stable compiler when no sanitizer is wanted, and this code has no `unsafe`.
const BUILD: [&str; 5] = ["--dev", "--sanitizer", "none", "--fuzz-dir", FOLDER];

/// What a person asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wish {
    target: Option<String>,
    seconds: Option<u32>,
    keep: bool,
}

/// Fuzzes one target or all of them.
pub(crate) fn run(words: &[&str]) -> Result<(), String> {
    let wish = wish(words)?;
    if !run::works("cargo", &["fuzz", "--version"]) {
        return Err(
            "cargo-fuzz is not installed (hint: cargo install cargo-fuzz --locked)".to_owned(),
        );
    }
    let folder = run::repository().join(FOLDER);
    let all = targets(&folder)?;
    if let Some(target) = wish.target.as_ref().filter(|name| !all.contains(name)) {
        let known = all.join(" ");
        return Err(format!(
            "there is no fuzz target \"{target}\" (there are {known})"
        ));
    }
    let wanted = all
        .iter()
        .filter(|name| wish.target.as_ref().is_none_or(|one| one == *name));
    for target in wanted {
        let corpus = folder.join("corpus").join(target);
        unpack(&corpus)?;
        fuzz(target, wish.seconds.unwrap_or(SECONDS))?;
        if wish.keep {
            keep(target, &corpus)?;
        }
    }
    Ok(())
}

fn wish(words: &[&str]) -> Result<Wish, String> {
    let mut wish = Wish::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--keep" => wish.keep = true,
            "--seconds" => {
                // Without a time the fuzzer never ends.
                let seconds = words.next().and_then(|word| word.parse().ok());
                let seconds = seconds.filter(|seconds| *seconds > 0);
                wish.seconds = Some(seconds.ok_or("--seconds needs a number above 0")?);
            }
            target if !target.starts_with('-') && wish.target.is_none() => {
                wish.target = Some(target.to_owned());
            }
            other => return Err(format!("\"{other}\" is no option of fuzz")),
        }
    }
    Ok(wish)
}

/// Returns the names of all targets.
fn targets(folder: &Path) -> Result<Vec<String>, String> {
    let files = list(&folder.join("fuzz_targets"))?;
    let name = |path: PathBuf| Some(path.file_stem()?.to_str()?.to_owned());
    let mut names: Vec<String> = files.into_iter().filter_map(name).collect();
    names.sort();
    Ok(names)
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).and_then(|entries| {
        entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect()
    });
    entries.map_err(|error| format!("could not list \"{}\": {error}", folder.display()))
}

fn unpack(corpus: &Path) -> Result<(), String> {
    fs::create_dir_all(corpus)
        .map_err(|error| format!("could not create \"{}\": {error}", corpus.display()))?;
    let packed = packed(corpus);
    if packed.exists() {
        let mut tar = run::command("tar");
        run::quiet(tar.arg("-xzf").arg(packed).arg("-C").arg(corpus))?;
    }
    Ok(())
}

fn packed(corpus: &Path) -> PathBuf {
    corpus.with_extension("tar.gz")
}

fn fuzz(target: &str, seconds: u32) -> Result<(), String> {
    let mut cargo = run::cargo(&["fuzz", "run"]);
    cargo.args(BUILD).args([target, "--"]).args(LIMITS);
    run::loud(cargo.arg(format!("-max_total_time={seconds}")))
}

/// Packs the smallest files that reach all that the corpus reaches.
fn keep(target: &str, corpus: &Path) -> Result<(), String> {
    let mut cargo = run::cargo(&["fuzz", "cmin"]);
    run::loud(cargo.args(BUILD).args([target, "--"]).args(LIMITS))?;
    let mut files = Vec::new();
    for path in list(corpus)? {
        let size = fs::metadata(&path).map_or(0, |facts| facts.len());
        files.push((size, path));
    }
    files.sort();
    let mut left = KEPT_BYTES_MAX;
    let mut tar = run::command("tar");
    // The same files give the same archive on every machine.
    tar.args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0"]);
    tar.args(["--numeric-owner", "--mode=0644", "-czf"]);
    tar.arg(packed(corpus)).arg("-C").arg(corpus);
    for (size, path) in files.iter().take(KEPT_FILES_MAX) {
        let Some(rest) = left.checked_sub(*size) else {
            break;
        };
        left = rest;
        tar.arg(path.file_name().unwrap_or_default());
    }
    run::quiet(&mut tar)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_understood() {
        let expected = Wish {
            target: Some("csv".to_owned()),
            seconds: Some(5),
            keep: true,
        };
        assert_eq!(wish(&["csv", "--keep", "--seconds", "5"]), Ok(expected));
        assert_eq!(wish(&[]), Ok(Wish::default()));
        assert!(wish(&["--seconds"]).is_err());
        assert!(wish(&["--seconds", "0"]).is_err());
        assert!(wish(&["--second", "5"]).is_err());
    }

    #[test]
    fn every_target_is_found() {
        let folder = run::repository().join(FOLDER);
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let all = targets(&folder).unwrap();
        assert!(all.contains(&"stderr".to_owned()));
        assert_eq!(all.len(), manifest.matches("[[bin]]").count());
    }
}
