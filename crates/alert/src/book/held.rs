//! One alert in mind: what its condition and its handling become, and when something has to be done about it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use pawang_core::alert::{
    Alert, AlertEvent, Condition, EventKind, Handling, MessageKind, Mute, Priority, Tally,
};
use pawang_core::{Finding, Level, Role, Timestamp};

use super::{ALERTS_MAX, Book, Subject, URGENT_MAX};
use crate::condition::{self, Seen};
use crate::group::ladder::Rung;
use crate::handling::{self, Happened};
use crate::notice;
use crate::priority::priority;
use crate::rule::Rule;
use crate::setup::Setup;
use crate::span::{later, since};

/// An alert that is over is kept in mind so long: whether it flaps is told by what it did within a day.
const OVER_KEPT: Duration = Duration::from_secs(86_400);
/// An alert of which only numbers changed is saved again after so long.
const SAVE_AGAIN: Duration = Duration::from_secs(60);
/// Alerts whose last end is remembered.
const PAST_MAX: usize = 10_000;

/// An alert in mind.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) alert: Arc<Alert>,
    pub(super) tally: Tally,
    pub(super) rule: Rule,
    /// Routes by their place, with the keys of the groups that it is told in.
    pub(super) routes: Vec<(usize, String)>,
    /// Groups that told somebody that it fires.
    pub(super) told_in: BTreeSet<String>,
    /// It was quiet until now; it is told from then on if it still fires.
    pub(super) tell_at: Option<Timestamp>,
    /// Why it is told now though it is no news.
    pub(super) again: Option<MessageKind>,
    /// The rungs of the ladders of its routes, by the routes' places.
    pub(super) ladders: BTreeMap<usize, Vec<Rung>>,
    /// What kept it quiet ended while it was good; it is told when it comes back.
    pub(super) owed: bool,
    /// Rungs up to this time were climbed.
    pub(super) climbed_at: Timestamp,
    /// Rungs after this time are those that were climbed in this step.
    pub(super) climbed_from: Timestamp,
    /// Alerts that it keeps quiet.
    pub(super) explains: Vec<String>,
    /// Whether it is on disk.
    pub(super) kept: bool,
    pub(super) saved_at: Timestamp,
    timer: Option<Timestamp>,
}

impl Held {
    fn new(setup: &Setup, alert: Alert, tally: Tally, now: Timestamp) -> Held {
        Held {
            rule: rule(setup, &alert),
            climbed_at: alert.changed_at,
            climbed_from: alert.changed_at,
            alert: Arc::new(alert),
            tally,
            routes: Vec::new(),
            told_in: BTreeSet::new(),
            tell_at: None,
            again: None,
            owed: false,
            ladders: BTreeMap::new(),
            explains: Vec::new(),
            kept: false,
            saved_at: now,
            timer: None,
        }
    }

    /// Says whether it fires and may be told.
    pub(super) fn tellable(&self, now: Timestamp) -> bool {
        let handling = &self.alert.handling;
        self.alert.firing().is_some()
            && !handling.muted()
            && handling.acknowledged.is_none()
            && self.tell_at.is_none_or(|at| at <= now)
    }

    /// Says whether it is good, though it may come back: whoever does not know of it need not hear of it, and nobody hears
    /// of it again.
    pub(super) fn is_good(&self) -> bool {
        self.alert.condition.good_since().is_some()
    }

    /// Says whether there is nothing to show of it: it is only in mind for its samples.
    pub(super) fn is_nothing(&self) -> bool {
        self.alert.condition == Condition::Ok
    }

    /// Returns the alert that explains it.
    pub(super) fn explained_by(&self) -> Option<&str> {
        self.alert
            .handling
            .mutes
            .iter()
            .find_map(|mute| match mute {
                Mute::Inhibited { by, .. } => Some(by.as_str()),
                _ => None,
            })
    }

    /// Returns the level that its labels tell.
    fn level(&self) -> Level {
        match &self.alert.condition {
            Condition::Pending { level, .. } | Condition::Resolved { level, .. } => *level,
            condition => condition.firing().unwrap_or(self.alert.finding.level),
        }
    }

