//! The incidents that are not closed, and what alerts and people do to them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use pawang_config::Response;
use pawang_core::Timestamp;
use pawang_core::alert::{
    Alert, AlertEvent, Changes, Entry, EntryKind, EventKind, Incident, IncidentState, MessageKind,
    Priority,
};

use super::words;

/// Most alerts, instances and checks that an incident names; more are only counted as firing.
const NAMED_MAX: usize = 200;
/// Most lines of a timeline that are written by themselves; people may write as many again.
const ENTRIES_MAX: usize = 2_000;
/// Most incidents that wait for their review; beyond, the oldest that is mitigated is closed.
const OPEN_MAX: usize = 1_000;
/// Most alerts that wait for the incident of what explains them.
const WAITING_MAX: usize = 20_000;
/// An alert that fires again so soon belongs to the same trouble.
const REOPENS_WITHIN: SignedDuration = SignedDuration::from_mins(30);
/// What was never urgent is closed by itself so long after it was over.
const CLOSES_AFTER: SignedDuration = SignedDuration::from_hours(24);
/// Who opens and closes when nobody does.
const PAWANG: &str = "pawang";

/// Says whether nobody responded in time.
pub fn overdue(incident: &Incident, now: Timestamp) -> bool {
    let ended = incident.closed.as_ref().map_or(now, |(at, _)| *at);
    let responded = incident.responded.as_ref().map_or(ended, |(at, _)| *at);
    responded > incident.respond_by
}

/// The incidents that are not closed.
#[derive(Clone, Debug, Default)]
pub struct Incidents {
    open: BTreeMap<i64, Open>,
    /// The incident of each alert, by fingerprint.
    of: BTreeMap<String, i64>,
    /// Alerts that wait until what explains them, by its fingerprint, has an incident.
    waiting: BTreeMap<String, BTreeMap<String, Member>>,
    /// What each of them waits for, by its own fingerprint.
    waits: BTreeMap<String, String>,
    last: i64,
}

/// An incident, and what is known of its alerts.
#[derive(Clone, Debug)]
struct Open {
    incident: Incident,
    /// Those that fire.
    firing: BTreeSet<String>,
    clusters: BTreeSet<String>,
    hosts: BTreeSet<String>,
    entries: usize,
}

/// What an incident needs to know of an alert.
#[derive(Clone, Debug)]
struct Member {
    fingerprint: String,
    check: String,
    instance: String,
    cluster: String,
    host: String,
    priority: Priority,
    /// In words.
    text: String,
    fires: bool,
    since: Timestamp,
}

/// What a person says who opens an incident.
#[derive(Clone, Debug)]
pub struct Opening<'a> {
    /// One sentence.
    pub title: &'a str,
    /// How urgent.
    pub priority: Priority,
    /// The instances that are concerned.
    pub instances: &'a [String],
    /// Alerts that belong to it.
    pub alerts: &'a [&'a Alert],
    /// Who.
    pub by: &'a str,
}

