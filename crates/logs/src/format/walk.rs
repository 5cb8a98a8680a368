//! A walk over JSON text without building a tree: strings stay where they are, and escapes are decoded only where there are any.

use memchr::{memchr, memchr2};

/// Deepest nesting of a value that is skipped.
const DEPTH_MAX: usize = 128;

/// Words that are looked at one by one before a search that is made for long texts.
const NEAR_WORDS: usize = 4;

/// A position in JSON text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk<'a> {
    bytes: &'a [u8],
    position: usize,
    /// Whether the text was cut, so that its end ends an open string.
    cut: bool,
}

/// A string as it is written, without its quotes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Quoted<'a> {
    pub(crate) text: &'a [u8],
    /// Whether it has a backslash.
    pub(crate) escaped: bool,
}

/// A value of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// A string.
    String(Quoted<'a>),
    /// A number, `true`, `false` or `null`, as it is written.
    Plain(&'a [u8]),
    /// An object or an array, as it is written.
    Nested(&'a [u8]),
}

impl<'a> Value<'a> {
    /// Returns the text of a string or a plain value, whose escapes are not decoded; nothing for what is nested or `null`.
    pub(crate) fn quoted(self) -> Quoted<'a> {
        match self {
            Value::String(text) => text,
            Value::Plain(b"null") | Value::Nested(_) => Quoted::default(),
            Value::Plain(text) => Quoted {
                text,
                escaped: false,
            },
        }
    }
}

impl<'a> Walk<'a> {
    /// Begins at the first byte of an object.
    pub(crate) fn object(bytes: &'a [u8]) -> Option<Walk<'a>> {
        let mut walk = Walk {
            bytes,
            position: 0,
            cut: false,
        };
        walk.space();
        walk.take(b'{').then_some(walk)
    }

    /// Begins at the first byte of an object whose end is missing.
    pub(crate) fn cut_object(bytes: &'a [u8]) -> Option<Walk<'a>> {
        let walk = Walk::object(bytes)?;
        Some(Walk { cut: true, ..walk })
    }

    /// Returns the next key, with the walk before its value; the inner none after the last member, the outer none when this is no JSON.
    #[inline(always)]
    pub(crate) fn key(&mut self) -> Option<Option<&'a [u8]>> {
        if !self.take(b'"') {
            self.space();
            if self.take(b'}') {
                return Some(None);
            }
            self.take(b',');
            self.space();
            if !self.take(b'"') {
                return None;
            }
        }
        let start = self.position;
        let rest = self.bytes.get(start..)?;
        // Keys are short, and the bytes after the quote are most often the colon.
        let length = find(rest, b'"', b'\\')?;
        if rest[length] == b'\\' {
            let key = self.string()?;
            self.colon()?;
            return Some(Some(key.text));
        }
        self.position += length + 1;
        self.colon()?;
        Some(Some(&rest[..length]))
    }

    /// Goes behind the bytes if they are next: a key, its colon and perhaps the first quote of its value.
    #[inline(always)]
    pub(crate) fn passes(&mut self, next: &[u8]) -> bool {
        let is_next = self.bytes[self.position..].starts_with(next);
        if is_next {
            self.position += next.len();
        }
        is_next
    }

    /// Returns the string whose first quote was passed, and goes behind its comma.
    #[inline(always)]
    pub(crate) fn passed_string(&mut self) -> Option<Quoted<'a>> {
        let quoted = self.string()?;
        self.comma()?;
        Some(quoted)
    }

    /// Returns the number that is next, and goes behind its comma.
    #[inline(always)]
    pub(crate) fn number(&mut self) -> Option<&'a [u8]> {
        let rest = self.bytes.get(self.position..)?;
        let is_part = |byte: &&u8| byte.is_ascii_digit() || **byte == b'-';
        let length = rest.iter().take_while(is_part).count();
        self.position += length;
        self.comma()?;
        (length > 0).then_some(&rest[..length])
    }

    /// Returns the text of the value after a key, as [`Value::quoted`] does, and goes behind its comma.
    #[inline(always)]
    pub(crate) fn text(&mut self) -> Option<Quoted<'a>> {
        let byte = *self.bytes.get(self.position)?;
        let quoted = if byte == b'"' {
            self.position += 1;
            self.string()?
        } else if byte == b'-' || byte.is_ascii_digit() {
            let text = self.plain()?;
            Quoted {
                text,
                escaped: false,
            }
        } else {
            return self.value().map(Value::quoted);
        };
        self.comma()?;
        Some(quoted)
    }

    /// Returns the value after a key and goes behind its comma.
    #[inline]
    pub(crate) fn value(&mut self) -> Option<Value<'a>> {
        let value = match self.bytes.get(self.position)? {
            b'"' => {
                self.position += 1;
                Value::String(self.string()?)
            }
            b'{' | b'[' => {
                let start = self.position;
                self.skip_nested()?;
                Value::Nested(&self.bytes[start..self.position])
            }
            _ => Value::Plain(self.plain()?),
        };
        self.comma()?;
        Some(value)
    }

    /// Returns how many bytes were walked.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// Tells whether only white space follows.
    pub(crate) fn at_end(mut self) -> bool {
        self.space();
        self.position == self.bytes.len()
    }

    #[inline]
    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.bytes.get(self.position) == Some(&byte);
        self.position += usize::from(is_next);
        is_next
    }

    #[inline]
    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.bytes.get(self.position) {
            self.position += 1;
        }
    }

    #[inline]
    fn colon(&mut self) -> Option<()> {
        if !self.take(b':') {
            self.space();
            if !self.take(b':') {
                return None;
            }
        }
        self.space();
        Some(())
    }

    /// Goes behind the comma after a value, or stays before the closing brace.
    #[inline(always)]
    fn comma(&mut self) -> Option<()> {
        match self.bytes.get(self.position) {
            Some(b',') => {
                if self.bytes.get(self.position + 1) == Some(&b'"') {
                    self.position += 1;
                    return Some(());
                }
            }
            Some(b'}') => return Some(()),
            _ => self.space(),
        }
        match self.bytes.get(self.position) {
            Some(b',') => {
                self.position += 1;
                self.space();
                (self.bytes.get(self.position) == Some(&b'"')).then_some(())
            }
            Some(b'}') => Some(()),
            None if self.cut => Some(()),
            _ => None,
        }
    }

    /// Returns the string whose first quote was taken.
    #[inline(always)]
    fn string(&mut self) -> Option<Quoted<'a>> {
        let start = self.position;
        let mut at = start;
        let mut escaped = false;
        loop {
            let Some(found) = find(self.bytes.get(at..)?, b'"', b'\\') else {
                self.position = self.bytes.len();
                return self.cut.then(|| Quoted {
                    text: &self.bytes[start..],
                    escaped,
                });
            };
            at += found;
            if self.bytes[at] == b'"' {
                self.position = at + 1;
                return Some(Quoted {
                    text: &self.bytes[start..at],
                    escaped,
                });
            }
            escaped = true;
            at += 2;
            if at > self.bytes.len() {
                self.position = self.bytes.len();
                return self.cut.then(|| Quoted {
                    text: &self.bytes[start..at - 2],
                    escaped,
                });
            }
        }
    }

    #[inline(always)]
    fn plain(&mut self) -> Option<&'a [u8]> {
        let rest = self.bytes.get(self.position..)?;
        let is_plain =
            |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'.' | b'-' | b'+' | b'E');
        let length = rest.iter().take_while(|byte| is_plain(byte)).count();
        self.position += length;
        (length > 0).then_some(&rest[..length])
    }

    fn skip_nested(&mut self) -> Option<()> {
        let mut open = [0_u8; DEPTH_MAX];
        let mut depth = 0;
        loop {
            let byte = *self.bytes.get(self.position)?;
            self.position += 1;
            match byte {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => {
                    *open.get_mut(depth)? = byte;
                    depth += 1;
                }
                b'}' | b']' => {
                    // The codes of both pairs of brackets are two apart.
                    if open[depth - 1] + 2 != byte {
                        return None;
                    }
                    depth -= 1;
                    if depth == 0 {
                        return Some(());
                    }
                }
                _ => {}
            }
        }
    }
}

