//! What a plan takes, passes over and refuses.

use super::*;
use crate::repository::{FORMAT, Mode, Object, Pages, Part, Position, ServerFacts};
use crate::wal::Switch;

const CLUSTER: ClusterId = ClusterId {
    system_identifier: 7,
    major: 17,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn id(number: u8) -> BackupId {
    BackupId::new(at(i64::from(number)), [number; 10])
}

/// A backup from `start` to `stop`, which ended in that second.
fn backup(number: u8, timeline: u32, start: u64, stop: u64, parent: Option<u8>) -> Commit {
    let object = Object {
        bytes: 1,
        sha256: String::new(),
    };
    let position = |lsn| Position {
        timeline: Timeline(timeline),
        lsn: Lsn(lsn),
    };
    let part = Part {
        name: "part-00000.tar.zst".to_owned(),
        tablespace: None,
        bytes: 100,
        raw_bytes: 1000,
        members: 1,
        sha256: String::new(),
    };
    Commit {
        format: FORMAT,
        backup: id(number),
        cluster: CLUSTER,
        server: ServerFacts {
            instance: "dwh-1".to_owned(),
            version: 170_004,
            segment_bytes: 16,
            block_bytes: 8192,
            data_checksums: true,
            standby: false,
            data_bytes: 1000,
        },
        mode: Mode::Protocol,
        kind: if parent.is_some() {
            BackupKind::Incremental
        } else {
            BackupKind::Full
        },
        parent: parent.map(id),
        started_at: at(start.cast_signed()),
        ended_at: at(stop.cast_signed()),
        start: position(start),
        stop: position(stop),
        parts: vec![part],
        tablespaces: Vec::new(),
        manifest: object,
        pages: Pages::default(),
        relation_files: None,
        recipients: Vec::new(),
        tool: "pawang".to_owned(),
    }
}

fn wanted(target: Target) -> Wanted {
    Wanted {
        target,
        inclusive: true,
        timeline: None,
        backup: None,
    }
}

/// Two backups on timeline 1, which was left at 90 for timeline 2; WAL is missing from 50 to 60, and on 1 from 80 on.
struct Scene {
    commits: Vec<Commit>,
    coverage: Coverage,
    histories: Histories,
    rotten: BTreeMap<BackupId, String>,
}

fn scene() -> Scene {
    let mut coverage = Coverage::default();
    coverage.add(Timeline(1), Lsn(8), Lsn(50));
    coverage.add(Timeline(1), Lsn(60), Lsn(96));
    coverage.add(Timeline(2), Lsn(90), Lsn(120));
    let two = History {
        timeline: Timeline(2),
        switches: vec![Switch {
            timeline: Timeline(1),
            at: Lsn(90),
            reason: String::new(),
        }],
    };
    Scene {
        commits: vec![
            backup(1, 1, 10, 20, None),
            backup(2, 1, 30, 40, Some(1)),
            backup(3, 1, 62, 70, None),
        ],
        coverage,
        histories: Histories::from([(Timeline(2), two)]),
        rotten: BTreeMap::new(),
    }
}

impl Scene {
    fn plan(&self, located: &Located, wanted: &Wanted) -> Result<RestorePlan, Report> {
        let known = Known {
            cluster: CLUSTER,
            commits: &self.commits,
            proven: &BTreeMap::new(),
            rotten: &self.rotten,
            coverage: &self.coverage,
            histories: &self.histories,
            located,
        };
        let speed = Speed {
            unpack_bytes_per_second: 100.0,
            replay_bytes_per_second: 10.0,
        };
        plan(&known, wanted, Some(speed))
    }

    fn refusal(&self, located: &Located, wanted: &Wanted) -> String {
        let refused = self.plan(located, wanted).unwrap_err();
        assert_eq!(refused.kind, Kind::Refused);
        assert!(refused.hint.is_some(), "{refused}");
        format!(
            "{} | {}",
            refused.primary,
            refused.detail.unwrap_or_default()
        )
    }
}

fn within(from: u64, by: u64) -> Located {
    Located::Within {
        from: Lsn(from),
        by: Lsn(by),
        begun_by: None,
    }
}

#[test]
fn the_newest_backup_before_the_target_is_used_with_what_it_stands_on() {
    let scene = scene();
    for (target, located, backups, reached) in [
        (Target::Latest, Located::NotAsked, vec![3], 120),
        (Target::Immediate, Located::NotAsked, vec![3], 70),
        (Target::Time(at(45)), within(44, 46), vec![1, 2], 46),
        (Target::Time(at(40)), within(40, 41), vec![1, 2], 41),
        (Target::Time(at(39)), within(39, 41), vec![1], 41),
        (Target::Lsn(Lsn(20)), Located::NotAsked, vec![1], 21),
        (Target::Lsn(Lsn(119)), Located::NotAsked, vec![3], 120),
        (Target::Xid(900), Located::Untold, vec![3], 120),
    ] {
        let plan = scene.plan(&located, &wanted(target.clone())).unwrap();
        let chain: Vec<BackupId> = plan.chain.iter().map(|step| step.backup.clone()).collect();
        let expected: Vec<BackupId> = backups.into_iter().map(id).collect();
        assert_eq!(chain, expected, "{target}");
        assert_eq!(plan.replay_to, Lsn(reached), "{target}");
        assert_eq!(plan.timeline, Timeline(2));
        assert_eq!(plan.unproven.is_some(), located == Located::Untold);
    }
    let plan = scene
        .plan(&within(44, 46), &wanted(Target::Time(at(45))))
        .unwrap();
    assert_eq!(plan.estimated, Some(Duration::from_secs_f64(20.0 + 1.6)));
    assert_eq!(plan.passed_over[0].backup, id(3));
    let text = plan.to_string();
    for word in [
        "increment",
        "not proven yet",
        "about 21 s",
        "behind the target",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn what_cannot_be_reached_is_refused_with_what_can() {
    let scene = scene();
    let refusal = |target, located| scene.refusal(&located, &wanted(target));
    let before = refusal(Target::Lsn(Lsn(12)), Located::NotAsked);
    assert!(
        before.contains("before the end of the first backup"),
        "{before}"
    );
    assert!(before.contains("from 0/14"), "{before}");
    let gap = refusal(Target::Time(at(55)), within(54, 58));
    assert!(
        gap.contains("WAL of timeline 1 from 0/32 to 0/3C is missing"),
        "{gap}"
    );
    let behind_gap = refusal(Target::Time(at(65)), within(64, 66));
    assert!(behind_gap.contains("is missing"), "{behind_gap}");
    let after = refusal(Target::Lsn(Lsn(120)), Located::NotAsked);
    assert!(after.contains("after the last WAL"), "{after}");
    assert!(after.contains("timeline 2 ends at 0/78"), "{after}");
    let future = refusal(
        Target::Time(at(500)),
        Located::Nowhere {
            last_commit_at: Some(at(119)),
        },
    );
    assert!(
        future.contains("the last transaction in it committed at"),
        "{future}"
    );
    let several = Located::Several {
        at: vec![Lsn(64), Lsn(72)],
    };
    let twice = refusal(Target::Xid(731), several);
    assert!(
        twice.contains("is in WAL 2 times | at 0/40, 0/48"),
        "{twice}"
    );
    let nobody_looked = refusal(
        Target::Name("before batch 42".to_owned()),
        Located::NotAsked,
    );
    assert!(
        nobody_looked.contains("was not looked for"),
        "{nobody_looked}"
    );
}

#[test]
fn backups_of_other_timelines_and_broken_chains_are_passed_over() {
    let mut scene = scene();
    // Taken on timeline 1 after it was left: it does not lead to timeline 2.
    scene.commits.push(backup(4, 1, 91, 95, None));
    // The full one that it stands on is gone.
    scene.commits.push(backup(5, 1, 72, 75, Some(9)));
    let plan = scene
        .plan(&Located::NotAsked, &wanted(Target::Latest))
        .unwrap();
    assert_eq!(*plan.backup(), id(3));
    let reasons: Vec<&str> = plan
        .passed_over
        .iter()
        .map(|passed| passed.why.as_str())
        .collect();
    assert!(
        reasons[0].contains("timeline 1 was left at 0/5A"),
        "{reasons:?}"
    );
    assert!(reasons[1].contains("which is not there"), "{reasons:?}");
    let mut one = wanted(Target::Latest);
    one.timeline = Some(Timeline(1));
    let plan = scene.plan(&Located::NotAsked, &one).unwrap();
    assert_eq!((plan.backup(), plan.replay_to), (&id(4), Lsn(96)));
    one.timeline = Some(Timeline(3));
    assert!(
        scene
            .refusal(&Located::NotAsked, &one)
            .contains("history of timeline 3")
    );
    one.timeline = None;
    one.backup = Some(id(9));
    assert!(
        scene
            .refusal(&Located::NotAsked, &one)
            .contains("has no backup")
    );
    scene.commits.clear();
    assert!(
        scene
            .refusal(&Located::NotAsked, &wanted(Target::Latest))
            .contains("has no backup")
    );
}

#[test]
fn a_chain_needs_the_room_of_its_largest_backup() {
    let mut scene = scene();
    let part = |tablespace, raw_bytes| Part {
        tablespace,
        raw_bytes,
        ..scene.commits[0].parts[0].clone()
    };
    let (full, increment) = (
        vec![part(None, 600), part(Some(7), 300), part(Some(7), 200)],
        vec![part(None, 20), part(Some(7), 10)],
    );
    (scene.commits[0].parts, scene.commits[1].parts) = (full, increment);
    (
        scene.commits[0].server.data_bytes,
        scene.commits[1].server.data_bytes,
    ) = (1000, 30);
    scene.commits[1].tablespaces = vec![Tablespace {
        oid: 7,
        location: "/cold".to_owned(),
    }];
    let plan = scene
        .plan(&Located::NotAsked, &wanted(Target::Lsn(Lsn(45))))
        .unwrap();
    assert_eq!(plan.chain.len(), 2);
    assert_eq!(plan.data_bytes, 1000);
    assert_eq!(plan.tablespace_bytes, BTreeMap::from([(7, 500)]));
}

#[test]
fn a_time_that_no_commit_shows_needs_a_backup_that_had_begun() {
    let scene = scene();
    let unshown = |second| Located::Within {
        from: Lsn(75),
        by: Lsn(76),
        begun_by: Some(at(second)),
    };
    let plan = |second| scene.plan(&unshown(second), &wanted(Target::Time(at(second))));
    assert_eq!(*plan(62).unwrap().backup(), id(3));
    let refused = scene.refusal(&unshown(5), &wanted(Target::Time(at(5))));
    assert!(
        refused.contains("before the end of the first backup"),
        "{refused}"
    );
    // The older ones had begun, but WAL is missing behind them.
    let refused = scene.refusal(&unshown(61), &wanted(Target::Time(at(61))));
    assert!(refused.contains("no commit shows"), "{refused}");
    assert!(
        refused.contains("from 0/32 to 0/3C is missing"),
        "{refused}"
    );
}

#[test]
fn the_end_before_a_hole_is_not_the_latest() {
    let mut scene = scene();
    scene.commits.truncate(2);
    let refused = scene.refusal(&Located::NotAsked, &wanted(Target::Latest));
    assert!(
        refused.contains("WAL of timeline 1 from 0/32 to 0/3C is missing"),
        "{refused}"
    );
    assert!(refused.contains("to 0/32"), "{refused}");
    let immediate = wanted(Target::Immediate);
    assert!(scene.plan(&Located::NotAsked, &immediate).is_ok());
}

#[test]
fn what_is_not_what_was_stored_is_taken_only_when_it_is_named() {
    let mut scene = scene();
    let target = Target::Time(at(45));
    scene.rotten.insert(id(2), "part-00000 is gone".to_owned());
    let plan = scene
        .plan(&within(44, 46), &wanted(target.clone()))
        .unwrap();
    assert_eq!(*plan.backup(), id(1));
    let passed = plan
        .passed_over
        .iter()
        .find(|passed| passed.backup == id(2));
    assert!(
        passed
            .unwrap()
            .why
            .ends_with("is not what was stored: part-00000 is gone")
    );
    assert!(plan.rotten.is_empty());

    let named = Wanted {
        backup: Some(id(2)),
        ..wanted(target.clone())
    };
    let plan = scene.plan(&within(44, 46), &named).unwrap();
    assert_eq!(plan.rotten[0].backup, id(2));
    assert!(plan.to_string().contains("damaged    "), "{plan}");

    // What stands on it is no better.
    scene.rotten = BTreeMap::from([(id(1), "rot".to_owned())]);
    let refused = scene.refusal(&within(44, 46), &wanted(target));
    assert!(refused.contains("is not what was stored: rot"), "{refused}");
}
