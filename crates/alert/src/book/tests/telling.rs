//! What is told, to whom and when.

use pawang_core::Level::{Critical, Ok as Fine, Warning};
use pawang_core::alert::{Condition, Matcher, MessageKind, Operator, Priority, Request};

use super::world::{QUICK, World, seconds};
use crate::book::{Event, External};

const DISK: &str = "disk-free";

/// The file of the other tests with something more.
fn with(more: &str) -> String {
    format!("{QUICK}\n{more}")
}

#[test]
fn what_fires_is_told_once_and_so_is_its_end() {
    let mut world = World::new(QUICK);
    world.set("dwh-1", DISK, Warning);
    assert!(world.told().is_empty(), "it waits for more alerts");
    world.wait(seconds(2));
    assert_eq!(
        world.told(),
        ["mail: [FIRING] warning: dwh-1 disk-free: 93 % used (limit 90 %)"]
    );
    world.wait(seconds(600));
    assert!(world.told().is_empty());
    world.set("dwh-1", DISK, Fine);
    world.wait(seconds(1_200));
    assert_eq!(
        world.told(),
        ["mail: [RESOLVED] dwh-1 disk-free: 93 % used (limit 90 %)"]
    );
    assert!(world.belief["mail"].is_empty());
    world.wait(seconds(2 * 86_400));
    assert!(world.told().is_empty());
    assert!(
        world.book.present(world.now).alerts.is_empty(),
        "it is forgotten"
    );
}

#[test]
fn a_message_says_what_is_known() {
    let mut world = World::new(QUICK);
    world.put("dwh-1", DISK, "", Warning, 91.0);
    world.judge("dwh-1");
    world.put("dwh-1", DISK, "", Warning, 95.5);
    world.judge("dwh-1");
    world.wait(seconds(2));
    let message = &world.inbox[0];
    assert_eq!(
        (message.kind, message.firing, message.resolved),
        (MessageKind::Firing, 1, 0)
    );
    assert_eq!((message.priority, message.sequence), (Priority::P3, 1));
    let notice = &message.notices[0];
    assert_eq!(notice.value.as_deref(), Some("95.5 %"));
    assert_eq!(notice.threshold.as_deref(), Some("90 %"));
    assert_eq!(
        notice.trend.as_deref(),
        Some("up from 91 % to 95.5 % since 00:00 UTC")
    );
    assert_eq!(notice.remedy, "free some space");
    assert_eq!(notice.labels["team"], "dba");
    assert_eq!(notice.labels["priority"], "P3");
}

#[test]
fn what_is_over_before_it_is_told_is_never_told() {
    let mut world = World::new(&QUICK.replace("\"1 s\"", "\"30 s\""));
    world.set("dwh-1", DISK, Warning);
    world.set("dwh-1", DISK, Fine);
    world.wait(seconds(7_200));
    assert!(world.told().is_empty());
}

#[test]
fn a_second_alert_waits_for_the_interval_and_a_rise_does_not() {
    let mut world = World::new(QUICK);
    world.set("dwh-1", DISK, Warning);
    world.wait(seconds(2));
    world.told();
    world.set("dwh-1", "connections", Warning);
    world.wait(seconds(290));
    assert!(world.told().is_empty());
    world.wait(seconds(20));
    assert_eq!(world.told().len(), 1);
    world.set("dwh-1", "connections", Critical);
    let told = world.told();
    assert_eq!(told.len(), 1);
    assert!(
        told[0].starts_with("mail: [FIRING 2] critical: dwh-1 connections"),
        "{told:?}"
    );
}

#[test]
fn what_is_more_urgent_than_all_that_was_told_does_not_wait_for_the_interval() {
    let mut world = World::new(QUICK);
    world.set("dwh-1", "connections", Warning);
    world.wait(seconds(2));
    world.told();
    world.set("dwh-1", DISK, Critical);
    world.wait(seconds(2));
    let told = world.told();
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("critical: dwh-1 disk-free"), "{told:?}");
}

