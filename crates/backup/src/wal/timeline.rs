//! History files: from which timelines a timeline comes, and which of them holds a position on the way to it.

use std::collections::BTreeMap;
use std::fmt;

use pawang_core::Lsn;

use super::Timeline;

/// More ancestors than a cluster ever has; a file with more is no history.
const SWITCHES_MAX: usize = 100_000;

/// A timeline with its ancestors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The timeline itself.
    pub timeline: Timeline,
    /// Where each ancestor was left for the next one, oldest first.
    pub switches: Vec<Switch>,
}

/// Where an ancestor was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// The ancestor.
    pub timeline: Timeline,
    /// The first position that is not its own any more.
    pub at: Lsn,
    /// Why, in the server's words.
    pub reason: String,
}

/// A stretch of WAL that one timeline holds on the way to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Who holds it.
    pub timeline: Timeline,
    /// Its first position.
    pub from: Lsn,
    /// The position behind it; without one it has no end.
    pub to: Option<Lsn>,
}

/// A text is no history of the timeline.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the history of timeline {timeline}: {problem}")]
pub struct ParseHistoryError {
    /// Whose history it should be.
    pub timeline: Timeline,
    /// What is wrong.
    pub problem: String,
}

impl History {
    /// Returns the history of a timeline without ancestors, which has no file.
    pub fn without_ancestors(timeline: Timeline) -> History {
        History {
            timeline,
            switches: Vec::new(),
        }
    }

    /// Reads a history file. Its numbers of timelines are decimal, those of file names hexadecimal.
    ///
    /// # Errors
    /// A line is not `number, position, reason`, or the numbers do not grow up to `timeline`.
    pub fn parse(timeline: Timeline, text: &str) -> Result<History, ParseHistoryError> {
        let wrong = |problem: String| ParseHistoryError { timeline, problem };
        let mut switches: Vec<Switch> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim_start();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let switch = parse_line(line)
                .ok_or_else(|| wrong(format!("line {number} is no switch of timelines")))?;
            let grows = switches
                .last()
                .is_none_or(|last| last.timeline < switch.timeline && last.at <= switch.at);
            if !grows || switches.len() >= SWITCHES_MAX {
                return Err(wrong(format!(
                    "line {number} does not follow the one before"
                )));
            }
            switches.push(switch);
        }
        match switches.last() {
            None => Err(wrong("it names no ancestor".to_owned())),
            Some(last) if last.timeline >= timeline => {
                Err(wrong(format!("it names ancestor {}", last.timeline.0)))
            }
            Some(_) => Ok(History { timeline, switches }),
        }
    }

    /// Returns the timelines on the way, oldest first, with what each of them holds.
    pub fn spans(&self) -> Vec<Span> {
        let mut from = Lsn(0);
        let mut spans = Vec::with_capacity(self.switches.len() + 1);
        for switch in &self.switches {
            spans.push(Span {
                timeline: switch.timeline,
                from,
                to: Some(switch.at),
            });
            from = switch.at;
        }
        spans.push(Span {
            timeline: self.timeline,
            from,
            to: None,
        });
        spans
    }

    /// Returns which timeline holds the byte at a position on the way to this one.
    pub fn holder(&self, position: Lsn) -> Timeline {
        self.switches
            .iter()
            .find(|switch| position < switch.at)
            .map_or(self.timeline, |switch| switch.timeline)
    }

    /// Tells whether a timeline is this one or on the way to it.
    pub fn includes(&self, timeline: Timeline) -> bool {
        timeline == self.timeline || self.left(timeline).is_some()
    }

    /// Returns where an ancestor was left; `None` for the timeline itself and for others.
    pub fn left(&self, ancestor: Timeline) -> Option<Lsn> {
        self.switches
            .iter()
            .find(|switch| switch.timeline == ancestor)
            .map(|switch| switch.at)
    }

    /// Returns the first position that is the timeline's own.
    pub fn begin(&self) -> Lsn {
        self.switches.last().map_or(Lsn(0), |switch| switch.at)
    }
}

