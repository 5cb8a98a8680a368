//! Files on this machine that nobody needs any more.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Duration;

use pawang_core::{ByteSize, Timestamp};

use super::{Facts, Recipe};

/// Inside a data directory only these may hold something to delete.
const OPEN_FOLDERS: [&str; 3] = ["log", "pg_log", "pgsql_tmp"];

pub(super) fn recipe(path: &str) -> Recipe {
    Recipe {
        sql: Vec::new(),
        verify: format!("file \"{path}\" is gone"),
        undo: "nothing brings it back but a backup".to_owned(),
    }
}

/// Returns what is true of a file, or `None` when there is none.
pub(crate) fn describe(path: &str) -> io::Result<Option<Facts>> {
    let data = match fs::symlink_metadata(path) {
        Ok(data) => data,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let modified = data.modified()?.duration_since(std::time::UNIX_EPOCH);
    let kind = if data.is_file() { "file" } else { "other" };
    Ok(Some(Facts::from([
        ("kind".to_owned(), kind.to_owned()),
        ("size".to_owned(), data.len().to_string()),
        (
            "modified_s".to_owned(),
            modified.unwrap_or(Duration::ZERO).as_secs().to_string(),
        ),
    ])))
}

/// Deletes a file that is still what it was when the plan was made, and makes that durable.
pub(crate) fn delete(path: &str, size: ByteSize, modified_at: Timestamp) -> Result<(), String> {
    let place = Path::new(path);
    let folder = place.parent().filter(|_| place.is_absolute());
    let Some(folder) = folder else {
        return Err(format!("\"{path}\" is not absolute"));
    };
    if path.split('/').any(|part| part == ".." || part == ".") {
        return Err(format!("\"{path}\" is not the plain path of a file"));
    }
    if let Some(why) = needed(place) {
        return Err(why);
    }
    let could_not = |error: io::Error| format!("could not delete \"{path}\": {error}");
    let facts = describe(path).map_err(could_not)?;
    let facts = facts.ok_or_else(|| format!("file \"{path}\" is gone already"))?;
    let same = facts["kind"] == "file"
        && facts["size"] == size.0.to_string()
        && facts["modified_s"] == modified_at.as_second().to_string();
    if !same {
        return Err(format!("file \"{path}\" changed after the plan was made"));
    }
    fs::remove_file(place).map_err(could_not)?;
    let folder = File::open(folder).map_err(could_not)?;
    folder.sync_all().map_err(could_not)
}

/// Returns why a server may need the file: it lies in a data directory, and not among logs or temporary files.
fn needed(path: &Path) -> Option<String> {
    let real = path.parent()?.canonicalize().ok()?;
    let data = real
        .ancestors()
        .find(|folder| folder.join("PG_VERSION").exists() && folder.join("global").exists())?;
    let inside = real.strip_prefix(data).ok()?;
    let open = inside
        .iter()
        .any(|part| OPEN_FOLDERS.iter().any(|open| part == *open));
    (!open).then(|| {
        format!(
            "\"{}\" lies in the data directory \"{}\", where the server needs every file",
            path.display(),
            data.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use pawang_core::{ByteSize, Timestamp};

    use super::{delete, describe};

    #[test]
    fn deletes_only_what_it_was_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old.log");
        let name = path.to_str().unwrap();
        fs::File::create(&path).unwrap().set_len(7).unwrap();
        let modified = describe(name).unwrap().unwrap()["modified_s"]
            .parse()
            .unwrap();
        let at = Timestamp::from_second(modified).unwrap();
        let refused = delete(name, ByteSize(8), at).unwrap_err();
        assert!(refused.contains("changed after the plan"), "{refused}");
        delete(name, ByteSize(7), at).unwrap();
        assert!(!path.exists());
        let refused = delete(name, ByteSize(7), at).unwrap_err();
        assert!(refused.contains("gone already"), "{refused}");
        assert!(
            delete("old.log", ByteSize(7), at)
                .unwrap_err()
                .contains("not absolute")
        );
    }

    #[test]
    fn never_touches_what_a_server_needs() {
        let folder = tempfile::tempdir().unwrap();
        for inside in ["global", "pg_wal", "log", "base/pgsql_tmp"] {
            fs::create_dir_all(folder.path().join(inside)).unwrap();
        }
        fs::File::create(folder.path().join("PG_VERSION")).unwrap();
        for (inside, allowed) in [
            ("pg_wal/000000010000000000000001", false),
            ("log/postgresql.log", true),
            ("base/pgsql_tmp/pgsql_tmp1.0", true),
            ("postgresql.conf", false),
        ] {
            let path = folder.path().join(inside);
            fs::File::create(&path).unwrap();
            let name = path.to_str().unwrap();
            let modified = describe(name).unwrap().unwrap()["modified_s"]
                .parse()
                .unwrap();
            let at = Timestamp::from_second(modified).unwrap();
            assert_eq!(delete(name, ByteSize(0), at).is_ok(), allowed, "{inside}");
        }
    }
}
