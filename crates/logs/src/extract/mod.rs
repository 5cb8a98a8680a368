//! Small parsers of the texts of messages: numbers, sizes, times, names, fields of CSV. They take bytes, allocate only what they return
//! and never fail loudly: what is not there is none.

mod text;

pub(crate) use text::{csv_fields, named, printable, redacted};

use memchr::memmem;

/// Returns the number that the text begins with, and what follows it.
pub(crate) fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(length);
    if digits.is_empty() {
        return None;
    }
    let value = digits.iter().try_fold(0_u64, |value, digit| {
        value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })?;
    Some((value, rest))
}

/// Returns the number of a process that the text begins with, and what follows it.
pub(crate) fn process(text: &[u8]) -> Option<(u32, &[u8])> {
    let (value, rest) = number(text)?;
    Some((u32::try_from(value).ok()?, rest))
}

/// Returns what follows the first `mark`.
pub(crate) fn after<'a>(text: &'a [u8], mark: &str) -> Option<&'a [u8]> {
    let start = memmem::find(text, mark.as_bytes())?;
    Some(&text[start + mark.len()..])
}

/// Returns what stands before the first `mark`, or all of it.
pub(crate) fn until<'a>(text: &'a [u8], mark: &str) -> &'a [u8] {
    match memmem::find(text, mark.as_bytes()) {
        Some(end) => &text[..end],
        None => text,
    }
}

/// Returns the number right after the first `mark`.
pub(crate) fn number_after(text: &[u8], mark: &str) -> Option<u64> {
    number(after(text, mark)?).map(|(value, _)| value)
}

/// Returns the number right before the first `mark`.
pub(crate) fn number_before(text: &[u8], mark: &str) -> Option<u64> {
    let end = memmem::find(text, mark.as_bytes())?;
    let digits = text[..end].iter().rev();
    let length = digits.take_while(|byte| byte.is_ascii_digit()).count();
    number(&text[end - length..end]).map(|(value, _)| value)
}

/// Returns the decimal number that the text begins with, such as `1234.567`, in parts of which `unit` make one.
pub(crate) fn scaled(text: &[u8], unit: u64) -> Option<u64> {
    let (whole, rest) = number(text)?;
    let mut value = whole.checked_mul(unit)?;
    if let Some(fraction) = rest.strip_prefix(b".") {
        let mut part = unit;
        for digit in fraction.iter().take_while(|byte| byte.is_ascii_digit()) {
            part /= 10;
            value = value.checked_add(u64::from(digit - b'0') * part)?;
        }
    }
    Some(value)
}

/// Returns microseconds of the seconds right after the first `mark`.
pub(crate) fn seconds_after(text: &[u8], mark: &str) -> Option<u64> {
    scaled(after(text, mark)?, 1_000_000)
}

/// Returns microseconds of a text such as `0:00:01.234`.
pub(crate) fn clock(text: &[u8]) -> Option<u64> {
    let (hours, rest) = number(text)?;
    let (minutes, rest) = number(rest.strip_prefix(b":")?)?;
    let seconds = scaled(rest.strip_prefix(b":")?, 1_000_000)?;
    let minutes = hours.checked_mul(60)?.checked_add(minutes)?;
    minutes.checked_mul(60_000_000)?.checked_add(seconds)
}

/// Returns the bytes of a text such as `26867 kB`, right after the first `mark`.
pub(crate) fn size_after(text: &[u8], mark: &str) -> Option<u64> {
    let (value, rest) = number(after(text, mark)?)?;
    let rest = rest.strip_prefix(b" ").unwrap_or(rest);
    let unit = match rest.get(..2) {
        Some(b"kB") => 1 << 10,
        Some(b"MB") => 1 << 20,
        Some(b"GB") => 1 << 30,
        _ => 1,
    };
    value.checked_mul(unit)
}

/// Returns the value of `key` in a list such as `user=ahli data database=Data Mart host=x`: it ends before the first of the keys that may
/// follow, since a value may have spaces.
pub(crate) fn value<'a>(text: &'a [u8], key: &str, following: &[&str]) -> Option<&'a [u8]> {
    let rest = after(text, key)?;
    let ends = following
        .iter()
        .filter_map(|mark| memmem::find(rest, mark.as_bytes()));
    Some(&rest[..ends.min().unwrap_or(rest.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_end_where_digits_end() {
        assert_eq!(number(b"12 kB"), Some((12, b" kB".as_slice())));
        assert_eq!(number(b"x"), None);
        assert_eq!(
            number(b"99999999999999999999"),
            None,
            "too large for 64 bits"
        );
        assert_eq!(number_before(b"a, 34 removed", " removed"), Some(34));
        assert_eq!(number_before(b" removed", " removed"), None);
        assert_eq!(process(b"4294967296 x"), None);
    }

    #[test]
    fn decimals_are_exact_to_the_unit() {
        assert_eq!(scaled(b"201.877 ms", 1_000), Some(201_877));
        assert_eq!(scaled(b"0.03 s", 1_000_000), Some(30_000));
        assert_eq!(scaled(b"7", 1_000), Some(7_000));
        assert_eq!(scaled(b"1.23456789", 1_000), Some(1_234));
        assert_eq!(scaled(b"18446744073709551615.0", 1_000), None);
    }

    #[test]
    fn times_and_sizes_have_units() {
        assert_eq!(clock(b"0:00:01.234 user=a"), Some(1_234_000));
        assert_eq!(clock(b"27:01:00.000"), Some(97_260_000_000));
        assert_eq!(clock(b"27:01"), None);
        assert_eq!(
            size_after(b"distance=26867 kB, x", "distance="),
            Some(27_511_808)
        );
        assert_eq!(size_after(b"size=5", "size="), Some(5));
        assert_eq!(seconds_after(b"write=0.030 s", "write="), Some(30_000));
    }

    #[test]
    fn values_may_have_spaces() {
        let text = b"user=ahli data database=Data Mart application_name=a b";
        let following = [" database=", " application_name="];
        assert_eq!(
            value(text, "user=", &following),
            Some(b"ahli data".as_slice())
        );
        assert_eq!(
            value(text, " database=", &following),
            Some(b"Data Mart".as_slice())
        );
        assert_eq!(
            value(text, " application_name=", &[]),
            Some(b"a b".as_slice())
        );
        assert_eq!(value(text, " host=", &[]), None);
    }
}
