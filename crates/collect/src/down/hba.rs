//! `pg_hba.conf`: lines that the server refuses to load. It does not say who may log in.

use std::path::Path;

use pawang_core::ConfigurationProblem;

use crate::host::read;

const TYPES: [&str; 6] = [
    "local",
    "host",
    "hostssl",
    "hostnossl",
    "hostgssenc",
    "hostnogssenc",
];
const METHODS: [&str; 15] = [
    "trust",
    "reject",
    "md5",
    "password",
    "scram-sha-256",
    "gss",
    "sspi",
    "ident",
    "peer",
    "ldap",
    "radius",
    "cert",
    "pam",
    "bsd",
    "oauth",
];

/// Returns the lines that keep the file from being loaded; without a loadable file the server does not start.
pub(super) fn problems(path: &Path) -> Vec<ConfigurationProblem> {
    let text = read(path).unwrap_or_default();
    let mut problems = Vec::new();
    let mut continued = String::new();
    for (index, line) in text.lines().enumerate() {
        if let Some(head) = line.strip_suffix('\\') {
            continued.push_str(head);
            continue;
        }
        continued.push_str(line);
        let whole = std::mem::take(&mut continued);
        if let Some(what) = problem(&words(&whole)) {
            problems.push(ConfigurationProblem {
                kind: "hba".to_owned(),
                file: path.to_owned(),
                line: index + 1,
                what,
            });
        }
    }
    problems
}

fn problem(words: &[String]) -> Option<String> {
    let kind = words.first()?;
    if kind.starts_with("include") || kind.starts_with('@') {
        return None;
    }
    if !TYPES.contains(&kind.as_str()) {
        return Some(format!(
            "\"{kind}\" is no type of connection (local, host, hostssl, ...)"
        ));
    }
    let method = if kind == "local" {
        words.get(3)
    } else {
        let address = words.get(3).map_or("", String::as_str);
        // An address without a mask is followed by one of its own.
        let mask = !address.contains('/') && address.parse::<std::net::IpAddr>().is_ok();
        words.get(if mask { 5 } else { 4 })
    };
    match method {
        None => Some("the line ends before the authentication method".to_owned()),
        Some(method) if !METHODS.contains(&method.as_str()) => {
            Some(format!("there is no authentication method \"{method}\""))
        }
        Some(_) => None,
    }
}

/// Splits a line at blanks outside of quotes, up to a comment.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    for c in line.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                any = true;
            }
            '#' if !quoted => break,
            c if c.is_whitespace() && !quoted => {
                // A list may go on after a comma and a blank.
                if any && !word.ends_with(',') {
                    words.push(std::mem::take(&mut word));
                    any = false;
                }
            }
            c => {
                word.push(c);
                any = true;
            }
        }
    }
    if any {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_cannot_be_loaded_are_problems() {
        for (line, expected) in [
            ("# comment", false),
            ("local all all trust", false),
            ("local all all", true),
            ("host all all 10.0.0.0/8 scram-sha-256", false),
            ("host all all 10.0.0.0 255.0.0.0 md5", false),
            (
                "host a, b \"my user\" samenet cert clientcert=verify-full",
                false,
            ),
            ("host all all 10.0.0.0/8", true),
            ("hots all all 10.0.0.0/8 md5", true),
            ("host all all 10.0.0.0/8 scram", true),
        ] {
            assert_eq!(problem(&words(line)).is_some(), expected, "{line}");
        }
    }
}
