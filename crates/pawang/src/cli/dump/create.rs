//! `pawang dump create`: databases and roles, as pg_dump and pg_dumpall write them, streamed into the repository.

use std::path::PathBuf;

use pawang_backup::dump::{self, Dump, DumpRequest};
use pawang_backup::{BackupId, ClusterId};
use pawang_core::{ByteSize, Kind, Report};
use pawang_postgres::Session;
use serde::Serialize;

use crate::cli::Global;
use crate::cli::restore::{estate, until_signal};
use crate::output::{self, Exit};
use crate::{environment, repositories, taking};

/// Dump databases and roles into the repository
///
/// pg_dump of the server's version or later reads each database in a snapshot of its own; nothing is kept on this machine. The
/// dump exists once all of it is stored. The role needs to read everything; roles come with their passwords when it is a
/// superuser.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only this database (repeatable)
    #[arg(long = "database", value_name = "NAME")]
    databases: Vec<String>,
    /// Leave roles and tablespaces out
    #[arg(long)]
    no_globals: bool,
    /// Repository of pawang.toml; the first of the instance when not said
    #[arg(long, value_name = "NAME", visible_alias = "repo")]
    repository: Option<String>,
    /// Folder of the client programs, when it is none of the usual
    #[arg(
        long,
        value_name = "DIR",
        visible_alias = "programs",
        hide_short_help = true
    )]
    bindir: Option<PathBuf>,
}

/// A dump that was taken.
#[derive(Serialize)]
struct Taken<'a> {
    repository: &'a str,
    #[serde(flatten)]
    dump: &'a Dump,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let estate = estate(global)?;
    let job = super::only(&estate, &global.instances)?;
    until_signal(async {
        let all = repositories::of_instance(&estate.config, &job).await?;
        let named = args.repository.as_deref();
        let mut chosen = all
            .into_iter()
            .filter(|it| named.is_none_or(|name| it.config.name == name));
        let instance = job.instance.name.clone();
        let opened = chosen.next().ok_or_else(|| {
            let name = named.unwrap_or_default();
            Report::new(
                Kind::Usage,
                format!("\"{instance}\" has no repository \"{name}\""),
            )
            .with_hint("pawang backup setup --repo /srv/backup")
        })?;
        let repository = opened.repository?;
        let session = Session::connect(&job.target, "dump").await;
        let session = session.map_err(|error| error.report())?;
        let request = DumpRequest {
            cluster: identity(&session)?,
            client: super::programs(session.server.version / 10_000, args.bindir.as_ref()).await?,
            target: job.target.clone(),
            instance,
            databases: args.databases.clone(),
            globals: !args.no_globals,
            dump: BackupId::new(environment::now(), taking::random()?),
            owner: taking::owner()?,
            tool: format!("pawang {}", env!("CARGO_PKG_VERSION")),
        };
        drop(session);
        let mut observe = |what: &str| {
            if !global.quiet {
                output::talk(&format!("{}: dumps {what}", request.instance));
            }
        };
        let taken = dump::create(&repository, &request, &mut observe, environment::now).await;
        let taken = taken.map_err(|error| error.report())?;
        tell(&opened.config.name, &taken, global)
    })
}

fn identity(session: &Session) -> Result<ClusterId, Report> {
    let server = &session.server;
    match server.epoch.system_identifier {
        0 => Err(Report::new(
            Kind::Target,
            format!("role \"{}\" may not see which cluster this is", server.user),
        )
        .with_hint("GRANT pg_monitor TO it, or use a role that may call pg_control_system()")),
        system_identifier => Ok(ClusterId {
            system_identifier,
            major: server.version / 10_000,
        }),
    }
}

fn tell(repository: &str, dump: &Dump, global: &Global) -> Result<Exit, Report> {
    if global.json {
        output::json("pawang.dump.create/1", &Taken { repository, dump })?;
        return Ok(Exit::Good);
    }
    let raw: u64 = dump.databases.iter().map(|it| it.raw_bytes).sum();
    let roles = match (&dump.globals, dump.passwords) {
        (None, _) => "without roles",
        (Some(_), true) => "roles with their passwords",
        (Some(_), false) => "roles without their passwords, which only a superuser may read",
    };
    output::data(&format!(
        "dump {} of {} is in \"{repository}\": {} databases, {} as dumped, {} stored, {roles}\n",
        dump.dump,
        dump.instance,
        dump.databases.len(),
        ByteSize(raw),
        ByteSize(dump.stored_bytes())
    ))?;
    Ok(Exit::Good)
}
