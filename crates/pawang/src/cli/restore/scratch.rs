//! The scratch server of a drill or of a restore of tables: what the command line says, else `[backup.scratch]`.

use std::path::PathBuf;
use std::time::Duration;

use pawang_config::{BackupSettings, ScratchConfig};

use crate::recovering::{LIMIT_MINUTES, Order};

/// Scratch server
#[derive(Debug, clap::Args)]
pub(crate) struct ScratchArgs {
    /// Folder in which the scratch server is made and removed; else that of [backup.scratch], else /var/tmp
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    scratch: Option<PathBuf>,
    /// Folder of the server's programs, when it is none of the usual
    #[arg(
        long,
        value_name = "DIR",
        visible_alias = "programs",
        hide_short_help = true
    )]
    bindir: Option<PathBuf>,
    /// Superuser of the restored cluster; else that of [backup.scratch], else postgres
    #[arg(long, value_name = "ROLE", hide_short_help = true)]
    role: Option<String>,
    /// Libraries that must be loaded to read the data, such as timescaledb; no others are
    #[arg(long, value_name = "LIBRARIES", hide_short_help = true)]
    preload: Option<String>,
    /// Most minutes that recovery may take
    #[arg(long, value_name = "MINUTES", default_value_t = LIMIT_MINUTES, hide_short_help = true)]
    limit: u64,
}

impl ScratchArgs {
    /// Returns how the server is run for an instance, if one is meant.
    pub(crate) fn order(&self, settings: Option<&BackupSettings>) -> Order {
        let configured = settings.map(|settings| settings.scratch.clone());
        let configured = configured.unwrap_or_default();
        let scratch = ScratchConfig {
            folder: self.scratch.clone().or(configured.folder),
            programs: configured.programs,
            role: self.role.clone().or(configured.role),
            preload: self.preload.clone().or(configured.preload),
        };
        let probes = settings.map_or(&[][..], |settings| &settings.probes);
        Order {
            bindir: self.bindir.clone(),
            limit: Duration::from_secs(self.limit.saturating_mul(60)),
            ..Order::of(&scratch, probes)
        }
    }
}
