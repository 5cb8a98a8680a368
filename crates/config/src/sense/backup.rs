//! The same for `[[repository]]` and `[backup]`: places that nobody can open, names that lead nowhere, promises that cannot hold.

use super::Note;
use crate::backup::{BackupPolicy, RepositoryConfig, RepositoryPlace};
use crate::pattern::nearest;
use crate::problem::{Draft, Mistake};
use crate::schedule::Schedule;
use crate::tree::Config;

/// PostgreSQL's longest name of a slot.
const SLOT_BYTES_MAX: usize = 63;

/// Returns the contradictions of repositories and policies.
pub(super) fn problems(config: &Config) -> Vec<Draft> {
    let mut found = Vec::new();
    for (index, repository) in config.repositories.iter().enumerate() {
        place(&format!("repository[{index}]"), repository, &mut found);
    }
    let names: Vec<&str> = config
        .repositories
        .iter()
        .map(|repository| repository.name.as_str())
        .collect();
    policy("backup", &config.backup, &names, &mut found);
    for (index, instance) in config.instances.iter().enumerate() {
        let path = format!("instance[{index}].backup_policy");
        policy(&path, &instance.backup_policy, &names, &mut found);
        intervals(config, index, &mut found);
    }
    let found = found.into_iter();
    found.map(|mistake| config.origin.draft(mistake)).collect()
}

fn place(path: &str, repository: &RepositoryConfig, found: &mut Vec<Mistake>) {
    let mut push = |key: &str, message: &str, expected: &str| {
        found.push(Mistake::new(format!("{path}.{key}"), message, expected));
    };
    let location = repository.location();
    if location.is_none() && repository.place.contains('@') {
        // The text itself may hold a key.
        push(
            "place",
            "the place holds more than bucket and prefix",
            "expected \"s3://bucket/prefix\", and the key in access_key and secret_key_file",
        );
    } else if location.is_none() {
        let message = format!(
            "\"{}\" is no place for a repository",
            repository.place.escape_debug()
        );
        let expected = "expected a folder such as \"/srv/backup\", or \"s3://bucket/prefix\"";
        push("place", &message, expected);
    }
    keys(path, repository, found);
}

/// Finds keys that do not fit the place or each other.
fn keys(path: &str, repository: &RepositoryConfig, found: &mut Vec<Mistake>) {
    let mut push = |key: &str, message: &str, expected: &str| {
        found.push(Mistake::new(format!("{path}.{key}"), message, expected));
    };
    let location = repository.location();
    let directory = matches!(location, Some(RepositoryPlace::Directory(_)));
    for (key, set) in [
        ("endpoint", repository.endpoint.is_some()),
        ("region", repository.region.is_some()),
        ("access_key", repository.access_key.is_some()),
        ("secret_key_file", repository.secret_key_file.is_some()),
        ("path_style", repository.path_style.is_some()),
        ("allow_http", repository.allow_http),
        ("ca_file", repository.ca_file.is_some()),
    ] {
        if directory && set {
            push(
                key,
                "a folder has no such key",
                "expected it only beside \"s3://bucket/prefix\"",
            );
        }
    }
    let http = |endpoint: &String| endpoint.starts_with("http://");
    if repository.endpoint.as_ref().is_some_and(http) && !repository.allow_http {
        push(
            "endpoint",
            "the store is asked without TLS",
            "expected https://, or allow_http = true where the way to it is safe",
        );
    }
    match (&repository.access_key, &repository.secret_key_file) {
        (Some(_), None) => push(
            "access_key",
            "there is no secret for it",
            "expected secret_key_file too",
        ),
        (None, Some(_)) => push(
            "secret_key_file",
            "there is no access key for it",
            "expected access_key too",
        ),
        _ => {}
    }
    encryption(path, repository, found);
    limits(path, repository, found);
}

/// Finds what would be encrypted for nobody, or not at all though somebody is named.
fn encryption(path: &str, repository: &RepositoryConfig, found: &mut Vec<Mistake>) {
    let mut push = |key: &str, message: &str, expected: &str| {
        found.push(Mistake::new(format!("{path}.{key}"), message, expected));
    };
    match (repository.encryption, &repository.recipients[..]) {
        (Some(_), []) => push(
            "encryption",
            "there is nobody for whom to encrypt",
            "expected recipients = [\"age1...\"] too",
        ),
        (None, [_, ..]) => push(
            "recipients",
            "nothing is encrypted for them",
            "expected encryption = \"age\" too",
        ),
        _ => {}
    }
    for (index, recipient) in repository.recipients.iter().enumerate() {
        if !recipient.starts_with("age1") {
            push(
                &format!("recipients[{index}]"),
                "it is no public key of age",
                "expected a text that begins with age1, as age-keygen prints it",
            );
        }
    }
}

