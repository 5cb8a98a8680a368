//! How the partitions of a table are named, found from the names that are there.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::bound::{Key, Step};

/// The longest name that PostgreSQL keeps whole.
const NAME_BYTES_MAX: usize = 63;
/// How people and pg_partman write the begin of a range at the end of a name; `{q}` is the quarter.
const FORMS: [&str; 18] = [
    "%Y%m%d_%H%M%S",
    "%Y_%m_%d_%H%M",
    "%Y_%m_%d_%H",
    "%Y%m%d_%H%M",
    "%Y%m%d_%H",
    "%Y%m%d%H%M",
    "%Y%m%d%H",
    "%Y_%m_%d",
    "%Y-%m-%d",
    "%Y%m%d",
    "%Gw%V",
    "%G_w%V",
    "%Ym%m",
    "%Y_%m",
    "%Y-%m",
    "%Y%m",
    "%Y{sep}q{q}",
    "%Y",
];

/// How the partitions of one table are named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Naming {
    prefix: String,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Time(&'static str),
    Quarter(&'static str),
    Number,
    /// The number of the range, counted from 0.
    Ordinal,
}

impl Naming {
    /// Returns the form in which all these names are written, each with the begin of its range.
    pub(super) fn detect(names: &[(&str, Key)], step: Step, zone: &TimeZone) -> Option<Naming> {
        let forms = FORMS.iter().flat_map(|form| match *form {
            "%Y{sep}q{q}" => vec![Form::Quarter("_q"), Form::Quarter("q")],
            form => vec![Form::Time(form)],
        });
        let mut forms = forms.chain([Form::Number, Form::Ordinal]);
        forms.find_map(|form| {
            let prefixes = names.iter().map(|(name, from)| {
                let suffix = form.write(*from, step, zone)?;
                name.strip_suffix(&suffix)
            });
            let prefixes: Option<Vec<&str>> = prefixes.collect();
            let prefixes = prefixes?;
            let first = *prefixes.first()?;
            // A prefix that ends in a digit is part of a longer number.
            let whole = !first.is_empty() && !first.ends_with(|c: char| c.is_ascii_digit());
            (whole && prefixes.iter().all(|prefix| *prefix == first)).then(|| Naming {
                prefix: first.to_owned(),
                form,
            })
        })
    }

    /// Returns how partitions are named where the names that are there follow no form.
    pub(super) fn of_our_own(table: &str, step: Step) -> Naming {
        let form = match step {
            Step::Numbers(_) => Form::Number,
            Step::Seconds(seconds) if seconds % 86_400 != 0 => Form::Time("%Y%m%d_%H%M%S"),
            _ => Form::Time("%Y%m%d"),
        };
        Naming {
            prefix: format!("{table}_p"),
            form,
        }
    }

    /// Returns the name of the partition that begins there; `None` when it would be too long.
    pub(super) fn name(&self, from: Key, step: Step, zone: &TimeZone) -> Option<String> {
        let name = format!("{}{}", self.prefix, self.form.write(from, step, zone)?);
        (name.len() <= NAME_BYTES_MAX).then_some(name)
    }
}

impl Form {
    fn write(self, from: Key, step: Step, zone: &TimeZone) -> Option<String> {
        match (self, from, step) {
            (Form::Number, Key::Number(number), _) => Some(number.to_string()),
            (Form::Ordinal, Key::Number(number), Step::Numbers(step)) => {
                (number % step == 0).then(|| (number / step).to_string())
            }
            (Form::Time(form), from, _) => {
                let at: DateTime = from.civil(zone)?;
                Some(at.strftime(form).to_string())
            }
            (Form::Quarter(separator), from, _) => {
                let at: DateTime = from.civil(zone)?;
                Some(format!(
                    "{:04}{separator}{}",
                    at.year(),
                    (at.month() + 2) / 3
                ))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> Key {
        Key::Civil(format!("{text}T00:00:00").parse().unwrap())
    }

    #[test]
    fn names_are_continued_as_people_began_them() {
        let month = Step::Months(1);
        for (names, step, next, expected) in [
            (
                ["sales_2026_01", "sales_2026_02"],
                month,
                "2026-03-01",
                Some("sales_2026_03"),
            ),
            (
                ["sales_p202601", "sales_p202602"],
                month,
                "2026-03-01",
                Some("sales_p202603"),
            ),
            (
                ["sales_y2026m01", "sales_y2026m02"],
                month,
                "2026-03-01",
                Some("sales_y2026m03"),
            ),
            (
                ["sales_p20260101", "sales_p20260201"],
                month,
                "2026-03-01",
                Some("sales_p20260301"),
            ),
            (
                ["sales_january", "sales_february"],
                month,
                "2026-03-01",
                None,
            ),
        ] {
            let zone = TimeZone::UTC;
            let named = [
                (names[0], date("2026-01-01")),
                (names[1], date("2026-02-01")),
            ];
            let naming = Naming::detect(&named, step, &zone);
            let name = naming.and_then(|naming| naming.name(date(next), step, &zone));
            assert_eq!(name.as_deref(), expected, "{names:?}");
        }
    }

    #[test]
    fn quarters_and_numbers_are_continued_too() {
        let month = Step::Months(1);
        let quarters = [
            ("f_2026q1", date("2026-01-01")),
            ("f_2026q2", date("2026-04-01")),
        ];
        let naming = Naming::detect(&quarters, Step::Months(3), &TimeZone::UTC).unwrap();
        assert_eq!(
            naming
                .name(date("2026-07-01"), month, &TimeZone::UTC)
                .unwrap(),
            "f_2026q3"
        );
        let numbers = [("e_0", Key::Number(0)), ("e_1000", Key::Number(1000))];
        let step = Step::Numbers(1000);
        let naming = Naming::detect(&numbers, step, &TimeZone::UTC).unwrap();
        assert_eq!(
            naming
                .name(Key::Number(2000), step, &TimeZone::UTC)
                .unwrap(),
            "e_2000"
        );
        let ordinals = [("e_p0", Key::Number(0)), ("e_p1", Key::Number(1000))];
        let naming = Naming::detect(&ordinals, step, &TimeZone::UTC).unwrap();
        assert_eq!(
            naming
                .name(Key::Number(2000), step, &TimeZone::UTC)
                .unwrap(),
            "e_p2"
        );
    }
}
