//! A review with hostile texts, in both forms.

use jiff::tz::TimeZone;
use pawang_config::Response;
use pawang_core::alert::{AlertEvent, Changes, EntryKind, EventKind, Mute, Priority};

use super::*;
use crate::incident::tests::{at, fires};
use crate::incident::{Incidents, timeline};

/// Writes both forms of the review of an incident whose texts are hostile.
fn written() -> (String, String) {
    let mut disk = fires("disk-space", "dwh-1", Priority::P1, 0);
    disk.finding.title =
        "93 % of /data used | <script>alert(1)</script> *x* secret\n# no heading".to_owned();
    let mut lag = fires("replication-lag", "dwh-2", Priority::P2, 1);
    lag.handling.mutes = vec![Mute::Inhibited {
        by: "disk-space".to_owned(),
        rule: "disk full".to_owned(),
    }];
    lag.flaps = 3;
    let (mut incidents, mut changes) = (Incidents::default(), Changes::default());
    let response = Response::default();
    let fired = |alert: &Alert, minute| AlertEvent {
        fingerprint: alert.fingerprint.clone(),
        at: at(minute),
        kind: EventKind::Fired,
        by: None,
        detail: std::collections::BTreeMap::new(),
    };
    incidents.on_change(&disk, &fired(&disk, 1), None, &response, &mut changes);
    incidents.on_change(&lag, &fired(&lag, 2), Some(&disk), &response, &mut changes);
    incidents
        .note(1, "ayu", "freed 40 GB\n| of logs |", at(20), &mut changes)
        .unwrap();
    let other = Line {
        at: at(10),
        kind: EntryKind::Action,
        by: Some("ayu".to_owned()),
        text: "maintain.apply dwh-1 done".to_owned(),
    };
    let lines = timeline(&changes.entries, &[other]);
    let mut past = incidents.get(1).unwrap().clone();
    past.id = 0;
    past.opened_at = at(-10_000);
    past.began_at = at(-10_000);
    past.mitigated_at = Some(at(-9_940));
    past.review = Some("a log grew\nrotate it".to_owned());
    incidents
        .close(
            1,
            "ayu",
            "> quoted\n<b>logs</b> are rotated now",
            at(90),
            &mut changes,
        )
        .unwrap();
    let incident = changes.incidents[0].clone();
    let alerts = [disk, lag];
    let zone = TimeZone::get("Asia/Jakarta").unwrap();
    let story = Story {
        incident: &incident,
        alerts: &alerts,
        timeline: &lines,
        similar: vec![&past],
        waited: Some("212 users"),
        zone: &zone,
        now: at(100),
        clean: |text| text.replace("secret", "..."),
    };
    (markdown(&story), html(&story))
}

#[test]
fn the_review_holds_what_is_known() {
    let (markdown, html) = written();
    for fact in [
        "# Incident 1: critical on dwh-1: 93 % of /data used",
        "## Summary\n\nP1, it is closed. It began at 2026-11-21 02:00:00 UTC (2026-11-21 09:00:00 WIB)",
        "| Instances | dwh-1, dwh-2 |",
        "| Lasted | 90 min |",
        "| Who waited | 212 users |",
        "ayu, after 19 min of 15 min: late",
        "| critical | dwh-1 | disk-space |",
        "| 93 % | 90 % |",
        "- dwh-2 replication-lag by dwh-1 disk-space (disk full)",
        "ayu: maintain.apply dwh-1 done",
        "incident 0: ",
        "lasted 1 hour; a log grew",
        "- detected 60 s after it began",
        "- ayu responded after 19 min; the target was 15 min",
        "- its alerts cleared and came back 3 times",
        "- [ ] dwh-1 disk-space: repair disk-space",
    ] {
        assert!(markdown.contains(fact), "{fact}\n{markdown}");
    }
    for heading in [
        "Clock",
        "Timeline",
        "Alerts",
        "What went well",
        "What went badly",
        "Action items",
    ] {
        assert!(markdown.contains(&format!("\n## {heading}\n")), "{heading}");
        assert!(html.contains(&format!("<h2>{heading}</h2>")), "{heading}");
    }
}

#[test]
fn what_servers_and_people_wrote_stays_text() {
    let (markdown, html) = written();
    for form in [&markdown, &html] {
        assert!(
            !form.contains("<script>") && !form.contains("<b>"),
            "{form}"
        );
        assert!(!form.contains("secret"), "{form}");
    }
    assert!(markdown.contains("\\| &lt;script&gt;alert(1)&lt;/script&gt; \\*x\\*"));
    assert!(!markdown.contains("\n# no heading"));
    assert!(markdown.contains("\n> &gt; quoted\n> &lt;b&gt;logs&lt;/b&gt; are rotated now\n"));
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    // Every row of a table has as many cells as its head.
    let cells = |line: &str| line.replace("\\|", "").matches('|').count();
    let mut head = 0;
    for line in markdown.lines() {
        if line.starts_with('|') {
            head = if head == 0 { cells(line) } else { head };
            assert_eq!(cells(line), head, "{line}");
        } else {
            head = 0;
        }
    }
}
