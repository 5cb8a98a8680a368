//! Files that were never finished: a store in a directory writes each object beside its place, as `<name>#<number>`, and a
//! writer that is killed leaves that behind, where no listing shows it.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::SystemTime;

/// Deletes unfinished files that nobody wrote to since, and folders that are empty then; returns how many files there were.
pub(super) fn sweep(folder: &Path, before: SystemTime) -> io::Result<u64> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut swept = 0;
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            swept += sweep(&path, before)?;
            // One that is not empty stays, and so does one into which somebody is about to write.
            if entry.metadata()?.modified()? < before {
                let _not_empty = std::fs::remove_dir(&path);
            }
        } else if unfinished(&path) && entry.metadata()?.modified()? < before {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => swept += 1,
            }
        }
    }
    Ok(swept)
}

fn unfinished(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let number = name.and_then(|name| name.rsplit_once('#'));
    number.is_some_and(|(_, number)| {
        !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_what_is_old_and_unfinished_goes() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("a/b")).unwrap();
        for name in ["a/part.zst#1", "a/part.zst", "a/x#y", "young#12"] {
            std::fs::write(at(name), "x").unwrap();
        }
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        for (name, seconds) in [
            ("a/part.zst#1", 0),
            ("a/part.zst", 0),
            ("a/x#y", 0),
            ("young#12", 200),
        ] {
            let file = std::fs::File::options().write(true).open(at(name)).unwrap();
            file.set_modified(now + Duration::from_secs(seconds))
                .unwrap();
        }
        assert_eq!(
            sweep(folder.path(), now + Duration::from_secs(100)).unwrap(),
            1
        );
        for (name, left) in [
            ("a/part.zst#1", false),
            ("a/part.zst", true),
            ("a/x#y", true),
            ("young#12", true),
        ] {
            assert_eq!(at(name).exists(), left, "{name}");
        }
        assert_eq!(sweep(&at("nothing"), now).unwrap(), 0);
    }
}
