//! What the parsers of logs promise for any bytes, one function for each fuzz target.
//!
//! The fuzzer calls them with bytes that it makes up, and the tests of the crate with the corpus that is kept.

mod contents;
mod files;
mod found;
mod scanners;
mod texts;

/// One fuzz target.
pub struct Target {
    /// Its name, which is also that of its corpus.
    pub name: &'static str,
    /// Panics when the bytes break a promise.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: [Target; 16] = [
    target("stderr", scanners::stderr),
    target("csv", scanners::csv),
    target("json", scanners::json),
    target("syslog", scanners::syslog),
    target("journald", scanners::journald),
    target("wrapped", scanners::wrapped),
    target("pgbouncer", scanners::pgbouncer),
    target("choose", files::choose),
    target("report", files::report),
    target("plan", texts::plan),
    target("statement", texts::statement),
    target("redaction", texts::redaction),
    target("kind", contents::kind),
    target("language", contents::language),
    target("input", files::input),
    target("resume", files::resume),
];

const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run }
}

/// Runs a target on some bytes.
///
/// # Panics
/// The bytes break a promise of the parser, or there is no such target.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    let target = target.unwrap_or_else(|| panic!("there is no target \"{name}\""));
    (target.run)(data);
}

/// Cuts bytes that decide how something is done off the end of those that it is done with; there they disturb the fuzzer least.
fn control<const COUNT: usize>(data: &[u8]) -> (&[u8], [u8; COUNT]) {
    match data.split_last_chunk::<COUNT>() {
        Some((body, control)) => (body, *control),
        None => (data, [0; COUNT]),
    }
}

/// Returns the place in a text of some length that a byte stands for.
fn place(length: usize, byte: u8) -> usize {
    length * usize::from(byte) / 255
}
