//! The outbox by a clock of its own.

use std::collections::BTreeMap;

use pawang_config::Period;
use pawang_core::Level;
use pawang_core::alert::Recipient;
use proptest::prelude::*;

use super::*;

fn at(seconds: f64) -> Timestamp {
    let start: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
    start + Duration::from_secs_f64(seconds)
}

fn message(key: &str, thread: &str, priority: Priority) -> Message {
    Message {
        key: key.to_owned(),
        thread: thread.to_owned(),
        sequence: 1,
        kind: MessageKind::Firing,
        recipient: Recipient {
            channel: "mail".to_owned(),
            ..Recipient::default()
        },
        created_at: at(0.0),
        priority,
        level: Level::Warning,
        route: "default".to_owned(),
        group_labels: BTreeMap::new(),
        common_labels: BTreeMap::new(),
        subject: key.to_owned(),
        notices: Vec::new(),
        firing: 1,
        resolved: 0,
        left_out: 0,
        incident: None,
        link: None,
        notes: Vec::new(),
    }
}

fn config(change: impl FnOnce(&mut ChannelConfig)) -> ChannelConfig {
    let mut config = ChannelConfig {
        name: "mail".to_owned(),
        rate_per_minute: 30,
        send_resolved: true,
        timeout: Period(Duration::from_secs(10)),
        give_up_after: Period(Duration::from_secs(86_400)),
        ..ChannelConfig::default()
    };
    change(&mut config);
    config
}

fn offer(outbox: &mut Outbox, message: Message, now: Timestamp) {
    assert_eq!(outbox.offer(waiting(message, now), now), Vec::new());
}

fn sends(outbox: &mut Outbox, now: Timestamp) -> Option<String> {
    match outbox.next(now) {
        Next::Send(message) => Some(message.key),
        _ => None,
    }
}

#[test]
fn a_target_that_refuses_is_asked_again_with_growing_pauses_and_nothing_is_lost() {
    let mut outbox = Outbox::new(&config(|_| {}));
    offer(&mut outbox, message("a", "t", Priority::P1), at(0.0));
    let mut now = 0.0;
    let mut pauses = Vec::new();
    for _ in 0..6 {
        assert_eq!(sends(&mut outbox, at(now)).as_deref(), Some("a"));
        let failed = outbox.failed("a", &Trouble::new("status 500"), at(now));
        assert!(failed.dead.is_empty() && failed.parcels.len() == 1);
        let Next::Wait(until) = outbox.next(at(now)) else {
            panic!("it must wait");
        };
        let pause = until.duration_since(at(now)).as_secs_f64();
        pauses.push(pause);
        now += pause + 0.01;
    }
    assert!(
        pauses.windows(2).all(|two| two[1] > two[0] * 1.5),
        "{pauses:?}"
    );
    assert_eq!(outbox.trouble.as_ref().unwrap().0, at(0.0));
    assert_eq!(sends(&mut outbox, at(now + 300.0)).as_deref(), Some("a"));
    let parcel = outbox.sent("a", at(now + 300.0)).unwrap();
    assert!(matches!(parcel.state, ParcelState::Sent { .. }));
    assert_eq!(
        (outbox.trouble.clone(), outbox.next(at(now + 300.0))),
        (None, Next::Idle)
    );
}

#[test]
fn a_message_is_given_up_after_its_time_or_when_it_is_refused_for_good() {
    let mut outbox = Outbox::new(&config(|config| {
        config.give_up_after = Period(Duration::from_secs(60));
    }));
    offer(&mut outbox, message("old", "t", Priority::P1), at(0.0));
    let failed = outbox.failed("old", &Trouble::new("gone"), at(59.0));
    assert!(failed.dead.is_empty());
    let failed = outbox.failed("old", &Trouble::new("gone"), at(61.0));
    assert_eq!(failed.dead.len(), 1);
    assert!(matches!(failed.parcels[0].state, ParcelState::Dead { .. }));
    offer(&mut outbox, message("odd", "u", Priority::P1), at(200.0));
    outbox.trouble = None;
    let failed = outbox.failed(
        "odd",
        &Trouble::new("no such mailbox").for_good(),
        at(200.0),
    );
    assert_eq!(failed.dead.len(), 1);
    assert_eq!(outbox.trouble, None, "the channel itself is well");
}

