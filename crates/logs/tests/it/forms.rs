//! csvlog and jsonlog: the same records from both, whole, in pieces, torn.

use pawang_logs::format::csv::Csv;
use pawang_logs::format::json::Json;
use pawang_logs::format::{RECORD_BYTES_MAX, Scanner};
use pawang_logs::record::Record;
use pawang_logs::severity::Severity;
use proptest::prelude::*;

use crate::found::{odds, pieces, records, split, whole};

const CSV: &[u8] = include_bytes!("../data/forms.csv");
const JSON: &[u8] = include_bytes!("../data/forms.json");

/// A csvlog record of 26 columns, whose message is written as it is.
fn csv_line(message: &str) -> String {
    format!(
        "2026-11-22 04:23:06.226 WIB,\"app\",\"db\",7,\"10.0.0.1:40000\",6b020bba.7,3,\"SELECT\",2026-11-22 04:23:06 WIB,3/1,0,LOG,00000,\
         \"{message}\",,,,,,,,,\"psql\",\"client backend\",,-5\n"
    )
}

fn messages(found: &[crate::found::Found]) -> Vec<String> {
    let text = |record: &&Record<'_>| String::from_utf8_lossy(record.message).into_owned();
    records(found).iter().map(text).collect()
}

#[test]
fn csvlog_and_jsonlog_of_one_run_give_equal_records() {
    let (csv, json) = (whole(Csv::default(), CSV), whole(Json::default(), JSON));
    assert_eq!(odds(&csv), []);
    assert_eq!(odds(&json), []);
    let (csv, json) = (records(&csv), records(&json));
    assert_eq!(csv.len(), 157);
    assert_eq!(json.len(), 157);
    for (csv, json) in csv.iter().zip(json) {
        assert_eq!(*csv, json);
    }
    assert!(
        csv.iter()
            .all(|record| record.at.is_some() && record.pid > 0)
    );
}

#[test]
fn all_fields_of_a_csv_record() {
    let found = whole(
        Csv::default(),
        b"2026-11-22 04:23:06.226 WIB,\"bu\"\"di\",\"Data Mart\",7,\"::1:40000\",6b020bba.7,3,\"SELECT\",2026-11-22 04:23:06 WIB,3/1,9,ERROR,\
          42P01,\"a \"\"b\"\"\nc\",\"d\",\"h\",\"iq\",4,\"ctx\",\"stmt\",5,\"f, x.c:1\",\"my, app\",\"parallel worker\",6,-5\n",
    );
    let expected = Record {
        at: Some(1_795_296_186_226_000),
        pid: 7,
        session_started: 0x6b02_0bba,
        line: 3,
        lines: 1,
        severity: Severity::Error,
        sqlstate: *b"42P01",
        query_id: -5,
        leader_pid: 6,
        user: b"bu\"di",
        database: b"Data Mart",
        application: b"my, app",
        host: b"::1",
        backend: b"parallel worker",
        message: b"a \"b\"\nc",
        detail: b"d",
        hint: b"h",
        context: b"ctx",
        statement: b"stmt",
        internal_query: b"iq",
        location: b"f, x.c:1",
        ..Record::default()
    };
    assert_eq!(records(&found), [&expected]);
    let found = whole(
        Json::default(),
        br#"{"timestamp":"2026-11-22 04:23:06.226 WIB","user":"bu\"di","dbname":"Data Mart","pid":7,"remote_host":"::1","remote_port":40000,"session_id":"6b020bba.7","line_num":3,"ps":"SELECT","vxid":"3/1","txid":9,"error_severity":"ERROR","state_code":"42P01","message":"a \"b\"\nc","detail":"d","hint":"h","internal_query":"iq","internal_position":4,"context":"ctx","new":{"x":["]}"]},"statement":"stmt","cursor_position":5,"func_name":"f","file_name":"x.c","file_line_num":1,"application_name":"my, app","backend_type":"parallel worker","leader_pid":6,"query_id":-5}"#,
    );
    assert_eq!(records(&found), [&expected]);
}

#[test]
fn columns_of_all_versions() {
    let line = csv_line("one");
    let line = line.trim_end();
    let columns: Vec<&str> = line.split(',').collect();
    for (count, backend) in [(23, ""), (24, "client backend"), (26, "client backend")] {
        let text = format!("{}\n", columns[..count].join(","));
        let found = whole(Csv::default(), text.repeat(2).as_bytes());
        let records = records(&found);
        assert_eq!(records.len(), 2, "{count}: {found:?}");
        assert_eq!(records[1].backend, backend.as_bytes());
    }
    let mut scanner = Csv::default();
    let mut keep = crate::found::Keep::default();
    let text = format!("{line},\"more\",1\n{line}\n");
    scanner.scan(text.as_bytes(), 0, text.len(), true, &mut keep);
    assert_eq!(records(&keep.0).len(), 2);
    assert_eq!(scanner.extended(), 1);
    let text = format!("{}\n", columns[..25].join(","));
    assert_eq!(
        odds(&whole(Csv::default(), text.as_bytes())),
        [("malformed", text)]
    );
}

