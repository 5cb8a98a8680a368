//! `pawang logs follow` of a file that grows: from the writing of a line to its output, and what that costs.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use memchr::memmem::Finder;

use super::Profile;
use super::corpus::PREFIX;
use crate::bench::process::Process;
use crate::bench::serve::{Goal, Part};

/// What is written a second.
const BYTES_PER_SECOND: u64 = 5_000_000;
/// A program that is not optimised does not keep up with that.
const BYTES_PER_SECOND_DEV: u64 = 300_000;
/// The writer writes so often.
const EVERY: Duration = Duration::from_millis(10);
/// Every so many writes end with a line whose way is measured.
const MARK_EVERY: u64 = 10;
/// What such a line says, before its number.
const MARK: &str = "bench mark ";
/// Marks may need so long to come out after the last one was written.
const LATE_MAX: Duration = Duration::from_secs(10);
/// The program has so long to find the file and to show what was there before.
const START_MAX: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What one way of following came to.
struct Followed {
    name: &'static str,
    /// Seconds from writing to output of each mark, in order of size.
    delays: Vec<f64>,
    marks: usize,
    bytes: u64,
    seconds: f64,
    /// Processor time of the program while the writer wrote, in seconds.
    cpu: f64,
    peak_mb: f64,
}

impl Followed {
    fn quantile(&self, share: f64) -> f64 {
        let last = self.delays.len().saturating_sub(1);
        let place = (last as f64 * share).ceil() as usize;
        self.delays.get(place).copied().unwrap_or(f64::NAN) * 1e3
    }

    /// Returns percent of one core.
    fn core_share(&self) -> f64 {
        100.0 * self.cpu / self.seconds
    }
}

/// How fast and for how long the writer writes.
#[derive(Clone, Copy)]
struct Pace {
    lasting: Duration,
    bytes_per_second: u64,
}

/// When marks were written, and when they came out, by their number.
#[derive(Default)]
struct Marks {
    written: Vec<Instant>,
    shown: Vec<(usize, Instant)>,
}

