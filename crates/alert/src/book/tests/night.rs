//! What must wake nobody for nothing, and what must not be kept from anybody, when much goes wrong at once.

use pawang_core::Level::{Critical, Ok as Fine, Warning};
use pawang_core::alert::{EventKind, MessageKind, Request};

use super::world::{QUICK, World, seconds};
use crate::book::Event;
use crate::span::later;

const DISK: &str = "disk-free";

/// The file of the other tests where good news waits.
fn slow(more: &str) -> String {
    let quick = QUICK.replace("keep_firing = \"0 s\"", "keep_firing = \"10 min\"");
    format!("{}\n{more}", quick.replace("\"1 s\"", "\"30 s\""))
}

const LADDER: &str = r#"
    [[alert.channel]]
    name = "chat"
    exec.command = ["true"]
    [[alert.policy]]
    name = "duty"
    [[alert.policy.step]]
    after = "0 s"
    notify = ["mail"]
    [[alert.policy.step]]
    after = "15 min"
    notify = ["chat"]
    [[alert.route]]
    name = "all"
    policy = "duty"
"#;

#[test]
fn bad_news_does_not_wait_until_a_server_that_is_back_is_surely_back() {
    let mut world = World::new(&slow(""));
    world.set("dwh-1", "connection", Critical);
    world.wait(seconds(3_600));
    world.told();
    world.set("dwh-1", "connection", Fine);
    world.wait(seconds(120));
    world.set("dwh-1", DISK, Critical);
    world.wait(seconds(120));
    let told = world.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("dwh-1 disk-free"), "{told:?}");
}

#[test]
fn what_was_explained_is_told_when_it_is_seen_after_the_server_came_back() {
    let mut world = World::new(&slow(""));
    world.put("dwh-1", DISK, "", Critical, 93.0);
    world.set("dwh-1", "connection", Critical);
    world.wait(seconds(3_600));
    let told = world.told();
    assert!(told.iter().all(|text| !text.contains("disk")), "{told:?}");
    world.set("dwh-1", "connection", Fine);
    world.wait(seconds(360));
    let told = world.told();
    assert!(told.iter().any(|text| text.contains("disk")), "{told:?}");
}

#[test]
fn what_is_good_again_is_not_told_to_whom_it_is_new() {
    let mut world = World::new(&slow(""));
    world.set("dwh-1", DISK, Critical);
    world.go(seconds(10), None);
    world.set("dwh-1", DISK, Fine);
    world.wait(seconds(120));
    assert!(world.told().is_empty(), "it is good already");
    world.set("dwh-1", DISK, Critical);
    let told = world.told();
    assert_eq!(told.len(), 1, "it came back: {told:?}");
    world.set("dwh-1", DISK, Fine);
    world.wait(seconds(7_200));
    assert_eq!(world.told().len(), 1, "and is over");
}

#[test]
fn what_is_good_at_the_end_of_a_window_is_told_only_when_it_comes_back() {
    let window = "[[alert.window]]\nname = \"w\"\nschedule = \"mon 01:00-02:00\"\nmatch = ['group=\"prod\"']";
    let mut world = World::new(&slow(window));
    world.wait(seconds(3_660));
    world.set("dwh-1", DISK, Critical);
    world.wait(seconds(3_000));
    world.set("dwh-1", DISK, Fine);
    world.wait(seconds(1_200));
    assert!(world.told().is_empty());
    world.set("dwh-1", DISK, Critical);
    world.wait(seconds(60));
    assert_eq!(world.told().len(), 1);
}

#[test]
fn a_ladder_stands_still_while_it_is_good() {
    let mut world = World::new(&slow(LADDER));
    world.set("dwh-1", DISK, Critical);
    world.wait(seconds(14 * 60));
    assert_eq!(world.told().len(), 1);
    world.set("dwh-1", DISK, Fine);
    world.wait(seconds(5 * 60));
    assert!(world.told().is_empty(), "nobody is woken for what is good");
    world.set("dwh-1", DISK, Critical);
    let told = world.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("chat: [ESCALATED]"), "{told:?}");
}

