//! `[[repository]]` and `[backup]`: what holds for an instance, and every mistake with its place.

use std::path::Path;
use std::time::Duration;

use pawang_config::{RepositoryPlace, load, parse};

const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn an_instance_changes_the_policy_key_by_key() {
    let text = "
        [[repository]]
        name = 'main'
        place = '/srv/backup'
        [[repository]]
        name = 'away'
        place = 's3://bucket/a'
        [backup]
        rpo = '1 min'
        retention = { fulls = 3, monthly = 6 }
        [[backup.probe]]
        database = 'dwh'
        sql = 'SELECT true'
        [[instance]]
        name = 'dwh-1'
        [instance.backup_policy]
        repositories = ['away']
        retention = { fulls = 5 }
        stream = true
        [[instance]]
        name = 'dwh-2'
        [[instance]]
        name = 'scratch'
        backup_policy = { repositories = [] }";
    let config = parse(text, "t").expect("no mistake");
    let [one, two, scratch] =
        [0, 1, 2].map(|index| config.backup_settings(&config.instances[index]));
    assert_eq!(one.repositories, ["away"]);
    assert_eq!(
        (one.retention.fulls, one.retention.monthly),
        (Some(5), Some(6))
    );
    assert_eq!((one.rpo, one.stream), (Some(HOUR / 60), true));
    assert_eq!(one.probes.len(), 1);
    assert_eq!(two.repositories, ["main", "away"]);
    assert_eq!((two.retention.fulls, two.stream), (Some(3), false));
    assert_eq!(
        (two.full_every, two.incremental_every),
        (7 * 24 * HOUR, 24 * HOUR)
    );
    assert_eq!(two.slot, "pawang");
    assert_eq!(scratch.repositories, [""; 0]);
    assert_eq!(config.warnings, [""; 0]);
}

#[test]
fn a_relative_place_starts_at_the_folder_of_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pawang.toml");
    let text = "[[repository]]\nname = 'a'\nplace = 'backup'\n[[repository]]\nname = 'b'\nplace = 's3://b/c'";
    std::fs::write(&file, text).expect("it can be written");
    let config = load(&file).expect("no mistake");
    let here = folder.path().join("backup");
    assert_eq!(
        config.repositories[0].location(),
        Some(RepositoryPlace::Directory(Path::new(&here)))
    );
    assert_eq!(config.repositories[1].place, "s3://b/c");
}

#[test]
fn the_server_of_drills_is_named_key_by_key() {
    let folder = tempfile::tempdir().expect("a directory for the test");
    let file = folder.path().join("pawang.toml");
    let text = "[[instance]]\nname = 'a'\n[instance.backup_policy.scratch]\nrole = 'admin'\n\
                [backup.scratch]\nfolder = 'drills'\nrole = 'root'\npreload = 'timescaledb'\n";
    std::fs::write(&file, text).expect("it can be written");
    let config = load(&file).expect("no mistake");
    let scratch = config.backup_settings(&config.instances[0]).scratch;
    assert_eq!(scratch.folder, Some(folder.path().join("drills")));
    assert_eq!(scratch.role.as_deref(), Some("admin"));
    assert_eq!(scratch.preload.as_deref(), Some("timescaledb"));
    assert_eq!(scratch.programs, None);
}

const ONE: &str = "[[repository]]\nname = 'main'\nplace = '/srv/backup'\n";

/// The one mistake of a text, at its place.
fn is_told(text: &str, expected: &str) {
    let errors = parse(text, "t").expect_err(text);
    let first = errors.problems[0].report();
    assert!(
        first.primary.starts_with(&format!("t:{expected}")),
        "{first}\n{text}"
    );
    assert!(!first.to_string().contains("geheim"), "{first}");
    assert_eq!(errors.problems.len(), 1, "{errors}\n{text}");
}

