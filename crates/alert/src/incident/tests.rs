//! What alerts and people do to incidents.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use pawang_config::Response;
use pawang_core::alert::{
    Alert, AlertEvent, Changes, Condition, EntryKind, EventKind, Handling, Incident, IncidentState,
    Mute, Priority,
};
use pawang_core::{Finding, Level, Timestamp, Unit};
use proptest::prelude::*;

use super::*;

pub(super) fn at(minute: i64) -> Timestamp {
    let start: Timestamp = "2026-11-21T02:00:00Z".parse().unwrap();
    start + SignedDuration::from_mins(minute)
}

/// An alert that fires since a minute.
pub(super) fn fires(name: &str, instance: &str, priority: Priority, minute: i64) -> Alert {
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Alert {
        fingerprint: name.to_owned(),
        instance: instance.to_owned(),
        labels: BTreeMap::from([label("instance", instance)]),
        priority,
        finding: Finding {
            check: name.to_owned(),
            object: String::new(),
            database: None,
            level: Level::Critical,
            title: format!("{name} is full"),
            value: Some(93.0),
            unit: Unit::Percent,
            threshold: Some(90.0),
            since: None,
            evidence: Vec::new(),
            remedy: format!("repair {name}"),
            blind: None,
            fingerprint: name.to_owned(),
        },
        condition: Condition::Firing {
            since: at(minute),
            level: Level::Critical,
        },
        handling: Handling::default(),
        opened_at: at(minute),
        seen_at: at(minute),
        changed_at: at(minute),
        first_value: None,
        flaps: 0,
        incident: None,
        source: None,
    }
}

fn over(alert: &mut Alert, minute: i64) {
    alert.condition = Condition::Resolved {
        since: alert.opened_at,
        level: Level::Critical,
        at: at(minute),
    };
}

fn mute(alert: &mut Alert, mute: Mute) {
    alert.handling.mutes = vec![mute];
}

fn inhibited(by: &str) -> Mute {
    Mute::Inhibited {
        by: by.to_owned(),
        rule: "topology".to_owned(),
    }
}

#[derive(Default)]
struct Desk {
    incidents: Incidents,
    changes: Changes,
}

impl Desk {
    fn tell(&mut self, alert: &mut Alert, kind: EventKind, minute: i64) -> Option<i64> {
        self.explained(alert, kind, None, minute)
    }

    fn explained(
        &mut self,
        alert: &mut Alert,
        kind: EventKind,
        muted_by: Option<&Alert>,
        minute: i64,
    ) -> Option<i64> {
        let event = AlertEvent {
            fingerprint: alert.fingerprint.clone(),
            at: at(minute),
            kind,
            by: (kind == EventKind::Acknowledged).then(|| "ayu".to_owned()),
            detail: BTreeMap::new(),
        };
        let response = Response::default();
        let changes = &mut self.changes;
        alert.incident = self
            .incidents
            .on_change(alert, &event, muted_by, &response, changes);
        self.incidents.tick(at(minute), changes);
        alert.incident
    }

    fn last(&self, id: i64) -> &Incident {
        let found = self
            .changes
            .incidents
            .iter()
            .find(|incident| incident.id == id);
        found.unwrap()
    }
}

use EventKind::{Acknowledged, Fired, Muted, Resolved, Rose, Unmuted};
use Priority::{P1, P2, P3, P4};

#[test]
fn what_is_urgent_opens_an_incident_and_the_rest_joins_it() {
    let mut desk = Desk::default();
    assert_eq!(
        desk.tell(&mut fires("bloat", "dwh-1", P3, 0), Fired, 0),
        None
    );
    assert_eq!(
        desk.tell(&mut fires("disk", "dwh-1", P2, 1), Fired, 1),
        Some(1)
    );
    assert_eq!(
        desk.tell(&mut fires("locks", "dwh-1", P4, 2), Fired, 2),
        Some(1)
    );
    assert_eq!(
        desk.tell(&mut fires("locks-2", "dwh-2", P4, 2), Fired, 2),
        None
    );
    assert_eq!(
        desk.tell(&mut fires("disk-2", "dwh-2", P1, 3), Fired, 3),
        Some(2)
    );
    // An open one of the same instance became more urgent.
    assert_eq!(
        desk.tell(&mut fires("down", "dwh-1", P1, 10), Fired, 10),
        Some(1)
    );
    let incident = desk.last(1);
    assert_eq!(incident.title, "critical on dwh-1: down is full");
    assert_eq!(incident.alerts, ["disk", "locks", "down"]);
    assert_eq!((incident.priority, incident.began_at), (P1, at(1)));
    assert_eq!(incident.respond_by, at(25));
}

