//! Ladders: which steps of a policy are reached, and when the next one is.

use pawang_config::PolicyConfig;
use pawang_core::Timestamp;

use crate::setup::Setup;
use crate::span::{later, since};
use pawang_config::schedule::Schedule;

/// Times within hours that are looked at for one step; one that takes longer is never reached.
const OCCURRENCES_MAX: usize = 512;
/// How far into the future a step is looked for.
const FUTURE: std::time::Duration = std::time::Duration::from_secs(366 * 86_400);

/// A policy with its hours.
#[derive(Clone, Copy, Debug)]
pub struct Ladder<'a> {
    /// The policy.
    pub policy: &'a PolicyConfig,
    /// The hours of each step.
    pub hours: &'a [Option<Schedule>],
    /// The least time between two rounds.
    pub pause: std::time::Duration,
}

/// A step of a round, and when it is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rung {
    /// When.
    pub at: Timestamp,
    /// The round; 0 is the first.
    pub round: u32,
    /// The step; 0 is the first.
    pub step: usize,
}

impl Ladder<'_> {
    /// Returns the ladder of a policy by its name.
    pub fn find<'a>(setup: &'a Setup, name: &str) -> Option<Ladder<'a>> {
        let at = setup
            .config
            .policies
            .iter()
            .position(|policy| policy.name == name)?;
        Some(Ladder {
            policy: &setup.config.policies[at],
            hours: setup.step_hours.get(at).map_or(&[], Vec::as_slice),
            pause: setup.config.group_interval.0,
        })
    }

    /// Returns all rungs of a ladder that was begun at a time, the earliest first; steps whose hours never come are left
    /// out.
    pub fn rungs(&self, started_at: Timestamp) -> Vec<Rung> {
        let mut rungs = Vec::new();
        let mut begin = started_at;
        for round in 0..=self.policy.repeat {
            let mut end = begin;
            for (step, config) in self.policy.steps.iter().enumerate() {
                let hours = self.hours.get(step).and_then(Option::as_ref);
                if let Some(at) = advance(begin, config.after.0, hours) {
                    end = end.max(at);
                    rungs.push(Rung { at, round, step });
                }
            }
            begin = later(end, self.rest());
        }
        rungs.sort();
        rungs
    }

    /// Returns how long nobody is told anything at the end of a round: as long as between its last two steps.
    fn rest(&self) -> std::time::Duration {
        let after = |back: usize| {
            let at = self.policy.steps.len().checked_sub(back)?;
            Some(self.policy.steps[at].after.0)
        };
        let last = after(1).unwrap_or_default();
        last.saturating_sub(after(2).unwrap_or_default())
            .max(self.pause)
    }
}

/// Returns when so much time has gone by, counting only time within hours.
fn advance(
    from: Timestamp,
    length: std::time::Duration,
    hours: Option<&Schedule>,
) -> Option<Timestamp> {
    let Some(hours) = hours else {
        return Some(later(from, length));
    };
    let mut left = length;
    for occurrence in hours.between(from, later(from, FUTURE), OCCURRENCES_MAX) {
        let begin = occurrence.from.max(from);
        let span = since(begin, occurrence.to);
        if left < span {
            return Some(later(begin, left));
        }
        left -= span;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = r#"
        [[alert.channel]]
        name = "mail"
        exec.command = ["true"]
        [[alert.policy]]
        name = "duty"
        [[alert.policy.step]]
        after = "0 s"
        notify = ["mail"]
        [[alert.policy.step]]
        after = "30 min"
        notify = ["mail"]
        hours = "mon-fri 08:00-17:00 Asia/Jakarta"
    "#;

    #[test]
    fn a_step_counts_only_time_within_its_hours() {
        let config = pawang_config::parse(POLICY, "pawang.toml").expect("the file is right");
        let setup = Setup::compile(&config).expect("so is what it says");
        let ladder = Ladder::find(&setup, "duty").expect("it is there");
        let check = |begun: &str, expected: &str| {
            let at = |text: &str| text.parse::<Timestamp>().expect("a time of the tests");
            let rungs = ladder.rungs(at(begun));
            let times: Vec<(usize, Timestamp)> = rungs.iter().map(|r| (r.step, r.at)).collect();
            assert_eq!(times, [(0, at(begun)), (1, at(expected))], "{begun}");
        };
        // 2026-11-16 is a Monday; Jakarta is seven hours ahead.
        check("2026-11-16T02:00:00Z", "2026-11-16T02:30:00Z");
        check("2026-11-15T20:00:00Z", "2026-11-16T01:30:00Z");
        check("2026-11-16T09:50:00Z", "2026-11-17T01:20:00Z");
        // Half past four on Friday: the half hour is over when the day is.
        check("2026-11-20T09:30:00Z", "2026-11-23T01:00:00Z");
        check("2026-11-21T12:00:00Z", "2026-11-23T01:30:00Z");
    }

    #[test]
    fn a_step_whose_hours_never_come_is_left_out() {
        let text = POLICY.replace("mon-fri 08:00-17:00", "2020-01-01 08:00-17:00");
        let config = pawang_config::parse(&text, "pawang.toml").expect("the file is right");
        let setup = Setup::compile(&config).expect("so is what it says");
        let ladder = Ladder::find(&setup, "duty").expect("it is there");
        let begun = "2026-11-16T02:00:00Z".parse().expect("a time");
        assert_eq!(ladder.rungs(begun).len(), 1);
    }
}
