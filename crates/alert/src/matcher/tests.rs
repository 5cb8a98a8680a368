//! What matchers accept, and what they hold for.

use proptest::prelude::*;

use super::*;

fn labels(text: &str) -> BTreeMap<String, String> {
    let pairs = text
        .split_whitespace()
        .filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(label, value)| (label.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn reads_what_alertmanager_reads() {
    for (text, shown) in [
        ("check=disk-space", r#"check="disk-space""#),
        (r#"check="disk-space""#, r#"check="disk-space""#),
        (" level != critical ", r#"level!="critical""#),
        (r#"instance =~ "dwh-.*""#, r#"instance=~"dwh-.*""#),
        (r#"object!~"a\.b""#, r#"object!~"a\\.b""#),
        (r#"object="a\"b\\c\nd""#, r#"object="a\"b\\c\nd""#),
        ("object=", r#"object="""#),
        (r#"{check="a"}"#, r#"check="a""#),
        ("check=a,", r#"check="a""#),
        (r#""check"="a, b""#, r#"check="a, b""#),
        ("object=public.orders", r#"object="public.orders""#),
    ] {
        assert_eq!(
            parse(text).map(|m| m.to_string()),
            Ok(shown.to_owned()),
            "{text}"
        );
    }
    let list = parse_list(r#"{ check="a", instance=~"b,c|d", level!=critical }"#).expect("a list");
    assert_eq!(list.len(), 3);
    assert_eq!(parse_list("{}"), Ok(Vec::new()));
}

#[test]
fn says_what_is_wrong() {
    for (text, words) in [
        ("", "it is empty"),
        ("check", "there is no =, !=, =~ or !~ after \"check\""),
        ("=a", "it names no label"),
        ("check=\"a", "not closed"),
        ("check=a b=c", "there is no comma before \"b=c\""),
        ("check=a,b=c", "more than one"),
        ("{check=a", "a brace has no partner"),
        ("check='a'", "must stand in double quotes"),
        ("check=~a*b(", "is no regular expression"),
        ("check=~\"(\"", "is no regular expression"),
        ("check=~\"a)|(b\"", "is no regular expression"),
        (
            "check=~\"((a{1000}){1000}){1000}\"",
            "is no regular expression",
        ),
        ("check==a", "no comma"),
    ] {
        let error = parse(text)
            .map(|m| m.to_string())
            .unwrap_or_else(|error| error);
        assert!(error.contains(words), "{text}: {error}");
    }
    assert!(parse(&"a".repeat(5_000)).is_err());
}

#[test]
fn holds_for_whole_texts_and_missing_labels_are_empty() {
    for (matcher, of, expected) in [
        ("check=a", "check=a", true),
        ("check=a", "check=ab", false),
        ("check=a", "", false),
        ("check=\"\"", "", true),
        ("check!=a", "", true),
        ("check!=a", "check=a", false),
        ("check=~a", "check=ab", false),
        ("check=~\"a|ab\"", "check=ab", true),
        ("check=~\"a|ab\"", "check=aba", false),
        ("check=~\"a.*\"", "check=ab", true),
        ("check=~\"a.*\"", "check=ba", false),
        ("check=~\"[ab]+\"", "check=abab", true),
        ("check=~\"[ab]+\"", "check=abc", false),
        ("check=~\".+\"", "", false),
        ("check=~\".*\"", "", true),
        ("check!~\"a.*\"", "check=b", true),
        ("check!~\"a.*\"", "check=ab", false),
        ("priority=~\"P[12]\"", "priority=P2", true),
        ("priority=~\"P[12]\"", "priority=P3", false),
    ] {
        let ready = Matchers::read(&[matcher.to_owned()]).expect(matcher);
        assert_eq!(ready.hold(&labels(of)), expected, "{matcher} {of}");
    }
    let both = Matchers::read(&["check=a,instance=b".to_owned(), "level=c".to_owned()]);
    let both = both.expect("two texts, three matchers");
    assert!(both.hold(&labels("check=a instance=b level=c")));
    assert!(!both.hold(&labels("check=a instance=b level=d")));
    assert!(both.hold_for("check", "a") && !both.hold_for("check", "b") && both.hold_for("x", "y"));
}

#[test]
fn knows_what_matches_everything() {
    for (texts, expected) in [
        (&[][..], true),
        (&["check=~\".*\""], true),
        (&["check=~\".+\""], true),
        (&["check!=a"], true),
        (&["check!=a", "instance=dwh-1"], false),
        (&["priority=~\"P.\""], true),
        (&["priority=~\"P[12]\""], false),
        (&["level=~\"warning|critical\""], true),
        (&["level=critical"], false),
        (&["check=disk-space"], false),
        (&["instance=\"\""], true),
    ] {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        let ready = Matchers::read(&texts).expect("they are right");
        assert_eq!(ready.match_everything(), expected, "{texts:?}");
    }
}

proptest! {
    #[test]
    fn what_is_shown_is_read_again(label in "[a-z_][a-z0-9_.-]{0,9}", value in "\\PC{0,12}|[\\\\\"'\n\t\u{0}a]{0,9}", equal: bool) {
        let operator = if equal { Operator::Equal } else { Operator::NotEqual };
        let matcher = Matcher { label, operator, value };
        prop_assert_eq!(parse(&matcher.to_string()), Ok(matcher));
    }

    #[test]
    fn no_text_is_too_strange(text in "[a\"{}=~!,\\\\(*|. ]{0,30}") {
        let _ = parse_list(&text);
    }

    #[test]
    fn short_ways_agree_with_the_expression(value in "[ab|\n-]{0,5}", expression in prop::sample::select(vec![".+", "a|ab", "a.*", "-a|b-", ".*", ""])) {
        let matcher = Matcher { label: "x".to_owned(), operator: Operator::Matches, value: expression.to_owned() };
        let ready = Matchers::new(vec![matcher]).expect("it is right");
        let slow = Regex::new(&format!("^(?:{expression})$")).expect("it is right");
        let labels = BTreeMap::from([("x".to_owned(), value.clone())]);
        prop_assert_eq!(ready.hold(&labels), slow.is_match(&value));
    }
}
