//! `pawang wal get`: PostgreSQL's `restore_command`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pawang_backup::repository::Keys;
use pawang_backup::wal::{GetSettings, Got, get};
use pawang_backup::{Error, Repository};
use pawang_core::Report;

use super::place::{Place, wait};
use crate::cli::Global;
use crate::output::{self, Exit};

/// Segments that are fetched ahead without --prefetch.
const PREFETCH: usize = 4;
/// The folder of them, beside the target.
const SPOOL: &str = "pawang.spool";
/// How long trouble is tried to be outlived without --retry.
const RETRY: u64 = 10;
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Get a file of WAL back: restore_command = 'pawang wal get %f %p'
///
/// PostgreSQL takes every exit code from 1 to 125 for the end of the archive: it stops replaying, and takes new writes.
/// Therefore this ends with 1 only when the repositories prove that they have nothing further; with 200, which stops
/// the server instead, when a file is missing in the middle, damaged, of another server, or cannot be read. A file is given
/// only when it is whole: its checksum, its pages and every record in it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name of the file, %f of restore_command
    #[arg(value_name = "NAME")]
    name: String,
    /// Where to write it, %p of restore_command
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    place: Place,
    /// File with the secret key of an encrypted repository, instead of the one in pawang.toml
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    identity_file: Option<PathBuf>,
    /// How many of the following segments are fetched too; 0 for none
    #[arg(long, value_name = "COUNT", default_value_t = PREFETCH, hide_short_help = true)]
    prefetch: usize,
    /// Seconds that trouble is tried to be outlived before it stops the server; a standby tries for ever
    #[arg(long, value_name = "SECONDS", default_value_t = RETRY, hide_short_help = true)]
    retry: u64,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let server = args.place.server()?;
    let folder = args.file.parent().unwrap_or(Path::new(""));
    let settings = GetSettings {
        segment_bytes: server.segment_bytes,
        prefetch: args.prefetch,
        spool: folder.join(SPOOL),
    };
    let began = Instant::now();
    let patience = Duration::from_secs(args.retry);
    wait(async {
        let mut pause = PAUSE_FIRST;
        let mut told = false;
        loop {
            // A folder that is not mounted cannot even be opened.
            let (report, passes) = match open(args, global).await {
                Ok(repositories) => {
                    let (cluster, file) = (&server.cluster, &args.file);
                    match get(&repositories, cluster, &args.name, file, &settings).await {
                        Ok(got) => return Ok(answer(&got, &args.name, global)),
                        Err(error) => (error.report(), passes(&error)),
                    }
                }
                Err(report) => (report, true),
            };
            if !server.standby && (!passes || began.elapsed() >= patience) {
                return Err(report);
            }
            if !told {
                output::talk(&format!("{report}\nit is tried again"));
                told = true;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    })?
}

/// Opens the repositories, with the key that is named.
async fn open(args: &Args, global: &Global) -> Result<Vec<Repository>, Report> {
    let opened = args.place.open(global).await?;
    let Some(file) = args.identity_file.as_deref() else {
        return Ok(opened);
    };
    let keys = Keys::load(&[], Some(file))?;
    let with = |repository: Repository| repository.with_keys(keys.clone());
    Ok(opened.into_iter().map(with).collect())
}

/// Tells trouble that may pass by itself from an archive that is not as it should be.
fn passes(error: &Error) -> bool {
    matches!(error, Error::Storage { .. } | Error::File { .. })
}

fn answer(got: &Got, name: &str, global: &Global) -> Exit {
    match got {
        Got::Delivered => Exit::Good,
        Got::Tail { end } => {
            output::talk(&format!(
                "\"{name}\" is there up to {end}, where the archive ends"
            ));
            Exit::Good
        }
        Got::End => {
            if global.verbose > 0 {
                output::talk(&format!("the archive ends before \"{name}\""));
            }
            Exit::Answer
        }
    }
}
