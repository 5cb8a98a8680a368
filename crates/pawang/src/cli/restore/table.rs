//! `pawang restore --table`: tables of the past, in a new schema of their server, compared with what they hold now.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;
use pawang_backup::drill::{Scratch, ScratchSettings};
use pawang_backup::reach::Groups;
use pawang_backup::restore::{self, RestorePlan, Source};
use pawang_backup::table::{self, FORGETFUL, TableDiff};
use pawang_core::plan::{Cost, Left, Plan, Proposal, TableShape, Task};
use pawang_core::{ByteSize, Kind, Report, Role, Value};
use pawang_postgres::{Session, Target};
use serde::Serialize;

use super::{ScratchArgs, estate, until_signal};
use crate::cli::Global;
use crate::cli::confirm::Agreement;
use crate::cli::maintain;
use crate::environment;
use crate::estate::{Estate, Job};
use crate::output::{self, Exit};
use crate::recovering::{From, random_word};
use crate::sessions::world;

const PURPOSE: &str = "restore";
/// The first word is what kind of change it is: one at a time is done to a server.
const TITLE: &str = "restore tables";
const MERGE_TITLE: &str = "restore merge";
/// How long the scratch server may take to go away.
const GOODBYE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// Single tables
#[derive(Debug, clap::Args)]
#[group(id = "single-tables", multiple = true)]
pub(super) struct Args {
    /// Table to restore, with its schema, as in SQL; a partitioned one comes with its partitions (repeatable)
    #[arg(long = "table", id = "tables", value_name = "SCHEMA.TABLE", conflicts_with_all = ["into", "replace", "tablespaces"])]
    tables: Vec<String>,
    /// New schema that gets the tables; `restored_` with the time when not said
    #[arg(long, value_name = "SCHEMA", requires = "tables")]
    into_schema: Option<String>,
    /// Database of the tables, when it is not that of the instance
    #[arg(long, value_name = "NAME", requires = "tables")]
    database: Option<String>,
    /// Write a plan that puts rows back that are missing or different now, for `pawang maintain apply`
    #[arg(long, value_name = "FILE", requires = "tables")]
    merge: Option<PathBuf>,
    /// The plan also deletes rows that were not there then
    #[arg(long, requires = "merge")]
    merge_delete: bool,
    /// Why, for the journal
    #[arg(long, value_name = "TEXT", default_value = "", hide_short_help = true)]
    why: String,
    #[command(flatten)]
    agreement: Agreement,
    #[command(flatten)]
    scratch: ScratchArgs,
}

/// What is told.
#[derive(Serialize)]
struct Told<'a> {
    instance: &'a str,
    database: &'a str,
    schema: &'a str,
    target: String,
    plan: &'a Plan,
    outcome: &'a pawang_core::plan::Outcome,
    differences: &'a [TableDiff],
    not_compared: &'a [Left],
    milliseconds: Milliseconds,
}

/// How long each part took.
#[derive(Clone, Copy, Default, Serialize)]
struct Milliseconds {
    recover: u128,
    copy: u128,
    compare: u128,
}

/// A table of the past that waits to be copied.
struct Recovered {
    scratch: Scratch,
    plan: Plan,
    shapes: Vec<TableShape>,
}

/// What was looked at before anything is recovered.
struct Found {
    /// Each table, and whether it is there now.
    tables: Vec<(String, bool)>,
    /// Where the scratch server comes to be.
    scratch: PathBuf,
    room_bytes: u64,
}

/// What the tables are in now.
struct Compared {
    differences: Vec<TableDiff>,
    left: Vec<Left>,
    merge: Option<Plan>,
}

/// One restore of tables.
struct Work<'a> {
    args: &'a super::Args,
    global: &'a Global,
    estate: &'a Estate,
    job: &'a Job,
    /// The database of the tables.
    target: Target,
    schema: String,
    by: String,
}

impl Args {
    /// Says whether tables are wanted, not a cluster.
    pub(super) fn is_wanted(&self) -> bool {
        !self.tables.is_empty()
    }
}