#[test]
fn the_cluster_comes_before_the_instance_and_the_instance_before_the_host() {
    let mut desk = Desk::default();
    let mut with = |name: &str, instance: &str, labels: [(&str, &str); 2]| {
        let mut alert = fires(name, instance, P1, 0);
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
        alert.labels.extend(labels);
        desk.tell(&mut alert, Fired, 0)
    };
    assert_eq!(
        with("a", "dwh-1", [("cluster", "7"), ("host", "alpha")]),
        Some(1)
    );
    assert_eq!(
        with("b", "mart", [("cluster", ""), ("host", "beta")]),
        Some(2)
    );
    assert_eq!(
        with("c", "dwh-2", [("cluster", "7"), ("host", "beta")]),
        Some(1)
    );
    assert_eq!(
        with("d", "mart", [("cluster", "9"), ("host", "alpha")]),
        Some(2)
    );
    // Both have it: the newest.
    assert_eq!(
        with("e", "other", [("cluster", ""), ("host", "alpha")]),
        Some(2)
    );
    assert_eq!(with("f", "none", [("cluster", ""), ("host", "")]), Some(3));
}

#[test]
fn what_another_alert_explains_goes_to_its_incident_in_any_order() {
    let mut desk = Desk::default();
    let mut host = fires("host", "", P1, 0);
    let mut server = fires("server", "dwh-1", P1, 0);
    let mut lag = fires("lag", "dwh-2", P3, 0);
    mute(&mut server, inhibited("host"));
    mute(&mut lag, inhibited("server"));
    assert_eq!(desk.explained(&mut lag, Fired, Some(&server), 0), None);
    assert_eq!(desk.explained(&mut server, Fired, Some(&host), 0), Some(1));
    assert_eq!(desk.tell(&mut host, Fired, 0), Some(1));
    assert_eq!(desk.tell(&mut lag, Rose, 1), Some(1));
    assert_eq!(desk.last(1).alerts, ["host", "server", "lag"]);
}

#[test]
fn what_waits_and_is_over_joins_nothing() {
    let mut desk = Desk::default();
    let mut host = fires("host", "", P1, 0);
    mute(&mut host, Mute::Silenced { silence: 1 });
    let mut lag = fires("lag", "dwh-2", P3, 0);
    mute(&mut lag, inhibited("host"));
    assert_eq!(desk.explained(&mut lag, Fired, Some(&host), 0), None);
    over(&mut lag, 1);
    assert_eq!(desk.tell(&mut lag, Resolved, 1), None);
    host.handling.mutes.clear();
    assert_eq!(desk.tell(&mut host, Unmuted, 2), Some(1));
    assert_eq!(desk.last(1).alerts, ["host"]);
}

#[test]
fn a_quiet_alert_opens_none_until_it_is_no_longer_quiet() {
    let mut desk = Desk::default();
    let mut disk = fires("disk", "dwh-1", P1, 0);
    let window = "weekly".to_owned();
    mute(&mut disk, Mute::Maintenance { window });
    assert_eq!(desk.tell(&mut disk, Fired, 0), None);
    assert_eq!(desk.tell(&mut disk, Muted, 0), None);
    disk.handling.mutes.clear();
    assert_eq!(desk.tell(&mut disk, Unmuted, 60), Some(1));
    assert_eq!(desk.last(1).began_at, at(0));
    assert_eq!(desk.last(1).opened_at, at(60));
}

#[test]
fn the_clock_ends_with_the_first_response() {
    let mut desk = Desk::default();
    let mut disk = fires("disk", "dwh-1", P1, 0);
    desk.tell(&mut disk, Fired, 0);
    let open = desk.incidents.get(1).unwrap();
    assert_eq!(open.respond_by, at(15));
    assert!(!overdue(open, at(15)));
    assert!(overdue(open, at(16)));
    desk.tell(&mut disk, Acknowledged, 14);
    let changes = &mut desk.changes;
    desk.incidents
        .note(1, "budi", "freed 40 GB", at(20), changes)
        .unwrap();
    let open = desk.last(1);
    assert_eq!(open.responded, Some((at(14), "ayu".to_owned())));
    assert!(!overdue(open, at(60)));
    let mut late = open.clone();
    late.responded = Some((at(20), "budi".to_owned()));
    assert!(overdue(&late, at(60)));
    assert!(
        desk.incidents
            .note(7, "budi", "x", at(20), &mut desk.changes)
            .is_err()
    );
}

