//! `log_line_prefix`, compiled once and matched against the beginning of every line.
//!
//! Names of users, databases and applications may hold anything: blanks, the literal that follows, a word such as `PANIC:  `, even a line
//! end. A reading of a line is right only when the whole prefix is followed by a label of `words`, and where there are several readings
//! the rules of [`Prefix::read`] choose one.

mod detect;
mod infer;
mod matching;
mod straight;

use std::fmt;

pub use detect::{Guess, detect};
use matching::PLACES_MAX;
pub(crate) use matching::sqlstate as is_sqlstate;
pub use matching::{Fields, HEAD_BYTES_MAX, JOIN_BYTES_MAX, Reading};

use crate::time::Clock;

/// Most bytes of a name that PostgreSQL was built for by default (`NAMEDATALEN` - 1).
pub const NAME_BYTES_MAX: usize = 63;
/// Most bytes of a field without a grammar, for servers built with longer names and for command tags.
pub const FIELD_BYTES_MAX: usize = 256;
/// Most prefixes that one log is read with.
pub const PREFIXES_MAX: usize = 16;

/// What an escape of the prefix stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Escape {
    /// `%a`.
    Application,
    /// `%u`.
    User,
    /// `%d`.
    Database,
    /// `%r`.
    HostPort,
    /// `%h`.
    Host,
    /// `%L`.
    LocalAddress,
    /// `%b`.
    Backend,
    /// `%i`.
    Command,
    /// `%p`.
    Pid,
    /// `%P`.
    LeaderPid,
    /// `%t`.
    Seconds,
    /// `%m`.
    Milliseconds,
    /// `%n`.
    Epoch,
    /// `%e`.
    SqlState,
    /// `%c`.
    Session,
    /// `%l`.
    Line,
    /// `%s`.
    Started,
    /// `%v`.
    VirtualXid,
    /// `%x`.
    Xid,
    /// `%Q`.
    QueryId,
}

impl Escape {
    /// All escapes and their letters.
    pub const ALL: [(u8, Escape); 20] = [
        (b'a', Escape::Application),
        (b'u', Escape::User),
        (b'd', Escape::Database),
        (b'r', Escape::HostPort),
        (b'h', Escape::Host),
        (b'L', Escape::LocalAddress),
        (b'b', Escape::Backend),
        (b'i', Escape::Command),
        (b'p', Escape::Pid),
        (b'P', Escape::LeaderPid),
        (b't', Escape::Seconds),
        (b'm', Escape::Milliseconds),
        (b'n', Escape::Epoch),
        (b'e', Escape::SqlState),
        (b'c', Escape::Session),
        (b'l', Escape::Line),
        (b's', Escape::Started),
        (b'v', Escape::VirtualXid),
        (b'x', Escape::Xid),
        (b'Q', Escape::QueryId),
    ];

    fn of(letter: u8) -> Option<Escape> {
        let found = Escape::ALL.iter().find(|(known, _)| *known == letter);
        found.map(|(_, escape)| *escape)
    }

    /// Whether it is a name that whoever connects can choose, and so may hold a line end.
    pub fn is_name(self) -> bool {
        matches!(self, Escape::Application | Escape::User | Escape::Database)
    }

    /// Whether its text has no grammar, so that only what follows tells where it ends.
    pub fn is_free(self) -> bool {
        self.is_name()
            || matches!(
                self,
                Escape::HostPort
                    | Escape::Host
                    | Escape::LocalAddress
                    | Escape::Backend
                    | Escape::Command
            )
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Literal(Literal),
    /// A field with a grammar.
    Fixed(Escape),
    /// A field with a grammar and its padding: the least width, negative when the text stands left.
    Padded(Escape, i32),
    /// A field without a grammar, and its padding.
    Free(Escape, i32),
    /// `%q`: the prefix of a background process ends here.
    Stop,
}

/// A literal, and its beginning as a number: comparing eight bytes at once beats a call.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Literal {
    bytes: Box<[u8]>,
    word: u64,
    mask: u64,
}

impl Literal {
    fn new(bytes: Vec<u8>) -> Literal {
        let mut word = [0; 8];
        let mut mask = [0; 8];
        for (index, byte) in bytes.iter().take(8).enumerate() {
            word[index] = *byte;
            mask[index] = 0xff;
        }
        Literal {
            bytes: bytes.into(),
            word: u64::from_le_bytes(word),
            mask: u64::from_le_bytes(mask),
        }
    }

    #[inline]
    fn begins(&self, text: &[u8]) -> bool {
        match text.first_chunk::<8>() {
            Some(chunk) => {
                u64::from_le_bytes(*chunk) & self.mask == self.word
                    && (self.bytes.len() <= 8 || text.starts_with(&self.bytes))
            }
            None => text.starts_with(&self.bytes),
        }
    }
}

/// A `log_line_prefix`.
///
/// `Display` gives back its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    text: String,
    steps: Vec<Step>,
    /// The same for lines whose fields hold nothing surprising; empty when there is no such way.
    straight: Vec<straight::Pair>,
    /// The first step after a field that only a record begins with: a line that is cut later than this was meant to be one.
    anchored: usize,
}

