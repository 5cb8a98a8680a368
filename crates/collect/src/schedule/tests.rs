//! Whole hours of a schedule, with a clock and a server that tests make up.

use std::sync::{Arc, LazyLock};

use pawang_core::{Blind, Cost, Instance, Missing, Sighting};
use proptest::prelude::*;

use super::*;
use crate::Catalog;

const BUDGET: f64 = 0.5;
const MINUTE: Duration = Duration::from_secs(60);

static CATALOG: LazyLock<Catalog> = LazyLock::new(Catalog::built_in);

/// Collectors that tests name.
const PLAYED: [&str; 8] = [
    "server",
    "activity",
    "locks",
    "slru",
    "sync-commit",
    "tables",
    "table-shape",
    "grants",
];

/// A server as a schedule sees it, and what it was asked.
struct World {
    schedule: Schedule,
    /// True time, which only goes forward, since the beginning.
    elapsed: Duration,
    /// What the clock says.
    now: Timestamp,
    /// What each collector costs, by name; nothing costs a millisecond.
    costs: BTreeMap<String, Duration>,
    /// What each collector fails with, by name.
    failing: BTreeMap<String, Missing>,
    answers: bool,
    role: Role,
    databases: u32,
    /// When what was asked, in true time.
    asked: Vec<(Duration, BTreeSet<String>)>,
}

impl World {
    /// A server that is asked a part of all, so that hours pass quickly.
    fn new(seed: u64) -> World {
        let some = CATALOG.collectors.values().enumerate();
        let some = some.filter(|(index, collector)| {
            index % 8 == 0 || PLAYED.contains(&collector.name.as_str())
        });
        World::of(seed, some.map(|(_, collector)| collector))
    }

    fn of<'a>(seed: u64, collectors: impl Iterator<Item = &'a Collector>) -> World {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        World {
            schedule: Schedule::new(collectors, BUDGET, seed, now),
            elapsed: Duration::ZERO,
            now,
            costs: BTreeMap::new(),
            failing: BTreeMap::new(),
            answers: true,
            role: Role::Primary,
            databases: 1,
            asked: Vec::new(),
        }
    }

    /// Lives on for a while as a daemon does that wakes at least every ten seconds.
    fn live(&mut self, duration: Duration) {
        let end = self.elapsed + duration;
        while self.elapsed < end {
            let due = self.schedule.due(self.now);
            if !due.is_empty() {
                self.asked.push((self.elapsed, due.clone()));
                let facts = self.facts(&due);
                self.schedule.record(&facts, self.now);
            }
            let wait = self.schedule.next_at().duration_since(self.now);
            let wait = Duration::try_from(wait).unwrap_or_default();
            let wait = wait.clamp(Duration::from_millis(50), Duration::from_secs(10));
            self.elapsed += wait;
            self.now = after(self.now, wait);
        }
    }

    fn facts(&self, due: &BTreeSet<String>) -> Facts {
        let server = Server {
            version: 150_000,
            version_text: String::new(),
            role: self.role,
            epoch: Epoch::default(),
            user: String::new(),
            superuser: false,
            monitor: true,
            database: "d0".to_owned(),
            data_directory: None,
            local: true,
        };
        let mut sightings = Vec::new();
        for name in due.iter().filter(|_| self.answers) {
            let inside = CATALOG.collector(name).header.scope == Scope::Database;
            let databases = if inside { self.databases } else { 1 };
            for database in 0..databases {
                sightings.push(Sighting {
                    collector: name.clone(),
                    database: inside.then(|| format!("d{database}")),
                    seen: match self.failing.get(name) {
                        Some(missing) => Err(missing.clone()),
                        None => Ok(Arc::new(self.snapshot(name))),
                    },
                });
            }
        }
        Facts {
            instance: Instance::default(),
            at: self.now,
            server: if self.answers {
                Ok(server)
            } else {
                Err(unreachable())
            },
            down: None,
            databases: (0..self.databases).map(|i| format!("d{i}")).collect(),
            sightings,
            notes: Vec::new(),
        }
    }

    fn snapshot(&self, name: &str) -> Snapshot {
        let cost = self.costs.get(name).copied();
        Snapshot {
            collector: name.to_owned(),
            database: None,
            at: self.now,
            epoch: Some(Epoch::default()),
            cost: Cost {
                elapsed: cost.unwrap_or(Duration::from_micros(100)),
                rows: 1,
            },
            columns: [].into(),
            rows: Vec::new(),
        }
    }

    /// Returns how often a collector was asked from a moment on.
    fn count(&self, name: &str, from: Duration) -> usize {
        let asked = self.asked.iter().filter(|(at, _)| *at >= from);
        asked.filter(|(_, names)| names.contains(name)).count()
    }

    fn status(&self, name: &str) -> CollectorStatus {
        let mut all = self.schedule.status().into_iter();
        all.find(|status| status.name == name).unwrap()
    }
}

