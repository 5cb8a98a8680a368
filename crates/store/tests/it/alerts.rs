//! Alerts and what belongs to them: saved whole or not at all, read back the same, forgotten in time.

use pawang_core::alert::{
    Alert, AlertEvent, Changes, Condition, Entry, EntryKind, EventKind, Group, Handling, Incident,
    IncidentState, Matcher, Message, MessageKind, Operator, Parcel, ParcelState, Priority,
    Recipient, Silence, Tally, Told, Window,
};
use pawang_core::{Level, Outcome};
use pawang_store::state::{AlertQuery, EventQuery, IncidentQuery, ParcelQuery, State};
use rusqlite::Connection;

use crate::world::{at, directory, evaluation, finding, open, verdict};

const YEAR: i64 = 366 * 86_400;

fn alert(object: &str, opened: i64, condition: Condition) -> Alert {
    let finding = finding("disk-full", object, Level::Critical, 97.0);
    Alert {
        fingerprint: finding.fingerprint.clone(),
        instance: "dwh-1".to_owned(),
        labels: [("check".to_owned(), "disk-full".to_owned())].into(),
        priority: Priority::P1,
        finding,
        condition,
        handling: Handling::default(),
        opened_at: at(opened),
        seen_at: at(opened),
        changed_at: at(opened),
        first_value: Some(97.0),
        flaps: 0,
        incident: None,
        source: None,
    }
}

fn fired(since: i64) -> Condition {
    Condition::Firing {
        since: at(since),
        level: Level::Critical,
    }
}

fn resolved(since: i64, over: i64) -> Condition {
    Condition::Resolved {
        since: at(since),
        level: Level::Critical,
        at: at(over),
    }
}

fn event(fingerprint: &str, seconds: i64, kind: EventKind) -> AlertEvent {
    AlertEvent {
        fingerprint: fingerprint.to_owned(),
        at: at(seconds),
        kind,
        by: Some("ayu".to_owned()),
        detail: [("level".to_owned(), "critical".to_owned())].into(),
    }
}

pub(crate) fn message(number: u64, seconds: i64) -> Message {
    Message {
        key: format!("default/{number}"),
        thread: "default".to_owned(),
        sequence: number,
        kind: MessageKind::Firing,
        recipient: Recipient {
            channel: "email-dba".to_owned(),
            ..Recipient::default()
        },
        created_at: at(seconds),
        priority: Priority::P1,
        level: Level::Critical,
        route: "default".to_owned(),
        group_labels: [("instance".to_owned(), "dwh-1".to_owned())].into(),
        common_labels: [("check".to_owned(), "disk-full".to_owned())].into(),
        subject: "disk full".to_owned(),
        notices: Vec::new(),
        firing: 1,
        resolved: 0,
        left_out: 0,
        incident: None,
        link: None,
        notes: Vec::new(),
    }
}

fn parcel(number: u64, state: ParcelState) -> Parcel {
    Parcel {
        message: message(number, 0),
        due_at: at(30),
        attempts: 2,
        trouble: Some("connection refused".to_owned()),
        state,
    }
}

fn silence(id: i64, from: i64, to: i64) -> Silence {
    Silence {
        id,
        matchers: vec![Matcher {
            label: "check".to_owned(),
            operator: Operator::Equal,
            value: "disk-full".to_owned(),
        }],
        starts_at: at(from),
        ends_at: at(to),
        by: "ayu".to_owned(),
        reason: "disks are being added".to_owned(),
        created_at: at(from),
        expired: None,
    }
}

fn window(name: &str) -> Window {
    Window {
        name: name.to_owned(),
        schedule: "sun 02:00-06:00 Asia/Jakarta".to_owned(),
        matchers: Vec::new(),
        by: "ayu".to_owned(),
        reason: "upgrade".to_owned(),
        created_at: at(0),
        removed_at: None,
    }
}

