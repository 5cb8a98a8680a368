//! The words that begin a message in the server's log, in the languages that it speaks.
//!
//! The server writes a severity as `ERROR:  `. The other labels are translated with their colon, so that French has `ASTUCE :  ` and
//! Korean `쿼리:`.

use std::sync::LazyLock;

use crate::severity::Severity;

/// What a line of a record that is not its first one tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// DETAIL.
    Detail,
    /// HINT.
    Hint,
    /// QUERY: the internal statement.
    Query,
    /// CONTEXT.
    Context,
    /// LOCATION, of `log_error_verbosity = verbose`.
    Location,
    /// BACKTRACE.
    Backtrace,
    /// STATEMENT.
    Statement,
}

impl Part {
    /// How many there are.
    pub const COUNT: usize = 7;
}

/// What a message begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// The first line of a record.
    Severity(Severity),
    /// A further one.
    Part(Part),
}

/// Words of severities: language, word, meaning. English comes first, and is what most logs speak.
pub const SEVERITIES: &[(&str, &str, Severity)] = &[
    ("en", "LOG", Severity::Log),
    ("en", "ERROR", Severity::Error),
    ("en", "FATAL", Severity::Fatal),
    ("en", "PANIC", Severity::Panic),
    ("en", "WARNING", Severity::Warning),
    ("en", "NOTICE", Severity::Notice),
    ("en", "INFO", Severity::Info),
    ("en", "DEBUG", Severity::Debug),
    ("en", "DEBUG1", Severity::Debug),
    ("en", "DEBUG2", Severity::Debug),
    ("en", "DEBUG3", Severity::Debug),
    ("en", "DEBUG4", Severity::Debug),
    ("en", "DEBUG5", Severity::Debug),
    ("de", "FEHLER", Severity::Error),
    ("de", "WARNUNG", Severity::Warning),
    ("de", "HINWEIS", Severity::Notice),
    ("de", "PANIK", Severity::Panic),
    ("fr", "ERREUR", Severity::Error),
    ("fr", "ATTENTION", Severity::Warning),
    ("it", "ERRORE", Severity::Error),
    ("it", "ATTENZIONE", Severity::Warning),
    ("it", "NOTIFICA", Severity::Notice),
    ("it", "FATALE", Severity::Fatal),
    ("it", "PANICO", Severity::Panic),
    ("ka", "ჟურნალი", Severity::Log),
    ("ka", "შეცდომა", Severity::Error),
    // Georgian has one word for NOTICE and WARNING; the worse one is taken.
    ("ka", "გაფრთხილება", Severity::Warning),
    ("ka", "ინფორმაცია", Severity::Info),
    ("ka", "გამართვა", Severity::Debug),
    ("ka", "ფატალური", Severity::Fatal),
    ("ka", "პანიკა", Severity::Panic),
    ("ko", "로그", Severity::Log),
    ("ko", "오류", Severity::Error),
    ("ko", "경고", Severity::Warning),
    ("ko", "알림", Severity::Notice),
    ("ko", "정보", Severity::Info),
    ("ko", "디버그", Severity::Debug),
    ("ko", "치명적오류", Severity::Fatal),
    ("ko", "손상", Severity::Panic),
    ("pl", "DZIENNIK", Severity::Log),
    ("pl", "BŁĄD", Severity::Error),
    ("pl", "OSTRZEŻENIE", Severity::Warning),
    ("pl", "UWAGA", Severity::Notice),
    ("pl", "INFORMACJA", Severity::Info),
    ("pl", "KATASTROFALNY", Severity::Fatal),
    ("pl", "PANIKA", Severity::Panic),
    ("pt_BR", "ERRO", Severity::Error),
    ("pt_BR", "AVISO", Severity::Warning),
    ("pt_BR", "NOTA", Severity::Notice),
    ("pt_BR", "DEPURAÇÃO", Severity::Debug),
    ("pt_BR", "PÂNICO", Severity::Panic),
    ("ru", "СООБЩЕНИЕ", Severity::Log),
    ("ru", "ОШИБКА", Severity::Error),
    ("ru", "ПРЕДУПРЕЖДЕНИЕ", Severity::Warning),
    ("ru", "ЗАМЕЧАНИЕ", Severity::Notice),
    ("ru", "ИНФОРМАЦИЯ", Severity::Info),
    ("ru", "ОТЛАДКА", Severity::Debug),
    ("ru", "ВАЖНО", Severity::Fatal),
    ("ru", "ПАНИКА", Severity::Panic),
    ("sv", "LOGG", Severity::Log),
    ("sv", "FEL", Severity::Error),
    ("sv", "VARNING", Severity::Warning),
    ("sv", "NOTIS", Severity::Notice),
    ("sv", "FATALT", Severity::Fatal),
    ("tr", "HATA", Severity::Error),
    ("tr", "UYARI", Severity::Warning),
    ("tr", "NOT", Severity::Notice),
    ("tr", "BİLGİ", Severity::Info),
    ("tr", "ÖLÜMCÜL (FATAL)", Severity::Fatal),
    ("tr", "KRİTİK", Severity::Panic),
    ("uk", "ЗАПИСУВАННЯ", Severity::Log),
    ("uk", "ПОМИЛКА", Severity::Error),
    ("uk", "ПОПЕРЕДЖЕННЯ", Severity::Warning),
    ("uk", "ПОВІДОМЛЕННЯ", Severity::Notice),
    ("uk", "ІНФОРМАЦІЯ", Severity::Info),
    ("uk", "НАЛАГОДЖЕННЯ", Severity::Debug),
    ("uk", "ФАТАЛЬНО", Severity::Fatal),
    ("uk", "ПАНІКА", Severity::Panic),
    ("zh_CN", "日志", Severity::Log),
    ("zh_CN", "错误", Severity::Error),
    ("zh_CN", "警告", Severity::Warning),
    ("zh_CN", "注意", Severity::Notice),
    ("zh_CN", "信息", Severity::Info),
    ("zh_CN", "调试", Severity::Debug),
    ("zh_CN", "致命错误", Severity::Fatal),
    ("zh_CN", "比致命错误还过分的错误", Severity::Panic),
];

