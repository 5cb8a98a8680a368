//! `pawang restore`, `pawang drill` and `pawang recovery`: as a person runs them, beside a real server.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use pawang_backup::Owner;
use pawang_testbed::{Stop, until, versions};

use crate::backup_world::World;
use crate::program::{Desk, Screen, instance};

/// Runs `pawang` while the server goes on.
async fn pawang(desk: &Desk, words: &[&str]) -> Screen {
    let running = desk.start(words);
    tokio::task::spawn_blocking(move || running.screen())
        .await
        .unwrap()
}

impl World {
    async fn with_rows() -> World {
        let world = World::new(versions()[0]).await;
        let create = "CREATE TABLE fact AS SELECT generate_series(1, 1000) AS number";
        world.cluster.sql("postgres", create).await;
        world.backup().await;
        world
            .cluster
            .sql("postgres", "INSERT INTO fact VALUES (1001)")
            .await;
        world.archive().await;
        world
    }

    /// The words of a drill in the folder of the cluster, whose owner runs the scratch server.
    fn drill<'a>(&'a self, more: &[&'a str]) -> Vec<String> {
        let scratch = self.cluster.socket_directory().display().to_string();
        let bin = self.cluster.bin_directory().display().to_string();
        let folder = self.folder.display().to_string();
        let words = [
            "drill",
            "run",
            "--repository",
            &folder,
            "--scratch",
            &scratch,
            "--bindir",
            &bin,
        ];
        words.iter().chain(more).map(ToString::to_string).collect()
    }