/// The histories that a repository knows, by timeline.
pub type Histories = BTreeMap<Timeline, History>;

fn parse_line(line: &str) -> Option<Switch> {
    let (timeline, rest) = line.split_once(char::is_whitespace)?;
    let rest = rest.trim_start();
    let (at, reason) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let timeline: u32 = timeline.parse().ok()?;
    (timeline > 0).then_some(())?;
    Some(Switch {
        timeline: Timeline(timeline),
        at: at.parse().ok()?,
        reason: reason.trim_end().to_owned(),
    })
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for switch in &self.switches {
            writeln!(f, "{}\t{}\t{}", switch.timeline.0, switch.at, switch.reason)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lsn(text: &str) -> Lsn {
        text.parse().unwrap()
    }

    #[test]
    fn a_file_of_the_server_is_read() {
        let text = "1\t0/3000148\tno recovery target specified\n\n# by hand\n  \n\
                    2\t0/5000000\tafter LSN 0/4FFFF88\n11\tA/70000A0\tno recovery target specified\n";
        let history = History::parse(Timeline(12), text).unwrap();
        assert_eq!(history.switches[2].timeline, Timeline(0xB));
        assert_eq!(history.holder(lsn("0/3000147")), Timeline(1));
        assert_eq!(history.holder(lsn("0/3000148")), Timeline(2));
        assert_eq!(history.holder(lsn("9/0")), Timeline(11));
        assert_eq!(history.holder(lsn("A/70000A0")), Timeline(12));
        assert_eq!(history.begin(), lsn("A/70000A0"));
        assert_eq!(history.left(Timeline(2)), Some(lsn("0/5000000")));
        assert!(history.includes(Timeline(12)) && !history.includes(Timeline(3)));
    }

    #[test]
    fn what_is_no_history_is_refused() {
        for text in [
            "",
            "# nothing\n",
            "1\n",
            "1\tx\treason\n",
            "A\t0/3000000\treason\n",
            "0\t0/3000000\treason\n",
            "1\t0/3000000\tr\n1\t0/4000000\tr\n",
            "1\t0/3000000\tr\n2\t0/2000000\tr\n",
            "3\t0/3000000\tof the timeline itself\n",
            "<html>\n",
        ] {
            assert!(History::parse(Timeline(3), text).is_err(), "{text:?}");
        }
    }

    fn histories() -> impl Strategy<Value = History> {
        let switches = proptest::collection::btree_map(1u32..1000, 0u64..1 << 40, 1..8);
        switches.prop_map(|switches| {
            let mut positions: Vec<u64> = switches.values().copied().collect();
            positions.sort_unstable();
            let last = *switches.keys().last().unwrap();
            let switches = switches.keys().zip(positions);
            History {
                timeline: Timeline(last + 1),
                switches: switches
                    .map(|(timeline, at)| Switch {
                        timeline: Timeline(*timeline),
                        at: Lsn(at),
                        reason: "no recovery target specified".to_owned(),
                    })
                    .collect(),
            }
        })
    }

    proptest! {
        #[test]
        fn written_and_read_it_is_the_same(history in histories()) {
            prop_assert_eq!(History::parse(history.timeline, &history.to_string()), Ok(history));
        }

        #[test]
        fn each_position_is_held_by_the_one_whose_span_it_is_in(history in histories(), position in 0u64..1 << 41) {
            let holders: Vec<Span> = history
                .spans()
                .into_iter()
                .filter(|span| span.from.0 <= position && span.to.is_none_or(|to| position < to.0))
                .collect();
            prop_assert_eq!(holders.len(), 1);
            prop_assert_eq!(holders[0].timeline, history.holder(Lsn(position)));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,200}") {
            let _ = History::parse(Timeline(7), &text);
        }
    }
}
