//! The machine of an alert's condition: what each sample does, and what holds for every sequence of them.

use std::time::Duration;

use pawang_config::NoData;
use pawang_core::alert::{Condition, EventKind, Tally};
use pawang_core::{Level, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::rule::RuleSet;

const BAD: Seen = Seen::Bad {
    level: Level::Warning,
};
const WORSE: Seen = Seen::Bad {
    level: Level::Critical,
};
const GOOD: Seen = Seen::Good { held: false };
const HELD: Seen = Seen::Good { held: true };

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}

/// A rule that fires at once and holds for five minutes.
fn plain() -> Rule {
    Rule {
        lasts: Duration::ZERO,
        lasts_critical: Duration::ZERO,
        keep_firing: minutes(5),
        ..RuleSet::default().rule("our-own", None, "dwh-1", "")
    }
}

fn second(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_571_200 + seconds).expect("in range")
}

/// An alert and everything that happened to it.
struct Run {
    rule: Rule,
    condition: Condition,
    tally: Tally,
    events: Vec<EventKind>,
}

impl Run {
    fn new(rule: Rule) -> Run {
        Run {
            rule,
            condition: Condition::Ok,
            tally: Tally::default(),
            events: Vec::new(),
        }
    }

    fn see(&mut self, seconds: i64, seen: Seen) -> Vec<EventKind> {
        self.at(second(seconds), seen)
    }

    fn at(&mut self, now: Timestamp, seen: Seen) -> Vec<EventKind> {
        let (after, events) = step(&self.condition, &mut self.tally, seen, &self.rule, now);
        self.condition = after;
        self.events.extend(&events);
        events
    }

    /// Sees as the daemon does: what time alone does is done at its time, before the next sample.
    fn tick(&mut self, now: Timestamp, seen: Seen) {
        if let Some(due) =
            next_at(&self.condition, &self.tally, &self.rule).filter(|due| *due <= now)
        {
            self.at(due, Seen::Nothing);
        }
        self.at(now, seen);
    }

    fn count(&self, kind: EventKind) -> usize {
        self.events.iter().filter(|event| **event == kind).count()
    }
}

/// Runs samples `(second, what was seen)` and compares the names of states and events after each.
fn check(rule: Rule, samples: &[(i64, Seen, &str, &[EventKind])]) -> Run {
    let mut run = Run::new(rule);
    for (seconds, seen, state, events) in samples {
        let found = run.see(*seconds, *seen);
        assert_eq!(
            run.condition.as_str(),
            *state,
            "{seconds} s: {:?}",
            run.condition
        );
        assert_eq!(&found, events, "{seconds} s");
    }
    run
}

use EventKind::{Dropped, Fell, Fired, Found, Lost, Opened, Recovering, Resolved, Returned, Rose};

#[test]
fn it_fires_when_it_lasts_and_is_over_when_it_stays_good() {
    let rule = Rule {
        lasts: minutes(1),
        ..plain()
    };
    let run = check(
        rule,
        &[
            (0, GOOD, "ok", &[]),
            (10, BAD, "pending", &[Opened]),
            (20, GOOD, "ok", &[Dropped]),
            (30, BAD, "pending", &[Opened]),
            (89, Seen::Nothing, "pending", &[]),
            (89, BAD, "pending", &[]),
            (95, Seen::Nothing, "pending", &[]),
            (100, BAD, "firing", &[Fired]),
            (110, GOOD, "recovering", &[Recovering]),
            (120, BAD, "firing", &[Returned]),
            (130, GOOD, "recovering", &[Recovering]),
            (429, Seen::Nothing, "recovering", &[]),
            (430, Seen::Nothing, "resolved", &[Resolved]),
            (440, GOOD, "resolved", &[]),
            (450, BAD, "pending", &[Opened]),
        ],
    );
    assert_eq!(run.tally.bad_since, Some(second(450)));
}

#[test]
fn over_is_dated_back_to_the_first_good_sample_and_tells_the_worst_level() {
    let run = check(
        plain(),
        &[
            (0, WORSE, "firing", &[Opened, Fired]),
            (10, BAD, "firing", &[]),
            (310, BAD, "firing", &[Fell]),
            (320, GOOD, "recovering", &[Recovering]),
            (2_000, GOOD, "resolved", &[Resolved]),
        ],
    );
    let expected = Condition::Resolved {
        since: second(0),
        level: Level::Critical,
        at: second(320),
    };
    assert_eq!(run.condition, expected);
}

