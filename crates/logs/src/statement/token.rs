//! Statements to tokens, by the rules of PostgreSQL's lexer; any bytes are tokens of some kind.

use super::words::packed;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A keyword or a name without quotes, with its last eight bytes as [`packed`] makes them.
    Word(u64),
    /// A name in double quotes; `"`, where the text ends within it, is missing.
    Quoted { closed: bool },
    /// A number without sign.
    Number,
    /// A string of any kind, or a parameter, or `?`.
    Constant,
    /// An operator.
    Operator,
    /// One of `( ) [ ] , ; .`.
    Mark(u8),
    /// `::`.
    Cast,
    /// The end of the text.
    End,
}

const SPACE: u8 = 1;
const WORD: u8 = 2;
const DIGIT: u8 = 3;
const OPERATOR: u8 = 4;
const MARK: u8 = 5;

/// Operators with a question mark, which is a parameter in any other.
const QUESTIONS: [&[u8]; 8] = [b"?|", b"?&", b"?-", b"?#", b"?||", b"?-|", b"@?", b"<?>"];

static CLASS: [u8; 256] = classes();
/// What goes on a word that has begun.
static IN_WORD: [bool; 256] = in_word();

const fn in_word() -> [bool; 256] {
    let classes = classes();
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = classes[byte] == WORD || classes[byte] == DIGIT || byte as u8 == b'$';
        byte += 1;
    }
    table
}

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            0..=b' ' | 0x7f => SPACE,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => WORD,
            b'0'..=b'9' => DIGIT,
            b'+' | b'-' | b'*' | b'/' | b'<' | b'>' | b'=' | b'~' | b'!' | b'@' | b'#' | b'%'
            | b'^' | b'&' | b'|' | b'`' | b'?' => OPERATOR,
            b'(' | b')' | b'[' | b']' | b',' | b';' | b'.' => MARK,
            _ => 0,
        };
        byte += 1;
    }
    table
}