impl Incidents {
    /// Begins with what was saved: incidents that are not closed, the last number given, all alerts.
    pub fn new<'a>(
        saved: Vec<Incident>,
        last: i64,
        alerts: impl IntoIterator<Item = &'a Alert>,
    ) -> Incidents {
        let mut incidents = Incidents {
            last,
            ..Incidents::default()
        };
        for incident in saved {
            for fingerprint in &incident.alerts {
                incidents.of.insert(fingerprint.clone(), incident.id);
            }
            incidents.last = incidents.last.max(incident.id);
            incidents.open.insert(incident.id, Open::new(incident));
        }
        for alert in alerts {
            let id = incidents.of.get(&alert.fingerprint).copied();
            let Some(open) = id
                .or(alert.incident)
                .and_then(|id| incidents.open.get_mut(&id))
            else {
                continue;
            };
            if alert.firing().is_some() {
                incidents
                    .of
                    .insert(alert.fingerprint.clone(), open.incident.id);
                open.know(&Member::new(alert));
            }
        }
        incidents
    }

    /// Takes what happened to an alert (`alert` is as it is after it), and returns the incident that it belongs to now.
    ///
    /// To be called once inhibition is known: an alert that another one explains goes to the incident of that one,
    /// `muted_by`; one that is silenced or in maintenance opens none until that is over.
    pub fn on_change(
        &mut self,
        alert: &Alert,
        event: &AlertEvent,
        muted_by: Option<&Alert>,
        response: &Response,
        changes: &mut Changes,
    ) -> Option<i64> {
        let now = event.at;
        if alert.firing().is_none() || decides(event.kind) {
            self.wait_no_longer(&alert.fingerprint);
        }
        let mut known = self.of.get(&alert.fingerprint).copied();
        if alert.firing().is_some() {
            known = known.filter(|id| self.goes_on(*id, alert, now, changes));
            if known.is_none() && decides(event.kind) {
                let member = Member::new(alert);
                let quiet = !alert.handling.mutes.is_empty();
                let id = self.decide(&member, quiet, muted_by, response, now, changes);
                return id.or_else(|| alert.incident.filter(|_| event.kind != EventKind::Fired));
            }
        }
        let Some(id) = known else {
            return alert.incident;
        };
        self.write_down(id, alert, event, changes);
        if alert.firing().is_none() {
            self.ends(id, alert, now, changes);
        }
        Some(id)
    }

    /// Writes into the timeline that somebody was told; without a kind, that the message was given up.
    pub fn on_message(
        &mut self,
        incident: i64,
        kind: Option<MessageKind>,
        to: &str,
        subject: &str,
        now: Timestamp,
        changes: &mut Changes,
    ) {
        if let Some(open) = self.open.get_mut(&incident) {
            let text = words::told(kind, to, subject);
            open.write(EntryKind::Message, None, text, None, now, changes);
        }
    }

    /// Closes what closes by itself, and notices what is over.
    pub fn tick(&mut self, now: Timestamp, changes: &mut Changes) {
        for open in self.open.values_mut() {
            let incident = &open.incident;
            let over = incident.state == IncidentState::Open && !incident.alerts.is_empty();
            if over && open.firing.is_empty() {
                open.mitigate(now, now, changes);
            }
        }
        let due = |open: &&Open| open.closes_at().is_some_and(|at| at <= now);
        let mut closing: Vec<i64> = self
            .open
            .values()
            .filter(due)
            .map(|open| open.incident.id)
            .collect();
        let mitigated = |open: &&Open| open.incident.state == IncidentState::Mitigated;
        let beyond = self.open.len().saturating_sub(OPEN_MAX + closing.len());
        closing.extend(
            self.open
                .values()
                .filter(|open| mitigated(open) && !due(open))
                .map(|open| open.incident.id)
                .take(beyond),
        );
        for id in closing {
            self.shut(id, PAWANG, None, now, changes);
        }
    }

    /// Returns when [`Incidents::tick`] has something to do, if ever.
    pub fn next_at(&self) -> Option<Timestamp> {
        self.open.values().filter_map(Open::closes_at).min()
    }

    /// Opens an incident by hand, and returns its number; the caller sets it in the alerts.
    pub fn open(
        &mut self,
        opening: Opening<'_>,
        response: &Response,
        now: Timestamp,
        changes: &mut Changes,
    ) -> i64 {
        let began = opening.alerts.iter().map(|alert| alert.opened_at).min();
        let mut incident = self.blank(opening.title, opening.priority, response, now);
        incident.began_at = began.unwrap_or(now).min(now);
        opening.by.clone_into(&mut incident.opened_by);
        incident.instances = opening.instances.iter().take(NAMED_MAX).cloned().collect();
        incident.responded = Some((now, opening.by.to_owned()));
        let id = self.begin(incident, changes);
        for alert in opening.alerts {
            self.join(id, &Member::new(alert), response, now, changes);
        }
        id
    }

    /// Writes a note of a person: the incident counts as responded to.
    ///
    /// # Errors
    /// There is no such incident that is not closed, or its timeline is full.
    pub fn note(
        &mut self,
        incident: i64,
        by: &str,
        text: &str,
        now: Timestamp,
        changes: &mut Changes,
    ) -> Result<(), String> {
        let open = self
            .open
            .get_mut(&incident)
            .ok_or_else(|| no_such(incident))?;
        if open.entries >= 2 * ENTRIES_MAX {
            return Err(format!("the timeline of incident {incident} is full"));
        }
        open.write(
            EntryKind::Note,
            Some(by),
            text.to_owned(),
            None,
            now,
            changes,
        );
        open.responds(by, now, changes);
        Ok(())
    }

    /// Closes an incident.
    ///
    /// # Errors
    /// There is no such incident that is not closed.
    pub fn close(
        &mut self,
        incident: i64,
        by: &str,
        review: &str,
        now: Timestamp,
        changes: &mut Changes,
    ) -> Result<(), String> {
        if !self.open.contains_key(&incident) {
            return Err(no_such(incident));
        }
        self.shut(incident, by, Some(review), now, changes);
        Ok(())
    }

    /// Returns an incident that is not closed.
    pub fn get(&self, incident: i64) -> Option<&Incident> {
        self.open.get(&incident).map(|open| &open.incident)
    }

    /// Returns all that are not closed, the newest first.
    pub fn present(&self) -> Vec<Incident> {
        self.open
            .values()
            .rev()
            .map(|open| open.incident.clone())
            .collect()
    }

    /// Says whether a firing alert still belongs to the incident that it belonged to; opens that again where it does.
    fn goes_on(&mut self, id: i64, alert: &Alert, now: Timestamp, changes: &mut Changes) -> bool {
        let Some(open) = self.open.get_mut(&id) else {
            return false;
        };
        if let Some(mitigated_at) = open.incident.mitigated_at {
            // Quiet alerts wake no incident.
            let quiet = !alert.handling.mutes.is_empty();
            if quiet || now.duration_since(mitigated_at) > REOPENS_WITHIN {
                return false;
            }
            open.incident.state = IncidentState::Open;
            open.incident.mitigated_at = None;
            let text = "opened again: it is back".to_owned();
            open.write(EntryKind::Incident, None, text, None, now, changes);
        }
        open.firing.insert(alert.fingerprint.clone());
        true
    }

    /// Finds or opens the incident of an alert that fires and has none.
    fn decide(
        &mut self,
        member: &Member,
        quiet: bool,
        muted_by: Option<&Alert>,
        response: &Response,
        now: Timestamp,
        changes: &mut Changes,
    ) -> Option<i64> {
        if let Some(source) = muted_by {
            let id = match self.of.get(&source.fingerprint).copied() {
                Some(id) => Some(id).filter(|id| self.is_open(*id)),
                None if source.firing().is_some() => {
                    let quiet = !source.handling.mutes.is_empty();
                    self.decide(&Member::new(source), quiet, None, response, now, changes)
                }
                None => None,
            };
            match id {
                Some(id) => self.join(id, member, response, now, changes),
                None => self.wait(member, &source.fingerprint),
            }
            return id;
        }
        if quiet {
            return None;
        }
        let urgent = member.priority <= Priority::P2;
        let id = match self.home(member) {
            Some(id) => id,
            None if urgent => {
                let title = &member.text;
                let incident = self.blank(title, member.priority, response, now);
                self.begin(incident, changes)
            }
            None => return None,
        };
        self.join(id, member, response, now, changes);
        Some(id)
    }

    fn wait(&mut self, member: &Member, source: &str) {
        if self.waits.len() < WAITING_MAX {
            let fingerprint = &member.fingerprint;
            self.waits.insert(fingerprint.clone(), source.to_owned());
            let waiting = self.waiting.entry(source.to_owned()).or_default();
            waiting.insert(fingerprint.clone(), member.clone());
        }
    }

    fn wait_no_longer(&mut self, fingerprint: &str) {
        let Some(source) = self.waits.remove(fingerprint) else {
            return;
        };
        if let Some(waiting) = self.waiting.get_mut(&source) {
            waiting.remove(fingerprint);
            if waiting.is_empty() {
                self.waiting.remove(&source);
            }
        }
    }

    fn is_open(&self, id: i64) -> bool {
        let open = self.open.get(&id);
        open.is_some_and(|open| open.incident.state == IncidentState::Open)
    }

    /// Returns the open incident of the same cluster, else of the same instance, else of the same host.
    ///
    /// What is not urgent goes only to one of the same instance.
    fn home(&self, member: &Member) -> Option<i64> {
        let near = |open: &&Open| {
            let instances = &open.incident.instances;
            let instance = !member.instance.is_empty() && instances.contains(&member.instance);
            let urgent = member.priority <= Priority::P2;
            if urgent && open.clusters.contains(&member.cluster) {
                Some(0)
            } else if instance {
                Some(1)
            } else if urgent && open.hosts.contains(&member.host) {
                Some(2)
            } else {
                None
            }
        };
        self.open
            .values()
            .rev()
            .filter(|open| open.incident.state == IncidentState::Open)
            .filter_map(|open| Some((near(&open)?, open.incident.id)))
            .min_by_key(|(near, _)| *near)
            .map(|(_, id)| id)
    }

    fn blank(
        &mut self,
        title: &str,
        priority: Priority,
        response: &Response,
        now: Timestamp,
    ) -> Incident {
        self.last += 1;
        Incident {
            id: self.last,
            title: title.to_owned(),
            priority,
            state: IncidentState::Open,
            instances: Vec::new(),
            alerts: Vec::new(),
            checks: Vec::new(),
            began_at: now,
            opened_at: now,
            opened_by: PAWANG.to_owned(),
            respond_by: respond_by(priority, response, now),
            responded: None,
            mitigated_at: None,
            closed: None,
            review: None,
        }
    }

    fn begin(&mut self, incident: Incident, changes: &mut Changes) -> i64 {
        let (id, now) = (incident.id, incident.opened_at);
        let by = Some(incident.opened_by.clone()).filter(|by| by != PAWANG);
        let text = format!("opened as {}: {}", incident.priority, incident.title);
        let open = self.open.entry(id).or_insert_with(|| Open::new(incident));
        open.write(EntryKind::Incident, by.as_deref(), text, None, now, changes);
        id
    }

    /// Adds an alert to an incident, and all that waited for it.
    fn join(
        &mut self,
        id: i64,
        member: &Member,
        response: &Response,
        now: Timestamp,
        changes: &mut Changes,
    ) {
        let mut joining = vec![member.clone()];
        while let Some(member) = joining.pop() {
            let Some(open) = self.open.get_mut(&id) else {
                return;
            };
            if open.incident.alerts.is_empty() && open.incident.opened_by == PAWANG {
                open.incident.began_at = open.incident.began_at.min(member.since);
            }
            let worse = member.priority < open.incident.priority;
            if worse && open.incident.opened_by == PAWANG {
                open.incident.title.clone_from(&member.text);
            }
            open.know(&member);
            open.urge(member.priority, response, now, changes);
            let text = member.text.clone();
            let about = Some(member.fingerprint.as_str());
            open.write(EntryKind::Alert, None, text, about, now, changes);
            let waited = self.waiting.remove(&member.fingerprint).unwrap_or_default();
            for fingerprint in waited.keys() {
                self.waits.remove(fingerprint);
            }
            joining.extend(waited.into_values());
            self.of.insert(member.fingerprint, id);
        }
    }

    /// Writes down what happened to an alert of an incident.
    fn write_down(&mut self, id: i64, alert: &Alert, event: &AlertEvent, changes: &mut Changes) {
        let (Some(open), Some((kind, text))) =
            (self.open.get_mut(&id), words::happened(alert, event))
        else {
            return;
        };
        let (by, about) = (event.by.as_deref(), Some(alert.fingerprint.as_str()));
        open.write(kind, by, text, about, event.at, changes);
        if event.kind == EventKind::Acknowledged {
            open.responds(by.unwrap_or(PAWANG), event.at, changes);
        }
    }

    /// Takes notice that an alert is over: the last one ends the trouble.
    fn ends(&mut self, id: i64, alert: &Alert, now: Timestamp, changes: &mut Changes) {
        let Some(open) = self.open.get_mut(&id) else {
            return;
        };
        let fired = open.firing.remove(&alert.fingerprint);
        if fired && open.firing.is_empty() && open.incident.state == IncidentState::Open {
            let at = match &alert.condition {
                pawang_core::alert::Condition::Resolved { at, .. } => *at,
                _ => now,
            };
            open.mitigate(at.min(now).max(open.incident.opened_at), now, changes);
        }
    }

    fn shut(
        &mut self,
        id: i64,
        by: &str,
        review: Option<&str>,
        now: Timestamp,
        changes: &mut Changes,
    ) {
        let Some(mut open) = self.open.remove(&id) else {
            return;
        };
        self.of.retain(|_, of| *of != id);
        let incident = &mut open.incident;
        incident.state = IncidentState::Closed;
        incident.closed = Some((now, by.to_owned()));
        incident.review = review.map(str::to_owned).or(incident.review.take());
        let text = match (review, open.firing.len()) {
            (Some(_), 0) => "closed".to_owned(),
            (Some(_), firing) => format!("closed while {firing} of its alerts fire"),
            (None, _) => "closed by itself: it was over, and nobody asked for a review".to_owned(),
        };
        let by = Some(by).filter(|by| *by != PAWANG);
        open.write(EntryKind::Incident, by, text, None, now, changes);
    }
}

