//! Who is told what and when: routes, groups, ladders, messages.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use pawang_core::alert::{
    Alert, Escalation, Group, Message, MessageKind, Notice, Priority, Recipient, Told,
};
use pawang_core::{Level, Timestamp, fingerprint as identity};

use super::Book;
use super::held::Held;
use crate::condition::flapping;
use crate::group::{self, Sheet, ladder::Ladder};
use crate::handling::Happened;
use crate::notice::{self, Besides};
use crate::recipient::{self, Found};
use crate::route::{Route, routes_of};
use crate::span::later;

/// A group with the alerts that are in it now.
#[derive(Debug)]
pub(super) struct Circle {
    pub(super) group: Group,
    members: BTreeSet<String>,
}

/// What there is to tell to one recipient, and who that is.
#[derive(Default)]
struct Letter {
    recipient: Recipient,
    sheet: Sheet,
    notes: Vec<String>,
}

/// Who is meant by names, looked up once per step.
type Meant = HashMap<Vec<String>, Found>;

impl Book {
    /// Takes a group into mind as it was saved.
    pub(super) fn restore_group(&mut self, group: Group) {
        for told in group.told.values() {
            for fingerprint in told.firing.keys() {
                if let Some(held) = self.held.get_mut(fingerprint) {
                    held.told_in.insert(group.key.clone());
                    // Whoever was told then was told all rungs until then.
                    held.climbed_at = held.climbed_at.max(told.at);
                }
            }
        }
        self.ticks.insert((group.next_at, group.key.clone()));
        let circle = Circle {
            members: BTreeSet::new(),
            group,
        };
        self.groups.insert(circle.group.key.clone(), circle);
    }

    /// Forgets what was told by channels that are no more: no end can be told there.
    pub(super) fn disconnect(&mut self) {
        let channels = &self.setup.config.channels;
        let gone = |told: &Told| {
            let channel = &told.recipient.channel;
            channels.iter().all(|known| known.name != *channel)
        };
        let mut changed = Vec::new();
        for (key, circle) in &mut self.groups {
            let before = circle.group.told.len();
            circle.group.told.retain(|_, told| !gone(told));
            if circle.group.told.len() != before {
                changed.push(key.clone());
            }
        }
        for key in changed {
            let told = self.groups[&key].group.told.values();
            let known: BTreeSet<String> =
                told.flat_map(|told| told.firing.keys().cloned()).collect();
            for (name, held) in &mut self.held {
                if !known.contains(name) {
                    held.told_in.remove(&key);
                }
            }
            self.news.groups.insert(key);
        }
    }

    /// Asks for a look at the groups of an alert before their time; `at_once`: even within `group_wait`.
    pub(super) fn urge(&mut self, fingerprint: &str, at_once: bool) {
        self.news.reroute.insert(fingerprint.to_owned());
        let Some(held) = self.held.get(fingerprint) else {
            return;
        };
        let keys = held.routes.iter().map(|(_, key)| key).chain(&held.told_in);
        for key in keys {
            *self.news.urgent.entry(key.clone()).or_default() |= at_once;
        }
    }

    /// Returns how long the first message about an alert waits for more.
    pub(super) fn wait_of(&self, fingerprint: &str) -> Duration {
        let route = self
            .held
            .get(fingerprint)
            .and_then(|held| held.routes.first());
        let route = route.and_then(|(at, _)| self.setup.routes.get(*at));
        route.map_or(self.setup.config.group_wait.0, |route| route.group_wait)
    }

    /// Takes an alert out of its groups.
    pub(super) fn leave_groups(&mut self, routes: &[(usize, String)], fingerprint: &str) {
        for (_, key) in routes {
            if let Some(circle) = self.groups.get_mut(key) {
                circle.members.remove(fingerprint);
            }
        }
    }