fn unreachable() -> Blind {
    Blind::Unreachable {
        what: "nobody answers".to_owned(),
        hint: None,
    }
}

fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 3600)
}

#[test]
fn everything_is_asked_soon_and_then_at_its_interval() {
    let mut world = World::of(7, CATALOG.collectors.values());
    world.live(MINUTE + Duration::from_secs(1));
    let first: BTreeSet<String> = world.asked[0].1.clone();
    assert!(first.contains("server") && !first.contains("table-shape"));
    for status in world.schedule.status() {
        assert!(status.runs > 0, "\"{}\" was not asked", status.name);
    }
    let from = world.elapsed;
    world.live(hours(2));
    for status in world.schedule.status() {
        let expected = hours(2).as_secs_f64() / status.interval.as_secs_f64();
        let count = world.count(&status.name, from) as f64;
        let range = (expected * 0.85).floor()..=(expected * 1.2).ceil();
        assert!(
            range.contains(&count),
            "\"{}\": {count} of {expected}",
            status.name
        );
    }
    let rounds = world.asked.iter().filter(|(at, _)| *at >= from).count();
    assert!(
        rounds < 2 * 800,
        "{rounds} rounds: what is due about now is asked together"
    );
    assert_eq!(world.schedule.budget().note, None);
}

#[test]
fn two_instances_do_not_beat_together() {
    let mut worlds = [World::new(1), World::new(2)];
    for world in &mut worlds {
        world.live(hours(1));
    }
    let [one, two] = &worlds;
    let together = one.asked.iter().skip(1).filter(|(at, _)| {
        let near = |other: &Duration| at.abs_diff(*other) < Duration::from_millis(200);
        two.asked.iter().any(|(other, _)| near(other))
    });
    let share = together.count() as f64 / one.asked.len() as f64;
    assert!(share < 0.2, "{share}");
}

#[test]
fn what_is_expensive_is_asked_less_often_and_says_so() {
    let mut world = World::new(3);
    world.databases = 3;
    let cost = |seconds: f64| Duration::from_secs_f64(seconds);
    world.costs.insert("tables".to_owned(), cost(0.4));
    world.costs.insert("table-shape".to_owned(), cost(1.0));
    world.costs.insert("activity".to_owned(), cost(0.01));
    world.live(hours(2));
    let from = world.elapsed;
    world.live(hours(2));
    let spent = 3.0 * 0.4 * world.count("tables", from) as f64
        + 3.0 * world.count("table-shape", from) as f64
        + 0.01 * world.count("activity", from) as f64;
    let percent = 100.0 * spent / hours(2).as_secs_f64();
    assert!(percent < BUDGET, "{percent} %");
    assert!(
        percent > BUDGET / 2.0,
        "no less often than needed: {percent} %"
    );
    let activity = world.status("activity");
    assert_eq!(activity.interval, activity.interval_now);
    let budget = world.schedule.budget();
    assert!(
        budget.stretch > 2.0 && budget.used_percent < BUDGET * 1.5,
        "{budget:?}"
    );
    let note = budget.note.unwrap();
    assert!(note.contains("tables every"), "{note}");
    // Back at its interval when it is cheap again.
    world.costs.clear();
    world.live(hours(3));
    assert_eq!(world.schedule.budget().note, None);
}

