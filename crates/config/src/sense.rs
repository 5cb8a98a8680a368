//! What the schema cannot say: limits the wrong way round, things worth a warning.

use crate::pattern::{matches, nearest};
use crate::problem::{Draft, Origin};
use crate::secrets::has_password;
use crate::tree::{Config, InstanceConfig};
use crate::verify::{order_problem, value_problem};

/// Returns the contradictions of a configuration.
pub(crate) fn problems(config: &Config) -> Vec<Draft> {
    let origin = &config.origin;
    let mut drafts = Vec::new();
    for (index, check) in config.user_checks.iter().enumerate() {
        let known = check.known();
        let problem = value_problem(&known, "warning", check.warning)
            .map(|problem| ("warning", problem))
            .or_else(|| value_problem(&known, "critical", check.critical).map(|p| ("critical", p)))
            .or_else(|| {
                order_problem(&known, check.warning, check.critical).map(|p| ("warning", p))
            });
        if let Some((key, (message, expected))) = problem {
            let span = origin.span(&format!("user_check[{index}].{key}"));
            drafts.push(Draft::new(span, message, expected));
        }
    }
    drafts
}

/// Returns things to know that are no errors.
pub(crate) fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    for (index, instance) in config.instances.iter().enumerate() {
        for (key, url) in urls(instance) {
            if has_password(url) {
                warnings.push(format!(
                    "{}: \"{key}\" of instance \"{}\" contains a password; move it into a file that only you can read and name it in password_file, or use passfile= or service=",
                    config.origin.place_of(&format!("instance[{index}].{key}")),
                    instance.name,
                ));
            }
        }
    }
    for (index, entry) in config.overrides.iter().enumerate() {
        let path = format!("override[{index}]");
        let settings = entry.settings();
        let says_nothing = settings.enabled.is_none()
            && settings.warning.is_none()
            && settings.critical.is_none()
            && settings.floors.is_empty();
        if says_nothing {
            warnings.push(format!(
                "{}: the override changes nothing",
                config.origin.place_of(&path)
            ));
        }
        let names: Vec<&str> = config.instances.iter().map(|i| i.name.as_str()).collect();
        let groups: Vec<&str> = config
            .instances
            .iter()
            .filter_map(|i| i.group.as_deref())
            .collect();
        let selectors = [
            ("instance", &entry.instance, names),
            ("group", &entry.group, groups),
        ];
        for (key, pattern, existing) in selectors {
            let Some(pattern) = pattern else { continue };
            warnings.extend(matches_nothing(
                &config.origin,
                &format!("{path}.{key}"),
                key,
                pattern,
                &existing,
            ));
        }
    }
    for (index, check) in config.user_checks.iter().enumerate() {
        let names: Vec<&str> = config.instances.iter().map(|i| i.name.as_str()).collect();
        for (entry, pattern) in check.instances.iter().flatten().enumerate() {
            let path = format!("user_check[{index}].instances[{entry}]");
            warnings.extend(matches_nothing(
                &config.origin,
                &path,
                "instance",
                pattern,
                &names,
            ));
        }
    }
    warnings
}

/// Returns a warning when no name matches; a file without instances has no names to match.
fn matches_nothing(
    origin: &Origin,
    path: &str,
    noun: &str,
    pattern: &str,
    existing: &[&str],
) -> Option<String> {
    if existing.is_empty() && noun == "instance"
        || existing.iter().any(|name| matches(pattern, name))
    {
        return None;
    }
    let near = nearest(pattern, existing.iter().copied());
    let hint = near.map_or(String::new(), |near| format!("; did you mean \"{near}\"?"));
    let pattern = pattern.escape_debug();
    Some(format!(
        "{}: no {noun} matches \"{pattern}\"{hint}",
        origin.place_of(path)
    ))
}

/// Returns the connection texts of an instance that are set.
fn urls(instance: &InstanceConfig) -> Vec<(&'static str, &str)> {
    let mut urls = vec![("url", instance.url.reveal().as_str())];
    urls.extend(
        instance
            .pgbouncer
            .iter()
            .map(|url| ("pgbouncer", url.reveal().as_str())),
    );
    urls.extend(
        instance
            .patroni
            .iter()
            .map(|url| ("patroni", url.reveal().as_str())),
    );
    urls
}