    /// Finds the groups of alerts that are others than before.
    pub(super) fn route(&mut self, now: Timestamp) {
        if self.routes_change_at.is_some_and(|at| at <= now) {
            let hours = self
                .setup
                .routes
                .iter()
                .filter_map(|route| route.hours.as_ref());
            self.routes_change_at = hours.filter_map(|hours| hours.next_change(now)).min();
            let firing = self
                .held
                .iter()
                .filter(|(_, held)| held.alert.firing().is_some());
            self.news
                .reroute
                .extend(firing.map(|(name, _)| name.clone()));
        }
        let setup = self.setup.clone();
        let names: Vec<String> = self.news.reroute.iter().cloned().collect();
        for fingerprint in names {
            let Some(held) = self.held.get_mut(&fingerprint) else {
                continue;
            };
            let mut routes = Vec::new();
            if held.alert.firing().is_some() {
                for at in routes_of(&setup, &held.alert.labels, now) {
                    let route = &setup.routes[at];
                    let labels = group::labels_of(route, &held.alert.labels);
                    routes.push((at, group::key(route, &labels)));
                }
            }
            let before = std::mem::replace(&mut held.routes, routes.clone());
            let tellable = held.tellable(now) && !held.is_good();
            let priority = held.alert.priority;
            if held.again == Some(MessageKind::WindowOver) {
                self.urge(&fingerprint, true);
            }
            self.leave_groups(&before, &fingerprint);
            for (at, key) in routes {
                self.join(
                    &setup.routes[at],
                    key,
                    &fingerprint,
                    tellable,
                    priority,
                    now,
                );
            }
        }
    }

    /// Puts an alert into a group, which is made if need be.
    fn join(
        &mut self,
        route: &Route,
        key: String,
        fingerprint: &str,
        tellable: bool,
        priority: Priority,
        now: Timestamp,
    ) {
        if !self.groups.contains_key(&key) {
            if !tellable {
                return;
            }
            let labels = group::labels_of(route, &self.held[fingerprint].alert.labels);
            self.restore_group(group::begin(route, labels, now));
            self.news.groups.insert(key.clone());
        }
        let circle = self.groups.get_mut(&key).expect("it was made just now");
        if !circle.members.insert(fingerprint.to_owned()) || !tellable || !circle.group.flushed {
            return;
        }
        // Whatever is more urgent than all that was told must not wait for the next regular look.
        let soon = later(now, route.group_wait);
        let known = circle
            .group
            .told
            .values()
            .flat_map(|told| told.firing.keys());
        let mut known = known
            .filter_map(|name| self.held.get(name))
            .filter(|held| !held.is_good())
            .map(|held| held.alert.priority);
        if priority <= Priority::P2 && soon < circle.group.next_at && known.all(|p| priority < p) {
            self.tick_at(&key, soon);
        }
    }

    /// Sets when a group is looked at next.
    fn tick_at(&mut self, key: &str, at: Timestamp) {
        let Some(circle) = self.groups.get_mut(key) else {
            return;
        };
        self.ticks.remove(&(circle.group.next_at, key.to_owned()));
        circle.group.next_at = at;
        self.ticks.insert((at, key.to_owned()));
    }

    /// Climbs ladders: begins those of alerts that may be told, stops the others, and tells the next steps.
    pub(super) fn climb(&mut self, now: Timestamp) {
        let setup = self.setup.clone();
        let names: Vec<String> = self.news.reroute.iter().cloned().collect();
        for fingerprint in names {
            let Some(held) = self.held.get_mut(&fingerprint) else {
                continue;
            };
            if held.is_good() && held.tellable(now) {
                continue;
            }
            let policy_of = |at: &usize| setup.routes.get(*at)?.policy.as_deref();
            let policies: Vec<(usize, &str)> = held
                .routes
                .iter()
                .filter_map(|(at, _)| Some((*at, policy_of(at)?)))
                .collect();
            let stands = held.alert.handling.escalation.clone();
            let Some((_, policy)) = policies.first().filter(|_| held.tellable(now)) else {
                held.ladders.clear();
                if stands.is_some() {
                    self.handle(&fingerprint, Happened::Ladder(None), None, now);
                }
                continue;
            };
            let same = stands.filter(|ladder| ladder.policy == *policy);
            let mut ladder = same.unwrap_or_else(|| {
                held.climbed_at = now;
                held.ladders.clear();
                Escalation {
                    policy: (*policy).to_owned(),
                    started_at: now,
                    step: 0,
                    rounds: 0,
                }
            });
            held.ladders
                .retain(|at, _| policies.iter().any(|(other, _)| other == at));
            for (at, name) in &policies {
                let rungs = || {
                    let ladder_of = Ladder::find(&setup, name);
                    ladder_of
                        .map(|steps| steps.rungs(ladder.started_at))
                        .unwrap_or_default()
                };
                held.ladders.entry(*at).or_insert_with(rungs);
            }
            let from = std::mem::replace(&mut held.climbed_at, now);
            let new = |rung: &&crate::group::ladder::Rung| rung.at > from && rung.at <= now;
            let climbed = held.ladders.values().flatten().any(|rung| new(&rung));
            if climbed {
                held.again.get_or_insert(MessageKind::Escalation);
                held.climbed_from = from;
            }
            let highest = held.ladders.get(&policies[0].0);
            let highest = highest.into_iter().flatten().filter(|rung| rung.at <= now);
            if let Some(rung) = highest.max_by_key(|rung| (rung.round, rung.step)) {
                (ladder.rounds, ladder.step) = (rung.round, rung.step);
            }
            self.handle(&fingerprint, Happened::Ladder(Some(ladder)), None, now);
            if climbed {
                self.urge(&fingerprint, false);
            }
            self.retime(&fingerprint);
        }
    }