    /// Writes level and priority anew; says whether they changed.
    pub(super) fn relabel(&mut self) -> bool {
        let level = self.level();
        let urgency = match self.alert.source {
            Some(_) => priority(
                level,
                &self.rule,
                &Subject {
                    production: true,
                    ..Subject::of(&self.alert.labels)
                },
            ),
            None => priority(level, &self.rule, &Subject::of(&self.alert.labels)),
        };
        let same = self.alert.priority == urgency
            && self.alert.label("level") == level.as_str()
            && self.alert.label("priority") == urgency.as_str();
        if same {
            return false;
        }
        let alert = Arc::make_mut(&mut self.alert);
        alert.priority = urgency;
        alert
            .labels
            .insert("level".to_owned(), level.as_str().to_owned());
        alert
            .labels
            .insert("priority".to_owned(), urgency.as_str().to_owned());
        true
    }

    /// Returns when it need not be kept in mind any more; `None` when time alone does not tell.
    fn forgotten_at(&self) -> Option<Timestamp> {
        let window = 1_u64
            .checked_shl(u32::from(self.rule.samples.1))
            .map_or(u64::MAX, |bit| bit - 1);
        let cleared = self.tally.cleared_at.last().map(|at| later(*at, OVER_KEPT));
        match &self.alert.condition {
            Condition::Resolved { at, .. } => Some(later(*at, OVER_KEPT)),
            condition if idle(condition) && self.tally.samples & window == 0 => {
                Some(cleared.unwrap_or(Timestamp::MIN))
            }
            _ => None,
        }
    }

