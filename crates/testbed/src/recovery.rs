//! Servers that recover from an archive: they take new writes in the end, or they do not start.

use crate::cluster::Cluster;
use crate::owner;

/// A server that recovered, or tried to.
pub struct Recovery {
    /// The server.
    pub cluster: Cluster,
    /// The end of its log, when it ended instead of taking new writes.
    pub ended: Option<String>,
}

impl Cluster {
    /// Returns a copy of this running server as a backup is one: it is not started, and has no WAL.
    pub async fn backup(&self) -> Cluster {
        let (copied, _session) = self.copied_online().await;
        copied
    }

    /// Starts a copy of this cluster, which must not run, to recover by `restore_command` as far as it says; settings are
    /// added to its own. This cluster stays as it is.
    ///
    /// # Panics
    ///
    /// When this cluster runs, or the copy does neither end nor take new writes.
    pub async fn recover(&self, restore_command: &str, settings: &[(&str, &str)]) -> Recovery {
        assert!(!self.guard.alive(), "only a stopped cluster can be copied");
        let mut cluster = Cluster::prepare(self.installation, self.tcp);
        owner::copy(self.data_directory(), cluster.data_directory());
        owner::write(&cluster.data_directory().join("recovery.signal"), "");
        let archive = [
            ("restore_command", restore_command),
            ("archive_mode", "off"),
            // It accepts connections only when it has recovered.
            ("hot_standby", "off"),
        ];
        let settings: Vec<_> = archive.iter().chain(settings).copied().collect();
        cluster.configure(&settings);
        let ended = cluster.start_or_end().await;
        Recovery { cluster, ended }
    }
}

/// Tells whether pgBackRest is installed.
///
/// # Panics
///
/// When it is not and `$PAWANG_REQUIRE_PG` is 1.
pub fn pgbackrest_installed() -> bool {
    installed("pgbackrest")
}

/// Tells whether the program `age` is installed.
///
/// # Panics
///
/// When it is not and `$PAWANG_REQUIRE_PG` is 1.
pub fn age_installed() -> bool {
    installed("age")
}

/// Tells whether Barman is installed, with rsync, by which it restores.
///
/// # Panics
///
/// When it is not and `$PAWANG_REQUIRE_PG` is 1.
pub fn barman_installed() -> bool {
    installed("barman") && installed("rsync")
}

fn installed(program: &str) -> bool {
    let found = std::path::Path::new("/usr/bin").join(program).exists();
    assert!(
        found || !crate::version::required(),
        "{program} is not installed (hint: apt-get install {program})"
    );
    found
}
