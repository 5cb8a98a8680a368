//! What people ask for.

use pawang_core::Level::{Ok as Fine, Warning};
use pawang_core::alert::{Draft, HandlingState, Matcher, Operator, Priority, Request};

use super::world::{QUICK, World, seconds};
use crate::book::{Question, Subject};
use crate::span::later;

const DISK: &str = "disk-free";

fn draft(label: &str, value: &str, everything: bool) -> Draft {
    let matcher = Matcher {
        label: label.to_owned(),
        operator: Operator::Matches,
        value: value.to_owned(),
    };
    Draft {
        matchers: vec![matcher],
        reason: "work".to_owned(),
        everything,
    }
}

#[test]
fn what_cannot_be_done_is_refused_with_a_hint() {
    let mut world = World::new(QUICK);
    world.set("dwh-1", DISK, Warning);
    world.set("dwh-2", DISK, Warning);
    let name = world.name("dwh-1", DISK);
    let hour = later(world.now, seconds(3_600));
    let mut check = |request: Request, expected: &str| {
        let report = world.ask(request).expect_err(expected);
        assert_eq!(report.primary, expected);
        assert!(report.hint.is_some(), "{expected}");
    };
    let ack = |name: &str, until| Request::Acknowledge {
        alerts: vec![name.to_owned()],
        until,
        note: String::new(),
    };
    check(ack("zzz", None), "there is no alert \"zzz\"");
    check(ack("", None), "there is no alert \"\"");
    check(
        Request::Unacknowledge { alerts: Vec::new() },
        "no alert is named",
    );
    check(
        Request::Unacknowledge {
            alerts: vec![name.clone()],
        },
        "nobody has acknowledged alert \"dwh-1 disk-free\"",
    );
    let past = "2026-11-15T00:00:00Z".parse().unwrap();
    check(
        ack(&name, Some(past)),
        "the acknowledgement would end before it begins: 2026-11-15T00:00:00Z is past",
    );
    let far = later(hour, seconds(400 * 86_400));
    check(
        Request::Mute {
            alert: name.clone(),
            until: far,
            reason: "x".to_owned(),
        },
        "the silence would last longer than a year",
    );
    check(
        Request::Mute {
            alert: name.clone(),
            until: hour,
            reason: " ".to_owned(),
        },
        "the reason is empty",
    );
    check(
        Request::Unmute {
            alert: name.clone(),
        },
        "alert \"dwh-1 disk-free\" is neither muted by itself nor snoozed",
    );
}

#[test]
fn silences_and_windows_that_make_no_sense_are_refused_with_a_hint() {
    let mut world = World::new(QUICK);
    let hour = later(world.now, seconds(3_600));
    let mut check = |request: Request, expected: &str| {
        let report = world.ask(request).expect_err(expected);
        assert_eq!(report.primary, expected);
        assert!(report.hint.is_some(), "{expected}");
    };
    check(
        Request::AddSilence {
            draft: draft("check", ".*", false),
            starts_at: None,
            ends_at: hour,
        },
        "the silence would keep every alert quiet",
    );
    check(
        Request::ExpireSilence { silence: 7 },
        "there is no silence 7 that holds or will hold",
    );
    check(
        Request::RemoveWindow {
            window: "w".to_owned(),
        },
        "there is no window \"w\"",
    );
    check(
        Request::AddWindow {
            draft: draft("group", "prod", false),
            schedule: "someday".to_owned(),
            name: None,
        },
        "cannot read schedule \"someday\"",
    );
    let past = "2026-11-01 10:00 for 1 h".to_owned();
    check(
        Request::AddWindow {
            draft: draft("group", "prod", false),
            schedule: past,
            name: None,
        },
        "window \"window-1\" would never be open: \"2026-11-01 10:00 for 1 h\" is over",
    );
}

