//! Tokens to the normalised text.

use std::borrow::Cow;

use super::token::{Lexer, Token};
use super::words::{Opening, Word, find, packed};

/// Deepest brackets that are looked into; deeper lists stay as they are.
const DEPTH_MAX: usize = 256;
/// Most different elements of one list that an element is compared with.
const ELEMENTS_MAX: usize = 8;

/// Normalises statements, with buffers that it uses again.
#[derive(Clone, Debug, Default)]
pub struct Normaliser {
    out: Vec<u8>,
    frames: Vec<Frame>,
    /// Elements kept of the lists that are open, innermost last.
    kept: Vec<(usize, usize)>,
}

/// An open bracket, or the statement itself.
#[derive(Clone, Copy, Debug)]
struct Frame {
    kind: FrameKind,
    /// Whether rows of VALUES are being read in it.
    rows: bool,
    /// Where its element, or as a row itself, begins.
    start: usize,
    /// Where the comma before that begins.
    comma: usize,
    /// Where its elements in `kept` begin.
    kept: usize,
    /// Whether a list has kept a constant already.
    constant: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FrameKind {
    Other,
    /// `IN (` or `ARRAY[`: elements that equal one before are left out.
    List,
    /// A row of VALUES: left out when it equals one before.
    Row,
}

/// What was written last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    /// Nothing, or a semicolon.
    Start,
    /// `(` or `[`.
    Open,
    /// `.` or `::`.
    Glue,
    Name,
    Word(Word),
    Constant,
    Close,
    Comma,
    Operator,
}

/// What a statement's first words ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mask {
    Nothing,
    /// The next name.
    Name,
    /// The next name, unless it is `TRANSACTION`.
    Prepare,
    /// The next name, perhaps after `PREPARE` or `SAVEPOINT`; `ALL` stays.
    Drop,
    /// As `Drop`, after `TO`.
    Rollback,
    /// All names but directions.
    Fetch,
    /// The value of a setting after `TO` or `=`.
    Set,
    /// All of the value.
    Value {
        shown: bool,
    },
    /// Between CREATE and TEMP.
    Create,
    /// Between TEMP and TABLE.
    Temporary,
    /// The name of the table, after IF NOT EXISTS.
    Table,
}

impl Normaliser {
    /// Returns the statement without its constants, comments and white space, names and keywords in lower case.
    pub fn normalise(&mut self, statement: &[u8]) -> Cow<'_, str> {
        self.out.clear();
        self.out.reserve(statement.len() + 16);
        self.frames.clear();
        self.kept.clear();
        let mut writer = Writer {
            out: &mut self.out,
            frames: &mut self.frames,
            kept: &mut self.kept,
            frame: Frame::at(FrameKind::Other, 0, 0),
            depth_over: 0,
            last: Last::Start,
            mask: Mask::Nothing,
        };
        writer.write(&mut Lexer::new(statement));
        while self.out.last() == Some(&b';') {
            self.out.pop();
        }
        // The check alone is several times faster than the search for what to replace.
        match std::str::from_utf8(&self.out) {
            Ok(text) => Cow::Borrowed(text),
            // Bytes that are no text all look the same then, so that lists of them collapse like those of one text.
            Err(_) => match String::from_utf8_lossy(statement) {
                Cow::Owned(text) => Cow::Owned(super::normalise(text.as_bytes())),
                Cow::Borrowed(_) => String::from_utf8_lossy(&self.out),
            },
        }
    }
}

impl Frame {
    fn at(kind: FrameKind, start: usize, kept: usize) -> Frame {
        Frame {
            kind,
            rows: false,
            start,
            comma: start,
            kept,
            constant: false,
        }
    }
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    frames: &'a mut Vec<Frame>,
    kept: &'a mut Vec<(usize, usize)>,
    frame: Frame,
    /// Open brackets beyond the deepest that is looked into.
    depth_over: usize,
    last: Last,
    mask: Mask,
}

