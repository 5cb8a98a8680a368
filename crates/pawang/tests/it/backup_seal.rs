//! Encrypted repositories as a person sets them up, and what happens without the key.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use pawang_testbed::{Cluster, Setup};

use crate::program::{Desk, instance};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn an_encrypted_repository_is_set_up_proven_and_useless_without_its_key() {
    let cluster = Cluster::start(&Setup::default()).await;
    let desk = Desk::new();
    let file = format!(
        "state_directory = \"state\"\n{}",
        instance("dwh-1", &cluster.url("postgres"))
    );
    desk.write("pawang.toml", &file);
    let place = cluster.folder("repository").display().to_string();
    let setup = [
        "backup",
        "setup",
        "-i",
        "dwh-1",
        "--repo",
        &place,
        "--encrypt",
    ];
    let made = desk.pawang(&[&setup[..], &["--no-drill"]].concat());
    assert_eq!(made.code, 0, "{made:?}");
    let key = desk.path("main.identity");
    assert!(
        made.stderr
            .contains("nothing in this repository can be restored"),
        "{made:?}"
    );
    assert!(made.stderr.contains(&key.display().to_string()), "{made:?}");
    assert_eq!(mode(&key), 0o600);
    let secret = desk.read("main.identity");
    let secret = secret
        .lines()
        .find(|line| line.starts_with("AGE-SECRET-KEY-1"))
        .unwrap();
    assert!(!format!("{made:?}").contains(secret));
    let written = desk.read("pawang.toml");
    for line in [
        "encryption = \"age\"",
        "recipients = [\"age1",
        "identity_file = ",
    ] {
        assert!(written.contains(line), "{written}");
    }
    // Again: the same key, and nothing is added.
    let again = desk.pawang(&[&setup[..], &["--no-backup"]].concat());
    assert_eq!(again.code, 0, "{again:?}");
    assert_eq!(desk.read("pawang.toml"), written);
    let verified = desk.pawang(&["backup", "verify", "latest", "-i", "dwh-1"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    without_key(&desk, &cluster, &place);
}

/// The key is lost: what only looks still works, and whatever needs it says which file it was.
fn without_key(desk: &Desk, cluster: &Cluster, place: &str) {
    let key = desk.path("main.identity");
    let kept = desk.path("kept");
    std::fs::rename(&key, &kept).unwrap();
    for words in [
        &["backup", "list", "-i", "dwh-1"][..],
        &["backup", "create", "-i", "dwh-1", "--type", "full"],
        &["backup", "verify", "latest", "-i", "dwh-1", "--bytes-only"],
    ] {
        let screen = desk.pawang(words);
        assert_eq!(screen.code, 0, "{words:?}: {screen:?}");
    }
    let into = desk.path("restored").display().to_string();
    for words in [
        &["backup", "verify", "latest", "-i", "dwh-1"][..],
        &["restore", "-i", "dwh-1", "--into", &into, "--preview"],
        &["restore", "-i", "dwh-1", "--into", &into],
    ] {
        desk.pawang(words)
            .is_clear_error(3, &["sealed", "main.identity"]);
    }
    assert!(!desk.path("restored").exists(), "nothing was touched");
    let data = cluster.data_directory().display().to_string();
    let segment = segment(Path::new(place));
    let target = desk.path("got").display().to_string();
    let get = [
        "wal",
        "get",
        &segment,
        &target,
        "--data-directory",
        &data,
        "--retry",
        "0",
        "--repository",
        place,
    ];
    let screen = desk.pawang(&get);
    assert_eq!(screen.code, 200, "{screen:?}");
    assert!(screen.stderr.contains("identity_file"), "{screen:?}");
    let lost = key.display().to_string();
    let screen = desk.pawang(&[&get[..], &["--identity-file", &lost]].concat());
    assert_eq!(screen.code, 200, "{screen:?}");
    assert!(screen.stderr.contains(&lost), "{screen:?}");
    let found = kept.display().to_string();
    let screen = desk.pawang(&[&get[..], &["--identity-file", &found]].concat());
    assert_eq!(screen.code, 0, "{screen:?}");
    std::fs::rename(&kept, &key).unwrap();
    // As on another machine, whose file has the repository and no instance that is asked for.
    let by_folder = ["restore", "--repo", place, "--into", &into, "--preview"];
    let screen = desk.pawang(&by_folder);
    assert_eq!(screen.code, 0, "{screen:?}");
}

/// Returns the name of a segment in a repository.
fn segment(folder: &Path) -> String {
    let mut folders = vec![folder.join("cluster")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() && name != "live" {
                folders.push(path);
            } else if let Some(name) = name
                .strip_suffix(".zst.age")
                .filter(|name| name.len() == 24)
            {
                return name.to_owned();
            }
        }
    }
    panic!("there is no segment");
}

#[tokio::test]
async fn a_drill_proves_an_encrypted_backup() {
    let cluster = Cluster::start(&Setup::default()).await;
    let desk = Desk::new();
    desk.write(
        "pawang.toml",
        &format!(
            "state_directory = \"state\"\n{}",
            instance("dwh-1", &cluster.url("postgres"))
        ),
    );
    let place = cluster.folder("repository").display().to_string();
    let key = cluster.folder("keys").join("main.identity");
    let file = key.display().to_string();
    let setup = [
        "backup",
        "setup",
        "-i",
        "dwh-1",
        "--repo",
        &place,
        "--encrypt",
        "--identity-file",
        &file,
        "--no-drill",
    ];
    let made = desk.pawang(&setup);
    assert_eq!(made.code, 0, "{made:?}");
    // The restored server runs as the user who owns the folder of the scratch server, and reads the key as that one.
    let scratch = cluster.folder("scratch");
    let metadata = std::fs::metadata(&scratch).unwrap();
    let (user, group) = (
        std::os::unix::fs::MetadataExt::uid(&metadata),
        std::os::unix::fs::MetadataExt::gid(&metadata),
    );
    chown(&key, Some(user), Some(group)).unwrap();
    open_up(Path::new(&place));
    let bin = cluster.bin_directory().display().to_string();
    let scratch = scratch.display().to_string();
    let drilled = desk.pawang(&[
        "drill",
        "run",
        "-i",
        "dwh-1",
        "--scratch",
        &scratch,
        "--bindir",
        &bin,
    ]);
    assert_eq!(drilled.code, 0, "{drilled:?}");
}

/// Lets the user of a restored server read a repository.
fn open_up(folder: &Path) {
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            open_up(&path);
        } else {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        }
    }
}

