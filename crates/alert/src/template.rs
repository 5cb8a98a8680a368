//! What is written to the users of the warehouse: announcements of maintenance, news about incidents. Plain text.

use std::fmt::Write;

use jiff::tz::TimeZone;
use pawang_core::alert::{Incident, IncidentState, WindowTime};
use pawang_core::{Timestamp, Unit};

/// What an announcement of maintenance is filled from.
#[derive(Clone, Debug)]
pub struct Maintenance<'a> {
    /// What its users call the system, such as `Smart Dairy Database`.
    pub system: &'a str,
    /// When.
    pub time: &'a WindowTime,
    /// The zone that its readers live in: that of the window.
    pub zone: &'a TimeZone,
    /// What is worked on: the instances that the window matches.
    pub affected: &'a [String],
    /// What is done: the window's reason.
    pub activities: &'a str,
    /// Whom people may ask.
    pub contact: Option<&'a str>,
}

/// What news about an incident are filled from.
#[derive(Clone, Debug)]
pub struct News<'a> {
    /// What its users call the system, such as `Smart Dairy Database`.
    pub system: &'a str,
    /// The incident.
    pub incident: &'a Incident,
    /// The zone that its readers live in.
    pub zone: &'a TimeZone,
    /// When it is written.
    pub now: Timestamp,
    /// What was done since the last news: notes of people, the latest last.
    pub notes: &'a [String],
    /// Whom people may ask.
    pub contact: Option<&'a str>,
}

/// Returns the announcement of a maintenance window.
pub fn maintenance(maintenance: &Maintenance<'_>) -> String {
    let Maintenance { time, zone, .. } = maintenance;
    let system = one_line(maintenance.system);
    let length = time.to.duration_since(time.from).as_secs_f64();
    let start = hour(time.from, zone);
    let mut out = format!("Subject: [MAINTENANCE] {system} - Scheduled Maintenance\n\n");
    let _ = writeln!(
        out,
        "Maintenance Window: {}",
        span(time.from, time.to, zone)
    );
    if !is_utc(time.from, zone) {
        let utc = span(time.from, time.to, &TimeZone::UTC);
        let _ = writeln!(out, "In UTC: {utc}");
    }
    let _ = writeln!(out, "Duration: {}", lasts(length));
    if let Some(note) = &time.note {
        let _ = writeln!(out, "Note: {}", one_line(note));
    }
    let _ = writeln!(
        out,
        "Impact: {} may be slow or not available",
        listed(maintenance.affected, &system)
    );
    let _ = writeln!(
        out,
        "Affected Systems: {}",
        listed(maintenance.affected, "all")
    );
    out.push_str("\nActivities:\n");
    items(
        &mut out,
        maintenance.activities.split(&['\n', ';'][..]),
        "maintenance",
    );
    let _ = writeln!(out, "\nUser Actions Required:\n- Save work before {start}");
    out.push_str("\nRollback Plan:\n[how the work is undone if that is needed]\n");
    contact(&mut out, maintenance.contact);
    out
}

/// Returns the first news about an incident.
pub fn notice(news: &News<'_>) -> String {
    let mut out = head(news, "INCIDENT", "Initial notice");
    let _ = writeln!(
        out,
        "Status: {}",
        match &news.incident.responded {
            Some(_) => "it is being worked on",
            None => "it is being looked into",
        }
    );
    facts(&mut out, news);
    ending(&mut out, news);
    out
}

/// Returns news about an incident that goes on.
pub fn update(news: &News<'_>) -> String {
    let incident = news.incident;
    let mut out = head(news, "UPDATE", "Update");
    let status = match incident.state {
        IncidentState::Open => "it goes on and is being worked on",
        IncidentState::Mitigated => "it no longer shows and is being watched",
        IncidentState::Closed => "it is over",
    };
    let _ = writeln!(out, "Status: {status}");
    facts(&mut out, news);
    out.push_str("\nSince the last news:\n");
    let notes = news.notes.iter().map(String::as_str);
    items(&mut out, notes, "[what was found and done]");
    ending(&mut out, news);
    out
}