    /// Looks at the groups whose time has come.
    pub(super) fn flush(&mut self, now: Timestamp) {
        let due = self.ticks.iter().take_while(|(at, _)| *at <= now);
        let mut due: BTreeSet<String> = due.map(|(_, key)| key.clone()).collect();
        for (key, at_once) in std::mem::take(&mut self.news.urgent) {
            if self
                .groups
                .get(&key)
                .is_some_and(|circle| circle.group.flushed || at_once)
            {
                due.insert(key);
            }
        }
        let mut meant = Meant::new();
        for key in due {
            self.look(&key, &mut meant, now);
        }
    }

    /// Looks at one group: tells whoever has to be told, and sets its next time or lets it go.
    fn look(&mut self, key: &str, meant: &mut Meant, now: Timestamp) {
        let setup = self.setup.clone();
        let route = setup
            .routes
            .iter()
            .position(|route| route.name == self.groups[key].group.route);
        let (interval, repeat) = match route.map(|at| &setup.routes[at]) {
            Some(route) => (route.group_interval, route.repeat_interval),
            None => (
                setup.config.group_interval.0,
                setup.config.repeat_interval.0,
            ),
        };
        let letters = self.letters(key, route, meant, now);
        let mut told = false;
        for (name, letter) in &letters {
            let circle = &self.groups[key];
            let before = circle.group.told.get(name);
            if let Some(kind) = group::reason(before, &letter.sheet, repeat, now) {
                self.tell(key, name, letter, kind, now);
                told = true;
            }
        }
        let circle = self
            .groups
            .get_mut(key)
            .expect("nobody took it away meanwhile");
        if told {
            circle.group.sequence += 1;
        }
        let first = !std::mem::replace(&mut circle.group.flushed, true);
        let knows = circle
            .group
            .told
            .values()
            .any(|told| !told.firing.is_empty());
        let news = |held: &Held| held.tellable(now) && !held.is_good();
        let alive = |name: &String| self.held.get(name).is_some_and(news);
        let alive = knows || circle.members.iter().any(alive);
        if told || first || !alive {
            self.news.groups.insert(key.to_owned());
        }
        if alive {
            self.tick_at(key, later(now, interval));
        } else {
            let at = circle.group.next_at;
            self.ticks.remove(&(at, key.to_owned()));
            self.groups.remove(key);
        }
    }

    /// Returns what there is to tell to each recipient of a group.
    fn letters(
        &self,
        key: &str,
        route: Option<usize>,
        meant: &mut Meant,
        now: Timestamp,
    ) -> BTreeMap<String, Letter> {
        let circle = &self.groups[key];
        let mut letters = self.ends(&circle.group);
        let known = circle
            .group
            .told
            .values()
            .flat_map(|told| told.firing.keys());
        let names: BTreeSet<&String> = known.chain(&circle.members).collect();
        for fingerprint in names {
            let Some(held) = self.held.get(fingerprint).filter(|held| held.tellable(now)) else {
                continue;
            };
            let level = held.alert.firing().expect("only what fires can be told");
            let good = held.is_good();
            let steady = !good && !flapping(&held.tally, now);
            for (at, _) in &held.routes {
                for (recipient, fresh, notes) in self.recipients(held, *at, meant, now) {
                    let name = recipient.key();
                    let here = circle
                        .group
                        .told
                        .get(&name)
                        .is_some_and(|told| told.firing.contains_key(fingerprint));
                    let elsewhere = || self.knows(held, &name, key);
                    if !here
                        && (good
                            || route != Some(*at)
                            || !circle.members.contains(fingerprint)
                            || elsewhere())
                    {
                        continue;
                    }
                    let letter = letters.entry(name).or_default();
                    letter.recipient = recipient;
                    letter.sheet.flapping &= !steady;
                    letter.sheet.open.insert(fingerprint.clone(), level);
                    let again = held
                        .again
                        .filter(|kind| *kind != MessageKind::Escalation || fresh);
                    letter.sheet.again = stronger(letter.sheet.again, again);
                    for note in notes {
                        if !letter.notes.contains(&note) {
                            letter.notes.push(note);
                        }
                    }
                }
            }
        }
        letters
    }

