//! From configuration and command line to the servers of a run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pawang_check::{CHECKS, Check, Policy, Resolved, observe_user_rows, user_columns};
use pawang_collect::{BackupKind, BackupPlace, Catalog, Question};
use pawang_config::{
    BackupSource, Config, Defaults, InstanceConfig, KnownCheck, Period, Place, Quantity, UserCheck,
    matches,
};
use pawang_core::{Instance, Kind, Limits, Report, Secret, Unit, Value};
use pawang_postgres::Target;

use crate::environment;
use crate::output;

/// `statement_timeout` of the user's own statements.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(30);

/// The configuration of a run and where it came from.
#[derive(Default)]
pub(crate) struct Estate {
    /// The configuration; the default one when there is no file.
    pub config: Config,
    /// The file, if there is one.
    pub file: Option<PathBuf>,
}

/// One server of a run and everything that is asked there.
pub(crate) struct Job {
    /// Which instance it is.
    pub instance: Instance,
    /// How to connect.
    pub target: Target,
    /// Its entry in the configuration; the default one for a bare URL.
    pub config: InstanceConfig,
    /// PgBouncer's console.
    pub pgbouncer: Option<Target>,
}

impl Estate {
    /// Reads the configuration: the file of `--config`, else the first that exists, else none.
    ///
    /// # Errors
    /// The file cannot be read or has mistakes; all of them are told.
    pub(crate) fn load(file: Option<&Path>) -> Result<Estate, Vec<Report>> {
        let found = environment::config_candidates()
            .into_iter()
            .find(|path| path.exists());
        let Some(file) = file.map(Path::to_owned).or(found) else {
            return Ok(Estate::default());
        };
        let config = pawang_config::load(&file).map_err(|errors| errors.reports())?;
        let wrong = config.verify(&known_checks());
        if !wrong.is_empty() {
            return Err(wrong);
        }
        Ok(Estate {
            config,
            file: Some(file),
        })
    }

    /// Returns what a file with mistakes still says about folders: enough to find the daemon that runs with an earlier
    /// version of it.
    pub(crate) fn guess(file: Option<&Path>) -> Estate {
        let candidates = environment::config_candidates().into_iter();
        let found = candidates.into_iter().find(|path| path.exists());
        let file = file.map(Path::to_owned).or(found);
        let text = file
            .as_ref()
            .and_then(|file| std::fs::read_to_string(file).ok());
        let table = text.and_then(|text| text.parse::<toml::Table>().ok());
        let table = table.unwrap_or_default();
        let folder = file
            .as_deref()
            .and_then(Path::parent)
            .unwrap_or(Path::new(""));
        let path = |value: Option<&toml::Value>| Some(folder.join(value?.as_str()?));
        let mut config = Config {
            state_directory: path(table.get("state_directory")),
            ..Config::default()
        };
        let serve = table.get("serve");
        config.serve.data_directory = path(serve.and_then(|serve| serve.get("data_directory")));
        Estate { config, file }
    }

    /// Returns the servers named by `-i` (with `*`), or by a URL, or all of the file, or the one of the environment.
    ///
    /// # Errors
    /// No instance has that name, or a URL or the environment cannot be read.
    pub(crate) fn jobs(&self, instances: &[String], url: Option<&str>) -> Result<Vec<Job>, Report> {
        if let Some(url) = url {
            return Ok(vec![self.bare(url)?]);
        }
        self.named(instances)?;
        if self.config.instances.is_empty() {
            return Ok(vec![self.bare("")?]);
        }
        let wanted = |config: &&InstanceConfig| {
            instances.is_empty() || instances.iter().any(|name| matches(name, &config.name))
        };
        self.config
            .instances
            .iter()
            .filter(wanted)
            .map(|config| job(config, &self.config.defaults))
            .collect()
    }

