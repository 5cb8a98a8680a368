//! Any prefix reads back what was written with it, and no line breaks a reader.

use proptest::prelude::*;

use super::*;
use crate::language::words::{Label, Part};
use crate::severity::Severity;

fn read<'t>(prefix: &str, line: &'t str) -> Option<Fields<'t>> {
    let mut fields = Fields::default();
    let reading = Prefix::new(prefix).read(line.as_bytes(), &mut Clock::default(), &mut fields);
    (reading == Reading::Whole).then_some(fields)
}

#[track_caller]
fn names(prefix: &str, line: &str) -> [String; 4] {
    let fields = read(prefix, line).unwrap();
    let names = [
        fields.user,
        fields.database,
        fields.application,
        fields.host,
    ];
    names.map(|name| String::from_utf8_lossy(name).into_owned())
}

#[test]
fn names_may_hold_what_separates_them() {
    for (prefix, line, expected) in [
        (
            "%m [%p] %q%u@%d ",
            "2026-11-22 04:23:06.226 UTC [7] budi@itera.ac.id@Data Mart LOG:  x",
            ["budi", "itera.ac.id@Data Mart", "", ""],
        ),
        (
            "%t:%r:%u@%d:[%p]:",
            "2026-11-22 04:23:06 UTC:fe80::1(5432):ahli data@Data Mart:[7]:LOG:  x",
            ["ahli data", "Data Mart", "", "fe80::1"],
        ),
        (
            "%t:%r:%u@%d:[%p]:",
            "2026-11-22 04:23:06 UTC::@:[7]:LOG:  x",
            ["", "", "", ""],
        ),
        (
            "%m [%p] user=%u,db=%d,app=%a,client=%h ",
            "2026-11-22 04:23:06.226 +0545 [7] user=a,db=b,db=c,app=my app, v=1,client=[local] ERROR:  x",
            ["a", "b,db=c", "my app, v=1", "[local]"],
        ),
        (
            "%m [%8p] [%-12u] %d ",
            "2026-11-22 04:23:06.226 UTC [      77] [bob         ] [unknown] FEHLER:  x",
            ["bob", "", "", ""],
        ),
        ("", "LOG:  x", ["", "", "", ""]),
        ("%u", "postgresLOG:  x", ["postgres", "", "", ""]),
        ("100%% %u> ", "100% a> b> LOG:  x", ["a> b", "", "", ""]),
    ] {
        assert_eq!(names(prefix, line), expected.map(String::from), "{line}");
    }
}

#[test]
fn every_escape_is_told() {
    let line = "a|u|d|1.2.3.4(5)|h|L|client backend|SELECT|24200|7|2026-11-22 04:23:06 WIB|\
        2026-11-22 04:23:06.226 WIB|1795296186.226|42P01|6b020bbe.5e88|12|2026-11-22 04:23:06 WIB|3/17|730|\
        -9223372036854775808|% LOG:  x";
    let fields = read(
        "%a|%u|%d|%r|%h|%L|%b|%i|%p|%P|%t|%m|%n|%e|%c|%l|%s|%v|%x|%Q|%% ",
        line,
    )
    .unwrap();
    assert_eq!(fields.at, Some(1_795_296_186_226_000));
    assert_eq!((fields.pid, fields.leader_pid), (24200, 7));
    assert!(!fields.disagrees());
    assert_eq!((fields.line, fields.xid), (12, 730));
    assert_eq!(fields.query_id, i64::MIN);
    assert_eq!(&fields.sqlstate, b"42P01");
    assert_eq!(
        (fields.virtual_xid, fields.command),
        (&b"3/17"[..], &b"SELECT"[..])
    );
    assert_eq!(fields.session_started, 1_795_296_186);
    assert_eq!(fields.label, Some(Label::Severity(Severity::Log)));
}

#[test]
fn what_has_another_prefix_is_none() {
    for (prefix, line) in [
        ("%m [%p] ", "2026-11-22 04:23:06 UTC [7] LOG:  x"),
        ("%t [%p] ", "2026-11-22 04:23:06.226 UTC [7] LOG:  x"),
        ("%m [%p] ", "2026-11-22 04:23:06.226 UTC [7] LOG: x"),
        ("%m [%p] ", "2026-11-22 04:23:06.226 UTC [7] a@b LOG:  x"),
        ("%c ", "6b020bba5e88 LOG:  x"),
    ] {
        assert_eq!(read(prefix, line), None, "{line}");
    }
}

