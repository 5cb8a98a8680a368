//! The same for `[serve]`: contradictions that would leave the dashboard open or the history empty.

use super::Note;
use crate::problem::Draft;
use crate::secrets::has_password;
use crate::serve::{RemoteWriteConfig, ServeConfig};
use crate::tree::Config;

/// A smaller history would be thrown away while it is written.
const HISTORY_BYTES_MIN: u64 = 16 << 20;
/// A smaller queue would be thrown away while it is written.
const QUEUE_BYTES_MIN: u64 = 1 << 20;

/// Logs are not looked at more often.
const LOGS_SECONDS_MIN: u64 = 2;

/// Returns the contradictions of `[serve]`.
pub(super) fn problems(config: &Config) -> Vec<Draft> {
    let serve = &config.serve;
    let mut found = address_problems(serve);
    found.extend(retention_problems(serve));
    found.extend(logs_problems(serve));
    for (index, store) in serve.remote_write.iter().enumerate() {
        let path = format!("serve.remote_write[{index}]");
        let problems = remote_write_problems(store).into_iter();
        found.extend(
            problems.map(|(key, message, expected)| (format!("{path}.{key}"), message, expected)),
        );
    }
    let found = found.into_iter();
    found
        .map(|(path, message, expected)| Draft::new(config.origin.span(&path), message, expected))
        .collect()
}

/// The path of a key, what is wrong with it, and what was expected.
type Found = (String, String, String);

fn address_problems(serve: &ServeConfig) -> Vec<Found> {
    let mut found = Vec::new();
    if serve.sign_in == Some(false) && !serve.listen.ip().is_loopback() {
        found.push((
            "serve.sign_in".to_owned(),
            format!(
                "everybody who reaches {} would see every server",
                serve.listen
            ),
            "expected a loopback address in serve.listen, or true here".to_owned(),
        ));
    } else if serve.sign_in == Some(false) && serve.behind_tls_proxy {
        found.push((
            "serve.sign_in".to_owned(),
            "everybody who reaches the proxy would see every server".to_owned(),
            "expected true here, or no behind_tls_proxy".to_owned(),
        ));
    }
    if serve.tls.is_some() && serve.behind_tls_proxy {
        found.push((
            "serve.behind_tls_proxy".to_owned(),
            "TLS cannot be ended by a proxy and by Pawang itself".to_owned(),
            "expected either [serve.tls] or behind_tls_proxy".to_owned(),
        ));
    }
    for (index, host) in serve.hosts.iter().enumerate() {
        if host.is_empty() || host.contains(['/', ':', ' ', '*']) {
            found.push((
                format!("serve.hosts[{index}]"),
                format!("\"{}\" is no name of a host", host.escape_debug()),
                "expected a name without scheme, port or path, such as \"pawang.example.org\""
                    .to_owned(),
            ));
        }
    }
    found
}

fn retention_problems(serve: &ServeConfig) -> Vec<Found> {
    let retention = &serve.retention;
    let mut found = Vec::new();
    let mut order = |key: &str, shorter: &str, wrong: bool| {
        if wrong {
            found.push((
                format!("serve.retention.{key}"),
                format!("\"{key}\" is shorter than \"{shorter}\""),
                "expected coarser values to be kept at least as long as finer ones".to_owned(),
            ));
        }
    };
    order("minute", "raw", retention.minute.0 < retention.raw.0);
    order(
        "ten_minutes",
        "minute",
        retention.ten_minutes.0 < retention.minute.0,
    );
    if retention.raw.0.as_secs() < 3_600 {
        found.push((
            "serve.retention.raw".to_owned(),
            "the history is kept in hours".to_owned(),
            "expected at least 1 h".to_owned(),
        ));
    }
    if retention.size.0.0 < HISTORY_BYTES_MIN {
        found.push((
            "serve.retention.size".to_owned(),
            format!("{} is no room for a history", retention.size.0),
            "expected at least 16 MB".to_owned(),
        ));
    }
    found
}

fn logs_problems(serve: &ServeConfig) -> Vec<Found> {
    let logs = &serve.logs;
    let mut found = Vec::new();
    if logs.interval.0.as_secs() < LOGS_SECONDS_MIN {
        found.push((
            "serve.logs.interval".to_owned(),
            "each look writes to the disk".to_owned(),
            format!("expected at least {LOGS_SECONDS_MIN} s"),
        ));
    }
    if logs.keep.0.as_secs() < 2 * 3_600 {
        found.push((
            "serve.logs.keep".to_owned(),
            "the numbers are kept in hours".to_owned(),
            "expected at least 2 h".to_owned(),
        ));
    }
    found
}

fn remote_write_problems(store: &RemoteWriteConfig) -> Vec<(&'static str, String, String)> {
    let mut found = Vec::new();
    let mut push = |key, message: &str, expected: &str| {
        found.push((key, message.to_owned(), expected.to_owned()));
    };
    if store.username.is_some() && store.password_file.is_none() {
        push(
            "username",
            "there is no password for it",
            "expected password_file too",
        );
    }
    if store.password_file.is_some() && store.username.is_none() {
        push(
            "password_file",
            "there is no name for it",
            "expected username too",
        );
    }
    if store.token_file.is_some() && store.username.is_some() {
        push(
            "token_file",
            "a request carries one kind of credential",
            "expected either token_file or username and password_file",
        );
    }
    if store.queue_size.0.0 < QUEUE_BYTES_MIN {
        push(
            "queue_size",
            "it is no room for a queue",
            "expected at least 1 MB",
        );
    }
    for name in store.labels.keys() {
        let mut characters = name.chars();
        let first = characters
            .next()
            .is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if !first || !characters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
            let message = format!("\"{}\" is no name of a label", name.escape_debug());
            push("labels", &message, "expected letters, digits and \"_\"");
        }
    }
    found
}

/// Returns things to know about `[serve]` that are no errors.
pub(super) fn warnings(config: &Config) -> impl Iterator<Item = Note> {
    let stores = config.serve.remote_write.iter().enumerate();
    let with_password = stores.filter(|(_, store)| has_password(store.url.reveal()));
    with_password.map(|(index, store)| {
        let text = format!(
            "\"url\" of remote_write \"{}\" contains a password; move it into a file that only you can read and name it in password_file",
            store.name
        );
        (format!("serve.remote_write[{index}].url"), text)
    })
}