#[test]
fn a_record_inside_of_quotes_is_no_record() {
    let forged = csv_line("forged").replace('"', "\"\"");
    let bare = "2026-01-01 00:00:00.000 UTC,,,1,,1.1,1,,,,,PANIC,00000,,,,,,,,,,,,,\n".repeat(2);
    let text = format!(
        "{}{}{}{}{}{}",
        csv_line("one"),
        csv_line(&format!("two\n{forged}end")),
        csv_line(&format!("\n{bare}end")),
        csv_line("four"),
        csv_line("five"),
        csv_line("six")
    );
    let found = whole(Csv::default(), text.as_bytes());
    assert_eq!(records(&found).len(), 6);
    assert_eq!(odds(&found), []);
    // Where the quoted text has no quote of its own the guess may be wrong, which the caller notices.
    let inside = text.find("two\n").unwrap();
    for cut in 0..inside + forged.len() {
        assert_eq!(split(Csv::default, text.as_bytes(), cut), found);
    }
}

#[test]
fn a_torn_csv_loses_only_what_is_torn() {
    let torn = "2026-11-22 04:23:06.226 WIB,\"app\",\"db\",7,\"[local]\",6b020bba.7,3,\"SELECT\",2026-11-22 04:23:06 WIB,3/1,0,LOG,00000,\"select";
    let text = format!(
        "{}{torn}{}{}{torn}\n{}{}{}garbage\0\n{}{torn}",
        csv_line("one"),
        csv_line("two"),
        csv_line("three"),
        csv_line("four"),
        csv_line("five"),
        csv_line("six"),
        csv_line("seven"),
    );
    let found = whole(Csv::default(), text.as_bytes());
    let expected = ["one", "two", "three", "four", "five", "six", "seven"];
    assert_eq!(messages(&found), expected);
    let malformed = |text: &str| ("malformed", text.to_owned());
    assert_eq!(
        odds(&found),
        [
            malformed(torn),
            malformed(&format!("{torn}\n")),
            malformed("garbage\0\n"),
            malformed(torn)
        ]
    );
    for cut in 0..text.len() {
        assert_eq!(
            pieces(Csv::default(), text.as_bytes(), &[cut]),
            found,
            "{cut}"
        );
    }
}

#[test]
fn how_much_of_a_csv_is_torn_does_not_depend_on_how_it_arrives() {
    let broken = csv_line("one").replace("6b020bba", "garbage");
    let no_process = csv_line("three").replace(",7,", ",x7,");
    let date = csv_line("four").replace("-22 ", "x22 ");
    let text = [broken, csv_line("two"), no_process, date, csv_line("five")].concat();
    let found = whole(Csv::default(), text.as_bytes());
    for cut in 0..text.len() {
        let cut_found = pieces(Csv::default(), text.as_bytes(), &[cut]);
        assert_eq!(cut_found, found, "{cut}");
    }
}

#[test]
fn torn_and_foreign_lines_of_json_are_told() {
    let line = |message: &str| {
        format!(
            "{{\"timestamp\":\"2026-11-22 04:23:06.226 WIB\",\"error_severity\":\"LOG\",\"message\":\"{message}\"}}\n"
        )
    };
    let text = format!(
        "{}rsync: done\n{{\"timestamp\":\"2026-11-22{}{{\"a\":1}}\n\n{}",
        line("one"),
        line("two {\\\"timestamp\\\":\\\""),
        line("three").trim_end()
    );
    let found = whole(Json::default(), text.as_bytes());
    assert_eq!(messages(&found), ["one", "two {\"timestamp\":\"", "three"]);
    assert_eq!(
        odds(&found),
        [
            ("raw", "rsync: done".to_owned()),
            ("malformed", "{\"timestamp\":\"2026-11-22".to_owned()),
            ("malformed", "{\"a\":1}".to_owned()),
        ]
    );
}

#[test]
fn texts_that_look_like_many_beginnings_do_not_take_long() {
    for unit in [
        "2026-01-01 00:00:00 ",
        "2026-01-01 00:00:00,",
        "2026-01-01 00:00:00,\"",
        "2026-01-01 00:00:00,\"\"",
        "2026-01-01 00:00:00,\n",
        "\n2026-01-01 00:00:00,\"\"\"",
    ] {
        let text = unit.repeat(400_000 / unit.len());
        let found = whole(Csv::default(), text.as_bytes());
        assert!(records(&found).is_empty());
        let told: usize = odds(&found).iter().map(|(_, text)| text.len()).sum();
        // An empty line is nothing.
        assert!(told + 1 >= text.len());
    }
}

#[test]
fn bytes_that_are_no_text_do_no_harm() {
    let mut text = csv_line("a\u{1}b").into_bytes();
    let place = text.iter().position(|byte| *byte == 1).unwrap();
    text[place] = 0xff;
    text.splice(place..place, [0, 0xc3]);
    text.extend_from_slice(csv_line("next").as_bytes());
    let found = whole(Csv::default(), &text);
    assert_eq!(records(&found)[0].message, b"a\0\xc3\xffb");
    assert_eq!(records(&found).len(), 2);
    let garbage: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    assert!(records(&whole(Csv::default(), &garbage)).is_empty());
    assert!(records(&whole(Json::default(), &garbage)).is_empty());
}

