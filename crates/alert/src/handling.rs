//! The state machine of how an alert is handled: a pure function of what it was, what happened and when.

use pawang_core::alert::{Acknowledgement, Escalation, EventKind, Handling, Mute, Snooze};
use pawang_core::{Level, Timestamp};

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Happened {
    /// It fires at this level now (first time, or worse, or less bad).
    Fires(Level),
    /// It fires, and is worse than before: whoever wanted to hear of it later hears of it now.
    Rises(Level),
    /// It is over.
    Resolved,
    /// Somebody takes care.
    Acknowledge(Acknowledgement),
    /// Somebody takes it back.
    Unacknowledge,
    /// Somebody wants to be reminded later.
    Snooze(Snooze),
    /// Somebody ends that.
    Wake,
    /// What keeps it quiet now, all of it.
    Mutes(Vec<Mute>),
    /// How far its ladder was climbed; `None`: there is none, or it stands still.
    Ladder(Option<Escalation>),
    /// Time went by.
    Nothing,
}

/// Returns the next state and what happened on the way.
pub fn step(before: &Handling, happened: Happened, now: Timestamp) -> (Handling, Vec<EventKind>) {
    let mut after = before.clone();
    let mut events = Vec::new();
    time(&mut after, now, &mut events);
    match happened {
        Happened::Fires(level) | Happened::Rises(level) => {
            if after
                .acknowledged
                .as_ref()
                .is_some_and(|ack| level > ack.level)
            {
                after.acknowledged = None;
                events.push(EventKind::Unacknowledged);
            }
            if matches!(happened, Happened::Rises(_)) && after.snoozed.take().is_some() {
                events.push(EventKind::Woken);
            }
        }
        Happened::Resolved => {
            after.acknowledged = None;
            after.snoozed = None;
            after.escalation = None;
        }
        Happened::Acknowledge(acknowledgement) => {
            after.acknowledged = Some(acknowledgement);
            after.snoozed = None;
            after.escalation = None;
            events.push(EventKind::Acknowledged);
            time(&mut after, now, &mut events);
        }
        Happened::Unacknowledge => {
            if after.acknowledged.take().is_some() {
                events.push(EventKind::Unacknowledged);
            }
        }
        Happened::Snooze(snooze) => {
            after.snoozed = Some(snooze);
            after.escalation = None;
            events.push(EventKind::Snoozed);
            time(&mut after, now, &mut events);
        }
        Happened::Wake => {
            if after.snoozed.take().is_some() {
                events.push(EventKind::Woken);
            }
        }
        Happened::Mutes(mut mutes) => {
            mutes.sort();
            mutes.dedup();
            if mutes.is_empty() && !after.mutes.is_empty() {
                events.push(EventKind::Unmuted);
            } else if mutes.iter().any(|mute| !after.mutes.contains(mute)) {
                events.push(EventKind::Muted);
            }
            after.mutes = mutes;
        }
        Happened::Ladder(ladder) => {
            let height = |ladder: &Option<Escalation>| ladder.as_ref().map(|l| (l.rounds, l.step));
            if height(&ladder) > height(&after.escalation).or(Some((0, 0))) {
                events.push(EventKind::Escalated);
            }
            after.escalation = ladder;
        }
        Happened::Nothing => {}
    }
    (after, events)
}

/// Returns when time alone changes something, if ever.
pub fn next_at(handling: &Handling) -> Option<Timestamp> {
    let acknowledged = handling.acknowledged.as_ref().and_then(|ack| ack.until);
    let snoozed = handling.snoozed.as_ref().map(|snooze| snooze.until);
    acknowledged.into_iter().chain(snoozed).min()
}

/// Ends what has had its time.
fn time(handling: &mut Handling, now: Timestamp, events: &mut Vec<EventKind>) {
    let ended = |ack: &Acknowledgement| ack.until.is_some_and(|until| until <= now);
    if handling.acknowledged.as_ref().is_some_and(ended) {
        handling.acknowledged = None;
        events.push(EventKind::Unacknowledged);
    }
    if handling
        .snoozed
        .as_ref()
        .is_some_and(|snooze| snooze.until <= now)
    {
        handling.snoozed = None;
        events.push(EventKind::Woken);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time of the tests is a time")
    }

    fn acknowledge(level: Level, until: i64) -> Happened {
        Happened::Acknowledge(Acknowledgement {
            by: "ayu".to_owned(),
            at: at(0),
            until: Some(at(until)),
            note: String::new(),
            level,
        })
    }

    fn snooze(until: i64) -> Happened {
        Happened::Snooze(Snooze {
            by: "ayu".to_owned(),
            at: at(0),
            until: at(until),
            note: String::new(),
        })
    }

    fn happens() -> impl Strategy<Value = Happened> {
        let level = || prop_oneof![Just(Level::Warning), Just(Level::Critical)];
        let silenced = Mute::Silenced { silence: 1 };
        prop_oneof![
            level().prop_map(Happened::Fires),
            level().prop_map(Happened::Rises),
            Just(Happened::Resolved),
            (level(), 0..100_i64).prop_map(|(level, until)| acknowledge(level, until)),
            Just(Happened::Unacknowledge),
            (0..100_i64).prop_map(snooze),
            Just(Happened::Wake),
            Just(Happened::Mutes(vec![silenced])),
            Just(Happened::Mutes(Vec::new())),
            Just(Happened::Nothing),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

        #[test]
        fn what_is_quiet_is_so_for_a_reason_that_holds(all in prop::collection::vec((happens(), 0..20_i64), 1..30)) {
            let mut handling = Handling::default();
            let mut second = 0;
            for (happened, wait) in all {
                second += wait;
                let (after, events) = step(&handling, happened.clone(), at(second));
                prop_assert!(next_at(&after).is_none_or(|next| next > at(second)), "{after:?}");
                let ended = handling.acknowledged.is_some() && after.acknowledged.is_none();
                let told = events.contains(&EventKind::Unacknowledged);
                prop_assert!(!ended || told || happened == Happened::Resolved);
                if let (Happened::Fires(level) | Happened::Rises(level), Some(ack)) = (&happened, &after.acknowledged) {
                    prop_assert!(*level <= ack.level);
                }
                if let Happened::Rises(_) = happened {
                    prop_assert!(after.snoozed.is_none());
                }
                if happened == Happened::Resolved {
                    prop_assert!(after.acknowledged.is_none() && after.snoozed.is_none() && after.escalation.is_none());
                }
                if !matches!(happened, Happened::Mutes(_)) {
                    prop_assert_eq!(&after.mutes, &handling.mutes);
                }
                handling = after;
            }
        }
    }
}
