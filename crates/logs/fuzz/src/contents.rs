//! Targets of what is in records: their kinds, what is taken out of their texts, and other languages.

use pawang_logs::kind::{classify, classify_raw, kinds};
use pawang_logs::language::{Translator, words};
use pawang_logs::record::{Odd, Origin, Record};
use pawang_logs::report::{Report, Source};
use pawang_logs::tally::{Options, Tally};

use super::{control, place};

/// Fields of a record on a line: what tells its session, severity, message, DETAIL, CONTEXT, HINT, STATEMENT.
const FIELDS: usize = 7;

/// Bytes that a translation may have for each byte of its text, and beside that the words that it adds.
const TRANSLATION_GROWTH_MAX: usize = 8;
/// As above.
const TRANSLATION_WORDS_MAX: usize = 4096;

/// Microseconds between two records.
const APART: i64 = 1_700_000;

/// One record on each line, its texts between tabs: read as one log and as two parts of it.
pub(crate) fn kind(data: &[u8]) {
    let (body, [cut, settle]) = control(data);
    let lines: Vec<Vec<Vec<u8>>> = body.split(|byte| *byte == b'\n').map(fields).collect();
    let mut whole = Tally::default();
    let mut parts = [Tally::default(), Tally::default()];
    let cut = place(lines.len(), cut);
    for (number, line) in lines.iter().enumerate() {
        let part = &mut parts[usize::from(number >= cut)];
        if line[0] == b"raw" {
            let odd = Odd::Raw(&line[2]);
            assert!(usize::from(classify_raw(&line[2]).0) < kinds().len());
            whole.take_odd(&odd);
            part.take_odd(&odd);
            continue;
        }
        let record = record(number, line);
        assert!(usize::from(classify(&record).0) < kinds().len());
        whole.take(&record);
        part.take(&record);
    }
    let [mut first, second] = parts;
    if settle % 2 == 1 {
        first.settle();
    }
    first.absorb(second);
    let (one, two) = (report(whole), report(first));
    assert_eq!(one, two, "cut before record {cut}");
    let text = serde_json::to_string(&one).expect("a report is data");
    let read: Report = serde_json::from_str(&text).expect("it was just written");
    assert_eq!(serde_json::to_string(&read).ok(), Some(text));
}

fn report(mut tally: Tally) -> Report {
    tally.settle();
    tally.report(Source::default(), &Options::default())
}

/// Records of a localised log become English ones.
pub(crate) fn language(data: &[u8]) {
    let mut translator = Translator::default();
    let mut again = Translator::default();
    for (number, line) in data.split(|byte| *byte == b'\n').enumerate() {
        let _ = (words::severity(line), words::label(line));
        let fields = fields(line);
        let record = record(number, &fields);
        let Some(english) = translator.translate(&record) else {
            continue;
        };
        for (text, from) in [
            (english.message, record.message),
            (english.detail, record.detail),
            (english.hint, record.hint),
            (english.context, record.context),
        ] {
            let bound = TRANSLATION_GROWTH_MAX * from.len() + TRANSLATION_WORDS_MAX;
            assert!(text.len() <= bound, "{} of {}", text.len(), from.len());
        }
        assert_eq!(english.statement, record.statement);
        let _ = again.translate(&english);
        assert!(usize::from(classify(&english).0) < kinds().len());
    }
    assert!(
        pawang_logs::language::languages().any(|known| Some(known) == translator.language())
            || translator.language().is_none()
    );
}

/// Takes a line apart, with `\n`, `\t` and `\\` for what cannot stand in it.
fn fields(line: &[u8]) -> Vec<Vec<u8>> {
    let mut fields = vec![];
    for text in line.splitn(FIELDS, |byte| *byte == b'\t') {
        let mut field = Vec::with_capacity(text.len());
        let mut bytes = text.iter().copied();
        while let Some(byte) = bytes.next() {
            if byte != b'\\' {
                field.push(byte);
                continue;
            }
            field.extend(bytes.next().map(|byte| match byte {
                b'n' => b'\n',
                b't' => b'\t',
                other => other,
            }));
        }
        fields.push(field);
    }
    fields.resize(FIELDS, Vec::new());
    fields
}

fn record(number: usize, fields: &[Vec<u8>]) -> Record<'_> {
    let session = fields[0]
        .iter()
        .fold(0_u32, |sum, byte| sum + u32::from(*byte));
    let number = i64::try_from(number).expect("it is small");
    Record {
        at: Some(1_795_000_000_000_000 + number * APART),
        pid: session % 5,
        session_started: session % 3,
        line: session % 7,
        lines: 1,
        severity: words::severity(&fields[1]).unwrap_or_default(),
        sqlstate: *b"00000",
        user: b"u",
        database: b"d",
        message: &fields[2],
        detail: &fields[3],
        context: &fields[4],
        hint: &fields[5],
        statement: &fields[6],
        origin: match fields[0].first() {
            Some(b'@') => Origin::PgBouncer,
            _ => Origin::Server,
        },
        ..Record::default()
    }
}