#[test]
fn a_server_that_is_away_is_tried_at_growing_intervals_and_not_stormed_when_it_is_back() {
    let mut world = World::new(4);
    world.live(hours(1));
    world.answers = false;
    let gone = world.elapsed;
    world.live(hours(1));
    let tries: Vec<Duration> = world.asked.iter().map(|(at, _)| *at).collect();
    let tries: Vec<Duration> = tries.into_iter().filter(|at| *at >= gone).collect();
    let pauses: Vec<Duration> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses[0] <= RETRY_FIRST * 2, "{:?}", pauses[0]);
    assert!(pauses.iter().all(|pause| *pause <= RETRY_MAX));
    assert!((120..170).contains(&tries.len()), "{} tries", tries.len());
    world.answers = true;
    let back = world.elapsed;
    world.live(Duration::from_secs(100));
    let rounds: Vec<_> = world.asked.iter().filter(|(at, _)| *at >= back).collect();
    let all = world.schedule.status().len();
    assert!(rounds[0].0 - back <= RETRY_MAX);
    assert!(rounds[0].1.len() < all && rounds[0].1.contains("server"));
    for status in world.schedule.status() {
        let count = world.count(&status.name, back);
        assert!((1..=20).contains(&count), "\"{}\": {count}", status.name);
    }
}

#[test]
fn what_times_out_is_asked_less_and_less_often_until_it_works_again() {
    let mut world = World::new(5);
    let timeout = Blind::Timeout {
        what: "a statement".to_owned(),
        limit_ms: 5000,
    };
    world.failing.insert("locks".to_owned(), timeout.into());
    world.live(hours(2));
    let status = world.status("locks");
    assert!(
        status.interval_now >= Duration::from_secs(900),
        "{status:?}"
    );
    assert!(status.failures == status.runs && status.blind.is_some());
    let server = world.status("server");
    assert_eq!(
        server.interval, server.interval_now,
        "others are not held back"
    );
    world.failing.clear();
    world.live(hours(2));
    let status = world.status("locks");
    assert_eq!((status.interval_now, status.blind), (status.interval, None));
}

#[test]
fn what_does_not_apply_is_asked_rarely_until_the_server_changes() {
    let mut world = World::new(6);
    let missing = Missing::NotApplicable("the server is a standby".to_owned());
    world.role = Role::Standby;
    world.failing.insert("sync-commit".to_owned(), missing);
    world.live(hours(1));
    assert!(world.count("sync-commit", MINUTE) <= 13);
    assert_eq!(world.status("sync-commit").failures, 0);
    world.role = Role::Primary;
    world.failing.clear();
    let promoted = world.elapsed;
    world.live(Duration::from_secs(120));
    assert!(world.count("sync-commit", promoted) >= 7);
}

#[test]
fn what_is_denied_hardly_shows_in_the_log_of_the_server_and_is_tried_at_once_when_woken() {
    let mut world = World::new(5);
    let denied = Blind::NoPrivilege {
        what: "permission denied".to_owned(),
        grant: "GRANT ...".to_owned(),
    };
    world
        .failing
        .insert("grants".to_owned(), Missing::Blind(denied));
    world.live(hours(24));
    let asked = world.count("grants", Duration::ZERO);
    assert!((3..=6).contains(&asked), "asked {asked} times in a day");
    world.failing.clear();
    world.schedule.wake(world.now);
    world.live(MINUTE * 2);
    assert_eq!(world.count("grants", hours(24)), 1);
}

#[test]
fn a_server_in_trouble_is_asked_only_the_essential_as_often_as_before() {
    let mut world = World::new(8);
    world.live(hours(1));
    let slow = Duration::from_millis(400);
    let names: Vec<String> = world
        .schedule
        .status()
        .into_iter()
        .map(|s| s.name)
        .collect();
    world.costs = names.into_iter().map(|name| (name, slow)).collect();
    world.live(Duration::from_secs(45));
    let budget = world.schedule.budget();
    assert!(budget.note.unwrap().contains("answers slowly"));
    let [server, slru] = ["server", "slru"].map(|name| world.status(name));
    assert_eq!(server.interval, server.interval_now);
    assert!(slru.interval_now >= slru.interval * 2);
}