#[test]
fn it_is_mitigated_when_nothing_fires_and_opened_again_when_it_comes_back_soon() {
    let mut desk = Desk::default();
    let mut disk = fires("disk", "dwh-1", P2, 0);
    let mut lag = fires("lag", "dwh-1", P3, 1);
    desk.tell(&mut disk, Fired, 0);
    desk.tell(&mut lag, Fired, 1);
    over(&mut disk, 10);
    desk.tell(&mut disk, Resolved, 12);
    assert_eq!(desk.last(1).state, IncidentState::Open);
    over(&mut lag, 11);
    desk.tell(&mut lag, Resolved, 13);
    assert_eq!(desk.last(1).state, IncidentState::Mitigated);
    assert_eq!(desk.last(1).mitigated_at, Some(at(11)));
    let mut again = fires("disk", "dwh-1", P2, 40);
    assert_eq!(desk.tell(&mut again, Fired, 41), Some(1));
    assert_eq!(desk.last(1).state, IncidentState::Open);
    over(&mut again, 50);
    desk.tell(&mut again, Resolved, 50);
    // Later it is another one.
    let mut later = fires("disk", "dwh-1", P2, 81);
    assert_eq!(desk.tell(&mut later, Fired, 81), Some(2));
}

#[test]
fn only_people_close_what_was_urgent() {
    let mut desk = Desk::default();
    let mut disk = fires("disk", "dwh-1", P2, 0);
    desk.tell(&mut disk, Fired, 0);
    over(&mut disk, 10);
    desk.tell(&mut disk, Resolved, 10);
    assert_eq!(desk.incidents.next_at(), None);
    desk.incidents.tick(at(100_000), &mut desk.changes);
    assert!(desk.incidents.get(1).is_some());
    let changes = &mut desk.changes;
    desk.incidents
        .close(1, "ayu", "a log grew", at(200), changes)
        .unwrap();
    assert!(desk.incidents.present().is_empty());
    let closed = desk.last(1);
    assert_eq!(closed.state, IncidentState::Closed);
    assert_eq!(closed.review.as_deref(), Some("a log grew"));
    assert_eq!(closed.closed, Some((at(200), "ayu".to_owned())));
    assert!(
        desk.incidents
            .close(1, "ayu", "", at(201), &mut desk.changes)
            .is_err()
    );
}

#[test]
fn what_was_never_urgent_closes_by_itself_after_a_day() {
    let mut desk = Desk::default();
    let mut bloat = fires("bloat", "dwh-1", P3, 0);
    let opening = Opening {
        title: "slow reports",
        priority: P3,
        instances: &["dwh-1".to_owned()],
        alerts: &[&bloat],
        by: "ayu",
    };
    let response = Response::default();
    let id = desk
        .incidents
        .open(opening, &response, at(5), &mut desk.changes);
    assert_eq!(desk.last(id).responded, Some((at(5), "ayu".to_owned())));
    over(&mut bloat, 20);
    desk.tell(&mut bloat, Resolved, 20);
    let due = at(20 + 24 * 60);
    assert_eq!(desk.incidents.next_at(), Some(due));
    desk.incidents.tick(due, &mut desk.changes);
    assert_eq!(desk.last(id).state, IncidentState::Closed);
    assert_eq!(desk.incidents.next_at(), None);
}

#[test]
fn an_incident_opened_without_alerts_waits_for_its_person() {
    let mut desk = Desk::default();
    let opening = Opening {
        title: "nobody can log in",
        priority: P1,
        instances: &[],
        alerts: &[],
        by: "ayu",
    };
    let response = Response::default();
    let id = desk
        .incidents
        .open(opening, &response, at(0), &mut desk.changes);
    desk.incidents.tick(at(9_999), &mut desk.changes);
    assert_eq!(desk.incidents.get(id).unwrap().state, IncidentState::Open);
}

#[test]
fn the_names_and_lines_of_one_incident_are_bounded() {
    let mut desk = Desk::default();
    for number in 0..300 {
        desk.tell(&mut fires(&format!("c-{number}"), "dwh-1", P1, 0), Fired, 0);
    }
    let mut disk = fires("c-0", "dwh-1", P1, 0);
    for minute in 0..3_000 {
        desk.tell(&mut disk, Rose, minute);
    }
    assert_eq!(desk.last(1).alerts.len(), 200);
    assert_eq!(desk.changes.entries.len(), 2_000);
    let note = desk
        .incidents
        .note(1, "ayu", "still here", at(0), &mut desk.changes);
    assert_eq!(note, Ok(()));
    // Those beyond the bound count too: it goes on while one of them fires.
    for number in 0..299 {
        let mut alert = fires(&format!("c-{number}"), "dwh-1", P1, 0);
        over(&mut alert, 1);
        desk.tell(&mut alert, Resolved, 1);
    }
    assert_eq!(desk.last(1).state, IncidentState::Open);
}

