//! Query texts without the values in them.
//!
//! Works as PostgreSQL's own lexer does (with `standard_conforming_strings` on), not as its parser: a text may be cut
//! off by the server, may be no SQL at all, or may belong to a statement that this version has never heard of.

/// A text is cut here.
pub const TEXT_BYTES_MAX: usize = 8 << 10;
/// No more than this is looked at; what is behind it is cut off.
const INPUT_BYTES_MAX: usize = 1 << 20;
/// Stands where something was cut off.
const MARK: &str = "...";

/// What one piece of a statement is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    /// A number or a string of any kind, also one that does not end.
    Literal,
    /// `$1`, which is kept.
    Parameter,
    /// Names, keywords, operators, comments, space.
    Other,
}

/// Returns the statement with every number and string replaced by `$1`, `$2`, ..., as pg_stat_statements does it; cut
/// at [`TEXT_BYTES_MAX`]. Placeholders go on after the highest parameter that the statement has already.
///
/// Comments and quoted names are kept as they are; a literal that does not end is replaced up to the end.
pub fn normalise(sql: &str) -> String {
    let input = &sql[..sql.floor_char_boundary(INPUT_BYTES_MAX)];
    let mut next = parameter_max(input).saturating_add(1);
    let mut out = String::with_capacity(input.len().min(TEXT_BYTES_MAX));
    for (piece, text) in pieces(input) {
        match piece {
            Piece::Literal => {
                // Glued to a name or to another dollar it would begin something else.
                if out.bytes().last().is_some_and(continues_name) {
                    out.push(' ');
                }
                out.push('$');
                out.push_str(&next.to_string());
                next = next.saturating_add(1);
            }
            Piece::Parameter | Piece::Other => out.push_str(text),
        }
        if out.len() > TEXT_BYTES_MAX {
            break;
        }
    }
    if input.len() < sql.len() {
        out.push_str(MARK);
    }
    cut(&out)
}

