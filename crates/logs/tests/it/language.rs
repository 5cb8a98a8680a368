//! Real records of PostgreSQL 15 under several `lc_messages`, written by the same commands, get the same kinds as the English ones.

use pawang_logs::kind::{classify, kinds};
use pawang_logs::language::{self, Translator};
use pawang_logs::record::Record;

fn unescape(text: &str) -> String {
    text.replace("\\\\", "\0")
        .replace("\\n", "\n")
        .replace("\\t", "\t")
        .replace('\0', "\\")
}

/// Checks one file: kind, severity word, message, detail and context on each line.
fn check(name: &str, file: &str) {
    let mut translator = Translator::default();
    for line in file.lines() {
        let mut fields: Vec<String> = line.split('\t').map(unescape).collect();
        // Empty parts at the end of a line are not written.
        fields.resize(5, String::new());
        let [expected, word, message, detail, context] = &fields[..] else {
            panic!("{name}: {line}");
        };
        let record = Record {
            severity: language::words::severity(word.as_bytes()).expect("a severity"),
            message: message.as_bytes(),
            detail: detail.as_bytes(),
            context: context.as_bytes(),
            ..Record::default()
        };
        let first = &kinds()[usize::from(classify(&record).0)].id;
        let told = match translator.translate(&record) {
            Some(english) if first == "unclassified" => {
                &kinds()[usize::from(classify(&english).0)].id
            }
            _ => first,
        };
        assert_eq!(told, expected, "{name}: {message}");
    }
    assert!(file.lines().count() > 40, "{name} is short");
}

#[test]
fn all_languages_give_the_kinds_of_the_english_log() {
    check("C", include_str!("../data/language/C.tsv"));
    check("fr_FR", include_str!("../data/language/fr_FR.tsv"));
    check("de_DE", include_str!("../data/language/de_DE.tsv"));
    check("es_ES", include_str!("../data/language/es_ES.tsv"));
    check("ru_RU", include_str!("../data/language/ru_RU.tsv"));
    check("zh_CN", include_str!("../data/language/zh_CN.tsv"));
    check("ja_JP", include_str!("../data/language/ja_JP.tsv"));
}
