//! Single fields of the structured formats: numbers, session ids, hosts, severities.

use memchr::memchr2;

use crate::language::words;
use crate::record::Record;
use crate::severity::Severity;

/// SQLSTATE of success, which jsonlog leaves out.
pub(crate) const SUCCESS: [u8; 5] = *b"00000";

/// Returns the severity of a record whose word no language is known to say, by the class of its SQLSTATE.
pub(crate) fn severity_of(word: &[u8], sqlstate: [u8; 5]) -> Severity {
    words::severity(word).unwrap_or(match &sqlstate[..2] {
        b"00" | b"\0\0" => Severity::Log,
        b"01" => Severity::Warning,
        b"02" => Severity::Notice,
        _ => Severity::Error,
    })
}

/// Returns a number, 0 when it is absent or none.
#[inline]
pub(crate) fn unsigned(text: &[u8]) -> u32 {
    if text.len() > 10 {
        return 0;
    }
    let mut number = 0_u64;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return 0;
        }
        number = number * 10 + u64::from(digit);
    }
    u32::try_from(number).unwrap_or(0)
}

/// Returns a number with its sign, 0 when it is absent or none.
#[inline]
pub(crate) fn signed(text: &[u8]) -> i64 {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.len() > 19 {
        return 0;
    }
    let mut number = 0_u64;
    let (words, rest) = digits.as_chunks::<8>();
    for word in words {
        let Some(part) = eight_digits(*word) else {
            return 0;
        };
        number = number.wrapping_mul(100_000_000).wrapping_add(part);
    }
    for byte in rest {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return 0;
        }
        number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
    }
    let number = number.cast_signed();
    if negative {
        number.wrapping_neg()
    } else {
        number
    }
}

/// Returns the number that eight digits are; none when one of them is no digit.
#[inline]
fn eight_digits(word: [u8; 8]) -> Option<u64> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let digits = u64::from_le_bytes(word) ^ (ONES * 0x30);
    let others = (digits.wrapping_add(ONES * 0x76) | digits) & (ONES << 7);
    if others != 0 {
        return None;
    }
    // Neighbours are joined: digits to pairs, pairs to fours, fours to the whole.
    let pairs = digits.wrapping_mul(2561) >> 8 & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(6_553_601) >> 16 & 0x0000_ffff_0000_ffff;
    Some(fours.wrapping_mul(42_949_672_960_001) >> 32)
}

/// Returns the start of a session by its id, such as `6b020bba.5e84`; none when it is no session id.
#[inline]
pub(crate) fn session_started(id: &[u8]) -> Option<u32> {
    let mut number = 0_u32;
    for (index, byte) in id.iter().enumerate().take(9) {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'.' if index > 0 => return Some(number),
            _ => return None,
        };
        if index == 8 {
            return None;
        }
        number = number << 4 | u32::from(digit);
    }
    None
}

/// Returns a SQLSTATE; that of success when the text is none.
#[inline]
pub(crate) fn sqlstate(text: &[u8]) -> [u8; 5] {
    text.try_into().unwrap_or(SUCCESS)
}

/// Returns the host of `host:port`.
#[inline]
pub(crate) fn host(text: &[u8]) -> &[u8] {
    let digits = text
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let end = text.len() - digits;
    if end > 0 && text[end - 1] == b':' {
        &text[..end - 1]
    } else {
        text
    }
}

/// Returns the text, or nothing for `[unknown]` in any language.
#[inline]
pub(crate) fn known(text: &[u8]) -> &[u8] {
    if words::unknown(text) { b"" } else { text }
}

/// Takes ` at character 15` off, which csvlog and jsonlog have in a field of its own.
pub(crate) fn without_position(message: &[u8], severity: Severity) -> &[u8] {
    let digits = |byte: &&u8| byte.is_ascii_digit();
    let length = message.iter().rev().take_while(digits).count();
    let text = &message[..message.len() - length];
    if length > 0 && severity >= Severity::Warning {
        text.strip_suffix(b" at character ").unwrap_or(message)
    } else {
        message
    }
}

/// Whether a name of the record holds a line end, which whoever connects can put there.
#[inline]
pub(crate) fn breaks(record: &Record<'_>) -> bool {
    let names = [record.user, record.database, record.application];
    names
        .iter()
        .any(|name| memchr2(b'\n', b'\r', name).is_some())
}

/// Makes the names of a record printable in every format alike; `names` is where they are kept.
pub(crate) fn print_names<'a>(record: &mut Record<'a>, names: &'a mut Vec<u8>) {
    names.clear();
    let ends = [record.user, record.database, record.application].map(|name| {
        printable(name, names);
        names.len()
    });
    let names: &'a [u8] = names;
    record.user = &names[..ends[0]];
    record.database = &names[ends[0]..ends[1]];
    record.application = &names[ends[1]..ends[2]];
}

/// Adds a name with its line ends as newer servers print them, `\x0a`.
fn printable(name: &[u8], into: &mut Vec<u8>) {
    for byte in name {
        match byte {
            b'\n' => into.extend_from_slice(b"\\x0a"),
            b'\r' => into.extend_from_slice(b"\\x0d"),
            _ => into.push(*byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(unsigned(b"4294967295"), u32::MAX);
        assert_eq!(unsigned(b"4294967296"), 0);
        assert_eq!(unsigned(b""), 0);
        assert_eq!(unsigned(b"1x"), 0);
        assert_eq!(signed(b"-9223372036854775808"), i64::MIN);
        assert_eq!(signed(b"9223372036854775807"), i64::MAX);
        assert_eq!(signed(b"-x"), 0);
    }

    #[test]
    fn session_ids() {
        assert_eq!(session_started(b"6b020bba.5e84"), Some(0x6b02_0bba));
        assert_eq!(session_started(b"6b020bbaa.5e84"), None);
        assert_eq!(session_started(b".5e84"), None);
        assert_eq!(session_started(b"24196"), None);
    }

    #[test]
    fn hosts_lose_their_port() {
        for (text, expected) in [
            ("[local]", "[local]"),
            ("10.0.0.1:5432", "10.0.0.1"),
            ("::1:40000", "::1"),
            ("db-1", "db-1"),
            ("", ""),
            ("42", "42"),
        ] {
            assert_eq!(host(text.as_bytes()), expected.as_bytes(), "{text}");
        }
    }

    #[test]
    fn severities_without_known_word_follow_the_sqlstate() {
        assert_eq!(severity_of(b"FEHLER", *b"00000"), Severity::Error);
        assert_eq!(severity_of(b"VIRHE", *b"42P01"), Severity::Error);
        assert_eq!(severity_of(b"LOKI", *b"00000"), Severity::Log);
    }
}
