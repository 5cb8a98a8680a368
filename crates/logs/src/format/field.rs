//! Single fields of the structured formats: numbers, session ids, hosts, severities.

use memchr::memchr2;

use crate::record::Record;
use crate::severity::Severity;

/// SQLSTATE of success, which jsonlog leaves out.
pub(crate) const SUCCESS: [u8; 5] = *b"00000";

/// Severities in the languages that translate them (csvlog and jsonlog write them translated).
const TRANSLATED: [(&str, Severity); 55] = [
    ("HINWEIS", Severity::Notice),
    ("WARNUNG", Severity::Warning),
    ("FEHLER", Severity::Error),
    ("PANIK", Severity::Panic),
    ("ATTENTION", Severity::Warning),
    ("ERREUR", Severity::Error),
    ("NOTIFICA", Severity::Notice),
    ("ATTENZIONE", Severity::Warning),
    ("ERRORE", Severity::Error),
    ("FATALE", Severity::Fatal),
    ("PANICO", Severity::Panic),
    ("LOGG", Severity::Log),
    ("NOTIS", Severity::Notice),
    ("VARNING", Severity::Warning),
    ("FEL", Severity::Error),
    ("FATALT", Severity::Fatal),
    ("ОТЛАДКА", Severity::Debug),
    ("СООБЩЕНИЕ", Severity::Log),
    ("ИНФОРМАЦИЯ", Severity::Info),
    ("ЗАМЕЧАНИЕ", Severity::Notice),
    ("ПРЕДУПРЕЖДЕНИЕ", Severity::Warning),
    ("ОШИБКА", Severity::Error),
    ("ВАЖНО", Severity::Fatal),
    ("ПАНИКА", Severity::Panic),
    ("НАЛАГОДЖЕННЯ", Severity::Debug),
    ("ЗАПИСУВАННЯ", Severity::Log),
    ("ІНФОРМАЦІЯ", Severity::Info),
    ("ПОВІДОМЛЕННЯ", Severity::Notice),
    ("ПОПЕРЕДЖЕННЯ", Severity::Warning),
    ("ПОМИЛКА", Severity::Error),
    ("ФАТАЛЬНО", Severity::Fatal),
    ("ПАНІКА", Severity::Panic),
    ("调试", Severity::Debug),
    ("日志", Severity::Log),
    ("信息", Severity::Info),
    ("注意", Severity::Notice),
    ("警告", Severity::Warning),
    ("错误", Severity::Error),
    ("致命错误", Severity::Fatal),
    ("比致命错误还过分的错误", Severity::Panic),
    ("디버그", Severity::Debug),
    ("로그", Severity::Log),
    ("정보", Severity::Info),
    ("알림", Severity::Notice),
    ("경고", Severity::Warning),
    ("오류", Severity::Error),
    ("치명적오류", Severity::Fatal),
    ("손상", Severity::Panic),
    ("გამართვა", Severity::Debug),
    ("ჟურნალი", Severity::Log),
    ("ინფორმაცია", Severity::Info),
    ("გაფრთხილება", Severity::Warning),
    ("შეცდომა", Severity::Error),
    ("ფატალური", Severity::Fatal),
    ("პანიკა", Severity::Panic),
];

/// Returns the severity of a word in any language; none when no language is known to say it.
pub(crate) fn severity(word: &[u8]) -> Option<Severity> {
    Severity::of(word).or_else(|| {
        let translated = TRANSLATED.iter().find(|(name, _)| name.as_bytes() == word);
        translated.map(|(_, severity)| *severity)
    })
}

/// Returns the severity of a record whose word no language is known to say, by the class of its SQLSTATE.
pub(crate) fn severity_of(word: &[u8], sqlstate: [u8; 5]) -> Severity {
    severity(word).unwrap_or(match &sqlstate[..2] {
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
    let mut number = 0_i64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return 0;
        }
        // Downwards, since the least number has no positive counterpart.
        number = number.wrapping_mul(10).wrapping_sub(i64::from(digit));
    }
    if negative {
        number
    } else {
        number.wrapping_neg()
    }
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

/// Returns the text, or nothing for `[unknown]`.
#[inline]
pub(crate) fn known(text: &[u8]) -> &[u8] {
    if text == b"[unknown]" { b"" } else { text }
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
