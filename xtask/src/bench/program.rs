//! A program that is run to its end, and what it took.

use std::process::{Command, Stdio};
use std::time::Instant;

use super::measure::{children_cpu_ms, peak_memory_of};

/// What one run took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// Seconds on the clock.
    pub(super) wall: f64,
    /// Seconds of processor time, of all its threads and children.
    pub(super) cpu: f64,
    /// The most memory that its process had, in megabytes.
    pub(super) peak_mb: f64,
}

impl Run {
    /// Returns megabytes per second of processor time.
    pub(super) fn rate(&self, bytes: u64) -> f64 {
        bytes as f64 / 1e6 / self.cpu.max(0.01)
    }
}

/// Runs a program some times and returns the run with the least processor time.
pub(super) fn best(runs: usize, make: impl Fn() -> Command) -> Result<Run, String> {
    let mut best: Option<Run> = None;
    for _ in 0..runs {
        let run = once(&mut make())?;
        if best.is_none_or(|best| run.cpu < best.cpu) {
            best = Some(run);
        }
    }
    best.ok_or_else(|| "nothing was run".to_owned())
}

/// Runs a program once.
pub(super) fn once(command: &mut Command) -> Result<Run, String> {
    let before = children_cpu_ms(std::process::id())?;
    let begin = Instant::now();
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|error| format!("could not start {command:?}: {error}"))?;
    let (status, peak_mb) = peak_memory_of(child)?;
    let wall = begin.elapsed().as_secs_f64();
    if !status.success() {
        return Err(format!("{command:?} ended with {status}"));
    }
    let cpu = (children_cpu_ms(std::process::id())? - before) / 1e3;
    Ok(Run { wall, cpu, peak_mb })
}
