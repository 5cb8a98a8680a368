//! What people ask for, and what comes of it.

use std::time::Duration;

use pawang_core::alert::{
    Acknowledgement, Alert, Changes, Done, Draft, Matcher, Operator, Order, Request, Silence,
    Snooze, Window,
};
use pawang_core::{Kind, Report, Timestamp};

use super::Book;
use super::quiet::{FINGERPRINT, means};
use crate::handling::Happened;
use crate::incident::Opening;
use crate::matcher::Matchers;
use crate::notice::{clock, name};
use crate::span::{later, since};
use crate::window::Ready;
use pawang_config::schedule::Schedule;

/// Longest time that anything may be kept quiet.
const QUIET_MAX: Duration = Duration::from_secs(366 * 86_400);
/// Silences, and windows added by commands, at a time.
const QUIETS_MAX: usize = 10_000;
/// Alerts named in one order.
const NAMED_MAX: usize = 1_000;
/// Longest note or reason, in characters.
const NOTE_MAX: usize = 2_000;
/// Longest name of a window, in characters.
const NAME_MAX: usize = 100;
/// Alerts that are named when a prefix means several.
const MEANT_MAX: usize = 5;

impl Book {
    /// Does what somebody asks for.
    ///
    /// # Errors
    /// It cannot be done: no such alert, no end, matches everything without saying so.
    pub fn order(&mut self, order: &Order, now: Timestamp) -> Result<(Done, Changes), Report> {
        self.mend_clock(now);
        let by = order.by.as_str();
        let done = match &order.request {
            Request::Acknowledge {
                alerts,
                until,
                note,
            } => self.acknowledge(alerts, *until, note, by, now),
            Request::Unacknowledge { alerts } => self.unacknowledge(alerts, by, now),
            Request::Snooze {
                alerts,
                until,
                note,
            } => self.snooze(alerts, *until, note, by, now),
            Request::Mute {
                alert,
                until,
                reason,
            } => self.mute_one(alert, *until, reason, by, now),
            Request::Unmute { alert } => self.unmute(alert, by, now),
            Request::AddSilence {
                draft,
                starts_at,
                ends_at,
            } => {
                let starts_at = starts_at.unwrap_or(now);
                self.add_silence(draft, starts_at, *ends_at, by, now)
            }
            Request::ExpireSilence { silence } => self.expire_silence(*silence, by, now),
            Request::AddWindow {
                draft,
                schedule,
                name,
            } => self.add_window(draft, schedule, name.as_deref(), by, now),
            Request::RemoveWindow { window } => self.remove_window(window, now),
            Request::OpenIncident {
                title,
                priority,
                instances,
                alerts,
            } => {
                let opening = Opening {
                    title,
                    priority: *priority,
                    instances,
                    alerts: &[],
                    by,
                };
                self.open_incident(opening, alerts, now)
            }
            Request::NoteIncident { incident, text } => {
                self.note_incident(*incident, text, by, now)
            }
            Request::CloseIncident { incident, review } => {
                self.close_incident(*incident, review, by, now)
            }
        }?;
        Ok((done, self.settle(now)))
    }

    /// Returns the alerts that matchers mean.
    ///
    /// # Errors
    /// A matcher cannot be used, such as a regular expression that is wrong.
    pub fn matching(&self, matchers: &[Matcher]) -> Result<Vec<std::sync::Arc<Alert>>, Report> {
        let matchers = ready(matchers)?;
        let meant = self.held.values().filter(|held| !held.is_nothing());
        let meant = meant.filter(|held| means(&matchers, &held.alert));
        Ok(meant.map(|held| held.alert.clone()).collect())
    }

