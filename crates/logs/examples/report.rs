//! Prints the report of the files of its arguments as JSON; `THREADS` and `PIECE` may be set.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "an example talks to whoever runs it"
)]

use pawang_logs::choose::{Wish, choose};
use pawang_logs::engine::{PIECE_BYTES, Settings, read};
use pawang_logs::input::Input;
use pawang_logs::tally::Options;

fn main() {
    let number = |name: &str, other: u64| {
        let set = std::env::var(name).ok();
        set.and_then(|text| text.parse().ok()).unwrap_or(other)
    };
    let inputs: Vec<Input> = std::env::args().skip(1).map(Input::file).collect();
    let wish = Wish::default();
    let settings = Settings {
        threads: usize::try_from(number("THREADS", 1)).unwrap_or(1),
        piece_bytes: number("PIECE", PIECE_BYTES),
        choose: &|head| choose(head, &wish),
    };
    let options = Options::default();
    let outcome = read(inputs, &settings, &options).expect("the files are read");
    let report = outcome.tally.report(outcome.source, &options);
    println!(
        "{}",
        serde_json::to_string_pretty(&report).expect("a report is JSON")
    );
}
