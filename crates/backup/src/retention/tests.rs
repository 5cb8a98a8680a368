//! Whatever the history and the policy, the last way back stays, and nothing loses what it stands on.

use pawang_core::Lsn;
use proptest::prelude::*;

use super::*;
use crate::wal::Timeline;

const DAY: i64 = 24 * 60 * 60;

fn at(day: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + day * DAY).unwrap()
}

fn position(lsn: u64) -> Position {
    Position {
        timeline: Timeline(1),
        lsn: Lsn(lsn),
    }
}

fn name(number: u8) -> BackupId {
    BackupId::new(at(0), [number; 10])
}

/// A backup of a day; its positions grow with its number.
fn backup(number: u8, day: i64, parent: Option<u8>) -> Known {
    let lsn = u64::from(number) * 100;
    Known {
        backup: name(number),
        parent: parent.map(name),
        ended_at: at(day),
        start: position(lsn),
        stop: position(lsn + 10),
        state: State::Taken,
        clean: true,
        held: None,
        leased: None,
        tomb_at: None,
    }
}

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_secs(days * DAY)
}

fn fates(plan: &Plan) -> String {
    let letter = |decision: &Decision| match decision.fate {
        Fate::Keep => 'k',
        Fate::Tomb => 't',
        Fate::Delete => 'd',
    };
    plan.decisions.iter().map(letter).collect()
}

/// Ten fulls on days 0 to 9, each with an incremental behind it half a day later.
fn history() -> Vec<Known> {
    (0..10u8)
        .flat_map(|day| {
            let full = backup(2 * day, i64::from(day), None);
            [full, backup(2 * day + 1, i64::from(day), Some(2 * day))]
        })
        .collect()
}

#[test]
fn each_rule_keeps_what_it_says() {
    let none = Policy {
        grace: days(1),
        ..Policy::default()
    };
    for (policy, expected) in [
        (none.clone(), "kkkkkkkkkkkkkkkkkkkk"),
        (
            Policy {
                keep_fulls: Some(2),
                ..none.clone()
            },
            "ttttttttttttttttkkkk",
        ),
        (
            Policy {
                keep_age: Some(days(3)),
                ..none.clone()
            },
            "ttttttttttttkkkkkkkk",
        ),
        (
            Policy {
                window: Some(days(3)),
                ..none.clone()
            },
            "ttttttttttttkkkkkkkk",
        ),
        (
            Policy {
                weekly: 2,
                ..none.clone()
            },
            "ttttkkttttttttttttkk",
        ),
        (
            Policy {
                keep_fulls: Some(0),
                ..none.clone()
            },
            "ttttttttttttttttttkk",
        ),
    ] {
        let plan = plan(&history(), &policy, at(9));
        assert_eq!(fates(&plan), expected, "{policy:?}");
        assert!(
            plan.decisions
                .iter()
                .all(|decision| !decision.why.is_empty())
        );
    }
}

#[test]
fn a_window_needs_the_backup_before_it() {
    let known = [backup(1, 0, None), backup(2, 5, None), backup(3, 10, None)];
    let policy = Policy {
        window: Some(days(3)),
        grace: days(1),
        ..Policy::default()
    };
    let plan = plan(&known, &policy, at(10));
    assert_eq!(fates(&plan), "tkk");
    assert!(
        plan.decisions[1]
            .to_string()
            .contains("the recovery window of 3 days begins with it"),
        "{}",
        plan.decisions[1]
    );
    let later = position(205).lsn;
    assert!(plan.wal.needs(Timeline(1), later, Lsn(later.0 + 1)));
}

#[test]
fn what_is_held_used_proven_or_of_the_future_stays() {
    let policy = Policy {
        keep_fulls: Some(1),
        ..Policy::default()
    };
    let mut known = history();
    known[0].held = Some("for the audit (ann)".to_owned());
    known[3].leased = Some("restores on \"b\"".to_owned());
    known[5].state = State::Proven;
    known[7].state = State::Proven;
    known[8].ended_at = at(400);
    for one in &mut known {
        one.tomb_at = Some(at(0));
    }
    let plan = plan(&known, &policy, at(9));
    assert_eq!(fates(&plan), "kkkkddkkkkddddddddkk");
    let why = |place: usize| plan.decisions[place].why.join("; ");
    assert!(why(0).contains("held: for the audit (ann)"), "{}", why(0));
    assert!(why(2).contains("in use: restores"), "{}", why(2));
    assert!(why(6).contains("the newest that is proven"), "{}", why(6));
    assert!(why(8).contains("future"), "{}", why(8));
    // A backup that is only held needs what makes it consistent, and no more.
    assert!(plan.wal.needs(Timeline(1), Lsn(0), Lsn(5)));
    assert!(!plan.wal.needs(Timeline(1), Lsn(111), Lsn(150)));
}

