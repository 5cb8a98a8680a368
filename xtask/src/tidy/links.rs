//! Links between the Markdown files of the repository lead somewhere.

use std::path::Path;

use super::{File, Problem};

/// Checks every relative link of every Markdown file, with its anchor.
pub(super) fn check(root: &Path, files: &[File], problems: &mut Vec<Problem>) {
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        for (number, target) in targets(&file.text) {
            if let Some(why) = broken(root, files, file, &target) {
                problems.push(format!("{}:{number}: link \"{target}\": {why}", file.path));
            }
        }
    }
}

fn broken(root: &Path, files: &[File], file: &File, target: &str) -> Option<String> {
    let elsewhere = target.contains("://") || target.starts_with("mailto:");
    if elsewhere {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() {
        file.path.clone()
    } else {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        join(folder, path)?
    };
    if !root.join(&path).exists() {
        return Some(format!("there is no \"{path}\""));
    }
    let linked = files.iter().find(|file| file.path == path)?;
    let missing = !anchor.is_empty()
        && path.ends_with(".md")
        && !anchors(&linked.text).iter().any(|own| own == anchor);
    missing.then(|| format!("\"{path}\" has no heading \"{anchor}\""))
}

/// Joins a folder and a relative path; a path that leaves the repository is left alone.
fn join(folder: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    if !path.starts_with('/') {
        parts.extend(folder.split('/'));
    }
    for part in path.split('/') {
        match part {
            ".." => {
                parts.pop()?;
            }
            "." => {}
            part => parts.push(part),
        }
    }
    parts.retain(|part| !part.is_empty());
    Some(parts.join("/"))
}

/// Returns the lines of a Markdown text outside of fenced code, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// Returns the targets of the links of a Markdown text, with their lines.
fn targets(text: &str) -> Vec<(usize, String)> {
    let mut targets = Vec::new();
    for (number, line) in prose(text) {
        // Every second piece between backquotes is code.
        let plain: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        for (at, _) in plain.match_indices("](") {
            let rest = &plain[at + 2..];
            let target = rest.split([')', ' ']).next().unwrap_or_default();
            targets.push((number, target.trim_matches(['<', '>']).to_owned()));
        }
    }
    targets
}

/// Returns the anchors of the headings, as the usual renderers make them.
fn anchors(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    for (_, line) in prose(text).filter(|(_, line)| line.starts_with('#')) {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let anchor: String = heading
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let same = anchors.iter().filter(|own| **own == anchor).count();
        if same > 0 {
            anchors.push(format!("{anchor}-{same}"));
        }
        anchors.push(anchor);
    }
    anchors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_outside_of_code() {
        let text = "[a](b.md) and `[c](d.md)` ![e](f.png \"title\")\n```\n[g](h.md)\n```\n[i](#j)";
        let found = targets(text);
        let found: Vec<_> = found.iter().map(|(n, t)| (*n, t.as_str())).collect();
        assert_eq!(found, [(1, "b.md"), (1, "f.png"), (5, "#j")]);
    }

    #[test]
    fn paths_are_joined_inside_the_repository() {
        assert_eq!(join("docs", "../README.md").as_deref(), Some("README.md"));
        assert_eq!(join("", "docs/x.md").as_deref(), Some("docs/x.md"));
        assert_eq!(join("docs", "../../x").as_deref(), None);
    }

    #[test]
    fn anchors_are_those_of_the_renderers() {
        let text = "# Pawang: the design\n## 2 `pawang check`\n## Same\n## Same\n";
        assert_eq!(
            anchors(text),
            [
                "pawang-the-design",
                "2-pawang-check",
                "same",
                "same-1",
                "same"
            ]
        );
    }
}