#[test]
fn an_acknowledgement_that_ends_while_it_is_good_is_owed_until_it_comes_back() {
    let mut world = World::new(&slow(""));
    world.set("dwh-1", DISK, Critical);
    world.wait(seconds(1_200));
    let acknowledge = Request::Acknowledge {
        alerts: vec![world.name("dwh-1", DISK)],
        until: Some(later(world.now, seconds(300))),
        note: String::new(),
    };
    world.ask(acknowledge).unwrap();
    world.told();
    world.set("dwh-1", DISK, Fine);
    world.wait(seconds(600));
    assert!(world.told().is_empty());
    world.set("dwh-1", DISK, Critical);
    let told = world.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("STILL FIRING"), "{told:?}");
}

#[test]
fn nothing_is_told_because_the_daemon_stood_still() {
    let mut world = World::new(&slow(""));
    for number in 0..100 {
        world.put(&format!("dwh-{number:03}"), "connections", "", Fine, 0.0);
    }
    world.put("dwh-000", DISK, "", Critical, 93.0);
    world.judge_all();
    world.wait(seconds(1_200));
    world.set("dwh-000", DISK, Fine);
    world.told();
    world.now = later(world.now, seconds(3 * 3_600));
    world.take(Event::Tick);
    world.go(seconds(40), None);
    assert!(world.told().is_empty(), "neither stale nor over");
    world.put("dwh-000", DISK, "", Critical, 93.0);
    world.judge_all();
    world.wait(seconds(600));
    let told = world.told();
    assert!(told.iter().all(|text| text.contains("STILL")), "{told:?}");
    world.go(seconds(600), None);
    let told = world.told();
    assert_eq!(told.len(), 100, "now nobody looks in truth");
}

#[test]
fn what_is_not_known_after_a_restart_is_not_over() {
    let mut world = World::new(QUICK);
    world.set("dwh-1", "connections", Fine);
    world.set("dwh-2", "connections", Fine);
    world.blind.insert(("dwh-2".into(), "connections".into()));
    for _ in 0..20 {
        world.go(seconds(60), None);
        world.judge("dwh-2");
    }
    let told = world.told();
    assert_eq!(told.len(), 2, "one is stale, one is blind: {told:?}");
    world.restart();
    world.go(seconds(30), None);
    for _ in 0..60 {
        world.judge("dwh-2");
        world.go(seconds(60), None);
    }
    assert!(world.told().is_empty(), "both are as they were");
    world.blind.clear();
    world.wait(seconds(2 * 3_600));
    assert_eq!(world.told().len(), 2, "both are over");
    assert!(world.belief["mail"].is_empty());
}

#[test]
fn a_check_that_cannot_see_any_more_is_told_once_and_so_is_its_end() {
    let mut world = World::new(QUICK);
    world.set("dwh-1", "connections", Fine);
    world.set("dwh-1", "connection", Fine);
    world.blind.insert(("dwh-1".into(), "connections".into()));
    world.wait(seconds(14 * 60));
    assert!(world.told().is_empty(), "it may see again soon");
    world.wait(seconds(3 * 60));
    let told = world.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("monitor-blind"), "{told:?}");
    assert!(told[0].contains("connections"), "{told:?}");
    // A server that does not answer does not make it see.
    world.reach("dwh-1", false);
    world.wait(seconds(3 * 3_600));
    world.reach("dwh-1", true);
    world.wait(seconds(600));
    assert!(world.told().is_empty());
    world.blind.clear();
    world.wait(seconds(3 * 3_600));
    let told = world.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("[RESOLVED]"), "{told:?}");
}

#[test]
fn a_check_that_never_could_see_is_no_alert() {
    let mut world = World::new(QUICK);
    world.blind.insert(("dwh-1".into(), "connections".into()));
    world.set("dwh-1", "connections", Fine);
    world.wait(seconds(3_600));
    assert!(world.told().is_empty());
}