#[test]
fn sampling_slows_down_when_a_sample_is_expensive() {
    let mut world = World::new(9);
    assert_eq!(world.schedule.sample_interval(), Duration::from_secs(1));
    let mut sample = world.snapshot(SAMPLES);
    for (milliseconds, expected) in [(1, 1), (8, 4), (100, 10)] {
        sample.cost.elapsed = Duration::from_millis(milliseconds);
        for _ in 0..200 {
            world.schedule.sampled(&sample, world.now);
        }
        let interval = world.schedule.sample_interval();
        assert_eq!(interval.as_secs_f64().round() as u64, expected);
    }
}

#[test]
fn whoever_wakes_it_gets_everything_at_once() {
    let mut world = World::new(10);
    world.live(hours(1));
    world.schedule.also("user:stale-orders", hours(1));
    world.schedule.wake(world.now);
    let due = world.schedule.due(world.now);
    assert_eq!(due.len(), world.schedule.status().len());
    assert!(due.contains("user:stale-orders"));
    assert!(world.schedule.due(world.now).is_empty(), "asked is asked");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn a_clock_that_is_set_neither_stalls_nor_storms(
        seed in any::<u64>(),
        jumps in prop::collection::vec((1_u64..600, -100_000_i64..100_000), 1..6),
    ) {
        let mut world = World::new(seed);
        for (lived, jump) in jumps {
            world.live(Duration::from_secs(lived));
            world.now = shifted(world.now, SignedDuration::from_secs(jump));
        }
        world.live(Duration::from_secs(700));
        for status in world.schedule.status() {
            let asked = world.asked.iter().filter(|(_, names)| names.contains(&status.name));
            let mut asked: Vec<Duration> = asked.map(|(at, _)| *at).collect();
            let interval = status.interval;
            for pair in asked.windows(2) {
                let pause = pair[1] - pair[0];
                // Up to two minutes forward count as having passed.
                prop_assert!(pause >= interval.mul_f64(0.6).saturating_sub(MINUTE * 2), "{}: {:?}", status.name, pause);
            }
            asked.insert(0, Duration::ZERO);
            asked.push(world.elapsed);
            let longest = asked.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
            let allowed = interval.mul_f64(1.2) + MINUTE * 2;
            prop_assert!(longest <= allowed, "{}: {:?}", status.name, longest);
        }
        // At most a jump's catching-up in one go: never more often than each is due.
        let busy = world.asked.windows(40).filter(|rounds| rounds[39].0 - rounds[0].0 < MINUTE);
        prop_assert_eq!(busy.count(), 0);
    }

    #[test]
    fn the_budget_is_kept_whatever_things_cost(
        seed in any::<u64>(),
        costs in prop::collection::vec((0_usize..100, 1_u64..3_000), 0..8),
        databases in 1_u32..5,
    ) {
        let mut world = World::new(seed);
        world.databases = databases;
        let names: Vec<String> = world.schedule.status().into_iter().map(|s| s.name).collect();
        for (index, milliseconds) in costs {
            let name = &names[index % names.len()];
            // The essential may cost what it costs.
            if !world.schedule.entries[name].essential {
                world.costs.insert(name.clone(), Duration::from_millis(milliseconds));
            }
        }
        world.live(hours(1));
        let entries = world.schedule.entries.values();
        let planned: f64 = entries
            .map(|entry| load(entry).percent * entry.interval.as_secs_f64() / entry.interval_now(1.0).as_secs_f64())
            .sum();
        let least: f64 = world.schedule.entries.values().map(|entry| load(entry).percent / load(entry).most).sum();
        prop_assert!(planned <= (BUDGET * PLANNED).max(least) + 0.01, "{} of at least {}", planned, least);
        for status in world.schedule.status() {
            prop_assert!(status.interval_now >= status.interval);
        }
    }
}
