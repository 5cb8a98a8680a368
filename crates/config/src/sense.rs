//! What the schema cannot say: names that occur twice, limits the wrong way round, things worth a warning.

use std::collections::BTreeMap;

use crate::pattern::{matches, nearest};
use crate::problem::{Draft, Origin};
use crate::secrets::has_password;
use crate::tree::{Config, InstanceConfig};
use crate::verify::{order_problem, value_problem};

/// Returns the contradictions of a configuration.
pub(crate) fn problems(config: &Config) -> Vec<Draft> {
    let origin = &config.origin;
    let names = config
        .instances
        .iter()
        .map(|instance| instance.name.as_str());
    let mut drafts = twice(origin, "instance", "name", names);
    let ids = config.user_checks.iter().map(|check| check.id.as_str());
    drafts.extend(twice(origin, "user_check", "id", ids));
    for (index, instance) in config.instances.iter().enumerate() {
        let loads = instance.loads.iter().map(|load| load.name.as_str());
        drafts.extend(twice(
            origin,
            &format!("instance[{index}].load"),
            "name",
            loads,
        ));
        let tables = instance.freshness.iter().map(|table| table.name.as_str());
        drafts.extend(twice(
            origin,
            &format!("instance[{index}].freshness"),
            "name",
            tables,
        ));
    }
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

/// Returns a draft for every name of a list that occurred before.
fn twice<'a>(
    origin: &Origin,
    list: &str,
    key: &str,
    names: impl Iterator<Item = &'a str>,
) -> Vec<Draft> {
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    let mut drafts = Vec::new();
    for (index, name) in names.enumerate() {
        if let Some(earlier) = first.get(name) {
            let place = origin.place(&format!("{list}[{earlier}].{key}"));
            let span = origin.span(&format!("{list}[{index}].{key}"));
            let message = format!("{key} \"{}\" occurs twice", name.escape_debug());
            drafts.push(Draft::new(
                span,
                message,
                format!("the first one is at {place}"),
            ));
        } else {
            first.insert(name, index);
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
                    config.origin.place(&format!("instance[{index}].{key}")),
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
                config.origin.place(&path)
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
        origin.place(path)
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