/// Returns the last news about an incident.
pub fn resolved(news: &News<'_>) -> String {
    let incident = news.incident;
    let mut out = head(news, "RESOLVED", "Resolved");
    facts(&mut out, news);
    let closed = incident.closed.as_ref().map(|(at, _)| *at);
    let end = incident.mitigated_at.or(closed).unwrap_or(news.now);
    let _ = writeln!(out, "Over since: {}", when(end, news.zone));
    let lasted = end.duration_since(incident.began_at).as_secs_f64();
    let _ = writeln!(out, "It lasted: {}", lasts(lasted));
    out.push_str("\nWhat it was, and what is done so that it does not happen again:\n");
    let review = incident.review.as_deref().unwrap_or_default();
    items(&mut out, review.lines(), "[cause and measures]");
    contact(&mut out, news.contact);
    out
}

fn head(news: &News<'_>, tag: &str, what: &str) -> String {
    let title = one_line(&news.incident.title);
    format!(
        "Subject: [{tag}] {} - {title}\n\n{what}, {}\n\n",
        one_line(news.system),
        when(news.now, news.zone)
    )
}

fn facts(out: &mut String, news: &News<'_>) {
    let incident = news.incident;
    let _ = writeln!(out, "Incident: {} ({})", incident.id, incident.priority);
    let _ = writeln!(out, "What: {}", one_line(&incident.title));
    let _ = writeln!(out, "Since: {}", when(incident.began_at, news.zone));
    let _ = writeln!(
        out,
        "Affected Systems: {}",
        listed(&incident.instances, &one_line(news.system))
    );
}

fn ending(out: &mut String, news: &News<'_>) {
    let next = "when there is something new, at the latest in one hour";
    let _ = writeln!(out, "\nNext news: {next}.");
    contact(out, news.contact);
}

fn contact(out: &mut String, contact: Option<&str>) {
    if let Some(contact) = contact {
        let _ = writeln!(out, "\nContact: {} for urgent issues", one_line(contact));
    }
}

fn items<'a>(out: &mut String, items: impl Iterator<Item = &'a str>, none: &str) {
    let mut any = false;
    for item in items.map(str::trim).filter(|item| !item.is_empty()) {
        let _ = writeln!(out, "- {}", one_line(item));
        any = true;
    }
    if !any {
        let _ = writeln!(out, "- {none}");
    }
}

fn listed(names: &[String], none: &str) -> String {
    if names.is_empty() {
        return none.to_owned();
    }
    let names: Vec<String> = names.iter().map(|name| one_line(name)).collect();
    names.join(", ")
}

/// Returns an instant in UTC, and by the clock of a zone where that is another one.
pub(crate) fn when(at: Timestamp, zone: &TimeZone) -> String {
    let utc = at.strftime("%Y-%m-%d %H:%M:%S UTC");
    if is_utc(at, zone) {
        return utc.to_string();
    }
    let here = at.to_zoned(zone.clone());
    format!("{utc} ({})", here.strftime("%Y-%m-%d %H:%M:%S %Z"))
}

/// Says whether a zone tells what UTC tells, by whatever name: `UTC` and `Etc/UTC` of the system are other values.
fn is_utc(at: Timestamp, zone: &TimeZone) -> bool {
    *zone == TimeZone::UTC || at.to_zoned(zone.clone()).strftime("%Z").to_string() == "UTC"
}

fn span(from: Timestamp, to: Timestamp, zone: &TimeZone) -> String {
    let (from, to) = (from.to_zoned(zone.clone()), to.to_zoned(zone.clone()));
    let name = zone
        .iana_name()
        .map_or_else(|| from.strftime("%Z").to_string(), str::to_owned);
    let end = if from.date() == to.date() {
        "%H:%M"
    } else {
        "%Y-%m-%d %H:%M"
    };
    format!(
        "{} - {} {name}",
        from.strftime("%Y-%m-%d %H:%M"),
        to.strftime(end)
    )
}

fn hour(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%H:%M %Z").to_string()
}

/// Returns a length of time in words.
pub(crate) fn lasts(seconds: f64) -> String {
    let seconds = seconds.max(0.0).floor();
    let hours = (seconds / 3600.0) as u64;
    match seconds as u64 {
        3600 => "1 hour".to_owned(),
        whole if whole > 0 && whole.is_multiple_of(3600) => format!("{hours} hours"),
        whole if (120..7200).contains(&whole) && whole.is_multiple_of(60) => {
            format!("{} min", whole / 60)
        }
        _ => Unit::Seconds.show(seconds),
    }
}