/// Labels of the other parts of a record, with the colon and spaces of their language: language, label, meaning.
pub const PARTS: &[(&str, &str, Part)] = &[
    ("en", "DETAIL:  ", Part::Detail),
    ("en", "HINT:  ", Part::Hint),
    ("en", "QUERY:  ", Part::Query),
    ("en", "CONTEXT:  ", Part::Context),
    ("en", "LOCATION:  ", Part::Location),
    ("en", "BACKTRACE:  ", Part::Backtrace),
    ("en", "STATEMENT:  ", Part::Statement),
    ("de", "TIPP:  ", Part::Hint),
    ("de", "ANFRAGE:  ", Part::Query),
    ("de", "ZUSAMMENHANG:  ", Part::Context),
    ("de", "ORT:  ", Part::Location),
    ("de", "ANWEISUNG:  ", Part::Statement),
    ("es", "DETALLE:  ", Part::Detail),
    ("es", "SUGERENCIA:  ", Part::Hint),
    ("es", "CONSULTA:  ", Part::Query),
    ("es", "CONTEXTO:  ", Part::Context),
    ("es", "UBICACIÓN:  ", Part::Location),
    ("es", "SENTENCIA:  ", Part::Statement),
    ("fr", "DÉTAIL:  ", Part::Detail),
    ("fr", "DÉTAIL :  ", Part::Detail),
    ("fr", "ASTUCE :  ", Part::Hint),
    ("fr", "REQUÊTE :  ", Part::Query),
    ("fr", "CONTEXTE :  ", Part::Context),
    ("fr", "EMPLACEMENT :  ", Part::Location),
    ("fr", "PILE D'APPEL : ", Part::Backtrace),
    ("fr", "INSTRUCTION :  ", Part::Statement),
    ("it", "DETTAGLI:  ", Part::Detail),
    ("it", "SUGGERIMENTO:  ", Part::Hint),
    ("it", "CONTESTO:  ", Part::Context),
    ("it", "POSIZIONE:  ", Part::Location),
    ("it", "ISTRUZIONE:  ", Part::Statement),
    ("ja", "詳細:  ", Part::Detail),
    ("ja", "ヒント:  ", Part::Hint),
    ("ja", "問い合わせ:  ", Part::Query),
    ("ja", "文脈:  ", Part::Context),
    ("ja", "場所:  ", Part::Location),
    ("ja", "バックトレース:  ", Part::Backtrace),
    ("ja", "文:  ", Part::Statement),
    ("ka", "დეტალები:  ", Part::Detail),
    ("ka", "მინიშნება:  ", Part::Hint),
    ("ka", "მოთხოვნა:  ", Part::Query),
    ("ka", "კონტექსტი:  ", Part::Context),
    ("ka", "მდებარეობა:   ", Part::Location),
    ("ka", "სტეკი:  ", Part::Backtrace),
    ("ka", "ოპერატორი:  ", Part::Statement),
    ("ko", "상세정보:  ", Part::Detail),
    ("ko", "힌트:  ", Part::Hint),
    ("ko", "쿼리:", Part::Query),
    ("ko", "내용:  ", Part::Context),
    ("ko", "위치: ", Part::Location),
    ("ko", "역추적:  ", Part::Backtrace),
    ("ko", "명령 구문:  ", Part::Statement),
    ("pl", "SZCZEGÓŁY:  ", Part::Detail),
    ("pl", "PODPOWIEDŹ:  ", Part::Hint),
    ("pl", "ZAPYTANIE:  ", Part::Query),
    ("pl", "KONTEKST:  ", Part::Context),
    ("pl", "POZYCJA:  ", Part::Location),
    ("pl", "WYRAŻENIE:  ", Part::Statement),
    ("pt_BR", "DETALHE:  ", Part::Detail),
    ("pt_BR", "DICA:  ", Part::Hint),
    ("pt_BR", "LOCAL:  ", Part::Location),
    ("pt_BR", "COMANDO:  ", Part::Statement),
    ("ru", "ПОДРОБНОСТИ:  ", Part::Detail),
    ("ru", "ПОДСКАЗКА:  ", Part::Hint),
    ("ru", "ЗАПРОС:  ", Part::Query),
    ("ru", "КОНТЕКСТ:  ", Part::Context),
    ("ru", "ПОЛОЖЕНИЕ: ", Part::Location),
    ("ru", "СТЕК:  ", Part::Backtrace),
    ("ru", "ОПЕРАТОР:  ", Part::Statement),
    ("sv", "DETALJ:  ", Part::Detail),
    ("sv", "TIPS:  ", Part::Hint),
    ("sv", "FRÅGA:  ", Part::Query),
    ("sv", "KONTEXT:  ", Part::Context),
    ("sv", "PLATS:  ", Part::Location),
    ("sv", "SATS:  ", Part::Statement),
    ("tr", "AYRINTI:  ", Part::Detail),
    ("tr", "DETAY:  ", Part::Detail),
    ("tr", "İPUCU:  ", Part::Hint),
    ("tr", "SORGU:  ", Part::Query),
    ("tr", "ORTAM:  ", Part::Context),
    ("tr", "YER:  ", Part::Location),
    ("tr", "KOMUT:  ", Part::Statement),
    ("tr", "İFADE:  ", Part::Statement),
    ("uk", "ВІДОМОСТІ:  ", Part::Detail),
    ("uk", "УКАЗІВКА:  ", Part::Hint),
    ("uk", "ЗАПИТ:  ", Part::Query),
    ("uk", "РОЗТАШУВАННЯ:  ", Part::Location),
    ("uk", "ВІДСТЕЖУВАТИ:  ", Part::Backtrace),
    ("uk", "ІНСТРУКЦІЯ:  ", Part::Statement),
    ("zh_CN", "详细信息:  ", Part::Detail),
    ("zh_CN", "提示:  ", Part::Hint),
    ("zh_CN", "查询:  ", Part::Query),
    ("zh_CN", "上下文:  ", Part::Context),
    ("zh_CN", "位置:  ", Part::Location),
    ("zh_CN", "语句:  ", Part::Statement),
];