#[test]
fn the_newest_without_wrong_pages_stays() {
    let policy = Policy {
        keep_fulls: Some(1),
        ..Policy::default()
    };
    let mut known = history();
    // From the fourth chain on each full backup has wrong pages; increments say nothing of pages that they do not have.
    for full in (6..20).step_by(2) {
        known[full].clean = false;
    }
    known[5].clean = false;
    let decided = plan(&known, &policy, at(9));
    assert_eq!(fates(&decided), "ttttkkttttttttttttkk");
    let why = |place: usize| decided.decisions[place].why.join("; ");
    assert!(why(4).contains("without wrong pages"), "{}", why(4));
    // What follows can be replayed onto it.
    assert!(decided.wal.needs(Timeline(1), Lsn(1 << 40), Lsn(1 << 41)));
    // Where none is clean, nothing is kept for that; where the newest is, it is enough.
    for clean in [false, true] {
        known.iter_mut().for_each(|one| one.clean = clean);
        let decided = plan(&known, &policy, at(9));
        assert_eq!(fates(&decided), "ttttttttttttttttttkk");
    }
}

#[test]
fn what_something_is_wrong_with_counts_only_where_nothing_else_does() {
    let none = Policy::default();
    for (wrong, policy, expected) in [
        // Two of three that are good, and the newest.
        (
            &[3, 4][..],
            Policy {
                keep_fulls: Some(2),
                ..none.clone()
            },
            "tkktk",
        ),
        (
            &[0, 1, 2, 3, 4],
            Policy {
                keep_fulls: Some(2),
                ..none.clone()
            },
            "tttkk",
        ),
        (
            &[0, 1, 3, 4],
            Policy {
                keep_fulls: Some(2),
                ..none.clone()
            },
            "ttktk",
        ),
        // The window of two days begins with one that is good.
        (
            &[2],
            Policy {
                window: Some(days(2)),
                ..none.clone()
            },
            "tkkkk",
        ),
        // Of its week, the newest that is good.
        (
            &[4],
            Policy {
                yearly: 1,
                ..none.clone()
            },
            "tttkk",
        ),
    ] {
        let mut known: Vec<Known> = (0..5)
            .map(|day| backup(day, i64::from(day), None))
            .collect();
        wrong.iter().for_each(|place| known[*place].clean = false);
        let plan = plan(&known, &policy, at(4));
        assert_eq!(fates(&plan), expected, "{wrong:?} {policy:?}");
    }
}

#[test]
fn a_tomb_lies_for_its_grace() {
    let policy = Policy {
        keep_fulls: Some(1),
        grace: days(2),
        ..Policy::default()
    };
    let mut known = vec![
        backup(1, 0, None),
        backup(2, 0, Some(1)),
        backup(3, 5, None),
    ];
    assert_eq!(fates(&plan(&known, &policy, at(5))), "ttk");
    known[0].tomb_at = Some(at(5));
    known[1].tomb_at = Some(at(6));
    assert_eq!(
        fates(&plan(&known, &policy, at(7))),
        "ttk",
        "the grace of one of the chain runs"
    );
    assert_eq!(fates(&plan(&known, &policy, at(8))), "ddk");
}

#[test]
fn what_stands_on_nothing_does_not_count() {
    let policy = Policy {
        keep_fulls: Some(1),
        ..Policy::default()
    };
    let known = [backup(1, 0, None), backup(3, 5, Some(2))];
    let plan = plan(&known, &policy, at(5));
    assert_eq!(fates(&plan), "kt");
    assert!(plan.decisions[1].to_string().contains("cannot be restored"));
}

