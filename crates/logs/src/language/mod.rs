//! Turns records of a localised log into English ones, so that everything after it sees English.
//!
//! The table `data/language/messages.zst` is made by `cargo xtask languages` from PostgreSQL's own catalogues (PostgreSQL licence). A
//! record says nothing of its language, so a text is matched with the templates of all languages, and the one with the most literal text
//! wins: the result depends on the record alone.

mod reasons;
mod template;
pub mod words;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::LazyLock;

use foldhash::fast::FixedState;
use template::{Captures, Template};

use crate::record::Record;

/// The most bytes that the table may unpack to.
const MAXIMUM: usize = 8 << 20;
/// Templates that begin with as much text as this are found by it.
const KEY: usize = 8;
/// Others that end with as much text as this are found by that.
const END: usize = 5;
/// The most lines of one text that are translated one by one; a statement after them stays as it is.
const LINES: usize = 64;
/// Texts that stand for a value of another text may be nested this deep.
const DEPTH: u32 = 2;

/// A translated message.
struct Entry {
    language: usize,
    translated: Template,
    /// The English text, and the one for several when they differ.
    one: Template,
    many: Option<Template>,
    /// It may stand for a value of another message.
    fragment: bool,
}

/// All messages of all languages.
struct Table {
    languages: Vec<String>,
    entries: Vec<Entry>,
    by_key: HashMap<[u8; KEY], Vec<u32>, FixedState>,
    /// Those that begin with less text or with a value, by what they end with.
    by_end: HashMap<[u8; END], Vec<u32>, FixedState>,
    /// The others, by their first byte; those that begin with a value have 0.
    by_byte: HashMap<u8, Vec<u32>, FixedState>,
}

static TABLE: LazyLock<Table> = LazyLock::new(Table::load);

/// Takes the escapes of the table away.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => match characters.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some(other) => out.push(other),
                None => {}
            },
            c => out.push(c),
        }
    }
    out
}

impl Table {
    fn load() -> Table {
        let packed = include_bytes!("../../data/language/messages.zst");
        let bytes = zstd::bulk::decompress(packed, MAXIMUM)
            .unwrap_or_else(|error| unreachable!("messages.zst: {error}"));
        let text =
            String::from_utf8(bytes).unwrap_or_else(|error| unreachable!("messages.zst: {error}"));
        let mut table = Table {
            languages: Vec::new(),
            entries: Vec::new(),
            by_key: HashMap::default(),
            by_end: HashMap::default(),
            by_byte: HashMap::default(),
        };
        for line in text.lines() {
            if let Some(language) = line.strip_prefix('#') {
                table.languages.push(language.to_owned());
            } else {
                table.add(line);
            }
        }
        table.sort();
        table
    }

    /// Puts the most literal text of each list first, so that the first match is its best; of those with as much the order stays.
    fn sort(&mut self) {
        let Table {
            entries,
            by_key,
            by_end,
            by_byte,
            ..
        } = self;
        let lists = by_key
            .values_mut()
            .chain(by_end.values_mut())
            .chain(by_byte.values_mut());
        for list in lists {
            list.sort_by_key(|index| Reverse(entries[*index as usize].translated.weight));
        }
    }

    fn add(&mut self, line: &str) {
        let Some((english, translated)) = line.split_once('\t') else {
            return;
        };
        let (english, fragment) = match english.strip_prefix('~') {
            Some(english) => (english, true),
            None => (english, false),
        };
        let (one, many) = match english.split_once('\u{1}') {
            Some((one, many)) => (one, Some(many)),
            None => (english, None),
        };
        let (Some(translated), Some(one)) = (
            Template::new(&unescape(translated)),
            Template::new(&unescape(one)),
        ) else {
            return;
        };
        let index = u32::try_from(self.entries.len()).expect("the table has fewer messages");
        match translated.start().first_chunk::<KEY>() {
            Some(key) => self.by_key.entry(*key).or_default().push(index),
            None => match translated.end().last_chunk::<END>() {
                Some(end) => self.by_end.entry(*end).or_default().push(index),
                None => {
                    let first = translated.start().first().copied().unwrap_or(0);
                    self.by_byte.entry(first).or_default().push(index);
                }
            },
        }
        self.entries.push(Entry {
            language: self.languages.len().saturating_sub(1),
            translated,
            one,
            many: many.and_then(|many| Template::new(&unescape(many))),
            fragment,
        });
    }