#[test]
fn a_message_never_overtakes_an_earlier_one_of_its_thread() {
    let mut outbox = Outbox::new(&config(|_| {}));
    offer(&mut outbox, message("1", "t", Priority::P1), at(0.0));
    offer(&mut outbox, message("2", "t", Priority::P1), at(0.0));
    offer(&mut outbox, message("3", "u", Priority::P1), at(0.0));
    let refused = Trouble {
        retry_after: Some(Duration::from_secs(30)),
        ..Trouble::new("slow down")
    };
    outbox.failed("1", &refused, at(0.0));
    outbox.pause_until = None;
    assert_eq!(sends(&mut outbox, at(1.0)).as_deref(), Some("3"));
    outbox.sent("3", at(1.0));
    assert_eq!(sends(&mut outbox, at(1.0)), None);
    assert_eq!(sends(&mut outbox, at(31.0)).as_deref(), Some("1"));
}

#[test]
fn too_many_messages_become_one_for_people_and_wait_for_programs() {
    let mut outbox = Outbox::new(&config(|config| {
        config.rate_per_minute = 2;
        config.smtp = Some(pawang_config::SmtpConfig::default());
    }));
    for key in ["a", "b", "c", "d"] {
        offer(&mut outbox, message(key, key, Priority::P1), at(0.0));
    }
    let Next::Merge(parcels) = outbox.next(at(0.0)) else {
        panic!("four are more than two");
    };
    assert_eq!(parcels.len(), 5);
    let merged = |p: &&Parcel| matches!(p.state, ParcelState::Merged { .. });
    assert_eq!(parcels.iter().filter(merged).count(), 4);
    assert_eq!(sends(&mut outbox, at(0.0)).as_deref(), Some("digest-d"));
    outbox.sent("digest-d", at(0.0));
    let mut keys = outbox.stands_for("digest-d");
    keys.sort();
    assert_eq!(keys, ["a", "b", "c", "d", "digest-d"]);
    assert_eq!(outbox.next(at(0.0)), Next::Idle);

    let mut outbox = Outbox::new(&config(|config| config.rate_per_minute = 2));
    for key in ["a", "b", "c"] {
        offer(&mut outbox, message(key, key, Priority::P1), at(0.0));
    }
    for key in ["a", "b"] {
        assert_eq!(sends(&mut outbox, at(0.0)).as_deref(), Some(key));
        outbox.sent(key, at(0.0));
    }
    assert_eq!(outbox.next(at(0.0)), Next::Wait(at(30.0)));
    assert_eq!(sends(&mut outbox, at(30.1)).as_deref(), Some("c"));
}

#[test]
fn what_is_not_urgent_is_collected_and_what_is_urgent_is_not() {
    let mut outbox = Outbox::new(&config(|config| {
        config.digest = Some(Period(Duration::from_secs(3_600)));
        config.smtp = Some(pawang_config::SmtpConfig::default());
    }));
    offer(&mut outbox, message("small", "a", Priority::P3), at(0.0));
    offer(&mut outbox, message("other", "b", Priority::P4), at(60.0));
    offer(&mut outbox, message("urgent", "c", Priority::P1), at(60.0));
    assert_eq!(sends(&mut outbox, at(60.0)).as_deref(), Some("urgent"));
    outbox.sent("urgent", at(60.0));
    assert_eq!(outbox.next(at(60.0)), Next::Wait(at(3_600.0)));
    assert!(matches!(outbox.next(at(3_600.0)), Next::Merge(_)));
    assert_eq!(
        sends(&mut outbox, at(3_600.0)).as_deref(),
        Some("digest-other")
    );
}

