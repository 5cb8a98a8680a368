//! The tail of the newest server log.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::DownRequest;
use super::configuration::Configuration;
use super::directory::Place;

const TAIL_BYTES: u64 = 64 << 10;
const LINES_MAX: usize = 300;
const LINE_MAX: usize = 500;
const DEBIAN: &str = "/var/log/postgresql";
/// Nothing before the last of these lines explains why the server is down now.
const BEGINNINGS: [&str; 2] = ["database system is ready to accept", "starting PostgreSQL "];

/// Finds the newest file that the server, or whoever started it, writes its log to.
pub(super) fn find(
    request: &DownRequest,
    place: &Place,
    configuration: &Configuration,
) -> Option<PathBuf> {
    let directory = configuration.value("log_directory").unwrap_or("log");
    let mut directories = vec![place.data.join(directory)];
    directories.extend(request.log_directory.clone());
    let mut files: Vec<PathBuf> = directories.iter().flat_map(|path| entries(path)).collect();
    if let Some(name) = &place.debian {
        files.push(Path::new(DEBIAN).join(format!("postgresql-{}.log", name.replace('/', "-"))));
    }
    files.extend(request.log_file.clone());
    let modified = |path: &PathBuf| fs::metadata(path).ok()?.modified().ok();
    files
        .into_iter()
        .filter_map(|path| Some((modified(&path)?, path)))
        .max()
        .map(|(_, path)| path)
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let files = entries.map(|entry| entry.path());
    files
        .filter(|path| {
            let extension = path.extension().unwrap_or_default();
            ["log", "csv", "json"]
                .iter()
                .any(|known| extension == *known)
        })
        .collect()
}

/// Returns the last lines, from the last start on, or from when the server last became ready.
pub(super) fn tail(path: &Path) -> Vec<String> {
    let text = read_end(path).unwrap_or_default();
    let mut lines: Vec<String> = text
        .lines()
        .map(|line| line.chars().take(LINE_MAX).collect())
        .collect();
    let begins = |line: &String| BEGINNINGS.iter().any(|text| line.contains(text));
    if let Some(beginning) = lines.iter().rposition(begins) {
        lines.drain(..beginning);
    }
    let surplus = lines.len().saturating_sub(LINES_MAX);
    lines.drain(..surplus);
    lines
}

fn read_end(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