/// Follows a file in each of the ways that people do.
pub(super) fn measure(
    binary: &Path,
    profile: Profile,
    capture: &Path,
    seconds: u64,
) -> Result<Part, String> {
    let pace = Pace {
        lasting: Duration::from_secs(seconds),
        bytes_per_second: match profile {
            Profile::Release => BYTES_PER_SECOND,
            Profile::Dev => BYTES_PER_SECOND_DEV,
        },
    };
    let text = fs::read(capture)
        .map_err(|error| format!("could not read \"{}\": {error}", capture.display()))?;
    let work = tempfile::tempdir().map_err(|error| error.to_string())?;
    let ways: [(&'static str, &[&str]); 2] = [
        ("every record", &[]),
        ("errors alone (`--grep`)", &["--grep", MARK]),
    ];
    let mut all = Vec::new();
    for (number, (name, words)) in ways.into_iter().enumerate() {
        println!("following, {name}, {seconds} s");
        let file = work.path().join(format!("postgresql-{number}.log"));
        all.push(one(binary, name, words, (&text, &file), pace)?);
    }
    Ok(Part {
        title: "Logs: following",
        text: table(&all, pace.bytes_per_second),
        goals: goals(&all),
    })
}

fn one(
    binary: &Path,
    name: &'static str,
    words: &[&str],
    (text, file): (&[u8], &PathBuf),
    pace: Pace,
) -> Result<Followed, String> {
    let told = |error: std::io::Error| format!("could not write \"{}\": {error}", file.display());
    let mut written = File::create(file).map_err(told)?;
    // What is there before tells the prefix.
    let chunk = usize::try_from(pace.bytes_per_second / 10).unwrap_or(usize::MAX);
    let head = whole_lines(text, 0, chunk);
    written.write_all(head).map_err(told)?;
    let mark = mark_of(text)?;
    let mut command = Command::new(binary);
    command.args([
        "logs", "follow", "--json", "--lines", "1", "--prefix", PREFIX,
    ]);
    command.args(words).arg(file);
    let (process, output) = Process::start_piped(&mut command)?;
    let marks = Arc::new(Mutex::new(Marks::default()));
    let reader = {
        let marks = Arc::clone(&marks);
        std::thread::spawn(move || read(output, &marks))
    };
    // The first mark says that the program follows.
    write_mark(&mut written, &mark, &marks).map_err(told)?;
    wait(&marks, 1, START_MAX)?;
    let cpu = process.cpu_seconds()?;
    let begin = Instant::now();
    let bytes = write(&mut written, text, &mark, &marks, pace).map_err(told)?;
    let elapsed = begin.elapsed().as_secs_f64();
    let cpu = process.cpu_seconds()? - cpu;
    let count = lock(&marks).written.len();
    wait(&marks, count, LATE_MAX)?;
    let (_, peak_mb) = process.memory_mb()?;
    process.end()?;
    reader
        .join()
        .map_err(|_| "the reader of the output ended early".to_owned())?;
    let marks = lock(&marks);
    let mut delays: Vec<f64> = marks
        .shown
        .iter()
        .skip(1)
        .filter_map(|(number, at)| {
            Some(
                at.duration_since(*marks.written.get(*number)?)
                    .as_secs_f64(),
            )
        })
        .collect();
    delays.sort_by(f64::total_cmp);
    Ok(Followed {
        name,
        delays,
        marks: count - 1,
        bytes,
        seconds: elapsed,
        cpu,
        peak_mb,
    })
}

fn lock(marks: &Mutex<Marks>) -> std::sync::MutexGuard<'_, Marks> {
    marks.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until so many marks came out.
fn wait(marks: &Mutex<Marks>, count: usize, most: Duration) -> Result<(), String> {
    let begin = Instant::now();
    loop {
        let shown = lock(marks).shown.len();
        if shown >= count {
            return Ok(());
        }
        if begin.elapsed() > most {
            return Err(format!(
                "{shown} of {count} marked lines came out within {most:?}"
            ));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Returns whole lines of the text from one place on, about so many bytes.
fn whole_lines(text: &[u8], from: usize, bytes: usize) -> &[u8] {
    let end = text.len().min(from + bytes);
    let rest = memchr::memchr(b'\n', &text[end..]).map_or(text.len(), |found| end + found + 1);
    &text[from..rest]
}

/// Returns an error of the capture up to its message: what a marked line begins with.
fn mark_of(text: &[u8]) -> Result<Vec<u8>, String> {
    const ERROR: &[u8] = b"ERROR:  ";
    let found = Finder::new(ERROR)
        .find(text)
        .ok_or("the capture holds no error")?;
    let begin = memchr::memrchr(b'\n', &text[..found]).map_or(0, |end| end + 1);
    Ok(text[begin..found + ERROR.len()].to_vec())
}

fn write_mark(file: &mut File, mark: &[u8], marks: &Mutex<Marks>) -> std::io::Result<u64> {
    let mut line = mark.to_vec();
    let mut marks = lock(marks);
    line.extend_from_slice(format!("{MARK}{}\n", marks.written.len()).as_bytes());
    // Before the write, so that no delay is told too short.
    marks.written.push(Instant::now());
    drop(marks);
    file.write_all(&line)?;
    Ok(line.len() as u64)
}

/// Writes the capture again and again at the rate of the bench; returns how many bytes.
fn write(
    file: &mut File,
    text: &[u8],
    mark: &[u8],
    marks: &Mutex<Marks>,
    pace: Pace,
) -> std::io::Result<u64> {
    let begin = Instant::now();
    let (mut written, mut from) = (0, 0);
    for turn in 1_u64.. {
        let due = EVERY * u32::try_from(turn).unwrap_or(u32::MAX);
        if due > pace.lasting {
            break;
        }
        std::thread::sleep(due.saturating_sub(begin.elapsed()));
        let owed = due.as_micros() as u64 * pace.bytes_per_second / 1_000_000;
        let bytes = usize::try_from(owed.saturating_sub(written)).unwrap_or(usize::MAX);
        let lines = whole_lines(text, from, bytes);
        file.write_all(lines)?;
        written += lines.len() as u64;
        from += lines.len();
        if from >= text.len() {
            from = 0;
        }
        if turn.is_multiple_of(MARK_EVERY) {
            written += write_mark(file, mark, marks)?;
        }
    }
    Ok(written)
}

/// Notes when marks come out, until the program ends.
fn read(output: impl std::io::Read, marks: &Mutex<Marks>) {
    let finder = Finder::new(MARK);
    let mut lines = BufReader::with_capacity(1 << 20, output);
    let mut line = Vec::new();
    while lines
        .read_until(b'\n', &mut line)
        .is_ok_and(|bytes| bytes > 0)
    {
        if let Some(found) = finder.find(&line) {
            let digits = line[found + MARK.len()..]
                .iter()
                .take_while(|byte| byte.is_ascii_digit());
            let number = digits.fold(0_usize, |number, digit| {
                number * 10 + usize::from(digit - b'0')
            });
            lock(marks).shown.push((number, Instant::now()));
        }
        line.clear();
    }
}

fn table(all: &[Followed], bytes_per_second: u64) -> String {
    let mut text = format!(
        "A writer appends the log of a server that logs every statement to a file, {} MB a second in writes of 10 ms, and every {} ms an error with a \
         number. `pawang logs follow --json` shows the file into a pipe. Measured is the time from before an error is written until its line \
         is read from the pipe, and the processor time of the program meanwhile.\n\n\
         | shown | MB/s | errors | p50 ms | p99 ms | longest ms | of a core | peak MB |\n|---|---:|---:|---:|---:|---:|---:|---:|\n",
        bytes_per_second as f64 / 1e6,
        EVERY.as_millis() as u64 * MARK_EVERY
    );
    for followed in all {
        let _ = writeln!(
            text,
            "| {} | {:.1} | {} of {} | {:.0} | {:.0} | {:.0} | {:.1} % | {:.0} |",
            followed.name,
            followed.bytes as f64 / 1e6 / followed.seconds,
            followed.delays.len(),
            followed.marks,
            followed.quantile(0.5),
            followed.quantile(0.99),
            followed.quantile(1.0),
            followed.core_share(),
            followed.peak_mb
        );
    }
    text
}

fn goals(all: &[Followed]) -> Vec<Goal> {
    let worst = |value: fn(&Followed) -> f64| all.iter().map(value).fold(0.0, f64::max);
    let delay = worst(|followed| followed.quantile(0.99));
    let mut goals = vec![Goal {
        text: "from line to output, p99: 500 ms (moonshot 100)",
        reached: format!("{delay:.0} ms"),
        met: delay <= 500.0,
    }];
    // Who waits for errors does not have every statement written out.
    if let Some(errors) = all.last() {
        let share = errors.core_share();
        goals.push(Goal {
            text: "following for errors alone at 5 MB/s: 2 % of a core (goal of the design 1 %)",
            reached: format!("{share:.1} %"),
            met: share < 2.0,
        });
    }
    goals
}
