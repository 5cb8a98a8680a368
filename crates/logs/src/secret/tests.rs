//! What is a secret and what is not, in the words of servers and people.

use proptest::prelude::*;

use super::*;

/// What texts with secrets are made of, and what redacting leaves of them.
const PARTS: &[&str] = &[
    "Key (",
    ")=(",
    ") ",
    ")",
    "(",
    "password",
    "token",
    "secret",
    "=",
    ": ",
    " => ",
    " to ",
    " ",
    ",",
    "'",
    "''",
    "\"",
    "$q$",
    "$",
    "\\",
    "abc",
    "é",
    "hunter2hunter2hunter2",
    "bearer ",
    "basic ",
    "crypt(",
    "hmac ('",
    ";",
    "\n",
    "://",
    "u:",
    "@",
    "/",
    "-----BEGIN PRIVATE KEY-----",
    "-----END PRIVATE KEY-----",
    "ghp_0123456789abcdefghij",
    "[redacted ",
    "]",
    "[redacted key]",
    "[redacted token]",
    "[redacted password]",
    "null",
    "?",
    "$1",
];

fn check(text: &str, expected: &str) {
    assert_eq!(without_secrets(text), expected, "{text}");
    assert_eq!(without_secrets(expected), expected, "twice: {text}");
}

#[test]
fn passwords_are_redacted_wherever_they_are_written() {
    for (text, expected) in [
        (
            "ALTER ROLE a PASSWORD 'x''y' VALID UNTIL 'infinity'",
            "ALTER ROLE a PASSWORD '[redacted password]' VALID UNTIL 'infinity'",
        ),
        (
            "create user a with encrypted password E'a\\'b'",
            "create user a with encrypted password E'[redacted password]'",
        ),
        (
            "alter role a password $q$geheim$q$;",
            "alter role a password $q$[redacted password]$q$;",
        ),
        (
            "alter role a password 'cut of",
            "alter role a password '[redacted password]",
        ),
        (
            "host=db password=s3cret dbname=x",
            "host=db password=[redacted password] dbname=x",
        ),
        (
            "private_key=-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY----- b",
            "private_key=[redacted key] b",
        ),
        (
            "conninfo 'host=a password=''b c'' user=d'",
            "conninfo 'host=a password=''[redacted password]'' user=d'",
        ),
        (
            "postgres://u:p%40ss@h:5432/d?sslmode=require",
            "postgres://u:[redacted password]@h:5432/d?sslmode=require",
        ),
        ("see https://example.org/a:b", "see https://example.org/a:b"),
        (
            "{\"password\": \"a\\\"b\", \"user\": \"u\"}",
            "{\"password\": \"[redacted password]\", \"user\": \"u\"}",
        ),
        ("ldapbindpasswd=abc", "ldapbindpasswd=[redacted password]"),
        (
            "parameter \"primary_conninfo\" changed to \"host=a password=geheim user=b\"",
            "parameter \"primary_conninfo\" changed to \"host=a password=[redacted password] user=b\"",
        ),
        (
            "\\set password => 'x",
            "\\set password => '[redacted password]",
        ),
        (
            "set app.password to 'abc'",
            "set app.password to '[redacted password]'",
        ),
        (
            "Key (email, password)=(a@b, hunter2) already exists.",
            "Key (email, password)=([redacted password]) already exists.",
        ),
        (
            "Key (password: abc, id)=(hunter2) already exists.",
            "Key (password: [redacted password], id)=([redacted password]) already exists.",
        ),
    ] {
        check(text, expected);
    }
}

#[test]
fn what_follows_bearer_is_gone_with_the_secret_that_it_names() {
    for (text, expected) in [
        ("Bearer secret_access_key: abc", "Bearer [redacted token]"),
        (
            "Bearer\nsecret_access_key: abc, b",
            "Bearer\n[redacted token], b",
        ),
        (
            "bearer a_password_of_mine => 'abc'",
            "bearer [redacted token]'",
        ),
        ("Bearer my-secret-token-of-old", "Bearer [redacted token]"),
        (
            "bearer bearer.0123456789abcdef x",
            "bearer [redacted token] x",
        ),
    ] {
        check(text, expected);
    }
}

#[test]
fn tokens_and_keys_are_redacted_by_name_and_by_form() {
    for (text, expected) in [
        (
            "Authorization: Bearer abcdefghijklmnop1234",
            "Authorization: Bearer [redacted token]",
        ),
        (
            "Authorization: Basic dXNlcjpwYXNz",
            "Authorization: Basic [redacted token]",
        ),
        (
            "curl -H 'X-Api-Key: abc123'",
            "curl -H 'X-Api-Key: [redacted key]'",
        ),
        ("api_key => 'abc'", "api_key => '[redacted key]'"),
        (
            "private_key=-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY----- b",
            "private_key=[redacted key] b",
        ),
        (
            "token-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----",
            "token[redacted key]",
        ),
        ("id AKIAIOSFODNN7EXAMPLE used", "id [redacted key] used"),
        ("sk-abcdefghijklmnopqrst", "[redacted key]"),
        ("ghp_0123456789abcdefghij0123", "[redacted token]"),
        (
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
            "[redacted token]",
        ),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY----- x",
            "[redacted key] x",
        ),
        ("-----BEGIN PRIVATE KEY-----\nMII", "[redacted key]"),
        (
            "pgp_sym_encrypt(card, 'key')",
            "pgp_sym_encrypt(card, '[redacted key]')",
        ),
        (
            "verifier SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy",
            "verifier [redacted password]",
        ),
        ("md50123456789abcdef0123456789abcdef", "[redacted password]"),
    ] {
        check(text, expected);
    }
}

