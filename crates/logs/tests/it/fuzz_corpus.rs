//! The corpus that the fuzzer found keeps every promise, with a stable compiler and without the fuzzer.

use std::fs::File;
use std::io::Read;
use std::path::Path;

#[path = "../../fuzz/src/lib.rs"]
#[expect(
    unreachable_pub,
    reason = "the targets of the fuzzer use it as a library"
)]
mod fuzz;

/// Bytes of the kept corpus of all targets.
const CORPUS_BYTES_MAX: u64 = 300_000;

fn replay(target: &fuzz::Target) -> u64 {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let path = folder.join(format!("{}.tar.gz", target.name));
    let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let size = file.metadata().unwrap().len();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    let mut count = 0;
    for entry in archive.entries().unwrap() {
        let mut data = Vec::new();
        entry.unwrap().read_to_end(&mut data).unwrap();
        fuzz::run(target.name, &data);
        count += 1;
    }
    assert!(count > 1, "{} has no corpus", target.name);
    size
}

#[test]
fn the_kept_corpus_breaks_no_promise() {
    let size: u64 = fuzz::TARGETS.iter().map(replay).sum();
    assert!(
        size <= CORPUS_BYTES_MAX,
        "the corpus has {size} bytes: pack fewer of its files"
    );
}

#[test]
fn no_bytes_and_any_byte_break_no_promise() {
    for target in &fuzz::TARGETS {
        (target.run)(b"");
        (0..=u8::MAX).for_each(|byte| (target.run)(&[byte]));
    }
}
