//! `[serve]`: what it accepts, and what it refuses with the place.

use pawang_config::{QueryText, example, parse};

fn errors(text: &str) -> String {
    parse(text, "pawang.toml").expect_err(text).to_string()
}

#[test]
fn nothing_written_is_loopback_and_half_a_percent() {
    let config = parse("", "pawang.toml").expect("nothing is required");
    let serve = &config.serve;
    assert_eq!(serve.listen.to_string(), "127.0.0.1:8432");
    assert_eq!((serve.budget_percent, serve.sign_in), (0.5, None));
    assert_eq!(serve.query_text, QueryText::Normalised);
    let shown = parse(example(), "pawang.example.toml").expect("the example parses");
    assert_eq!(shown.serve, *serve, "the example shows the defaults");
}

#[test]
fn a_wrong_address_is_told_with_its_place_and_what_was_meant() {
    let check = |listen: &str, hint: Option<&str>| {
        let text = format!("[serve]\nlisten = \"{listen}\"\n");
        let hint = hint.map_or(String::new(), |hint| format!("\nhint: write \"{hint}\""));
        let carets = "^".repeat(listen.len() + 2);
        let expected = format!(
            "error: pawang.toml:2:10: wrong value of \"listen\": \"{listen}\" is no address and port\n\
             detail: expected ADDRESS:PORT, such as \"127.0.0.1:8432\"\n\
             2 | listen = \"{listen}\"\n  |          {carets}{hint}"
        );
        assert_eq!(errors(&text), expected);
    };
    check("127.0.0.1", Some("127.0.0.1:8432"));
    check("localhost:8432", Some("127.0.0.1:8432"));
    check("8433", Some("127.0.0.1:8433"));
    check(":8432", Some("0.0.0.0:8432"));
    check("*:8432", Some("0.0.0.0:8432"));
    check("::1", Some("[::1]:8432"));
    check("db.example.com:8432", None);
    check("127.0.0.1:99999", None);
    let good = parse("[serve]\nlisten = \"[::1]:0\"\n", "pawang.toml");
    assert!(good.is_ok(), "{good:?}");
}

#[test]
fn what_contradicts_itself_is_refused_with_its_place() {
    let check = |lines: &str, place: &str, words: &str| {
        let text = format!("[serve]\n{lines}\n");
        let errors = errors(&text);
        assert!(
            errors.contains(&format!("pawang.toml:{place}: ")),
            "{errors}"
        );
        assert!(errors.contains(words), "{errors}");
    };
    check(
        "listen = \"0.0.0.0:8432\"\nsign_in = false",
        "3:11",
        "everybody who reaches 0.0.0.0:8432",
    );
    check(
        "behind_tls_proxy = true\nsign_in = false",
        "3:11",
        "everybody who reaches the proxy",
    );
    check(
        "behind_tls_proxy = true\ntls = { certificate = 'c', key = 'k' }",
        "2:20",
        "either [serve.tls] or behind_tls_proxy",
    );
    check("hosts = ['a', 'http://b/']", "2:15", "is no name of a host");
    check("budget_percent = 0", "2:18", "0 is out of range");
    check(
        "budget_percent = 0.001",
        "2:18",
        "expected a number from 0.01 to 100",
    );
    check("budget_percent = nan", "2:18", "is out of range");
    check("query_text = 'row'", "2:14", "did you mean \"raw\"?");
    check(
        "retention = { raw = '90 d', minute = '7 d' }",
        "2:38",
        "shorter than \"raw\"",
    );
    check("retention.size = '1 MB'", "2:18", "no room for a history");
    check("metrics.series_per_collector = 0", "2:32", "out of range");
}

#[test]
fn a_remote_store_needs_a_url_and_one_kind_of_credential() {
    let check = |lines: &str, words: &str| {
        let text = format!("[[serve.remote_write]]\nname = 'r'\n{lines}\n");
        let errors = errors(&text);
        assert!(errors.contains("pawang.toml:"), "{errors}");
        assert!(errors.contains(words), "{errors}");
        assert!(!errors.contains("geheim"), "{errors}");
    };
    check("", "has no \"url\"");
    check("url = 'mimir:9009'", "a URL that begins with http");
    check(
        "url = 'ftp://u:geheim@mimir'",
        "a URL that begins with http",
    );
    check(
        "url = 'http://m'\nusername = 'u'",
        "expected password_file too",
    );
    check(
        "url = 'http://m'\npassword_file = 'p'",
        "expected username too",
    );
    check(
        "url = 'http://m'\nusername = 'u'\npassword_file = 'p'\ntoken_file = 't'",
        "either token_file or username",
    );
    check(
        "url = 'http://m'\nlabels = { \"a-b\" = 'x' }",
        "is no name of a label",
    );
    check("url = 'http://m'\nqueue_size = 1", "no room for a queue");
    check(
        "url = 'http://m'\n[[serve.remote_write]]\nname = 'r'\nurl = 'http://n'",
        "name \"r\" occurs twice",
    );
}

#[test]
fn a_password_in_the_url_of_a_remote_store_is_a_warning_and_shows_nowhere() {
    let text = "[[serve.remote_write]]\nname = 'r'\nurl = 'http://u:geheim@mimir/push'\n";
    let config = parse(text, "pawang.toml").expect("passwords are accepted");
    assert_eq!(
        config.warnings,
        [
            "pawang.toml:3:7: \"url\" of remote_write \"r\" contains a password; move it into a file that only you can read and name it in password_file"
        ]
    );
    assert!(!format!("{config:?}").contains("geheim"));
    let json = serde_json::to_string(&config).expect("the tree is plain data");
    assert!(!json.contains("geheim"), "{json}");
}
