//! What a message of `log_duration`, `log_min_duration_statement` or `log_statement` tells.

/// Part of the protocol that a duration or a statement belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// A statement of the simple protocol.
    Simple,
    /// Parse of the extended protocol.
    Parse,
    /// Bind.
    Bind,
    /// Execute.
    Execute,
    /// Execute of a portal that ran before.
    Fetch,
    /// A call of a function by the fast path.
    Fastpath,
    /// A duration alone.
    Bare,
}

impl Phase {
    /// All phases, in order of their numbers.
    pub const ALL: [Phase; 7] = [
        Phase::Simple,
        Phase::Parse,
        Phase::Bind,
        Phase::Execute,
        Phase::Fetch,
        Phase::Fastpath,
        Phase::Bare,
    ];

    /// Returns its name in the report.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Simple => "simple",
            Phase::Parse => "parse",
            Phase::Bind => "bind",
            Phase::Execute => "execute",
            Phase::Fetch => "fetch",
            Phase::Fastpath => "fastpath",
            Phase::Bare => "unknown",
        }
    }

    /// Tells whether it runs a statement, rather than preparing to.
    pub fn runs(self) -> bool {
        !matches!(self, Phase::Parse | Phase::Bind | Phase::Bare)
    }
}

/// What a message tells of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told<'a> {
    /// How long it took, in microseconds; none when it is about to run.
    pub duration: Option<u64>,
    /// What of it.
    pub phase: Phase,
    /// Its text; empty in a duration alone.
    pub text: &'a [u8],
}

/// Returns what a message tells of a statement; none for a plan, which the plan reader takes, and for all other messages.
#[inline]
pub fn told(message: &[u8]) -> Option<Told<'_>> {
    let Some(rest) = message.strip_prefix(b"duration: ") else {
        let (phase, text) = statement(message)?;
        return Some(Told {
            duration: None,
            phase,
            text,
        });
    };
    let (duration, rest) = milliseconds(rest)?;
    let duration = Some(duration);
    let rest = rest.trim_ascii_start();
    if rest.is_empty() {
        return Some(Told {
            duration,
            phase: Phase::Bare,
            text: b"",
        });
    }
    let (phase, text) = statement(rest)?;
    Some(Told {
        duration,
        phase,
        text,
    })
}

#[inline]
fn statement(message: &[u8]) -> Option<(Phase, &[u8])> {
    let (phase, rest) = match message.first()? {
        b's' => return Some((Phase::Simple, message.strip_prefix(b"statement: ")?)),
        b'p' => (Phase::Parse, message.strip_prefix(b"parse ")?),
        b'b' => (Phase::Bind, message.strip_prefix(b"bind ")?),
        b'e' => match message.strip_prefix(b"execute fetch from ") {
            Some(rest) => (Phase::Fetch, rest),
            None => (Phase::Execute, message.strip_prefix(b"execute ")?),
        },
        b'f' => {
            let text = message.strip_prefix(b"fastpath function call: ")?;
            return Some((Phase::Fastpath, text));
        }
        _ => return None,
    };
    if let Some(text) = rest.strip_prefix(b"<unnamed>: ") {
        return Some((phase, text));
    }
    // The name is short, so that looking at each byte is faster than a search that prepares itself.
    let colon = rest.windows(2).position(|pair| pair == b": ")?;
    Some((phase, &rest[colon + 2..]))
}

/// Reads `0.855 ms` as microseconds, and returns what follows.
fn milliseconds(text: &[u8]) -> Option<(u64, &[u8])> {
    let mut whole: u64 = 0;
    let mut index = 0;
    while let Some(digit) = text.get(index).filter(|byte| byte.is_ascii_digit()) {
        whole = whole
            .checked_mul(10)?
            .checked_add(u64::from(digit - b'0'))?;
        index += 1;
    }
    if index == 0 {
        return None;
    }
    let mut micros = whole.checked_mul(1000)?;
    if text.get(index) == Some(&b'.') {
        index += 1;
        let mut weight = 100;
        while let Some(digit) = text.get(index).filter(|byte| byte.is_ascii_digit()) {
            micros = micros.checked_add(u64::from(digit - b'0') * weight)?;
            weight /= 10;
            index += 1;
        }
    }
    Some((micros, text[index..].strip_prefix(b" ms")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_tell_phase_duration_and_text() {
        for (message, expected) in [
            (
                "duration: 0.855 ms  statement: select 1",
                Some((Some(855), Phase::Simple, "select 1")),
            ),
            (
                "duration: 12.003 ms  parse <unnamed>: a: b",
                Some((Some(12_003), Phase::Parse, "a: b")),
            ),
            (
                "duration: 3 ms  bind s1/c1: x",
                Some((Some(3000), Phase::Bind, "x")),
            ),
            (
                "duration: 0.001 ms  execute P_1: END;",
                Some((Some(1), Phase::Execute, "END;")),
            ),
            (
                "duration: 0.001 ms  execute fetch from c: x",
                Some((Some(1), Phase::Fetch, "x")),
            ),
            (
                "duration: 1.5 ms  fastpath function call: \"f\" (OID 9)",
                Some((Some(1500), Phase::Fastpath, "\"f\" (OID 9)")),
            ),
            ("duration: 1.234 ms", Some((Some(1234), Phase::Bare, ""))),
            ("statement: begin", Some((None, Phase::Simple, "begin"))),
            (
                "execute <unnamed>: begin",
                Some((None, Phase::Execute, "begin")),
            ),
            ("duration: 66.438 ms  plan:\nQuery Text: x", None),
            ("duration: 99999999999999999999999 ms  statement: x", None),
            ("duration: x ms", None),
            ("parameter x changed", None),
            ("", None),
        ] {
            let seen = told(message.as_bytes()).map(|told| (told.duration, told.phase, told.text));
            let expected =
                expected.map(|(duration, phase, text)| (duration, phase, text.as_bytes()));
            assert_eq!(seen, expected, "{message}");
        }
    }
}