#[test]
fn nobody_is_encrypted_for_by_mistake() {
    for (text, expected) in [
        (
            &format!("{ONE}encryption = 'age'"),
            "4:14: there is nobody for whom to encrypt",
        ),
        (
            &format!("{ONE}recipients = ['age1x']"),
            "4:14: nothing is encrypted for them",
        ),
        (
            &format!("{ONE}encryption = 'age'\nrecipients = ['age1x', 'ssh']"),
            "5:24: it is no public key of age",
        ),
        (&format!("{ONE}encryption = 'aes'"), "4:14:"),
    ] {
        is_told(text, expected);
    }
}

#[test]
fn every_mistake_has_its_place() {
    for (text, expected) in [
        (
            "[[repository]]\nname = 'a'",
            "1:1: [[repository]] has no \"place\"",
        ),
        (
            "[[repository]]\nname = 'a'\nplace = 'gs://b'",
            "3:9: \"gs://b\" is no place for a repository",
        ),
        (
            "[[repository]]\nname = 'a'\nplace = 's3://key:geheim@b'",
            "3:9: the place holds more than bucket and prefix",
        ),
        (
            &format!("{ONE}[[repository]]\nname = 'main'\nplace = '/b'"),
            "5:8: name \"main\" occurs twice",
        ),
        (
            &format!("{ONE}region = 'x'"),
            "4:10: a folder has no such key",
        ),
        (
            "[[repository]]\nname = 'a'\nplace = 's3://b'\naccess_key = 'x'",
            "4:14: there is no secret for it",
        ),
        (
            "[[repository]]\nname = 'a'\nplace = 's3://b'\nendpoint = 'minio'",
            "4:12: wrong value of \"endpoint\": it is no URL of HTTP",
        ),
        (
            "[[repository]]\nname = 'a'\nplace = 's3://b'\nendpoint = 'http://minio:9000'",
            "4:12: the store is asked without TLS",
        ),
        (&format!("{ONE}space = 0"), "4:9: nothing could be written"),
        (
            &format!("{ONE}[backup]\nrepositories = ['mian']"),
            "5:17: there is no repository \"mian\"",
        ),
        (
            "[backup]\nwindow = 'someday'",
            "2:10: the window of backups cannot be read",
        ),
        ("[backup]\nrpo = 0", "2:7: \"rpo\" is nothing"),
        (
            "[backup]\nverify_every = 0",
            "2:16: \"verify_every\" is nothing",
        ),
        ("[backup]\nverify_rate = 0", "2:15: nothing could be read"),
        (
            "[backup]\nslot = 'Pa-wang'",
            "2:8: \"Pa-wang\" is no name of a slot",
        ),
        (
            "[backup]\nretention = { fulls = 0 }",
            "2:23: wrong value of \"fulls\"",
        ),
        ("[backup]\nlanes = 0", "2:9: wrong value of \"lanes\""),
        ("[backup]\nlanes = 33", "2:9: wrong value of \"lanes\""),
        (
            "[backup]\nfull_every = '1 h'\n[[instance]]\nname = 'a'\n[[instance]]\nname = 'b'",
            "2:14: full backups of \"a\" are due more often",
        ),
        ("[[backup.probe]]\ndatabase = 'a'\nsql = ''", "3:7: "),
    ] {
        is_told(text, expected);
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let many =
        "[[repository]]\nname = 'a'\nplace = 'gs://a'\n[backup]\nrto = 0\nslot = ''\nmax_rate = 0";
    assert_eq!(parse(many, "t").expect_err(many).problems.len(), 4);
}

#[test]
fn what_would_be_regretted_is_a_warning() {
    for (text, warning) in [
        ("[backup]\nstream = true", "there is no [[repository]]"),
        (
            "[[repository]]\nname = 'a'\nplace = '/b'\nencryption = 'age'\nrecipients = ['age1x']",
            "without identity_file",
        ),
    ] {
        let config = parse(text, "t").expect(text);
        assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
        assert!(
            config.warnings[0].contains(warning),
            "{:?}",
            config.warnings
        );
    }
}