#[test]
fn an_instance_that_was_taken_out_while_nothing_ran_leaves_no_alert_behind() {
    let named = |names: &[&str]| {
        let instances = names.iter().map(|name| {
            format!("[[instance]]\nname = \"{name}\"\nurl = \"postgresql://{name}/postgres\"\n")
        });
        format!("{QUICK}\n{}", instances.collect::<String>())
    };
    let mut world = World::new(&named(&["dwh-1", "Dwh-2-é"]));
    world.set("dwh-1", DISK, Critical);
    world.set("Dwh-2-é", DISK, Critical);
    world.wait(seconds(60));
    assert_eq!(world.told().len(), 2);
    world.setup = super::world::setup(&named(&["dwh-1"]));
    world.restart();
    for _ in 0..60 {
        world.go(seconds(60), None);
        world.judge("dwh-1");
    }
    let told = world.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("[RESOLVED] Dwh-2-é"), "{told:?}");
}

#[test]
fn a_channel_that_was_taken_out_is_told_no_end_and_the_others_are_told_what_fires() {
    let mut world = World::new(QUICK);
    world.set("dwh-1", DISK, Critical);
    world.wait(seconds(60));
    world.told();
    world.configure(&QUICK.replace("\"mail\"", "\"chat\""));
    world.wait(seconds(600));
    let told = world.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("chat: [FIRING]"), "{told:?}");
    world.set("dwh-1", DISK, Fine);
    world.wait(seconds(2 * 86_400));
    let told = world.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("chat: [RESOLVED]"), "{told:?}");
    assert!(world.book.present(world.now).alerts.is_empty());
}

#[test]
fn what_becomes_of_a_message_is_in_the_log_and_the_timeline() {
    let mut world = World::new(QUICK);
    world.set("dwh-1", DISK, Critical);
    world.wait(seconds(60));
    let key = world.inbox[0].key.clone();
    let told = |world: &World| {
        let events = world.events.iter();
        let told = events.filter(|event| event.kind == EventKind::Told);
        told.map(|event| format!("{} {}", event.detail["to"], event.detail["outcome"]))
            .collect::<Vec<_>>()
    };
    assert!(told(&world).is_empty(), "nobody knows yet");
    let delivered = |key: &str, taken| Event::Delivered {
        key: key.to_owned(),
        taken,
    };
    world.take(delivered(&key, false));
    world.take(delivered(&format!("{key}/fallback/chat"), true));
    world.take(delivered("stranger", true));
    assert_eq!(told(&world), ["mail given up", "chat taken"]);
    let notes = world.book.present(world.now).notes;
    assert!(
        notes.iter().any(|note| note.contains("was given up")),
        "{notes:?}"
    );
    let entries = world.entries.iter().map(|entry| entry.text.as_str());
    let entries: Vec<&str> = entries.filter(|text| text.contains("FIRING")).collect();
    assert!(
        entries[0].starts_with("could not tell mail, given up: "),
        "{entries:?}"
    );
    assert!(entries[1].starts_with("told chat: "), "{entries:?}");
}

#[test]
fn the_timeline_names_what_explains_an_alert() {
    let mut world = World::new(QUICK);
    world.set("dwh-1", DISK, Critical);
    world.wait(seconds(60));
    world.set("dwh-1", "connection", Critical);
    let muted = world.entries.iter().map(|entry| entry.text.as_str());
    let muted: Vec<&str> = muted.filter(|text| text.starts_with("muted")).collect();
    assert_eq!(
        muted,
        [
            "muted on dwh-1: 93 % used (limit 90 %), explained by dwh-1 connection (topology: connection)"
        ]
    );
}

#[test]
fn a_clock_that_was_put_back_while_nothing_ran_makes_nobody_wait() {
    let mut world = World::new(&slow(LADDER));
    world.set("dwh-1", DISK, Critical);
    world.wait(seconds(600));
    world.told();
    world.now -= seconds(86_400);
    world.restart();
    world.wait(seconds(16 * 60));
    let told = world.told();
    assert!(
        told.iter()
            .any(|text| text.starts_with("chat: [ESCALATED]")),
        "{told:?}"
    );
}

