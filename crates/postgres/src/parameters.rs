//! Connection strings as text: `postgresql://` URLs and `key=value` lines become named parameters.
//!
//! Nothing here gives a parameter a meaning; that is `target.rs`. No message repeats a value, since it may be a password.

use std::collections::BTreeMap;

use crate::Error;

/// Connection parameters by libpq's names.
pub(crate) type Parameters = BTreeMap<&'static str, String>;

const TEXT_BYTES_MAX: usize = 64 * 1024;

/// Parameters that have a meaning here.
const MEANINGFUL: [&str; 19] = [
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "passfile",
    "password",
    "port",
    "service",
    "servicefile",
    "sslcert",
    "sslcrl",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "target_session_attrs",
    "user",
];

/// Parameters of libpq that change nothing for a reader of statistics.
const HARMLESS: [&str; 20] = [
    "application_name",
    "client_encoding",
    "fallback_application_name",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "max_protocol_version",
    "min_protocol_version",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcompression",
    "sslkeylogfile",
    "sslsni",
    "tcp_user_timeout",
];

/// Parameters of libpq that would make a connection safer than ours: ignoring them in silence would be a lie.
const REFUSED: [&str; 10] = [
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_issuer",
    "oauth_scope",
    "replication",
    "require_auth",
    "requirepeer",
    "scram_client_key",
    "sslcrldir",
    "sslpassword",
];

/// Reads a URL, a `key=value` line, or the empty text.
pub(crate) fn parse(text: &str) -> Result<Parameters, Error> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(syntax(format!("it is longer than {TEXT_BYTES_MAX} bytes")));
    }
    if text.contains('\0') {
        return Err(syntax("it contains a zero byte"));
    }
    let url = text
        .strip_prefix("postgresql://")
        .or_else(|| text.strip_prefix("postgres://"));
    match url {
        Some(rest) => parse_url(rest),
        None if is_other_url(text) => {
            Err(syntax("a URL must begin with postgresql:// or postgres://"))
        }
        None => parse_words(text),
    }
}

/// Whether the text begins as a URL does; a value of a line may hold `://` too.
fn is_other_url(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.trim());
    scheme.is_some_and(|scheme| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        scheme.bytes().all(known)
    })
}

/// Stores one parameter under libpq's name for it; `source` says where it came from.
pub(crate) fn insert(parameters: &mut Parameters, name: &str, value: String) -> Result<(), Error> {
    if let Some(known) = MEANINGFUL.iter().find(|known| **known == name) {
        parameters.insert(known, value);
        return Ok(());
    }
    if HARMLESS.contains(&name) {
        return Ok(());
    }
    let problem = if REFUSED.contains(&name) {
        "libpq has it, Pawang does not support it"
    } else {
        "there is no such connection parameter"
    };
    Err(Error::Parameter {
        name: name.to_owned(),
        problem: problem.to_owned(),
    })
}

fn syntax(problem: impl Into<String>) -> Error {
    Error::Syntax {
        problem: problem.into(),
    }
}

fn parse_url(rest: &str) -> Result<Parameters, Error> {
    let mut parameters = Parameters::new();
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (rest, None),
    };
    let (authority, database) = match rest.split_once('/') {
        Some((authority, database)) => (authority, Some(database)),
        None => (rest, None),
    };
    let hosts = match authority.rsplit_once('@') {
        Some((credentials, hosts)) => {
            let (user, password) = match credentials.split_once(':') {
                Some((user, password)) => (user, Some(password)),
                None => (credentials, None),
            };
            insert_unless_empty(&mut parameters, "user", user)?;
            insert_unless_empty(&mut parameters, "password", password.unwrap_or(""))?;
            hosts
        }
        None => authority,
    };
    if !hosts.is_empty() {
        let (mut names, mut ports) = (Vec::new(), Vec::new());
        for host in hosts.split(',') {
            let (name, port) = split_port(host)?;
            names.push(decode(name)?);
            ports.push(decode(port)?);
        }
        if names.iter().any(|name| !name.is_empty()) {
            parameters.insert("host", names.join(","));
        }
        if ports.iter().any(|port| !port.is_empty()) {
            parameters.insert("port", ports.join(","));
        }
    }
    insert_unless_empty(&mut parameters, "dbname", database.unwrap_or(""))?;
    for pair in query
        .unwrap_or("")
        .split('&')
        .filter(|pair| !pair.is_empty())
    {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| syntax("a URL parameter after \"?\" lacks its \"=\""))?;
        let (name, value) = (decode(name)?, decode(value)?);
        match (name.as_str(), value.as_str()) {
            // JDBC's spelling, which libpq reads too.
            ("ssl", "true") => insert(&mut parameters, "sslmode", "require".to_owned())?,
            _ => insert(&mut parameters, &name, value)?,
        }
    }
    Ok(parameters)
}