fn incident(id: i64, opened: i64) -> Incident {
    Incident {
        id,
        title: "disk full".to_owned(),
        priority: Priority::P1,
        state: IncidentState::Open,
        instances: vec!["dwh-1".to_owned()],
        alerts: Vec::new(),
        checks: vec!["disk-full".to_owned()],
        began_at: at(opened),
        opened_at: at(opened),
        opened_by: "pawang".to_owned(),
        respond_by: at(opened + 900),
        responded: Some((at(opened + 60), "ayu".to_owned())),
        mitigated_at: None,
        closed: None,
        review: None,
    }
}

fn entry(incident: i64, seconds: i64, text: &str) -> Entry {
    Entry {
        incident,
        at: at(seconds),
        kind: EntryKind::Note,
        by: Some("ayu".to_owned()),
        text: text.to_owned(),
        fingerprint: None,
    }
}

fn group(key: &str) -> Group {
    let told = Told {
        at: at(0),
        firing: [("f".to_owned(), Level::Critical)].into(),
        ..Told::default()
    };
    Group {
        key: key.to_owned(),
        route: "default".to_owned(),
        labels: [("instance".to_owned(), "dwh-1".to_owned())].into(),
        created_at: at(0),
        next_at: at(300),
        flushed: true,
        sequence: 3,
        told: [("email-dba".to_owned(), told)].into(),
    }
}

/// Everything that one step can change, once each.
pub(crate) fn everything() -> Changes {
    let alert = alert("/data", 0, fired(60));
    Changes {
        events: vec![
            event(&alert.fingerprint, 0, EventKind::Opened),
            event(&alert.fingerprint, 60, EventKind::Fired),
        ],
        alerts: vec![(
            alert,
            Tally {
                samples: 0b111,
                count: 3,
                cleared_at: vec![at(-60)],
                ..Tally::default()
            },
        )],
        groups: vec![group("default/dwh-1")],
        silences: vec![silence(4, 0, 600)],
        windows: vec![window("window-7")],
        incidents: vec![incident(9, 60)],
        entries: vec![entry(9, 120, "second"), entry(9, 60, "first")],
        messages: vec![message(1, 60)],
        ..Changes::default()
    }
}

fn all<'a>() -> AlertQuery<'a> {
    AlertQuery {
        limit: 99,
        ..AlertQuery::default()
    }
}

fn save_alert(state: &State, alert: Alert, forgotten: bool) {
    let changes = Changes {
        forgotten: forgotten
            .then(|| alert.fingerprint.clone())
            .into_iter()
            .collect(),
        alerts: vec![(alert, Tally::default())],
        ..Changes::default()
    };
    state.save_alerts(&changes).unwrap();
}

#[test]
fn what_was_saved_is_read_back_after_a_restart() {
    let directory = directory();
    let store = open(&directory);
    let changes = everything();
    store.state().save_alerts(&changes).unwrap();
    drop(store);
    let store = open(&directory);
    let state = store.state();
    let saved = state.saved_alerts().unwrap();
    assert_eq!(saved.alerts, changes.alerts);
    assert_eq!(saved.groups, changes.groups);
    assert_eq!(saved.silences, changes.silences);
    assert_eq!(saved.windows, changes.windows);
    assert_eq!(saved.incidents, changes.incidents);
    let last = (saved.last_silence, saved.last_window, saved.last_incident);
    assert_eq!(last, (4, 7, 9));
    assert!(saved.past.is_empty());
    let parcel = &saved.parcels[0];
    assert_eq!(
        (&parcel.message, &parcel.state),
        (&changes.messages[0], &ParcelState::Waiting)
    );
    let events = EventQuery {
        fingerprint: Some(&changes.events[0].fingerprint),
        limit: 9,
        ..EventQuery::default()
    };
    let mut events = state.alert_events(&events).unwrap();
    events.reverse();
    assert_eq!(events, changes.events);
    assert_eq!(
        state.incident(9).unwrap().as_ref(),
        Some(&changes.incidents[0])
    );
    assert_eq!(state.incident(1).unwrap(), None);
    let texts: Vec<String> = state
        .incident_entries(9)
        .unwrap()
        .into_iter()
        .map(|entry| entry.text)
        .collect();
    assert_eq!(texts, ["first", "second"]);
}