#[test]
fn a_secret_within_a_secret_is_gone_and_what_replaced_it_stays() {
    for (text, expected) in [
        (
            "crypt(-----BEGIN PRIVATE KEY-----hmac ('Key (",
            "crypt([redacted key]",
        ),
        (
            "Key (token)=(Key (secret)=(abc) hunter2) exists",
            "Key (token)=([redacted token]) exists",
        ),
        (
            "password=[redacted hunter2] x",
            "password=[redacted password] hunter2] x",
        ),
        (
            "[redacted password=hunter2 x",
            "[redacted password=[redacted password] x",
        ),
        (
            "password=[redacted password]hunter2 x",
            "password=[redacted password] x",
        ),
        (
            "password=abc[redacted token] x",
            "password=[redacted password] x",
        ),
        ("crypt('[redacted key]', 'abc')", "crypt('[redacted key]')"),
        (
            "Key (token)=([redacted token], hunter2) exists",
            "Key (token)=([redacted token]) exists",
        ),
    ] {
        check(text, expected);
    }
    let long = format!("Key (token)=({}hunter2", "a ".repeat(REACH_BYTES_MAX));
    check(&long, "Key (token)=([redacted token]");
    let deep = "password=''".repeat(100);
    assert_eq!(
        without_secrets(&without_secrets(&deep)),
        without_secrets(&deep)
    );
}

#[test]
fn what_is_no_secret_stays() {
    for text in [
        "password authentication failed for user \"budi@itera.ac.id\"",
        "Token \"foo\" is invalid.",
        "select * from t where password = $1 and token = ?",
        "select password from users where token = $1 and secret = ?",
        "select 'https://a.b/c@d' , 'budi@itera.ac.id'",
        "https://host/x@y",
        "Bearer token=[redacted token]",
        "create table tokens (token text, password varchar(100))",
        "SHOW password_encryption",
        "set password_encryption = 'scram-sha-256'",
        "Key (id)=(5) already exists.",
        "-----BEGIN CERTIFICATE-----",
        "md5(random()::text)",
        "eyJust a word",
        "Kunci (sandi)",
        "",
    ] {
        assert!(
            matches!(without_secrets(text), Cow::Borrowed(_)),
            "{text}: {}",
            without_secrets(text)
        );
    }
}

/// What announces secrets, nearly announces them, and stands between.
const MARKS: [&str; 24] = [
    "password",
    "Passphrase",
    "pwd",
    "x-Api-Key",
    "TOKEN",
    "tokenizer",
    "bearer ",
    "crypt",
    "hmac",
    "key (",
    ")=(",
    "://",
    "eyJ",
    "md5",
    "SCRAM-SHA-256$",
    "-----BEGIN",
    " PRIVATE KEY-----",
    "[redacted token]",
    "a",
    "-",
    "_",
    " ",
    "é",
    "=",
];

#[test]
fn tokens_are_told_by_their_first_bytes() {
    for (start, least, _) in TOKENS {
        let text = format!("{start}{}", "a".repeat(least));
        assert!(token(&text).is_some(), "{text}");
        assert_eq!(token(&text), token_of(&text));
    }
}

proptest! {
    #[test]
    fn what_is_passed_over_announces_nothing(
        parts in prop::collection::vec(prop::sample::select(&MARKS[..]), 0..12), other in "[ -~é]{0,30}",
    ) {
        for text in [parts.concat() + &other, other + &parts.join(" ")] {
            for (at, first) in text.char_indices() {
                if announcing(text.as_bytes(), at) != Some(at) {
                    prop_assert_eq!(found(&text, at), Err(at + first.len_utf8()), "{}", text);
                }
                let rest = &text[at..];
                prop_assert!(token(rest) == token_of(rest), "{}", rest);
                let end = rest.bytes().position(|byte| !name_byte(byte) && byte != b'-').unwrap_or(rest.len());
                let name = rest[..end].to_ascii_lowercase();
                let named = secret_name(&name).is_some() || name == BEARER || FUNCTIONS.contains(&name.as_str());
                let letters = letters(&rest[..end]);
                prop_assert!(!named || names_something(letters), "{}", name);
                let block = rest[..end].find(BLOCK.trim_end()).unwrap_or(end);
                prop_assert_eq!(block_or(rest, end, letters), block);
            }
        }
    }

    #[test]
    fn any_text_is_survived_and_redacting_twice_is_redacting_once(text in "(?s).{0,200}") {
        let once = without_secrets(&text).into_owned();
        prop_assert_eq!(without_secrets(&once).into_owned(), once);
    }

    #[test]
    fn what_announces_secrets_within_secrets_is_redacted_once(parts in prop::collection::vec(prop::sample::select(PARTS), 0..14)) {
        let text = parts.concat();
        let once = without_secrets(&text).into_owned();
        prop_assert_eq!(without_secrets(&once).into_owned(), once, "{}", text);
    }

    #[test]
    fn no_password_survives(password in "[a-zA-Z0-9!#%+./^é-]{6,20}", before in "[ -~]{0,20}") {
        for text in [
            format!("alter role a password '{password}'"),
            format!("{} password={password} dbname=x", before.replace(['\'', '"'], "")),
            format!("postgres://u:{password}@h/d"),
        ] {
            prop_assert!(!without_secrets(&text).contains(&password), "{}", text);
        }
    }
}
