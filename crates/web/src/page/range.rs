//! Which stretch of time an address means: `range=6h`, `from=..&to=..`, or `at=..`.

use std::time::Duration;

use pawang_core::Timestamp;
use pawang_store::history::Span;

use super::{PageError, Range};

/// The stretches that the picker offers, with their lengths; the first is the one of an address that names none.
pub(crate) const NAMED: [(&str, Duration); 5] = [
    ("1h", Duration::from_secs(3_600)),
    ("6h", Duration::from_secs(6 * 3_600)),
    ("24h", Duration::from_secs(24 * 3_600)),
    ("7d", Duration::from_secs(7 * 86_400)),
    ("30d", Duration::from_secs(30 * 86_400)),
];

/// No history is longer: ten-minute values are kept for two years unless the configuration says otherwise.
const LONGEST: Duration = Duration::from_secs(4 * 366 * 86_400);
/// A chart of less shows nothing.
const SHORTEST: Duration = Duration::from_secs(10);

/// Reads the stretch of time out of the parameters of an address.
///
/// `from` with `to`, or `at` (the end; its length is that of `range`) make it frozen: such an address shows the same
/// for ever. Instants are RFC 3339 or milliseconds since 1970.
///
/// # Errors
/// A parameter that is no instant, no named range, or ends before it begins.
pub(crate) fn parse(query: &[(String, String)], now: Timestamp) -> Result<Range, PageError> {
    let named = match parameter(query, "range") {
        None => NAMED[0],
        Some(name) => *NAMED
            .iter()
            .find(|(known, _)| *known == name)
            .ok_or_else(|| wrong("range"))?,
    };
    let from = instant(query, "from")?;
    let to = match instant(query, "to")? {
        Some(to) => Some(to),
        None => instant(query, "at")?,
    };
    let (name, length) = named;
    let end = to.unwrap_or(now);
    let begin = match from {
        Some(from) => from,
        None => end.checked_sub(length).map_err(|_| wrong("to"))?,
    };
    let span = begin.duration_until(end);
    if span < shortest() {
        return Err(wrong("from"));
    }
    let begin = match span.unsigned_abs() > LONGEST {
        true => end.checked_sub(LONGEST).map_err(|_| wrong("to"))?,
        false => begin,
    };
    let frozen = to.is_some();
    Ok(Range {
        span: Span {
            from: begin,
            to: end,
        },
        frozen,
        name: match from.is_some() {
            true => String::new(),
            false => name.to_owned(),
        },
    })
}

/// Reads an instant: RFC 3339, or milliseconds since 1970.
pub(crate) fn read_instant(text: &str) -> Option<Timestamp> {
    match text.parse::<i64>() {
        Ok(milliseconds) => Timestamp::from_millisecond(milliseconds).ok(),
        // A "+" that nobody encoded arrives as a space.
        Err(_) => text.replace(' ', "+").parse().ok(),
    }
}

fn instant(query: &[(String, String)], name: &str) -> Result<Option<Timestamp>, PageError> {
    match parameter(query, name) {
        None | Some("") => Ok(None),
        Some(text) => read_instant(text).map(Some).ok_or_else(|| wrong(name)),
    }
}

fn parameter<'a>(query: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut found = query.iter().filter(|(key, _)| key == name);
    found.next().map(|(_, value)| value.as_str())
}

fn wrong(parameter: &str) -> PageError {
    PageError::Parameter {
        parameter: parameter.to_owned(),
    }
}

fn shortest() -> jiff::SignedDuration {
    jiff::SignedDuration::from_secs(SHORTEST.as_secs().cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-03-01T12:00:00Z";

    fn range(query: &[(&str, &str)]) -> Result<Range, String> {
        let query: Vec<_> = query
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        parse(&query, NOW.parse().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_addresses() {
        for (query, from, to, frozen, name) in [
            (&[][..], "2026-03-01T11:00:00Z", NOW, false, "1h"),
            (
                &[("range", "24h")],
                "2026-02-28T12:00:00Z",
                NOW,
                false,
                "24h",
            ),
            (
                &[("range", "6h"), ("at", "2026-02-01T06:00:00Z")],
                "2026-02-01T00:00:00Z",
                "2026-02-01T06:00:00Z",
                true,
                "6h",
            ),
            (
                &[
                    ("from", "2026-02-01T00:00:00Z"),
                    ("to", "2026-02-01T07:30:00+07:00"),
                ],
                "2026-02-01T00:00:00Z",
                "2026-02-01T00:30:00Z",
                true,
                "",
            ),
            (
                &[("from", "1769904000000"), ("to", "1769904060000")],
                "2026-02-01T00:00:00Z",
                "2026-02-01T00:01:00Z",
                true,
                "",
            ),
            (
                &[("from", "2026-03-01T11:30:00 00:00")],
                "2026-03-01T11:30:00Z",
                NOW,
                false,
                "",
            ),
        ] {
            let read = range(query).unwrap();
            let expected = Span {
                from: from.parse().unwrap(),
                to: to.parse().unwrap(),
            };
            assert_eq!(
                (read.span, read.frozen, read.name.as_str()),
                (expected, frozen, name),
                "{query:?}"
            );
        }
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        for query in [
            &[("range", "2h")][..],
            &[("from", "yesterday")],
            &[("to", "99999999999999999999")],
            &[("to", "-9223372036854775808")],
            &[("to", "-99999999999999999")],
            &[
                ("from", "2026-02-02T00:00:00Z"),
                ("to", "2026-02-01T00:00:00Z"),
            ],
        ] {
            let error = range(query).unwrap_err();
            assert!(error.starts_with("cannot read \""), "{query:?}: {error}");
        }
    }

    #[test]
    fn no_span_is_longer_than_history() {
        let read = range(&[("from", "0"), ("to", "1769904000000")]).unwrap();
        assert_eq!(
            read.span.from.duration_until(read.span.to).unsigned_abs(),
            LONGEST
        );
    }
}
