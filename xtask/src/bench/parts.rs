//! A benchmark of several parts: those that are asked for are measured, shown, and with `--write` written into the page.

use std::path::Path;
use std::time::Instant;

use super::page;
use super::serve::{Part, section};
use crate::run;
use crate::system::{Need, provide};
use crate::test::build_release;

/// Measures one part, given the program.
type Measure = fn(&str, &Path) -> Result<Part, String>;

/// Measures and shows what is asked for, all parts when nothing is.
pub(super) fn run(
    duty: &str,
    words: &[&str],
    parts: &[&str],
    needs: &[Need],
    measure: Measure,
) -> Result<(), String> {
    let write = words.contains(&"--write");
    let asked = words.iter().filter(|word| **word != "--write");
    if let Some(word) = asked.clone().find(|word| !parts.contains(word)) {
        return Err(format!(
            "there is no part \"{word}\": use one of {}",
            parts.join(", ")
        ));
    }
    let all = asked.clone().next().is_none();
    provide(needs)?;
    let binary = build_release()?;
    let begin = Instant::now();
    let version = run::quiet(run::command(&binary.to_string_lossy()).arg("--version"))?;
    for part in parts.iter().filter(|part| all || words.contains(part)) {
        let about = page::circumstances("15", version.trim());
        let measured = measure(part, &binary)?;
        let (title, section) = section(&format!("{duty} {part}"), &about, &measured);
        println!("\n## {title}\n\n{section}");
        if write {
            page::write(title, &section)?;
        }
    }
    println!("({:.0} s)", begin.elapsed().as_secs_f64());
    Ok(())
}
