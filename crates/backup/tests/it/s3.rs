//! An S3-compatible store: what goes well, what passes by itself, and what a person is told.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use pawang_backup::repository::{Created, Held, LeaseFacts, PartSettings, RepositorySettings};
use pawang_backup::retention::{Policy, expire};
use pawang_backup::{Error, Repository};
use pawang_core::Secret;
use pawang_testbed::{Bucket, Fault, Rule};

use crate::faults::take;
use crate::parts::{CLUSTER, backup_id, noise, read_part, write_part};

const PLACE: &str = "s3://backups/dwh/pawang";

fn settings(bucket: &Bucket) -> RepositorySettings {
    RepositorySettings {
        endpoint: Some(bucket.endpoint()),
        access_key: Some(Bucket::ACCESS_KEY.to_owned()),
        secret_key: Some(Secret::new(Bucket::SECRET_KEY.to_owned())),
        allow_http: true,
        try_again_for: Some(Duration::from_secs(60)),
        ..RepositorySettings::default()
    }
}

async fn repository(bucket: &Bucket) -> Repository {
    let now = Timestamp::now();
    Repository::setup(PLACE, &settings(bucket), now, [3; 10])
        .await
        .unwrap()
}

fn rule(method: &'static str, contains: &'static str, times: usize, fault: Fault) -> Rule {
    Rule {
        method,
        contains,
        after: 0,
        times,
        fault,
    }
}

#[tokio::test]
async fn a_bucket_is_a_repository() {
    let bucket = Bucket::start().await;
    // Listings come in many pages.
    bucket.set_page(2);
    let repository = repository(&bucket).await;
    for number in 1..=3 {
        take(&repository, number, None).await.unwrap();
    }
    let opened = Repository::open(PLACE, &settings(&bucket)).await.unwrap();
    assert_eq!(opened.clusters().await.unwrap(), [CLUSTER]);
    assert_eq!(opened.backups(&CLUSTER).await.unwrap().len(), 3);
    assert_eq!(opened.list(&CLUSTER.folder()).await.unwrap().len(), 12);
    let path = "cluster/1-17/hold/x.json";
    assert_eq!(opened.create(path, "1".into()).await.unwrap(), Created::New);
    assert_eq!(
        opened.create(path, "1".into()).await.unwrap(),
        Created::Same
    );
    let other = opened.create(path, "2".into()).await;
    assert!(matches!(other, Err(Error::Exists { .. })), "{other:?}");
    opened.delete(path).await.unwrap();
    assert_eq!(opened.read(path).await.unwrap(), None);
    let names = bucket.objects();
    assert!(
        names.iter().all(|name| name.starts_with("dwh/pawang/")),
        "{names:?}"
    );
}

#[tokio::test]
async fn a_large_part_goes_in_pieces_and_comes_back() {
    let bucket = Bucket::start().await;
    let repository = repository(&bucket).await;
    let id = backup_id(1);
    let content = vec![noise(1, 18 << 20)];
    let part = write_part(
        &repository,
        &id,
        0,
        content.clone(),
        PartSettings::default(),
    )
    .await
    .unwrap();
    assert_eq!(bucket.open_uploads(), 0);
    let sent = bucket.requests();
    let pieces = sent
        .iter()
        .filter(|line| line.contains("partNumber="))
        .count();
    assert_eq!(pieces, 3);
    assert!(read_part(&repository, &id, &part).await.unwrap() == content.concat());

    let key = format!("dwh/pawang/{}", CLUSTER.part(&id, &part.name));
    bucket.change(&key, |bytes| bytes[12 << 20] ^= 1);
    let rotten = read_part(&repository, &id, &part).await;
    assert!(rotten.is_err());
    bucket.change(&key, |bytes| bytes.truncate(12 << 20));
    let short = read_part(&repository, &id, &part).await.unwrap_err();
    assert!(short.to_string().contains("and its commit says"), "{short}");
}

/// Takes a large part and a backup while things go wrong that pass, and reads them back.
async fn passes(name: &str, rules: Vec<Rule>) {
    let bucket = Bucket::start().await;
    repository(&bucket).await;
    let mut settings = settings(&bucket);
    // Only who waits in vain is impatient: what is slow here is no fault of the store.
    let hangs = rules.iter().any(|rule| rule.fault == Fault::Hang);
    settings.answer_within = hangs.then_some(Duration::from_secs(2));
    let repository = Repository::open(PLACE, &settings).await.unwrap();
    for rule in rules {
        bucket.fail(rule);
    }
    let id = backup_id(1);
    let content = vec![noise(1, 12 << 20)];
    let settings = PartSettings::default();
    let part = write_part(&repository, &id, 0, content.clone(), settings).await;
    let part = part.unwrap_or_else(|error| panic!("{name}: {}", error.report()));
    let commit = take(&repository, 2, None).await;
    commit.unwrap_or_else(|error| panic!("{name}: {}", error.report()));
    let read = read_part(&repository, &id, &part).await;
    let read = read.unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(read == content.concat(), "{name}");
    let backups = repository.backups(&CLUSTER).await.unwrap();
    assert_eq!(backups.len(), 1, "{name}");
    // Whoever never gets the answer to the beginning of an upload cannot end it: that is left to the next run.
    let begun = bucket.open_uploads();
    bucket.age_uploads(SignedDuration::from_hours(25));
    let swept = sweep(&repository, name).await;
    assert_eq!(bucket.open_uploads(), 0, "{name}");
    assert!(swept >= begun as u64, "{name}: {swept} of {begun}");
}

