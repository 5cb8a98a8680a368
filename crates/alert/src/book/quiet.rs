//! Silences and maintenance windows: which hold now, and when that changes.

use pawang_core::Timestamp;
use pawang_core::alert::{Alert, Mute, Silence, Window, WindowTime};

use crate::matcher::Matchers;
use crate::setup::Setup;
use crate::window::Ready;

/// Silences and windows.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    /// With their matchers made ready; those that ended are let go of.
    pub(super) silences: Vec<(Silence, Matchers)>,
    /// Windows that were added by commands.
    pub(super) windows: Vec<Ready>,
    /// What holds now.
    active: Vec<(Mute, Matchers)>,
    /// Windows that are open now.
    pub(super) open: Vec<WindowTime>,
    /// When something begins or ends; at once when something was changed.
    next_at: Option<Timestamp>,
}

impl Quiet {
    /// Begins with what was saved; what cannot be read any more is left out.
    pub(super) fn new(silences: Vec<Silence>, windows: Vec<Window>) -> Quiet {
        let silences = silences.into_iter().filter_map(|silence| {
            let matchers = Matchers::new(silence.matchers.clone()).ok()?;
            Some((silence, matchers))
        });
        Quiet {
            silences: silences.collect(),
            windows: windows
                .into_iter()
                .filter_map(|window| Ready::new(window).ok())
                .collect(),
            next_at: Some(Timestamp::MIN),
            ..Quiet::default()
        }
    }

    /// Notes that something was changed.
    pub(super) fn stir(&mut self) {
        self.next_at = Some(Timestamp::MIN);
    }

    /// Returns when something begins or ends.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.next_at
    }

    /// Looks up what holds now; says whether that may be something else than before.
    pub(super) fn refresh(&mut self, setup: &Setup, now: Timestamp) -> bool {
        if self.next_at.is_none_or(|at| at > now) {
            return false;
        }
        self.silences
            .retain(|(silence, _)| silence.expired.is_none() && silence.ends_at > now);
        self.windows
            .retain(|ready| ready.window.removed_at.is_none_or(|at| at > now));
        self.active.clear();
        self.open.clear();
        let mut next = Vec::new();
        for (silence, matchers) in &self.silences {
            if silence.active(now) {
                let mute = Mute::Silenced {
                    silence: silence.id,
                };
                self.active.push((mute, matchers.clone()));
                next.push(silence.ends_at);
            } else {
                next.push(silence.starts_at);
            }
        }
        for ready in setup.windows.iter().chain(&self.windows) {
            if let Some(time) = ready.open(now) {
                let mute = Mute::Maintenance {
                    window: ready.window.name.clone(),
                };
                self.active.push((mute, ready.matchers.clone()));
                self.open.push(time);
            }
            next.extend(ready.next_change(now));
        }
        self.next_at = next.into_iter().filter(|at| *at > now).min();
        true
    }

    /// Returns what keeps an alert quiet now.
    pub(super) fn mutes(&self, alert: &Alert) -> Vec<Mute> {
        let hold = self
            .active
            .iter()
            .filter(|(_, matchers)| means(matchers, alert));
        hold.map(|(mute, _)| mute.clone()).collect()
    }
}

/// The label by which a matcher means one alert; alerts do not carry it, so that it is told to nobody.
pub(super) const FINGERPRINT: &str = "fingerprint";

/// Says whether matchers mean an alert: its labels, and its fingerprint where they ask for that.
pub(super) fn means(matchers: &Matchers, alert: &Alert) -> bool {
    if matchers
        .matchers
        .iter()
        .all(|matcher| matcher.label != FINGERPRINT)
    {
        return matchers.hold(&alert.labels);
    }
    let mut labels = alert.labels.clone();
    labels.insert(FINGERPRINT.to_owned(), alert.fingerprint.clone());
    matchers.hold(&labels)
}
