//! What the schema cannot say: limits the wrong way round, things worth a warning.

mod alert;
mod backup;
mod maintenance;
mod serve;

use crate::pattern::{matches, nearest};
use crate::problem::{Draft, PROBLEMS_MAX};
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
    drafts.extend(serve::problems(config));
    drafts.extend(maintenance::problems(config));
    drafts.extend(backup::problems(config));
    let mistakes = config.alert.mistakes().into_iter();
    drafts.extend(mistakes.map(|mistake| origin.draft(mistake)));
    drafts
}

/// Returns things to know that are no errors, at most [`PROBLEMS_MAX`].
pub(crate) fn warnings(config: &Config) -> Vec<String> {
    let texts = passwords(config)
        .chain(serve::warnings(config))
        .chain(alert::warnings(config))
        .chain(maintenance::warnings(config))
        .chain(backup::warnings(config))
        .chain(idle_overrides(config))
        .chain(empty_selections(config));
    texts
        .take(PROBLEMS_MAX)
        .map(|(path, text)| format!("{}: {text}", config.origin.place_of(&path)))
        .collect()
}

/// A path of the file and what to know about it.
pub(crate) type Note = (String, String);

fn passwords(config: &Config) -> impl Iterator<Item = Note> {
    let instances = config.instances.iter().enumerate();
    let urls = instances.flat_map(|(index, instance)| {
        urls(instance)
            .into_iter()
            .map(move |(key, url)| (index, &instance.name, key, url))
    });
    urls.filter(|(.., url)| has_password(url)).map(|(index, name, key, _)| {
        let text = format!(
            "\"{key}\" of instance \"{name}\" contains a password; move it into a file that only you can read and name it in password_file, or use passfile= or service="
        );
        (format!("instance[{index}].{key}"), text)
    })
}

fn idle_overrides(config: &Config) -> impl Iterator<Item = Note> {
    let entries = config.overrides.iter().enumerate();
    let idle = entries.filter(|(_, entry)| {
        let settings = entry.settings();
        settings.enabled.is_none()
            && settings.warning.is_none()
            && settings.critical.is_none()
            && settings.floors.is_empty()
    });
    idle.map(|(index, _)| {
        let text = "the override changes nothing".to_owned();
        (format!("override[{index}]"), text)
    })
}

/// Returns a note for every pattern of instances or groups that none of them matches.
fn empty_selections(config: &Config) -> impl Iterator<Item = Note> {
    let overrides = config.overrides.iter().enumerate();
    let overrides = overrides.flat_map(|(index, entry)| {
        let selectors = [("instance", &entry.instance), ("group", &entry.group)];
        selectors.into_iter().filter_map(move |(noun, pattern)| {
            Some((format!("override[{index}].{noun}"), noun, pattern.as_ref()?))
        })
    });
    let checks = config.user_checks.iter().enumerate();
    let checks = checks.flat_map(|(index, check)| {
        let patterns = check.instances.iter().flatten().enumerate();
        patterns.map(move |(entry, pattern)| {
            let path = format!("user_check[{index}].instances[{entry}]");
            (path, "instance", pattern)
        })
    });
    // A file without instances has no names to match: the server is the one of the environment.
    let patterns = overrides.chain(checks);
    let patterns = patterns.filter(|_| !config.instances.is_empty());
    patterns.filter_map(|(path, noun, pattern)| {
        let names = config.instances.iter().filter_map(|instance| match noun {
            "group" => instance.group.as_deref(),
            _ => Some(instance.name.as_str()),
        });
        if names.clone().any(|name| matches(pattern, name)) {
            return None;
        }
        let near = nearest(pattern, names);
        let hint = near.map_or(String::new(), |near| format!("; did you mean \"{near}\"?"));
        let pattern = pattern.escape_debug();
        Some((path, format!("no {noun} matches \"{pattern}\"{hint}")))
    })
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