#[test]
fn a_statement_of_ten_megabytes_is_cut_and_the_next_record_is_whole() {
    let long = "x\n\"\"y ".repeat(10 * 1024 * 1024 / 6);
    let text = format!(
        "{}{}{}",
        csv_line("one"),
        csv_line(&long),
        csv_line("three")
    );
    check_cut(Csv::default, text.as_bytes());
    let line = |message: &str| {
        format!(
            "{{\"timestamp\":\"2026-11-22 04:23:06.226 WIB\",\"error_severity\":\"LOG\",\"message\":\"{message}\",\"query_id\":1}}\n"
        )
    };
    let long = "x\\n\\\"y ".repeat(10 * 1024 * 1024 / 7);
    let text = format!("{}{}{}", line("one"), line(&long), line("three"));
    check_cut(Json::default, text.as_bytes());
}

fn check_cut<S: Scanner>(scanner: impl Fn() -> S, text: &[u8]) {
    let found = whole(scanner(), text);
    let all = records(&found);
    assert_eq!(all.len(), 3);
    assert!(all[1].cut && !all[0].cut && !all[2].cut);
    assert!(all[1].message.starts_with(b"x\n\"y x"));
    assert!(all[1].message.len() > RECORD_BYTES_MAX / 2);
    assert_eq!(all[2].message, b"three");
    let cuts: Vec<usize> = (0..text.len()).step_by(1_000_003).collect();
    assert!(pieces(scanner(), text, &cuts) == found);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pieces_of_csv_and_json_give_the_same_records(cuts in prop::collection::vec(0..CSV.len(), 0..20)) {
        prop_assert_eq!(pieces(Csv::default(), CSV, &cuts), whole(Csv::default(), CSV));
        prop_assert_eq!(pieces(Json::default(), JSON, &cuts), whole(Json::default(), JSON));
    }

    #[test]
    fn halves_of_csv_and_json_give_the_same_records(cut in 0..CSV.len()) {
        prop_assert_eq!(split(Csv::default, CSV, cut), whole(Csv::default(), CSV));
        prop_assert_eq!(split(Json::default, JSON, cut), whole(Json::default(), JSON));
    }

    #[test]
    fn damaged_bytes_lose_nothing_silently(place in 0..CSV.len(), byte: u8, cuts in prop::collection::vec(0..CSV.len(), 0..5)) {
        let mut csv = CSV.to_vec();
        csv[place] = byte;
        let found = whole(Csv::default(), &csv);
        prop_assert!(records(&found).len() + 4 >= 157, "{}", records(&found).len());
        prop_assert_eq!(pieces(Csv::default(), &csv, &cuts), found);
        let mut json = JSON.to_vec();
        json[place] = byte;
        let found = whole(Json::default(), &json);
        prop_assert!(records(&found).len() + 2 >= 157);
        prop_assert_eq!(pieces(Json::default(), &json, &cuts), found);
    }

    #[test]
    fn any_text_survives_csv(messages in prop::collection::vec(any::<String>(), 1..8), cut in 0_usize..4000) {
        let quoted = |message: &String| csv_line(&message.replace('"', "\"\""));
        let text: String = messages.iter().map(quoted).collect();
        let found = whole(Csv::default(), text.as_bytes());
        prop_assert!(odds(&found).is_empty());
        prop_assert_eq!(self::messages(&found), messages);
        prop_assert_eq!(pieces(Csv::default(), text.as_bytes(), &[cut]), found);
    }

    #[test]
    fn strings_are_decoded_as_serde_json_does(
        message: String,
        user in "[^\u{0}]{0,20}",
        other in prop::collection::vec(any::<String>(), 0..4),
        is_ascii: bool,
    ) {
        let value = serde_json::json!({
            "timestamp": "2026-11-22 04:23:06.226 WIB", "user": user, "extra": {"list": other, "nested": [[{"}": "]"}]]},
            "error_severity": "ERROR", "message": message, "number": -1.5e10, "none": null, "yes": true,
        });
        let mut text = value.to_string();
        if is_ascii {
            text = text.encode_utf16().map(|unit| match u8::try_from(unit) {
                Ok(byte) if byte.is_ascii() => char::from(byte).to_string(),
                _ => format!("\\u{unit:04x}"),
            }).collect();
        }
        text.push('\n');
        let found = whole(Json::default(), text.as_bytes());
        let all = records(&found);
        prop_assert_eq!(all.len(), 1);
        prop_assert_eq!(all[0].message, message.as_bytes());
        let expected = if user == "[unknown]" { "" } else { &user };
        // Line ends in names are shown as the stderr format must show them.
        let expected = expected.replace('\n', "\\x0a").replace('\r', "\\x0d");
        prop_assert_eq!(&all[0].user, &expected.as_bytes());
    }
}