#[test]
fn after_a_restart_it_goes_on_where_it_was() {
    let mut desk = Desk::default();
    let mut disk = fires("disk", "dwh-1", P2, 0);
    desk.tell(&mut disk, Fired, 0);
    let saved = desk.incidents.present();
    let mut desk = Desk {
        incidents: Incidents::new(saved, 1, [&disk]),
        changes: Changes::default(),
    };
    desk.incidents.tick(at(1), &mut desk.changes);
    assert!(desk.changes.is_empty());
    assert_eq!(
        desk.tell(&mut fires("lag", "dwh-1", P3, 1), Fired, 1),
        Some(1)
    );
    over(&mut disk, 2);
    desk.tell(&mut disk, Resolved, 2);
    assert_eq!(desk.last(1).state, IncidentState::Open);
    assert_eq!(
        desk.tell(&mut fires("down", "dwh-9", P1, 3), Fired, 3),
        Some(2)
    );
    // What fired is gone: nothing of it fires any more.
    let saved = desk.incidents.present();
    let mut changes = Changes::default();
    Incidents::new(saved, 2, []).tick(at(5), &mut changes);
    let mitigated = |incident: &Incident| incident.state == IncidentState::Mitigated;
    assert!(changes.incidents.len() == 2 && changes.incidents.iter().all(mitigated));
}

#[test]
fn the_timeline_is_in_order_and_says_nothing_twice() {
    let line = |minute, text: &str| Line {
        at: at(minute),
        kind: EntryKind::Server,
        by: None,
        text: text.to_owned(),
    };
    let entry = |minute, text: &str| pawang_core::alert::Entry {
        incident: 1,
        at: at(minute),
        kind: EntryKind::Alert,
        by: None,
        text: text.to_owned(),
        fingerprint: None,
    };
    let entries = [entry(5, "b"), entry(1, "a"), entry(5, "b")];
    let others = [line(5, "b"), line(3, "restart"), line(6, "b")];
    let texts: Vec<String> = timeline(&entries, &others)
        .into_iter()
        .map(|line| line.text)
        .collect();
    assert_eq!(texts, ["a", "restart", "b", "b"]);
}

#[test]
fn similar_incidents_share_checks() {
    let mut desk = Desk::default();
    desk.tell(&mut fires("disk", "dwh-1", P1, 0), Fired, 0);
    let one = desk.last(1).clone();
    let past = |id: i64, checks: &[&str], instance: &str| Incident {
        id,
        checks: checks.iter().map(|check| (*check).to_owned()).collect(),
        instances: vec![instance.to_owned()],
        opened_at: at(id - 1_000),
        ..one.clone()
    };
    let all = [
        past(2, &["disk"], "dwh-1"),
        past(3, &["locks"], "dwh-1"),
        past(4, &["disk", "wal"], "dwh-1"),
        past(5, &["disk"], "dwh-2"),
        past(6, &["disk", "a", "b", "c", "d"], "dwh-2"),
    ];
    let found: Vec<i64> = similar(&one, &all).iter().map(|other| other.id).collect();
    assert_eq!(found, [5, 4, 2]);
}

/// What a person could count with paper and pencil.
#[derive(Default)]
struct Paper {
    firing: BTreeSet<usize>,
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn no_urgent_alert_fires_without_an_open_incident(
        steps in prop::collection::vec((0..8_usize, 0..3_u8, 0..50_i64), 1..80)
    ) {
        let mut desk = Desk::default();
        let mut paper = Paper::default();
        let priorities = [P1, P2, P3, P4];
        let mut alerts: Vec<Alert> = (0..8)
            .map(|n| fires(&format!("a{n}"), &format!("i{}", n % 3), priorities[n % 4], 0))
            .collect();
        let mut minute = 0;
        for (index, what, later) in steps {
            minute += later;
            let alert = &mut alerts[index];
            match what {
                0 if paper.firing.insert(index) => {
                    let known = alert.incident;
                    *alert = fires(&format!("a{index}"), &alert.instance.clone(), alert.priority, minute);
                    alert.incident = known;
                    desk.tell(alert, Fired, minute);
                }
                1 if paper.firing.remove(&index) => {
                    over(alert, minute);
                    desk.tell(alert, Resolved, minute);
                }
                2 => desk.incidents.tick(at(minute), &mut desk.changes),
                _ => {}
            }
            let present = desk.incidents.present();
            for index in &paper.firing {
                let alert = &alerts[*index];
                let home = present.iter().find(|incident| Some(incident.id) == alert.incident);
                if alert.priority <= P2 {
                    prop_assert!(home.is_some_and(|home| home.state == IncidentState::Open));
                }
            }
            for incident in &present {
                let name = |index: &usize| format!("a{index}");
                let fires = paper.firing.iter().any(|index| {
                    alerts[*index].incident == Some(incident.id) && incident.alerts.contains(&name(index))
                });
                prop_assert_eq!(fires, incident.state == IncidentState::Open);
            }
        }
        let opened = desk.changes.entries.iter().filter(|entry| entry.text.starts_with("opened as"));
        prop_assert_eq!(opened.count(), desk.changes.incidents.len());
    }
}
