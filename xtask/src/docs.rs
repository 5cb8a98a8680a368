//! `cargo xtask docs`: writes the reference pages from the program's own definitions, or tells which are stale.

use std::fs;

use crate::run;

/// Pages that `pawang reference` prints in Markdown.
const PAGES: [&str; 7] = [
    "checks",
    "collectors",
    "metrics",
    "cli",
    "config",
    "aliases",
    "profiles",
];
const FOLDER: &str = "docs/reference";

/// Writes the pages, or with `check` only compares them.
pub(crate) fn run(check: bool) -> Result<(), String> {
    let build = ["build", "--quiet", "--locked", "--package", "pawang"];
    run::loud(&mut run::cargo(&build))?;
    let pawang = run::built("debug/pawang")?;
    let pawang = pawang.to_string_lossy();
    let folder = run::repository().join(FOLDER);
    let mut stale = Vec::new();
    for (name, words) in pages() {
        let text = run::quiet(run::command(&pawang).args(words))?;
        let path = folder.join(&name);
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            continue;
        }
        stale.push(format!("{FOLDER}/{name}"));
        if !check {
            fs::create_dir_all(&folder)
                .and_then(|()| fs::write(&path, text))
                .map_err(|error| format!("could not write \"{}\": {error}", path.display()))?;
        }
    }
    match (check, stale.is_empty()) {
        (_, true) => println!("docs: all {} pages are up to date", pages().len()),
        (false, false) => println!("docs: wrote {}", stale.join(", ")),
        (true, false) => {
            return Err(format!(
                "stale: {}\nhint: cargo xtask docs",
                stale.join("\nstale: ")
            ));
        }
    }
    Ok(())
}

/// Returns each file with the words of the command that prints it.
fn pages() -> Vec<(String, Vec<&'static str>)> {
    let mut pages: Vec<_> = PAGES
        .iter()
        .map(|page| (format!("{page}.md"), vec!["reference", page]))
        .collect();
    pages.push(("pawang.schema.json".to_owned(), vec!["config", "schema"]));
    pages.push(("openapi.json".to_owned(), vec!["reference", "openapi"]));
    pages
}
