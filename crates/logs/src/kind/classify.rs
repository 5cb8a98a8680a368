//! Tells the kind of a record.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::matcher::{Matcher, Rule, bit};
use super::pattern::Pattern;
use super::{From, Kind, KindId, catalogue, find, kinds};
use crate::record::{Origin, Record};
use crate::severity::Severity;

/// Digits of the longest duration that the server writes before ` ms`.
const DURATION_DIGITS: usize = 24;

/// All rules, ready for use.
struct Rules {
    server: Matcher,
    /// What code means when no pattern matches.
    by_code: HashMap<[u8; 5], KindId>,
    by_class: HashMap<[u8; 2], KindId>,
    /// PgBouncer's patterns without the `*` that they begin with, for messages whose client was cut off.
    pgbouncer_starts: Matcher,
    pgbouncer: Matcher,
    raw: Matcher,
    by_context: Vec<(Pattern, KindId)>,
    /// Messages of PostgreSQL's source with the kind of their codes, for logs without codes.
    catalogue: Matcher,
    known: Known,
}

/// Kinds that are told without patterns.
struct Known {
    duration: KindId,
    duration_only: KindId,
    statement: KindId,
    plan: KindId,
    raise_exception: KindId,
    raise_warning: KindId,
    raise_log: KindId,
    unclassified: KindId,
}

static RULES: LazyLock<Rules> = LazyLock::new(Rules::load);

fn id(name: &str) -> KindId {
    find(name).unwrap_or_else(|| unreachable!("{name} is in kinds.toml"))
}

/// Returns the rules of one origin; `cut` takes the first `*` away.
fn rules_of(origin: From, cut: bool) -> Matcher {
    let rules = |(index, kind): (u16, &'static Kind)| {
        let severities = match &kind.severity[..] {
            [] => u8::MAX,
            some => some.iter().fold(0, |bits, severity| bits | bit(*severity)),
        };
        let cut_off = move |text: &'static str| match text.strip_prefix('*') {
            Some(rest) if cut && !rest.is_empty() => Pattern::new(rest),
            _ => Pattern::new(text),
        };
        kind.message.iter().map(move |text| Rule {
            pattern: if kind.weak {
                cut_off(text).weak()
            } else {
                cut_off(text)
            },
            severities,
            detail: kind.detail.as_deref().map(Pattern::new),
            kind: KindId(index),
        })
    };
    let of_origin = |kind: &(u16, &Kind)| kind.1.origin == origin;
    Matcher::new((0_u16..).zip(kinds()).filter(of_origin).flat_map(rules))
}

impl Rules {
    fn load() -> Rules {
        let mut by_code = HashMap::new();
        let mut by_class = HashMap::new();
        let mut by_context = Vec::new();
        for (index, kind) in (0_u16..).zip(kinds()) {
            for code in &kind.sqlstate {
                let code = code
                    .as_bytes()
                    .try_into()
                    .expect("codes of kinds.toml have five characters");
                by_code.insert(code, KindId(index));
            }
            for class in &kind.class {
                let class = class
                    .as_bytes()
                    .try_into()
                    .expect("classes of kinds.toml have two characters");
                by_class.insert(class, KindId(index));
            }
            if let Some(context) = &kind.context {
                by_context.push((Pattern::new(context), KindId(index)));
            }
        }
        let known = Known {
            duration: id("duration"),
            duration_only: id("duration-only"),
            statement: id("statement"),
            plan: id("plan"),
            raise_exception: id("raise-exception"),
            raise_warning: id("raise-warning"),
            raise_log: id("raise-log"),
            unclassified: id("unclassified"),
        };
        let kind_of = |code: [u8; 5]| {
            by_code
                .get(&code)
                .or_else(|| by_class.get(&[code[0], code[1]]))
                .copied()
        };
        let catalogue = Matcher::new(catalogue::messages().iter().filter_map(|message| {
            Some(Rule {
                pattern: Pattern::new(&message.pattern),
                severities: message.severities,
                detail: None,
                kind: kind_of(message.code)?,
            })
        }));
        Rules {
            server: rules_of(From::Server, false),
            pgbouncer_starts: rules_of(From::Pgbouncer, true),
            pgbouncer: rules_of(From::Pgbouncer, false),
            raw: rules_of(From::Raw, false),
            by_code,
            by_class,
            by_context,
            catalogue,
            known,
        }
    }

    fn of_code(&self, code: [u8; 5]) -> Option<KindId> {
        self.by_code
            .get(&code)
            .or_else(|| self.by_class.get(&[code[0], code[1]]))
            .copied()
    }