fn insert_unless_empty(
    parameters: &mut Parameters,
    name: &'static str,
    encoded: &str,
) -> Result<(), Error> {
    if !encoded.is_empty() {
        parameters.insert(name, decode(encoded)?);
    }
    Ok(())
}

fn split_port(host: &str) -> Result<(&str, &str), Error> {
    if let Some(rest) = host.strip_prefix('[') {
        let (address, port) = rest
            .split_once(']')
            .ok_or_else(|| syntax("an IPv6 address lacks its closing \"]\""))?;
        return match port.strip_prefix(':') {
            Some(port) => Ok((address, port)),
            None if port.is_empty() => Ok((address, "")),
            None => Err(syntax("only \":port\" may follow the \"]\" of an address")),
        };
    }
    match host.split_once(':') {
        Some((_, port)) if port.contains(':') => Err(syntax(
            "an IPv6 address in a URL must stand in brackets: [::1]:5432",
        )),
        Some((name, port)) => Ok((name, port)),
        None => Ok((host, "")),
    }
}

fn decode(encoded: &str) -> Result<String, Error> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digit = |index: usize| {
            rest.get(index)
                .and_then(|byte| char::from(*byte).to_digit(16))
        };
        match (digit(0), digit(1)) {
            (Some(high), Some(low)) if high + low > 0 => {
                bytes.push(u8::try_from(high * 16 + low).expect("two hexadecimal digits fit"));
                rest = &rest[2..];
            }
            _ => {
                return Err(syntax(
                    "a \"%\" must be followed by two hexadecimal digits that are not 00 (write %25 for \"%\" itself)",
                ));
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| syntax("the percent-encoded bytes are not UTF-8"))
}

fn parse_words(text: &str) -> Result<Parameters, Error> {
    let mut parameters = Parameters::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| c == '=' || c.is_ascii_whitespace())
            .unwrap_or(rest.len());
        let (name, tail) = rest.split_at(end);
        let Some(tail) = tail.trim_start().strip_prefix('=') else {
            return Err(syntax(
                "a connection line is made of \"key=value\" words, and one lacks its \"=\"",
            ));
        };
        let (value, tail) = take_value(tail.trim_start())?;
        insert(&mut parameters, name, value)?;
        rest = tail.trim_start();
    }
    Ok(parameters)
}