/// What the server writes for a name that it does not know yet.
pub const UNKNOWN: &[&str] = &[
    "[unknown]",
    "[unbekannt]",
    "[desconocido]",
    "[desconhecido]",
    "[inconnu]",
    "[sconosciuto]",
    "[不明]",
    "[უცნობი]",
    "[알수없음]",
    "[nieznany]",
    "[н/д]",
    "[okänd]",
    "[bilinmeyen]",
    "[未知]",
];

/// The longest label in bytes, with its colon and spaces.
pub const LABEL_BYTES_MAX: usize = 40;

/// The labels of other languages than English by their first byte.
static OTHERS: LazyLock<Vec<Vec<(String, Label)>>> = LazyLock::new(|| {
    let mut others = vec![Vec::new(); 256];
    let mut add = |label: String, meaning| {
        let first = usize::from(label.as_bytes()[0]);
        others[first].push((label, meaning));
    };
    for (_, word, severity) in SEVERITIES {
        add(format!("{word}:  "), Label::Severity(*severity));
    }
    for (_, label, part) in PARTS {
        add((*label).to_string(), Label::Part(*part));
    }
    others
});

/// The words of all labels without colon and spaces.
static WORDS: LazyLock<Vec<(&str, Label)>> = LazyLock::new(|| {
    let severities = SEVERITIES
        .iter()
        .map(|(_, word, severity)| (*word, Label::Severity(*severity)));
    let parts = PARTS.iter().map(|(_, label, part)| {
        let word = label.trim_end().trim_end_matches(':').trim_end();
        (word, Label::Part(*part))
    });
    severities.chain(parts).collect()
});