impl Open {
    fn new(incident: Incident) -> Open {
        Open {
            incident,
            firing: BTreeSet::new(),
            clusters: BTreeSet::new(),
            hosts: BTreeSet::new(),
            entries: 0,
        }
    }

    /// Takes in an alert.
    fn know(&mut self, member: &Member) {
        let named = [
            (&mut self.incident.alerts, &member.fingerprint),
            (&mut self.incident.instances, &member.instance),
            (&mut self.incident.checks, &member.check),
        ];
        for (names, name) in named {
            if !name.is_empty() && names.len() < NAMED_MAX && !names.contains(name) {
                names.push(name.clone());
            }
        }
        for (names, name) in [
            (&mut self.clusters, &member.cluster),
            (&mut self.hosts, &member.host),
        ] {
            if !name.is_empty() && names.len() < NAMED_MAX {
                names.insert(name.clone());
            }
        }
        if member.fires {
            self.firing.insert(member.fingerprint.clone());
        }
    }

    /// Makes it more urgent where an alert is: the clock of the new priority starts now, unless the old one ends sooner.
    fn urge(
        &mut self,
        priority: Priority,
        response: &Response,
        now: Timestamp,
        changes: &mut Changes,
    ) {
        if priority >= self.incident.priority {
            return;
        }
        let text = format!("{} now; it was {}", priority, self.incident.priority);
        self.incident.priority = priority;
        let respond_by = respond_by(priority, response, now);
        self.incident.respond_by = self.incident.respond_by.min(respond_by);
        self.write(EntryKind::Incident, None, text, None, now, changes);
    }