    fn acknowledge(
        &mut self,
        alerts: &[String],
        until: Option<Timestamp>,
        note: &str,
        by: &str,
        now: Timestamp,
    ) -> Result<Done, Report> {
        let names = self.all(alerts)?;
        let note = bounded("note", note)?;
        let until = until.unwrap_or_else(|| later(now, self.setup.config.acknowledge_for.0));
        ends("acknowledgement", until, now)?;
        for fingerprint in &names {
            let alert = &self.held[fingerprint].alert;
            let Some(level) = alert.firing() else {
                return Err(refuse(format!(
                    "alert \"{}\" does not fire, so there is nothing to acknowledge",
                    name(alert)
                ))
                .with_detail(format!("it is {}", alert.condition.as_str()))
                .with_hint("pawang alert list"));
            };
            let acknowledgement = Acknowledgement {
                by: by.to_owned(),
                at: now,
                until: Some(until),
                note: note.clone(),
                level,
            };
            self.handle(
                fingerprint,
                Happened::Acknowledge(acknowledgement),
                Some(by),
                now,
            );
        }
        let what = self.words(&names);
        let until = clock(until, now);
        Ok(Done {
            text: format!("acknowledged {what} until {until}"),
            undo: Some(format!("pawang alert unack {}", names.join(" "))),
            objects: names,
        })
    }

    fn unacknowledge(
        &mut self,
        alerts: &[String],
        by: &str,
        now: Timestamp,
    ) -> Result<Done, Report> {
        let names = self.all(alerts)?;
        for fingerprint in &names {
            let alert = &self.held[fingerprint].alert;
            if alert.handling.acknowledged.is_none() {
                return Err(
                    refuse(format!("nobody has acknowledged alert \"{}\"", name(alert)))
                        .with_hint(format!("pawang alert show {fingerprint}")),
                );
            }
        }
        for fingerprint in &names {
            self.handle(fingerprint, Happened::Unacknowledge, Some(by), now);
        }
        Ok(Done {
            text: format!("took back the acknowledgement of {}", self.words(&names)),
            undo: Some(format!("pawang alert ack {}", names.join(" "))),
            objects: names,
        })
    }

    fn snooze(
        &mut self,
        alerts: &[String],
        until: Timestamp,
        note: &str,
        by: &str,
        now: Timestamp,
    ) -> Result<Done, Report> {
        let names = self.all(alerts)?;
        let note = bounded("note", note)?;
        ends("snooze", until, now)?;
        for fingerprint in &names {
            let snooze = Snooze {
                by: by.to_owned(),
                at: now,
                until,
                note: note.clone(),
            };
            self.handle(fingerprint, Happened::Snooze(snooze), Some(by), now);
        }
        Ok(Done {
            text: format!("snoozed {} until {}", self.words(&names), clock(until, now)),
            undo: Some(format!("pawang alert unmute {}", names.join(" "))),
            objects: names,
        })
    }

    fn mute_one(
        &mut self,
        alert: &str,
        until: Timestamp,
        reason: &str,
        by: &str,
        now: Timestamp,
    ) -> Result<Done, Report> {
        let fingerprint = self.one(alert)?;
        let reason = bounded("reason", reason)?;
        let silence = self.keep_silence(own_matchers(&fingerprint), now, until, reason, by, now)?;
        let what = name(&self.held[&fingerprint].alert);
        Ok(Done {
            text: format!(
                "muted \"{what}\" until {} (silence {silence})",
                clock(until, now)
            ),
            undo: Some(format!("pawang alert unmute {fingerprint}")),
            objects: vec![fingerprint],
        })
    }