#[test]
fn a_step_is_saved_whole_or_not_at_all() {
    let directory = directory();
    let store = open(&directory);
    let file = Connection::open(directory.path().join("state.db")).unwrap();
    file.execute_batch(
        "CREATE TRIGGER refuse BEFORE INSERT ON parcel BEGIN SELECT RAISE(ABORT, 'refused'); END",
    )
    .unwrap();
    assert!(store.state().save_alerts(&everything()).is_err());
    assert_eq!(store.state().saved_alerts().unwrap(), Default::default());
    file.execute_batch("DROP TRIGGER refuse").unwrap();
    store.state().save_alerts(&everything()).unwrap();
    assert_eq!(store.state().saved_alerts().unwrap().parcels.len(), 1);
}

#[test]
fn what_fired_stays_in_the_record_and_what_never_did_goes() {
    let directory = directory();
    let store = open(&directory);
    let state = store.state();
    let pending = Condition::Pending {
        since: at(0),
        level: Level::Warning,
    };
    save_alert(state, alert("/pending", 0, pending), false);
    save_alert(state, alert("/pending", 0, Condition::Ok), true);
    assert_eq!(state.alerts(&all()).unwrap(), []);
    save_alert(state, alert("/data", 0, fired(60)), false);
    save_alert(state, alert("/data", 0, resolved(60, 120)), true);
    // The next time of the same alert, which begins before the first one was said to be forgotten, is another one.
    save_alert(state, alert("/data", 300, fired(310)), false);
    save_alert(state, alert("/data", 600, fired(610)), false);
    let found = state.alerts(&all()).unwrap();
    let opened: Vec<_> = found.iter().map(|alert| alert.opened_at).collect();
    assert_eq!(opened, [at(600), at(300), at(0)]);
    let saved = state.saved_alerts().unwrap();
    assert_eq!(saved.alerts.len(), 1);
    assert_eq!(saved.past[&found[0].fingerprint], (at(310), at(300)));
}

#[test]
fn alerts_are_found_by_what_they_are_about_and_by_when_they_were_there() {
    let directory = directory();
    let store = open(&directory);
    let state = store.state();
    save_alert(state, alert("/data", 0, resolved(60, 120)), true);
    save_alert(state, alert("/data", 300, resolved(310, 400)), true);
    save_alert(state, alert("/data", 600, fired(610)), false);
    let found = state.alerts(&all()).unwrap();
    for (query, count) in [
        (
            AlertQuery {
                open_at: Some(at(90)),
                ..all()
            },
            1,
        ),
        (
            AlertQuery {
                open_at: Some(at(200)),
                ..all()
            },
            0,
        ),
        (
            AlertQuery {
                since: Some(at(200)),
                ..all()
            },
            2,
        ),
        (
            AlertQuery {
                instance: Some("dwh-1"),
                check: Some("disk-full"),
                ..all()
            },
            3,
        ),
        (
            AlertQuery {
                instance: Some("dwh-2"),
                ..all()
            },
            0,
        ),
        (
            AlertQuery {
                fingerprint: Some(&found[0].fingerprint),
                skip: 2,
                ..all()
            },
            1,
        ),
        (
            AlertQuery {
                incident: Some(1),
                ..all()
            },
            0,
        ),
        (AlertQuery { limit: 2, ..all() }, 2),
    ] {
        assert_eq!(state.alerts(&query).unwrap().len(), count, "{query:?}");
    }
}