    fn responds(&mut self, by: &str, now: Timestamp, changes: &mut Changes) {
        if self.incident.responded.is_none() {
            self.incident.responded = Some((now, by.to_owned()));
            put(&self.incident, changes);
        }
    }

    fn mitigate(&mut self, at: Timestamp, now: Timestamp, changes: &mut Changes) {
        self.incident.state = IncidentState::Mitigated;
        self.incident.mitigated_at = Some(at);
        let text = "nothing of it fires any more".to_owned();
        self.write(EntryKind::Incident, None, text, None, now, changes);
    }

    /// Returns when it closes by itself: never what was urgent once.
    fn closes_at(&self) -> Option<Timestamp> {
        let urgent = self.incident.priority <= Priority::P2;
        let mitigated_at = self.incident.mitigated_at.filter(|_| !urgent)?;
        mitigated_at.checked_add(CLOSES_AFTER).ok()
    }

    /// Writes a line, and marks the incident as changed.
    fn write(
        &mut self,
        kind: EntryKind,
        by: Option<&str>,
        text: String,
        fingerprint: Option<&str>,
        now: Timestamp,
        changes: &mut Changes,
    ) {
        put(&self.incident, changes);
        let by_people = matches!(kind, EntryKind::Note | EntryKind::Incident);
        if self.entries >= ENTRIES_MAX && !by_people {
            return;
        }
        self.entries += 1;
        changes.entries.push(Entry {
            incident: self.incident.id,
            at: now,
            kind,
            by: by.map(str::to_owned),
            text,
            fingerprint: fingerprint.map(str::to_owned),
        });
    }
}