#[tokio::test]
async fn keys_that_do_not_fit_are_clear_errors() {
    let cluster = Cluster::start(&Setup::default()).await;
    let desk = Desk::new();
    desk.write("pawang.toml", &instance("dwh-1", &cluster.url("postgres")));
    let place = desk.path("repository").display().to_string();
    let setup = |more: &[&str]| {
        let words = [
            "backup",
            "setup",
            "-i",
            "dwh-1",
            "--repo",
            &place,
            "--no-backup",
        ];
        desk.pawang(&[&words[..], more].concat())
    };
    setup(&["--recipient", "age1x"]).is_clear_error(2, &["--encrypt"]);
    setup(&["--encrypt", "--recipient", "age1x"])
        .is_clear_error(2, &["age1x", "no public key of age"]);
    desk.write("wrong.identity", "AGE-SECRET-KEY-1NOTHING\n");
    let wrong = desk.path("wrong.identity");
    std::fs::set_permissions(&wrong, std::fs::Permissions::from_mode(0o600)).unwrap();
    let screen = setup(&["--encrypt", "--identity-file", &wrong.display().to_string()]);
    screen.is_clear_error(2, &["wrong.identity", "line 1"]);
    assert!(!screen.stderr.contains("NOTHING"), "{screen:?}");
    std::fs::set_permissions(&wrong, std::fs::Permissions::from_mode(0o644)).unwrap();
    setup(&["--encrypt", "--identity-file", &wrong.display().to_string()])
        .is_clear_error(2, &["mode 644"]);
    assert!(!desk.path("repository").exists(), "nothing was made");
    // One that is named in the clear stays so, until a person writes otherwise.
    assert_eq!(setup(&[]).code, 0);
    setup(&["--encrypt"]).is_clear_error(4, &["without encryption"]);
}