#[test]
fn what_is_done_is_told_with_the_way_back() {
    let mut world = World::new(QUICK);
    world.set("dwh-1", DISK, Warning);
    let name = world.name("dwh-1", DISK);
    let hour = later(world.now, seconds(3_600));
    let state = |world: &World| world.book.present(world.now).alerts[0].handling.state();
    let done = world
        .ask(Request::Mute {
            alert: name[..8].to_owned(),
            until: hour,
            reason: "x".to_owned(),
        })
        .unwrap();
    assert_eq!(
        done.text,
        "muted \"dwh-1 disk-free\" until 01:00 UTC (silence 1)"
    );
    assert_eq!(done.undo, Some(format!("pawang alert unmute {name}")));
    assert_eq!(state(&world), HandlingState::Silenced);
    world
        .ask(Request::Unmute {
            alert: name.clone(),
        })
        .unwrap();
    assert_eq!(state(&world), HandlingState::New);
    let snooze = Request::Snooze {
        alerts: vec![name.clone()],
        until: hour,
        note: String::new(),
    };
    let done = world.ask(snooze).unwrap();
    assert_eq!(done.text, "snoozed \"dwh-1 disk-free\" until 01:00 UTC");
    assert_eq!(state(&world), HandlingState::Snoozed);
    world.wait(seconds(3_700));
    assert_eq!(state(&world), HandlingState::New);
    assert_eq!(
        world.told(),
        ["mail: [FIRING] warning: dwh-1 disk-free: 93 % used (limit 90 %)"]
    );
    let window = Request::AddWindow {
        draft: draft("group", "prod", false),
        schedule: "now for 2 h".to_owned(),
        name: None,
    };
    let done = world.ask(window).unwrap();
    assert_eq!(done.objects, ["window-1"]);
    assert_eq!(state(&world), HandlingState::InMaintenance);
    assert_eq!(world.book.present(world.now).open_windows.len(), 1);
    world.restart();
    world.judge("dwh-1");
    assert_eq!(state(&world), HandlingState::InMaintenance);
    world
        .ask(Request::RemoveWindow {
            window: "window-1".to_owned(),
        })
        .unwrap();
    assert_eq!(state(&world), HandlingState::New);
    assert_eq!(
        world.told(),
        ["mail: [FIRING AFTER MAINTENANCE] warning: dwh-1 disk-free: 93 % used (limit 90 %)"]
    );
}

#[test]
fn incidents_are_opened_noted_and_closed() {
    let mut world = World::new(QUICK);
    world.set("dwh-1", "connections", Warning);
    let alerts = vec![world.name("dwh-1", "connections")];
    let open = Request::OpenIncident {
        title: "slow reports".to_owned(),
        priority: Priority::P2,
        instances: vec!["dwh-1".to_owned()],
        alerts,
    };
    let done = world.ask(open).unwrap();
    assert_eq!(done.objects, ["1"]);
    assert_eq!(world.book.present(world.now).alerts[0].incident, Some(1));
    world
        .ask(Request::NoteIncident {
            incident: 1,
            text: "looking".to_owned(),
        })
        .unwrap();
    world
        .ask(Request::CloseIncident {
            incident: 1,
            review: "an index".to_owned(),
        })
        .unwrap();
    assert!(
        world
            .ask(Request::CloseIncident {
                incident: 1,
                review: "again".to_owned()
            })
            .is_err()
    );
    world.set("dwh-1", "connections", Fine);
}

#[test]
fn it_is_explained_who_would_be_told() {
    let world = World::new(&format!(
        r#"{QUICK}
        [[alert.policy]]
        name = "duty"
        [[alert.policy.step]]
        after = "0 s"
        notify = ["mail"]
        [[alert.policy.step]]
        after = "10 min"
        notify = ["mail"]
        [[alert.route]]
        name = "urgent"
        match = ['priority=~"P[12]"']
        policy = "duty"
        [[alert.window]]
        name = "always"
        schedule = "daily 00:00-23:00"
        match = ['instance="dwh-1"']
        "#
    ));
    let question = Question {
        check: DISK.to_owned(),
        level: pawang_core::Level::Critical,
        object: String::new(),
        database: None,
        subject: Subject {
            name: "dwh-1".to_owned(),
            production: true,
            ..Subject::default()
        },
    };
    let explanation = world.book.explain(&question, world.now);
    assert_eq!(explanation.priority, Priority::P1);
    assert_eq!(explanation.ways.len(), 1);
    let way = &explanation.ways[0];
    assert_eq!(
        (way.route.as_str(), way.policy.as_deref()),
        ("urgent", Some("duty"))
    );
    let steps: Vec<String> = way.steps.iter().map(|step| step.at.to_string()).collect();
    assert_eq!(steps, ["2026-11-16T00:00:01Z", "2026-11-16T00:10:00Z"]);
    assert_eq!(explanation.mutes.len(), 1);
}