prop_compose! {
    fn any_history()(seeds in prop::collection::vec((0i64..40, any::<u8>(), 0u8..8, any::<bool>()), 0..24)) -> Vec<Known> {
        let mut known: Vec<Known> = Vec::new();
        for (number, (day, pick, kind, tomb)) in seeds.into_iter().enumerate() {
            let number = u8::try_from(number).unwrap();
            // Half of them stand on any earlier one; days are in no order, as of clocks that go wrong.
            let parent = (kind % 2 == 0 && number > 0).then(|| pick % number);
            let mut one = backup(number, day, parent);
            one.held = (kind == 3).then(|| "held".to_owned());
            one.leased = (kind == 5).then(|| "used".to_owned());
            one.state = if kind == 7 || kind == 6 { State::Proven } else { State::Hashed };
            one.clean = pick % 3 > 0;
            one.tomb_at = tomb.then(|| at(day));
            known.push(one);
        }
        known
    }
}

prop_compose! {
    fn any_policy()(
        keep_fulls in prop::option::of(0u32..4),
        age in prop::option::of(0i64..20),
        window in prop::option::of(0i64..20),
        calendar in prop::array::uniform4(0u32..3),
        grace in 0i64..5,
    ) -> Policy {
        Policy {
            keep_fulls,
            keep_age: age.map(days),
            window: window.map(days),
            daily: calendar[0],
            weekly: calendar[1],
            monthly: calendar[2],
            yearly: calendar[3],
            grace: days(grace),
        }
    }
}

proptest! {
    #[test]
    fn the_last_way_back_stays(known in any_history(), policy in any_policy(), today in 0i64..60) {
        let plan = plan(&known, &policy, at(today));
        prop_assert_eq!(plan.decisions.len(), known.len());
        let fate = |id: &BackupId| {
            let found = plan.decisions.iter().find(|decision| decision.backup == *id);
            found.map(|decision| decision.fate)
        };
        for (one, decision) in known.iter().zip(&plan.decisions) {
            prop_assert!(!decision.why.is_empty());
            // What stands on a backup shares its fate, and so does what it stands on.
            if let Some(parent) = &one.parent {
                prop_assert_eq!(fate(parent), Some(decision.fate));
            }
            if one.held.is_some() || one.leased.is_some() || one.ended_at > at(today) || !policy.any() {
                prop_assert_eq!(decision.fate, Fate::Keep);
            }
            if decision.fate == Fate::Delete {
                prop_assert!(one.tomb_at.is_some_and(|laid| at(today).duration_since(laid) >= policy.grace));
            }
            // Whatever is there needs the WAL that makes it consistent, and what can be kept needs what follows.
            prop_assert!(plan.wal.needs(Timeline(1), one.start.lsn, one.stop.lsn));
            if decision.fate == Fate::Tomb {
                prop_assert!(plan.wal.needs(Timeline(1), Lsn(1 << 40), Lsn(1 << 41)));
            }
        }
        let fulls: Vec<&Known> = known.iter().filter(|one| one.parent.is_none()).collect();
        if let Some(newest) = fulls.last() {
            prop_assert_eq!(fate(&newest.backup), Some(Fate::Keep));
            let behind = Lsn(newest.stop.lsn.0 + 1);
            prop_assert!(plan.wal.needs(Timeline(1), behind, Lsn(behind.0 + 1)));
        }
        if known.iter().any(|one| one.state == State::Proven) {
            let kept = known.iter().any(|one| one.state == State::Proven && fate(&one.backup) == Some(Fate::Keep));
            prop_assert!(kept);
        }
        if let Some(clean) = fulls.iter().rfind(|one| one.clean) {
            prop_assert_eq!(fate(&clean.backup), Some(Fate::Keep));
            prop_assert!(plan.wal.needs(Timeline(1), clean.stop.lsn, Lsn(1 << 40)));
        }
        let kept_fulls = fulls.iter().filter(|one| fate(&one.backup) == Some(Fate::Keep)).count();
        let wanted = policy.keep_fulls.unwrap_or(0) as usize;
        prop_assert!(kept_fulls >= wanted.min(fulls.len()));
    }

    #[test]
    fn deciding_again_changes_nothing(known in any_history(), policy in any_policy()) {
        let first = plan(&known, &policy, at(60));
        let mut marked = known.clone();
        for (one, decision) in marked.iter_mut().zip(&first.decisions) {
            match decision.fate {
                Fate::Keep => one.tomb_at = None,
                Fate::Tomb => { one.tomb_at.get_or_insert(at(60)); }
                Fate::Delete => {}
            }
        }
        let second = plan(&marked, &Policy { grace: policy.grace.max(days(1)), ..policy }, at(60));
        for (one, other) in first.decisions.iter().zip(&second.decisions) {
            prop_assert_eq!(one.fate == Fate::Keep, other.fate == Fate::Keep);
        }
    }
}
