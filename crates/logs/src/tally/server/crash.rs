//! Crashes: what died, of what, what was known before, and when the server was back; joined in the order of the log.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::extract::{after, process, until};
use crate::report;
use crate::tally::processes::Known;
use crate::tally::{ShapeId, Shapes};

/// Most crashes that are kept, the latest.
const CRASHES_MAX: usize = 200;

/// Most records about memory, and PANICs, that are remembered for a crash to come.
const REMEMBERED_MAX: usize = 200;

/// How long before a crash a lack of memory may have to do with it, in microseconds.
const MEMORY_MICROS: i64 = 600 * 1_000_000;

/// What a crash is joined from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Step {
    /// A process died.
    Died(Box<Death>),
    /// A session was ended for it.
    Victim,
    /// The server accepts connections.
    Ready,
    /// Memory was short; the message.
    Memory(Box<str>),
    /// A process gave up; the message.
    Panic(u32, Box<str>),
}

/// The postmaster's words about a process that died.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Death {
    pub(super) pid: u32,
    pub(super) process: String,
    pub(super) signal: u32,
    pub(super) exit_code: u32,
    /// Windows has exceptions in place of signals.
    pub(super) exception: String,
    pub(super) shape: Option<ShapeId>,
    /// What the log had of the process.
    pub(super) known: Option<Known>,
}

/// A step and its time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) at: Option<i64>,
    pub(super) step: Step,
}

/// What the steps up to now come to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Crashes {
    crashes: VecDeque<Crash>,
    memory: VecDeque<(Option<i64>, Box<str>)>,
    panics: VecDeque<(u32, Box<str>)>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Crash {
    at: Option<i64>,
    death: Death,
    panic: Box<str>,
    memory: String,
    victims: u64,
    ready: bool,
    ready_at: Option<i64>,
}

impl Crashes {
    /// Adds one step.
    pub(super) fn step(&mut self, event: Pending) {
        let Pending { at, step } = event;
        match step {
            Step::Died(death) => self.died(at, *death),
            // Sessions end with the first process that died; those that die after it are its victims too.
            Step::Victim => {
                if let Some(crash) = self.crashes.iter_mut().rev().find(|crash| !crash.ready) {
                    crash.victims += 1;
                }
            }
            Step::Ready => {
                for crash in self
                    .crashes
                    .iter_mut()
                    .rev()
                    .take_while(|crash| !crash.ready)
                {
                    crash.ready = true;
                    crash.ready_at = at;
                }
                self.panics.clear();
            }
            Step::Memory(text) => remember(&mut self.memory, (at, text)),
            Step::Panic(pid, text) => remember(&mut self.panics, (pid, text)),
        }
    }

    fn died(&mut self, at: Option<i64>, death: Death) {
        let panic = self.panics.iter().rev().find(|(pid, _)| *pid == death.pid);
        let panic = panic.map(|(_, text)| text.clone()).unwrap_or_default();
        let memory = self.memory_before(at);
        self.crashes.push_back(Crash {
            at,
            death,
            panic,
            memory,
            victims: 0,
            ready: false,
            ready_at: None,
        });
        if self.crashes.len() > CRASHES_MAX {
            self.crashes.pop_front();
        }
    }

    /// Says how often memory was short in the time before, and the last message of it.
    fn memory_before(&self, at: Option<i64>) -> String {
        let near = |then: Option<i64>| match (then, at) {
            (Some(then), Some(at)) => at.saturating_sub(then) <= MEMORY_MICROS,
            _ => true,
        };
        let short: Vec<&str> = self
            .memory
            .iter()
            .filter(|(then, _)| near(*then))
            .map(|(_, text)| &**text)
            .collect();
        match short.last() {
            None => String::new(),
            Some(last) => format!(
                "memory was short {} in the 10 minutes before: {last}",
                match short.len() {
                    1 => "once".to_owned(),
                    REMEMBERED_MAX => format!("at least {REMEMBERED_MAX} times"),
                    times => format!("{times} times"),
                }
            ),
        }
    }

    /// Returns the crashes, earliest first.
    pub(super) fn report(&self, shapes: &Shapes) -> Vec<report::Crash> {
        let crash = |crash: &Crash| {
            let death = &crash.death;
            let known = death.known.as_ref();
            let shape = death.shape.or(known.and_then(|known| known.shape));
            report::Crash {
                at: crash.at,
                pid: death.pid,
                process: death.process.clone(),
                signal: death.signal,
                exit_code: death.exit_code,
                cause: cause(death, &crash.panic),
                statement: shape.map_or_else(String::new, |shape| shapes.text(shape).to_owned()),
                who: known.map_or_else(String::new, |known| known.who.to_string()),
                memory: crash.memory.clone(),
                victims: crash.victims,
                ready_at: crash.ready_at,
            }
        };
        self.crashes.iter().map(crash).collect()
    }
}

fn remember<T>(list: &mut VecDeque<T>, item: T) {
    list.push_back(item);
    if list.len() > REMEMBERED_MAX {
        list.pop_front();
    }
}