    /// Returns the only instance that `what` may be of; `None` when there is none at all.
    ///
    /// # Errors
    /// There are several, or none of that name.
    pub(crate) fn only(&self, instances: &[String], what: &str) -> Result<Option<Job>, Report> {
        let mut jobs = self.jobs(instances, None)?;
        if jobs.len() < 2 {
            return Ok(jobs.pop());
        }
        let names: Vec<&str> = jobs.iter().map(|job| job.instance.name.as_str()).collect();
        let report = Report::new(Kind::Usage, format!("{what} is of one instance"));
        Err(report.with_hint(format!("add -i with one of {}", names.join(", "))))
    }

    /// Refuses names, with `*`, that mean no instance of the file.
    ///
    /// # Errors
    /// There is none of such a name.
    pub(crate) fn named(&self, instances: &[String]) -> Result<(), Report> {
        let known = &self.config.instances;
        let mut wanted = instances.iter();
        let Some(name) = wanted.find(|name| !known.iter().any(|i| matches(name, &i.name))) else {
            return Ok(());
        };
        let names: Vec<&str> = known.iter().map(|i| i.name.as_str()).collect();
        let report = Report::new(Kind::Usage, format!("there is no instance \"{name}\""));
        let nearest = pawang_config::nearest(name, names.iter().copied());
        Err(match (nearest, &self.file) {
            (Some(nearest), _) => report.with_hint(format!("pawang check -i {nearest}")),
            (None, Some(file)) => report
                .with_detail(format!("{} names {}", file.display(), names.join(", ")))
                .with_hint("pawang estate list"),
            (None, None) => report
                .with_detail("there is no pawang.toml")
                .with_hint("pawang init"),
        })
    }

    /// Returns the catalogue of collectors, with the user's directory.
    ///
    /// # Errors
    /// A collector of the user's directory cannot be read.
    pub(crate) fn catalog(&self) -> Result<Catalog, Report> {
        let mut catalog = Catalog::built_in();
        if let Some(directory) = &self.config.collectors.directory {
            catalog
                .add_directory(directory)
                .map_err(|error| Report::from_error(Kind::Usage, &error))?;
        }
        Ok(catalog)
    }

    /// Returns who is told of what, made ready; schedules without a time zone are in that of the machine.
    ///
    /// # Errors
    /// Every mistake of `[alert]`, with its line.
    pub(crate) fn alerts(&self) -> Result<pawang_alert::setup::Setup, Vec<Report>> {
        let zone = jiff::tz::TimeZone::system();
        pawang_alert::setup::Setup::compile_in(&self.config, &zone)
            .map_err(|mistakes| self.config.errors(mistakes).reports())
    }

    /// Returns where the last samples are kept.
    pub(crate) fn state_directory(&self) -> Option<PathBuf> {
        self.config
            .state_directory
            .clone()
            .or_else(environment::state_directory)
    }

    /// Returns the folder of history and state of `pawang serve`.
    pub(crate) fn data_directory(&self) -> Option<PathBuf> {
        let configured = self.config.serve.data_directory.clone();
        configured.or_else(|| Some(self.state_directory()?.join("data")))
    }

    /// Returns the user's checks as checks.
    pub(crate) fn user_checks(&self) -> Vec<Check<'_>> {
        self.config.user_checks.iter().map(user_check).collect()
    }

    fn bare(&self, url: &str) -> Result<Job, Report> {
        let environment = environment::libpq();
        let mut target = Target::parse(url, &environment).map_err(|error| error.report())?;
        // Without a file there is nothing to put above PGCONNECT_TIMEOUT.
        if self.file.is_some() {
            bound(&mut target, url, &self.config.defaults);
        }
        let config = InstanceConfig {
            name: target.name(),
            ..InstanceConfig::default()
        };
        Ok(Job {
            instance: config.instance(),
            target,
            config,
            pgbouncer: None,
        })
    }
}

