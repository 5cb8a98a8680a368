//! The connection service file: `[name]` sections of connection parameters.

use std::path::{Path, PathBuf};

use crate::parameters::{self, Parameters};
use crate::{Environment, Error};

const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Reads the section of one service from the named file, else `~/.pg_service.conf`, else `$PGSYSCONFDIR/pg_service.conf`.
pub(crate) fn read(
    service: &str,
    file: Option<&Path>,
    env: &Environment,
) -> Result<Parameters, Error> {
    let of_user = env.home.as_ref().map(|home| home.join(".pg_service.conf"));
    let of_system = env
        .variables
        .get("PGSYSCONFDIR")
        .map_or_else(|| PathBuf::from("/etc/postgresql-common"), PathBuf::from)
        .join("pg_service.conf");
    // A file that was named must exist; the other two may be missing.
    let first = file.map(Path::to_path_buf).or(of_user);
    let mut looked_at = Vec::new();
    for (path, must_exist) in first
        .into_iter()
        .map(|path| (path, file.is_some()))
        .chain([(of_system, false)])
    {
        if !must_exist && !path.exists() {
            looked_at.push(format!("\"{}\" (missing)", path.display()));
            continue;
        }
        if let Some(parameters) = parse(&crate::file::read_text(&path, FILE_BYTES_MAX)?, service)
            .map_err(|problem| Error::Service {
                service: service.to_owned(),
                problem: format!("file \"{}\", {problem}", path.display()),
            })?
        {
            return Ok(parameters);
        }
        looked_at.push(format!("\"{}\"", path.display()));
    }
    Err(Error::Service {
        service: service.to_owned(),
        problem: format!("no section [{service}] in {}", looked_at.join(", ")),
    })
}

/// Returns the parameters of one section, or `None` if the text has no such section.
fn parse(text: &str, service: &str) -> Result<Option<Parameters>, String> {
    let mut found: Option<Parameters> = None;
    let mut inside = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            // The first section of that name counts, as in libpq.
            inside = name == service && found.is_none();
            if inside {
                found = Some(Parameters::new());
            }
            continue;
        }
        let (true, Some(parameters)) = (inside, found.as_mut()) else {
            continue;
        };
        let number = index + 1;
        let (name, value) = line
            .split_once('=')
            .ok_or_else(|| format!("line {number}: \"key=value\" expected"))?;
        let name = name.trim();
        if name == "service" || name == "servicefile" {
            return Err(format!(
                "line {number}: a service cannot name another service"
            ));
        }
        parameters::insert(parameters, name, value.trim().to_owned())
            .map_err(|error| format!("line {number}: {error}"))?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::parse;

    const FILE: &str = "# estate\n[a]\nhost=one\nport = 5433\n\n[b]\nhost=two\n[a]\nhost=three\n[c]\nnonsense\n[d]\nservice=a\n[e]\ncolour=red\n";

    #[test]
    fn reads_the_first_section_of_the_name() {
        let parameters = parse(FILE, "a").unwrap().unwrap();
        assert_eq!(parameters["host"], "one");
        assert_eq!(parameters["port"], "5433");
        assert_eq!(parse(FILE, "b").unwrap().unwrap()["host"], "two");
        assert_eq!(parse(FILE, "z").unwrap(), None);
    }

    #[test]
    fn says_which_line_is_wrong() {
        for (service, expected) in [
            ("c", "line 11: \"key=value\" expected"),
            ("d", "line 13: a service cannot name another service"),
            ("e", "line 15: cannot use connection parameter \"colour\""),
        ] {
            let problem = parse(FILE, service).unwrap_err();
            assert!(problem.starts_with(expected), "{problem}");
        }
    }
}
