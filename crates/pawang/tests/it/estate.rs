//! `pawang estate list`.

use pawang_testbed::{Cluster, Setup};

use crate::program::{Desk, instance};

#[tokio::test]
async fn every_instance_is_listed_with_role_and_those_that_do_not_answer() {
    let cluster = Cluster::start(&Setup::default()).await;
    let standby = cluster.standby("second").await;
    let desk = Desk::new();
    let file = instance("one", &cluster.url("postgres"))
        + &instance("two", &standby.url("postgres"))
        + &instance("gone", "host=/nowhere user=x");
    desk.write("pawang.toml", &file);
    let screen = desk.pawang(&["estate", "list", "--json"]);
    assert_eq!(screen.code, 3, "{screen:?}");
    let lines = screen.data("pawang.estate.list/1");
    assert_eq!(lines[0]["role"], "primary");
    assert_eq!(lines[1]["role"], "standby");
    assert!(lines[2]["error"].is_string());
    let offline = desk.pawang(&["estate", "list", "--offline"]);
    assert_eq!(
        (offline.code, offline.stdout.lines().count()),
        (0, 3),
        "{offline:?}"
    );
}
