//! What a reader of the log must know before its numbers: times that may be read wrong, and lines that were left out.

use super::style::{one_line, percent, whole};
use crate::report::{Report, SourceFile};
use crate::time::{Zone, ambiguous};

/// Seconds between the offsets of a zone in winter and in summer.
const SUMMER_SECONDS: i32 = 3_600;

/// A guessed prefix that explains less than this share of the lines is told.
const MATCH_RATE_SURE: f64 = 0.9;

/// Returns sentences about prefixes and zones that could not be told for sure; `--prefix` and `--zone` resolve each.
pub fn doubts(report: &Report) -> Vec<String> {
    let files = report.source.files.iter();
    files
        .flat_map(|file| {
            let uncertain = file.zones.iter().filter(|zone| !zone.certain);
            let all = guess(file).into_iter().chain(uncertain.map(doubt));
            all.map(|what| format!("{}: {what}", one_line(&file.name)))
        })
        .collect()
}

/// Returns what is doubtful about a prefix that was guessed.
fn guess(file: &SourceFile) -> Option<String> {
    let rate = file.match_rate?;
    // Its last space counts.
    let shown = |prefix: &String| prefix.replace(char::is_control, " ");
    let prefixes: Vec<String> = file.prefixes.iter().map(shown).collect();
    let prefixes = prefixes.join("\", \"");
    let timeless = |prefix: &String| !["%m", "%t", "%n"].iter().any(|at| prefix.contains(at));
    let what = if rate < MATCH_RATE_SURE {
        let share = percent((rate * 1_000_000.0) as u64, 1_000_000);
        format!("explains {share} of its lines")
    } else if !file.prefixes.is_empty() && file.prefixes.iter().all(timeless) {
        "has no time, so nothing can be said about when and how often".to_owned()
    } else {
        return None;
    };
    Some(format!(
        "its log_line_prefix was guessed: \"{prefixes}\" {what}; --prefix gives the server's"
    ))
}

fn doubt(zone: &Zone) -> String {
    let name = one_line(&zone.name);
    let read_as = offset(zone.offset_seconds);
    let what = if name.is_empty() {
        "its times name no zone".to_owned()
    } else if ambiguous(&name) {
        format!("\"{name}\" abbreviates several time zones")
    } else {
        format!("\"{name}\" is no abbreviation of a time zone that is known")
    };
    format!("{what}: times were read as {read_as}; --zone gives the server's log_timezone")
}

/// Returns sentences about zones that are mixed, and about what was left out.
pub(super) fn remarks(report: &Report) -> Vec<String> {
    let mut remarks: Vec<String> = mixed(report).into_iter().collect();
    let foreign = report.source.files.iter().filter(|file| file.foreign > 0);
    remarks.extend(foreign.map(|file| {
        format!(
            "{}: {} of other programs were left out",
            one_line(&file.name),
            match file.foreign {
                1 => "1 line".to_owned(),
                lines => format!("{} lines", whole(lines)),
            }
        )
    }));
    remarks
}

/// Returns a sentence when times are written in several zones, other than in one zone's winter and summer.
fn mixed(report: &Report) -> Option<String> {
    let mut zones: Vec<&Zone> = report.source.files.iter().flat_map(|f| &f.zones).collect();
    zones.sort_by_key(|zone| (zone.offset_seconds, &zone.name));
    zones.dedup_by_key(|zone| (zone.offset_seconds, &zone.name));
    let (first, last) = (zones.first()?, zones.last()?);
    let apart = last.offset_seconds - first.offset_seconds;
    let universal = |zone: &&Zone| matches!(zone.name.as_str(), "UTC" | "GMT" | "Z");
    let seasons = apart == SUMMER_SECONDS && !zones.iter().any(universal);
    if apart == 0 || seasons {
        return None;
    }
    let names: Vec<String> = zones.into_iter().map(said).collect();
    Some(format!(
        "times are written in several zones, and shown in one: {}",
        names.join(", ")
    ))
}

/// Returns a zone in words: `WIB (UTC+07:00)`.
pub(super) fn said(zone: &Zone) -> String {
    match one_line(&zone.name).as_str() {
        "" => offset(zone.offset_seconds),
        name if name == offset(zone.offset_seconds) => name.to_owned(),
        name => format!("{name} ({})", offset(zone.offset_seconds)),
    }
}

fn offset(seconds: i32) -> String {
    if seconds == 0 {
        return "UTC".to_owned();
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    format!("UTC{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(files: &[&[(&str, i32, bool)]]) -> Report {
        let zone = |&(name, offset_seconds, certain): &(&str, i32, bool)| Zone {
            name: name.to_owned(),
            offset_seconds,
            certain,
        };
        let mut report = Report::default();
        report.source.files = files
            .iter()
            .map(|zones| SourceFile {
                name: "a.log".to_owned(),
                zones: zones.iter().map(zone).collect(),
                foreign: 1_200,
                ..SourceFile::default()
            })
            .collect();
        report
    }

    #[test]
    fn zones_that_are_not_sure_are_told_with_what_they_were_read_as() {
        let report = report(&[&[("CST", -21_600, false), ("XYZT", 0, false), ("", 0, false)]]);
        let end = "; --zone gives the server's log_timezone";
        assert_eq!(
            doubts(&report),
            [
                format!(
                    "a.log: \"CST\" abbreviates several time zones: times were read as UTC-06:00{end}"
                ),
                format!(
                    "a.log: \"XYZT\" is no abbreviation of a time zone that is known: times were read as UTC{end}"
                ),
                format!("a.log: its times name no zone: times were read as UTC{end}"),
            ]
        );
    }

    #[test]
    fn a_guessed_prefix_that_explains_little_or_has_no_time_is_told() {
        let told = |prefix: &str, match_rate| {
            let mut report = report(&[&[]]);
            report.source.files[0].prefixes = vec![prefix.to_owned()];
            report.source.files[0].match_rate = match_rate;
            doubts(&report)
        };
        assert_eq!(told("%m [%p] ", Some(0.95)), [""; 0]);
        assert_eq!(told("%p ", None), [""; 0]);
        assert_eq!(
            told("%m [%p] ", Some(0.63)),
            [
                "a.log: its log_line_prefix was guessed: \"%m [%p] \" explains 63 % of its lines; --prefix gives the server's"
            ]
        );
        assert_eq!(
            told("%p|%d|", Some(1.0)),
            [
                "a.log: its log_line_prefix was guessed: \"%p|%d|\" has no time, so nothing can be said about when and how often; --prefix gives the server's"
            ]
        );
    }

    #[test]
    fn mixed_zones_are_told_and_summer_is_not() {
        let cet = ("CET", 3_600, true);
        let cest = ("CEST", 7_200, true);
        let mixed = |files: &[&[(&str, i32, bool)]]| super::mixed(&report(files));
        assert_eq!(mixed(&[&[cet, cest]]), None);
        assert_eq!(mixed(&[&[cet], &[cet]]), None);
        assert_eq!(
            mixed(&[&[cet], &[("UTC", 0, true)]]).unwrap(),
            "times are written in several zones, and shown in one: UTC, CET (UTC+01:00)"
        );
        let wib = ("WIB", 25_200, true);
        assert!(mixed(&[&[("UTC", 0, true), wib]]).is_some());
        assert_eq!(
            remarks(&report(&[&[wib]])),
            ["a.log: 1,200 lines of other programs were left out"]
        );
    }
}
