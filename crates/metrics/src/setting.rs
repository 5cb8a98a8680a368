//! Settings as numbers in base units, from the texts that `pg_settings` has.

use pawang_core::Row;

/// Longest text that is read as a number.
const DIGITS_MAX: usize = 32;

/// A setting that is a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Setting {
    /// In `unit`; on is 1 and off is 0.
    pub(crate) value: f64,
    /// `bytes` or `seconds`, or nothing.
    pub(crate) unit: Option<&'static str>,
}

/// Returns the number that a row of collector `settings` has, if it is one.
pub(crate) fn number(row: &Row<'_>) -> Option<Setting> {
    read(
        row.text("vartype")?,
        row.text("setting")?,
        row.text("unit").unwrap_or_default(),
    )
}

fn read(vartype: &str, setting: &str, unit: &str) -> Option<Setting> {
    let plain = |value| Some(Setting { value, unit: None });
    match (vartype, setting) {
        ("bool", "on") => return plain(1.0),
        ("bool", "off") => return plain(0.0),
        ("integer" | "real", _) if setting.len() <= DIGITS_MAX => {}
        _ => return None,
    }
    let value: f64 = setting.parse().ok()?;
    if unit.is_empty() {
        return plain(value);
    }
    let (factor, base) = factor(unit)?;
    // -1 means "not limited" or "as another setting", whatever the unit.
    let value = match factor {
        _ if value == -1.0 => value,
        Factor::Times(factor) => value * factor,
        Factor::By(divisor) => value / divisor,
    };
    Some(Setting {
        value,
        unit: Some(base),
    })
}

enum Factor {
    Times(f64),
    By(f64),
}

/// Reads `8kB`, `MB`, `min`; a unit that PostgreSQL does not have yet is none.
fn factor(unit: &str) -> Option<(Factor, &'static str)> {
    let digits = unit.find(|letter: char| !letter.is_ascii_digit())?;
    let (count, unit) = unit.split_at(digits);
    let count: f64 = if count.is_empty() {
        1.0
    } else {
        count.parse().ok()?
    };
    Some(match unit {
        "B" => (Factor::Times(count), "bytes"),
        "kB" => (Factor::Times(count * 1024.0), "bytes"),
        "MB" => (Factor::Times(count * 1_048_576.0), "bytes"),
        "GB" => (Factor::Times(count * 1_073_741_824.0), "bytes"),
        "TB" => (Factor::Times(count * 1_099_511_627_776.0), "bytes"),
        "us" => (Factor::By(1e6 / count), "seconds"),
        "ms" => (Factor::By(1e3 / count), "seconds"),
        "s" => (Factor::Times(count), "seconds"),
        "min" => (Factor::Times(count * 60.0), "seconds"),
        "h" => (Factor::Times(count * 3_600.0), "seconds"),
        "d" => (Factor::Times(count * 86_400.0), "seconds"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_in_base_units() {
        for (vartype, setting, unit, expected) in [
            ("bool", "on", "", Some((1.0, None))),
            ("bool", "off", "", Some((0.0, None))),
            (
                "integer",
                "16384",
                "8kB",
                Some((134_217_728.0, Some("bytes"))),
            ),
            ("integer", "300", "s", Some((300.0, Some("seconds")))),
            ("integer", "200", "ms", Some((0.2, Some("seconds")))),
            ("integer", "1440", "min", Some((86_400.0, Some("seconds")))),
            ("integer", "-1", "kB", Some((-1.0, Some("bytes")))),
            ("real", "0.9", "", Some((0.9, None))),
            ("enum", "replica", "", None),
            ("string", "12", "", None),
            ("integer", "12", "parsec", None),
            ("integer", "12", "8", None),
            ("integer", "x", "", None),
        ] {
            let found = read(vartype, setting, unit).map(|found| (found.value, found.unit));
            assert_eq!(found, expected, "{setting} {unit}");
        }
    }
}
