//! Which records are shown.

use pawang_core::{Kind, Level, Report};
use pawang_logs::kind::{self, Group, KindId};
use pawang_logs::record::Record;
use pawang_logs::search::Needle;
use pawang_logs::severity::Severity;

/// The least level that is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Least {
    /// Everything, the server's DEBUG too.
    All,
    /// All but the server's DEBUG.
    #[default]
    Info,
    /// WARNING, ERROR and worse, and what somebody should act upon.
    Warning,
    /// What somebody must act upon now.
    Critical,
}

/// Which records are shown.
pub(super) struct Filter {
    least: Least,
    /// Whether a kind is wanted, by its number; none when all are.
    kinds: Option<Vec<bool>>,
    grep: Option<Needle>,
}

impl Filter {
    /// Makes the filter of the command line.
    ///
    /// # Errors
    /// There is no such kind.
    pub(super) fn new(
        least: Least,
        kinds: &[String],
        grep: Option<&str>,
    ) -> Result<Filter, Report> {
        let all = kind::kinds();
        for pattern in kinds {
            if !all
                .iter()
                .any(|kind| pawang_config::matches(pattern, &kind.id))
            {
                let report = Report::new(
                    Kind::Usage,
                    format!("there is no kind of event \"{pattern}\""),
                );
                let nearest =
                    pawang_config::nearest(pattern, all.iter().map(|kind| kind.id.as_str()));
                return Err(match nearest {
                    Some(nearest) => {
                        report.with_hint(format!("pawang logs follow --kind {nearest}"))
                    }
                    None => report.with_hint("pawang logs events"),
                });
            }
        }
        let wanted = |kind: &kind::Kind| {
            kinds
                .iter()
                .any(|pattern| pawang_config::matches(pattern, &kind.id))
        };
        Ok(Filter {
            least,
            kinds: (!kinds.is_empty()).then(|| all.iter().map(wanted).collect()),
            grep: grep.and_then(Needle::new),
        })
    }

    /// Whether records of a kind and level are wanted.
    pub(super) fn wants(&self, kind: KindId, level: Level, severity: Severity) -> bool {
        let bad = match self.least {
            Least::All => true,
            Least::Info => severity != Severity::Debug,
            Least::Warning => level >= Level::Warning,
            Least::Critical => level >= Level::Critical,
        };
        let named = |kinds: &Vec<bool>| kinds.get(usize::from(kind.0)).copied().unwrap_or(false);
        bad && self.kinds.as_ref().is_none_or(named)
    }

    /// Whether a record has the text that is wanted.
    pub(super) fn has_text(&self, record: &Record<'_>) -> bool {
        let Some(wanted) = &self.grep else {
            return true;
        };
        let texts = [
            record.message,
            record.detail,
            record.statement,
            record.hint,
            record.context,
        ];
        texts.iter().any(|text| wanted.is_in(text))
    }
}

/// Returns how bad a record is, which decides who is told: what its kind says, and what the server says of what no rule knows.
pub(super) fn level(kind: KindId, severity: Severity) -> Level {
    let kind = kind.kind();
    match severity {
        Severity::Panic => Level::Critical,
        Severity::Warning | Severity::Error | Severity::Fatal
            if kind.group == Group::Unclassified =>
        {
            kind.level.max(Level::Warning)
        }
        _ => kind.level,
    }
}

/// Returns how bad a record looks to a reader: as its kind says, and never less than the server says.
pub(super) fn shown_level(kind: KindId, severity: Severity) -> Level {
    let level = level(kind, severity);
    match severity {
        Severity::Warning | Severity::Error | Severity::Fatal => level.max(Level::Warning),
        Severity::Panic => Level::Critical,
        Severity::Debug | Severity::Log | Severity::Info | Severity::Notice => level,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> KindId {
        kind::find(name).unwrap()
    }

    #[test]
    fn kinds_levels_and_texts_are_told_apart() {
        let filter = Filter::new(Least::Info, &["deadlo*".to_owned()], Some("ShareLock")).unwrap();
        assert!(filter.wants(id("deadlock"), Level::Warning, Severity::Error));
        assert!(!filter.wants(id("syntax-error"), Level::Critical, Severity::Error));
        let record = Record {
            detail: b"Process 1 waits for SHARELOCK",
            ..Record::default()
        };
        assert!(filter.has_text(&record));
        assert!(!filter.has_text(&Record::default()));
        let wrong = Filter::new(Least::Info, &["deadlok".to_owned()], None);
        assert!(wrong.is_err_and(|report| report.hint.unwrap().contains("deadlock")));
    }

    #[test]
    fn an_error_is_shown_as_a_warning_at_least_and_calls_nobody_by_that() {
        let filter = Filter::new(Least::Warning, &[], None).unwrap();
        for (name, severity, shown, own) in [
            ("syntax-error", Severity::Error, Level::Warning, Level::Info),
            (
                "syntax-error",
                Severity::Warning,
                Level::Warning,
                Level::Info,
            ),
            ("syntax-error", Severity::Log, Level::Info, Level::Info),
            (
                "syntax-error",
                Severity::Panic,
                Level::Critical,
                Level::Critical,
            ),
            ("deadlock", Severity::Error, Level::Warning, Level::Warning),
        ] {
            let found = shown_level(id(name), severity);
            assert_eq!(
                (found, level(id(name), severity)),
                (shown, own),
                "{name} {severity:?}"
            );
            assert_eq!(
                filter.wants(id(name), found, severity),
                shown >= Level::Warning
            );
        }
    }

    #[test]
    fn what_no_rule_knows_is_as_bad_as_the_server_says() {
        assert_eq!(level(id("unclassified"), Severity::Log), Level::Info);
        assert_eq!(level(id("unclassified"), Severity::Error), Level::Warning);
        assert_eq!(level(id("unclassified"), Severity::Panic), Level::Critical);
    }
}
