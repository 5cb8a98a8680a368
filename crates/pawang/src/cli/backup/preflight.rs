//! What a backup and a restore of an instance stand on, asked of server, repositories and this machine.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::SignedDuration;
use pawang_backup::drill::binaries::{self, Programs};
use pawang_backup::survey::{Memory, blind, survey};
use pawang_backup::take::missing_grants;
use pawang_backup::{ClusterId, Repository};
use pawang_config::BackupSettings;
use pawang_core::backup::{BackupSummary, Survey};
use pawang_core::{ByteSize, Facts, Level, Missing, Report};
use pawang_postgres::Session;
use pawang_postgres::replication::Replication;
use serde::Serialize;

use crate::environment;
use crate::estate::{Estate, Job};
use crate::output::counted;
use crate::recovering;
use crate::repositories::{self, Opened};
use crate::upkeep;

/// Clocks that differ by more make the order of things unreliable.
const SKEW_MAX: SignedDuration = SignedDuration::from_secs(60);
/// WAL that was stored longer ago is old where the server writes more.
const STORED_MAX: SignedDuration = SignedDuration::from_mins(5);
/// The bytes of a segment of WAL as `initdb` makes them.
const SEGMENT_BYTES: u64 = 16 << 20;
/// The first version that summarizes WAL for incremental backups.
const SUMMARIES_SINCE: u32 = 170_000;
/// What is asked of the server.
const COLLECTORS: [&str; 5] = ["settings", "slots", "replication", "archiver", "wal"];

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Told {
    /// How good it is.
    pub(super) level: Level,
    /// What it is about.
    pub(super) subject: String,
    /// What was found.
    pub(super) what: String,
    /// What to do about it.
    pub(super) hint: Option<String>,
}

/// Everything that is known while an instance is looked at.
struct Look<'a> {
    job: &'a Job,
    settings: BackupSettings,
    told: Vec<Told>,
    /// The server's cluster, once it was asked.
    cluster: Option<ClusterId>,
    version: u32,
    /// Whether backups are read over SQL, since nothing else is possible.
    lanes: bool,
    /// The bytes of a segment of WAL.
    segment_bytes: u64,
}

/// Looks at everything.
pub(super) async fn preflight(estate: &Estate, job: &Job) -> Vec<Told> {
    let mut look = Look {
        job,
        settings: estate.config.backup_settings(&job.config),
        told: Vec::new(),
        cluster: None,
        version: 0,
        lanes: false,
        segment_bytes: SEGMENT_BYTES,
    };
    look.replication().await;
    let facts = match estate.catalog() {
        Ok(catalog) => {
            let wanted: BTreeSet<String> = COLLECTORS.map(str::to_owned).into();
            Some(upkeep::look(&catalog, job, &wanted, environment::now()).await)
        }
        Err(report) => {
            look.refused("server", &report);
            None
        }
    };
    if let Some(facts) = &facts {
        look.server(facts);
    }
    if repositories::left_alone(estate, job) {
        let what = "repositories = [] leaves it alone: nothing is backed up";
        look.tell(Level::Info, "repositories", what, None);
        return look.told;
    }
    match repositories::of_instance(&estate.config, job).await {
        Ok(all) => {
            for opened in &all {
                look.repository(opened, facts.as_ref()).await;
                look.reach(estate, opened).await;
            }
        }
        Err(report) => look.refused("repositories", &report),
    }
    look.machine().await;
    look.told
}

