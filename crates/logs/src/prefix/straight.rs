//! The quick way through a line: each field ends where the literal after it is first met.
//!
//! It is the first reading that the search of `matching` tries. Where it is no reading of the whole prefix, nothing is known, and that
//! search must tell.

use super::matching::{Fields, find, fixed, host_and_port, zone_may_have_colon};
use super::{Escape, FIELD_BYTES_MAX, Literal, Step};
use crate::language::words;
use crate::time::Clock;

/// Sessions whose names are remembered; a power of two.
const SESSIONS: usize = 256;

/// A field and the literal after it; either may be absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    escape: Option<Escape>,
    literal: Literal,
    /// A time zone may have a colon.
    colon: bool,
    /// How many names of the session begin here, one after the other; 0 for one or none.
    names: usize,
}

/// The names of a few sessions, with what is between and after them: the same bytes are the same names.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    sessions: Vec<Names>,
}

#[derive(Clone, Debug, Default)]
struct Names {
    text: Vec<u8>,
    /// Which name, where it begins and where it ends.
    bounds: Vec<(Escape, usize, usize)>,
}

impl Memory {
    fn of(&mut self, pid: u32) -> &mut Names {
        if self.sessions.is_empty() {
            self.sessions = vec![Names::default(); SESSIONS];
        }
        &mut self.sessions[pid as usize % SESSIONS]
    }
}

/// Returns the pairs of a prefix; none when a field has a padding, or none but the label ends it.
pub(super) fn compile(steps: &[Step]) -> Vec<Pair> {
    let mut pairs: Vec<Pair> = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let next = steps.get(index + 1);
        let pair = |escape, literal| Pair {
            escape,
            literal,
            colon: zone_may_have_colon(next),
            names: 0,
        };
        let nothing = || Literal::new(Vec::new());
        match step {
            Step::Literal(literal) => match pairs.last_mut() {
                Some(last) if last.literal.bytes.is_empty() => last.literal = literal.clone(),
                _ => pairs.push(pair(None, literal.clone())),
            },
            Step::Fixed(escape) => pairs.push(pair(Some(*escape), nothing())),
            Step::Free(escape, 0) if matches!(next, Some(Step::Literal(_))) => {
                pairs.push(pair(Some(*escape), nothing()));
            }
            // A session's part of the prefix is read first.
            Step::Stop => {}
            Step::Free(..) | Step::Padded(..) => return Vec::new(),
        }
    }
    // One run is enough: prefixes have their names side by side.
    let is_name = |pair: &Pair| {
        use Escape::{Application, Backend, Database, Host, User};
        matches!(
            pair.escape,
            Some(User | Database | Application | Host | Backend)
        )
    };
    if let Some(first) = pairs.iter().position(is_name) {
        let names = pairs[first..].iter().take_while(|pair| is_name(pair));
        let names = names.count();
        pairs[first].names = if names > 1 { names } else { 0 };
    }
    pairs
}

/// Reads the beginning of a line; returns one more than where its last name begins, 0 when it has none.
#[inline]
pub(super) fn read<'t>(
    pairs: &[Pair],
    text: &'t [u8],
    clock: &mut Clock,
    fields: &mut Fields<'t>,
    mut memory: Option<&mut Memory>,
) -> Option<usize> {
    if pairs.is_empty() {
        return None;
    }
    let mut at = 0;
    let mut last_name_at = 0;
    let mut index = 0;
    while let Some(pair) = pairs.get(index) {
        let rest = text.get(at..)?;
        if pair.names > 0
            && let Some(memory) = memory.as_deref_mut()
        {
            let (bytes, name_at) = names(
                &pairs[index..index + pair.names],
                rest,
                fields,
                memory.of(fields.pid),
            )?;
            if let Some(name_at) = name_at {
                last_name_at = at + name_at + 1;
            }
            at += bytes;
            index += pair.names;
            continue;
        }
        index += 1;
        let literal = &pair.literal;
        match pair.escape {
            Some(escape) if escape.is_free() => {
                if escape.is_name() {
                    last_name_at = at + 1;
                }
                let bytes = free(rest, escape, literal)?;
                fields.set_free(escape, &rest[..bytes]);
                at += bytes + literal.bytes.len();
                continue;
            }
            Some(escape) => at += fixed(rest, escape, pair.colon, clock, fields)?,
            None => {}
        }
        if !literal.begins(text.get(at..)?) {
            return None;
        }
        at += literal.bytes.len();
    }
    let (label, bytes) = words::label(text.get(at..)?)?;
    fields.label = Some(label);
    fields.label_at = at;
    fields.text_at = at + bytes;
    if fields.pid == 0 {
        fields.pid = fields.session_pid;
    }
    Some(last_name_at)
}