#[test]
fn rises_are_told_at_once_and_falls_when_they_last() {
    check(
        plain(),
        &[
            (0, BAD, "firing", &[Opened, Fired]),
            (10, WORSE, "firing", &[Rose]),
            (20, BAD, "firing", &[]),
            (319, BAD, "firing", &[]),
            (319, WORSE, "firing", &[]),
            (320, BAD, "firing", &[]),
            (720, BAD, "firing", &[Fell]),
            (730, GOOD, "recovering", &[Recovering]),
            (740, WORSE, "firing", &[Returned, Rose]),
        ],
    );
    // A rise keeps the time already waited.
    let rule = Rule {
        lasts: minutes(10),
        lasts_critical: minutes(2),
        ..plain()
    };
    check(
        rule,
        &[
            (0, BAD, "pending", &[Opened]),
            (119, BAD, "pending", &[]),
            (120, WORSE, "firing", &[Fired]),
        ],
    );
    let rule = Rule {
        lasts: minutes(1),
        lasts_critical: minutes(2),
        ..plain()
    };
    check(
        rule,
        &[
            (0, BAD, "pending", &[Opened]),
            (60, BAD, "firing", &[Fired]),
            (110, WORSE, "firing", &[]),
            (120, WORSE, "firing", &[Rose]),
        ],
    );
}

#[test]
fn what_is_between_clear_and_limit_neither_fires_nor_ends() {
    check(
        plain(),
        &[
            (0, HELD, "ok", &[]),
            (10, WORSE, "firing", &[Opened, Fired]),
            (20, HELD, "firing", &[]),
            (320, HELD, "firing", &[Fell]),
            (330, GOOD, "recovering", &[Recovering]),
            (340, HELD, "firing", &[Returned]),
            (350, GOOD, "recovering", &[Recovering]),
            (9_000, GOOD, "resolved", &[Resolved]),
            (9_010, HELD, "resolved", &[]),
        ],
    );
}

#[test]
fn what_cannot_be_seen_is_kept_fired_or_over_as_the_rule_says() {
    check(
        plain(),
        &[
            (0, Seen::Blind, "unknown", &[Lost]),
            (10, GOOD, "ok", &[Found]),
            (20, BAD, "firing", &[Opened, Fired]),
            (30, Seen::Blind, "unknown", &[Lost]),
            (40, Seen::Missing, "stale", &[]),
            (50, Seen::Blind, "unknown", &[]),
            (60, Seen::Nothing, "unknown", &[]),
            (70, BAD, "firing", &[Found]),
            (80, GOOD, "recovering", &[Recovering]),
            (90, Seen::Missing, "stale", &[Lost]),
            (9_000, Seen::Nothing, "stale", &[]),
            (9_010, GOOD, "resolved", &[Found, Resolved]),
            (9_020, Seen::Blind, "resolved", &[]),
            (9_030, Seen::Missing, "resolved", &[]),
        ],
    );
    let rule = Rule {
        no_data: NoData::Fire,
        lasts: minutes(1),
        ..plain()
    };
    check(
        rule,
        &[
            (0, Seen::Blind, "pending", &[Opened]),
            (60, Seen::Blind, "firing", &[Fired]),
            (70, WORSE, "firing", &[Rose]),
            (80, Seen::Blind, "firing", &[]),
            (90, GOOD, "recovering", &[Recovering]),
        ],
    );
    let rule = Rule {
        no_data: NoData::Resolve,
        ..plain()
    };
    check(
        rule,
        &[
            (0, BAD, "firing", &[Opened, Fired]),
            (10, Seen::Blind, "recovering", &[Recovering]),
            (310, Seen::Blind, "resolved", &[Resolved]),
        ],
    );
    let rule = Rule {
        lasts: minutes(5),
        ..plain()
    };
    let run = check(
        rule,
        &[
            (0, BAD, "pending", &[Opened]),
            (10, Seen::Blind, "unknown", &[Lost]),
            (20, BAD, "pending", &[Found]),
            (300, BAD, "firing", &[Fired]),
        ],
    );
    assert_eq!(run.condition.firing_since(), Some(second(300)));
}

