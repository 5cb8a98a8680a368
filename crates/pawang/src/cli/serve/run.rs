//! `pawang serve` itself.

use std::net::SocketAddr;
use std::path::PathBuf;

use pawang_core::Report;

use crate::cli::Global;
use crate::daemon::{self, Options};
use crate::estate::told;
use crate::output::Exit;

/// Runs the daemon until it is told to end.
pub(super) fn run(
    listen: Option<SocketAddr>,
    data_directory: Option<PathBuf>,
    global: &Global,
) -> Result<Exit, Report> {
    let options = Options {
        config: global.config.clone(),
        instances: global.instances.clone(),
        listen,
        data_directory,
    };
    daemon::run(options).map_err(told)
}