/// Reads the names of a session; returns how many bytes they take, and where the last begins that a client chooses.
#[inline]
fn names<'t>(
    pairs: &[Pair],
    text: &'t [u8],
    fields: &mut Fields<'t>,
    known: &mut Names,
) -> Option<(usize, Option<usize>)> {
    if known.text.is_empty() || !text.starts_with(&known.text) {
        learn(pairs, text, known)?;
    }
    let mut name_at = None;
    for &(escape, begin, end) in &known.bounds {
        fields.set_free(escape, &text[begin..end]);
        if escape.is_name() {
            name_at = Some(begin);
        }
    }
    Some((known.text.len(), name_at))
}

#[inline(never)]
fn learn(pairs: &[Pair], text: &[u8], known: &mut Names) -> Option<()> {
    known.text.clear();
    known.bounds.clear();
    let mut at = 0;
    for pair in pairs {
        let escape = pair.escape?;
        let bytes = free(text.get(at..)?, escape, &pair.literal)?;
        known.bounds.push((escape, at, at + bytes));
        at += bytes + pair.literal.bytes.len();
    }
    known.text.extend_from_slice(&text[..at]);
    Some(())
}

/// Returns how many bytes a field without a grammar takes.
#[inline]
fn free(text: &[u8], escape: Escape, literal: &Literal) -> Option<usize> {
    let limit = text.len().min(FIELD_BYTES_MAX);
    if escape == Escape::HostPort
        && let Some(bytes) = host_and_port(&text[..limit])
        && literal.begins(&text[bytes..])
    {
        return Some(bytes);
    }
    find(text, limit, literal)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::prefix::{Fields, Prefix, Prefixes};
    use crate::time::Clock;

    const PREFIXES: &[&str] = &[
        "%m [%p] %q%u@%d ",
        "%m [%p] %q[user=%u,db=%d,app=%a] ",
        "%t:%r:%u@%d:[%p]:",
        "%m [%p] %c %l user=%u,db=%d,app=%a,client=%h,backend=%b,qid=%Q ",
        "%u %d %a%q %m %e: ",
        "%m%q:%u %v ",
        "%a%p ",
        "%10u %m ",
        "%q%u",
    ];

    const WORDS: &[&str] = &[
        "",
        "a",
        "shop",
        "[unknown]",
        "[local]",
        "a@b",
        "a b",
        "a,db=",
        "10.0.0.1(5432)",
        "::1",
        "x LOG:  y",
        "x PANIC:  y",
        "é,",
        "(",
        "):",
        "7",
    ];

    /// Writes a line as the server does, with words for its names and a number for its numbers.
    fn line(prefix: &str, words: &[&str], number: u32, label: &str) -> String {
        let mut words = words.iter().cycle();
        let mut line = String::new();
        let mut escapes = prefix.replace("%10u", "%u");
        escapes = escapes.replace("%q", "");
        let mut characters = escapes.chars();
        while let Some(character) = characters.next() {
            if character != '%' {
                line.push(character);
                continue;
            }
            match characters.next() {
                Some('m') => line.push_str("2026-11-22 04:23:06.226 WIB"),
                Some('t') => line.push_str("2026-11-22 04:23:06 WIB"),
                Some('p' | 'l' | 'Q') => line.push_str(&number.to_string()),
                Some('c') => line.push_str("6b020bba.5e84"),
                Some('e') => line.push_str("42P01"),
                Some('v') => line.push_str("3/17"),
                _ => line.push_str(words.next().unwrap_or(&"")),
            }
        }
        line + label + "text user=b,db= LOG:  more"
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn what_is_read_is_what_the_search_finds(
            prefix in prop::sample::select(PREFIXES),
            lines in prop::collection::vec(
                (
                    prop::collection::vec(prop::sample::select(WORDS), 5),
                    0_u32..3,
                    prop::sample::select(&["LOG:  ", "ERROR:  ", "x"][..]),
                    any::<Option<prop::sample::Index>>(),
                ),
                1..8,
            ),
        ) {
            let straight = Prefix::new(prefix);
            let mut searching = straight.clone();
            searching.straight.clear();
            let mut remembering = Prefixes::new([straight.clone()]);
            let mut clock = Clock::default();
            for (words, number, label, cut) in lines {
                let line = line(prefix, &words, number, label);
                let end = cut.map_or(line.len(), |cut| cut.index(line.len()));
                let line = &line.as_bytes()[..end];
                let (mut expected, mut seen, mut again) = (Fields::default(), Fields::default(), Fields::default());
                let reading = searching.read(line, &mut clock, &mut expected);
                prop_assert_eq!(straight.read(line, &mut clock, &mut seen), reading);
                prop_assert_eq!(remembering.read(line, &mut clock, &mut again), reading);
                prop_assert_eq!(seen, expected);
                prop_assert_eq!(again, expected);
            }
        }
    }
}
