//! Finding a prefix by the structure of lines: timestamps, processes in brackets, session identifiers, `key=value` pairs.

use std::collections::HashMap;

use super::Escape;
use crate::language::words;
use crate::time::{Clock, Fraction, Stamp, epoch};

/// Most lines whose structure is looked at.
const LINES_MAX: usize = 2000;
/// Most structures that are proposed, the most frequent first.
const STRUCTURES_MAX: usize = 12;
/// Most pairs of structures that are joined by `%q`.
const PAIRS_MAX: usize = 24;

/// Keys of `key=value` pairs, and the escape that people write behind them.
const KEYS: &[(&str, &str)] = &[
    ("user", "%u"),
    ("usr", "%u"),
    ("u", "%u"),
    ("db", "%d"),
    ("database", "%d"),
    ("dbname", "%d"),
    ("d", "%d"),
    ("app", "%a"),
    ("application", "%a"),
    ("application_name", "%a"),
    ("appname", "%a"),
    ("a", "%a"),
    ("client", "%h"),
    ("host", "%h"),
    ("remote", "%h"),
    ("ip", "%h"),
    ("h", "%h"),
    ("pid", "%p"),
    ("p", "%p"),
    ("xid", "%x"),
    ("txid", "%x"),
    ("tx", "%x"),
    ("vxid", "%v"),
    ("vtxid", "%v"),
    ("state", "%e"),
    ("sqlstate", "%e"),
    ("code", "%e"),
    ("error", "%e"),
    ("e", "%e"),
    ("backend", "%b"),
    ("backend_type", "%b"),
    ("type", "%b"),
    ("qid", "%Q"),
    ("query_id", "%Q"),
    ("queryid", "%Q"),
    ("line", "%l"),
    ("l", "%l"),
    ("session", "%c"),
    ("session_id", "%c"),
    ("sid", "%c"),
    ("sess", "%c"),
    ("leader", "%P"),
    ("cmd", "%i"),
    ("command", "%i"),
    ("tag", "%i"),
    ("local", "%L"),
    ("server", "%L"),
    ("start", "%s"),
    ("session_start", "%s"),
    ("ts", "%t"),
    ("time", "%t"),
];

/// Backend types that the server writes for `%b` by themselves; others hold the name of a module.
const BACKENDS: &[&str] = &[
    "client backend",
    "postmaster",
    "checkpointer",
    "background writer",
    "walwriter",
    "walsender",
    "walreceiver",
    "startup",
    "archiver",
    "autovacuum launcher",
    "autovacuum worker",
    "logical replication launcher",
    "logical replication worker",
    "parallel worker",
    "not initialized",
    "io worker",
    "slotsync worker",
];

/// Proposes prefixes for lines, the most frequent structure first.
pub(super) fn infer(lines: &[&[u8]]) -> Vec<String> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    let mut clock = Clock::default();
    let step = lines.len().div_ceil(LINES_MAX).max(1);
    for line in lines.iter().step_by(step) {
        for end in label_positions(line).take(3) {
            let structure = structure(&line[..end], &mut clock);
            // More fields than there are: words of a message were taken for names.
            if structure.matches('%').count() <= Escape::ALL.len() {
                *counts.entry(structure).or_default() += 1;
            }
        }
    }
    let mut found: Vec<(String, usize)> = counts.into_iter().collect();
    found.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    found.truncate(STRUCTURES_MAX);
    let mut proposals: Vec<String> = found.iter().map(|(text, _)| text.clone()).collect();
    let mut pairs = Vec::new();
    for (short, _) in &found {
        for (long, _) in &found {
            let rest = long.strip_prefix(short.as_str());
            if let Some(rest) = rest.filter(|rest| !rest.is_empty()) {
                pairs.push(format!("{short}%q{rest}"));
            }
        }
    }
    pairs.truncate(PAIRS_MAX);
    proposals.extend(pairs);
    proposals
}

/// Returns where labels begin in the first part of a line.
pub(super) fn label_positions(line: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let head = &line[..line.len().min(super::HEAD_BYTES_MAX / 4)];
    // A label ends with a colon and a blank, but for one of Korean.
    let colons = memchr::memchr_iter(b':', head);
    colons.filter_map(move |colon| {
        let from = colon.saturating_sub(words::LABEL_BYTES_MAX);
        (from..colon).find(|start| {
            let before = start.checked_sub(1).map_or(b' ', |before| head[before]);
            let apart = !before.is_ascii_alphanumeric() && before < 0x80;
            let label = words::label(&head[*start..]);
            apart
                && label
                    .is_some_and(|(_, bytes)| start + bytes > colon && start + bytes <= colon + 4)
        })
    })
}