    fn unmute(&mut self, alert: &str, by: &str, now: Timestamp) -> Result<Done, Report> {
        let fingerprint = self.one(alert)?;
        let own = own_matchers(&fingerprint);
        let silences = self.quiet.silences.iter().map(|(silence, _)| silence);
        let silences: Vec<i64> = silences
            .filter(|silence| silence.matchers == own)
            .map(|silence| silence.id)
            .collect();
        let handling = &self.held[&fingerprint].alert.handling;
        if silences.is_empty() && handling.snoozed.is_none() {
            let detail = self.quiet_by(&handling.mutes);
            let what = name(&self.held[&fingerprint].alert);
            let report = refuse(format!(
                "alert \"{what}\" is neither muted by itself nor snoozed"
            ));
            return Err(if detail.is_empty() {
                report.with_hint("pawang silence list")
            } else {
                report
                    .with_detail(format!("it is quiet by {detail}"))
                    .with_hint("pawang silence list")
            });
        }
        for id in silences {
            self.end_silence(id, by, now);
        }
        self.handle(&fingerprint, Happened::Wake, Some(by), now);
        Ok(Done {
            text: format!("\"{}\" is told again", name(&self.held[&fingerprint].alert)),
            undo: Some(format!(
                "pawang alert mute {fingerprint} --for 2h --reason ..."
            )),
            objects: vec![fingerprint],
        })
    }

    fn add_silence(
        &mut self,
        draft: &Draft,
        starts_at: Timestamp,
        ends_at: Timestamp,
        by: &str,
        now: Timestamp,
    ) -> Result<Done, Report> {
        let reason = bounded("reason", &draft.reason)?;
        meant("silence", draft)?;
        let meant = self.matching(&draft.matchers)?.len();
        let id = self.keep_silence(draft.matchers.clone(), starts_at, ends_at, reason, by, now)?;
        let from = if starts_at > now {
            format!("from {} ", clock(starts_at, now))
        } else {
            String::new()
        };
        Ok(Done {
            text: format!(
                "silence {id} holds {from}until {}; {} now",
                clock(ends_at, now),
                count(meant, "alert matches", "alerts match")
            ),
            undo: Some(format!("pawang silence expire {id}")),
            objects: vec![id.to_string()],
        })
    }

    /// Keeps a silence, and returns its number.
    fn keep_silence(
        &mut self,
        matchers: Vec<Matcher>,
        starts_at: Timestamp,
        ends_at: Timestamp,
        reason: String,
        by: &str,
        now: Timestamp,
    ) -> Result<i64, Report> {
        ends("silence", ends_at, now)?;
        if ends_at <= starts_at {
            return Err(wrong("a silence cannot end before it begins")
                .with_hint("give an end after the begin"));
        }
        if self.quiet.silences.len() >= QUIETS_MAX {
            return Err(refuse(format!("there are {QUIETS_MAX} silences already"))
                .with_hint("pawang silence list, then pawang silence expire"));
        }
        let ready = ready(&matchers)?;
        self.last_silence += 1;
        let silence = Silence {
            id: self.last_silence,
            matchers,
            starts_at: starts_at.max(now),
            ends_at,
            by: by.to_owned(),
            reason,
            created_at: now,
            expired: None,
        };
        self.news.changes.silences.push(silence.clone());
        self.quiet.silences.push((silence, ready));
        self.quiet.stir();
        Ok(self.last_silence)
    }

    fn expire_silence(&mut self, id: i64, by: &str, now: Timestamp) -> Result<Done, Report> {
        let Some(silence) = self.end_silence(id, by, now) else {
            return Err(
                wrong(format!("there is no silence {id} that holds or will hold"))
                    .with_hint("pawang silence list"),
            );
        };
        let matchers: Vec<String> = silence
            .matchers
            .iter()
            .map(|matcher| shell(&matcher.to_string()))
            .collect();
        let left = since(now, silence.ends_at).as_secs().div_ceil(60).max(1);
        let everything = if matchers.is_empty() {
            "--everything"
        } else {
            ""
        };
        let what = format!("{}{everything}", matchers.join(" "));
        Ok(Done {
            text: format!("ended silence {id}"),
            undo: Some(format!(
                "pawang silence add {what} --for {left}min --reason ..."
            )),
            objects: vec![id.to_string()],
        })
    }