/// Finds the first of two bytes, most often within a few words.
#[inline(always)]
pub(crate) fn find(bytes: &[u8], one: u8, other: u8) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let (ones, others) = (ONES * u64::from(one), ONES * u64::from(other));
    let (words, _) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().take(NEAR_WORDS).enumerate() {
        let word = u64::from_le_bytes(*word);
        let (first, second) = (word ^ ones, word ^ others);
        // The lowest byte that is zero has its high bit set; higher ones may err, and do not matter.
        let zeros =
            (first.wrapping_sub(ONES) & !first | second.wrapping_sub(ONES) & !second) & HIGHS;
        if zeros != 0 {
            return Some(index * 8 + (zeros.trailing_zeros() / 8) as usize);
        }
    }
    let skipped = words.len().min(NEAR_WORDS) * 8;
    memchr2(one, other, &bytes[skipped..]).map(|found| skipped + found)
}

/// Decodes the escapes of a string and appends it; what is no escape is kept as it is.
pub(crate) fn unescape(mut text: &[u8], output: &mut Vec<u8>) {
    while let Some(found) = memchr(b'\\', text) {
        output.extend_from_slice(&text[..found]);
        text = &text[found + 1..];
        let Some((&byte, rest)) = text.split_first() else {
            return;
        };
        text = rest;
        match byte {
            b'n' => output.push(b'\n'),
            b't' => output.push(b'\t'),
            b'r' => output.push(b'\r'),
            b'b' => output.push(8),
            b'f' => output.push(12),
            b'u' => text = unescape_unicode(text, output),
            b'"' | b'\\' | b'/' => output.push(byte),
            _ => output.extend_from_slice(&[b'\\', byte]),
        }
    }
    output.extend_from_slice(text);
}