fn take_value(text: &str) -> Result<(String, &str), Error> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut characters = text.char_indices().skip(usize::from(quoted));
    while let Some((index, character)) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some((_, escaped)) => value.push(escaped),
                None if quoted => break,
                None => return Ok((value, "")),
            },
            '\'' if quoted => return Ok((value, &text[index + 1..])),
            _ if !quoted && character.is_ascii_whitespace() => {
                return Ok((value, &text[index..]));
            }
            _ => value.push(character),
        }
    }
    if quoted {
        return Err(syntax("a quoted value lacks its closing quote"));
    }
    Ok((value, ""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> String {
        match parse(text) {
            Ok(parameters) => {
                let words: Vec<String> = parameters
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                words.join(" ")
            }
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn reads_urls_as_libpq_does() {
        for (text, expected) in [
            ("postgresql://", ""),
            ("postgres://localhost", "host=localhost"),
            ("postgresql://localhost:5433", "host=localhost port=5433"),
            ("postgresql://localhost/mydb", "dbname=mydb host=localhost"),
            ("postgresql://user@localhost", "host=localhost user=user"),
            (
                "postgresql://user:se%3acret@localhost",
                "host=localhost password=se:cret user=user",
            ),
            (
                "postgresql://other@localhost/otherdb?connect_timeout=10&application_name=myapp",
                "connect_timeout=10 dbname=otherdb host=localhost user=other",
            ),
            (
                "postgresql://host1:123,host2:456/somedb?target_session_attrs=any",
                "dbname=somedb host=host1,host2 port=123,456 target_session_attrs=any",
            ),
            ("postgresql://a,b:5433", "host=a,b port=,5433"),
            (
                "postgresql:///mydb?host=/run/p&port=5433",
                "dbname=mydb host=/run/p port=5433",
            ),
            (
                "postgresql://%2Fvar%2Flib%2Fpostgresql/dbname",
                "dbname=dbname host=/var/lib/postgresql",
            ),
            (
                "postgresql://[2001:db8::1234]:5/d",
                "dbname=d host=2001:db8::1234 port=5",
            ),
            ("postgresql://[::1]", "host=::1"),
            ("postgresql://h?ssl=true", "host=h sslmode=require"),
            ("postgresql://u@h@host", "host=host user=u@h"),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn reads_connection_lines_as_libpq_does() {
        for (text, expected) in [
            ("", ""),
            ("  ", ""),
            ("host=localhost port = 5433", "host=localhost port=5433"),
            ("dbname='a b' user=x", "dbname=a b user=x"),
            (
                r"dbname='it\'s' password=a\ b\\c",
                r"dbname=it's password=a b\c",
            ),
            ("password= user=x", "password=user=x"),
            ("password='' user=x", "password= user=x"),
            ("password=a://b user=x", "password=a://b user=x"),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn refuses_without_repeating_a_value() {
        for text in [
            "localhost",
            "host=a hunter2",
            "dbname='hunter2",
            "http://hunter2@x/",
            "://hunter2@x/",
            "postgres://u:hunter2%zz@x/",
            "postgres://u:hunter2%00@x/",
            "postgres://[::1/hunter2",
            "postgres://[::1]hunter2/",
            "postgres://::1/hunter2",
            "postgres://h/?hunter2",
            "postgres://h/?nonsense=hunter2",
            "nonsense=hunter2",
            "requirepeer=hunter2",
            "host=a\0hunter2",
        ] {
            let error = parse(text).unwrap_err();
            for shown in [
                format!("{error:?}"),
                error.to_string(),
                error.report().to_string(),
            ] {
                assert!(!shown.contains("hunter2"), "{text:?}: {shown}");
            }
        }
    }

    fn percent(text: &str) -> String {
        text.bytes().map(|byte| format!("%{byte:02X}")).collect()
    }

    proptest! {
        #[test]
        fn urls_round_trip(user in "[^\0]{1,8}", password in "[^\0]{1,8}", database in "[^\0]{1,8}", host in "[a-z.-]{1,8}", port: u16) {
            let text = format!("postgresql://{}:{}@{host}:{port}/{}", percent(&user), percent(&password), percent(&database));
            let parameters = parse(&text).unwrap();
            prop_assert_eq!(&parameters["user"], &user);
            prop_assert_eq!(&parameters["password"], &password);
            prop_assert_eq!(&parameters["dbname"], &database);
            prop_assert_eq!(&parameters["host"], &host);
            prop_assert_eq!(&parameters["port"], &port.to_string());
        }

        #[test]
        fn lines_round_trip(password in "[^\0]{0,12}", database in "[^\0]{0,12}") {
            let quote = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
            let text = format!("password={} dbname = {}", quote(&password), quote(&database));
            let parameters = parse(&text).unwrap();
            prop_assert_eq!(&parameters["password"], &password);
            prop_assert_eq!(&parameters["dbname"], &database);
        }

        #[test]
        fn no_text_panics(text in ".{0,64}", tail in "[a-z@:/?&=%'\\\\\\[\\] ,]{0,32}") {
            let _ = parse(&text);
            let _ = parse(&tail);
            let _ = parse(&format!("postgres://{tail}"));
        }
    }
}