/// Expires a cluster of which the policy keeps all; returns how many objects were swept.
async fn sweep(repository: &Repository, name: &str) -> u64 {
    let policy = Policy::default();
    let outcome = expire(repository, &CLUSTER, &policy, Timestamp::now(), false).await;
    let outcome = outcome.unwrap_or_else(|error| panic!("{name}: {}", error.report()));
    assert_eq!(outcome.problems, Vec::<String>::new(), "{name}");
    outcome.deleted.swept_objects
}

#[tokio::test]
async fn uploads_that_nobody_ended_are_given_up_by_the_next_run() {
    let bucket = Bucket::start().await;
    let repository = repository(&bucket).await;
    let lost = Fault::LoseAnswer(500, "InternalError");
    bucket.fail(rule("POST", "uploads", 3, lost));
    let (id, settings) = (backup_id(1), PartSettings::default());
    write_part(&repository, &id, 0, vec![noise(1, 12 << 20)], settings)
        .await
        .unwrap();
    assert_eq!(bucket.open_uploads(), 3, "nobody knows their names");
    assert_eq!(sweep(&repository, "a young upload").await, 0);
    assert_eq!(bucket.open_uploads(), 3, "somebody may be writing it");

    // A page holds two of them, and their writer lives.
    bucket.set_page(2);
    bucket.age_uploads(SignedDuration::from_hours(25));
    let mut facts = LeaseFacts::new("backup", "a", 600, Timestamp::now());
    facts.backups = vec![id];
    let lease = repository.share_lease(&CLUSTER, facts).await.unwrap();
    assert_eq!(sweep(&repository, "a slow writer").await, 0);
    assert_eq!(bucket.open_uploads(), 3, "its writer works at it");
    lease.release().await.unwrap();

    bucket.fail(rule(
        "GET",
        "uploads=",
        1,
        Fault::Refuse(403, "AccessDenied"),
    ));
    let policy = Policy::default();
    let outcome = expire(&repository, &CLUSTER, &policy, Timestamp::now(), false);
    let problems = outcome.await.unwrap().problems;
    assert!(
        matches!(&problems[..], [problem] if problem.contains("does not allow it")),
        "{problems:?}"
    );
    assert_eq!(sweep(&repository, "the next run").await, 3);
    assert_eq!(bucket.open_uploads(), 0);
}

#[tokio::test]
async fn a_store_that_lists_no_uploads_is_no_problem() {
    let bucket = Bucket::start().await;
    let repository = repository(&bucket).await;
    let missing = Fault::Refuse(501, "NotImplemented");
    bucket.fail(rule("GET", "uploads=", 1, missing));
    assert_eq!(sweep(&repository, "no list").await, 0);
}

#[tokio::test]
async fn passing_refusals_pass() {
    let slow = Fault::Refuse(503, "SlowDown");
    let broken = Fault::Refuse(500, "InternalError");
    let slow = vec![rule("PUT", "", 2, slow), rule("GET", "", 2, slow)];
    let broken = vec![rule("HEAD", "", 1, broken), rule("POST", "", 1, broken)];
    let inside = Fault::ErrorInside("InternalError");
    let inside = vec![rule("POST", "uploadId", 1, inside)];
    tokio::join!(
        passes("a slow store", slow),
        passes("a broken store", broken),
        passes("an error inside a success", inside),
    );
}

#[tokio::test]
async fn lost_answers_pass() {
    let lost = Fault::LoseAnswer(500, "InternalError");
    let writes = vec![
        rule("PUT", "COMMIT.json", 1, lost),
        rule("PUT", "partNumber=2", 1, lost),
    ];
    let closes = vec![
        rule("PUT", "", 1, Fault::Close),
        rule("GET", "part-", 1, Fault::Close),
    ];
    let hangs = vec![
        rule("PUT", "partNumber=1", 1, Fault::Hang),
        rule("GET", "part-", 1, Fault::Hang),
    ];
    let cut = vec![
        rule("GET", "part-", 3, Fault::Cut(3 << 20)),
        rule("GET", "part-", 1, Fault::Cut(0)),
    ];
    tokio::join!(
        passes("answers to writes get lost", writes),
        passes(
            "the end of an upload gets lost",
            vec![rule("POST", "uploadId", 1, lost)]
        ),
        passes(
            "the beginning of an upload gets lost",
            vec![rule("POST", "uploads", 2, lost)]
        ),
        passes("connections close", closes),
        passes("no answer", hangs),
        passes("bodies break off", cut),
    );
}