/// Finds limits within which nothing could be done.
fn limits(path: &str, repository: &RepositoryConfig, found: &mut Vec<Mistake>) {
    let mut push = |key: &str, message: &str, expected: &str| {
        found.push(Mistake::new(format!("{path}.{key}"), message, expected));
    };
    for (key, limit) in [
        ("bandwidth", repository.bandwidth),
        ("space", repository.space),
    ] {
        if limit.is_some_and(|limit| limit.0.0 == 0) {
            push(
                key,
                "nothing could be written",
                "expected a size such as \"100 MB\", or no key",
            );
        }
    }
}

fn policy(path: &str, policy: &BackupPolicy, names: &[&str], found: &mut Vec<Mistake>) {
    let wanted = policy.repositories.iter().flatten().enumerate();
    for (index, name) in wanted.filter(|(_, name)| !names.contains(&name.as_str())) {
        found.push(Mistake {
            hint: nearest(name, names.iter().copied())
                .map(|near| format!("did you mean \"{near}\"?")),
            ..Mistake::new(
                format!("{path}.repositories[{index}]"),
                format!("there is no repository \"{}\"", name.escape_debug()),
                match names {
                    [] => "expected the name of a [[repository]]; there is none".to_owned(),
                    names => format!("expected one of \"{}\"", names.join("\", \"")),
                },
            )
        });
    }
    if let Some(Err(problem)) = policy.window.as_deref().map(Schedule::parse) {
        let message = format!("the window of backups cannot be read: {problem}");
        found.push(Mistake::new(format!("{path}.window"), message, ""));
    }
    for (key, period) in [
        ("full_every", policy.full_every),
        ("incremental_every", policy.incremental_every),
        ("drill_every", policy.drill_every),
        ("verify_every", policy.verify_every),
        ("rpo", policy.rpo),
        ("rto", policy.rto),
        ("retention.age", policy.retention.age),
        ("retention.window", policy.retention.window),
    ] {
        if period.is_some_and(|period| period.0.is_zero()) {
            let message = format!("\"{key}\" is nothing");
            let expected = "expected a duration such as \"1 d\"";
            found.push(Mistake::new(format!("{path}.{key}"), message, expected));
        }
    }
    let slot = policy.slot.as_deref().unwrap_or(crate::backup::SLOT);
    let of_slot = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if slot.is_empty() || slot.len() > SLOT_BYTES_MAX || !slot.bytes().all(of_slot) {
        let message = format!("\"{}\" is no name of a slot", slot.escape_debug());
        let expected = "expected a-z, 0-9 and \"_\", at most 63";
        found.push(Mistake::new(format!("{path}.slot"), message, expected));
    }
    rates(path, policy, found);
}

/// Finds rates at which nothing could be done.
fn rates(path: &str, policy: &BackupPolicy, found: &mut Vec<Mistake>) {
    for (key, rate) in [
        ("max_rate", policy.max_rate),
        ("verify_rate", policy.verify_rate),
    ] {
        if rate.is_some_and(|rate| rate.0.0 == 0) {
            let expected = "expected a size such as \"100 MB\", or no key";
            found.push(Mistake::new(
                format!("{path}.{key}"),
                "nothing could be read",
                expected,
            ));
        }
    }
}

/// What holds for an instance is known only when its own keys and those of the estate are put together.
fn intervals(config: &Config, index: usize, found: &mut Vec<Mistake>) {
    let instance = &config.instances[index];
    let settings = config.backup_settings(instance);
    let own = &instance.backup_policy;
    let base = if own.full_every.or(own.incremental_every).is_some() {
        format!("instance[{index}].backup_policy")
    } else {
        "backup".to_owned()
    };
    if settings.full_every < settings.incremental_every {
        let mistake = Mistake::new(
            format!("{base}.full_every"),
            format!(
                "full backups of \"{}\" are due more often than incremental ones",
                instance.name
            ),
            "expected \"full_every\" to be at least as long as \"incremental_every\"",
        );
        if !found.iter().any(|earlier| earlier.path == mistake.path) {
            found.push(mistake);
        }
    }
}

/// Returns things to know about repositories and policies that are no errors.
pub(super) fn warnings(config: &Config) -> impl Iterator<Item = Note> {
    let repositories = config.repositories.iter().enumerate();
    let of_repositories = repositories.flat_map(|(index, repository)| {
        let path = format!("repository[{index}]");
        let name = &repository.name;
        let blind = repository.encryption.is_some() && repository.identity_file.is_none();
        blind.then(|| {
            let text = format!(
                "repository \"{name}\" is encrypted and nothing here can read it: without identity_file this machine takes no \
                 incremental backups, restores none, and proves none"
            );
            (format!("{path}.encryption"), text)
        })
    });
    let idle = config.repositories.is_empty() && config.backup != BackupPolicy::default();
    let idle = idle.then(|| {
        let text = "no backup is taken: there is no [[repository]]".to_owned();
        ("backup".to_owned(), text)
    });
    of_repositories.chain(idle)
}