#[test]
fn what_is_gone_is_over_at_once() {
    check(plain(), &[(0, Seen::Gone, "ok", &[])]);
    check(
        Rule {
            lasts: minutes(1),
            ..plain()
        },
        &[
            (0, BAD, "pending", &[Opened]),
            (10, Seen::Gone, "ok", &[Dropped]),
        ],
    );
    check(
        plain(),
        &[
            (0, BAD, "firing", &[Opened, Fired]),
            (10, Seen::Blind, "unknown", &[Lost]),
            (20, Seen::Gone, "resolved", &[Resolved]),
            (30, Seen::Gone, "resolved", &[]),
        ],
    );
    let mut run = check(
        plain(),
        &[
            (0, BAD, "firing", &[Opened, Fired]),
            (10, GOOD, "recovering", &[Recovering]),
        ],
    );
    run.rule.enabled = false;
    assert_eq!(run.see(20, BAD), [Resolved]);
    assert!(matches!(run.condition, Condition::Resolved { at, .. } if at == second(10)));
}

#[test]
fn what_is_below_the_level_of_the_rule_is_good() {
    let rule = Rule {
        level: Level::Critical,
        ..plain()
    };
    check(
        rule,
        &[
            (0, BAD, "ok", &[]),
            (10, WORSE, "firing", &[Opened, Fired]),
            (20, BAD, "recovering", &[Recovering]),
            (30, WORSE, "firing", &[Returned]),
        ],
    );
}

#[test]
fn pending_lasts_while_enough_samples_can_still_be_bad() {
    let rule = Rule {
        samples: (3, 5),
        lasts: minutes(1),
        ..plain()
    };
    check(
        rule,
        &[
            (0, BAD, "pending", &[Opened]),
            (10, GOOD, "pending", &[]),
            (20, GOOD, "pending", &[]),
            (30, BAD, "pending", &[]),
            (60, BAD, "firing", &[Fired]),
        ],
    );
    let rule = Rule {
        samples: (3, 5),
        ..plain()
    };
    check(
        rule,
        &[
            (0, BAD, "pending", &[Opened]),
            (10, BAD, "pending", &[]),
            (20, GOOD, "pending", &[]),
            (30, GOOD, "pending", &[]),
            (40, GOOD, "ok", &[Dropped]),
            (50, BAD, "pending", &[Opened]),
        ],
    );
}

#[test]
fn a_clock_that_goes_backwards_loses_nothing() {
    let rule = Rule {
        lasts: minutes(1),
        ..plain()
    };
    check(
        rule,
        &[
            (100_000, BAD, "pending", &[Opened]),
            (0, BAD, "pending", &[]),
            (60, BAD, "firing", &[Fired]),
            (100_000, GOOD, "recovering", &[Recovering]),
            (70, GOOD, "recovering", &[]),
            (70 + 75 * 60, GOOD, "resolved", &[Resolved]),
        ],
    );
    let mut run = Run::new(plain());
    run.at(Timestamp::MAX, BAD);
    run.at(Timestamp::MAX, GOOD);
    run.at(Timestamp::MIN, GOOD);
    run.at(Timestamp::MAX, Seen::Nothing);
    assert_eq!(run.condition.as_str(), "resolved");
}

#[test]
fn good_news_waits_longer_the_longer_it_was_bad() {
    for (bad, wait) in [(10, 300), (300, 375), (3_600, 4_500), (86_400, 4_500)] {
        let mut run = Run::new(plain());
        run.see(0, BAD);
        run.see(bad, GOOD);
        assert_eq!(
            next_at(&run.condition, &run.tally, &run.rule),
            Some(second(bad + wait)),
            "{bad} s"
        );
    }
    let mut run = Run::new(Rule {
        keep_firing: Duration::ZERO,
        ..plain()
    });
    run.see(0, BAD);
    run.see(0, GOOD);
    assert_eq!(
        run.events,
        [Opened, Fired, Recovering, Resolved],
        "there is nothing to wait for"
    );
}