/// Writes the text before a label as a prefix.
fn structure(text: &[u8], clock: &mut Clock) -> String {
    let mut shape = Shape::default();
    let mut at = 0;
    while at < text.len() {
        at += shape.take(&text[at..], clock);
    }
    shape.out
}

#[derive(Default)]
struct Shape {
    out: String,
    times: usize,
}

impl Shape {
    /// Adds what a text begins with; returns its bytes.
    fn take(&mut self, text: &[u8], clock: &mut Clock) -> usize {
        // A field begins where a word does, or right after another field.
        let inside = self
            .out
            .ends_with(|last: char| last.is_ascii_alphanumeric());
        let field = if inside && !self.after_escape() {
            None
        } else {
            self.time(text, clock)
                .or_else(|| self.pair(text, clock))
                .or_else(|| self.token(text))
        };
        if let Some(bytes) = field {
            return bytes;
        }
        let bytes = match text[0] {
            byte if byte < 0x80 => 1,
            _ => {
                text.iter()
                    .skip(1)
                    .take_while(|byte| **byte & 0xc0 == 0x80)
                    .count()
                    + 1
            }
        };
        if text[0] == b'%' {
            self.out.push('%');
        }
        self.out.push_str(&String::from_utf8_lossy(&text[..bytes]));
        bytes
    }

    fn after_escape(&self) -> bool {
        let mut last = self.out.bytes().rev();
        last.next();
        last.next() == Some(b'%')
    }

    fn time(&mut self, text: &[u8], clock: &mut Clock) -> Option<usize> {
        let with =
            |clock: &mut Clock, fraction| clock.log_time(Stamp::Written, text, fraction, false);
        if let Some((_, bytes)) = with(clock, Fraction::Milliseconds) {
            self.times += 1;
            self.out.push_str("%m");
            return Some(bytes);
        }
        if let Some((_, bytes)) = with(clock, Fraction::Absent) {
            self.out.push_str(if self.times == 0 { "%t" } else { "%s" });
            self.times += 1;
            return Some(bytes);
        }
        let (_, bytes) = epoch(text).filter(|(_, bytes)| *bytes >= 13)?;
        self.out.push_str("%n");
        self.times += 1;
        Some(bytes)
    }

    /// A key with its value, which goes on to the separator before the next key or to the end.
    fn pair(&mut self, text: &[u8], clock: &mut Clock) -> Option<usize> {
        let (key, escape) = key_of(text)?;
        let value_at = key + 1;
        let value = &text[value_at..];
        self.out
            .push_str(&String::from_utf8_lossy(&text[..value_at]));
        if matches!(escape, "%t" | "%s") {
            return Some(value_at + self.time(value, clock).unwrap_or(0));
        }
        let stop = (0..value.len()).find(|at| {
            let separator = *at == 0 || b", ;|]:)".contains(&value[at - 1]);
            separator && key_of(&value[*at..]).is_some()
        });
        let mut bytes = stop.unwrap_or(value.len());
        // What stands between a value and the next key, or the end, is punctuation.
        while bytes > 0 && b", ;|:-".contains(&value[bytes - 1]) {
            bytes -= 1;
        }
        let bracketed = value[..bytes].first() == Some(&b'[') || value[..bytes].ends_with(b")");
        if bytes > 0 && !bracketed && b"])}".contains(&value[bytes - 1]) {
            bytes -= 1;
        }
        if numeric_until_break(escape, &value[..bytes]) {
            let digits = value.iter().take_while(|byte| byte.is_ascii_digit());
            bytes = digits.count();
        }
        let escape = match escape {
            "%h" if value[..bytes].ends_with(b")") => "%r",
            escape => escape,
        };
        self.out.push_str(escape);
        Some(value_at + bytes)
    }