#[test]
fn what_goes_on_firing_is_repeated_until_somebody_takes_care() {
    let mut world = World::new(QUICK);
    world.set("dwh-1", DISK, Warning);
    world.wait(seconds(9 * 3_600));
    let kinds: Vec<MessageKind> = world.inbox.iter().map(|message| message.kind).collect();
    assert_eq!(
        kinds,
        [
            MessageKind::Firing,
            MessageKind::Reminder,
            MessageKind::Reminder
        ]
    );
    world.told();
    let alerts = vec![world.name("dwh-1", DISK)];
    let until = Some(crate::span::later(world.now, seconds(10 * 3_600)));
    world
        .ask(Request::Acknowledge {
            alerts,
            until,
            note: String::new(),
        })
        .unwrap();
    world.wait(seconds(10 * 3_600 - 60));
    assert!(world.told().is_empty());
    world.wait(seconds(120));
    assert_eq!(world.told().len(), 1, "the acknowledgement timed out");
}

#[test]
fn an_acknowledgement_ends_when_it_becomes_worse() {
    let mut world = World::new(QUICK);
    world.set("dwh-1", DISK, Warning);
    world.wait(seconds(60));
    let alerts = vec![world.name("dwh-1", DISK)[..6].to_owned()];
    world
        .ask(Request::Acknowledge {
            alerts,
            until: None,
            note: "on it".to_owned(),
        })
        .unwrap();
    world.told();
    world.set("dwh-1", DISK, Critical);
    assert_eq!(world.told().len(), 1);
}

const LADDER: &str = r#"
    [[alert.channel]]
    name = "chat"
    exec.command = ["true"]
    [[alert.channel]]
    name = "phone"
    exec.command = ["true"]
    [[alert.policy]]
    name = "duty"
    repeat = 1
    [[alert.policy.step]]
    after = "0 s"
    notify = ["mail"]
    [[alert.policy.step]]
    after = "15 min"
    notify = ["chat"]
    [[alert.policy.step]]
    after = "45 min"
    notify = ["phone"]
    [[alert.route]]
    name = "all"
    policy = "duty"
"#;

#[test]
fn a_ladder_is_climbed_until_somebody_takes_care() {
    let mut world = World::new(&with(LADDER));
    world.set("dwh-1", DISK, Critical);
    let begin = world.now;
    world.go(seconds(4 * 3_600), Some(seconds(60)));
    let told: Vec<(String, u64)> = world
        .inbox
        .iter()
        .map(|m| {
            (
                m.recipient.key(),
                crate::span::since(begin, m.created_at).as_secs() / 60,
            )
        })
        .collect();
    let told: Vec<(&str, u64)> = told.iter().map(|(name, at)| (name.as_str(), *at)).collect();
    // The second round begins as long after the last step as that came after the one before.
    assert_eq!(
        told,
        [
            ("mail", 0),
            ("chat", 15),
            ("phone", 45),
            ("mail", 75),
            ("chat", 90),
            ("phone", 120),
        ]
    );
    let kinds: Vec<MessageKind> = world.inbox.iter().map(|message| message.kind).collect();
    assert_eq!(kinds[0], MessageKind::Firing);
    assert!(
        kinds[1..]
            .iter()
            .all(|kind| *kind == MessageKind::Escalation),
        "{kinds:?}"
    );
    world.told();
    world.set("dwh-1", DISK, Fine);
    world.wait(seconds(3 * 3_600));
    assert_eq!(world.told().len(), 3, "all who heard of it hear of its end");
}

#[test]
fn an_acknowledgement_stops_the_ladder() {
    let mut world = World::new(&with(LADDER));
    world.set("dwh-1", DISK, Critical);
    world.wait(seconds(600));
    let alerts = vec![world.name("dwh-1", DISK)];
    world
        .ask(Request::Acknowledge {
            alerts: alerts.clone(),
            until: None,
            note: String::new(),
        })
        .unwrap();
    world.told();
    world.wait(seconds(3_600));
    assert!(world.told().is_empty());
    world.ask(Request::Unacknowledge { alerts }).unwrap();
    let told = world.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("mail: [STILL FIRING]"), "{told:?}");
    world.wait(seconds(16 * 60));
    let told = world.told();
    assert!(told[0].starts_with("chat: [ESCALATED]"), "{told:?}");
}

#[test]
fn only_alerts_whose_ladder_got_there_are_told_to_a_step() {
    let mut world = World::new(&with(LADDER));
    world.set("dwh-1", DISK, Critical);
    world.wait(seconds(10 * 60));
    world.set("dwh-1", "connections", Critical);
    world.wait(seconds(6 * 60));
    let chat = world
        .inbox
        .iter()
        .find(|m| m.recipient.channel == "chat")
        .expect("it was told");
    assert_eq!(chat.notices.len(), 1);
    assert_eq!(chat.notices[0].labels["check"], DISK);
}