fn job(config: &InstanceConfig, defaults: &Defaults) -> Result<Job, Report> {
    let named = |mut report: Report| {
        report.primary = format!("instance \"{}\": {}", config.name, report.primary);
        report
    };
    let environment = environment::libpq();
    let parse = |url: &Secret<String>| {
        Target::parse(url.reveal(), &environment).map_err(|error| named(error.report()))
    };
    let mut target = parse(&config.url)?;
    if let Some(path) = &config.password_file {
        target.password = Some(password(path).map_err(named)?);
    }
    bound(&mut target, config.url.reveal(), defaults);
    let pgbouncer = config.pgbouncer.as_ref().map(|url| {
        let mut target = parse(url)?;
        bound(&mut target, url.reveal(), defaults);
        Ok(target)
    });
    let pgbouncer = pgbouncer.transpose()?;
    Ok(Job {
        instance: config.instance(),
        target,
        config: config.clone(),
        pgbouncer,
    })
}

/// Applies the defaults of the configuration; what the URL says itself holds above them.
fn bound(target: &mut Target, url: &str, defaults: &Defaults) {
    if !url.contains("connect_timeout") {
        target.connect_timeout = defaults.connect_timeout.0;
    }
    target.statement_timeout = defaults.statement_timeout.0;
    target.lock_timeout = defaults.lock_timeout.0;
}

fn password(path: &Path) -> Result<Secret<String>, Report> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Report::new(
            Kind::Usage,
            format!("could not read password file \"{}\"", path.display()),
        )
        .with_detail(error.to_string())
    })?;
    Ok(Secret::new(
        text.lines().next().unwrap_or_default().to_owned(),
    ))
}

impl Job {
    /// Returns the places of backups on this machine.
    pub(crate) fn backups(&self) -> Vec<BackupPlace> {
        let place = |(index, source): (usize, &BackupSource)| {
            let kind = match source {
                BackupSource::Directory {
                    path,
                    pattern,
                    minimum_size,
                } => BackupKind::Directory {
                    path: path.clone(),
                    pattern: pattern.clone(),
                    minimum_bytes: minimum_size.map_or(0, |size| size.0.0),
                },
                BackupSource::Pgbackrest { path, stanza } => BackupKind::Pgbackrest {
                    path: path.clone(),
                    stanza: stanza.clone(),
                },
                BackupSource::Sql { .. } => return None,
            };
            let name = match &kind {
                BackupKind::Directory { path, pattern, .. } => {
                    let pattern = pattern.as_deref().unwrap_or("*");
                    format!("backup:{}", path.join(pattern).display())
                }
                BackupKind::Pgbackrest { stanza, .. } => {
                    format!("backup:pgbackrest-{}-{stanza}", index + 1)
                }
            };
            Some(BackupPlace { name, kind })
        };
        self.config
            .backup
            .iter()
            .enumerate()
            .filter_map(place)
            .collect()
    }

    /// Returns every statement of the user's that is asked on this instance.
    pub(crate) fn questions(&self, user_checks: &[UserCheck]) -> Vec<Question> {
        let question =
            |name: String, database: &Option<String>, sql: &str, columns, constants| Question {
                name,
                database: database.clone(),
                sql: sql.to_owned(),
                columns,
                constants,
                timeout: QUESTION_TIMEOUT,
            };
        let mut questions = Vec::new();
        for (index, source) in self.config.backup.iter().enumerate() {
            if let BackupSource::Sql { database, query } = source {
                let name = format!("backup:sql-{}", index + 1);
                questions.push(question(
                    name,
                    database,
                    query,
                    pawang_check::backup_columns(),
                    Vec::new(),
                ));
            }
        }
        let seconds = |period: Option<Period>| {
            vec![period.map_or(Value::Null, |p| Value::Float(p.0.as_secs_f64()))]
        };
        for load in &self.config.loads {
            let (name, columns) = (format!("load:{}", load.name), pawang_check::load_columns());
            questions.push(question(
                name,
                &load.database,
                &load.query,
                columns,
                seconds(load.maximum_age),
            ));
        }
        for source in &self.config.freshness {
            let (name, columns) = (
                format!("freshness:{}", source.name),
                pawang_check::freshness_columns(),
            );
            questions.push(question(
                name,
                &source.database,
                &source.query,
                columns,
                seconds(Some(source.maximum_age)),
            ));
        }
        for check in user_checks
            .iter()
            .filter(|check| check.covers(&self.instance.name))
        {
            let name = format!("user:{}", check.id);
            questions.push(question(
                name,
                &check.database,
                &check.sql,
                user_columns(),
                Vec::new(),
            ));
        }
        questions
    }
}

