//! An amount of bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];

/// An amount of bytes; shown with PostgreSQL's units (`kB` is 1,024 bytes).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ByteSize(pub u64);

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut divisor = 1_u64;
        let mut unit = 0;
        while unit + 1 < UNITS.len() && self.0 / divisor >= 1024 {
            divisor *= 1024;
            unit += 1;
        }
        let tenths = u128::from(self.0) * 10 / u128::from(divisor);
        let text = if unit == 0 || tenths >= 1000 {
            format!("{} {}", self.0 / divisor, UNITS[unit])
        } else {
            format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
        };
        f.pad(&text)
    }
}

impl FromStr for ByteSize {
    type Err = String;

    /// Reads `8192`, `16MB`, `1.5 GB`; units as in `postgresql.conf`.
    fn from_str(text: &str) -> Result<ByteSize, String> {
        let text = text.trim();
        let split = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let power = match unit.trim() {
            "" => 0,
            name => UNITS
                .iter()
                .position(|unit| unit.eq_ignore_ascii_case(name))
                .ok_or_else(|| format!("\"{name}\" is no unit of size (B, kB, MB, GB, TB, PB)"))?,
        };
        let number: f64 = number
            .parse()
            .map_err(|_| format!("\"{text}\" is no size"))?;
        let bytes = number * 1024_f64.powi(i32::try_from(power).expect("there are six units"));
        if bytes.is_finite() && (0.0..9.0e18).contains(&bytes) {
            Ok(ByteSize(bytes.round() as u64))
        } else {
            Err(format!("\"{text}\" is out of range for a size"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ByteSize;

    #[test]
    fn shows_sizes_as_people_say_them() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 kB"),
            (16 << 20, "16.0 MB"),
            (u64::MAX, "16383 PB"),
            (150 << 30, "150 GB"),
        ] {
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
    }

    #[test]
    fn reads_sizes_as_postgresql_conf_writes_them() {
        for (text, bytes) in [
            ("8192", 8192),
            ("16MB", 16 << 20),
            ("1.5 gb", 3 << 29),
            ("0", 0),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "MB", "-1", "1 XB", "1e400", "1.2.3"] {
            assert!(
                text.parse::<ByteSize>().is_err(),
                "{text:?} must be refused"
            );
        }
    }
}