/// Runs the command.
pub(super) fn run(args: &super::Args, global: &Global) -> Result<Exit, Report> {
    let estate = estate(global)?;
    let job = args.place.job(&estate, global)?.ok_or_else(|| {
        Report::new(Kind::Usage, "tables are restored into an instance")
            .with_hint("add -i INSTANCE")
    })?;
    let named = args.table.database.as_ref();
    let target = named.map_or_else(|| job.target.clone(), |name| job.target.with_database(name));
    let at = environment::now().strftime("restored_%Y%m%d_%H%M%S");
    let schema = args.table.into_schema.clone();
    let work = Work {
        args,
        global,
        estate: &estate,
        job: &job,
        target,
        schema: schema.unwrap_or_else(|| at.to_string()),
        by: format!("cli:{}", environment::person()),
    };
    work.run()
}

impl Work<'_> {
    fn run(&self) -> Result<Exit, Report> {
        let began = std::time::Instant::now();
        let mut recovered = None;
        let exit = until_signal(async {
            let from = self.args.place.open(self.estate, self.global).await?;
            let plan = self.plan(&from).await?;
            let (settings, limit) = self.scratch(&plan).await?;
            let found = self.looked_at(&settings, &plan, &from).await?;
            if self.args.preview {
                return self.preview(&plan, &found);
            }
            if !self.global.quiet {
                output::talk(plan.to_string().trim_end());
            }
            recovered = Some(self.recover(&from, &plan, (settings, limit)).await?);
            Ok(Exit::Good)
        })?;
        let Some(recovered) = recovered else {
            return Ok(exit);
        };
        let mut took = Milliseconds {
            recover: began.elapsed().as_millis(),
            ..Milliseconds::default()
        };
        let copying = std::time::Instant::now();
        let Recovered {
            scratch,
            plan,
            shapes,
        } = recovered;
        let why = self.args.table.why.as_str();
        let agreement = (&self.args.table.agreement, why);
        let done = maintain::agreed(&plan, self.job, agreement, self.estate, self.global);
        took.copy = copying.elapsed().as_millis();
        let comparing = std::time::Instant::now();
        let mut compared = None;
        until_signal(async {
            gone(scratch).await;
            if done.as_ref().is_ok_and(|(outcome, _)| outcome.good()) {
                compared = Some(self.compare(&shapes).await?);
            }
            Ok(Exit::Good)
        })?;
        took.compare = comparing.elapsed().as_millis();
        let (outcome, stopped) = done?;
        let compared = compared.unwrap_or_else(|| Compared {
            differences: Vec::new(),
            left: Vec::new(),
            merge: None,
        });
        self.tell(&plan, &outcome, &compared, took)?;
        Ok(match (stopped, outcome.good()) {
            (true, _) => Exit::Interrupted,
            (_, false) => Exit::Answer,
            _ => Exit::Good,
        })
    }

    async fn plan(&self, from: &From) -> Result<RestorePlan, Report> {
        let report = |error: pawang_backup::Error| error.report();
        let wanted = self.args.aim.wanted(&TimeZone::system())?;
        let source = Source::read(&from.repository, &from.cluster).await;
        let source = source.map_err(report)?;
        let wanted = self.args.aim.settled(wanted, &source);
        let plan = source.plan(&from.repository, &wanted).await;
        plan.map_err(report)
    }

    async fn session(&self) -> Result<Session, Report> {
        let session = Session::connect(&self.target, PURPOSE).await;
        session.map_err(|error| error.report())
    }

    /// Returns how the scratch server is run, and how long its recovery may take.
    async fn scratch(&self, plan: &RestorePlan) -> Result<(ScratchSettings, Duration), Report> {
        let configured = self.estate.config.backup_settings(&self.job.config);
        let order = self.args.table.scratch.order(Some(&configured));
        let settings = order.scratch_of(plan.cluster.major).await?;
        Ok((settings, order.limit))
    }

    /// Refuses before anything is restored what would be refused in the end, and says what was found.
    async fn looked_at(
        &self,
        settings: &ScratchSettings,
        plan: &RestorePlan,
        from: &From,
    ) -> Result<Found, Report> {
        let session = self.session().await?;
        self.is_free(&session).await?;
        from.check_reach(settings.owner, Groups::Own).await?;
        let mut options = settings.options(plan, &from.restore_command()?, &random_word()?);
        // The folder is made when the server is: what comes to be in it needs the room of the disk that it is on.
        options.into.clone_from(&settings.folder);
        let destination = restore::destination(plan, &options);
        let destination = destination.map_err(|error| {
            let roomy = "name a folder on a disk with more room with --scratch";
            error.report().with_hint(roomy)
        })?;
        let mut tables = Vec::new();
        for name in &self.args.table.tables {
            let there = table::is_there(&session, name).await;
            tables.push((name.clone(), there.map_err(|error| error.report())?));
        }
        Ok(Found {
            tables,
            scratch: settings
                .folder
                .parent()
                .map(Path::to_owned)
                .unwrap_or_default(),
            room_bytes: destination.room_bytes,
        })
    }

    fn preview(&self, plan: &RestorePlan, found: &Found) -> Result<Exit, Report> {
        let (schema, database) = (&self.schema, &self.target.database);
        if self.global.json {
            let names = |there: bool| {
                let named = found.tables.iter().filter(|(_, it)| *it == there);
                named.map(|(name, _)| name).collect::<Vec<_>>()
            };
            let data = serde_json::json!({
                "plan": plan,
                "stored_bytes": plan.stored_bytes(),
                "wal_bytes": plan.wal_bytes(),
                "database": database,
                "schema": schema,
                "there_now": names(true),
                "not_there_now": names(false),
                "scratch": found.scratch,
                "needed_bytes": plan.data_bytes,
                "room_bytes": found.room_bytes,
            });
            output::json("pawang.restore.table.preview/1", &data)?;
            return Ok(Exit::Good);
        }
        let mut text = plan.to_string();
        for (name, there) in &found.tables {
            let now = match there {
                true => "is there now",
                false => {
                    "is not there now: whether it was then is seen when the cluster is recovered"
                }
            };
            let _ = writeln!(text, "table      {name} {now}");
        }
        let _ = writeln!(
            text,
            "schema     {schema}, which is made in database {database}"
        );
        let _ = writeln!(
            text,
            "scratch    the whole cluster is recovered below {}, and thrown away: {} of {} that are free",
            found.scratch.display(),
            ByteSize(plan.data_bytes),
            ByteSize(found.room_bytes)
        );
        output::data(&text)?;
        Ok(Exit::Good)
    }

    async fn is_free(&self, session: &Session) -> Result<(), Report> {
        let name = &self.job.instance.name;
        if session.server.role == Role::Standby {
            return Err(Report::new(
                Kind::Refused,
                format!("\"{name}\" is a standby, which cannot be written to"),
            )
            .with_hint("add -i with the name of its primary"));
        }
        let schema = &self.schema;
        let sql = format!(
            "SELECT pg_catalog.count(*) FROM pg_catalog.pg_namespace AS n WHERE n.nspname = '{}'",
            schema.replace('\'', "''")
        );
        let found = session.read(&sql).await.map_err(|error| error.report())?;
        let count = found.rows.first().map(|row| &row[0]);
        if count != Some(&Value::Int(0)) {
            let what = format!("schema \"{schema}\" exists already");
            return Err(Report::new(Kind::Refused, what)
                .with_detail("tables are restored into a new schema, never over what is there")
                .with_hint(format!("--into-schema {schema}_2")));
        }
        let right = session.read(pawang_act::COPY_RIGHT).await;
        let right = right.map_err(|error| error.report())?;
        let Some([may, grant]) = right.rows.first().map(Vec::as_slice) else {
            return Ok(());
        };
        if may.as_text() == Some("true") {
            return Ok(());
        }
        let (role, database) = (&session.server.user, &session.server.database);
        let what = format!("role \"{role}\" may not make a schema in database \"{database}\"");
        Err(Report::new(Kind::Target, what).with_hint(grant.as_text().unwrap_or_default()))
    }

    /// Recovers the cluster, reads what the tables were like, and makes the plan.
    async fn recover(
        &self,
        from: &From,
        plan: &RestorePlan,
        (mut settings, limit): (ScratchSettings, Duration),
    ) -> Result<Recovered, Report> {
        let report = |error: pawang_backup::Error| error.report();
        let forgetful = FORGETFUL.map(|(name, value)| (name, value.to_owned()));
        settings.settings.extend(forgetful);
        let mut scratch = Scratch::new(settings).await.map_err(report)?;
        let (command, word) = (from.restore_command()?, random_word()?);
        let recovered = table::recover(
            &from.repository,
            plan,
            &command,
            &word,
            &mut scratch,
            limit,
            environment::now(),
        );
        let prepared = match recovered.await {
            Ok(_) => self.prepare(&scratch, plan).await,
            Err(error) => Err(error.report()),
        };
        match prepared {
            Ok((plan, shapes)) => Ok(Recovered {
                scratch,
                plan,
                shapes,
            }),
            Err(report) => {
                scratch.remove().await;
                Err(report)
            }
        }
    }

    async fn prepare(
        &self,
        scratch: &Scratch,
        plan: &RestorePlan,
    ) -> Result<(Plan, Vec<TableShape>), Report> {
        let report = |error: pawang_backup::Error| error.report();
        let live = self.session().await?;
        let database = &live.server.database;
        let target = scratch.target(database).map_err(report)?;
        let then = Session::connect(&target, PURPOSE).await;
        let then = then.map_err(|error| error.report())?;
        let tables = &self.args.table.tables;
        let shapes = table::shapes(&then, tables).await.map_err(report)?;
        let bytes: u64 = shapes.iter().map(|shape| shape.bytes).sum();
        let evidence = shapes.iter().map(|shape| {
            let size = ByteSize(shape.bytes).to_string();
            (format!("{}.{}", shape.schema, shape.name), size)
        });
        let proposal = Proposal {
            database: database.clone(),
            reason: format!(
                "{} tables, {}, as they were at {}, from backup {}",
                shapes.len(),
                ByteSize(bytes),
                plan.target,
                plan.backup()
            ),
            evidence: evidence.collect(),
            task: Task::CopyTables {
                schema: self.schema.clone(),
                tables: shapes.clone(),
                source: table::source(scratch, database),
            },
            cost: Cost {
                wal: Some(ByteSize(bytes)),
                disk: Some(ByteSize(bytes)),
                ..Cost::default()
            },
        };
        let plan = self.drafted(TITLE, &live, vec![proposal], Vec::new());
        Ok((plan.await?, shapes))
    }

    async fn drafted(
        &self,
        title: &str,
        session: &Session,
        proposals: Vec<Proposal>,
        left: Vec<Left>,
    ) -> Result<Plan, Report> {
        let world = world(self.job, session);
        let now = environment::now();
        let plan = pawang_act::draft(title, world, proposals, left, &self.by, now);
        let mut plan = plan.map_err(|error| error.report())?;
        let witnessed = pawang_act::witness(&mut plan, &self.target).await;
        witnessed.map_err(|error| error.report())?;
        Ok(plan)
    }

    /// Compares each table that was restored with what it is now; partitions come with their tables.
    async fn compare(&self, shapes: &[TableShape]) -> Result<Compared, Report> {
        let session = self.session().await?;
        let database = &session.server.database;
        let mut differences = Vec::new();
        let mut left = Vec::new();
        for shape in shapes.iter().filter(|shape| shape.partition_of.is_none()) {
            let compared = table::compare(&session, &self.schema, shape).await;
            match compared.map_err(|error| error.report())? {
                Ok(difference) => differences.push(difference),
                Err(why) => left.push(Left {
                    database: database.clone(),
                    object: format!("{}.{}", shape.schema, shape.name),
                    why,
                    blind: false,
                }),
            }
        }
        let merge = match &self.args.table.merge {
            None => None,
            Some(_) => {
                let proposals = differences.iter().filter_map(|it| self.merge(it, database));
                let proposals = proposals.collect();
                let plan = self.drafted(MERGE_TITLE, &session, proposals, left.clone());
                Some(plan.await?)
            }
        };
        Ok(Compared {
            differences,
            left,
            merge,
        })
    }

    fn merge(&self, difference: &TableDiff, database: &str) -> Option<Proposal> {
        let mut merge = difference.merge.clone();
        let delete = self.args.table.merge_delete;
        merge.insert = difference.only_restored > 0;
        merge.update = difference.different > 0;
        merge.delete = delete && difference.only_live > 0;
        let rows = |wanted: bool, count: u64| if wanted { count } else { 0 };
        (merge.insert || merge.update || merge.delete).then(|| Proposal {
            database: database.to_owned(),
            reason: format!(
                "{} rows are inserted, {} updated, {} deleted, as the comparison found; triggers of the table run",
                difference.only_restored,
                difference.different,
                rows(merge.delete, difference.only_live)
            ),
            evidence: difference
                .samples
                .iter()
                .map(|sample| (sample.kind.clone(), sample.key.clone()))
                .collect(),
            task: Task::MergeRows {
                table: difference.table.clone(),
                merge,
            },
            cost: Cost::default(),
        })
    }

    fn tell(
        &self,
        plan: &Plan,
        outcome: &pawang_core::plan::Outcome,
        compared: &Compared,
        took: Milliseconds,
    ) -> Result<(), Report> {
        if self.global.json {
            let told = Told {
                instance: &self.job.instance.name,
                database: &self.target.database,
                schema: &self.schema,
                target: plan
                    .actions
                    .first()
                    .map(|action| action.reason.clone())
                    .unwrap_or_default(),
                plan,
                outcome,
                differences: &compared.differences,
                not_compared: &compared.left,
                milliseconds: took,
            };
            output::json("pawang.restore.table/1", &told)?;
        } else {
            output::data(&self.text(compared, took))?;
        }
        match (&compared.merge, &self.args.table.merge) {
            (Some(merge), Some(_)) if merge.actions.is_empty() => {
                output::talk("nothing is to be merged");
                Ok(())
            }
            (Some(merge), Some(file)) => maintain::write(merge, file),
            _ => Ok(()),
        }
    }

    fn text(&self, compared: &Compared, took: Milliseconds) -> String {
        let mut text = String::new();
        for it in &compared.differences {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{} against {}.{}: {} rows the same, {} different, {} only then, {} only now",
                it.table,
                self.schema,
                it.table.name,
                it.same,
                it.different,
                it.only_restored,
                it.only_live
            );
            for sample in &it.samples {
                let _ = writeln!(text, "  {:<14} {}", sample.kind, sample.key);
            }
            if !it.left_out.is_empty() {
                let columns = it.left_out.join(", ");
                let _ = writeln!(text, "  not compared: columns {columns}");
            }
        }
        for left in &compared.left {
            let _ = writeln!(text, "{} was not compared: {}", left.object, left.why);
        }
        let seconds = |milliseconds: u128| milliseconds as f64 / 1000.0;
        let _ = writeln!(
            text,
            "recovered in {:.1} s, copied in {:.1} s, compared in {:.1} s",
            seconds(took.recover),
            seconds(took.copy),
            seconds(took.compare)
        );
        text
    }
}

/// Lets the scratch server go, and waits until nothing is left of it.
async fn gone(scratch: Scratch) {
    let folder = scratch.folder().to_owned();
    drop(scratch);
    let removed = async {
        while folder.exists() {
            tokio::time::sleep(POLL).await;
        }
    };
    let removed = tokio::time::timeout(GOODBYE, removed).await;
    if removed.is_err() {
        output::talk(&format!("\"{}\" is still there", folder.display()));
    }
}