    /// Tells whether nothing of any drill is left.
    fn is_clean(&self) -> bool {
        let entries = std::fs::read_dir(self.cluster.socket_directory()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        !names
            .into_iter()
            .any(|name| name.to_string_lossy().starts_with("pawang-drill"))
    }
}

fn words(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

#[tokio::test]
async fn a_drill_gets_its_wal_by_pawang_and_says_what_it_proved() {
    let world = World::with_rows().await;
    let desk = Desk::new();
    let good = world.drill(&[
        "--to",
        "latest",
        "--probe",
        "SELECT count(*) = 1001 FROM public.fact",
        "--json",
    ]);
    let screen = pawang(&desk, &words(&good)).await;
    assert_eq!(screen.code, 0, "{screen:?}");
    let data = screen.data("pawang.drill.run/1");
    assert_eq!(data["proof"]["problems"], serde_json::json!([]));
    assert_eq!(data["findings"]["probes"], 1);
    assert!(data["forecast_milliseconds"].as_u64().unwrap() > 0);

    let wrong = world.drill(&[
        "--to",
        "latest",
        "--probe",
        "SELECT count(*) = 1000 FROM public.fact",
    ]);
    let screen = pawang(&desk, &words(&wrong)).await;
    assert_eq!(screen.code, 1, "{screen:?}");
    assert!(screen.stdout.contains("NOT PROVEN"), "{screen:?}");
    assert!(
        screen.stdout.contains("its answer is \"false\""),
        "{screen:?}"
    );

    let random = world.drill(&[]);
    let screen = pawang(&desk, &words(&random)).await;
    assert_eq!(screen.code, 0, "{screen:?}");
    assert!(screen.stdout.starts_with("proven     backup"), "{screen:?}");

    let folder = world.folder.display().to_string();
    let screen = pawang(
        &desk,
        &["drill", "history", "--repository", &folder, "--json"],
    )
    .await;
    let drills = screen.data("pawang.drill.history/1")["drills"].clone();
    let found: Vec<bool> = drills
        .as_array()
        .unwrap()
        .iter()
        .map(|proof| proof["problems"].as_array().unwrap().is_empty())
        .collect();
    assert_eq!(found, [true, false, true]);
    assert!(world.is_clean());
}

#[tokio::test]
async fn damaged_and_missing_wal_never_ends_in_a_shorter_database() {
    let world = World::with_rows().await;
    world
        .cluster
        .sql("postgres", "INSERT INTO fact VALUES (1002)")
        .await;
    let position = world.position().await;
    world.archive().await;
    world
        .cluster
        .sql("postgres", "INSERT INTO fact VALUES (1003)")
        .await;
    world.archive().await;
    let path = world.segment(position);
    let good = std::fs::read(&path).unwrap();
    let put = |bytes: &[u8]| {
        std::io::Write::write_all(&mut std::fs::File::create(&path).unwrap(), bytes).unwrap();
    };
    let desk = Desk::new();
    let drill = world.drill(&[
        "--to",
        "latest",
        "--probe",
        "SELECT count(*) = 1003 FROM public.fact",
    ]);
    for fault in ["flipped", "cut", "empty", "gone"] {
        match fault {
            "flipped" => {
                let mut bytes = good.clone();
                bytes[good.len() / 2] ^= 0x10;
                put(&bytes);
            }
            "cut" => put(&good[..good.len() / 2]),
            "empty" => put(&[]),
            _ => std::fs::remove_file(&path).unwrap(),
        }
        let screen = pawang(&desk, &words(&drill)).await;
        assert_ne!(screen.code, 0, "{fault}: {screen:?}");
        assert!(
            !screen.stdout.contains("proven     "),
            "{fault}: {screen:?}"
        );
        assert!(
            !screen.stdout.contains("open after"),
            "it never opened, {fault}: {screen:?}"
        );
    }
    put(&good);
    let screen = pawang(&desk, &words(&drill)).await;
    assert_eq!(screen.code, 0, "{screen:?}");
    assert!(world.is_clean());
}

#[tokio::test]
async fn what_the_servers_user_cannot_read_is_refused() {
    let world = World::with_rows().await;
    if Owner::of(world.cluster.socket_directory()).is_none() {
        eprintln!("not run: whoever is not root restores as himself");
        return;
    }
    let desk = Desk::new();
    let repository = desk.path("repository");
    crate::wal::copy(&world.folder, &repository);
    let place = repository.display().to_string();
    let scratch = world.cluster.socket_directory().display().to_string();
    let bin = world.cluster.bin_directory().display().to_string();
    let drill = [
        "drill",
        "run",
        "--repository",
        &place,
        "--scratch",
        &scratch,
        "--bindir",
        &bin,
    ];
    let into = world.cluster.socket_directory().join("restored");
    let directory = into.display().to_string();
    let restore = ["restore", "--repository", &place, "--into", &directory];
    let open = |mode: u32, path: &Path| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    for (closed, told) in [
        (desk.path(""), "is closed to that user"),
        (repository.clone(), "cannot use the repository"),
    ] {
        open(0o700, &closed);
        chown(&closed, Some(0), Some(0)).unwrap();
        for words in [
            &drill[..],
            &restore,
            &[&restore[..], &["--preview"]].concat(),
        ] {
            let refused = pawang(&desk, words).await;
            refused.is_clear_error(4, &["cannot use the repository", told, "hint: ch"]);
        }
        assert!(!into.exists() && world.is_clean(), "nothing was touched");
        open(0o755, &closed);
    }
    let history = ["drill", "history", "--repository", &place, "--json"];
    let history = pawang(&desk, &history).await;
    let drills = history.data("pawang.drill.history/1")["drills"].clone();
    assert_eq!(
        drills,
        serde_json::json!([]),
        "it says nothing of the backup"
    );
    let proven = pawang(&desk, &drill).await;
    assert_eq!(proven.code, 0, "{proven:?}");
}

#[tokio::test]
async fn a_restore_says_what_it_will_do_and_refuses_what_it_cannot() {
    let world = World::with_rows().await;
    let desk = Desk::new();
    let repository = world.folder.display().to_string();
    let into = world.cluster.socket_directory().join("restored");
    let directory = into.display().to_string();
    let restore = async |more: &[&str]| {
        let fixed = ["restore", "--repository", &repository, "--into", &directory];
        let all: Vec<&str> = fixed.iter().chain(more).copied().collect();
        pawang(&desk, &all).await
    };
    let asked = restore(&["--to", "2026-11-20 14:30"]).await;
    asked.is_clear_error(2, &["which one is meant", "2026-11-20 14:30:00 UTC"]);
    let twice = restore(&["--to", "2026-10-25 02:30 Europe/Berlin"]).await;
    twice.is_clear_error(2, &["happened twice", "+01:00", "+02:00"]);
    let early = restore(&["--to", "2020-01-01T00:00:00Z"]).await;
    early.is_clear_error(4, &["before the end of the first backup"]);
    let late = restore(&["--to", "2040-01-01T00:00:00Z"]).await;
    late.is_clear_error(4, &["is not in the WAL", "the last transaction"]);
    let far = restore(&["--to-lsn", "FF/0"]).await;
    far.is_clear_error(4, &["after the last WAL"]);
    let no_name = pawang(
        &desk,
        &[
            "restore",
            "--repository",
            "/no/such/folder",
            "--into",
            &directory,
        ],
    )
    .await;
    no_name.is_clear_error(3, &["could not open repository"]);
    assert!(!into.exists(), "nothing was touched");

    let preview = restore(&["--to", "latest", "--preview"]).await;
    assert_eq!(preview.code, 0, "{preview:?}");
    for word in ["cluster", "backup", "consistent at", "is free", "room"] {
        assert!(preview.stdout.contains(word), "{word}: {preview:?}");
    }
    assert!(!into.exists(), "a preview touches nothing");
    let done = restore(&["--to", "latest", "--json"]).await;
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.data("pawang.restore/1")["files"].as_u64().unwrap() > 900);
    let conf = std::fs::read_to_string(into.join("postgresql.auto.conf")).unwrap();
    assert!(
        conf.contains("wal get %f %p --repository") && conf.contains("archive_mode = 'off'"),
        "{conf}"
    );
    let beside = desk.path("beside").display().to_string();
    let words = ["restore", "--repository", &repository, "--into", &beside];
    let told = pawang(&desk, &words).await;
    assert_eq!(told.code, 0, "{told:?}");
    // The source may still have its port.
    assert!(told.stdout.contains("-o \"-p 5499\""), "{told:?}");
    let again = restore(&[]).await;
    again.is_clear_error(4, &["is the data directory of this cluster", "--replace"]);
    let live = world.cluster.data_directory().display().to_string();
    let live = pawang(
        &desk,
        &[
            "restore",
            "--repository",
            &repository,
            "--into",
            &live,
            "--replace",
        ],
    )
    .await;
    live.is_clear_error(4, &["a server runs in", "pg_ctl stop"]);
    assert!(Path::new(&into).join("recovery.signal").exists());
}

#[tokio::test]
async fn the_last_commits_of_a_broken_server_come_from_its_own_wal() {
    let mut world = World::with_rows().await;
    let desk = Desk::new();
    // A receiver has the beginning of the current segment in the archive.
    world.store_live_tail().await;
    world
        .cluster
        .sql("postgres", "INSERT INTO fact VALUES (1002)")
        .await;
    world.cluster.stop(Stop::Immediate).await;
    let into = world.cluster.data_directory().display().to_string();
    let repository = world.folder.display().to_string();
    let words = [
        "restore",
        "--repository",
        &repository,
        "--into",
        &into,
        "--replace",
        "--action",
        "promote",
    ];
    let screen = pawang(&desk, &words).await;
    assert_eq!(screen.code, 0, "{screen:?}");
    assert!(
        screen.stdout.contains("the old data directory is"),
        "{screen:?}"
    );
    assert!(
        screen
            .stdout
            .contains("were not archived are replayed first"),
        "{screen:?}"
    );
    world.cluster.start_again().await;
    until("it is promoted", async || {
        world.text("SELECT pg_is_in_recovery()").await == "f"
    })
    .await;
    assert_eq!(world.text("SELECT max(number) FROM fact").await, "1002");
}

#[tokio::test]
async fn the_plan_says_what_is_promised_and_what_was_measured() {
    let world = World::with_rows().await;
    let desk = Desk::new();
    let config = format!(
        "[[repository]]\nname = \"main\"\nplace = \"{}\"\n\n[backup]\nrpo = \"5 min\"\nrto = \"1 h\"\n\n\
         [[instance]]\nname = \"test\"\nurl = \"{}\"\n",
        world.folder.display(),
        world.cluster.url("postgres")
    );
    desk.write("pawang.toml", &config);
    let screen = pawang(&desk, &["recovery", "plan", "-i", "test"]).await;
    assert_eq!(screen.code, 0, "{screen:?}");
    for word in [
        "## test",
        "5m",
        "1h",
        "never proven",
        "### The machine is lost",
        "archive_command",
        "restore -i test --table SCHEMA.TABLE",
        &format!("--cluster {} --into DATA --action promote`", world.id),
    ] {
        assert!(screen.stdout.contains(word), "{word}: {screen:?}");
    }
    let drill = world.drill(&["-i", "test"]);
    let drill: Vec<&str> = drill
        .iter()
        .map(String::as_str)
        .filter(|word| *word != "--repository" && **word != *world.folder.display().to_string())
        .collect();
    let screen = pawang(&desk, &drill).await;
    assert_eq!(screen.code, 0, "{screen:?}");
    let screen = pawang(&desk, &["recovery", "plan"]).await;
    assert!(screen.stdout.contains("in the last drill"), "{screen:?}");
    assert!(!screen.stdout.contains("never proven"), "{screen:?}");
}

#[tokio::test]
async fn programs_of_another_version_say_nothing_against_a_backup() {
    let world = World::with_rows().await;
    let newest = *versions().last().unwrap();
    let other = pawang_testbed::installations()
        .iter()
        .find(|it| it.version == newest);
    let other = other.unwrap().bin.display().to_string();
    let desk = Desk::new();
    let place = world.folder.display().to_string();
    let scratch = world.cluster.socket_directory().display().to_string();
    let told = format!(
        "of PostgreSQL {newest}, and {} is needed",
        world.cluster.version()
    );
    // What is said for this drill is wrong, and refused.
    let drill = [
        "drill",
        "run",
        "--repository",
        &place,
        "--scratch",
        &scratch,
    ];
    let refused = pawang(&desk, &[&drill[..], &["--bindir", &other]].concat()).await;
    refused.is_clear_error(2, &[&told, "--bindir"]);
    // What the estate names for all is passed over, and told.
    let url = world.cluster.url("postgres");
    let file = format!(
        "{}[[repository]]\nname = \"main\"\nplace = \"{place}\"\n[backup.scratch]\nfolder = \"{scratch}\"\nprograms = \"{other}\"\n",
        instance("test", &url)
    );
    desk.write("pawang.toml", &file);
    let history = pawang(&desk, &["drill", "history", "-i", "test", "--json"]).await;
    let drills = history.data("pawang.drill.history/1")["drills"].clone();
    assert_eq!(
        drills,
        serde_json::json!([]),
        "it says nothing of the backup"
    );
    let checked = pawang(&desk, &["backup", "check", "-i", "test"]).await;
    assert!(checked.stdout.contains(&told), "{checked:?}");
    let proven = pawang(&desk, &["drill", "run", "-i", "test"]).await;
    assert_eq!(proven.code, 0, "{proven:?}");
    assert!(proven.stderr.contains(&told), "{proven:?}");
}

#[tokio::test]
async fn a_configuration_outside_of_the_data_directory_is_told_and_the_least_is_written() {
    let mut world = World::new(versions()[0]).await;
    world.cluster.set("max_connections", Some("137")).await;
    world.cluster.stop(Stop::Fast).await;
    let etc = world.cluster.move_configuration().display().to_string();
    world.cluster.start_again().await;
    let create = "CREATE TABLE fact AS SELECT generate_series(1, 1000) AS number";
    world.cluster.sql("postgres", create).await;
    world.backup().await;
    let desk = Desk::new();
    let place = world.folder.display().to_string();
    let repository = format!("[[repository]]\nname = \"main\"\nplace = \"{place}\"\n");
    let file = instance("test", &world.cluster.url("postgres")) + &repository;
    desk.write("pawang.toml", &file);
    let checked = pawang(&desk, &["backup", "check", "-i", "test"]).await;
    assert!(
        checked
            .stdout
            .contains(&format!("no backup has {etc}/postgresql.conf")),
        "{checked:?}"
    );
    let into = world.cluster.folder("fresh").join("restored");
    let directory = into.display().to_string();
    let restore = [
        "restore",
        "-i",
        "test",
        "--into",
        &directory,
        "--to",
        "immediate",
        "--action",
        "promote",
    ];
    let restored = pawang(&desk, &restore).await;
    assert_eq!(restored.code, 0, "{restored:?}");
    let told = "postgresql.conf, pg_hba.conf, pg_ident.conf are outside of the data directory";
    assert!(restored.stdout.contains(told), "{restored:?}");
    let main = std::fs::read_to_string(into.join("postgresql.conf")).unwrap();
    assert!(main.contains("max_connections = 137"), "{main}");
    // The server lets in whoever runs it; in this test that is not who asks.
    let hba = into.join("pg_hba.conf");
    let text = std::fs::read_to_string(&hba).unwrap();
    assert!(text.ends_with("local all all peer\n"), "{text}");
    std::fs::write(&hba, text.replace("peer", "trust")).unwrap();
    let server = world.cluster.start_from(&into, &[]).await;
    let rows = server.sql("postgres", "SELECT count(*) FROM fact").await;
    assert_eq!(rows[0][0].as_deref(), Some("1000"));
}

#[tokio::test]
async fn a_repository_that_cannot_be_opened_is_not_one_without_backups() {
    let world = World::with_rows().await;
    let desk = Desk::new();
    let config = |second: &str| {
        format!(
            "[[repository]]\nname = \"main\"\nplace = \"{}\"\n\n{second}\n\n\
             [[instance]]\nname = \"test\"\nurl = \"{}\"\n",
            world.folder.display(),
            world.cluster.url("postgres")
        )
    };
    let key = desk.path("no-key");
    let away = format!(
        "[[repository]]\nname = \"second\"\nplace = \"{}\"",
        desk.path("away").display()
    );
    let locked = format!(
        "[[repository]]\nname = \"second\"\nplace = \"s3://bucket/dwh\"\naccess_key = \"A\"\nsecret_key_file = \"{}\"",
        key.display()
    );
    for (second, said) in [(away, "no such directory"), (locked, "No such file")] {
        desk.write("pawang.toml", &config(&second));
        let screen = pawang(&desk, &["recovery", "plan"]).await;
        assert_eq!(screen.code, 3, "{screen:?}");
        for word in ["**not seen**", said, "of what was seen", "backups: 1"] {
            assert!(screen.stdout.contains(word), "{word}: {screen:?}");
        }
        assert!(!screen.stdout.contains("no backup"), "{screen:?}");
        let screen = pawang(&desk, &["recovery", "plan", "--json"]).await;
        assert_eq!(screen.code, 3, "{screen:?}");
        let trouble = &screen.data("pawang.recovery.plan/1")[0]["repositories"][1]["trouble"];
        assert!(trouble.as_str().unwrap().contains(said), "{trouble}");
    }

    // Nobody can say whose the only backup is.
    let backups = world.repository.backups(&world.id).await.unwrap();
    let commit = world.id.commit(&backups[0].backup);
    std::fs::write(world.folder.join(commit), "{}").unwrap();
    desk.write("pawang.toml", &config(""));
    let screen = pawang(&desk, &["recovery", "plan"]).await;
    assert_eq!(screen.code, 3, "{screen:?}");
    assert!(screen.stdout.contains("**not seen**"), "{screen:?}");
    assert!(!screen.stdout.contains("**no backup**"), "{screen:?}");
}