/// Returns the text cut at [`TEXT_BYTES_MAX`], with `...` where something is missing.
pub(crate) fn cut(text: &str) -> String {
    if text.len() <= TEXT_BYTES_MAX {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(TEXT_BYTES_MAX - MARK.len());
    format!("{}{MARK}", &text[..end])
}

fn parameter_max(sql: &str) -> u32 {
    pieces(sql)
        .filter(|(piece, _)| *piece == Piece::Parameter)
        .filter_map(|(_, text)| text[1..].parse().ok())
        .max()
        .unwrap_or(0)
}

/// Splits a statement; the pieces together are the statement.
fn pieces(sql: &str) -> impl Iterator<Item = (Piece, &str)> {
    let mut rest = sql;
    std::iter::from_fn(move || {
        let (piece, length) = first(rest.as_bytes())?;
        // All delimiters are ASCII, and what is not is part of a name or inside a literal or comment.
        let (text, after) = rest.split_at(length);
        rest = after;
        Some((piece, text))
    })
}

/// Returns kind and length of the first piece.
fn first(sql: &[u8]) -> Option<(Piece, usize)> {
    let at = |index: usize| sql.get(index).copied().unwrap_or(0);
    let byte = *sql.first()?;
    Some(match byte {
        b'\'' => (Piece::Literal, quoted(sql, 1, false)),
        b'"' => (Piece::Other, quoted(sql, 1, false)),
        b'-' if at(1) == b'-' => (
            Piece::Other,
            until(sql, |byte| byte == b'\n' || byte == b'\r'),
        ),
        b'/' if at(1) == b'*' => (Piece::Other, comment(sql)),
        b'$' if at(1).is_ascii_digit() => (
            Piece::Parameter,
            1 + until(&sql[1..], |byte| !byte.is_ascii_digit()),
        ),
        b'$' => dollar_quoted(sql).map_or((Piece::Other, 1), |length| (Piece::Literal, length)),
        b'0'..=b'9' => (Piece::Literal, number(sql)),
        b'.' if at(1).is_ascii_digit() => (Piece::Literal, number(sql)),
        // Two dots are the range of a loop, whose end is a number of its own.
        b'.' if at(1) == b'.' => (Piece::Other, 2),
        _ if starts_name(byte) => name(sql),
        _ if byte.is_ascii_whitespace() => {
            (Piece::Other, until(sql, |byte| !byte.is_ascii_whitespace()))
        }
        _ => (Piece::Other, 1),
    })
}

/// Returns a name, or the string that its first letter introduces: `E'..'`, `B'..'`, `X'..'`, `N'..'`, `U&'..'`.
fn name(sql: &[u8]) -> (Piece, usize) {
    let length = until(sql, |byte| !continues_name(byte));
    match (&sql[..length], &sql[length..]) {
        (b"e" | b"E", [b'\'', ..]) => (Piece::Literal, quoted(sql, 2, true)),
        (b"b" | b"B" | b"x" | b"X" | b"n" | b"N", [b'\'', ..]) => {
            (Piece::Literal, quoted(sql, 2, false))
        }
        (b"u" | b"U", [b'&', b'\'', ..]) => (Piece::Literal, quoted(sql, 3, false)),
        (b"u" | b"U", [b'&', b'"', ..]) => (Piece::Other, quoted(sql, 3, false)),
        _ => (Piece::Other, length),
    }
}

/// Returns the length up to and with the quote that ends what `sql[start - 1]` begins; a doubled one does not end it.
fn quoted(sql: &[u8], start: usize, backslash: bool) -> usize {
    let quote = sql[start - 1];
    let mut index = start;
    while let Some(byte) = sql.get(index) {
        match byte {
            b'\\' if backslash => index += 2,
            _ if *byte != quote => index += 1,
            _ if sql.get(index + 1) == Some(&quote) => index += 2,
            _ => return index + 1,
        }
    }
    sql.len()
}

/// Returns the length of `$tag$ ... $tag$`, or `None` when it is none.
fn dollar_quoted(sql: &[u8]) -> Option<usize> {
    let tag = 1 + until(&sql[1..], |byte| !continues_name(byte) || byte == b'$');
    if sql.get(tag) != Some(&b'$') {
        return None;
    }
    let delimiter = &sql[..=tag];
    let mut index = delimiter.len();
    while index + delimiter.len() <= sql.len() {
        if sql[index..].starts_with(delimiter) {
            return Some(index + delimiter.len());
        }
        // A long body is searched from dollar to dollar.
        index += 1 + until(&sql[index + 1..], |byte| byte == b'$');
    }
    Some(sql.len())
}

/// Returns the length of a comment; they nest.
fn comment(sql: &[u8]) -> usize {
    let (mut depth, mut index) = (0_usize, 0);
    while index < sql.len() {
        match &sql[index..] {
            [b'/', b'*', ..] => (depth, index) = (depth + 1, index + 2),
            [b'*', b'/', ..] => (depth, index) = (depth - 1, index + 2),
            _ => index += 1,
        }
        if depth == 0 {
            break;
        }
    }
    index
}

/// Returns the length of a number, with whatever letters are glued to it: `0x1F`, `1_000`, `1.5e-3`, `12abc`.
fn number(sql: &[u8]) -> usize {
    let mut index = 0;
    while let Some(byte) = sql.get(index) {
        let before = index.checked_sub(1).map(|before| sql[before]);
        let signed = matches!(byte, b'+' | b'-')
            && matches!(before, Some(b'e' | b'E'))
            && !sql.starts_with(b"0x")
            && !sql.starts_with(b"0X")
            && sql.get(index + 1).is_some_and(u8::is_ascii_digit);
        let dot = *byte == b'.' && sql.get(index + 1) != Some(&b'.');
        if !(signed || dot || byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80) {
            break;
        }
        index += 1;
    }
    index
}

fn starts_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn continues_name(byte: u8) -> bool {
    starts_name(byte) || byte.is_ascii_digit() || byte == b'$'
}

fn until(sql: &[u8], ends: impl Fn(u8) -> bool) -> usize {
    let end = sql.iter().position(|byte| ends(*byte));
    end.unwrap_or(sql.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn literals_become_placeholders_and_all_else_stays() {
        for (sql, expected) in [
            ("SELECT 1", "SELECT $1"),
            (
                "SELECT t1.c2 FROM s3.t1 WHERE a=-5",
                "SELECT t1.c2 FROM s3.t1 WHERE a=-$1",
            ),
            ("SELECT 'it''s', E'it\\'s', 'c:\\'", "SELECT $1, $2, $3"),
            (
                "SELECT U&'d\\0061t', u&\"n\\0061\", B'01', x'1f', N'a'",
                "SELECT $1, u&\"n\\0061\", $2, $3, $4",
            ),
            (
                "SELECT $$a$$, $t$ $$ 'x' $t$, $1, $7",
                "SELECT $8, $9, $1, $7",
            ),
            (
                "SELECT 1.5e-3, .5, 0x1F, 1_000, 1e10+2",
                "SELECT $1, $2, $3, $4, $5+$6",
            ),
            ("FOR i IN 1..10", "FOR i IN $1..$2"),
            (
                "DATE '2020-01-01' - INTERVAL '1 day'",
                "DATE $1 - INTERVAL $2",
            ),
            ("ALTER ROLE x PASSWORD 'secret'", "ALTER ROLE x PASSWORD $1"),
            ("SELECT 1 -- it's 5\n, 2", "SELECT $1 -- it's 5\n, $2"),
            (
                "/* 1 /* '2' */ 3 */ SELECT 4",
                "/* 1 /* '2' */ 3 */ SELECT $1",
            ),
            (
                "SELECT \"a 1 'b'\"\"c\", a$1$b, é1",
                "SELECT \"a 1 'b'\"\"c\", a$1$b, é1",
            ),
            ("SELECT 'cut off by the ser", "SELECT $1"),
            ("DO $body$ BEGIN cut $bod", "DO $1"),
            ("SELECT /* cut off", "SELECT /* cut off"),
            ("SELECT 12abc, $ 5 $", "SELECT $1, $ $2 $"),
            ("SELECT 'a'\n  'b'", "SELECT $1\n  $2"),
            ("", ""),
        ] {
            assert_eq!(normalise(sql), expected, "{sql}");
        }
    }

    #[test]
    fn a_megabyte_is_cut() {
        for sql in [
            format!("SELECT {}", "1, ".repeat(1 << 20)),
            format!("SELECT '{}', 2", "x".repeat(1 << 21)),
            "é".repeat(1 << 20),
            "$".repeat(1 << 20),
            "$a$".repeat(1 << 19),
            "/*".repeat(1 << 19),
        ] {
            let text = normalise(&sql);
            assert!(text.len() <= TEXT_BYTES_MAX);
        }
        assert_eq!(
            normalise(&format!("SELECT '{}', 2", "x".repeat(1 << 21))),
            "SELECT $1..."
        );
    }

    /// Pieces of statements, most of them with quotes and dollars in the wrong places too.
    fn soup() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            "[a-zA-Zé_ \n$0-9'\"\\\\/*.&-]{0,6}",
            Just("'".to_owned()),
            Just("$$".to_owned()),
            Just("E'".to_owned()),
            Just("/*".to_owned()),
            Just("--".to_owned()),
            ".{0,4}",
        ];
        proptest::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
    }

    /// A whole literal with a secret in it.
    fn literal() -> impl Strategy<Value = String> {
        let body = "[a-z0-9 ]{0,5}";
        (0..7_usize, body, body).prop_map(|(kind, before, after)| {
            let inside = format!("{before}hunter2secret{after}");
            match kind {
                0 => format!("'{inside}'"),
                1 => format!("'{before}''hunter2secret{after}'"),
                2 => format!("E'{before}\\'hunter2secret\\\\{after}'"),
                3 => format!("$${inside}$$"),
                4 => format!("$q1${inside}$ $q$ $q1$"),
                5 => format!("U&'{inside}'"),
                _ => format!("N'{inside}'"),
            }
        })
    }

    proptest! {
        #[test]
        fn any_text_is_taken(sql in soup()) {
            let once = normalise(&sql);
            prop_assert!(once.len() <= TEXT_BYTES_MAX);
            prop_assert_eq!(&normalise(&once), &once);
            let whole: String = pieces(&sql).map(|(_, text)| text).collect();
            prop_assert_eq!(whole, sql);
        }

        #[test]
        fn no_part_of_a_literal_is_left_wherever_the_server_cut_the_text(
            literals in proptest::collection::vec(literal(), 1..5),
            share in 0.0..=1.0_f64,
        ) {
            let sql = format!("ALTER ROLE \"a b\" PASSWORD {} /* it's */", literals.join(" , t1 = "));
            let end = sql.floor_char_boundary((sql.len() as f64 * share) as usize);
            for sql in [&sql[..end], &sql] {
                let text = normalise(sql);
                prop_assert!(!text.contains("hunt") && !text.contains("secr"), "{} of {}", text, sql);
            }
        }
    }
}