#[test]
fn background_processes_have_the_short_prefix() {
    let fields = read(
        "%m [%p] %q%u@%d ",
        "2026-11-22 04:23:06.226 UTC [7] LOG:  mail to root@localhost failed",
    )
    .unwrap();
    assert_eq!((fields.user, fields.label_at), (&b""[..], 32));
}

/// A client that may not even log in chooses the name, and the server refuses it by quoting the name.
#[test]
fn a_name_that_pretends_to_be_a_record_is_seen() {
    let fields = read(
        "%m [%p] %q%u@%d ",
        "2026-11-22 04:23:06.226 UTC [7] x@y PANIC:  z@postgres FATAL:  role \"x@y PANIC:  z\" does not exist",
    )
    .unwrap();
    assert_eq!(fields.label, Some(Label::Severity(Severity::Fatal)));
    assert_eq!(fields.user, b"x@y PANIC:  z");
    assert!(fields.forged);
    let fields = read(
        "%m [%p] %q%u@%d ",
        "2026-11-22 04:23:06.226 UTC [7] u@d LOG:  statement: select 'a@b PANIC:  x'",
    )
    .unwrap();
    assert_eq!(fields.label, Some(Label::Severity(Severity::Log)));
    assert!(!fields.forged);
    let fields = read(
        "%m [%p] %q%u@%d ",
        "2026-11-22 04:23:06.226 UTC [7] u@d STATEMENT:  select 'a@b PANIC:  x'",
    )
    .unwrap();
    assert_eq!(fields.label, Some(Label::Part(Part::Statement)));
}

#[test]
fn the_text_of_a_prefix_is_given_back() {
    for text in ["", "%m [%p] %q%u@%d ", "%-20u%8p%%%", "%y %5% %"] {
        assert_eq!(Prefix::new(text).to_string(), text);
    }
    assert_eq!(names("%y%5%x %", "x LOG:  y"), ["", "", "", ""]);
}

#[test]
fn no_name_makes_reading_slow() {
    let prefix = "%m %u,%d,%a,%h,%b,%i,%L [%p] ";
    let line = format!("2026-11-22 04:23:06.226 UTC {} LOG:  x", ",".repeat(2000));
    assert_eq!(read(prefix, &line), None);
    let mut clock = Clock::default();
    let joined = line.replace(",,", ",\n");
    assert_eq!(
        Prefix::new(prefix).read_joined(joined.as_bytes(), &mut clock),
        None
    );
}

/// A prefix of many names, and a line of which every part may be the end of one.
#[test]
fn a_prefix_of_many_names_is_tried_within_bounds() {
    let fields = "%a ".repeat(40);
    let prefix = Prefix::new(&format!("%m [%p] {fields}]"));
    let line = format!(
        "2026-11-22 04:23:06.226 WIB [7] {}LOG:  x",
        "a ".repeat(120)
    );
    let (mut clock, mut fields) = (Clock::default(), Fields::default());
    let mut places = PLACES_MAX;
    let reading = prefix.read_with(line.as_bytes(), &mut clock, &mut fields, None, &mut places);
    assert_ne!(reading, Reading::Whole);
    assert_eq!(places, 0);
    let detected = detect(format!("{line}\n").repeat(200).as_bytes());
    assert_eq!(detected, [], "words of a message are no prefix");
}

#[test]
fn the_first_prefix_that_explains_a_line_does_whatever_was_before() {
    let list = ["%m [%p] %c %l ", "%m [%p]%u %l "].map(Prefix::new);
    let both = b"2026-11-22 04:23:06.226 WIB [7] 6b020bba.7 4 LOG:  x";
    let second = b"2026-11-22 04:23:06.226 WIB [7]a 3 LOG:  x";
    let (mut prefixes, mut clock) = (Prefixes::new(list), Clock::default());
    let mut fields = Fields::default();
    for (line, user, session_pid) in [
        (&both[..], &b""[..], 7),
        (second, b"a", 0),
        (both, b"", 7),
        (second, b"a", 0),
        (second, b"a", 0),
    ] {
        assert_eq!(prefixes.read(line, &mut clock, &mut fields), Reading::Whole);
        assert_eq!((fields.user, fields.session_pid), (user, session_pid));
    }
}