#[test]
fn a_message_is_kept_once_and_never_waits_again() {
    let directory = directory();
    let store = open(&directory);
    let state = store.state();
    let changes = Changes {
        messages: vec![message(1, 0), message(2, 0)],
        ..Changes::default()
    };
    state.save_alerts(&changes).unwrap();
    state
        .save_parcels(&[parcel(1, ParcelState::Waiting)])
        .unwrap();
    let waiting = state.saved_alerts().unwrap().parcels;
    let attempts: Vec<u32> = waiting.iter().map(|parcel| parcel.attempts).collect();
    assert_eq!(attempts, [2, 0]);
    let sent = parcel(1, ParcelState::Sent { at: at(40) });
    state.save_parcels(std::slice::from_ref(&sent)).unwrap();
    // The same step once more, and a late word of an attempt, change nothing.
    state.save_alerts(&changes).unwrap();
    state
        .save_parcels(&[parcel(1, ParcelState::Waiting)])
        .unwrap();
    assert_eq!(state.saved_alerts().unwrap().parcels.len(), 1);
    let query = ParcelQuery {
        limit: 9,
        ..ParcelQuery::default()
    };
    assert_eq!(state.parcels(&query).unwrap().len(), 2);
    for (query, count) in [
        (
            ParcelQuery {
                waiting: true,
                ..query
            },
            1,
        ),
        (
            ParcelQuery {
                channel: Some("email-dba"),
                ..query
            },
            2,
        ),
        (
            ParcelQuery {
                channel: Some("pager"),
                ..query
            },
            0,
        ),
        (
            ParcelQuery {
                thread: Some("default"),
                skip: 1,
                ..query
            },
            1,
        ),
    ] {
        assert_eq!(state.parcels(&query).unwrap().len(), count, "{query:?}");
    }
    let key = ParcelQuery {
        key: Some("default/1"),
        ..query
    };
    assert_eq!(state.parcels(&key).unwrap(), [sent]);
}

#[test]
fn silences_and_windows_that_are_over_for_long_are_only_read_when_asked_for() {
    let directory = directory();
    let store = open(&directory);
    let state = store.state();
    let mut ended = silence(2, 0, 10 * YEAR);
    ended.expired = Some((at(60), "ayu".to_owned()));
    let mut removed = window("window-1");
    removed.removed_at = Some(at(60));
    let mut changes = Changes {
        silences: vec![silence(1, 0, 60), ended, silence(3, 0, 10 * YEAR)],
        windows: vec![removed, window("window-2")],
        ..Changes::default()
    };
    state.save_alerts(&changes).unwrap();
    assert_eq!(state.silences(false).unwrap().len(), 3);
    changes.events = vec![event("f", 3 * 86_400, EventKind::Opened)];
    state.save_alerts(&changes).unwrap();
    let ids: Vec<i64> = state
        .silences(false)
        .unwrap()
        .iter()
        .map(|silence| silence.id)
        .collect();
    assert_eq!(ids, [3]);
    assert_eq!(state.silences(true).unwrap().len(), 3);
    assert_eq!(state.windows(false).unwrap(), [window("window-2")]);
    assert_eq!(state.windows(true).unwrap().len(), 2);
}

