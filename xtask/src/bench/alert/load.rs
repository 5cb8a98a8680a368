//! A server with checks whose values can be set, and the configuration that tells of them.

use std::net::SocketAddr;

use pawang_testbed::{Cluster, Setup};

/// Objects of one check: as many as a verdict tells.
pub(super) const OBJECTS: usize = 100;

/// Starts a server with a table of values, all of them good.
pub(super) async fn start(checks: usize) -> Cluster {
    let cluster = Cluster::start(&Setup::default()).await;
    cluster.monitor().await;
    let fill = format!(
        "CREATE TABLE level AS SELECT c AS check_number, o AS object, 0 AS value
           FROM generate_series(1, {checks}) AS c, generate_series(1, {OBJECTS}) AS o;
         GRANT SELECT ON level TO monitor"
    );
    cluster.sql("postgres", &fill).await;
    cluster
}

/// Returns the configuration: checks that are critical at once when a value is set, and a webhook for them alone.
pub(super) fn config(checks: usize, receiver: SocketAddr, group_by: &str) -> String {
    let mut config = format!(
        r#"
[alert]
group_by = ["{group_by}"]
[[alert.channel]]
name = "bench"
rate_per_minute = 10000
webhook = {{ url = "http://{receiver}/" }}
[[alert.route]]
name = "bench"
match = ['check=~"level-.*"']
notify = ["bench"]
[[alert.rule]]
check = "level-*"
for = "0 s"
for_critical = "0 s"
"#
    );
    for check in 1..=checks {
        config.push_str(&format!(
            r#"[[user_check]]
id = "level-{check}"
title = "level {check}"
sql = "SELECT 'object ' || object, value FROM public.level WHERE check_number = {check}"
critical = 1
"#
        ));
    }
    config
}
