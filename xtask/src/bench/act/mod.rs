//! `cargo xtask bench act`: what changing a server does to everybody else.

mod kill_guard;

use std::path::Path;
use std::time::Instant;

use super::page;
use super::serve::{Goal, Part, section};
use crate::run;
use crate::system::{Need, provide};
use crate::test::build_release;

const PARTS: [&str; 1] = ["kill-guard"];

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
    provide(&[Need::Server])?;
    let binary = build_release()?;
    let begin = Instant::now();
    let version = run::quiet(run::command(&binary.to_string_lossy()).arg("--version"))?;
    let about = page::circumstances("15", version.trim());
    for part in PARTS.into_iter().filter(|part| wanted(part)) {
        let measured = measure(part, &binary)?;
        let (title, section) = section(&format!("act {part}"), &about, &measured);
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
        "kill-guard" => runtime.block_on(kill_guard::measure(binary)),
        other => Err(format!("there is no part \"{other}\"")),
    }
}