    /// Ends a silence, if there is such a one.
    fn end_silence(&mut self, id: i64, by: &str, now: Timestamp) -> Option<Silence> {
        let silences = self.quiet.silences.iter_mut().map(|(silence, _)| silence);
        let silence = silences.into_iter().find(|silence| {
            silence.id == id && silence.expired.is_none() && silence.ends_at > now
        })?;
        silence.expired = Some((now, by.to_owned()));
        let silence = silence.clone();
        self.news.changes.silences.push(silence.clone());
        self.quiet.stir();
        Some(silence)
    }

    fn add_window(
        &mut self,
        draft: &Draft,
        schedule: &str,
        name: Option<&str>,
        by: &str,
        now: Timestamp,
    ) -> Result<Done, Report> {
        let reason = bounded("reason", &draft.reason)?;
        meant("window", draft)?;
        ready(&draft.matchers)?;
        if self.quiet.windows.len() >= QUIETS_MAX {
            return Err(refuse(format!("there are {QUIETS_MAX} windows already"))
                .with_hint("pawang window list"));
        }
        let unread = |error: String| {
            wrong(format!("cannot read schedule \"{schedule}\""))
                .with_detail(error)
                .with_hint("pawang window add \"sun 02:00-06:00 Asia/Jakarta\" --reason ...")
        };
        let schedule = self.in_zone(schedule, now).map_err(unread)?;
        let name = match name {
            Some(name) => name.to_owned(),
            None => format!("window-{}", self.last_window + 1),
        };
        if name.is_empty() || name.chars().count() > NAME_MAX || name.chars().any(char::is_control)
        {
            return Err(wrong(format!(
                "\"{}\" cannot be the name of a window",
                name.escape_debug()
            ))
            .with_detail(format!("a name is one line of 1 to {NAME_MAX} characters"))
            .with_hint("give another --name"));
        }
        if self.windows().any(|ready| ready.window.name == name) {
            return Err(wrong(format!("there is a window \"{name}\" already"))
                .with_hint("give another --name"));
        }
        let window = Window {
            name: name.clone(),
            schedule,
            matchers: draft.matchers.clone(),
            by: by.to_owned(),
            reason,
            created_at: now,
            removed_at: None,
        };
        let ready = Ready::new(window.clone()).map_err(unread)?;
        if ready.over(now) {
            return Err(wrong(format!(
                "window \"{name}\" would never be open: \"{}\" is over",
                window.schedule
            ))
            .with_hint("give a time in the future"));
        }
        let next = match ready.open(now) {
            Some(time) => format!("it is open until {}", clock(time.to, now)),
            None => {
                let next = ready.next_change(now).map(|at| clock(at, now));
                format!("it opens {}", next.unwrap_or_else(|| "later".to_owned()))
            }
        };
        self.last_window += 1;
        self.quiet.windows.push(ready);
        self.quiet.stir();
        self.news.changes.windows.push(window);
        Ok(Done {
            text: format!("added window \"{name}\"; {next}"),
            undo: Some(format!("pawang window remove {}", shell(&name))),
            objects: vec![name],
        })
    }

    /// Returns a schedule with its time zone and without `now`.
    fn in_zone(&self, schedule: &str, now: Timestamp) -> Result<String, String> {
        let zone = &self.setup.zone;
        let text = Schedule::anchor(schedule, now, zone)?;
        let (here, there) = (Schedule::parse_in(&text, zone)?, Schedule::parse(&text)?);
        let name = here
            .zone()
            .iana_name()
            .filter(|_| here.zone() != there.zone());
        Ok(match name {
            Some(name) => format!("{text} {name}"),
            None => text,
        })
    }