    /// A field that its own form tells.
    fn token(&mut self, text: &[u8]) -> Option<usize> {
        if let Some(name) = BACKENDS
            .iter()
            .find(|name| text.starts_with(name.as_bytes()))
        {
            self.out.push_str("%b");
            return Some(name.len());
        }
        let stop = text
            .iter()
            .position(|byte| b" ,;|[]()=@\"'<>{}".contains(byte));
        let word = &text[..stop.unwrap_or(text.len())];
        let word = word.strip_suffix(b":").unwrap_or(word);
        let digits = word.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if let Some((known, bytes)) = session(word) {
            self.out.push_str(known);
            return Some(bytes);
        }
        if text.starts_with(b"[local]") {
            self.out.push_str("%h");
            return Some(7);
        }
        if let Some(name) = words::UNKNOWN
            .iter()
            .find(|name| text.starts_with(name.as_bytes()))
        {
            self.name();
            return Some(name.len());
        }
        if let Some(bytes) = address(text) {
            let host = memchr::memchr(b'(', &text[..bytes]).is_none();
            self.out.push_str(if host { "%h" } else { "%r" });
            return Some(bytes);
        }
        if word.len() == 5
            && word
                .iter()
                .all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
        {
            let state =
                word == b"00000" || (digits < 5 && word[..2].iter().any(u8::is_ascii_digit));
            if state {
                self.out.push_str("%e");
                return Some(5);
            }
        }
        if digits > 0 {
            return Some(self.number(word, digits));
        }
        if word.is_empty() || !word.iter().any(u8::is_ascii_alphanumeric) {
            return None;
        }
        self.name();
        Some(word.len())
    }

    fn number(&mut self, word: &[u8], digits: usize) -> usize {
        if word.get(digits) == Some(&b'/') {
            let more = word[digits + 1..]
                .iter()
                .take_while(|byte| byte.is_ascii_digit());
            let more = more.count();
            if more > 0 {
                self.out.push_str("%v");
                return digits + 1 + more;
            }
        }
        let literal_one = self.out.ends_with('-') && &word[..digits] == b"1";
        let has = |escape: &str| self.out.contains(escape);
        let escape = if literal_one {
            "1"
        } else if !has("%p") && !has("%c") || self.out.ends_with('[') && !has("%p") {
            "%p"
        } else if !has("%l") {
            "%l"
        } else if !has("%x") {
            "%x"
        } else {
            "%Q"
        };
        self.out.push_str(escape);
        digits
    }

    /// Names follow each other as people write them: user, database, application.
    fn name(&mut self) {
        let has = |escape: &str| self.out.contains(escape);
        let escape = if !has("%u") {
            "%u"
        } else if !has("%d") {
            "%d"
        } else {
            "%a"
        };
        self.out.push_str(escape);
    }
}

/// Whether a value that must be a number has more behind it.
fn numeric_until_break(escape: &str, value: &[u8]) -> bool {
    matches!(escape, "%p" | "%l" | "%x") && value.first().is_some_and(u8::is_ascii_digit)
}

fn key_of(text: &[u8]) -> Option<(usize, &'static str)> {
    let key = text
        .iter()
        .take(24)
        .take_while(|byte| byte.is_ascii_alphabetic() || **byte == b'_')
        .count();
    if text.get(key) != Some(&b'=') {
        return None;
    }
    let found = KEYS
        .iter()
        .find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(&text[..key]));
    found.map(|(_, escape)| (key, *escape))
}

/// A session identifier: eight hexadecimal digits, a dot, more of them.
fn session(word: &[u8]) -> Option<(&'static str, usize)> {
    let hexadecimal = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let first = word.iter().take_while(hexadecimal).count();
    if !(6..=8).contains(&first) || word.get(first) != Some(&b'.') {
        return None;
    }
    let second = word[first + 1..].iter().take_while(hexadecimal).count();
    (second > 0).then_some(("%c", first + 1 + second))
}

/// An address of IPv4 or IPv6, perhaps with a port in parentheses; `[local]` is handled apart.
fn address(text: &[u8]) -> Option<usize> {
    let length = text
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':'))
        .count();
    let mut host = &text[..length];
    let parses = |host: &[u8]| {
        std::str::from_utf8(host)
            .ok()
            .and_then(|host| host.parse::<std::net::IpAddr>().ok())
            .is_some()
    };
    while host.last().is_some_and(|byte| matches!(byte, b':' | b'.')) && !parses(host) {
        host = &host[..host.len() - 1];
    }
    if !parses(host) {
        return None;
    }
    let port = text[host.len()..].strip_prefix(b"(");
    let digits = port.map_or(0, |port| {
        port.iter().take_while(|byte| byte.is_ascii_digit()).count()
    });
    let closed = port.is_some_and(|port| digits > 0 && port.get(digits) == Some(&b')'));
    Some(host.len() + if closed { digits + 2 } else { 0 })
}