impl Member {
    fn new(alert: &Alert) -> Member {
        let instance = if alert.instance.is_empty() {
            alert.label("instance")
        } else {
            &alert.instance
        };
        Member {
            fingerprint: alert.fingerprint.clone(),
            check: alert.finding.check.clone(),
            instance: instance.to_owned(),
            cluster: alert.label("cluster").to_owned(),
            host: alert.label("host").to_owned(),
            priority: alert.priority,
            text: words::sentence(alert),
            fires: alert.firing().is_some(),
            since: alert.opened_at,
        }
    }
}

/// Says whether an event of a firing alert without an incident is a reason to look for one.
fn decides(kind: EventKind) -> bool {
    use EventKind::{Fired, Found, Muted, Returned, Rose, Unmuted, Woken};
    matches!(
        kind,
        Fired | Found | Muted | Returned | Rose | Unmuted | Woken
    )
}

/// Puts the newest state of an incident into what is saved.
fn put(incident: &Incident, changes: &mut Changes) {
    let known = changes
        .incidents
        .iter_mut()
        .find(|known| known.id == incident.id);
    match known {
        Some(known) => known.clone_from(incident),
        None => changes.incidents.push(incident.clone()),
    }
}

fn respond_by(priority: Priority, response: &Response, now: Timestamp) -> Timestamp {
    let within = match priority {
        Priority::P1 => response.P1,
        Priority::P2 => response.P2,
        Priority::P3 => response.P3,
        Priority::P4 => response.P4,
    };
    now.saturating_add(within.0).unwrap_or(Timestamp::MAX)
}

fn no_such(incident: i64) -> String {
    format!("there is no incident {incident} that is not closed")
}