    fn next_at(&self) -> Option<Timestamp> {
        let over = self
            .told_in
            .is_empty()
            .then(|| self.forgotten_at())
            .flatten();
        let mut rungs = self.ladders.values().flatten().map(|rung| rung.at);
        [
            condition::next_at(&self.alert.condition, &self.tally, &self.rule),
            handling::next_at(&self.alert.handling),
            self.tell_at,
            rungs.find(|at| *at > self.climbed_at && !self.is_good()),
            over,
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

impl Subject {
    /// Returns what labels tell of an instance.
    pub(super) fn of(labels: &BTreeMap<String, String>) -> Subject {
        let text = |name: &str| labels.get(name).filter(|value| !value.is_empty()).cloned();
        Subject {
            name: text("instance").unwrap_or_default(),
            group: text("group"),
            labels: BTreeMap::new(),
            host: text("host"),
            cluster: text("cluster"),
            role: match labels.get("role").map(String::as_str) {
                Some("primary") => Some(Role::Primary),
                Some("standby") => Some(Role::Standby),
                _ => None,
            },
            production: labels
                .get("production")
                .is_some_and(|value| value == "true"),
        }
    }

    /// Returns the labels of a finding of the instance, but for level and priority.
    pub(super) fn labels(&self, finding: &Finding) -> BTreeMap<String, String> {
        let mut labels = self.labels.clone();
        let role = self.role.map(|role| match role {
            Role::Primary => "primary".to_owned(),
            Role::Standby => "standby".to_owned(),
        });
        let own = [
            ("check", Some(finding.check.clone())),
            ("instance", Some(self.name.clone())),
            ("group", self.group.clone()),
            ("database", finding.database.clone()),
            ("object", Some(finding.object.clone())),
            ("host", self.host.clone()),
            ("cluster", self.cluster.clone()),
            ("role", role),
            ("production", Some(self.production.to_string())),
        ];
        for (name, value) in own {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                labels.insert(name.to_owned(), value);
            }
        }
        labels
    }
}

/// Returns the rule that holds for an alert.
pub(super) fn rule(setup: &Setup, alert: &Alert) -> Rule {
    let group = alert.labels.get("group").map(String::as_str);
    let finding = &alert.finding;
    let mut rule = setup.rules.rule(
        &finding.check,
        group,
        alert.label("instance"),
        &finding.object,
    );
    if alert.source.is_some() {
        // Whoever sent it has waited already, and tells the end by itself.
        rule.lasts = Duration::ZERO;
        rule.lasts_critical = Duration::ZERO;
        rule.samples = (1, 1);
    }
    rule
}

/// Says whether nothing is, was or may be wrong.
fn idle(condition: &Condition) -> bool {
    match condition {
        Condition::Ok | Condition::Resolved { .. } => true,
        Condition::Unknown { was, .. } | Condition::Stale { was, .. } => {
            was.as_deref().is_none_or(idle)
        }
        Condition::Pending { .. } | Condition::Firing { .. } | Condition::Recovering { .. } => {
            false
        }
    }
}

impl Book {
    /// Takes an alert into mind; returns `false` when there is no room for it.
    pub(super) fn admit(&mut self, alert: Alert, now: Timestamp) -> bool {
        let mut held = Held::new(&self.setup, alert, Tally::default(), now);
        held.relabel();
        let most = match held.alert.priority {
            Priority::P1 | Priority::P2 => ALERTS_MAX + URGENT_MAX,
            Priority::P3 | Priority::P4 => ALERTS_MAX,
        };
        if self.held.len() >= most && !self.make_room(held.alert.priority) {
            self.refused += 1;
            return false;
        }
        self.keep(held);
        true
    }

    /// Takes an alert into mind as it was saved.
    pub(super) fn restore(&mut self, alert: Alert, tally: Tally, now: Timestamp) {
        let mut held = Held::new(&self.setup, alert, tally, now);
        held.kept = true;
        self.keep(held);
    }

    fn keep(&mut self, held: Held) {
        let alert = &held.alert;
        let fingerprint = alert.fingerprint.clone();
        self.places
            .entry(alert.instance.clone())
            .or_default()
            .entry(alert.finding.check.clone())
            .or_default()
            .insert(fingerprint.clone());
        self.held.insert(fingerprint.clone(), held);
        self.retime(&fingerprint);
    }

    /// Lets go of an alert that is less urgent than a new one, if there is one: what is over first, then what is pending.
    fn make_room(&mut self, new: Priority) -> bool {
        if self.news.full.is_some_and(|full| new >= full) {
            return false;
        }
        let spare = |held: &Held| match &held.alert.condition {
            _ if !held.told_in.is_empty() => None,
            condition if idle(condition) => Some(5),
            Condition::Pending { .. } if held.alert.priority > new => {
                Some(held.alert.priority as u8)
            }
            _ => None,
        };
        let spares = self
            .held
            .iter()
            .filter_map(|(name, held)| Some((spare(held)?, name)));
        let Some(name) = spares.max().map(|(_, name)| name.clone()) else {
            self.news.full = Some(new);
            return false;
        };
        self.drop_held(&name);
        true
    }

    /// Lets go of an alert.
    pub(super) fn drop_held(&mut self, fingerprint: &str) {
        let Some(held) = self.held.remove(fingerprint) else {
            return;
        };
        if let Some(at) = held.timer {
            self.timers.remove(&(at, fingerprint.to_owned()));
        }
        if held.kept {
            self.news.changes.forgotten.push(fingerprint.to_owned());
        }
        self.leave_groups(&held.routes, fingerprint);
        if let Some(checks) = self.places.get_mut(&held.alert.instance) {
            if let Some(all) = checks.get_mut(&held.alert.finding.check) {
                all.remove(fingerprint);
                if all.is_empty() {
                    checks.remove(&held.alert.finding.check);
                }
            }
            if checks.is_empty() {
                self.places.remove(&held.alert.instance);
            }
        }
    }

    /// Looks up anew when something has to be done about an alert.
    pub(super) fn retime(&mut self, fingerprint: &str) {
        let Some(held) = self.held.get_mut(fingerprint) else {
            return;
        };
        let next = held.next_at();
        if next == held.timer {
            return;
        }
        if let Some(at) = std::mem::replace(&mut held.timer, next) {
            self.timers.remove(&(at, fingerprint.to_owned()));
        }
        if let Some(at) = next {
            self.timers.insert((at, fingerprint.to_owned()));
        }
    }

    /// Does what has to be done because time went by.
    pub(super) fn time(&mut self, now: Timestamp) {
        let due: Vec<String> = self
            .timers
            .iter()
            .take_while(|(at, _)| *at <= now)
            .map(|(_, fingerprint)| fingerprint.clone())
            .collect();
        for fingerprint in due {
            self.turn(&fingerprint, Seen::Nothing, now);
            self.handle(&fingerprint, Happened::Nothing, None, now);
            let Some(held) = self.held.get_mut(&fingerprint) else {
                continue;
            };
            if held.tell_at.is_some_and(|at| at <= now) {
                held.tell_at = None;
                self.urge(&fingerprint, true);
            }
            self.news.reroute.insert(fingerprint);
        }
    }

    /// Takes what was seen of an alert.
    pub(super) fn see(
        &mut self,
        fingerprint: &str,
        seen: Seen,
        finding: Option<&Finding>,
        now: Timestamp,
    ) {
        if let Seen::Bad { .. } = seen {
            let source = self.held.get(fingerprint).and_then(Held::explained_by);
            let source = source.and_then(|by| self.held.get(by));
            self.news.firing |= source.is_some_and(Held::is_good);
        }
        let Some(held) = self.held.get_mut(fingerprint) else {
            return;
        };
        let alert = Arc::make_mut(&mut held.alert);
        if !matches!(seen, Seen::Nothing | Seen::Missing | Seen::Blind) {
            alert.seen_at = now;
        }
        if let Some(finding) = finding.filter(|finding| alert.finding != **finding) {
            alert.finding = finding.clone();
            if since(held.saved_at, now) >= SAVE_AGAIN {
                self.news.dirty.insert(fingerprint.to_owned());
            }
        }
        self.turn(fingerprint, seen, now);
    }

    /// Moves the condition on.
    fn turn(&mut self, fingerprint: &str, seen: Seen, now: Timestamp) {
        let Some(held) = self.held.get_mut(fingerprint) else {
            return;
        };
        let before = &held.alert.condition;
        let (after, kinds) = condition::step(before, &mut held.tally, seen, &held.rule, now);
        if after == *before && kinds.is_empty() {
            return;
        }
        let good = |condition: &Condition| condition.good_since().is_some();
        if before.firing() != after.firing() || good(before) != good(&after) {
            self.news.firing = true;
        }
        let alert = Arc::make_mut(&mut held.alert);
        if idle(&alert.condition) && !idle(&after) {
            begin(alert, &held.tally, now);
        }
        alert.condition = after;
        alert.changed_at = now;
        held.relabel();
        self.news.dirty.insert(fingerprint.to_owned());
        self.news.moved.insert(fingerprint.to_owned());
        self.news.reroute.insert(fingerprint.to_owned());
        for kind in kinds {
            self.happened(fingerprint, kind, now);
        }
        self.retime(fingerprint);
    }

    /// Writes down what happened to the condition, and tells the handling of it.
    fn happened(&mut self, fingerprint: &str, kind: EventKind, now: Timestamp) {
        let Some(held) = self.held.get_mut(fingerprint) else {
            return;
        };
        let level = held.level();
        let mut detail = BTreeMap::from([("level".to_owned(), level.as_str().to_owned())]);
        if !matches!(
            kind,
            EventKind::Resolved | EventKind::Recovering | EventKind::Dropped
        ) {
            detail.insert("title".to_owned(), held.alert.finding.title.clone());
        }
        if kind == EventKind::Returned {
            Arc::make_mut(&mut held.alert).flaps += 1;
        }
        if let (EventKind::Resolved, Condition::Resolved { since, at, .. }) =
            (kind, &held.alert.condition)
        {
            let ended = (*since, *at);
            if self.past.len() >= PAST_MAX {
                let oldest = self.past.iter().min_by_key(|(_, (_, at))| *at);
                if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                    self.past.remove(&oldest);
                }
            }
            self.past.insert(fingerprint.to_owned(), ended);
        }
        self.log(AlertEvent {
            fingerprint: fingerprint.to_owned(),
            at: now,
            kind,
            by: None,
            detail,
        });
        if kind == EventKind::Returned {
            self.returned(fingerprint);
        }
        let happened = match kind {
            EventKind::Fired | EventKind::Fell => Happened::Fires(level),
            EventKind::Rose => {
                self.urge(fingerprint, false);
                Happened::Rises(level)
            }
            EventKind::Resolved => Happened::Resolved,
            _ => return,
        };
        self.handle(fingerprint, happened, None, now);
    }

    /// Tells what came back before anybody heard of it, and what was owed while it was good.
    fn returned(&mut self, fingerprint: &str) {
        let Some(held) = self.held.get_mut(fingerprint) else {
            return;
        };
        if std::mem::take(&mut held.owed) {
            held.again = Some(MessageKind::Reminder);
            self.urge(fingerprint, false);
        } else if held.told_in.is_empty() {
            self.urge(fingerprint, true);
        }
    }

    /// Moves the handling on.
    pub(super) fn handle(
        &mut self,
        fingerprint: &str,
        happened: Happened,
        by: Option<&str>,
        now: Timestamp,
    ) {
        let Some(held) = self.held.get_mut(fingerprint) else {
            return;
        };
        let over = matches!(happened, Happened::Resolved);
        let rises = matches!(happened, Happened::Rises(_));
        let before = held.alert.handling.clone();
        let (after, kinds) = handling::step(&before, happened, now);
        if after == before {
            return;
        }
        let fires = held.alert.firing().is_some();
        let alert = Arc::make_mut(&mut held.alert);
        alert.handling = after;
        alert.changed_at = now;
        if over {
            held.tell_at = None;
            held.owed = false;
        }
        self.news.dirty.insert(fingerprint.to_owned());
        self.news.reroute.insert(fingerprint.to_owned());
        for kind in kinds {
            let by = by.map(str::to_owned);
            let mut detail = detail(kind, &self.held[fingerprint].alert.handling);
            let mutes = match kind {
                EventKind::Muted => &self.held[fingerprint].alert.handling.mutes,
                EventKind::Unmuted => &before.mutes,
                _ => &Vec::new(),
            };
            if !mutes.is_empty() {
                detail.insert("by".to_owned(), self.quiet_by(mutes));
            }
            self.log(AlertEvent {
                fingerprint: fingerprint.to_owned(),
                at: now,
                kind,
                by,
                detail,
            });
            let again = matches!(kind, EventKind::Unacknowledged | EventKind::Woken);
            if again && fires && !rises {
                let held = self
                    .held
                    .get_mut(fingerprint)
                    .expect("it was there just now");
                if held.is_good() {
                    held.owed = true;
                    continue;
                }
                held.again = Some(MessageKind::Reminder);
                self.urge(fingerprint, false);
            }
        }
        self.retime(fingerprint);
    }

    /// Returns what keeps an alert quiet, in words.
    pub(super) fn quiet_by(&self, mutes: &[Mute]) -> String {
        let words = mutes.iter().map(|mute| {
            let source = match mute {
                Mute::Inhibited { by, .. } => self.held.get(by),
                _ => None,
            };
            let source = source.map(|held| notice::name(&held.alert));
            notice::mute(mute, source.as_deref())
        });
        words.collect::<Vec<_>>().join(", ")
    }

    /// Lets go of alerts that are over and told.
    pub(super) fn forget(&mut self, now: Timestamp) {
        let over = |held: &Held| {
            held.told_in.is_empty() && held.forgotten_at().is_some_and(|at| at <= now)
        };
        let looked_at = self
            .news
            .dirty
            .iter()
            .chain(&self.news.reroute)
            .chain(&self.news.moved);
        let gone: BTreeSet<String> = looked_at
            .filter(|name| self.held.get(*name).is_some_and(over))
            .cloned()
            .collect();
        for fingerprint in gone {
            self.drop_held(&fingerprint);
        }
        let names: Vec<String> = self.news.reroute.iter().cloned().collect();
        for fingerprint in names {
            if let Some(held) = self.held.get_mut(&fingerprint) {
                held.again = None;
            }
            self.retime(&fingerprint);
        }
    }
}

/// Begins a new time of being bad.
fn begin(alert: &mut Alert, tally: &Tally, now: Timestamp) {
    let recent = |at: &&Timestamp| since(**at, now) < OVER_KEPT;
    alert.flaps = u32::try_from(tally.cleared_at.iter().filter(recent).count()).unwrap_or(u32::MAX);
    alert.opened_at = now;
    alert.first_value = alert.finding.value;
    alert.incident = None;
    alert.handling = Handling {
        mutes: std::mem::take(&mut alert.handling.mutes),
        ..Handling::default()
    };
}

/// Returns the facts of what happened to the handling.
fn detail(kind: EventKind, after: &Handling) -> BTreeMap<String, String> {
    let mut facts = Vec::new();
    match kind {
        EventKind::Acknowledged => {
            if let Some(ack) = &after.acknowledged {
                facts.push(("note", ack.note.clone()));
                facts.extend(ack.until.map(|until| ("until", until.to_string())));
            }
        }
        EventKind::Snoozed => {
            if let Some(snooze) = &after.snoozed {
                facts.push(("note", snooze.note.clone()));
                facts.push(("until", snooze.until.to_string()));
            }
        }
        EventKind::Escalated => {
            if let Some(escalation) = &after.escalation {
                facts.push(("policy", escalation.policy.clone()));
                facts.push(("step", (escalation.step + 1).to_string()));
                facts.push(("round", (escalation.rounds + 1).to_string()));
            }
        }
        _ => {}
    }
    let facts = facts.into_iter().filter(|(_, text)| !text.is_empty());
    facts.map(|(name, text)| (name.to_owned(), text)).collect()
}
