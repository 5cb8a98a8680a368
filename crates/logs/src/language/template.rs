//! Formats of printf as templates: what they captured of a translated text fills the English one.

use memchr::memmem;

/// The most captures of a template.
const CAPTURES: usize = 32;
/// Where the reason of the operating system (`%m`) is kept.
const REASON: usize = CAPTURES - 1;
/// The most steps of one match; texts that need more are left as they are.
const STEPS: u32 = 2000;

/// A piece of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// Text as it is.
    Text(Vec<u8>),
    /// What is put in: its position, and whether it is a number.
    Value { position: usize, number: bool },
}

/// A format taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    pieces: Vec<Piece>,
    /// Bytes of literal text.
    pub(super) weight: usize,
}

/// What a template captured.
pub(super) type Captures<'a> = [Option<&'a [u8]>; CAPTURES];

impl Template {
    /// Reads a format of printf; none when it has more values than a template can hold.
    pub(super) fn new(format: &str) -> Option<Template> {
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut next = 0;
        let mut characters = format.chars().peekable();
        while let Some(c) = characters.next() {
            if c != '%' {
                text.push(c);
                continue;
            }
            if characters.next_if_eq(&'%').is_some() {
                text.push('%');
                continue;
            }
            let mut digits = 0;
            let mut explicit = None;
            let letter = loop {
                match characters.next()? {
                    '$' => explicit = usize::checked_sub(digits, 1),
                    '*' => next += 1,
                    'l' | 'z' | 'h' => {}
                    c if c.is_ascii_alphabetic() => break c,
                    c => {
                        digits = c
                            .to_digit(10)
                            .map_or(0, |digit| digits * 10 + digit as usize)
                    }
                }
            };
            let position = match (letter, explicit) {
                ('m', _) => REASON,
                (_, Some(position)) => position,
                (_, None) => {
                    next += 1;
                    next - 1
                }
            };
            if position >= CAPTURES {
                return None;
            }
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text).into_bytes()));
            }
            let number = !matches!(letter, 's' | 'm' | 'c');
            pieces.push(Piece::Value { position, number });
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text.into_bytes()));
        }
        let literal = |piece: &Piece| match piece {
            Piece::Text(text) => text.len(),
            Piece::Value { .. } => 0,
        };
        Some(Template {
            weight: pieces.iter().map(literal).sum(),
            pieces,
        })
    }

    /// Returns the text that it begins with.
    pub(super) fn start(&self) -> &[u8] {
        match self.pieces.first() {
            Some(Piece::Text(text)) => text,
            _ => b"",
        }
    }

    /// Returns the text that it ends with.
    pub(super) fn end(&self) -> &[u8] {
        match self.pieces.last() {
            Some(Piece::Text(text)) => text,
            _ => b"",
        }
    }

    /// Matches a whole text.
    pub(super) fn capture<'a>(&self, text: &'a [u8]) -> Option<Captures<'a>> {
        if !text.starts_with(self.start()) {
            return None;
        }
        let ends = match self.pieces.last()? {
            Piece::Text(end) => text.ends_with(end),
            Piece::Value { .. } => true,
        };
        let mut captures = [None; CAPTURES];
        let mut steps = STEPS;
        (ends && walk(&self.pieces, text, &mut captures, &mut steps)).then_some(captures)
    }

    /// Writes the template with what another one captured; `value` may change a text on its way.
    pub(super) fn fill<'a>(
        &self,
        captures: &Captures<'a>,
        out: &mut Vec<u8>,
        mut value: impl FnMut(&'a [u8], bool, &mut Vec<u8>),
    ) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Value { position, number } => {
                    let captured = captures[*position].unwrap_or_default();
                    if *number {
                        out.extend_from_slice(captured);
                    } else {
                        value(captured, *position == REASON, out);
                    }
                }
            }
        }
    }

    /// Tells whether the first number that was captured is 1.
    pub(super) fn is_one(&self, captures: &Captures<'_>) -> bool {
        let first = self.pieces.iter().find_map(|piece| match piece {
            Piece::Value {
                position,
                number: true,
            } => Some(*position),
            _ => None,
        });
        first.and_then(|position| captures[position]) == Some(b"1")
    }
}

fn is_number(text: &[u8]) -> bool {
    text.iter().any(u8::is_ascii_hexdigit)
        && text.iter().all(|byte| {
            byte.is_ascii_hexdigit() || matches!(byte, b'.' | b',' | b'-' | b'+' | b'x' | b' ')
        })
}

/// Matches pieces with a text, the shortest capture first.
fn walk<'a>(
    pieces: &[Piece],
    text: &'a [u8],
    captures: &mut Captures<'a>,
    steps: &mut u32,
) -> bool {
    let Some(rest) = steps.checked_sub(1) else {
        return false;
    };
    *steps = rest;
    match pieces {
        [] => text.is_empty(),
        [Piece::Text(start), rest @ ..] => text
            .strip_prefix(&start[..])
            .is_some_and(|text| walk(rest, text, captures, steps)),
        [Piece::Value { position, number }] => {
            captures[*position] = Some(text);
            !number || is_number(text)
        }
        [Piece::Value { position, number }, rest @ ..] => {
            let Some(Piece::Text(literal)) = rest.first() else {
                // Two values side by side: what they say cannot be told apart, so the last one takes all.
                captures[*position] = Some(b"");
                return walk(rest, text, captures, steps);
            };
            for at in memmem::find_iter(text, literal) {
                let captured = &text[..at];
                if *number && !is_number(captured) {
                    return false;
                }
                captures[*position] = Some(captured);
                if walk(rest, &text[at..], captures, steps) {
                    return true;
                }
                if *steps == 0 {
                    return false;
                }
            }
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(translated: &str, english: &str, text: &str, expected: Option<&str>) {
        let from = Template::new(translated).expect("a template");
        let to = Template::new(english).expect("a template");
        let filled = from.capture(text.as_bytes()).map(|captures| {
            let mut out = Vec::new();
            to.fill(&captures, &mut out, |text, _, out| {
                out.extend_from_slice(text)
            });
            String::from_utf8(out).expect("text")
        });
        assert_eq!(filled.as_deref(), expected);
    }

    #[test]
    fn captures_fill_the_other_template() {
        check(
            "la relation « %s » n'existe pas",
            "relation \"%s\" does not exist",
            "la relation « t » n'existe pas",
            Some("relation \"t\" does not exist"),
        );
        check("%2$s を %1$d", "%d in %s", "x を 5", Some("5 in x"));
        check(
            "durée : %s ms",
            "duration: %s ms",
            "durée : 1.5 ms",
            Some("duration: 1.5 ms"),
        );
        check("%d fichiers", "%d files", "x fichiers", None);
        check(
            "100%% %.2f%%",
            "100%% %.2f%%",
            "100% 5.25%",
            Some("100% 5.25%"),
        );
        check("%s ( %s )", "%s (%s)", "a ( b ) ( c )", Some("a (b ) ( c)"));
        check(
            "hôte=%s%s%s",
            "host=%s%s%s",
            "hôte=h port=5",
            Some("host=h port=5"),
        );
        check(
            "ouvrir « %s » : %m",
            "open \"%s\": %m",
            "ouvrir « f » : raison",
            Some("open \"f\": raison"),
        );
    }

    #[test]
    fn one_is_told_for_plurals() {
        let template = Template::new("%d fichier").expect("a template");
        let captures = template.capture(b"1 fichier").expect("a match");
        assert!(template.is_one(&captures));
    }
}