/// The limits of the configuration, and above them those of the command line.
pub(crate) struct Limited<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The instance being judged.
    pub instance: &'a Instance,
    /// What `config` must know of each check, computed once.
    pub known: &'a [KnownCheck],
    /// `-w` and `-c`.
    pub limits: CommandLimits,
}

/// `-w` and `-c` of the command line.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CommandLimits {
    /// `-w`.
    pub warning: Option<Quantity>,
    /// `-c`.
    pub critical: Option<Quantity>,
}

impl CommandLimits {
    /// Returns both in a check's unit; a limit that was refused before is none.
    pub(crate) fn of(&self, unit: Unit) -> Limits {
        let own = |quantity: Option<Quantity>| {
            quantity.and_then(|quantity| quantity.in_unit(unit).ok().flatten())
        };
        Limits {
            warning: own(self.warning),
            critical: own(self.critical),
            ..Limits::default()
        }
    }
}

impl Policy for Limited<'_> {
    fn resolve(&self, check: &Check<'_>, database: Option<&str>, object: Option<&str>) -> Resolved {
        let place = Place {
            group: self.instance.group.as_deref(),
            instance: Some(&self.instance.name),
            database,
            object,
        };
        let defaults: Limits = check.defaults();
        let known = self.known.iter().find(|known| known.id == check.id);
        let mut resolved = match known {
            Some(known) => {
                let found = self.config.limits(known, &defaults, place);
                Resolved {
                    enabled: found.enabled,
                    limits: found.limits,
                }
            }
            None => Resolved {
                enabled: true,
                limits: defaults,
            },
        };
        let own = self.limits.of(check.unit);
        resolved.limits.warning = own.warning.or(resolved.limits.warning);
        resolved.limits.critical = own.critical.or(resolved.limits.critical);
        resolved
    }
}

/// Returns the built-in check whose id looks most like a word.
pub(crate) fn nearest_check(word: &str) -> Option<&'static str> {
    pawang_config::nearest(word, CHECKS.iter().map(|check| check.id))
}

/// Returns what the configuration must know of the built-in checks.
pub(crate) fn known_checks() -> Vec<KnownCheck> {
    CHECKS.iter().map(|check| known(check)).collect()
}

/// Returns what the configuration must know of one check.
pub(crate) fn known(check: &Check<'_>) -> KnownCheck {
    KnownCheck {
        id: check.id.to_owned(),
        unit: check.unit,
        direction: match check.direction {
            pawang_check::Direction::Above => pawang_config::Direction::Above,
            pawang_check::Direction::Below => pawang_config::Direction::Below,
        },
        floors: check
            .floors
            .iter()
            .map(|floor| (floor.name.to_owned(), floor.unit))
            .collect(),
    }
}

fn user_check(check: &UserCheck) -> Check<'_> {
    let limits = check.limits();
    Check {
        id: &check.id,
        group: pawang_check::Group::Warehouse,
        title: &check.title,
        scope: pawang_check::Scope::Server,
        needs: &[],
        unit: check.unit,
        direction: match check.direction {
            pawang_config::Direction::Above => pawang_check::Direction::Above,
            pawang_config::Direction::Below => pawang_check::Direction::Below,
        },
        warning: limits.warning,
        critical: limits.critical,
        floors: &[],
        what: &check.sql,
        why: "A check of your own, from pawang.toml.",
        fix: check
            .hint
            .as_deref()
            .unwrap_or("Add a hint to this check in pawang.toml."),
        observe: observe_user_rows,
    }
}

/// Prints several reports, each on its own, and returns the last as the error of the command.
pub(crate) fn told(mut reports: Vec<Report>) -> Report {
    let last = reports
        .pop()
        .unwrap_or_else(|| Report::new(Kind::Usage, "the configuration has mistakes"));
    reports
        .iter()
        .for_each(|report| output::talk(&format!("{report}\n")));
    last
}
