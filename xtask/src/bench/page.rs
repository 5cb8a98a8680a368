//! `docs/benchmarks.md`: one section per benchmark, replaced when it is run again.

use std::fmt::Write;
use std::fs;

use crate::run;

const PAGE: &str = "docs/benchmarks.md";
const HEAD: &str = "\
# Benchmarks

Written by `cargo xtask bench`; every section says when and where it was measured, and by which command. Each tool is
run as its users run it, in turns with the others, on the same server in the same minutes.
";

/// Replaces the section of that title, or appends it.
pub(super) fn write(title: &str, section: &str) -> Result<(), String> {
    let path = run::repository().join(PAGE);
    let old = fs::read_to_string(&path).unwrap_or_default();
    fs::write(&path, replaced(&old, title, section))
        .map_err(|error| format!("could not write \"{PAGE}\": {error}"))?;
    println!("\nwrote {PAGE}");
    Ok(())
}

fn replaced(old: &str, title: &str, section: &str) -> String {
    let mut sections: Vec<(&str, &str)> = old
        .split("\n## ")
        .skip(1)
        .map(|part| part.split_once('\n').unwrap_or((part, "")))
        .collect();
    match sections.iter_mut().find(|(known, _)| *known == title) {
        Some((_, text)) => *text = section,
        None => sections.push((title, section)),
    }
    let mut page = HEAD.to_owned();
    for (title, text) in sections {
        let _ = write!(page, "\n## {title}\n\n{}\n", text.trim());
    }
    page
}

/// Returns when and on what machine this is.
pub(super) fn circumstances(server: &str, program: &str) -> String {
    let of_file = |path: &str, key: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key));
        let value = line.and_then(|line| line.split_once(':'));
        value.map_or("?".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let said = |program: &str, words: &[&str]| {
        let text = run::quiet(run::command(program).args(words));
        text.unwrap_or_else(|_| "?".to_owned()).trim().to_owned()
    };
    let kilobytes: f64 = of_file("/proc/meminfo", "MemTotal")
        .trim_end_matches(" kB")
        .parse()
        .unwrap_or(0.0);
    format!(
        "{}; {} x {}, {:.0} GB, Linux {}; PostgreSQL {server}; {program}, commit {}",
        said("date", &["-u", "+%F %H:%M UTC"]),
        std::thread::available_parallelism().map_or(0, usize::from),
        of_file("/proc/cpuinfo", "model name"),
        kilobytes / 1_048_576.0,
        said("uname", &["-r"]),
        said("git", &["describe", "--always", "--dirty"]),
    )
}

#[cfg(test)]
mod tests {
    use super::{HEAD, replaced};

    #[test]
    fn sections_are_replaced_by_title() {
        let one = replaced("", "one", "1");
        assert_eq!(one, format!("{HEAD}\n## one\n\n1\n"));
        let two = replaced(&one, "two", "2");
        assert_eq!(
            replaced(&two, "one", "3\n"),
            format!("{HEAD}\n## one\n\n3\n\n## two\n\n2\n")
        );
    }
}