/// Says what a signal or an exit code means.
fn cause(death: &Death, panic: &str) -> String {
    if !panic.is_empty() {
        return format!("stopped itself after PANIC: {panic}");
    }
    if !death.exception.is_empty() {
        return format!(
            "ended by exception {}, most often a bug in the server or in an extension",
            death.exception
        );
    }
    let text = match (death.signal, death.exit_code) {
        (4, _) => {
            "an instruction that the processor does not know: a build for another processor, or JIT"
        }
        (6, _) => "stopped itself: a PANIC, or a failed assertion",
        (7 | 10, _) => {
            "memory that could not be read or backed: a disk error under mapped files, too few huge pages, a full /dev/shm"
        }
        (8, _) => "an arithmetic fault: a bug in the server or in an extension",
        (9, _) => "killed from outside, often by the kernel for memory",
        (11, _) => {
            "wrong access to memory: a bug in the server or in an extension, rarely broken memory"
        }
        (15, _) => "ended from outside with SIGTERM, past what the server expects",
        (3, _) => "ended from outside with SIGQUIT",
        (24, _) => "the limit of processor time of the operating system",
        (25, _) => "the limit of file size of the operating system",
        (0, 1) => "ended with FATAL while the server cannot do without it",
        (0, 2) => "ended by a crash of another process",
        (0, 127 | 126) => "a program that could not be run",
        (0, code) if code > 128 => "ended by a signal within a shell",
        (0, _) => "ended by itself with an exit code that the server does not expect",
        _ => "a signal from outside",
    };
    text.to_owned()
}

/// Reads `server process (PID 1) was terminated by signal 9: Killed` or `... exited with exit code 2`; none when the server goes on
/// after such an end.
pub(super) fn death(message: &[u8]) -> Option<Death> {
    /// Processes that the server restarts without a crash when they exit with 1.
    const REPLACED: [&str; 7] = [
        "server process",
        "background worker",
        "archiver process",
        "WAL receiver process",
        "autovacuum",
        "slot sync worker process",
        "WAL summarizer process",
    ];
    let name = until(message, " (PID ");
    let (pid, rest) = process(after(message, " (PID ")?)?;
    let rest = rest.strip_prefix(b") ")?;
    let mut death = Death {
        pid,
        process: crate::extract::printable(name, PROCESS_BYTES_MAX),
        signal: 0,
        exit_code: 0,
        exception: String::new(),
        shape: None,
        known: None,
    };
    if let Some(signal) = rest.strip_prefix(b"was terminated by signal ") {
        death.signal = process(signal)?.0;
    } else if let Some(text) = rest.strip_prefix(b"was terminated by exception ") {
        death.exception = crate::extract::printable(text, PROCESS_BYTES_MAX);
    } else {
        death.exit_code = process(rest.strip_prefix(b"exited with exit code ")?)?.0;
        let replaced = |kind: &&str| name.starts_with(kind.as_bytes());
        let goes_on = death.exit_code == 1 && REPLACED.iter().any(replaced);
        if death.exit_code == 0 || goes_on {
            return None;
        }
    }
    Some(death)
}

/// Longest name of a process, in bytes.
const PROCESS_BYTES_MAX: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_that_are_crashes() {
        let check = |text: &str, expected: Option<(&str, u32, u32)>| {
            let death = death(text.as_bytes());
            let death = death
                .as_ref()
                .map(|death| (death.process.as_str(), death.signal, death.exit_code));
            assert_eq!(death, expected, "{text}");
        };
        check(
            "server process (PID 24319) was terminated by signal 9: Killed",
            Some(("server process", 9, 0)),
        );
        check(
            "checkpointer process (PID 3) exited with exit code 1",
            Some(("checkpointer process", 0, 1)),
        );
        check(
            "startup process (PID 3) exited with exit code 1",
            Some(("startup process", 0, 1)),
        );
        check(
            "background worker \"logical replication launcher\" (PID 3) exited with exit code 1",
            None,
        );
        check(
            "background worker \"parallel worker\" (PID 3) was terminated by signal 11: Segmentation fault",
            Some(("background worker \"parallel worker\"", 11, 0)),
        );
        check(
            "server process (PID 3) exited with exit code 2",
            Some(("server process", 0, 2)),
        );
        check("server process (PID 3) exited with exit code 0", None);
        check(
            "server process (PID 3) was terminated by exception 0xC0000005",
            Some(("server process", 0, 0)),
        );
        check("archive command (PID x) failed", None);
    }

    #[test]
    fn signals_have_words() {
        let cause = |text: &str| cause(&death(text.as_bytes()).expect("a crash"), "");
        assert!(
            cause("server process (PID 1) was terminated by signal 9: Killed").contains("kernel")
        );
        assert!(cause("server process (PID 1) was terminated by signal 11: x").contains("bug"));
        assert!(
            cause("server process (PID 1) was terminated by signal 7: x").contains("huge pages")
        );
        assert!(cause("server process (PID 1) was terminated by signal 6: x").contains("PANIC"));
        assert!(
            cause("server process (PID 1) was terminated by exception 0xC0000005")
                .contains("0xC0000005")
        );
    }
}
