//! The screens: each turns what is known into a table.

mod activity;
mod blocking;
mod findings;
mod fleet;
mod queries;
mod replication;
mod tables;
mod waits;

use pawang_core::{Level, Missing, Timestamp};

use crate::memory::{Memory, Seen};
use crate::table::Table;

/// The screens in the order of their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Screen {
    /// All instances.
    Fleet,
    /// What the checks found.
    Findings,
    /// Sessions.
    Activity,
    /// Who waits for whom.
    Blocking,
    /// What sessions wait for.
    Waits,
    /// Statements by time.
    Queries,
    /// Tables by activity.
    Tables,
    /// Standbys and slots.
    Replication,
}

impl Screen {
    /// Every screen.
    pub(crate) const ALL: [Screen; 8] = [
        Screen::Fleet,
        Screen::Findings,
        Screen::Activity,
        Screen::Blocking,
        Screen::Waits,
        Screen::Queries,
        Screen::Tables,
        Screen::Replication,
    ];

    /// Returns the word on its tab.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Screen::Fleet => "Fleet",
            Screen::Findings => "Findings",
            Screen::Activity => "Activity",
            Screen::Blocking => "Blocking",
            Screen::Waits => "Waits",
            Screen::Queries => "Queries",
            Screen::Tables => "Tables",
            Screen::Replication => "Repl",
        }
    }

    /// Returns the shortest command that goes there.
    pub(crate) fn command(self) -> &'static str {
        match self {
            Screen::Fleet => "fleet",
            Screen::Findings => "find",
            Screen::Activity => "act",
            Screen::Blocking => "blk",
            Screen::Waits => "wait",
            Screen::Queries => "query",
            Screen::Tables => "table",
            Screen::Replication => "repl",
        }
    }

    /// Says whether a word means this screen: its command, or the beginning of its title of three letters and more.
    pub(crate) fn answers_to(self, word: &str) -> bool {
        let word = word.to_lowercase();
        let title = self.title().to_lowercase();
        word == self.command()
            || (word.len() >= 3 && (title.starts_with(&word) || word.starts_with(&title)))
    }

    /// Returns the next screen, the first after the last.
    pub(crate) fn next(self) -> Screen {
        let here = Screen::ALL.iter().position(|screen| *screen == self);
        Screen::ALL[here.map_or(0, |here| (here + 1) % Screen::ALL.len())]
    }

    /// Returns what the screen shows.
    pub(crate) fn table(self, seen: Option<&Seen>, memory: &Memory, now: Timestamp) -> Table {
        if self == Screen::Fleet {
            return fleet::table(memory, now);
        }
        let Some(seen) = seen else {
            return Table {
                empty: "choose an instance: 1, then Enter".to_owned(),
                ..Table::default()
            };
        };
        match self {
            Screen::Fleet => unreachable!("it was answered above"),
            Screen::Findings => findings::table(seen, now),
            Screen::Activity => activity::table(seen, now),
            Screen::Blocking => blocking::table(seen),
            Screen::Waits => waits::table(seen),
            Screen::Queries => queries::table(seen),
            Screen::Tables => tables::table(seen, now),
            Screen::Replication => replication::table(seen),
        }
    }
}

/// Returns the glyph of a level, for eyes that see no colours.
pub(crate) fn glyph(level: Level) -> &'static str {
    match level {
        Level::Critical => "!!",
        Level::Warning => "! ",
        Level::Unknown => "? ",
        Level::Info => "i ",
        Level::Ok => ". ",
    }
}

/// Returns why a screen has nothing to show, and what to do about it.
fn why(missing: Option<&Missing>, what: &str) -> String {
    match missing {
        None => format!("{what}: not asked yet"),
        Some(Missing::NotApplicable(why)) => format!("{what}: {why}"),
        Some(Missing::Blind(blind)) => {
            format!(
                "{what}: not seen: {}\n\n{}",
                blind.sentence(),
                blind.remedy()
            )
        }
    }
}
