//! Debian's Alertmanager.

use crate::cluster::free_port;
use crate::guard::Guard;
use crate::owner;
use crate::prometheus::{get, installed, ready};

/// An Alertmanager that tells one webhook; it stops and removes itself on drop, and also when the process is killed.
pub struct Alertmanager {
    guard: Guard,
    port: u16,
}

impl Alertmanager {
    /// Tells whether Alertmanager is installed.
    ///
    /// # Panics
    ///
    /// When it is not and `$PAWANG_REQUIRE_PG` is 1.
    pub fn installed() -> bool {
        let program = "prometheus-alertmanager";
        installed(program, program)
    }

    /// Starts Alertmanager without peers and waits until it is ready; it tells the webhook at once.
    pub async fn start(webhook: &str) -> Alertmanager {
        let mut guard = Guard::new("KILL");
        let port = free_port();
        let directory = guard.directory().to_string_lossy().into_owned();
        let config = format!(
            "route: {{receiver: hook, group_by: [alertname], group_wait: 0s, group_interval: 1s}}\n\
             receivers: [{{name: hook, webhook_configs: [{{url: \"{webhook}\", send_resolved: true}}]}}]\n"
        );
        owner::write(&guard.directory().join("alertmanager.yml"), &config);
        guard.start(&[
            "prometheus-alertmanager",
            &format!("--config.file={directory}/alertmanager.yml"),
            &format!("--storage.path={directory}/data"),
            &format!("--web.listen-address=127.0.0.1:{port}"),
            "--cluster.listen-address=",
            "--log.level=warn",
        ]);
        ready(&guard, port, "/-/ready").await;
        Alertmanager { guard, port }
    }

    /// Returns its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns the alerts that fire there.
    ///
    /// # Panics
    ///
    /// When it does not answer.
    pub async fn alerts(&self) -> serde_json::Value {
        match get(self.port, "/api/v2/alerts").await {
            Some((200, body)) => serde_json::from_str(&body).expect("Alertmanager answers in JSON"),
            other => panic!("{other:?}\n{}", self.guard.log_tail()),
        }
    }
}