#[test]
fn what_clears_three_times_a_day_waits_for_two_gaps() {
    let mut run = Run::new(plain());
    let mut hold = |at: i64| {
        run.tick(second(at), BAD);
        run.tick(second(at + 10), GOOD);
        let until = next_at(&run.condition, &run.tally, &run.rule).expect("it recovers");
        (
            until.as_second() - second(at + 10).as_second(),
            flapping(&run.tally, second(at + 10)),
        )
    };
    assert_eq!(hold(0), (300, false));
    assert_eq!(hold(7_200), (2 * 7_200, false), "twice within six hours");
    assert_eq!(hold(20_000), (2 * 12_800, true));
    // The day after nothing of that is left, except what was still firing.
    assert_eq!(hold(200_000), (300, false));
    let mut run = Run::new(plain());
    for at in 0..1_000 {
        run.see(at * 20, BAD);
        run.see(at * 20 + 10, GOOD);
    }
    assert!(run.tally.cleared_at.len() <= CLEARS_MAX, "bounded");
    assert_eq!(run.count(Fired), 1);
}

#[test]
fn what_is_mostly_good_is_told_twice_a_day_at_most_and_once_more() {
    for period in [1_200, 3_600, 8_640, 14_400, 21_600] {
        let mut run = Run::new(plain());
        for now in (0..3 * 86_400).step_by(60) {
            let seen = if now % period * 10 < period {
                BAD
            } else {
                GOOD
            };
            run.tick(second(now), seen);
        }
        let (fired, over) = (run.count(Fired), run.count(Resolved));
        assert!(fired <= 2 && over <= 1, "period {period} s: {fired} {over}");
    }
}

fn ended(condition: &Condition) -> bool {
    matches!(condition, Condition::Ok | Condition::Resolved { .. })
}

fn any_seen() -> impl Strategy<Value = Seen> {
    prop_oneof![
        3 => Just(BAD),
        2 => Just(WORSE),
        4 => Just(GOOD),
        1 => Just(HELD),
        1 => Just(Seen::Blind),
        1 => Just(Seen::Missing),
        1 => Just(Seen::Gone),
        2 => Just(Seen::Nothing),
    ]
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let no_data = prop_oneof![
        Just(NoData::Keep),
        Just(NoData::Fire),
        Just(NoData::Resolve)
    ];
    let level = prop_oneof![3 => Just(Level::Warning), 1 => Just(Level::Critical)];
    (
        0..300_u64,
        0..300_u64,
        0..600_u64,
        1..8_u8,
        0..8_u8,
        no_data,
        level,
    )
        .prop_map(
            |(lasts, lasts_critical, keep_firing, least, more, no_data, level)| Rule {
                level,
                lasts: Duration::from_secs(lasts),
                lasts_critical: Duration::from_secs(lasts_critical),
                keep_firing: Duration::from_secs(keep_firing),
                samples: (least, least + more),
                no_data,
                ..plain()
            },
        )
}

/// Seconds between looks: mostly some, now and then hours, and sometimes the clock goes back.
fn any_pause() -> impl Strategy<Value = i64> {
    prop_oneof![8 => 1..60_i64, 1 => 60..40_000_i64, 1 => -5_000..0_i64]
}

fn any_run() -> impl Strategy<Value = (Run, i64)> {
    (
        any_rule(),
        prop::collection::vec((any_seen(), any_pause()), 0..120),
    )
        .prop_map(|(rule, looks)| {
            let mut run = Run::new(rule);
            let mut now = 0;
            for (seen, pause) in looks {
                now += pause;
                run.see(now, seen);
            }
            (run, now)
        })
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:?} {:?} {:?} {:?}",
            self.rule, self.condition, self.tally, self.events
        )
    }
}