/// Decodes what follows `\u`, with the second half of a surrogate pair, and returns the rest.
fn unescape_unicode<'a>(text: &'a [u8], output: &mut Vec<u8>) -> &'a [u8] {
    let Some((high, mut rest)) = hex4(text) else {
        output.extend_from_slice(b"\\u");
        return text;
    };
    let mut code = high;
    if (0xd800..0xdc00).contains(&high)
        && let Some((low, after)) = rest.strip_prefix(b"\\u").and_then(hex4)
        && (0xdc00..0xe000).contains(&low)
    {
        code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
        rest = after;
    }
    let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    output.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    rest
}

fn hex4(text: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = text.split_at_checked(4)?;
    let mut code = 0;
    for digit in digits {
        code = code << 4 | char::from(*digit).to_digit(16)?;
    }
    Some((code, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> String {
        let mut output = Vec::new();
        unescape(text.as_bytes(), &mut output);
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn escapes() {
        assert_eq!(decoded(r#"a\nb\t\"\\\/\u0041"#), "a\nb\t\"\\/A");
        assert_eq!(decoded(r"\ud83d\ude00"), "\u{1f600}");
        assert_eq!(decoded(r"\ud83d!"), "\u{fffd}!");
        assert_eq!(decoded(r"\ude00\ud83d\n"), "\u{fffd}\u{fffd}\n");
        assert_eq!(decoded(r"\u00"), r"\u00");
        assert_eq!(decoded("cut\\"), "cut");
    }

    #[test]
    fn bytes_are_found_near_and_far() {
        for length in 0..80 {
            let mut text = vec![b'#'; length];
            text.extend_from_slice(b"\\\"\"");
            assert_eq!(find(&text, b'"', b'\\'), Some(length));
            assert_eq!(find(&text, b'"', b'!'), Some(length + 1));
            assert_eq!(find(&text, b'!', b'$'), None);
        }
    }

    #[test]
    fn members_of_any_value_are_walked() {
        let text = br#" { "a" : "x\"y" ,"b":[1,{"c":"]"}], "d":-1.5e3,"e":null } "#;
        let mut walk = Walk::object(text).unwrap();
        let mut members = Vec::new();
        while let Some(Some(key)) = walk.key() {
            members.push((key, walk.value().unwrap()));
        }
        assert!(walk.at_end());
        let string = Quoted {
            text: br#"x\"y"#,
            escaped: true,
        };
        assert_eq!(
            members,
            [
                (&b"a"[..], Value::String(string)),
                (b"b", Value::Nested(br#"[1,{"c":"]"}]"#)),
                (b"d", Value::Plain(b"-1.5e3")),
                (b"e", Value::Plain(b"null")),
            ]
        );
    }
}