#[test]
fn a_step_of_a_second_ladder_is_not_climbed_again_after_a_restart() {
    let second = r#"
        [[alert.channel]]
        name = "boss"
        exec.command = ["true"]
        [[alert.policy]]
        name = "late"
        [[alert.policy.step]]
        after = "40 min"
        notify = ["boss"]
        [[alert.route]]
        name = "more"
        policy = "late"
    "#;
    let first = LADDER.replace("name = \"all\"", "name = \"all\"\n    continue = true");
    let mut world = World::new(&slow(&format!("{first}{second}")));
    world.set("dwh-1", DISK, Critical);
    world.wait(seconds(41 * 60));
    assert_eq!(world.told().len(), 3);
    world.restart();
    world.wait(seconds(600));
    let told = world.told();
    assert!(told.is_empty(), "{told:?}");
}

#[test]
fn a_role_that_was_seen_stays_while_the_server_does_not_answer() {
    let mut world = World::new(QUICK);
    world.set("dwh-1", "connection", Critical);
    world.strange = true;
    world.judge("dwh-1");
    let alert = world.book.present(world.now).alerts[0].clone();
    assert_eq!(
        (alert.label("role"), alert.label("cluster")),
        ("primary", "7")
    );
}

#[test]
fn an_estate_that_is_not_seen_is_one_message_for_each_server_and_nothing_is_over() {
    let mut world = World::new(QUICK);
    for number in 0..50 {
        let name = format!("dwh-{number}");
        world.put(&name, DISK, "", Warning, 93.0);
        world.put(&name, "connection", "", Fine, 0.0);
    }
    world.judge_all();
    world.wait(seconds(60));
    assert_eq!(world.told().len(), 50);
    for number in 0..50 {
        let name = format!("dwh-{number}");
        world.reach(&name, false);
        world.put(&name, "connection", "", Critical, 1.0);
    }
    world.wait(seconds(3 * 3_600));
    let told = world.told();
    assert_eq!(told.len(), 50, "{told:?}");
    assert!(told.iter().all(|text| text.contains("connection")));
    for number in 0..50 {
        let name = format!("dwh-{number}");
        world.reach(&name, true);
        world.put(&name, "connection", "", Fine, 0.0);
    }
    world.wait(seconds(3 * 3_600));
    let kinds: Vec<MessageKind> = world.inbox.iter().map(|message| message.kind).collect();
    assert!(
        kinds.len() <= 100,
        "an end and perhaps a reminder: {kinds:?}"
    );
    assert_eq!(world.belief["mail"].len(), 50, "the disks fire");
}

#[test]
fn there_is_an_end_to_the_alerts_that_are_kept_and_the_urgent_ones_come_first() {
    let mut world = World::new(&QUICK.replace("group_wait", "group_by = []\n    group_wait"));
    for instance in 0..21 {
        let name = format!("dwh-{instance}");
        for object in 0..1_000 {
            world.put(&name, "table-bloat", &format!("t{object}"), Warning, 93.0);
        }
        world.judge(&name);
        world.bad.clear();
    }
    let present = world.book.present(world.now);
    assert_eq!(present.alerts.len(), 20_000);
    let notes = present.notes.join("; ");
    assert!(
        notes.contains("there are 20000 alerts, and 1000 times"),
        "{notes}"
    );
    // What fires is not let go of; what is urgent finds room all the same.
    world.set("dwh-99", DISK, Critical);
    assert_eq!(world.book.present(world.now).alerts.len(), 20_001);
    world.go(seconds(2), None);
    let message = &world.inbox[0];
    assert_eq!((message.firing, message.left_out), (20_001, 18_001));
    assert!(message.subject.contains("critical: dwh-99 disk-free"));
}