proptest! {
    #[test]
    fn firing_and_over_alternate((run, _) in any_run()) {
        let mut fires = false;
        for event in &run.events {
            match event {
                Fired => {
                    prop_assert!(!fires, "twice for one cause");
                    fires = true;
                }
                Resolved => {
                    prop_assert!(fires, "over without having fired");
                    fires = false;
                }
                Rose | Fell | Recovering | Returned => prop_assert!(fires),
                _ => {}
            }
        }
        prop_assert_eq!(run.condition.firing().is_some(), fires);
    }

    #[test]
    fn every_firing_ends_once_it_stays_good((mut run, mut now) in any_run()) {
        for _ in 0..64 {
            now += 10;
            run.see(now, GOOD);
        }
        if let Some(due) = next_at(&run.condition, &run.tally, &run.rule) {
            run.at(due, Seen::Nothing);
        }
        prop_assert!(ended(&run.condition));
    }

    #[test]
    fn every_firing_ends_once_it_is_gone((mut run, now) in any_run()) {
        run.see(now, Seen::Gone);
        prop_assert!(ended(&run.condition));
        prop_assert_eq!(run.count(Fired), run.count(Resolved));
    }

    #[test]
    fn no_alert_is_lost((mut run, mut now) in any_run()) {
        let lasts = run.rule.lasts_critical.as_secs();
        let least = u64::from(run.rule.samples.0);
        for _ in 0..=lasts.div_ceil(10).max(least) {
            now += 10;
            run.see(now, WORSE);
        }
        let fires = matches!(run.condition, Condition::Firing { level: Level::Critical, .. });
        prop_assert!(fires);
    }

    #[test]
    fn n_of_m_is_what_counting_says(
        least in 1..10_u8, more in 0..10_u8, samples in prop::collection::vec(any::<bool>(), 1..200),
    ) {
        let of = least + more;
        let mut run = Run::new(Rule { samples: (least, of), ..plain() });
        for (index, bad) in samples.iter().enumerate() {
            run.see(10 * i64::try_from(index).expect("small"), if *bad { BAD } else { GOOD });
            let last = &samples[(index + 1).saturating_sub(usize::from(of))..=index];
            let enough = last.iter().filter(|bad| **bad).count() >= usize::from(least);
            if *bad && enough {
                prop_assert!(run.condition.firing().is_some());
                break;
            }
            prop_assert!(run.condition.firing().is_none());
        }
    }

    #[test]
    fn time_alone_does_something_exactly_when_it_says((run, now) in any_run()) {
        let later = |at: Timestamp| {
            let mut tally = run.tally.clone();
            step(&run.condition, &mut tally, Seen::Nothing, &run.rule, at)
        };
        match next_at(&run.condition, &run.tally, &run.rule) {
            None => prop_assert_eq!(later(second(now + 1_000_000)), (run.condition.clone(), Vec::new())),
            Some(due) => {
                let before = due - Duration::from_nanos(1);
                if before >= second(now) {
                    prop_assert_eq!(later(before), (run.condition.clone(), Vec::new()));
                }
                prop_assert_eq!(later(due.max(second(now))).1, [Resolved]);
            }
        }
    }
}

/// Seconds; the ends of what must stay one alert come often.
fn any_period() -> impl Strategy<Value = i64> {
    prop_oneof![1 => Just(7_200_i64), 1 => Just(20_i64), 4 => 20..=7_200_i64]
}

proptest! {
    // A day has 8,640 samples.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_square_wave_is_one_alert_a_day(
        period in any_period(), lasts in 0..400_u64, offset in 0..10_i64, three_of_five in any::<bool>(),
    ) {
        let samples = if three_of_five { (3, 5) } else { (1, 1) };
        let mut run = Run::new(Rule { lasts: Duration::from_secs(lasts), samples, ..plain() });
        let mut now = offset;
        while now < 86_400 {
            run.tick(second(now), if now % period * 2 < period { BAD } else { GOOD });
            now += 10;
        }
        prop_assert!(run.count(Fired) <= 1, "{} times", run.count(Fired));
        prop_assert!(run.count(Resolved) == 0, "not over while it goes on");
        for _ in 0..5 {
            run.see(now, GOOD);
            now += 10;
        }
        if let Some(due) = next_at(&run.condition, &run.tally, &run.rule) {
            run.at(due, Seen::Nothing);
        }
        prop_assert_eq!(run.count(Fired), run.count(Resolved));
    }

    #[test]
    fn a_wave_of_levels_rises_once_a_day(period in any_period(), offset in 0..10_i64) {
        let mut run = Run::new(plain());
        let mut now = offset;
        while now < 86_400 {
            run.tick(second(now), if now % period * 2 < period { BAD } else { WORSE });
            now += 10;
        }
        prop_assert_eq!((run.count(Fired), run.count(Rose), run.count(Fell)), (1, 1, 0));
    }
}