#[test]
fn a_window_keeps_quiet_what_begins_in_it_and_tells_what_outlasts_it() {
    let mut world = World::new(&with(
        r#"
        [[alert.window]]
        name = "sunday"
        schedule = "mon 01:00-02:00"
        match = ['group="prod"']
        "#,
    ));
    world.wait(seconds(3_600 + 60));
    world.set("dwh-1", DISK, Warning);
    world.wait(seconds(1_800));
    assert!(world.told().is_empty());
    world.wait(seconds(1_800 - 60));
    let told = world.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with("mail: [FIRING AFTER MAINTENANCE] warning"),
        "{told:?}"
    );
}

#[test]
fn an_end_is_told_even_in_a_window() {
    let mut world = World::new(&with(
        "[[alert.window]]\nname = \"w\"\nschedule = \"mon 01:00-09:00\"\nmatch = ['group=\"prod\"']",
    ));
    world.set("dwh-1", DISK, Warning);
    world.wait(seconds(3_600 + 60));
    assert_eq!(world.told().len(), 1);
    world.set("dwh-1", DISK, Fine);
    world.wait(seconds(2 * 3_600));
    assert_eq!(
        world.told(),
        ["mail: [RESOLVED] dwh-1 disk-free: 93 % used (limit 90 %)"]
    );
}

#[test]
fn what_another_alert_explains_is_told_when_that_is_over_and_it_still_fires() {
    let mut world = World::new(QUICK);
    world.put("dwh-1", "connections", "", Warning, 93.0);
    world.set("dwh-1", "connection", Critical);
    world.wait(seconds(2));
    let message = &world.inbox[0];
    assert_eq!((world.inbox.len(), message.firing), (1, 1), "{message:?}");
    assert_eq!(message.notices[0].labels["check"], "connection");
    assert_eq!(message.notices[0].mutes, ["dwh-1 connections"]);
    world.told();
    world.set("dwh-1", "connection", Fine);
    world.wait(seconds(600));
    let told = world.told();
    assert!(
        told.iter().any(|text| text.contains("dwh-1 connections")),
        "{told:?}"
    );
}

#[test]
fn what_cannot_be_seen_is_neither_over_nor_repeated_as_new() {
    let mut world = World::new(QUICK);
    world.set("dwh-1", DISK, Warning);
    world.wait(seconds(60));
    world.told();
    world.reach("dwh-1", false);
    world.judge("dwh-1");
    let alert = world.book.present(world.now).alerts[0].clone();
    assert!(
        matches!(alert.condition, Condition::Unknown { .. }),
        "{alert:?}"
    );
    assert_eq!(alert.firing(), Some(Warning));
    world.wait(seconds(3_600));
    world.reach("dwh-1", true);
    world.judge("dwh-1");
    world.wait(seconds(3_600));
    assert!(world.told().is_empty());
}

#[test]
fn an_instance_that_nobody_looks_at_is_told_and_so_is_its_return() {
    let mut world = World::new(QUICK);
    world.set("dwh-1", DISK, Warning);
    world.go(seconds(5), None);
    world.told();
    world.go(seconds(600), None);
    let told = world.told();
    assert!(
        told.iter().any(|text| text.contains("monitor-stale")),
        "{told:?}"
    );
    let alerts = world.book.present(world.now).alerts;
    let disk = alerts
        .iter()
        .find(|alert| alert.finding.check == DISK)
        .expect("it is kept");
    assert!(matches!(disk.condition, Condition::Stale { .. }));
    world.wait(seconds(6 * 3_600));
    assert_eq!(world.belief["mail"].len(), 1, "only the disk fires");
}

#[test]
fn nothing_is_told_twice_or_lost_over_a_restart() {
    let mut world = World::new(&with(LADDER));
    world.set("dwh-1", DISK, Critical);
    world.restart();
    world.wait(seconds(120));
    assert_eq!(world.told().len(), 1);
    world.restart();
    world.wait(seconds(12 * 60));
    assert!(world.told().is_empty());
    world.restart();
    world.wait(seconds(2 * 60));
    assert_eq!(world.told().len(), 1, "the ladder goes on");
    world.set("dwh-1", DISK, Fine);
    world.restart();
    world.wait(seconds(3 * 3_600));
    assert_eq!(world.told().len(), 2);
    world.restart();
    world.wait(seconds(7_200));
    assert!(world.told().is_empty());
}

