//! Targets of whole files: which format it is, the report, compression and archives, and the state of incremental reading.

use std::io::{Cursor, Write};
use std::path::Path;

use jiff::tz::TimeZone;
use pawang_logs::choose::{self as choosing, Wish};
use pawang_logs::engine::{FileHead, Outcome, Settings, read};
use pawang_logs::format::detect::{Form, detect};
use pawang_logs::input::Input;
use pawang_logs::prefix;
use pawang_logs::render::{HTML_BYTES_MAX, Style, html, markdown, redact, text};
use pawang_logs::report::Source;
use pawang_logs::resume::{RealDisk, STEP_BYTES, Store};
use pawang_logs::tally::{Options, Tally};
use sha2::{Digest, Sha256};

use super::found::Keep;
use super::{control, place};

/// A manifest in which only the hour 0 has a tally: generation 1, no files, one hour with its generation.
const MANIFEST: [u8; 5] = [1, 0, 1, 0, 1];

/// Content that decides a share of 1, as far as sums of rates are exact.
const RATE_MAX: f64 = 1.000_001;

/// The guess of format and prefixes, and that what was chosen reads to the end.
pub(crate) fn choose(data: &[u8]) {
    let (body, [which]) = control(data);
    let form = detect(body);
    assert!(Form::ALL.contains(&form) || form == Form::Unknown);
    let guesses = prefix::detect(body);
    let rate: f64 = guesses.iter().map(|guess| guess.match_rate).sum();
    assert!((0.0..=RATE_MAX).contains(&rate), "{guesses:?}");
    let head = FileHead {
        name: "log",
        bytes: body,
        modified: Some(1_795_300_000),
        known: None,
    };
    let forms = Form::ALL.len();
    let wish = Wish {
        form: Form::ALL.get(usize::from(which) % (forms * 4)).copied(),
        ..Wish::default()
    };
    let Ok(chosen) = choosing::choose(&head, &wish) else {
        return;
    };
    assert!(
        chosen
            .match_rate
            .is_none_or(|rate| (0.0..=RATE_MAX).contains(&rate))
    );
    let mut scanner = (chosen.make)();
    let done = scanner.scan(body, 0, body.len(), true, &mut Keep::default());
    assert_eq!(done, body.len(), "{} was not scanned whole", chosen.format);
}

/// The report of a file, read in one go and in pieces, and its forms for people.
pub(crate) fn report(data: &[u8]) {
    let (body, [piece]) = control(data);
    let mut file = tempfile::NamedTempFile::new().expect("there is room for a file");
    file.write_all(body).expect("there is room in it");
    let one = outcome(Input::file(file.path()), 1, STEP_BYTES);
    let pieces = 1 + place(body.len(), piece) as u64;
    let two = outcome(Input::file(file.path()), 2, pieces);
    let options = Options::default();
    let mut report = one.tally.report(Source::default(), &options);
    let other = two.tally.report(Source::default(), &options);
    assert_eq!(report, other, "in pieces of {pieces}");
    for file in &one.source.files {
        let all = file.bytes == body.len() as u64;
        let told = file.trouble.is_some() || file.compression.is_some();
        assert!(all || told, "{file:?} of {} bytes", body.len());
    }
    report.source = one.source;
    redact(&mut report);
    let style = Style::file(TimeZone::UTC);
    let _ = (text(&report, &style, true), markdown(&report, &style));
    assert!(html(&report, "log").len() <= HTML_BYTES_MAX);
}

fn outcome(input: Input, threads: usize, piece_bytes: u64) -> Outcome {
    let wish = Wish::default();
    let settings = Settings {
        threads,
        piece_bytes,
        choose: &|head| choosing::choose(head, &wish),
    };
    read(vec![input], &settings, &Options::default()).expect("there is an input")
}

/// Compressed files and archives: what is damaged is told, and what is whole gives what went in.
pub(crate) fn input(data: &[u8]) {
    let (body, [cut, which]) = control(data);
    let plain = outcome(reader(body.to_vec()), 1, STEP_BYTES);
    let packed = if which.is_multiple_of(2) {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(body).expect("memory takes it");
        gz.finish().expect("memory takes it")
    } else {
        zstd::encode_all(body, 1).expect("memory takes it")
    };
    let unpacked = outcome(reader(packed.clone()), 1, STEP_BYTES);
    let file = |outcome: &Outcome| {
        let file = outcome.source.files.first();
        file.map(|file| (file.bytes, file.records, file.format.clone()))
    };
    let layers = plain
        .source
        .files
        .iter()
        .any(|file| file.compression.is_some());
    if !layers {
        assert_eq!(file(&plain), file(&unpacked), "compressed");
    }
    let cut = place(packed.len(), cut);
    let short = outcome(reader(packed[..cut].to_vec()), 1, STEP_BYTES);
    let told = short.source.files.iter().any(|file| file.trouble.is_some());
    // What is shorter than the mark of a compression is some bytes.
    assert!(
        told || cut == packed.len() || cut < 18,
        "cut at {cut} of {}",
        packed.len()
    );
}

fn reader(bytes: Vec<u8>) -> Input {
    Input::reader("log", Box::new(Cursor::new(bytes)))
}

/// The files of a state, with the hash that tells accidents: a manifest, or the tally of an hour.
pub(crate) fn resume(data: &[u8]) {
    let (body, [which]) = control(data);
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.path().join(name), bytes).expect("there is room for a file");
    };
    match which % 3 {
        0 => write("manifest", body),
        1 => write("manifest", &envelope(body)),
        _ => {
            write("manifest", &envelope(&MANIFEST));
            let packed = zstd::encode_all(body, 1).expect("memory takes it");
            write("hour-0-1.tally", &envelope(&packed));
        }
    }
    open(folder.path());
}

fn open(folder: &Path) {
    if let Ok(store) = Store::<Tally>::open(folder, Box::new(RealDisk), STEP_BYTES)
        && let Some(first) = store.hours().next()
    {
        let _ = store.sum(first..first.saturating_add(1));
    }
}

/// Returns content with the head that a file of the state has.
fn envelope(content: &[u8]) -> Vec<u8> {
    let mut bytes = b"PWLS".to_vec();
    bytes.extend_from_slice(&2_u32.to_le_bytes());
    bytes.extend_from_slice(&(content.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&Sha256::digest(content)[..16]);
    bytes.extend_from_slice(content);
    bytes
}