impl Prefix {
    /// Compiles the text of the setting, as the server reads it: what is no escape is ignored after a `%`.
    pub fn new(text: &str) -> Prefix {
        let steps = compile(text.as_bytes());
        let anchor = steps.iter().position(|step| {
            use Escape::{Epoch, Milliseconds, Pid, Seconds, Session};
            matches!(
                step,
                Step::Fixed(Epoch | Milliseconds | Pid | Seconds | Session)
                    | Step::Padded(Epoch | Milliseconds | Pid | Seconds | Session, _)
            )
        });
        Prefix {
            text: text.to_string(),
            anchored: anchor.map_or(usize::MAX, |anchor| anchor + 1),
            straight: straight::compile(&steps),
            steps,
        }
    }

    /// Returns the text of the setting.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it tells a field.
    pub fn has(&self, escape: Escape) -> bool {
        let tells = |step: &Step| match step {
            Step::Fixed(found) | Step::Padded(found, _) | Step::Free(found, _) => *found == escape,
            Step::Literal(_) | Step::Stop => false,
        };
        self.steps.iter().any(tells)
    }

    /// How many fields it has that have no grammar.
    fn free_fields(&self) -> usize {
        let free = |step: &&Step| matches!(step, Step::Free(..));
        self.steps.iter().filter(free).count()
    }

    /// How many escapes and literals it has.
    fn len(&self) -> usize {
        self.steps.len()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// Compiles like `log_line_prefix()` of the server reads: a digit or a sign after `%` is a padding, an escape that is not known and a
/// `%` at the end are left out.
fn compile(text: &[u8]) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut literal = Vec::new();
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            literal.push(byte);
            continue;
        }
        if bytes.peek() == Some(&b'%') {
            bytes.next();
            literal.push(b'%');
            continue;
        }
        let left = bytes.next_if_eq(&b'-').is_some();
        let mut width: i32 = 0;
        while let Some(digit) = bytes.next_if(u8::is_ascii_digit) {
            width = width
                .saturating_mul(10)
                .saturating_add(i32::from(digit - b'0'));
        }
        let Some(letter) = bytes.next() else { break };
        let step = match Escape::of(letter) {
            Some(escape) => {
                let padding = if left { -width } else { width };
                match padding {
                    _ if escape.is_free() => Step::Free(escape, padding),
                    0 => Step::Fixed(escape),
                    _ => Step::Padded(escape, padding),
                }
            }
            None if letter == b'q' => Step::Stop,
            None => continue,
        };
        if !literal.is_empty() {
            steps.push(Step::Literal(Literal::new(std::mem::take(&mut literal))));
        }
        steps.push(step);
    }
    if !literal.is_empty() {
        steps.push(Step::Literal(Literal::new(literal)));
    }
    steps
}

/// The prefixes of one log; the setting may change while it is written.
#[derive(Clone, Debug, Default)]
pub struct Prefixes {
    list: Vec<Prefix>,
    /// The one that matched last, and what is remembered of the lines that it matched.
    last: usize,
    memory: straight::Memory,
}

impl Prefixes {
    /// Returns the prefixes of a log, at most [`PREFIXES_MAX`].
    pub fn new(list: impl IntoIterator<Item = Prefix>) -> Prefixes {
        Prefixes {
            list: list.into_iter().take(PREFIXES_MAX).collect(),
            last: 0,
            memory: straight::Memory::default(),
        }
    }

    /// Returns the prefixes.
    pub fn list(&self) -> &[Prefix] {
        &self.list
    }

    /// Reads the beginning of a line, without its line end, as [`Prefix::read`] does.
    ///
    /// Where several prefixes explain a line the first of them does, whatever the lines before were: a piece of a log must be read as it is
    /// within the whole.
    #[inline]
    pub fn read<'t>(
        &mut self,
        line: &'t [u8],
        clock: &mut Clock,
        fields: &mut Fields<'t>,
    ) -> Reading {
        let mut reading = Reading::None;
        for (index, prefix) in self.list.iter().enumerate() {
            let memory = (index == self.last).then_some(&mut self.memory);
            match prefix.read_with(line, clock, fields, memory, &mut PLACES_MAX.clone()) {
                Reading::Whole => {
                    if index != self.last {
                        self.last = index;
                        self.memory = straight::Memory::default();
                    }
                    return Reading::Whole;
                }
                Reading::Cut => reading = Reading::Cut,
                Reading::None => {}
            }
        }
        reading
    }

    /// Reads lines that only together are a record, as [`Prefix::read_joined`] does.
    pub fn read_joined<'t>(&mut self, text: &'t [u8], clock: &mut Clock) -> Option<Fields<'t>> {
        self.list
            .iter()
            .find_map(|prefix| prefix.read_joined(text, clock))
    }
}

#[cfg(test)]
mod tests;
