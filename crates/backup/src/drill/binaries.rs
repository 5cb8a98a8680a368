//! Where programs of a PostgreSQL server are on this machine.

use std::path::{Path, PathBuf};

use pawang_core::{Kind, Report};

/// Where Debian and PGDG put the programs of one major version.
const FOLDERS: [&str; 2] = ["/usr/lib/postgresql/{major}/bin", "/usr/pgsql-{major}/bin"];
/// The first version that has `pg_amcheck`; it asks servers of every version.
const AMCHECK_SINCE: u32 = 14;
const MAJOR_MAX: u32 = 40;
const SERVER: &str = "postgres";
const AMCHECK: &str = "pg_amcheck";

/// Returns the folder of the server's programs.
///
/// # Errors
/// The folder that was named has no server, or none of the usual folders has one of this major version.
pub fn server(major: u32, named: Option<&Path>) -> Result<PathBuf, Report> {
    if let Some(folder) = named {
        let found = folder.join(SERVER).is_file();
        return found.then(|| folder.to_owned()).ok_or_else(|| {
            Report::new(
                Kind::Usage,
                format!("there is no server in \"{}\"", folder.display()),
            )
        });
    }
    let mut folders = usual(major);
    folders
        .find(|folder| folder.join(SERVER).is_file())
        .ok_or_else(|| {
            let looked: Vec<String> = usual(major)
                .map(|folder| folder.display().to_string())
                .collect();
            Report::new(
                Kind::Target,
                format!("no server of PostgreSQL {major} is on this machine"),
            )
            .with_detail(format!("looked in {}", looked.join(" and ")))
            .with_hint("name the folder of its programs with --bindir, or as programs of [backup.scratch] in pawang.toml")
        })
}

/// Returns `pg_amcheck`: that of the server, or the newest of this machine.
pub fn amcheck(server: &Path) -> Option<PathBuf> {
    let newest = (AMCHECK_SINCE..MAJOR_MAX).rev().flat_map(usual);
    std::iter::once(server.to_owned())
        .chain(newest)
        .map(|folder| folder.join(AMCHECK))
        .find(|path| path.is_file())
}

/// Returns the folder of a client program for servers of this major version: of the same, else of the next that there is.
pub fn client(major: u32, program: &str) -> Option<PathBuf> {
    (major..MAJOR_MAX)
        .flat_map(usual)
        .find(|folder| folder.join(program).is_file())
}

fn usual(major: u32) -> impl Iterator<Item = PathBuf> {
    FOLDERS
        .iter()
        .map(move |folder| PathBuf::from(folder.replace("{major}", &major.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_not_there_is_told_with_where_it_was_looked_for() {
        let missing = server(39, None).unwrap_err();
        assert!(
            missing
                .detail
                .unwrap()
                .contains("/usr/lib/postgresql/39/bin")
        );
        let folder = tempfile::tempdir().unwrap();
        assert!(server(15, Some(folder.path())).is_err());
        std::fs::File::create(folder.path().join(SERVER)).unwrap();
        assert_eq!(server(15, Some(folder.path())).unwrap(), folder.path());
    }
}