impl Writer<'_> {
    fn write(&mut self, lexer: &mut Lexer<'_>) {
        loop {
            let token = lexer.next();
            if let Mask::Value { shown } = self.mask
                && !matches!(token, Token::End | Token::Mark(b';'))
            {
                self.value(token, lexer.bytes(), shown);
                continue;
            }
            match token {
                Token::Word(packed) => self.word(packed, lexer.bytes()),
                Token::Number | Token::Constant => {
                    if !(self.repeats() && lexer.skip_comma()) {
                        self.constant();
                    }
                }
                Token::Quoted { closed } => self.quoted(lexer.bytes(), closed),
                Token::Mark(mark) => self.mark(mark),
                Token::Cast => {
                    if self.last == Last::Operator {
                        self.out.push(b' ');
                    }
                    self.out.extend_from_slice(b"::");
                    self.last = Last::Glue;
                }
                Token::Operator => {
                    let sign = lexer.bytes() == b"-" && self.value_may_follow();
                    if !(sign && lexer.number_follows()) {
                        self.operator(lexer.bytes());
                    }
                }
                Token::End => return,
            }
        }
    }

    /// Whether what follows cannot continue an operand.
    fn value_may_follow(&self) -> bool {
        match self.last {
            Last::Start | Last::Open | Last::Comma | Last::Operator => true,
            Last::Word(word) => matches!(word, Word::Before | Word::Query),
            Last::Glue | Last::Name | Last::Constant | Last::Close => false,
        }
    }

    #[inline]
    fn space(&mut self) {
        if !matches!(self.last, Last::Open | Last::Glue) && !self.out.is_empty() {
            self.out.push(b' ');
        }
        self.end_rows();
    }

    /// Ends the rows of VALUES: something else than a row follows.
    #[inline]
    fn end_rows(&mut self) {
        if self.frame.rows {
            self.frame.rows = false;
            self.kept.truncate(self.frame.kept);
        }
    }

    /// Whether a constant here, with a comma behind it, would be left out again.
    #[inline]
    fn repeats(&self) -> bool {
        self.frame.constant && self.last == Last::Comma && self.depth_over == 0
    }

    fn constant(&mut self) {
        self.space();
        self.out.push(b'?');
        self.last = Last::Constant;
        if !matches!(self.mask, Mask::Fetch | Mask::Nothing) {
            self.mask = Mask::Nothing;
        }
    }

    fn word(&mut self, packed: u64, bytes: &[u8]) {
        let word = if self.last == Last::Glue {
            Word::Name
        } else {
            find(packed, bytes.len())
        };
        let silent = match word {
            Word::Inner => self.last != Last::Start,
            Word::Outer => self.last == Last::Word(Word::Side),
            _ => false,
        };
        if silent {
            return;
        }
        if self.last == Last::Start {
            self.opening(word);
        } else if self.mask != Mask::Nothing && self.masked(bytes, word == Word::Name) {
            return;
        }
        let constant = match word {
            Word::Literal => self.value_may_follow(),
            Word::Default => matches!(self.last, Last::Open | Last::Comma | Last::Operator),
            _ => false,
        };
        if constant {
            return self.constant();
        }
        if matches!(word, Word::Query | Word::Values) && self.last == Last::Open {
            self.frame.kind = FrameKind::Other;
        }
        self.space();
        let start = self.out.len();
        self.out.extend_from_slice(bytes);
        self.out[start..].make_ascii_lowercase();
        // Elsewhere the elements of a list or a row are told apart already.
        if word == Word::Values && self.frame.kind == FrameKind::Other {
            self.frame.rows = true;
            self.frame.kept = self.kept.len();
        }
        self.last = if word == Word::Name {
            Last::Name
        } else {
            Last::Word(word)
        };
    }

    fn quoted(&mut self, bytes: &[u8], closed: bool) {
        if self.mask != Mask::Nothing && self.last != Last::Start && self.masked(b"", true) {
            return;
        }
        self.space();
        self.last = Last::Name;
        if bytes[0] != b'"' {
            self.out.extend_from_slice(b"u&");
            self.out.extend_from_slice(&bytes[2..]);
        } else {
            let name = &bytes[1..bytes.len() - usize::from(closed)];
            if is_plain(name) {
                return self.out.extend_from_slice(name);
            }
            self.out.extend_from_slice(bytes);
        }
        if !closed {
            self.out.push(b'"');
        }
    }

    fn operator(&mut self, bytes: &[u8]) {
        if self.mask == Mask::Set && bytes == b"=" {
            self.mask = Mask::Value { shown: false };
        }
        self.space();
        self.out
            .extend_from_slice(if bytes == b"!=" { b"<>" } else { bytes });
        self.last = Last::Operator;
    }

    fn mark(&mut self, mark: u8) {
        match mark {
            b'(' | b'[' => self.open(mark),
            b')' | b']' => self.close(mark),
            b',' => self.comma(),
            b';' => {
                self.end_rows();
                if self.last != Last::Start {
                    self.out.push(b';');
                }
                self.last = Last::Start;
                self.mask = Mask::Nothing;
            }
            _ => {
                self.end_rows();
                self.out.push(mark);
                self.last = Last::Glue;
            }
        }
    }

    fn open(&mut self, mark: u8) {
        let listed = self.frame.kind == FrameKind::List;
        let kind = match (mark, self.last) {
            (b'(', Last::Word(Word::In)) | (b'[', Last::Word(Word::Array)) => FrameKind::List,
            (b'[', Last::Open | Last::Comma) if listed => FrameKind::List,
            (b'(', Last::Word(Word::Values) | Last::Comma) if self.frame.rows => FrameKind::Row,
            _ => FrameKind::Other,
        };
        if kind != FrameKind::Row {
            self.end_rows();
        }
        let spaced = match self.last {
            Last::Start => !self.out.is_empty(),
            Last::Open | Last::Glue | Last::Name => false,
            Last::Word(_) | Last::Close => mark == b'(',
            Last::Constant | Last::Comma | Last::Operator => true,
        };
        if spaced {
            self.out.push(b' ');
        }
        let row_start = self.out.len();
        self.out.push(mark);
        self.last = Last::Open;
        if self.frames.len() >= DEPTH_MAX {
            self.depth_over += 1;
            return;
        }
        self.frames.push(self.frame);
        let start = if kind == FrameKind::Row {
            row_start
        } else {
            self.out.len()
        };
        self.frame = Frame::at(kind, start, self.kept.len());
    }

    fn close(&mut self, mark: u8) {
        self.end_rows();
        if self.depth_over == 0 && self.frame.kind == FrameKind::List {
            self.end_element();
        }
        self.out.push(mark);
        self.last = Last::Close;
        if self.depth_over > 0 {
            self.depth_over -= 1;
        } else if let Some(outer) = self.frames.pop() {
            self.kept.truncate(self.frame.kept);
            let row = self.frame;
            self.frame = outer;
            if row.kind == FrameKind::Row {
                self.frame.start = row.start;
                self.end_element();
            }
        }
    }

    fn comma(&mut self) {
        if self.depth_over == 0 && self.frame.kind == FrameKind::List {
            self.end_element();
        }
        if self.last != Last::Close {
            self.end_rows();
        }
        self.frame.comma = self.out.len();
        self.out.push(b',');
        self.frame.start = self.out.len();
        self.last = Last::Comma;
    }

    /// Leaves out the element that ends here, with the comma before it, when it equals one that was kept.
    fn end_element(&mut self) {
        let end = self.out.len();
        let mut start = self.frame.start;
        start += usize::from(self.out.get(start) == Some(&b' '));
        let element = &self.out[start.min(end)..end];
        let kept = &self.kept[self.frame.kept..];
        if kept
            .iter()
            .any(|&(from, to)| &self.out[from..to] == element)
        {
            self.out.truncate(self.frame.comma);
        } else if kept.len() < ELEMENTS_MAX {
            self.frame.constant |= self.frame.kind == FrameKind::List && element == b"?";
            self.kept.push((start.min(end), end));
        }
    }

    /// Takes the first word of a statement.
    fn opening(&mut self, word: Word) {
        let Word::Opening(opening) = word else { return };
        self.mask = match opening {
            Opening::Name => Mask::Name,
            Opening::Prepare => Mask::Prepare,
            Opening::Drop => Mask::Drop,
            Opening::Rollback => Mask::Rollback,
            Opening::Fetch => Mask::Fetch,
            Opening::Set => Mask::Set,
            Opening::Create => Mask::Create,
        };
    }

    /// Writes `?` for a word that the statement's beginning asks to mask, and tells whether it did; `bytes` is empty for a quoted name.
    fn masked(&mut self, bytes: &[u8], name: bool) -> bool {
        let is = |words: &[&str]| {
            words
                .iter()
                .any(|word| bytes.eq_ignore_ascii_case(word.as_bytes()))
        };
        let next = match self.mask {
            Mask::Nothing | Mask::Value { .. } => Mask::Nothing,
            Mask::Name => return self.mask_name(),
            Mask::Prepare if is(&["transaction"]) => Mask::Nothing,
            Mask::Drop if is(&["all"]) => Mask::Nothing,
            Mask::Drop if is(&["prepare", "savepoint"]) => Mask::Name,
            Mask::Prepare | Mask::Drop => return self.mask_name(),
            Mask::Rollback if is(&["to"]) => Mask::Drop,
            Mask::Rollback if is(&["work", "transaction"]) => Mask::Rollback,
            Mask::Fetch => {
                let direction = [
                    "next", "prior", "first", "last", "absolute", "relative", "forward",
                    "backward", "all", "from", "in",
                ];
                if is(&direction) {
                    return false;
                }
                self.constant();
                return true;
            }
            Mask::Set if is(&["to"]) => {
                self.operator(b"=");
                return true;
            }
            Mask::Set if is(&["role", "authorization"]) => Mask::Name,
            Mask::Set if name || is(&["local", "session", "global"]) => Mask::Set,
            Mask::Create if is(&["local", "global"]) => Mask::Create,
            Mask::Create if is(&["temp", "temporary"]) => Mask::Temporary,
            Mask::Temporary if is(&["table"]) => Mask::Table,
            Mask::Table if is(&["if", "not", "exists"]) => Mask::Table,
            Mask::Table => return self.mask_name(),
            Mask::Rollback | Mask::Set | Mask::Create | Mask::Temporary => Mask::Nothing,
        };
        self.mask = next;
        false
    }

    fn mask_name(&mut self) -> bool {
        self.mask = Mask::Nothing;
        self.constant();
        true
    }

    /// Writes the value of a setting as one `?`, or `default`.
    fn value(&mut self, token: Token, bytes: &[u8], shown: bool) {
        if shown {
            return;
        }
        self.mask = Mask::Value { shown: true };
        let default = matches!(token, Token::Word(_)) && bytes.eq_ignore_ascii_case(b"default");
        self.out
            .extend_from_slice(if default { b" default" } else { b" ?" });
        self.last = Last::Constant;
    }
}

/// Tells whether a quoted name means the same without its quotes.
fn is_plain(name: &[u8]) -> bool {
    let first = name
        .first()
        .is_some_and(|byte| byte.is_ascii_lowercase() || *byte == b'_');
    let rest = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_';
    first && name.iter().all(rest) && find(packed(name), name.len()) == Word::Name
}