    /// Returns which alerts each recipient of a group believes to fire and that are over.
    fn ends(&self, group: &Group) -> BTreeMap<String, Letter> {
        let fires = |name: &str| {
            let held = self.held.get(name);
            held.is_some_and(|held| held.alert.firing().is_some())
        };
        let letters = group.told.iter().map(|(name, told)| {
            let over = told.firing.keys().filter(|name| !fires(name));
            let letter = Letter {
                recipient: told.recipient.clone(),
                sheet: Sheet {
                    over: over.cloned().collect(),
                    ..Sheet::default()
                },
                notes: Vec::new(),
            };
            (name.clone(), letter)
        });
        letters.collect()
    }

    /// Says whether a recipient knows of an alert by another group.
    fn knows(&self, held: &Held, recipient: &str, key: &str) -> bool {
        held.told_in
            .iter()
            .filter(|other| *other != key)
            .any(|other| {
                let told = self
                    .groups
                    .get(other)
                    .and_then(|circle| circle.group.told.get(recipient));
                told.is_some_and(|told| told.firing.contains_key(&held.alert.fingerprint))
            })
    }

    /// Returns who is told of an alert by a route now, whether the ladder has reached them just now, and notes.
    fn recipients(
        &self,
        held: &Held,
        at: usize,
        meant: &mut Meant,
        now: Timestamp,
    ) -> Vec<(Recipient, bool, Vec<String>)> {
        let mut all: Vec<(Recipient, bool, Vec<String>)> = Vec::new();
        let mut add = |names: &Vec<String>, fresh: bool| {
            if !meant.contains_key(names) {
                meant.insert(names.clone(), recipient::find(&self.setup, names, now));
            }
            let found = &meant[names];
            for recipient in &found.recipients {
                match all.iter_mut().find(|(other, ..)| other == recipient) {
                    Some((_, already, _)) => *already |= fresh,
                    None => all.push((recipient.clone(), fresh, found.notes.clone())),
                }
            }
        };
        let route = &self.setup.routes[at];
        let policy = route.policy.as_ref();
        let Some(policy) =
            policy.and_then(|name| self.setup.config.policies.iter().find(|p| p.name == *name))
        else {
            add(&route.notify, false);
            return all;
        };
        for rung in held
            .ladders
            .get(&at)
            .into_iter()
            .flatten()
            .filter(|rung| rung.at <= held.climbed_at)
        {
            if let Some(step) = policy.steps.get(rung.step) {
                let fresh =
                    held.again == Some(MessageKind::Escalation) && rung.at > held.climbed_from;
                add(&step.notify, fresh);
            }
        }
        all
    }

    /// Makes one message, and notes what its recipient knows from now on.
    fn tell(&mut self, key: &str, name: &str, letter: &Letter, kind: MessageKind, now: Timestamp) {
        let circle = &self.groups[key];
        let before = circle.group.told.get(name);
        let mut known = group::know(before, &letter.sheet, now);
        known.recipient = letter.recipient.clone();
        let news: Vec<String> = known
            .firing
            .iter()
            .filter(|(name, level)| before.and_then(|told| told.firing.get(*name)) != Some(level))
            .map(|(name, _)| name.clone())
            .chain(letter.sheet.over.iter().cloned())
            .collect();
        let message = self.message(&circle.group, letter, kind, &known.firing, now);
        for fingerprint in &letter.sheet.over {
            // It may still be known to others of this group: looked up below.
            self.news.reroute.insert(fingerprint.clone());
        }
        for fingerprint in known.firing.keys() {
            if let Some(held) = self.held.get_mut(fingerprint) {
                held.told_in.insert(key.to_owned());
            }
        }
        let circle = self.groups.get_mut(key).expect("it is there");
        circle.group.told.insert(name.to_owned(), known);
        for fingerprint in &letter.sheet.over {
            let told = |told: &Told| told.firing.contains_key(fingerprint);
            let known = circle.group.told.values().any(told);
            if let Some(held) = self.held.get_mut(fingerprint).filter(|_| !known) {
                held.told_in.remove(key);
            }
        }
        self.posted.post(&message, news);
        self.news.changes.messages.push(message);
    }

