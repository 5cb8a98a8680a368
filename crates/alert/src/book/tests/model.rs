//! Whatever happens: nobody is left in doubt, and nobody is told the same thing twice.

use std::collections::BTreeSet;

use pawang_core::Level::{Critical, Ok as Fine, Warning};
use pawang_core::alert::Request;
use proptest::prelude::*;

use super::world::{QUICK, World, seconds};

/// Something that happens in a small estate.
#[derive(Clone, Debug)]
enum Happens {
    Set(u8, u8, u8),
    Wait(u32),
    Acknowledge(u8, u8),
    Mute(u8, u8, u32),
    Unreachable(u8),
    Reachable(u8),
    Restart,
    Configure(bool),
}

const ESTATE: &str = r#"
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
    name = "urgent"
    match = ['priority=~"P[12]"']
    policy = "duty"
    [[alert.route]]
    name = "rest"
    notify = ["mail"]
"#;

/// The file of the other tests for instances that are judged less often.
fn patient() -> String {
    QUICK.replace("group_wait", "stale_after = \"1 h\"\n    group_wait")
}

const CHECKS: [&str; 3] = ["connections", "disk-free", "connection"];

fn instance(number: u8) -> String {
    format!("dwh-{number}")
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        6 => (0..3_u8, 0..3_u8, 0..3_u8).prop_map(|(i, c, l)| Happens::Set(i, c, l)),
        6 => (1..5_000_u32).prop_map(Happens::Wait),
        1 => (0..3_u8, 0..3_u8).prop_map(|(i, c)| Happens::Acknowledge(i, c)),
        1 => (0..3_u8, 0..3_u8, 1..9_000_u32).prop_map(|(i, c, s)| Happens::Mute(i, c, s)),
        1 => (0..3_u8).prop_map(Happens::Unreachable),
        1 => (0..3_u8).prop_map(Happens::Reachable),
        1 => Just(Happens::Restart),
        1 => any::<bool>().prop_map(Happens::Configure),
    ]
}

fn apply(world: &mut World, happens: &Happens) {
    match happens {
        Happens::Set(i, c, level) => {
            let level = [Fine, Warning, Critical][usize::from(*level)];
            world.set(&instance(*i), CHECKS[usize::from(*c)], level);
        }
        Happens::Wait(time) => world.go(seconds(u64::from(*time)), Some(seconds(300))),
        Happens::Acknowledge(i, c) => {
            let alerts = vec![world.name(&instance(*i), CHECKS[usize::from(*c)])];
            let until = Some(crate::span::later(world.now, seconds(1_800)));
            // Nothing to acknowledge is an answer too.
            let _ = world.ask(Request::Acknowledge {
                alerts,
                until,
                note: String::new(),
            });
        }
        Happens::Mute(i, c, time) => {
            let alert = world.name(&instance(*i), CHECKS[usize::from(*c)]);
            let until = crate::span::later(world.now, seconds(u64::from(*time)));
            let _ = world.ask(Request::Mute {
                alert,
                until,
                reason: "test".to_owned(),
            });
        }
        Happens::Unreachable(i) => world.reach(&instance(*i), false),
        Happens::Reachable(i) => world.reach(&instance(*i), true),
        Happens::Restart => world.restart(),
        Happens::Configure(plain) => {
            world.configure(&format!(
                "{}{}",
                patient(),
                if *plain { "" } else { ESTATE }
            ));
        }
    }
}

/// Returns what fires in truth and may be told: what nothing keeps quiet.
fn truth(world: &World) -> (BTreeSet<String>, BTreeSet<String>) {
    let alerts = world.book.present(world.now).alerts;
    let firing = alerts.iter().filter(|alert| alert.firing().is_some());
    let (quiet, open): (Vec<_>, Vec<_>) = firing.partition(|alert| alert.handling.muted());
    let names = |alerts: Vec<&std::sync::Arc<pawang_core::alert::Alert>>| {
        alerts
            .iter()
            .map(|alert| alert.fingerprint.clone())
            .collect()
    };
    (names(open), names(quiet))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn everybody_believes_the_truth_in_the_end(all in prop::collection::vec(happens(), 1..25)) {
        let mut world = World::new(&format!("{}{ESTATE}", patient()));
        for number in 0..3 {
            world.reach(&instance(number), true);
        }
        world.judge_all();
        for happens in &all {
            apply(&mut world, happens);
        }
        for number in 0..3 {
            world.reach(&instance(number), true);
        }
        world.go(seconds(30 * 3_600), Some(seconds(900)));
        let (open, quiet) = truth(&world);
        let mail = world.belief.entry("mail".to_owned()).or_default().clone();
        prop_assert!(open.is_subset(&mail), "not told: {open:?} {mail:?}");
        for (name, belief) in &world.belief {
            let all: BTreeSet<String> = open.union(&quiet).cloned().collect();
            prop_assert!(belief.is_subset(&all), "{name} believes what is over: {belief:?} {all:?}");
        }
        // All becomes good: everybody hears of it.
        world.bad.clear();
        world.go(seconds(60 * 3_600), Some(seconds(900)));
        for (name, belief) in &world.belief {
            prop_assert!(belief.is_empty(), "{name} was left in doubt about {belief:?}");
        }
        prop_assert!(world.book.present(world.now).alerts.is_empty(), "not all is forgotten");
    }
}

#[test]
fn a_storm_is_one_message() {
    let text = QUICK.replace("group_wait", "group_by = []\n    group_wait");
    let mut world = World::new(&text);
    for instance in 0..100 {
        let name = format!("dwh-{instance:03}");
        for object in 0..20 {
            world.put(
                &name,
                "table-bloat",
                &format!("public.t{object}"),
                Warning,
                93.0,
            );
        }
        world.judge(&name);
    }
    world.go(seconds(2), None);
    assert_eq!(world.inbox.len(), 1);
    let message = &world.inbox[0];
    assert_eq!(
        (message.firing, message.notices.len(), message.left_out),
        (2_000, 2_000, 0)
    );
    assert!(
        message.subject.starts_with("[FIRING 2000] warning: "),
        "{}",
        message.subject
    );
    assert!(!message.notices[19].evidence.is_empty() && message.notices[20].evidence.is_empty());
}

#[test]
fn what_comes_and_goes_for_a_day_is_at_most_two_messages() {
    for period in [20, 60, 300, 900, 1_800, 3_600, 5_400, 7_200] {
        let mut world = World::new(QUICK);
        let step = (period / 2).min(60);
        let mut bad = false;
        let mut switch_at = 0;
        for second in (0..86_400_u64).step_by(usize::try_from(step).expect("a minute")) {
            if second >= switch_at {
                bad = !bad;
                switch_at += period / 2;
            }
            world.set("dwh-1", "connections", if bad { Warning } else { Fine });
            world.go(seconds(step), None);
        }
        let told = world.told();
        assert!((1..=2).contains(&told.len()), "period {period} s: {told:?}");
    }
}