#[tokio::test]
async fn a_fault_that_stays_is_told_and_leaves_nothing() {
    let bucket = Bucket::start().await;
    let repository = repository(&bucket).await;
    let mut patient = settings(&bucket);
    patient.try_again_for = Some(Duration::from_millis(300));
    let hasty = Repository::open(PLACE, &patient).await.unwrap();
    bucket.fail(Rule {
        after: 1,
        ..rule(
            "PUT",
            "partNumber",
            usize::MAX,
            Fault::Refuse(503, "SlowDown"),
        )
    });
    let content = vec![noise(1, 30 << 20)];
    let failed = write_part(&hasty, &backup_id(1), 0, content, PartSettings::default()).await;
    let report = failed.unwrap_err().report();
    let detail = report.detail.unwrap();
    assert!(detail.contains("asks to slow down"), "{detail}");
    bucket.heal();
    assert_eq!(bucket.open_uploads(), 0, "what was sent is given up");
    assert_eq!(repository.list(&CLUSTER.backups()).await.unwrap(), []);
}

#[tokio::test]
async fn what_is_wrong_is_said_in_words() {
    let bucket = Bucket::start().await;
    repository(&bucket).await;
    let detail = async |place: &str, settings: RepositorySettings| {
        let failed = Repository::open(place, &settings).await.unwrap_err();
        let report = failed.report();
        assert!(report.hint.is_some(), "{report}");
        format!("{report}")
    };
    let right = settings(&bucket);
    let wrong = RepositorySettings {
        secret_key: Some(Secret::new("guessed".to_owned())),
        ..right.clone()
    };
    let said = detail(PLACE, wrong).await;
    assert!(said.contains("does not belong to the access key"), "{said}");
    assert!(!said.contains("guessed"), "{said}");
    let wrong = RepositorySettings {
        access_key: Some("AKIANOBODY".to_owned()),
        ..right.clone()
    };
    let said = detail(PLACE, wrong).await;
    assert!(said.contains("does not know the access key"), "{said}");
    let said = detail("s3://elsewhere/x", right.clone()).await;
    assert!(said.contains("the bucket does not exist"), "{said}");
    let said = detail("s3://backups/empty", right.clone()).await;
    assert!(said.contains("is no repository"), "{said}");
    bucket.set_ahead(SignedDuration::from_hours(1));
    let said = detail(PLACE, right.clone()).await;
    assert!(
        said.contains("clocks") && said.contains("timedatectl"),
        "{said}"
    );
    drop(bucket);
    let gone = RepositorySettings {
        try_again_for: Some(Duration::from_millis(100)),
        ..right
    };
    let said = detail(PLACE, gone).await;
    assert!(said.contains("refused"), "{said}");
}

#[tokio::test]
async fn a_lock_on_objects_is_told_and_what_it_keeps_stays_whole() {
    let bucket = Bucket::start().await;
    let repository = repository(&bucket).await;
    for number in 1..=2 {
        take(&repository, number, None).await.unwrap();
    }
    let policy = Policy {
        keep_fulls: Some(1),
        grace: SignedDuration::ZERO,
        ..Policy::default()
    };
    let now = Timestamp::now;
    expire(&repository, &CLUSTER, &policy, now(), false)
        .await
        .unwrap();
    bucket.set_ahead(SignedDuration::from_secs(2));
    // Only the backup is locked: its tomb, the lease, the clock's object are not.
    bucket.fail(rule(
        "DELETE",
        "/backup/",
        usize::MAX,
        Fault::Refuse(403, "AccessDenied"),
    ));
    let later = now() + SignedDuration::from_secs(5);
    let outcome = expire(&repository, &CLUSTER, &policy, later, false)
        .await
        .unwrap();
    assert_eq!(outcome.deleted.backups, []);
    assert_eq!(outcome.problems.len(), 1, "{:?}", outcome.problems);
    assert!(
        outcome.problems[0].contains("does not allow it"),
        "{:?}",
        outcome.problems
    );
    assert_eq!(repository.backups(&CLUSTER).await.unwrap().len(), 2);
    bucket.heal();
    let outcome = expire(&repository, &CLUSTER, &policy, later, false)
        .await
        .unwrap();
    assert_eq!(outcome.deleted.backups, [backup_id(1)]);
    assert_eq!(
        repository
            .list(&CLUSTER.backup(&backup_id(1)))
            .await
            .unwrap(),
        []
    );
}

#[tokio::test]
async fn the_clock_of_the_store_decides_whether_a_lease_ran_out() {
    let bucket = Bucket::start().await;
    let repository = repository(&bucket).await;
    // By its owner's clock it was taken long ago.
    let long_ago = Timestamp::now() - SignedDuration::from_hours(1000);
    let facts = |owner: &str| LeaseFacts::new("backup", owner, 60, long_ago);
    let first = repository.take_lease(&CLUSTER, facts("a")).await.unwrap();
    assert!(matches!(first, Held::Ours(_)));
    let second = repository.take_lease(&CLUSTER, facts("b")).await.unwrap();
    assert!(matches!(second, Held::Other(_)));
    bucket.set_ahead(SignedDuration::from_secs(62));
    let second = repository.take_lease(&CLUSTER, facts("b")).await.unwrap();
    assert!(matches!(second, Held::Ours(_)));
}
