//! The configuration in force, made ready once and shared by everything that runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pawang_check::{CHECKS, Check};
use pawang_collect::Catalog;
use pawang_config::{KnownCheck, RetentionConfig, ServeConfig};
use pawang_core::{Kind, Report, Timestamp};
use pawang_store::history::Retention;

use crate::estate::{Estate, Job, known, known_checks};

/// The configuration in force; never changed, only replaced whole.
pub(crate) struct Setup {
    /// The configuration and the file it came from.
    pub estate: Estate,
    /// When it was read.
    pub read_at: Timestamp,
    /// All collectors, the user's own among them.
    pub catalog: Catalog,
    /// What the configuration must know of each check.
    pub known: Vec<KnownCheck>,
    /// Every server that is looked after, by name.
    pub jobs: BTreeMap<String, Job>,
    /// Who is told of what, made ready.
    pub alerts: Arc<pawang_alert::setup::Setup>,
}

impl Setup {
    /// Reads the configuration whole; nothing of a wrong one is used.
    ///
    /// # Errors
    /// Every mistake of the file, or the first address, password file or collector that cannot be read.
    pub(crate) fn read(
        file: Option<&Path>,
        instances: &[String],
        now: Timestamp,
    ) -> Result<Setup, Vec<Report>> {
        let estate = Estate::load(file)?;
        let one = |report: Report| vec![report];
        let catalog = estate.catalog().map_err(one)?;
        let alerts = estate.alerts()?;
        let jobs = estate.jobs(instances, None).map_err(one)?;
        let mut known_all = known_checks();
        known_all.extend(estate.user_checks().iter().map(known));
        let jobs = jobs
            .into_iter()
            .map(|job| (job.instance.name.clone(), job))
            .collect();
        Ok(Setup {
            estate,
            read_at: now,
            catalog,
            known: known_all,
            jobs,
            alerts: Arc::new(alerts),
        })
    }

    /// Returns every check there is, the user's own among them.
    pub(crate) fn checks<'a>(&self, own: &'a [Check<'a>]) -> Vec<&'a Check<'a>> {
        let mut checks: Vec<&'a Check<'a>> = CHECKS.to_vec();
        checks.extend(own);
        checks
    }

    /// Says whether an instance is observed by the same means in both: then its task goes on untouched.
    pub(crate) fn same_instance(&self, other: &Setup, name: &str) -> bool {
        let (Some(one), Some(two)) = (self.jobs.get(name), other.jobs.get(name)) else {
            return false;
        };
        let password = |job: &Job| job.target.password.as_ref().map(|p| p.reveal().clone());
        one.config == two.config
            && self.estate.config.defaults == other.estate.config.defaults
            && password(one) == password(two)
    }
}

/// Returns how long history is kept.
pub(crate) fn retention(config: &RetentionConfig) -> Retention {
    Retention {
        raw: config.raw.0,
        minute: config.minute.0,
        ten_minutes: config.ten_minutes.0,
        bytes: config.size.0.0,
    }
}

/// Returns a note for each key that another start puts in force.
pub(crate) fn needs_restart(started: &ServeConfig, new: &ServeConfig) -> Vec<String> {
    let changes = [
        ("listen", started.listen != new.listen),
        (
            "data_directory",
            started.data_directory != new.data_directory,
        ),
        ("sign_in", started.sign_in != new.sign_in),
        ("tls", started.tls != new.tls),
        (
            "behind_tls_proxy",
            started.behind_tls_proxy != new.behind_tls_proxy,
        ),
        ("hosts", started.hosts != new.hosts),
        ("query_text", started.query_text != new.query_text),
        ("metrics", started.metrics != new.metrics),
    ];
    let changed = changes.iter().filter(|(_, changed)| *changed);
    changed
        .map(|(name, _)| format!("serve.{name} was changed: pawang serve must be started again"))
        .collect()
}

/// Returns the folder of history and state.
///
/// # Errors
/// Neither the configuration nor the environment names one.
pub(crate) fn data_directory(estate: &Estate, wanted: Option<&Path>) -> Result<PathBuf, Report> {
    let found = wanted
        .map(Path::to_owned)
        .or_else(|| estate.data_directory());
    found.ok_or_else(|| {
        Report::new(Kind::Usage, "there is no folder for history and state")
            .with_detail(
                "neither serve.data_directory, state_directory nor a home directory is set",
            )
            .with_hint("pawang serve --data-directory DIR")
    })
}