#[track_caller]
fn detected(sample: &str, expected: &[&str]) {
    let guesses = detect(sample.as_bytes());
    let found: Vec<&str> = guesses.iter().map(|guess| guess.prefix.as_str()).collect();
    assert_eq!(found, expected, "{guesses:?}");
    let rate: f64 = guesses.iter().map(|guess| guess.match_rate).sum();
    assert!(rate > 0.999, "{guesses:?}");
}

#[test]
fn prefixes_are_told_from_lines() {
    let several = |line: &dyn Fn(usize) -> String| (1..60).map(line).collect::<String>();
    let time = |number: usize| format!("2026-11-22 04:23:{number:02}.226 WIB");
    let plain = several(&|n| format!("{} [{n}] LOG:  duration: 1 ms\n", time(n)));
    detected(&plain, &["%m [%p] "]);
    let debian = several(&|n| match n % 3 {
        0 => format!("{} [{n}] LOG:  checkpoint complete\n", time(n)),
        _ => format!(
            "{} [{n}] budi@itera.ac.id@Data Mart LOG:  duration: 1 ms\n\tfrom x\n",
            time(n)
        ),
    });
    detected(&debian, &["%m [%p] %q%u@%d "]);
    let amazon = several(&|n| {
        format!("2026-11-22 04:23:{n:02} UTC:10.0.0.{n}(5432):app@shop:[{n}]:ERROR:  x\n")
    });
    detected(&amazon, &["%t:%r:%u@%d:[%p]:"]);
    let azure = several(&|n| format!("2026-11-22 04:23:{n:02} UTC-6b020bba.{n:x}-LOG:  x\n"));
    detected(&azure, &["%t-%c-"]);
    let pairs = several(&|n| {
        format!(
            "{} <{n}> usr=a b,database=c,sess=6b020bba.{n:x},tag=SELECT LOG:  x\n",
            time(n)
        )
    });
    detected(&pairs, &["%m <%p> usr=%u,database=%d,sess=%c,tag=%i "]);
    detected("LOG:  x\nERROR:  y\n", &[""]);
    detected(&format!("{plain}{plain}{azure}"), &["%m [%p] ", "%t-%c-"]);
    assert_eq!(detect(b"no log\nat all\n"), []);
    let russian = plain.replace("LOG", "СООБЩЕНИЕ");
    detected(&russian, &["%m [%p] "]);
}

/// A field as the prefix has it, as the line has it, and as it is told.
#[derive(Clone, Debug)]
struct Sample {
    escape: String,
    letter: u8,
    shown: String,
    value: String,
}

const WRITTEN: &str = "2026-11-22 04:23:06";

fn value_of(letter: u8) -> BoxedStrategy<String> {
    let text = |values: &[&str]| {
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        prop::sample::select(values).boxed()
    };
    match letter {
        b'u' | b'd' | b'a' => prop_oneof![
            text(&[
                "",
                "postgres",
                "ahli data",
                "budi@itera.ac.id",
                "a=b,c",
                "[x]",
                "x: LOG: y",
                "ERROR:",
                "{}",
                "päß",
                "a|b",
                "2026-01-01",
            ]),
            "[a-zA-Z0-9@=,:\\[\\]() ._-]{1,30}",
        ]
        .prop_map(|name| name.trim().to_string())
        .boxed(),
        b'r' | b'h' | b'L' => text(&["", "[local]", "10.1.2.3", "fe80::1", "host-1.example.org"]),
        b'b' => text(&[
            "client backend",
            "checkpointer",
            "not initialized",
            "parallel worker",
        ]),
        b'i' => text(&["", "SELECT", "idle in transaction", "CREATE TABLE AS"]),
        b'P' => prop_oneof![
            Just(String::new()),
            (1..u32::MAX).prop_map(|pid| pid.to_string())
        ]
        .boxed(),
        b'p' | b'l' | b'x' => (1..u32::MAX).prop_map(|number| number.to_string()).boxed(),
        b'e' => text(&["00000", "42P01", "XX000"]),
        b'c' => (1..u32::MAX, 1..u32::MAX)
            .prop_map(|(a, b)| format!("{a:x}.{b:x}"))
            .boxed(),
        b'v' => text(&["", "3/17", "-1/0"]),
        b'Q' => any::<i64>().prop_map(|number| number.to_string()).boxed(),
        b'm' => Just(format!("{WRITTEN}.226 WIB")).boxed(),
        b'n' => Just("1795296186.226".to_string()).boxed(),
        _ => Just(format!("{WRITTEN} WIB")).boxed(),
    }
}