#[test]
fn another_configuration_tells_nobody_again_and_leaves_nobody_in_doubt() {
    let mut world = World::new(QUICK);
    world.set("dwh-1", DISK, Warning);
    world.wait(seconds(60));
    world.told();
    // The same recipient by another route.
    let other = with("[[alert.route]]\nname = \"new\"\nnotify = [\"mail\"]");
    world.configure(&other);
    world.wait(seconds(3_600));
    assert!(world.told().is_empty());
    // Another recipient.
    world.configure(&with(
        "[[alert.channel]]\nname = \"chat\"\nexec.command = [\"true\"]\n[[alert.route]]\nname = \"chat\"\nnotify = [\"chat\"]",
    ));
    world.wait(seconds(60));
    assert_eq!(
        world.told(),
        ["chat: [FIRING] warning: dwh-1 disk-free: 93 % used (limit 90 %)"]
    );
    world.set("dwh-1", DISK, Fine);
    world.wait(seconds(3 * 3_600));
    let told = world.told();
    assert_eq!(told.len(), 2, "both hear of the end: {told:?}");
}

#[test]
fn a_silence_holds_until_its_end() {
    let mut world = World::new(QUICK);
    let matcher = Matcher {
        label: "check".to_owned(),
        operator: Operator::Equal,
        value: DISK.to_owned(),
    };
    let draft = pawang_core::alert::Draft {
        matchers: vec![matcher],
        reason: "known".to_owned(),
        everything: false,
    };
    let ends_at = crate::span::later(world.now, seconds(3_600));
    world
        .ask(Request::AddSilence {
            draft,
            starts_at: None,
            ends_at,
        })
        .unwrap();
    world.set("dwh-1", DISK, Critical);
    world.wait(seconds(3_500));
    assert!(world.told().is_empty());
    world.wait(seconds(120));
    assert_eq!(world.told().len(), 1);
}

#[test]
fn alerts_of_others_are_told_like_our_own() {
    let mut world = World::new(QUICK);
    let external = |firing| External {
        source: "prometheus".to_owned(),
        labels: [
            ("alertname", "NodeDown"),
            ("instance", "etl-1"),
            ("severity", "warning"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
        annotations: [("summary".to_owned(), "etl-1 is down".to_owned())].into(),
        firing,
        starts_at: "2026-11-15T23:59:00Z".parse().unwrap(),
    };
    world.take(Event::External(vec![external(true)]));
    world.wait(seconds(60));
    assert_eq!(
        world.told(),
        ["mail: [FIRING] warning: etl-1 NodeDown: etl-1 is down"]
    );
    world.take(Event::External(vec![external(false)]));
    world.wait(seconds(3 * 3_600));
    assert_eq!(
        world.told(),
        ["mail: [RESOLVED] etl-1 NodeDown: etl-1 is down"]
    );
}

#[test]
fn an_instance_that_is_gone_leaves_no_alert_behind() {
    let mut world = World::new(QUICK);
    world.set("dwh-1", DISK, Critical);
    world.go(seconds(60), None);
    world.told();
    world.take(Event::Gone {
        instance: "dwh-1".to_owned(),
    });
    world.go(seconds(2 * 3_600), None);
    assert_eq!(world.told().len(), 1);
    assert!(world.belief["mail"].is_empty());
}

#[test]
fn a_clock_that_is_put_back_makes_nobody_wait() {
    let mut world = World::new(&with(LADDER));
    world.set("dwh-1", DISK, Critical);
    world.wait(seconds(600));
    world.told();
    world.now -= seconds(86_400);
    world.set("dwh-1", DISK, Critical);
    world.wait(seconds(16 * 60));
    let told = world.told();
    assert!(
        told.iter()
            .any(|text| text.starts_with("chat: [ESCALATED]")),
        "{told:?}"
    );
    world.set("dwh-1", DISK, Fine);
    world.wait(seconds(3 * 3_600));
    assert_eq!(
        world.told().len(),
        2 + usize::from(world.belief.contains_key("phone"))
    );
}