    /// Returns the lists of what may match a text, in the order in which they are asked.
    fn lists(&self, text: &[u8]) -> impl Iterator<Item = &Vec<u32>> {
        let by_key = text
            .first_chunk::<KEY>()
            .and_then(|key| self.by_key.get(key));
        let by_end = text
            .last_chunk::<END>()
            .and_then(|end| self.by_end.get(end));
        let by_first = text.first().and_then(|first| self.by_byte.get(first));
        [by_key, by_end, by_first, self.by_byte.get(&0)]
            .into_iter()
            .flatten()
    }

    /// Returns the message with the most literal text that matches a whole text, with what it captured.
    fn best<'a>(&self, text: &'a [u8], depth: u32) -> Option<(&Entry, Captures<'a>)> {
        let mut best = None;
        let mut weight = 0;
        for list in self.lists(text) {
            let found = list
                .iter()
                .map(|index| &self.entries[*index as usize])
                .take_while(|entry| entry.translated.weight > weight)
                .filter(|entry| depth == 0 || entry.fragment)
                .find_map(|entry| Some((entry, entry.translated.capture(text)?)));
            if let Some(found) = found {
                weight = found.0.translated.weight;
                best = Some(found);
            }
        }
        best
    }

    /// Writes the English text of a whole text, and returns its language.
    fn translate(&self, text: &[u8], depth: u32, out: &mut Vec<u8>) -> Option<usize> {
        if text.is_empty() {
            return None;
        }
        let (entry, captures) = self.best(text, depth)?;
        let english = match &entry.many {
            Some(many) if !entry.translated.is_one(&captures) => many,
            _ => &entry.one,
        };
        english.fill(&captures, out, |value, is_reason, out| {
            let known = if is_reason {
                reasons::reason(value)
            } else {
                None
            };
            match known {
                Some(reason) => out.extend_from_slice(reason),
                None if depth < DEPTH && self.translate(value, depth + 1, out).is_some() => {}
                None => out.extend_from_slice(value),
            }
        });
        Some(entry.language)
    }

    /// Writes the English text of a text as a whole or line by line, and tells the language of what could be translated.
    fn translate_lines(&self, text: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        let whole = self.translate(text, 0, out);
        if whole.is_some() || !text.contains(&b'\n') {
            return whole;
        }
        let mut language = None;
        let mut lines = text.split(|byte| *byte == b'\n');
        for (number, line) in lines.by_ref().take(LINES).enumerate() {
            if number > 0 {
                out.push(b'\n');
            }
            // Lines of a statement are after a tab or blanks; only what begins a line is a message.
            match self.translate(line, 0, out) {
                Some(found) => language = language.or(Some(found)),
                None => out.extend_from_slice(line),
            }
        }
        for line in lines {
            out.push(b'\n');
            out.extend_from_slice(line);
        }
        language
    }
}

/// Returns the languages that can be read, as PostgreSQL names them.
pub fn languages() -> impl Iterator<Item = &'static str> {
    TABLE.languages.iter().map(String::as_str)
}

/// Turns records of a localised log into English ones; it owns the texts of the last one.
#[derive(Clone, Debug, Default)]
pub struct Translator {
    message: Vec<u8>,
    detail: Vec<u8>,
    hint: Vec<u8>,
    context: Vec<u8>,
    language: Option<usize>,
}