    fn remove_window(&mut self, name: &str, now: Timestamp) -> Result<Done, Report> {
        let mut windows = self.quiet.windows.iter_mut().map(|ready| &mut ready.window);
        let found = windows.find(|window| window.name == name && window.removed_at.is_none());
        let Some(window) = found else {
            let of_file = self
                .setup
                .windows
                .iter()
                .any(|ready| ready.window.name == name);
            return Err(if of_file {
                refuse(format!("window \"{name}\" is one of pawang.toml"))
                    .with_hint("take it out of pawang.toml, then pawang daemon reload")
            } else {
                wrong(format!("there is no window \"{name}\"")).with_hint("pawang window list")
            });
        };
        window.removed_at = Some(now);
        let window = window.clone();
        let undo = format!(
            "pawang window add {} --name {} --reason {}",
            shell(&window.schedule),
            shell(name),
            shell(&window.reason)
        );
        let matchers: String = window
            .matchers
            .iter()
            .map(|matcher| format!(" {}", shell(&matcher.to_string())))
            .collect();
        self.news.changes.windows.push(window);
        self.quiet.stir();
        Ok(Done {
            text: format!("removed window \"{name}\"; alerts that still fire are told now"),
            undo: Some(format!("{undo}{matchers}")),
            objects: vec![name.to_owned()],
        })
    }

    fn open_incident(
        &mut self,
        opening: Opening<'_>,
        alerts: &[String],
        now: Timestamp,
    ) -> Result<Done, Report> {
        bounded("title", opening.title)?;
        let names = if alerts.is_empty() {
            Vec::new()
        } else {
            self.all(alerts)?
        };
        let held: Vec<&Alert> = names.iter().map(|name| &*self.held[name].alert).collect();
        let opening = Opening {
            alerts: &held,
            ..opening
        };
        let changes = &mut self.news.changes;
        let id = self
            .incidents
            .open(opening, &self.setup.config.response, now, changes);
        for fingerprint in names {
            if let Some(held) = self.held.get_mut(&fingerprint) {
                std::sync::Arc::make_mut(&mut held.alert).incident = Some(id);
                self.news.dirty.insert(fingerprint);
            }
        }
        Ok(Done {
            text: format!("opened incident {id}"),
            undo: Some(format!("pawang incident close {id} --review ...")),
            objects: vec![id.to_string()],
        })
    }

    fn note_incident(
        &mut self,
        id: i64,
        text: &str,
        by: &str,
        now: Timestamp,
    ) -> Result<Done, Report> {
        let text = bounded("note", text)?;
        if text.is_empty() {
            let hint = format!("pawang incident note {id} \"standby dwh-2 was promoted\"");
            return Err(wrong("the note is empty").with_hint(hint));
        }
        let changes = &mut self.news.changes;
        self.incidents
            .note(id, by, &text, now, changes)
            .map_err(no_incident)?;
        Ok(Done {
            text: format!("noted in incident {id}"),
            undo: None,
            objects: vec![id.to_string()],
        })
    }

    fn close_incident(
        &mut self,
        id: i64,
        review: &str,
        by: &str,
        now: Timestamp,
    ) -> Result<Done, Report> {
        let review = bounded("review", review)?;
        let fires = |alert: &Alert| alert.incident == Some(id) && alert.firing().is_some();
        let firing = self.held.values().filter(|held| fires(&held.alert)).count();
        let still = match firing {
            0 => String::new(),
            1 => " while one of its alerts still fires".to_owned(),
            several => format!(" while {several} of its alerts still fire"),
        };
        let changes = &mut self.news.changes;
        self.incidents
            .close(id, by, &review, now, changes)
            .map_err(no_incident)?;
        Ok(Done {
            text: format!("closed incident {id}{still}; its report: pawang incident report {id}"),
            undo: None,
            objects: vec![id.to_string()],
        })
    }

    /// Returns the fingerprints that are meant by several beginnings, each once.
    fn all(&self, names: &[String]) -> Result<Vec<String>, Report> {
        if names.is_empty() {
            return Err(wrong("no alert is named").with_hint("pawang alert list"));
        }
        if names.len() > NAMED_MAX {
            return Err(wrong(format!(
                "{} alerts are named, and at most {NAMED_MAX} can be",
                names.len()
            ))
            .with_hint("pawang silence add with matchers means many at once"));
        }
        let mut all = names
            .iter()
            .map(|name| self.one(name))
            .collect::<Result<Vec<_>, _>>()?;
        all.sort();
        all.dedup();
        Ok(all)
    }

