//! `cargo xtask bench maintain`: how near the estimates of bloat are to the truth, and what they cost.

mod bloat;

use super::page;
use super::serve::section;
use crate::run;
use crate::system::{Need, provide};
use crate::test::build_release;

const PARTS: [&str; 1] = ["bloat"];

/// Measures and shows what is asked for, all parts when nothing is; with `--write` into the page too.
pub(crate) fn run(words: &[&str]) -> Result<(), String> {
    let write = words.contains(&"--write");
    let asked = words.iter().filter(|word| **word != "--write");
    if let Some(word) = asked.clone().find(|word| !PARTS.contains(word)) {
        return Err(format!(
            "there is no part \"{word}\": use one of {}",
            PARTS.join(", ")
        ));
    }
    provide(&[Need::Server])?;
    let binary = build_release()?;
    let version = run::quiet(run::command(&binary.to_string_lossy()).arg("--version"))?;
    let about = page::circumstances("15", version.trim());
    let measured = run::runtime()?.block_on(bloat::measure(&binary))?;
    let (title, section) = section("maintain bloat", &about, &measured);
    println!("\n## {title}\n\n{section}");
    if write {
        page::write(title, &section)?;
    }
    Ok(())
}
