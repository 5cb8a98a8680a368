//! The terminal dashboard: draws the present of the estate and moves through it by keys.
//!
//! It asks no server, judges nothing and changes nothing: what it shows is put into [`Live`] by whoever runs it.

mod draw;
mod memory;
mod screen;
mod state;
mod table;
#[cfg(test)]
mod tests;
mod words;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pawang_core::Timestamp;
use pawang_store::live::Live;
use ratatui::crossterm::event::{self, Event, KeyEventKind};

use memory::Memory;
use state::{Flow, State};

/// How long a key may wait for its effect, at most.
const TICK: Duration = Duration::from_millis(100);

/// What the dashboard needs to know.
pub struct Options<'a> {
    /// Where the facts come from, for the header: `daemon` or `direct`.
    pub source: &'a str,
    /// The instance to begin with; the fleet when there are several and none is named.
    pub instance: Option<String>,
    /// The clock; only the binary has one.
    pub now: fn() -> Timestamp,
    /// Set by a signal: the terminal is given back and the dashboard ends.
    pub stop: &'a AtomicBool,
}

/// Runs the dashboard on the terminal until a person leaves it or `stop` is set; the terminal is always given back.
///
/// # Errors
/// The terminal refuses.
pub fn run(live: &Arc<Live>, options: &Options<'_>) -> io::Result<()> {
    let mut terminal = ratatui::try_init()?;
    let result = watch(&mut terminal, live, options);
    ratatui::try_restore()?;
    result
}

fn watch(
    terminal: &mut ratatui::DefaultTerminal,
    live: &Live,
    options: &Options<'_>,
) -> io::Result<()> {
    let mut state = State::new(options.instance.clone());
    let mut memory = Memory::default();
    let mut changes = live.watch();
    let mut stale = true;
    while !options.stop.load(Ordering::Relaxed) {
        if changes.has_changed().unwrap_or(false) && !state.paused {
            changes.mark_unchanged();
            memory.see(live.instances());
            state.settle(&memory);
            stale = true;
        }
        // Ages grow also when nothing else changes.
        if stale || state.clock_moved((options.now)()) {
            let (now, source) = ((options.now)(), options.source);
            terminal.draw(|frame| draw::draw(frame, &mut state, &memory, source, now))?;
            stale = false;
        }
        if event::poll(TICK)? {
            match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => {
                    if state.press(key, &memory) == Flow::Leave {
                        return Ok(());
                    }
                    stale = true;
                }
                Event::Resize(..) => stale = true,
                _ => {}
            }
        }
    }
    Ok(())
}