/// Reads tokens one after another.
pub(super) struct Lexer<'a> {
    text: &'a [u8],
    /// Where the next token is looked for.
    at: usize,
    /// Where the token returned last begins.
    pub(super) start: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8]) -> Lexer<'a> {
        Lexer {
            text,
            at: 0,
            start: 0,
        }
    }

    /// Returns the bytes of the token returned last.
    #[inline]
    pub(super) fn bytes(&self) -> &'a [u8] {
        &self.text[self.start..self.at]
    }

    #[inline]
    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    /// Tells whether a number follows, which a minus sign before it would belong to; a cast would be done before the sign.
    pub(super) fn number_follows(&self) -> bool {
        let mut ahead = Lexer {
            at: self.at,
            ..Lexer::new(self.text)
        };
        ahead.skip_space();
        let digit = ahead.peek(0).is_ascii_digit()
            || (ahead.peek(0) == b'.' && ahead.peek(1).is_ascii_digit());
        if !digit {
            return false;
        }
        ahead.number();
        ahead.skip_space();
        !(ahead.peek(0) == b':' && ahead.peek(1) == b':')
    }

    fn skip_space(&mut self) {
        let rest = &self.text[self.at..];
        let space = rest
            .iter()
            .take_while(|&&byte| CLASS[usize::from(byte)] == SPACE);
        self.at += space.count();
    }

    /// Goes behind a comma, if that is what follows.
    #[inline]
    pub(super) fn skip_comma(&mut self) -> bool {
        let before = self.at;
        self.skip_space();
        if self.peek(0) == b',' {
            self.at += 1;
            return true;
        }
        self.at = before;
        false
    }

    /// Returns the next token.
    #[inline]
    pub(super) fn next(&mut self) -> Token {
        loop {
            let Some(&byte) = self.text.get(self.at) else {
                self.start = self.text.len();
                return Token::End;
            };
            self.start = self.at;
            match CLASS[usize::from(byte)] {
                SPACE => self.at += 1,
                WORD => return self.word(),
                DIGIT => return self.number(),
                OPERATOR => {
                    if !self.comment() {
                        return self.operator();
                    }
                }
                MARK => {
                    if byte == b'.' && self.peek(1).is_ascii_digit() {
                        return self.number();
                    }
                    self.at += 1;
                    return Token::Mark(byte);
                }
                _ => return self.other(byte),
            }
        }
    }

    fn other(&mut self, byte: u8) -> Token {
        match byte {
            b'\'' => {
                self.at += 1;
                self.string(false)
            }
            b'"' => {
                self.at += 1;
                self.quoted()
            }
            b'$' => self.dollar(),
            b':' if self.peek(1) == b':' => {
                self.at += 2;
                Token::Cast
            }
            b':' if self.peek(1) == b'=' => {
                self.at += 2;
                Token::Operator
            }
            _ => {
                self.at += 1;
                Token::Operator
            }
        }
    }

    #[inline]
    fn word(&mut self) -> Token {
        let rest = &self.text[self.at..];
        let length = rest
            .iter()
            .position(|&byte| !IN_WORD[usize::from(byte)])
            .unwrap_or(rest.len());
        self.at += length;
        let word = &rest[..length];
        if length == 1 {
            let next = self.peek(0);
            if next == b'\'' || next == b'&' {
                return self
                    .prefixed(word[0] | 0x20, next)
                    .unwrap_or(Token::Word(packed(word)));
            }
        }
        Token::Word(packed(word))
    }

    /// Reads `E'`, `B'`, `X'`, `N'`, `U&'` and `U&"` after their letter.
    fn prefixed(&mut self, letter: u8, next: u8) -> Option<Token> {
        if next == b'\'' && matches!(letter, b'e' | b'b' | b'x' | b'n') {
            self.at += 1;
            return Some(self.string(letter == b'e'));
        }
        if letter == b'u' && next == b'&' {
            if self.peek(1) == b'\'' {
                self.at += 2;
                return Some(self.string(false));
            }
            if self.peek(1) == b'"' {
                self.at += 2;
                return Some(self.quoted());
            }
        }
        None
    }

    fn number(&mut self) -> Token {
        let digits = |lexer: &mut Self, test: fn(&u8) -> bool| {
            while lexer
                .text
                .get(lexer.at)
                .is_some_and(|byte| test(byte) || *byte == b'_')
            {
                lexer.at += 1;
            }
        };
        let radix = self.peek(1) | 0x20;
        if self.peek(0) == b'0'
            && matches!(radix, b'x' | b'o' | b'b')
            && self.peek(2).is_ascii_hexdigit()
        {
            self.at += 2;
            digits(self, u8::is_ascii_hexdigit);
            return Token::Number;
        }
        digits(self, u8::is_ascii_digit);
        // Two points are a range of PL/pgSQL.
        if self.peek(0) == b'.' && self.peek(1) != b'.' {
            self.at += 1;
            digits(self, u8::is_ascii_digit);
        }
        if self.peek(0) | 0x20 == b'e' {
            let sign = usize::from(matches!(self.peek(1), b'+' | b'-'));
            if self.peek(1 + sign).is_ascii_digit() {
                self.at += 1 + sign;
                digits(self, u8::is_ascii_digit);
            }
        }
        Token::Number
    }

    /// Reads the rest of a string; one that goes on after a line end, as the standard has it, is one string.
    fn string(&mut self, escapes: bool) -> Token {
        loop {
            self.string_part(escapes);
            let rest = &self.text[self.at..];
            let space = rest
                .iter()
                .take_while(|&&byte| CLASS[usize::from(byte)] == SPACE)
                .count();
            if rest.get(space) == Some(&b'\'') && rest[..space].contains(&b'\n') {
                self.at += space + 1;
            } else {
                return Token::Constant;
            }
        }
    }

    fn string_part(&mut self, escapes: bool) {
        loop {
            let rest = &self.text[self.at..];
            let found = if escapes {
                memchr::memchr2(b'\'', b'\\', rest)
            } else {
                memchr::memchr(b'\'', rest)
            };
            let Some(found) = found else {
                self.at = self.text.len();
                return;
            };
            let doubled = rest.get(found + 1) == Some(&b'\'');
            if rest[found] == b'\\' || doubled {
                self.at = (self.at + found + 2).min(self.text.len());
            } else {
                self.at += found + 1;
                return;
            }
        }
    }

    fn quoted(&mut self) -> Token {
        loop {
            let rest = &self.text[self.at..];
            let Some(found) = memchr::memchr(b'"', rest) else {
                self.at = self.text.len();
                return Token::Quoted { closed: false };
            };
            self.at += found + 1;
            if rest.get(found + 1) != Some(&b'"') {
                return Token::Quoted { closed: true };
            }
            self.at += 1;
        }
    }

    /// Reads `$1`, `$tag$...$tag$`, or a dollar sign that means nothing.
    fn dollar(&mut self) -> Token {
        let rest = &self.text[self.at..];
        let count = |from: usize, test: &dyn Fn(u8) -> bool| {
            rest[from..].iter().take_while(|&&byte| test(byte)).count()
        };
        let digits = count(1, &|byte| byte.is_ascii_digit());
        if digits > 0 {
            self.at += 1 + digits;
            return Token::Constant;
        }
        let tag = count(1, &|byte| matches!(CLASS[usize::from(byte)], WORD | DIGIT));
        if rest.get(1 + tag) != Some(&b'$') {
            self.at += 1;
            return Token::Operator;
        }
        let quote = &rest[..tag + 2];
        self.at += match memchr::memmem::find(&rest[quote.len()..], quote) {
            Some(found) => found + 2 * quote.len(),
            None => rest.len(),
        };
        Token::Constant
    }

    /// Skips a comment, if one begins here.
    #[inline]
    fn comment(&mut self) -> bool {
        match (self.peek(0), self.peek(1)) {
            (b'-', b'-') => {
                let rest = &self.text[self.at..];
                self.at += memchr::memchr(b'\n', rest).unwrap_or(rest.len());
                true
            }
            (b'/', b'*') => {
                self.at += comment_length(&self.text[self.at..]);
                true
            }
            _ => false,
        }
    }

    fn operator(&mut self) -> Token {
        let rest = &self.text[self.at..];
        let mut length = 1;
        while let Some(&byte) = rest.get(length) {
            let next = rest.get(length + 1).copied().unwrap_or(0);
            let comment = (byte == b'-' && next == b'-') || (byte == b'/' && next == b'*');
            if CLASS[usize::from(byte)] != OPERATOR || comment {
                break;
            }
            length += 1;
        }
        if let Some(mark) = memchr::memchr(b'?', &rest[..length])
            && !QUESTIONS.contains(&&rest[..length])
        {
            if mark == 0 {
                self.at += 1;
                return Token::Constant;
            }
            length = mark;
        }
        // An operator of several characters ends with a sign only when it has one of these characters.
        let is_special = |byte: &u8| {
            matches!(
                byte,
                b'~' | b'!' | b'@' | b'#' | b'%' | b'^' | b'&' | b'|' | b'`' | b'?'
            )
        };
        if length > 1 && !rest[..length].iter().any(is_special) {
            while length > 1 && matches!(rest[length - 1], b'+' | b'-') {
                length -= 1;
            }
        }
        self.at += length;
        Token::Operator
    }
}

/// Returns the length of a comment that begins with `/*` and may hold others; all of the text when it does not end.
pub(super) fn comment_length(text: &[u8]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while let Some(found) = memchr::memchr2(b'/', b'*', &text[at..]) {
        at += found;
        match &text[at..(at + 2).min(text.len())] {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}
