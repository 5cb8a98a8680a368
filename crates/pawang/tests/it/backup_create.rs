//! `pawang backup create`.

use pawang_testbed::{Cluster, Setup, until};

use crate::program::{Desk, Running, instance};

/// A desk with a repository beside it, and a server in its configuration.
async fn desk(cluster: &Cluster) -> (Desk, String) {
    let desk = Desk::new();
    let place = desk.path("repository").display().to_string();
    let repository = format!("[[repository]]\nname = \"here\"\nplace = \"{place}\"\n");
    let file = repository + &instance("dwh-1", &cluster.url("postgres"));
    desk.write("pawang.toml", &file);
    let settings = pawang_backup::repository::RepositorySettings::default();
    let at = "2026-11-22T08:00:00Z".parse().unwrap();
    pawang_backup::Repository::setup(&place, &settings, at, [7; 10])
        .await
        .unwrap();
    (desk, place)
}

#[tokio::test]
async fn a_backup_is_taken_and_told() {
    let cluster = Cluster::start(&Setup::default()).await;
    let (desk, place) = desk(&cluster).await;
    let screen = desk.pawang(&["backup", "create", "-i", "dwh-1"]);
    assert_eq!(screen.code, 0, "{screen:?}");
    assert!(
        screen
            .stdout
            .contains(&format!("of dwh-1 is in {place}: full, ")),
        "{screen:?}"
    );
    assert!(
        screen.stdout.contains("pages checked, none is wrong"),
        "{screen:?}"
    );
    for told in [
        "dwh-1: reads the files in \"/",
        "dwh-1: waits for a checkpoint",
        "dwh-1: begins at ",
        " %, ",
        "dwh-1: fetches WAL up to ",
    ] {
        assert!(screen.stderr.contains(told), "{told}: {screen:?}");
    }
    let words = [
        "backup", "create", "-i", "dwh-1", "--repo", &place, "--type", "full", "--mode",
        "protocol", "--json", "-q",
    ];
    let screen = desk.pawang(&words);
    assert_eq!((screen.code, screen.stderr.as_str()), (0, ""), "{screen:?}");
    let data = screen.data("pawang.backup.create/1");
    assert_eq!(data[0]["instance"], "dwh-1");
    assert_eq!(data[0]["kind"], "full");
    assert_eq!(data[0]["mode"], "protocol");
    assert_eq!(data[0]["pages"]["wrong"], 0);
    let listed = desk.pawang(&["backup", "list", "-i", "dwh-1"]);
    assert_eq!(
        (listed.code, listed.stdout.lines().count()),
        (0, 3),
        "{listed:?}"
    );
    assert!(
        listed.stdout.contains(data[0]["backup"].as_str().unwrap()),
        "{listed:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_taken_is_a_clear_error() {
    let cluster = Cluster::start(&Setup::default()).await;
    let (desk, _) = desk(&cluster).await;
    let nowhere = desk.path("nowhere").display().to_string();
    for (words, code, told) in [
        (vec!["--repo", nowhere.as_str()], 3, "nowhere"),
        (vec!["--repo", "relative"], 2, "relative"),
        (vec!["--max-rate", "1kB"], 2, "is not between 32.0 kB and"),
        (vec!["--max-rate", "much"], 2, "much"),
        (vec!["--mode", "lanes", "--lanes", "0"], 2, "--lanes"),
        (vec!["--mode", "lanes", "--lanes", "33"], 2, "--lanes"),
        (vec!["--type", "incremental"], 4, "incremental"),
    ] {
        let all = [vec!["backup", "create", "-i", "dwh-1"], words.clone()].concat();
        desk.pawang(&all).is_clear_error(code, &[told]);
    }
    desk.pawang(&["backup", "list", "-i", "dwh-1"]);
    // Killed in the middle: no backup, and the next one is not in the way of anything.
    let create = ["backup", "create", "-i", "dwh-1", "--mode"];
    let slow = [&create[..], &["protocol", "--max-rate", "1MB"]].concat();
    let running = begun(&desk, &slow).await;
    // A dropped one is killed.
    drop(running);
    let screen = desk.pawang(&["backup", "create", "-i", "dwh-1", "--json"]);
    assert_eq!(screen.code, 0, "{screen:?}");
    let mut running = begun(&desk, &slow).await;
    running.signal("INT");
    let screen = running.screen();
    assert_eq!(screen.code, 130, "{screen:?}");
    let told = desk.read(TOLD);
    assert!(told.contains("is no backup"), "{told}");
    // Whoever reads files hears it as soon, and nothing of it stays at the server.
    for mode in ["local", "lanes"] {
        let slow = [&create[..], &[mode, "--max-rate", "32kB"]].concat();
        let mut running = begun(&desk, &slow).await;
        running.signal("INT");
        let screen = running.screen();
        assert_eq!(screen.code, 130, "{screen:?}");
        until("its connections have ended", async || {
            let sql = "SELECT FROM pg_stat_activity WHERE application_name LIKE 'pawang:backup%'";
            cluster.sql("postgres", sql).await.is_empty()
        })
        .await;
    }
}

#[tokio::test]
async fn a_role_with_grants_and_nothing_else_takes_one_over_sql() {
    let cluster = Cluster::start(&Setup::default()).await;
    let (desk, _) = desk(&cluster).await;
    let file = std::fs::read_to_string(desk.path("pawang.toml")).unwrap();
    cluster.sql("postgres", "CREATE ROLE reader LOGIN").await;
    let reader = cluster.url_as("reader", "postgres");
    let file = file.replace(&cluster.url("postgres"), &reader) + "\n[backup]\nlanes = 3\n";
    desk.write("pawang.toml", &file);
    let lanes = ["backup", "create", "-i", "dwh-1", "--mode", "lanes"];
    let screen = desk.pawang(&lanes);
    screen.is_clear_error(
        3,
        &[
            "pg_read_binary_file",
            "GRANT EXECUTE ON FUNCTION",
            "TO reader;",
        ],
    );
    let check = ["backup", "check", "-i", "dwh-1"];
    let screen = desk.pawang(&check);
    assert!(screen.stdout.contains("SQL lanes"), "{screen:?}");
    let backup = match cluster.version().0 {
        15.. => "pg_backup_start(text, boolean), pg_backup_stop(boolean)",
        _ => "pg_start_backup(text, boolean, boolean), pg_stop_backup(boolean, boolean)",
    };
    let grant = format!(
        "GRANT EXECUTE ON FUNCTION pg_read_binary_file(text, bigint, bigint, boolean),
        pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean), {backup} TO reader"
    );
    cluster.sql("postgres", &grant).await;
    let screen = desk.pawang(&check);
    assert!(
        screen.stdout.contains("backups are read over SQL"),
        "{screen:?}"
    );
    // Nobody has to say so.
    let screen = desk.pawang(&["backup", "create", "-i", "dwh-1"]);
    assert_eq!(screen.code, 0, "{screen:?}");
    for told in [
        "dwh-1: reads files over 3 SQL connections",
        "dwh-1: the server does not keep WAL for this backup",
        "dwh-1: begins at ",
        "dwh-1: fetches WAL up to ",
    ] {
        assert!(screen.stderr.contains(told), "{told}: {screen:?}");
    }
    let screen = desk.pawang(&[&lanes[..], &["--lanes", "1", "--json", "-q"]].concat());
    let data = screen.data("pawang.backup.create/1");
    assert_eq!(
        (&data[0]["mode"], &data[0]["pages"]["wrong"]),
        (&"lanes".into(), &0.into())
    );
}

/// What a backup that was started says.
const TOLD: &str = "told";

/// Starts a slow backup, and waits until it is in the middle.
async fn begun(desk: &Desk, words: &[&str]) -> Running {
    let running = desk.start_into(words, "result", TOLD);
    until("a backup has begun", async || {
        desk.read(TOLD).contains("dwh-1: begins at ")
    })
    .await;
    running
}
