//! Where programs of a PostgreSQL server are on this machine, and of which version they are.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use pawang_core::{Kind, Report};
use tokio::process::Command;

/// Where Debian and PGDG put the programs of one major version.
const FOLDERS: [&str; 2] = ["/usr/lib/postgresql/{major}/bin", "/usr/pgsql-{major}/bin"];
/// The first version that has `pg_amcheck`; it asks servers of every version.
const AMCHECK_SINCE: u32 = 14;
const MAJOR_MAX: u32 = 40;
const SERVER: &str = "postgres";
const AMCHECK: &str = "pg_amcheck";

/// The programs of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    /// Their folder.
    pub folder: PathBuf,
    /// Why it is another one than the configuration names.
    pub instead: Option<String>,
}

/// Returns the folder of the server's programs: the one that is `said` for this work, or the `configured` one of the estate, in
/// whose place the usual ones are used where it is of another major version.
///
/// A server of another version refuses the data, which says nothing against a backup of them.
///
/// # Errors
/// A folder has no server that says its version, the one that is said is of another, or nothing else has one of this version.
pub async fn server(
    major: u32,
    said: Option<&Path>,
    configured: Option<&Path>,
) -> Result<Programs, Report> {
    let Some(folder) = said.or(configured) else {
        return usual_server(major).map(|folder| Programs {
            folder,
            instead: None,
        });
    };
    let its = server_version(folder).await?;
    if its == major {
        return Ok(Programs {
            folder: folder.to_owned(),
            instead: None,
        });
    }
    let shown = folder.display();
    let other = format!("the server in \"{shown}\" is of PostgreSQL {its}, and {major} is needed");
    let usual = match said {
        None => usual_server(major),
        Some(_) => Err(Report::new(Kind::Usage, other.as_str())),
    };
    let folder = usual.map_err(|report| Report {
        hint: Some(format!(
            "name the folder of the programs of PostgreSQL {major} with --bindir"
        )),
        primary: other.clone(),
        ..report
    })?;
    let instead = format!("{other}: that in \"{}\" is used", folder.display());
    Ok(Programs {
        folder,
        instead: Some(instead),
    })
}

/// Asks the server in a folder for its major version.
async fn server_version(folder: &Path) -> Result<u32, Report> {
    let program = folder.join(SERVER);
    if !program.is_file() {
        let what = format!("there is no server in \"{}\"", folder.display());
        return Err(Report::new(Kind::Usage, what));
    }
    let failed = |detail: String| {
        let what = format!("could not ask \"{}\" for its version", program.display());
        Report::new(Kind::Usage, what).with_detail(detail)
    };
    let said = version(&program).await;
    let said = said.map_err(|error| failed(error.to_string()))?;
    major_of(&said).ok_or_else(|| failed(format!("it says \"{said}\"")))
}

/// Returns what a program of PostgreSQL says of its version.
///
/// # Errors
/// It cannot be started.
pub(crate) async fn version(program: &Path) -> std::io::Result<String> {
    let asked = Command::new(program)
        .arg("--version")
        .env_clear()
        .stdin(Stdio::null())
        .output();
    let said = asked.await?.stdout;
    Ok(String::from_utf8_lossy(&said).trim().to_owned())
}

/// Reads the major version of `pg_dump (PostgreSQL) 15.14 (Debian ...)`.
pub(crate) fn major_of(version: &str) -> Option<u32> {
    let number = version.split(") ").nth(1)?;
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Returns where the packages put the server of a major version.
fn usual_server(major: u32) -> Result<PathBuf, Report> {
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

    #[tokio::test]
    async fn a_server_that_is_not_there_is_told_with_where_it_was_looked_for() {
        let missing = server(39, None, None).await.unwrap_err();
        assert!(
            missing
                .detail
                .unwrap()
                .contains("/usr/lib/postgresql/39/bin")
        );
        let folder = tempfile::tempdir().unwrap();
        let nothing = server(15, Some(folder.path()), None).await.unwrap_err();
        assert!(nothing.primary.contains("there is no server"), "{nothing}");
        std::fs::File::create(folder.path().join(SERVER)).unwrap();
        let silent = server(15, None, Some(folder.path())).await.unwrap_err();
        assert!(silent.primary.contains("could not ask"), "{silent}");
    }

    #[test]
    fn a_program_says_of_which_version_it_is() {
        let debian = "pg_dump (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)";
        assert_eq!(major_of(debian), Some(15));
        assert_eq!(major_of("pg_dump (PostgreSQL) 19beta1"), Some(19));
        assert_eq!(major_of("pg_dump"), None);
    }
}