fn sample(letter: u8) -> impl Strategy<Value = Sample> {
    let padding = prop_oneof![4 => Just(0_i32), 1 => -24..24_i32];
    (value_of(letter), padding).prop_map(move |(value, padding)| {
        let width = padding.unsigned_abs() as usize;
        // The server counts bytes.
        let blanks = " ".repeat(width.saturating_sub(value.len()));
        let (escape, shown) = match padding {
            0 => (format!("%{}", char::from(letter)), value.clone()),
            1.. => (
                format!("%{padding}{}", char::from(letter)),
                format!("{blanks}{value}"),
            ),
            _ => (
                format!("%{padding}{}", char::from(letter)),
                format!("{value}{blanks}"),
            ),
        };
        Sample {
            escape,
            letter,
            shown,
            value,
        }
    })
}

/// Escapes in a random order, each once, with a literal after each.
///
/// A literal has a mark that no value holds, since two fields of users with nothing between them, or a separator that is in the name, can
/// be read in several ways; values that hold other literals and labels without their blanks are among the samples.
fn prefix() -> impl Strategy<Value = (String, String, Vec<Sample>)> {
    let letters: Vec<u8> = Escape::ALL.iter().map(|(letter, _)| *letter).collect();
    let count = letters.len();
    let chosen = (Just(letters).prop_shuffle(), 0..=count)
        .prop_map(|(letters, count)| letters[..count].to_vec());
    let fields =
        chosen.prop_flat_map(|letters| letters.into_iter().map(sample).collect::<Vec<_>>());
    let literal = prop::sample::select(vec!["~", "~ ", " ~", "~,db=", "] ~[", "~%%", "\u{e9}~"]);
    let literals = prop::collection::vec(literal, count);
    let start = prop::sample::select(vec!["", "", "< ", "x=", "%%"]);
    (fields, literals, start, any::<bool>()).prop_map(|(fields, literals, start, stop)| {
        let mut prefix = start.to_string();
        let mut line = start.replace("%%", "%");
        for (index, (field, literal)) in fields.iter().zip(literals).enumerate() {
            if stop && index == 2 {
                prefix.push_str("%q");
            }
            prefix = format!("{prefix}{}{literal}", field.escape);
            line = format!("{line}{}{}", field.shown, literal.replace("%%", "%"));
        }
        (prefix, line, fields)
    })
}

fn agrees(field: &Sample, fields: &Fields<'_>) -> bool {
    let value = field.value.as_bytes();
    let number = |told: u32| if told == 0 { String::new() } else { told.to_string() } == field.value;
    match field.letter {
        b'u' => fields.user == value,
        b'd' => fields.database == value,
        b'a' => fields.application == value,
        // Both tell the host: the later one stays.
        b'r' | b'h' => true,
        b'L' => fields.local_address == value,
        b'b' => fields.backend == value,
        b'i' => fields.command == value,
        b'p' => number(fields.pid),
        b'P' => number(fields.leader_pid),
        b'l' => number(fields.line),
        b'x' => number(fields.xid),
        b'e' => fields.sqlstate == value,
        b'v' => fields.virtual_xid == value,
        b'Q' => fields.query_id.to_string() == field.value,
        b'c' => field.value.ends_with(&format!(".{:x}", fields.session_pid)),
        b's' => fields.session_started != 0,
        _ => fields.at.is_some_and(|at| at / 1_000_000 == 1_795_296_186),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn any_prefix_round_trips((prefix, line, expected) in prefix()) {
        let line = format!("{line}LOG:  duration: 1.0 ms");
        let mut fields = Fields::default();
        let compiled = Prefix::new(&prefix);
        prop_assert_eq!(compiled.as_str(), &prefix);
        let reading = compiled.read(line.as_bytes(), &mut Clock::default(), &mut fields);
        prop_assert_eq!(reading, Reading::Whole, "{}", line);
        prop_assert_eq!(&line.as_bytes()[fields.text_at..], b"duration: 1.0 ms");
        for field in &expected {
            prop_assert!(agrees(field, &fields), "{:?} of {:?} in {:?}", field, fields, line);
        }
    }

    #[test]
    fn no_line_breaks_a_reader(prefix in "[%a-zA-Z0-9 @-]{0,20}", line in "[ -~\n]{0,120}") {
        let compiled = Prefix::new(&prefix);
        let mut fields = Fields::default();
        compiled.read(line.as_bytes(), &mut Clock::default(), &mut fields);
        compiled.read_joined(line.as_bytes(), &mut Clock::default());
    }
}