#[test]
fn urgent_messages_go_round_a_channel_in_trouble_once() {
    let mut outbox = Outbox::new(&config(|_| {}));
    offer(&mut outbox, message("urgent", "a", Priority::P1), at(0.0));
    offer(&mut outbox, message("small", "b", Priority::P3), at(0.0));
    outbox.failed("urgent", &Trouble::new("DNS is gone"), at(0.0));
    assert_eq!(outbox.divert(at(60.0)), Vec::new());
    let keys = |messages: Vec<Message>| messages.into_iter().map(|m| m.key).collect::<Vec<_>>();
    assert_eq!(keys(outbox.divert(at(121.0))), ["urgent"]);
    assert_eq!(outbox.divert(at(122.0)), Vec::new());
}

#[test]
fn a_clock_that_goes_back_does_not_make_a_message_wait_for_ever() {
    let mut outbox = Outbox::new(&config(|_| {}));
    let mut late = message("a", "t", Priority::P1);
    late.created_at = at(1_000_000.0);
    offer(&mut outbox, late, at(1_000_000.0));
    outbox.failed("a", &Trouble::new("status 500"), at(1_000_000.0));
    let Next::Wait(until) = outbox.next(at(0.0)) else {
        panic!("the pause of the target holds");
    };
    assert!(until <= at(300.0));
    outbox.pause_until = None;
    assert_eq!(sends(&mut outbox, at(301.0)).as_deref(), Some("a"));
}

proptest! {
    /// Whatever a target does, every message ends: taken, given up, or part of one that was.
    #[test]
    fn every_message_ends(
        answers in prop::collection::vec(0_u8..4, 1..120),
        messages in prop::collection::vec((0_u8..4, 0_u8..3), 1..40),
        people: bool,
    ) {
        let mut outbox = Outbox::new(&config(|config| {
            config.rate_per_minute = 20;
            if people {
                config.smtp = Some(pawang_config::SmtpConfig::default());
                config.digest = Some(Period(Duration::from_secs(600)));
            }
        }));
        let mut open = std::collections::BTreeSet::new();
        for (index, (priority, thread)) in messages.iter().enumerate() {
            let priority = Priority::ALL[usize::from(*priority)];
            let key = format!("m{index}");
            open.insert(key.clone());
            offer(&mut outbox, message(&key, &format!("t{thread}"), priority), at(0.0));
        }
        let mut now = 0.0;
        let mut answers = answers.into_iter();
        for _ in 0..5_000 {
            match outbox.next(at(now)) {
                Next::Idle => break,
                Next::Wait(until) => {
                    let wait = until.duration_since(at(now)).as_secs_f64();
                    now += wait.max(0.01);
                }
                Next::Merge(parcels) => {
                    for parcel in parcels {
                        match parcel.state {
                            ParcelState::Merged { .. } => prop_assert!(open.remove(&parcel.message.key)),
                            _ => prop_assert!(open.insert(parcel.message.key)),
                        }
                    }
                }
                Next::Send(sent) => match answers.next() {
                    None | Some(0) => {
                        prop_assert!(outbox.sent(&sent.key, at(now)).is_some());
                        prop_assert!(open.remove(&sent.key), "{} was sent twice", sent.key);
                    }
                    Some(1) => {
                        let trouble = Trouble::new("no").for_good();
                        let failed = outbox.failed(&sent.key, &trouble, at(now));
                        prop_assert_eq!(failed.dead.len(), 1);
                        prop_assert!(open.remove(&sent.key));
                    }
                    Some(_) => {
                        let failed = outbox.failed(&sent.key, &Trouble::new("not now"), at(now));
                        for dead in failed.dead {
                            prop_assert!(open.remove(&dead.key));
                        }
                    }
                },
            }
        }
        prop_assert!(open.is_empty(), "{:?} wait for ever", open);
    }
}
