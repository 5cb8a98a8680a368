//! A program that runs while it is measured: processor time, memory, and its end.

use std::fs;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// The kernel counts processor time of processes in these, whatever its own clock is.
pub(crate) const TICKS_PER_SECOND: f64 = 100.0;
/// A program that is asked to end has so long.
const END_MAX: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A running program; it is ended when this is dropped.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts a program in the background.
    pub(crate) fn start(command: &mut Command) -> Result<Process, String> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|error| format!("could not start {command:?}: {error}"))?;
        Ok(Process { child })
    }

    /// Starts a program in the background, and returns what it writes.
    pub(crate) fn start_piped(command: &mut Command) -> Result<(Process, ChildStdout), String> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|error| format!("could not start {command:?}: {error}"))?;
        let output = child.stdout.take();
        let process = Process { child };
        Ok((process, output.ok_or("the program has no output")?))
    }

    /// Returns the processor time that it has used by now, in seconds.
    pub(crate) fn cpu_seconds(&self) -> Result<f64, String> {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = fs::read_to_string(&path)
            .map_err(|error| format!("could not read \"{path}\": {error}"))?;
        // The fields follow the program's name, which may itself contain parentheses and blanks.
        let fields = stat.rsplit_once(") ").map(|(_, fields)| fields);
        let times = fields.unwrap_or_default().split(' ').skip(11).take(2);
        let ticks: f64 = times.filter_map(|field| field.parse::<f64>().ok()).sum();
        Ok(ticks / TICKS_PER_SECOND)
    }

    /// Returns the memory that it has in RAM now, and the most that it had, in megabytes.
    pub(crate) fn memory_mb(&self) -> Result<(f64, f64), String> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(&path)
            .map_err(|error| format!("could not read \"{path}\": {error}"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
            kilobytes.unwrap_or(0.0_f64) / 1024.0
        };
        Ok((field("VmRSS:"), field("VmHWM:")))
    }

    /// Asks it to end and waits until it has.
    pub(crate) fn end(mut self) -> Result<(), String> {
        let id = self.child.id().to_string();
        crate::run::quiet(crate::run::command("kill").arg(id))?;
        let begin = Instant::now();
        while begin.elapsed() < END_MAX {
            if self
                .child
                .try_wait()
                .map_err(|error| error.to_string())?
                .is_some()
            {
                return Ok(());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Err("the program did not end when it was asked to".to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