impl Look<'_> {
    fn tell(&mut self, level: Level, subject: &str, what: impl Into<String>, hint: Option<&str>) {
        self.told.push(Told {
            level,
            subject: subject.to_owned(),
            what: what.into(),
            hint: hint.map(str::to_owned),
        });
    }

    fn refused(&mut self, subject: &str, report: &Report) {
        let detail = report.detail.as_ref().map(|detail| format!(": {detail}"));
        let what = format!("{}{}", report.primary, detail.unwrap_or_default());
        self.tell(Level::Critical, subject, what, report.hint.as_deref());
    }

    /// Connects as a backup does.
    async fn replication(&mut self) {
        let subject = "replication protocol";
        let mut replication = match Replication::connect(&self.job.target, "backup check").await {
            Ok(replication) => replication,
            Err(error) => return self.lanes(subject, &error.report()).await,
        };
        match replication.identify_system().await {
            Ok(system) => {
                self.version = u32::try_from(replication.server_version()).unwrap_or(0);
                let cluster = ClusterId {
                    system_identifier: system.system_identifier,
                    major: self.version / 10_000,
                };
                self.cluster = Some(cluster);
                let role = if replication.in_recovery() {
                    "standby"
                } else {
                    "primary"
                };
                let what = format!(
                    "{role} {cluster} lets a backup in, and writes at {}",
                    system.position
                );
                self.tell(Level::Ok, subject, what, None);
            }
            Err(error) => self.refused(subject, &error.report()),
        }
    }

    /// Says whether backups can be read over SQL, where they cannot by the replication protocol.
    async fn lanes(&mut self, subject: &str, refused: &Report) {
        let target = &self.job.target;
        let server = match missing_grants(target).await {
            Ok(None) => Session::connect(target, "backup check").await,
            Ok(Some(lacking)) => {
                self.refused(subject, refused);
                let what = lacking.detail.unwrap_or(lacking.primary);
                return self.tell(Level::Info, "SQL lanes", what, lacking.hint.as_deref());
            }
            Err(_) => return self.refused(subject, refused),
        };
        let Ok(session) = server else {
            return self.refused(subject, refused);
        };
        self.lanes = true;
        self.version = session.server.version;
        self.cluster = Some(ClusterId {
            system_identifier: session.server.epoch.system_identifier,
            major: self.version / 10_000,
        });
        let what = format!(
            "{}: backups are read over SQL, and nothing makes the server keep WAL meanwhile",
            refused.primary
        );
        self.tell(Level::Warning, subject, what, refused.hint.as_deref());
    }

    fn server(&mut self, facts: &Facts) {
        let settings = match facts.snapshot("settings", None) {
            Ok(settings) => settings,
            Err(missing) => {
                let why = match missing {
                    Missing::Blind(blind) => blind.sentence(),
                    Missing::NotApplicable(why) => why.clone(),
                };
                let what = format!("its settings were not seen: {why}");
                return self.tell(
                    Level::Unknown,
                    "server",
                    what,
                    Some("pawang check settings"),
                );
            }
        };
        let get = |name: &str| {
            let row = settings.rows().find(|row| row.text("name") == Some(name));
            row.and_then(|row| row.text("setting"))
                .unwrap_or("")
                .to_owned()
        };
        let rows = |name: &str| facts.snapshot(name, None).map_or(0, |seen| seen.rows.len());
        match get("wal_level").as_str() {
            "minimal" => self.tell(
                Level::Critical,
                "wal_level",
                "it is minimal: no backup can be taken while the server runs",
                Some("ALTER SYSTEM SET wal_level = 'replica'; then restart the server"),
            ),
            level => self.tell(Level::Ok, "wal_level", level, None),
        }
        self.senders(&get("max_wal_senders"), rows("replication"));
        let slots = get("max_replication_slots").parse().unwrap_or(0);
        if self.settings.stream {
            self.slot(facts, slots);
        } else if !self.lanes {
            self.free_slot(facts, slots);
        }
        self.segment_bytes = get("wal_segment_size").parse().unwrap_or(SEGMENT_BYTES);
        self.configuration(&get);
        self.archiving(&get("archive_mode"), &get("archive_command"), facts);
        self.pages(&get("data_checksums"), &get("summarize_wal"));
    }

    /// Says whether the server lets another backup in by the replication protocol, where that is how it is read.
    fn senders(&mut self, senders: &str, taken: usize) {
        let needed = match (self.lanes, self.settings.stream) {
            (true, false) => return,
            (true, true) => 1,
            (false, false) => 2,
            (false, true) => 3,
        };
        let senders: usize = senders.parse().unwrap_or(0);
        let free = senders.saturating_sub(taken);
        let level = if free >= needed {
            Level::Ok
        } else {
            Level::Critical
        };
        self.tell(
            level,
            "max_wal_senders",
            format!("{free} of {senders} are free, {needed} are needed"),
            Some("ALTER SYSTEM SET max_wal_senders = 10; then restart the server"),
        );
    }

    /// Says what the server's pages and summaries of WAL allow.
    fn pages(&mut self, checksums: &str, summarize: &str) {
        match checksums {
            "on" => self.tell(
                Level::Ok,
                "data_checksums",
                "pages are checked while they pass",
                None,
            ),
            _ => self.tell(
                Level::Warning,
                "data_checksums",
                "they are off: a damaged page goes into every backup unseen",
                Some("pg_checksums --enable, while the server is stopped"),
            ),
        }
        if self.version >= SUMMARIES_SINCE {
            let on = summarize == "on";
            let what = if on {
                "incremental backups are possible"
            } else {
                "it is off: every backup is a full one"
            };
            let level = if on { Level::Ok } else { Level::Info };
            let hint = "ALTER SYSTEM SET summarize_wal = on; SELECT pg_reload_conf();";
            self.tell(level, "summarize_wal", what, Some(hint));
        }
    }

    fn slot(&mut self, facts: &Facts, most: usize) {
        let name = self.settings.slot.clone();
        let subject = format!("slot \"{name}\"");
        let slots = match facts.snapshot("slots", None) {
            Ok(slots) => slots,
            Err(_) => return self.tell(Level::Unknown, &subject, "the slots were not seen", None),
        };
        let row = slots
            .rows()
            .find(|row| row.text("slot_name") == Some(&name));
        match row.map(|row| row.text("wal_status").unwrap_or("").to_owned()) {
            Some(status) if status == "lost" => self.tell(
                Level::Critical,
                &subject,
                "it is lost: WAL was removed before it was stored",
                Some("drop it, let pawang serve make it anew, and take a backup"),
            ),
            Some(_) => self.tell(
                Level::Ok,
                &subject,
                "it keeps WAL until that is stored",
                None,
            ),
            None if slots.rows.len() < most => {
                let what = "it does not exist yet; pawang serve creates it";
                self.tell(Level::Info, &subject, what, None);
            }
            None => self.tell(
                Level::Critical,
                &subject,
                format!("it does not exist, and all {most} slots are taken"),
                Some("ALTER SYSTEM SET max_replication_slots = 20; then restart the server"),
            ),
        }
    }

    /// Says whether a backup finds a slot that makes the server keep its WAL meanwhile.
    fn free_slot(&mut self, facts: &Facts, most: usize) {
        let subject = "max_replication_slots";
        let Ok(slots) = facts.snapshot("slots", None) else {
            return self.tell(Level::Unknown, subject, "the slots were not seen", None);
        };
        let free = most.saturating_sub(slots.rows.len());
        if free > 0 {
            let what = format!("{free} of {most} are free, 1 is needed while a backup is taken");
            return self.tell(Level::Ok, subject, what, None);
        }
        self.tell(
            Level::Warning,
            subject,
            format!("none of {most} is free: the server may remove WAL that a backup needs while it is taken"),
            Some("ALTER SYSTEM SET max_replication_slots = 10; then restart the server"),
        );
    }

    /// Says which files of the configuration no backup has, since they are not in the data directory.
    fn configuration(&mut self, get: &impl Fn(&str) -> String) {
        let subject = "configuration";
        let data = get("data_directory");
        if data.is_empty() {
            let what = "where its files are was not seen: no backup has them when they are outside of the data directory";
            let hint = "GRANT pg_read_all_settings TO the role, or SHOW config_file";
            return self.tell(Level::Unknown, subject, what, Some(hint));
        }
        let files = ["config_file", "hba_file", "ident_file"].map(get);
        let outside = files
            .iter()
            .filter(|file| !Path::new(file).starts_with(&data));
        let outside: Vec<&str> = outside.map(String::as_str).collect();
        if outside.is_empty() {
            let what = "its files are in the data directory, and in every backup";
            return self.tell(Level::Ok, subject, what, None);
        }
        let what = format!(
            "no backup has {}, outside of the data directory: keep copies; a restore writes files without which it does not start",
            outside.join(", ")
        );
        self.tell(Level::Info, subject, what, None);
    }

    /// Says whether somebody receives WAL through the slot now; `None` where that was not seen.
    fn receives(&self, facts: &Facts) -> Option<bool> {
        let slots = facts.snapshot("slots", None).ok()?;
        let mut rows = slots.rows();
        let row = rows.find(|row| row.text("slot_name") == Some(&self.settings.slot));
        Some(row.is_some_and(|row| row.flag("active") == Some(true)))
    }

    /// Says what brings WAL into the repositories, as far as the server shows that it does.
    fn archiving(&mut self, mode: &str, command: &str, facts: &Facts) {
        let ours = command.contains("pawang") && command.contains("wal push");
        let archiver = facts.snapshot("archiver", None).ok();
        let archiver = archiver.and_then(|seen| seen.first());
        let time = |name: &str| archiver.as_ref().and_then(|row| row.time(name));
        let (failed, archived) = (time("last_failed_time"), time("last_archived_time"));
        let on = matches!(mode, "on" | "always");
        let receives = self.settings.stream.then(|| self.receives(facts));
        let elsewhere = match on && !ours {
            true => "; archive_command stores it elsewhere",
            false => "",
        };
        let (level, what) = match receives {
            _ if on && ours && failed > archived => (
                Level::Critical,
                "archive_command fails: see the log of the server".to_owned(),
            ),
            _ if on && ours && archived.is_some() => {
                (Level::Ok, "archive_command stores WAL".to_owned())
            }
            Some(Some(true)) => (
                Level::Ok,
                format!("WAL is received as it is written{elsewhere}"),
            ),
            Some(None) => (
                Level::Unknown,
                "whether WAL is received was not seen".to_owned(),
            ),
            Some(Some(false)) => (
                Level::Warning,
                format!(
                    "nobody receives WAL through the slot \"{}\" now{elsewhere}",
                    self.settings.slot
                ),
            ),
            None if on && ours => (
                Level::Info,
                "archive_command is to store WAL, and was never needed yet".to_owned(),
            ),
            None => (
                Level::Warning,
                format!(
                    "nothing stores WAL: a restore is possible only to the ends of backups{elsewhere}"
                ),
            ),
        };
        let hint = match receives {
            Some(_) => "pawang serve, or pawang wal stream",
            None => {
                "stream = true in [backup], or archive_command = 'pawang wal push %p --repository ...'"
            }
        };
        self.tell(level, "WAL", what, Some(hint));
    }

    async fn repository(&mut self, opened: &Opened<'_>, facts: Option<&Facts>) {
        let subject = format!("repository \"{}\"", opened.config.name);
        let repository = match &opened.repository {
            Ok(repository) => repository,
            Err(report) => return self.refused(&subject, report),
        };
        let known = match self.known(repository).await {
            Ok(known) => known,
            Err(report) => return self.refused(&subject, &report),
        };
        let Some(cluster) = known else {
            let what = "it is reached, and holds no backup of this server";
            let hint = format!("pawang backup create -i {}", self.job.instance.name);
            return self.tell(Level::Critical, &subject, what, Some(&hint));
        };
        self.clock(&subject, repository, &cluster).await;
        let policy = repositories::policy(&self.settings.retention);
        let now = environment::now();
        let looked = async {
            let mut seen =
                survey(repository, &cluster, &policy, &mut Memory::default(), now).await?;
            seen.all_bytes = Some(repository.bytes().await?);
            Ok::<_, pawang_backup::Error>(seen)
        };
        match looked.await {
            Ok(survey) => self.survey(&subject, opened, &survey, facts),
            Err(error) => {
                let blind = blind(&error);
                self.tell(
                    Level::Unknown,
                    &subject,
                    blind.sentence(),
                    Some(&blind.remedy()),
                );
            }
        }
    }

    /// Returns the cluster whose backups are looked at; another one under the same name is told.
    async fn known(&mut self, repository: &Repository) -> Result<Option<ClusterId>, Report> {
        let name = &self.job.instance.name;
        let there = repositories::cluster(repository, name, None).await;
        let there = there.map_err(|error| error.report())?;
        if let (Some(there), Some(server)) = (there, self.cluster)
            && there != server
        {
            let what =
                format!("its backups under this name are of {there}, and the server is {server}");
            let hint = format!(
                "pawang backup create -i {name} --new-identity, after an upgrade or a new initdb"
            );
            self.tell(Level::Critical, "identity", what, Some(&hint));
        }
        Ok(self.cluster.or(there))
    }

    /// Writes, reads the time of, and deletes a small object.
    async fn clock(&mut self, subject: &str, repository: &Repository, cluster: &ClusterId) {
        let word = format!("check-{}", std::process::id());
        match repository.store_time(cluster, &word).await {
            Err(error) => self.refused(subject, &error.report()),
            Ok(theirs) => {
                let skew = environment::now().duration_since(theirs).abs();
                let level = if skew > SKEW_MAX {
                    Level::Warning
                } else {
                    Level::Ok
                };
                let what = format!(
                    "it can be written, and its clock differs by {} s",
                    skew.as_secs()
                );
                self.tell(
                    level,
                    subject,
                    what,
                    Some("let both machines follow the same time servers"),
                );
            }
        }
    }

    fn survey(
        &mut self,
        subject: &str,
        opened: &Opened<'_>,
        survey: &Survey,
        facts: Option<&Facts>,
    ) {
        let create = format!("pawang backup create -i {}", self.job.instance.name);
        let Some(newest) = survey.newest() else {
            let what = match survey.backups.len() {
                0 => "it holds no backup".to_owned(),
                count => format!(
                    "it holds {}, and none can be restored",
                    counted(count as u64, "backup")
                ),
            };
            return self.tell(Level::Critical, subject, what, Some(&create));
        };
        self.newest(subject, newest, survey);
        match survey.wal.gaps.iter().find(|gap| gap.needed && !gap.healed) {
            Some(gap) => {
                let what = format!(
                    "WAL is missing from {} to {}: nothing after that can be restored",
                    gap.from, gap.to
                );
                self.tell(Level::Critical, subject, what, Some(&create));
            }
            None => {
                let here = facts.and_then(repositories::position);
                let behind = here
                    .zip(survey.wal.durable)
                    .map(|(here, durable)| here.saturating_sub(durable.0));
                let stored = survey.wal.durable_at;
                let old =
                    stored.is_some_and(|at| environment::now().duration_since(at) > STORED_MAX);
                // What is written within one segment may wait for its end.
                let late = old && behind.is_some_and(|bytes| bytes > 2 * self.segment_bytes);
                let behind = behind.map_or_else(String::new, |bytes| {
                    format!(", {} behind the server", ByteSize(bytes))
                });
                let stored = stored.map_or_else(String::new, |at| format!(", stored {at:.0}"));
                let durable = survey.wal.durable.unwrap_or(newest.stop);
                let level = if late { Level::Warning } else { Level::Ok };
                let what = format!("WAL without holes up to {durable}{stored}{behind}");
                self.tell(level, subject, what, Some("pawang wal status"));
            }
        }
        for conflict in &survey.wal.conflicts {
            let what = format!("two contents of \"{conflict}\": two servers write there");
            self.tell(Level::Critical, subject, what, Some("pawang wal status"));
        }
        self.room(subject, opened, survey);
    }

    /// Says what the newest backup is worth: good is only what a restore proved within its promise.
    fn newest(&mut self, subject: &str, newest: &BackupSummary, survey: &Survey) {
        let every =
            SignedDuration::try_from(self.settings.drill_every).unwrap_or(SignedDuration::MAX);
        let proof = survey.last_proof();
        let recent =
            proof.filter(|(_, proof)| environment::now().duration_since(proof.at) <= every);
        let (level, proven) = match (recent, proof) {
            (Some((backup, _)), _) if backup.id == newest.id => (Level::Ok, String::new()),
            (Some((backup, proof)), _) => (
                Level::Info,
                format!("; {} was proven {:.0}", backup.id, proof.at),
            ),
            (None, Some((backup, proof))) => (
                Level::Warning,
                format!(
                    "; the last that was proven is {}, {:.0}",
                    backup.id, proof.at
                ),
            ),
            (None, None) => (Level::Warning, "; no restore has proven any".to_owned()),
        };
        let what = format!(
            "newest backup {} of {:.0}, {}{proven}",
            newest.id,
            newest.ended_at,
            newest.state.name()
        );
        let drill = format!("pawang drill run -i {}", self.job.instance.name);
        self.tell(level, subject, what, Some(&drill));
    }

    fn room(&mut self, subject: &str, opened: &Opened<'_>, survey: &Survey) {
        let all = survey.all_bytes.unwrap_or(survey.used_bytes);
        let limit = opened
            .config
            .space
            .map(|space| space.0.0.saturating_sub(all));
        let room = match (limit, survey.free_bytes) {
            (Some(limit), Some(free)) => Some(limit.min(free)),
            (limit, free) => limit.or(free),
        };
        let full = survey.backups.iter().filter(|it| it.kind == "full");
        let next = full.map(|backup| backup.stored_bytes).max().unwrap_or(0);
        match room {
            None => self.tell(
                Level::Info,
                subject,
                "a bucket does not tell how much room it has",
                None,
            ),
            Some(room) => {
                let level = if room < next {
                    Level::Critical
                } else {
                    Level::Ok
                };
                let (room, next) = (ByteSize(room), ByteSize(next));
                let what = format!("room for {room}; the largest full backup takes {next}");
                self.tell(level, subject, what, Some("pawang backup expire --dry-run"));
            }
        }
    }

    /// Whether a server that is restored here could read the repository.
    async fn reach(&mut self, estate: &Estate, opened: &Opened<'_>) {
        if opened.repository.is_err() {
            return;
        }
        if let Err(report) = recovering::check_drill(estate, opened, &self.settings).await {
            let subject = format!("drills from \"{}\"", opened.config.name);
            self.refused(&subject, &report);
        }
    }

    /// What drills need here.
    async fn machine(&mut self) {
        let major = self.version / 10_000;
        if major == 0 {
            return;
        }
        let configured = self.settings.scratch.programs.as_deref();
        match binaries::server(major, None, configured).await {
            Err(report) => {
                let what = format!("{}: backups cannot be proven here", report.primary);
                let hint = format!(
                    "install the server programs of PostgreSQL {major}; nothing is started by that"
                );
                self.tell(Level::Warning, "drills", what, Some(&hint));
            }
            Ok(programs) if binaries::amcheck(&programs.folder).is_none() => {
                let what = "pg_amcheck is missing: a restore cannot be looked through";
                self.tell(
                    Level::Warning,
                    "drills",
                    what,
                    Some("install the client programs of PostgreSQL 14 or later"),
                );
            }
            Ok(Programs {
                instead: Some(instead),
                ..
            }) => self.tell(Level::Info, "drills", instead, None),
            Ok(programs) => {
                let folder = programs.folder.display();
                let what = format!("a server of PostgreSQL {major} in {folder}");
                self.tell(Level::Ok, "drills", what, None);
            }
        }
    }
}
