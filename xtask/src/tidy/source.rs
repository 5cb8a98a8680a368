//! Rules for every text file: white space, and no path of a developer's machine.

use super::{File, Problem};

/// Folders of single machines; written in parts so that this file does not contain them.
const MACHINES: [&str; 2] = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];

/// Checks one file of any kind.
pub(super) fn check(file: &File, problems: &mut Vec<Problem>) {
    let File { path, text } = file;
    // Snapshots and test data are what programs wrote, to the letter.
    let exact = path.ends_with(".snap") || path.contains("/tests/data/");
    if !exact && !text.is_empty() && !text.ends_with('\n') {
        problems.push(format!("{path}: the last line does not end"));
    }
    for (number, line) in (1..).zip(text.split('\n')) {
        if !exact && line.ends_with([' ', '\t', '\r']) {
            problems.push(format!(
                "{path}:{number}: white space at the end of the line"
            ));
        }
        if path.ends_with(".rs") && line.contains('\t') {
            problems.push(format!("{path}:{number}: a tab"));
        }
        for machine in MACHINES {
            if mentions(line, machine) {
                problems.push(format!(
                    "{path}:{number}: \"{machine}\" is a path of one machine"
                ));
            }
        }
    }
}

/// Tells whether an absolute path begins with `folder` somewhere in the line.
fn mentions(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "_-.}*)".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_and_paths_are_told_with_their_lines() {
        let [work, _] = MACHINES;
        let file = File {
            path: "a.rs".to_owned(),
            text: format!("one \n\ttwo\n\"{work}x\" a{work}b\nfour"),
        };
        let mut problems = Vec::new();
        check(&file, &mut problems);
        assert_eq!(
            problems,
            [
                "a.rs: the last line does not end".to_owned(),
                "a.rs:1: white space at the end of the line".to_owned(),
                "a.rs:2: a tab".to_owned(),
                format!("a.rs:3: \"{work}\" is a path of one machine"),
            ]
        );
    }
}