impl Translator {
    /// Returns the record in English, or none when none of its texts is in a language that is known.
    ///
    /// For records whose severity is no English word, and for those that `classify` calls `unclassified`; what is English already
    /// stays as it is.
    pub fn translate<'a>(&'a mut self, record: &Record<'a>) -> Option<Record<'a>> {
        let table = &*TABLE;
        for text in [
            &mut self.message,
            &mut self.detail,
            &mut self.hint,
            &mut self.context,
        ] {
            text.clear();
        }
        let parts = [
            (record.message, &mut self.message),
            (record.detail, &mut self.detail),
            (record.hint, &mut self.hint),
            (record.context, &mut self.context),
        ];
        self.language = None;
        for (text, out) in parts {
            // A part that is not known stays as it is, such as the message of RAISE, which only CONTEXT tells.
            match table.translate_lines(text, out) {
                Some(found) => self.language = self.language.or(Some(found)),
                None => {
                    out.clear();
                    out.extend_from_slice(text);
                }
            }
        }
        self.language?;
        Some(Record {
            message: &self.message,
            detail: &self.detail,
            hint: &self.hint,
            context: &self.context,
            ..record.clone()
        })
    }

    /// Returns the language of the last record that was translated.
    pub fn language(&self) -> Option<&'static str> {
        self.language.map(|index| TABLE.languages[index].as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn english(message: &str, detail: &str) -> Option<(String, String, &'static str)> {
        let mut translator = Translator::default();
        let record = Record {
            message: message.as_bytes(),
            detail: detail.as_bytes(),
            ..Record::default()
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let translated = translator.translate(&record)?;
        let (message, detail) = (text(translated.message), text(translated.detail));
        Some((message, detail, translator.language()?))
    }

    #[test]
    fn at_least_ten_languages_are_read() {
        let all: Vec<_> = languages().collect();
        for language in ["de", "es", "fr", "it", "ja", "ko", "ru", "sv", "zh_CN"] {
            assert!(all.contains(&language), "{language} of {all:?}");
        }
    }

    #[test]
    fn messages_and_details_become_english() {
        let told =
            english("durée : 0.123 ms, instruction : select 1", "").map(|told| (told.0, told.2));
        assert_eq!(
            told,
            Some(("duration: 0.123 ms  statement: select 1".to_owned(), "fr"))
        );
        let told = english("Verklemmung (Deadlock) entdeckt", "").map(|told| told.0);
        assert_eq!(told.as_deref(), Some("deadlock detected"));
        assert_eq!(english("nothing that anybody wrote", ""), None);
    }

    #[test]
    fn the_first_match_of_each_list_is_the_best_of_all() {
        let table = &*TABLE;
        let place = |entry: &Entry| std::ptr::from_ref(entry);
        for (number, entry) in table.entries.iter().enumerate().step_by(23) {
            let values: Captures<'_> = std::array::from_fn(|_| Some(&b"12"[..]));
            let mut text = Vec::new();
            let written = |value: &[u8], _, out: &mut Vec<u8>| out.extend_from_slice(value);
            entry.translated.fill(&values, &mut text, written);
            for depth in [0, 1] {
                let mut expected: Option<&Entry> = None;
                for list in table.lists(&text) {
                    let mut list = list.clone();
                    list.sort_unstable();
                    for entry in list.iter().map(|index| &table.entries[*index as usize]) {
                        let heaviest = expected.map_or(0, |best| best.translated.weight);
                        let allowed = depth == 0 || entry.fragment;
                        let heavier = entry.translated.weight > heaviest;
                        if allowed && heavier && entry.translated.capture(&text).is_some() {
                            expected = Some(entry);
                        }
                    }
                }
                let found = table.best(&text, depth).map(|(entry, _)| entry);
                assert_eq!(found.map(place), expected.map(place), "message {number}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_translated(message in proptest::collection::vec(any::<u8>(), 0..300), detail in ".*") {
            let mut translator = Translator::default();
            let record = Record {
                message: &message,
                detail: detail.as_bytes(),
                ..Record::default()
            };
            let _ = translator.translate(&record);
        }
    }
}