/// Returns the severity of a word of a log in any language.
pub fn severity(word: &[u8]) -> Option<Severity> {
    Severity::of(word).or_else(|| {
        let known = |(_, name, _): &&(&str, &str, Severity)| name.as_bytes() == word;
        SEVERITIES
            .iter()
            .find(known)
            .map(|(_, _, meaning)| *meaning)
    })
}

/// Returns the label whose word a text ends with, right after a prefix perhaps.
pub fn label_at_end(text: &[u8]) -> Option<Label> {
    // French has a space, which may be one that does not break, before the colon.
    let text = text.trim_ascii_end();
    let text = text.strip_suffix("\u{a0}".as_bytes()).unwrap_or(text);
    let begin = memchr::memrchr2(b' ', b'\t', text).map_or(0, |space| space + 1);
    if let Some(severity) = Severity::of(&text[begin..]) {
        return Some(Label::Severity(severity));
    }
    let known = WORDS.iter().find(|(word, _)| ends_with_word(text, word));
    known.map(|(_, label)| *label)
}

/// Tells whether a text ends with a word that is not the end of a longer one.
fn ends_with_word(text: &[u8], word: &str) -> bool {
    text.strip_suffix(word.as_bytes()).is_some_and(|rest| {
        rest.last()
            .is_none_or(|last| !last.is_ascii_alphanumeric() && last.is_ascii())
    })
}

/// Returns what a text begins with, and how many bytes that takes; none when it begins with no label.
#[inline]
pub fn label(text: &[u8]) -> Option<(Label, usize)> {
    if text.starts_with(b"LOG:  ") {
        return Some((Label::Severity(Severity::Log), 6));
    }
    if text.starts_with(b"DETAIL:  ") {
        return Some((Label::Part(Part::Detail), 9));
    }
    if text.starts_with(b"STATEMENT:  ") {
        return Some((Label::Part(Part::Statement), 12));
    }
    if text.starts_with(b"ERROR:  ") {
        return Some((Label::Severity(Severity::Error), 8));
    }
    match text.first() {
        Some(first) if first.is_ascii_uppercase() || *first >= 0x80 => other_label(text, *first),
        _ => None,
    }
}

fn other_label(text: &[u8], first: u8) -> Option<(Label, usize)> {
    let window = &text[..text.len().min(LABEL_BYTES_MAX)];
    // A label without a colon is none, and a colon is rare in what is only tried.
    memchr::memchr(b':', window)?;
    let found = OTHERS[usize::from(first)]
        .iter()
        .find(|(label, _)| window.starts_with(label.as_bytes()));
    found.map(|(label, meaning)| (*meaning, label.len()))
}

/// Tells whether a name is what the server writes for one that it does not know yet.
#[inline]
pub fn unknown(name: &[u8]) -> bool {
    name.first() == Some(&b'[') && UNKNOWN.iter().any(|word| word.as_bytes() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_found_with_its_meaning() {
        for (language, word, severity) in SEVERITIES {
            let text = format!("{word}:  text");
            let expected = (Label::Severity(*severity), word.len() + 3);
            assert_eq!(label(text.as_bytes()), Some(expected), "{language} {word}");
        }
        for (language, word, part) in PARTS {
            let text = format!("{word}text");
            let expected = (Label::Part(*part), word.len());
            assert_eq!(label(text.as_bytes()), Some(expected), "{language} {word}");
            assert!(word.len() <= LABEL_BYTES_MAX, "{word}");
        }
    }

    #[test]
    fn words_are_found_behind_any_prefix() {
        for (text, expected) in [
            ("ERROR", Some(Label::Severity(Severity::Error))),
            (
                "[1] user=a,app=x FEHLER",
                Some(Label::Severity(Severity::Error)),
            ),
            ("p ÖLÜMCÜL (FATAL)", Some(Label::Severity(Severity::Fatal))),
            ("p REQUÊTE\u{a0}", Some(Label::Part(Part::Query))),
            ("p 명령 구문", Some(Label::Part(Part::Statement))),
            ("p 上下文", Some(Label::Part(Part::Context))),
            ("p XERROR", None),
            ("", None),
        ] {
            assert_eq!(label_at_end(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(severity("ОШИБКА".as_bytes()), Some(Severity::Error));
        assert_eq!(severity(b"nonsense"), None);
    }

    #[test]
    fn what_looks_alike_is_no_word() {
        for text in [
            "LOG: text",
            "LOGS:  x",
            "",
            "ERROR",
            "log:  x",
            "DEBUG6:  x",
        ] {
            assert_eq!(label(text.as_bytes()), None, "{text}");
        }
        assert!(unknown("[н/д]".as_bytes()) && !unknown(b"[local]") && !unknown(b""));
    }
}