    /// Tells the kind of a record of the server that is no duration and no statement.
    fn of_server(&self, record: &Record<'_>) -> KindId {
        let Record {
            severity,
            sqlstate,
            detail,
            ..
        } = *record;
        let message = if severity >= Severity::Warning {
            without_position(record.message)
        } else {
            record.message
        };
        if severity >= Severity::Error && !record.context.is_empty() {
            let told = self
                .by_context
                .iter()
                .find(|(pattern, _)| pattern.matches(record.context));
            if let Some((_, kind)) = told {
                return *kind;
            }
        }
        self.server
            .find(severity, message, detail)
            .or_else(|| match sqlstate {
                [0, 0, 0, 0, 0] => self.catalogue.find(severity, message, detail),
                // A warning without a code of its own has this class; some forms of logs say 00000 for it.
                [b'0', b'0', b'0', b'0', b'0'] if severity == Severity::Warning => {
                    self.of_code(*b"01000")
                }
                code => self.of_code(code),
            })
            .unwrap_or(self.known.unclassified)
    }
}

/// Tells the kind of a record of an English log, or of one that the `language` module translated.
pub fn classify(record: &Record<'_>) -> KindId {
    let rules = &*RULES;
    let known = &rules.known;
    if record.origin == Origin::PgBouncer {
        return of_pgbouncer(rules, record);
    }
    if record.sqlstate == *b"P0001" || (!record.context.is_empty() && is_raised(record.context)) {
        return match record.severity {
            Severity::Error | Severity::Fatal | Severity::Panic => known.raise_exception,
            Severity::Warning => known.raise_warning,
            _ => known.raise_log,
        };
    }
    if record.severity == Severity::Log {
        if let Some(rest) = record.message.strip_prefix(b"duration: ") {
            return of_duration(known, rest);
        }
        if record.message.starts_with(b"statement: ") {
            return known.statement;
        }
    }
    rules.of_server(record)
}

/// Tells the kind of a line outside of records.
pub fn classify_raw(line: &[u8]) -> KindId {
    RULES
        .raw
        .find(Severity::Log, line, b"")
        .unwrap_or(RULES.known.unclassified)
}

/// Tells which kind of duration follows `duration: `.
fn of_duration(known: &Known, rest: &[u8]) -> KindId {
    let head = &rest[..rest.len().min(DURATION_DIGITS)];
    let Some(space) = head.iter().position(|byte| *byte == b' ') else {
        return known.unclassified;
    };
    let Some(after) = rest[space..].strip_prefix(b" ms") else {
        return known.unclassified;
    };
    match after {
        [] => known.duration_only,
        after if after.starts_with(b"  plan:") => known.plan,
        _ => known.duration,
    }
}

fn of_pgbouncer(rules: &Rules, record: &Record<'_>) -> KindId {
    let message = without_client(record.message);
    let starts = rules.pgbouncer_starts.find(record.severity, message, b"");
    let other = id_of_any_pgbouncer();
    starts
        .filter(|kind| *kind != other)
        .or_else(|| rules.pgbouncer.find(record.severity, message, b""))
        .unwrap_or(rules.known.unclassified)
}

fn id_of_any_pgbouncer() -> KindId {
    static ID: LazyLock<KindId> = LazyLock::new(|| id("pgbouncer-message"));
    *ID
}

/// Cuts `C-0x55d0: database/user@address:port ` off a message of PgBouncer.
fn without_client(message: &[u8]) -> &[u8] {
    let cut = || {
        let rest = message
            .strip_prefix(b"C-0x")
            .or_else(|| message.strip_prefix(b"S-0x"))?;
        let rest = &rest[memchr::memmem::find(rest, b": ")? + 2..];
        Some(&rest[memchr::memchr(b' ', rest)? + 1..])
    };
    cut().unwrap_or(message)
}

/// Tells whether CONTEXT begins with a RAISE of PL/pgSQL.
fn is_raised(context: &[u8]) -> bool {
    let end = memchr::memchr(b'\n', context).unwrap_or(context.len());
    context.starts_with(b"PL/pgSQL function ") && context[..end].ends_with(b" at RAISE")
}

/// Cuts ` at character 15` off a message, which only the stderr format has in it.
fn without_position(message: &[u8]) -> &[u8] {
    let digits = message
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    if digits == 0 {
        return message;
    }
    let text = &message[..message.len() - digits];
    text.strip_suffix(b" at character ").unwrap_or(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_and_clients_are_cut_off() {
        assert_eq!(
            without_position(b"relation \"t\" does not exist at character 15"),
            b"relation \"t\" does not exist"
        );
        assert_eq!(
            without_position(b"exited with exit code 1"),
            b"exited with exit code 1"
        );
        assert_eq!(
            without_client(b"C-0x55: d/u@1.2.3.4:5 login attempt: db=d"),
            b"login attempt: db=d"
        );
        assert_eq!(without_client(b"process up: x"), b"process up: x");
    }

    #[test]
    fn only_a_first_line_of_context_raises() {
        assert!(is_raised(
            b"PL/pgSQL function f() line 3 at RAISE\nSQL statement \"x\""
        ));
        assert!(!is_raised(
            b"SQL expression \"1\"\nPL/pgSQL function f() line 3 at RAISE"
        ));
    }
}
