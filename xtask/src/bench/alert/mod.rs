//! `cargo xtask bench alert`: from a fault to its message, two thousand at once, and what the built-in rules miss or make up.

mod day;
mod latency;
mod load;
mod manager;
mod receiver;
mod replay;
mod storm;
mod truth;

use std::path::Path;
use std::time::Instant;

use super::page;
use super::serve::{Goal, Part, section};
use crate::run;
use crate::system::{Need, provide};
use crate::test::build_release;

const PARTS: [&str; 4] = ["latency", "storm", "truth", "day"];

/// Measures and shows what is asked for, all parts when nothing is; with `--write` into the page too.
pub(crate) fn run(words: &[&str]) -> Result<(), String> {
    let write = words.contains(&"--write");
    let asked: Vec<&str> = words
        .iter()
        .copied()
        .filter(|word| *word != "--write")
        .collect();
    if let Some(word) = asked.iter().find(|word| !PARTS.contains(word)) {
        return Err(format!(
            "there is no part \"{word}\": use one of {}",
            PARTS.join(", ")
        ));
    }
    let wanted = |part: &str| asked.is_empty() || asked.contains(&part);
    provide(&[Need::Server, Need::Alertmanager])?;
    let binary = build_release()?;
    let begin = Instant::now();
    let version = run::quiet(run::command(&binary.to_string_lossy()).arg("--version"))?;
    let about = page::circumstances("15", version.trim());
    for part in PARTS.into_iter().filter(|part| wanted(part)) {
        let measured = measure(part, &binary)?;
        let (title, section) = section(&format!("alert {part}"), &about, &measured);
        println!("\n## {title}\n\n{section}");
        if write {
            page::write(title, &section)?;
        }
    }
    println!("({:.0} s)", begin.elapsed().as_secs_f64());
    Ok(())
}

fn measure(part: &str, binary: &Path) -> Result<Part, String> {
    let runtime = run::runtime()?;
    match part {
        "latency" => runtime.block_on(latency::measure(binary)),
        "storm" => runtime.block_on(storm::measure(binary)),
        "truth" => truth::measure(),
        _ => runtime.block_on(day::measure(binary)),
    }
}
