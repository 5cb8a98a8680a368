//! `pawang wal push`: PostgreSQL's `archive_command`.

use std::path::PathBuf;

use pawang_backup::wal::gap::{Gap, record_gap};
use pawang_backup::wal::push::LEVEL;
use pawang_backup::wal::{Handed, PushSettings, hand_over};
use pawang_backup::{ClusterId, Repository};
use pawang_core::Report;

use super::place::{Place, wait};
use crate::cli::Global;
use crate::environment;
use crate::output::{self, Exit};

/// Segments that are pushed ahead without --ahead.
const AHEAD: usize = 8;
/// What remembers them, beside the WAL.
const MEMORY: &str = "pawang.pushed";

/// Store a file of WAL: archive_command = 'pawang wal push %p'
///
/// It ends with 0 only when the file is durable in every repository. A file that is there already with the same content is
/// good; one with another content is kept beside it, in wal/conflict, and is an error: then two servers write under one
/// identity. While it works it also pushes what waits behind the file, so that a busy server does not wait for one at a time.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file, %p of archive_command
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    place: Place,
    /// How many segments that wait behind it are pushed too; 0 for none
    #[arg(long, value_name = "COUNT", default_value_t = AHEAD, hide_short_help = true)]
    ahead: usize,
    /// Level of zstd
    #[arg(long, value_name = "LEVEL", default_value_t = LEVEL, hide_short_help = true, value_parser = clap::value_parser!(i32).range(1..=19))]
    level: i32,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let server = args.place.server()?;
    let folder = args.file.parent();
    let settings = PushSettings {
        level: args.level,
        ahead: args.ahead,
        memory: folder.map(|folder| folder.join(MEMORY)).unwrap_or_default(),
    };
    wait(async {
        let repositories = args.place.open(global).await?;
        let cluster = &server.cluster;
        let handed = hand_over(&repositories, cluster, &args.file, &settings).await;
        let handed = handed.map_err(|error| error.report())?;
        if let Some(trouble) = &handed.trouble {
            output::talk(&format!(
                "warning: a segment behind it was not pushed ahead: {trouble}"
            ));
        }
        damage(&repositories, cluster, &handed, server.segment_bytes).await?;
        if global.verbose > 0 {
            output::talk(&told(&handed));
        }
        Ok(Exit::Good)
    })?
}

/// WAL that is wrong as the server wrote it is stored all the same: the server has no other, and would stop in the end. But
/// it is told, and recorded, so that no restore takes it for the end.
async fn damage(
    repositories: &[Repository],
    cluster: &ClusterId,
    handed: &Handed,
    segment_bytes: u32,
) -> Result<(), Report> {
    let Some((name, at, problem)) = handed.damage() else {
        return Ok(());
    };
    let gap = Gap {
        timeline: name.timeline,
        from: at,
        to: name.end(segment_bytes),
        found_at: environment::now(),
        cause: format!("segment {name} is damaged as the server handed it over: {problem}"),
    };
    output::talk(&format!("warning: {}, at {at}", gap.cause));
    for repository in repositories {
        let recorded = record_gap(repository, cluster, &gap).await;
        recorded.map_err(|error| error.report())?;
    }
    Ok(())
}

fn told(handed: &Handed) -> String {
    match &handed.pushed {
        Some(pushed) => format!(
            "{:?}: {} ({} bytes), and {} behind it",
            pushed.stored, pushed.object, pushed.bytes, handed.ahead
        ),
        None => "it was pushed ahead".to_owned(),
    }
}