    /// Returns the fingerprint that a beginning of it means.
    fn one(&self, beginning: &str) -> Result<String, Report> {
        let none =
            || wrong(format!("there is no alert \"{beginning}\"")).with_hint("pawang alert list");
        if beginning.is_empty() {
            return Err(none());
        }
        let from = self.held.range(beginning.to_owned()..);
        let mut meant = from
            .take_while(|(name, _)| name.starts_with(beginning))
            .filter(|(_, held)| !held.is_nothing());
        let Some((first, held)) = meant.next() else {
            return Err(none());
        };
        let others: Vec<String> = meant
            .take(MEANT_MAX)
            .map(|(other, held)| format!("{other} ({})", name(&held.alert)))
            .collect();
        if first == beginning || others.is_empty() {
            return Ok(first.clone());
        }
        let first = format!("{first} ({})", name(&held.alert));
        Err(wrong(format!("\"{beginning}\" means more than one alert"))
            .with_detail(format!("{first}, {}", others.join(", ")))
            .with_hint("write more of it"))
    }

    /// Returns alerts in words: the name of one, the number of several.
    fn words(&self, names: &[String]) -> String {
        match names {
            [one] => format!("\"{}\"", name(&self.held[one].alert)),
            more => format!("{} alerts", more.len()),
        }
    }
}

/// Returns the matchers of a silence that keeps one alert quiet.
fn own_matchers(fingerprint: &str) -> Vec<Matcher> {
    vec![Matcher {
        label: FINGERPRINT.to_owned(),
        operator: Operator::Equal,
        value: fingerprint.to_owned(),
    }]
}

fn ready(matchers: &[Matcher]) -> Result<Matchers, Report> {
    Matchers::new(matchers.to_vec()).map_err(|error| {
        let texts: Vec<String> = matchers.iter().map(ToString::to_string).collect();
        wrong(format!("cannot use matchers {}", texts.join(" ")))
            .with_detail(error)
            .with_hint("pawang silence add --help")
    })
}

/// Refuses what would keep everything quiet without saying so.
fn meant(what: &str, draft: &Draft) -> Result<(), Report> {
    if draft.everything || !ready(&draft.matchers)?.match_everything() {
        return Ok(());
    }
    Err(refuse(format!("the {what} would keep every alert quiet"))
        .with_detail("its matchers hold for anything")
        .with_hint(format!(
            "pawang {what} add --everything says that this is meant"
        )))
}

/// Refuses what is over already, or ends in more than a year.
fn ends(what: &str, until: Timestamp, now: Timestamp) -> Result<(), Report> {
    if until <= now {
        return Err(wrong(format!(
            "the {what} would end before it begins: {until} is past"
        ))
        .with_hint("give an end in the future, such as --for 2h"));
    }
    if since(now, until) > QUIET_MAX {
        return Err(wrong(format!("the {what} would last longer than a year"))
            .with_hint("give an end within a year, such as --for 30d"));
    }
    Ok(())
}

/// Returns a word as a shell takes it.
fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

fn bounded(what: &str, text: &str) -> Result<String, Report> {
    let text = text.trim();
    let needed = what != "note";
    if needed && text.is_empty() {
        return Err(
            wrong(format!("the {what} is empty")).with_hint(format!("say it with --{what}"))
        );
    }
    if text.chars().count() > NOTE_MAX {
        return Err(
            wrong(format!("the {what} is longer than {NOTE_MAX} characters"))
                .with_hint("write the long story into the incident: pawang incident note"),
        );
    }
    Ok(text.to_owned())
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn no_incident(error: String) -> Report {
    wrong(error).with_hint("pawang incident list")
}

fn wrong(primary: impl Into<String>) -> Report {
    Report::new(Kind::Usage, primary)
}

fn refuse(primary: impl Into<String>) -> Report {
    Report::new(Kind::Refused, primary)
}