#[test]
fn incidents_are_found_by_what_they_are_about() {
    let directory = directory();
    let store = open(&directory);
    let state = store.state();
    let mut closed = incident(1, 0);
    closed.closed = Some((at(600), "ayu".to_owned()));
    closed.state = IncidentState::Closed;
    let mut other = incident(2, 60);
    other.instances = vec!["dwh-2".to_owned()];
    other.checks.push("wal-archiver".to_owned());
    let changes = Changes {
        incidents: vec![incident(1, 0), closed, other],
        ..Changes::default()
    };
    state.save_alerts(&changes).unwrap();
    let query = IncidentQuery {
        limit: 9,
        ..IncidentQuery::default()
    };
    for (query, ids) in [
        (query, vec![2, 1]),
        (
            IncidentQuery {
                open: true,
                ..query
            },
            vec![2],
        ),
        (
            IncidentQuery {
                instance: Some("dwh-1"),
                ..query
            },
            vec![1],
        ),
        (
            IncidentQuery {
                check: Some("disk-full"),
                ..query
            },
            vec![2, 1],
        ),
        (
            IncidentQuery {
                check: Some("wal-archiver"),
                ..query
            },
            vec![2],
        ),
        (
            IncidentQuery {
                since: Some(at(30)),
                ..query
            },
            vec![2],
        ),
        (
            IncidentQuery {
                before: Some(2),
                ..query
            },
            vec![1],
        ),
    ] {
        let found = state.incidents(&query).unwrap();
        let found: Vec<i64> = found.iter().map(|incident| incident.id).collect();
        assert_eq!(found, ids, "{query:?}");
    }
    assert_eq!(state.saved_alerts().unwrap().last_incident, 2);
}

#[test]
fn the_log_is_append_only() {
    let directory = directory();
    let store = open(&directory);
    store.state().save_alerts(&everything()).unwrap();
    let file = Connection::open(directory.path().join("state.db")).unwrap();
    for sql in ["UPDATE alert_event SET at = 0", "DELETE FROM alert_event"] {
        let refused = file.execute(sql, []).unwrap_err();
        assert!(refused.to_string().contains("append-only"), "{refused}");
    }
}

#[test]
fn what_is_over_for_two_years_is_forgotten_and_what_is_not_stays() {
    let directory = directory();
    let store = open(&directory);
    let state = store.state();
    save_alert(state, alert("/old", 0, resolved(0, 60)), true);
    save_alert(
        state,
        alert("/new", 3 * YEAR, resolved(3 * YEAR, 3 * YEAR)),
        true,
    );
    let mut closed = incident(1, 0);
    closed.closed = Some((at(60), "ayu".to_owned()));
    let mut removed = window("window-1");
    removed.removed_at = Some(at(60));
    let mut changes = everything();
    changes.incidents.push(closed);
    changes.entries.push(entry(1, 0, "old"));
    changes.silences = vec![silence(1, 0, 60), silence(2, 0, 4 * YEAR)];
    changes.windows.push(removed);
    changes.events.push(event("f", 3 * YEAR, EventKind::Opened));
    state.save_alerts(&changes).unwrap();
    state
        .save_parcels(&[parcel(2, ParcelState::Dead { at: at(60) })])
        .unwrap();
    let ok = || vec![verdict("disk-full", Outcome::Judged, Vec::new())];
    state.judge(&evaluation(3 * YEAR + 60, ok())).unwrap();
    let objects: Vec<String> = state
        .alerts(&all())
        .unwrap()
        .into_iter()
        .map(|alert| alert.finding.object)
        .collect();
    assert_eq!(objects, ["/data", "/new"]);
    assert!(state.incident(1).unwrap().is_none() && state.incident(9).unwrap().is_some());
    assert_eq!(
        (
            state.incident_entries(1).unwrap().len(),
            state.incident_entries(9).unwrap().len()
        ),
        (0, 2)
    );
    assert_eq!(state.silences(true).unwrap(), [silence(2, 0, 4 * YEAR)]);
    assert_eq!(state.windows(true).unwrap(), [window("window-7")]);
    let parcels = state
        .parcels(&ParcelQuery {
            limit: 9,
            ..ParcelQuery::default()
        })
        .unwrap();
    assert_eq!(parcels.len(), 1, "the one that waits stays, however old");
    let events = state
        .alert_events(&EventQuery {
            limit: 9,
            ..EventQuery::default()
        })
        .unwrap();
    assert_eq!(events, [event("f", 3 * YEAR, EventKind::Opened)]);
    // The numbers that were given are not given again.
    assert_eq!(state.saved_alerts().unwrap().last_incident, 9);
}