/// Returns text on one line: what servers say must neither break lines nor turn the direction of writing around.
pub(crate) fn one_line(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars()
        .map(|c| if c.is_control() || turns(c) { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use pawang_core::alert::Priority;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn jakarta() -> TimeZone {
        TimeZone::get("Asia/Jakarta").unwrap()
    }

    #[test]
    fn an_announcement_is_filled_from_its_window() {
        let time = WindowTime {
            window: "weekly".to_owned(),
            from: at("2026-11-21T19:00:00Z"),
            to: at("2026-11-21T23:00:00Z"),
            note: None,
        };
        let text = maintenance(&Maintenance {
            system: "Smart Dairy Database",
            time: &time,
            zone: &jakarta(),
            affected: &["dwh-1".to_owned(), "dwh-2".to_owned()],
            activities: "index rebuild; statistics update",
            contact: Some("dba@smartdairy.com"),
        });
        let expected = "\
Subject: [MAINTENANCE] Smart Dairy Database - Scheduled Maintenance

Maintenance Window: 2026-11-22 02:00 - 06:00 Asia/Jakarta
In UTC: 2026-11-21 19:00 - 23:00 UTC
Duration: 4 hours
Impact: dwh-1, dwh-2 may be slow or not available
Affected Systems: dwh-1, dwh-2

Activities:
- index rebuild
- statistics update

User Actions Required:
- Save work before 02:00 WIB

Rollback Plan:
[how the work is undone if that is needed]

Contact: dba@smartdairy.com for urgent issues
";
        assert_eq!(text, expected);
    }

    #[test]
    fn news_are_filled_from_the_incident() {
        let mut incident = Incident {
            id: 7,
            title: "critical on dwh-1: 93 % of /data used\nSubject: forged".to_owned(),
            priority: Priority::P1,
            state: IncidentState::Open,
            instances: vec!["dwh-1".to_owned()],
            alerts: Vec::new(),
            checks: Vec::new(),
            began_at: at("2026-11-21T02:00:00Z"),
            opened_at: at("2026-11-21T02:01:00Z"),
            opened_by: "pawang".to_owned(),
            respond_by: at("2026-11-21T02:16:00Z"),
            responded: None,
            mitigated_at: None,
            closed: None,
            review: None,
        };
        let zone = jakarta();
        fn news<'a>(incident: &'a Incident, zone: &'a TimeZone) -> News<'a> {
            News {
                system: "Smart Dairy Database",
                incident,
                zone,
                now: at("2026-11-21T02:05:00Z"),
                notes: &[],
                contact: Some("dba@smartdairy.com"),
            }
        }
        let text = notice(&news(&incident, &zone));
        assert!(text.starts_with("Subject: [INCIDENT] Smart Dairy Database - critical on dwh-1"));
        assert!(text.contains("Status: it is being looked into\n"));
        assert!(text.contains("Since: 2026-11-21 02:00:00 UTC (2026-11-21 09:00:00 WIB)\n"));
        assert!(!text.contains("\nSubject: forged"));
        let mut with_notes = news(&incident, &zone);
        let notes = ["logs are moved".to_owned()];
        with_notes.notes = &notes;
        assert!(update(&with_notes).contains("Since the last news:\n- logs are moved\n"));
        incident.state = IncidentState::Mitigated;
        incident.mitigated_at = Some(at("2026-11-21T04:00:00Z"));
        incident.review = Some("a log grew\nit is rotated now".to_owned());
        let text = resolved(&news(&incident, &zone));
        assert!(text.starts_with("Subject: [RESOLVED]"), "{text}");
        assert!(text.contains("It lasted: 2 hours\n"), "{text}");
        assert!(
            text.contains("- a log grew\n- it is rotated now\n"),
            "{text}"
        );
    }

    #[test]
    fn utc_is_told_once_by_whatever_name() {
        let at = "2026-11-21T02:00:00Z".parse().expect("a time of the tests");
        for name in ["UTC", "Etc/UTC"] {
            let zone = TimeZone::get(name).expect("it is a zone");
            assert_eq!(when(at, &zone), "2026-11-21 02:00:00 UTC", "{name}");
        }
        let jakarta = TimeZone::get("Asia/Jakarta").expect("it is a zone");
        assert_eq!(
            when(at, &jakarta),
            "2026-11-21 02:00:00 UTC (2026-11-21 09:00:00 WIB)"
        );
    }
}