    /// Puts a message into words.
    fn message(
        &self,
        group: &Group,
        letter: &Letter,
        kind: MessageKind,
        firing: &BTreeMap<String, Level>,
        now: Timestamp,
    ) -> Message {
        let over = &letter.sheet.over;
        let alerts = self.sorted(firing.keys().chain(over));
        let words = alerts.iter().take(notice::NOTICES_MAX).enumerate();
        let words = words.map(|(at, alert)| {
            let besides = (at < notice::WHOLE_MAX).then(|| self.besides(alert));
            notice::notice(alert, &self.setup.config, besides, now)
        });
        let notices: Vec<Notice> = words.collect();
        let incident = alerts.iter().find_map(|alert| alert.incident);
        let urgency = alerts.iter().map(|alert| alert.priority).min();
        let (firing_count, resolved) = (firing.len(), over.len());
        let begun = format!("{}", group.created_at.as_nanosecond());
        let recipient = letter.recipient.key();
        let sequence = group.sequence + 1;
        Message {
            key: identity(
                "message",
                &group.key,
                Some(&recipient),
                &format!("{begun} {sequence}"),
            ),
            thread: identity("thread", &group.key, None, &begun),
            sequence,
            kind,
            recipient: letter.recipient.clone(),
            created_at: now,
            priority: urgency.unwrap_or(Priority::P4),
            level: firing.values().copied().max().unwrap_or(Level::Ok),
            route: group.route.clone(),
            group_labels: group.labels.clone(),
            common_labels: notice::common(alerts.iter().map(|alert| &alert.labels)),
            subject: notice::subject(kind, &notices, firing_count, resolved),
            left_out: (firing_count + resolved).saturating_sub(notices.len()),
            firing: firing_count,
            resolved,
            link: match incident {
                Some(id) => notice::link(&self.setup.config, &format!("/incidents/{id}")),
                None => notices.first().and_then(|notice| notice.link.clone()),
            },
            notices,
            incident,
            notes: letter.notes.clone(),
        }
    }

    /// Returns alerts: those that are bad before those that are good and may come back, before those that are over; the
    /// most urgent first.
    fn sorted<'a>(&'a self, names: impl Iterator<Item = &'a String>) -> Vec<&'a Alert> {
        let alerts = names.filter_map(|name| self.held.get(name));
        let mut alerts: Vec<&Alert> = alerts.map(|held| &*held.alert).collect();
        alerts.sort_by_key(|alert| {
            let (level, over) = (Reverse(alert.firing()), alert.firing().is_none());
            let good = alert.condition.good_since().is_some();
            (over, good, alert.priority, level, alert.opened_at)
        });
        alerts
    }

    /// Returns what is told of an alert besides itself.
    pub(super) fn besides(&self, alert: &Alert) -> Besides {
        let held = self.held.get(&alert.fingerprint);
        let quiet = held.into_iter().flat_map(|held| &held.explains);
        let quiet = quiet.filter_map(|name| self.held.get(name));
        let over = alert.firing().is_none();
        Besides {
            causes: if over {
                Vec::new()
            } else {
                (self.causes)(&alert.finding.check)
            },
            runbook: held.and_then(|held| held.rule.runbook.clone()),
            mutes: quiet.map(|held| notice::name(&held.alert)).collect(),
            past: self.past.get(&alert.fingerprint).filter(|_| !over).copied(),
        }
    }
}

/// Returns the more telling of two reasons.
fn stronger(one: Option<MessageKind>, other: Option<MessageKind>) -> Option<MessageKind> {
    let weight = |kind: &MessageKind| match kind {
        MessageKind::WindowOver => 2,
        MessageKind::Escalation => 1,
        _ => 0,
    };
    one.into_iter().chain(other).max_by_key(weight)
}
