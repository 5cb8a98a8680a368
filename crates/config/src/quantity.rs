//! Numbers that may be written with a unit: `80`, `"80 %"`, `"5 min"`, `"1 GB"`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use pawang_core::{ByteSize, Unit};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

const SECONDS_PER_DAY: f64 = 86_400.0;
/// Longest text that is read as a quantity.
const TEXT_LENGTH_MAX: usize = 64;
/// Longest period, a thousand years: everything above is a slip of the pen.
const PERIOD_SECONDS_MAX: f64 = 31_557_600_000.0;

/// A limit as it was written, with its unit where it has one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Quantity {
    /// `"never"`: the limit is switched off.
    Never,
    /// A number in whatever unit its reader uses.
    Plain(f64),
    /// `"80 %"`.
    Percent(f64),
    /// `"1 GB"`, in bytes.
    Bytes(f64),
    /// `"5 min"`, in seconds.
    Seconds(f64),
    /// `"10 /s"`.
    PerSecond(f64),
    /// `"16 MB/s"`, in bytes per second.
    BytesPerSecond(f64),
}

impl Quantity {
    /// Returns the number in `unit`, `None` for `"never"`.
    ///
    /// The error is the unit that was written, in words, when it does not measure what `unit` measures.
    pub fn in_unit(self, unit: Unit) -> Result<Option<f64>, &'static str> {
        let value = match (self, unit) {
            (Quantity::Never, _) => return Ok(None),
            (Quantity::Plain(value), _)
            | (Quantity::Percent(value), Unit::Percent)
            | (Quantity::Bytes(value), Unit::Bytes)
            | (Quantity::Seconds(value), Unit::Seconds)
            | (Quantity::PerSecond(value), Unit::PerSecond)
            | (Quantity::BytesPerSecond(value), Unit::BytesPerSecond) => value,
            (Quantity::Percent(value), Unit::Ratio) => value / 100.0,
            (Quantity::Seconds(value), Unit::Milliseconds) => value * 1000.0,
            (Quantity::Seconds(value), Unit::Days) => value / SECONDS_PER_DAY,
            (other, _) => return Err(other.kind()),
        };
        Ok(Some(value))
    }

    fn kind(self) -> &'static str {
        match self {
            Quantity::Never => "\"never\"",
            Quantity::Plain(_) => "a plain number",
            Quantity::Percent(_) => "a percentage",
            Quantity::Bytes(_) => "a size",
            Quantity::Seconds(_) => "a duration",
            Quantity::PerSecond(_) => "a rate",
            Quantity::BytesPerSecond(_) => "a rate in bytes",
        }
    }

    /// Returns the number that is kept.
    fn number(self) -> f64 {
        match self {
            Quantity::Never => 0.0,
            Quantity::Plain(value)
            | Quantity::Percent(value)
            | Quantity::Bytes(value)
            | Quantity::Seconds(value)
            | Quantity::PerSecond(value)
            | Quantity::BytesPerSecond(value) => value,
        }
    }

    /// Wraps a plain number; the error says what was wrong with it.
    pub(crate) fn plain(value: f64) -> Result<Quantity, String> {
        if value.is_finite() {
            Ok(Quantity::Plain(value))
        } else {
            Err(format!("{value} is no finite number"))
        }
    }
}

/// Returns the words for a unit that complete "expected ...".
pub(crate) fn words(unit: Unit) -> &'static str {
    match unit {
        Unit::Percent => "a percentage such as 80 or \"80 %\"",
        Unit::Bytes => "a size such as \"1 GB\", or a number of bytes",
        Unit::Seconds => "a duration such as \"5 min\", or a number of seconds",
        Unit::Milliseconds => "a duration such as \"50 ms\", or a number of milliseconds",
        Unit::Days => "a duration such as \"7 d\", or a number of days",
        Unit::PerSecond => "a rate such as \"10 /s\", or a number",
        Unit::BytesPerSecond => "a rate such as \"16 MB/s\", or a number of bytes per second",
        Unit::Ratio => "a ratio such as 0.5",
        Unit::Count | Unit::State => "a number",
    }
}

impl FromStr for Quantity {
    type Err = String;

    /// Reads `80`, `80 %`, `5 min`, `1GB`, `16 MB/s`, `10 /s`, `never`.
    fn from_str(text: &str) -> Result<Quantity, String> {
        if text.len() > TEXT_LENGTH_MAX {
            return Err(format!(
                "a quantity is at most {TEXT_LENGTH_MAX} bytes long"
            ));
        }
        let trimmed = text.trim();
        if trimmed == "never" {
            return Ok(Quantity::Never);
        }
        let end = trimmed
            .find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '_' | '-' | '+'))
            .unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(end);
        let number: f64 = number
            .replace('_', "")
            .parse()
            .map_err(|_| format!("\"{}\" does not start with a number", text.escape_debug()))?;
        let quantity = with_unit(number, unit.trim()).ok_or_else(|| {
            format!(
                "\"{}\" is no unit (%, ms, s, min, h, d, B, kB, MB, GB, TB, PB, /s, MB/s)",
                unit.trim().escape_debug()
            )
        })?;
        if quantity.number().is_finite() {
            Ok(quantity)
        } else {
            Err("it is out of range".to_owned())
        }
    }
}

fn with_unit(number: f64, unit: &str) -> Option<Quantity> {
    if let Some(size) = unit.strip_suffix("/s") {
        let size = size.trim();
        return if size.is_empty() {
            Some(Quantity::PerSecond(number))
        } else {
            Some(Quantity::BytesPerSecond(number * bytes(size)?))
        };
    }
    let seconds = |factor: f64| Some(Quantity::Seconds(number * factor));
    match unit {
        "" => Some(Quantity::Plain(number)),
        "%" | "percent" => Some(Quantity::Percent(number)),
        "ms" | "millisecond" | "milliseconds" => seconds(0.001),
        "s" | "sec" | "second" | "seconds" => seconds(1.0),
        "min" | "minute" | "minutes" => seconds(60.0),
        "h" | "hour" | "hours" => seconds(3600.0),
        "d" | "day" | "days" => seconds(SECONDS_PER_DAY),
        "week" | "weeks" => seconds(7.0 * SECONDS_PER_DAY),
        size => Some(Quantity::Bytes(number * bytes(size)?)),
    }
}

/// Returns the bytes of one `kB`, `MB`, ...; `ByteSize` owns the list of units.
fn bytes(unit: &str) -> Option<f64> {
    let starts_with_letter = unit.starts_with(|c: char| c.is_ascii_alphabetic());
    let size: ByteSize = format!("1{unit}")
        .parse()
        .ok()
        .filter(|_| starts_with_letter)?;
    Some(size.0 as f64)
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Quantity::Never => f.write_str("never"),
            Quantity::Plain(value) => write!(f, "{value}"),
            Quantity::Percent(value) => write!(f, "{value} %"),
            Quantity::Bytes(value) => write!(f, "{value} B"),
            Quantity::Seconds(value) => write!(f, "{value} s"),
            Quantity::PerSecond(value) => write!(f, "{value} /s"),
            Quantity::BytesPerSecond(value) => write!(f, "{value} B/s"),
        }
    }
}

/// A length of time: `"5 min"`, `"26 h"`, or a number of seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

/// An amount of bytes: `"100 MB"`, or a number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub ByteSize);

impl TryFrom<Quantity> for Period {
    type Error = String;

    fn try_from(quantity: Quantity) -> Result<Period, String> {
        match quantity {
            Quantity::Plain(value) | Quantity::Seconds(value)
                if (0.0..=PERIOD_SECONDS_MAX).contains(&value) =>
            {
                Ok(Period(Duration::from_secs_f64(value)))
            }
            Quantity::Plain(_) | Quantity::Seconds(_) => Err("it is out of range".to_owned()),
            other => Err(format!("it is {}", other.kind())),
        }
    }
}

impl TryFrom<Quantity> for Size {
    type Error = String;

    fn try_from(quantity: Quantity) -> Result<Size, String> {
        match quantity {
            Quantity::Plain(value) | Quantity::Bytes(value) if (0.0..9.0e18).contains(&value) => {
                Ok(Size(ByteSize(value.round() as u64)))
            }
            Quantity::Plain(_) | Quantity::Bytes(_) => Err("it is out of range".to_owned()),
            other => Err(format!("it is {}", other.kind())),
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        if seconds < 1.0 {
            write!(f, "{} ms", (seconds * 1000.0).round())
        } else {
            write!(f, "{seconds} s")
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} B", self.0.0)
    }
}

struct NumberOrText(&'static str);

impl Visitor<'_> for NumberOrText {
    type Value = Quantity;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Quantity, E> {
        Ok(Quantity::Plain(value as f64))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Quantity, E> {
        Ok(Quantity::Plain(value as f64))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Quantity, E> {
        Quantity::plain(value).map_err(E::custom)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
        text.parse().map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Quantity, D::Error> {
        deserializer.deserialize_any(NumberOrText("a number or a text such as \"5 min\""))
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Period, D::Error> {
        let quantity =
            deserializer.deserialize_any(NumberOrText("a duration such as \"5 min\""))?;
        Period::try_from(quantity).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Size, D::Error> {
        let quantity = deserializer.deserialize_any(NumberOrText("a size such as \"100 MB\""))?;
        Size::try_from(quantity).map_err(de::Error::custom)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Quantity::Plain(value) => serializer.serialize_f64(*value),
            other => serializer.collect_str(other),
        }
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Quantity {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["number", "string"], "format": "quantity"})
    }
}

impl JsonSchema for Period {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["number", "string"], "format": "period"})
    }
}

impl JsonSchema for Size {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["number", "string"], "format": "size"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_with_and_without_units() {
        for (text, expected) in [
            ("80", Quantity::Plain(80.0)),
            ("-1.5", Quantity::Plain(-1.5)),
            ("200_000_000", Quantity::Plain(2.0e8)),
            (" 80 % ", Quantity::Percent(80.0)),
            ("5 min", Quantity::Seconds(300.0)),
            ("250ms", Quantity::Seconds(0.25)),
            ("2 h", Quantity::Seconds(7200.0)),
            ("1 week", Quantity::Seconds(604_800.0)),
            ("1GB", Quantity::Bytes(1_073_741_824.0)),
            ("1.5 kb", Quantity::Bytes(1536.0)),
            ("16 MB/s", Quantity::BytesPerSecond(16_777_216.0)),
            ("10 /s", Quantity::PerSecond(10.0)),
            ("never", Quantity::Never),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for text in [
            "",
            "%",
            "5 parsecs",
            "1 1 GB",
            "1e5",
            "1..2",
            "--1",
            "NaN",
            "5 \u{1b}[0m",
        ] {
            let error = text.parse::<Quantity>().expect_err(text);
            assert!(!error.contains('\u{1b}'), "{error:?}");
        }
    }

    #[test]
    fn converts_into_the_unit_of_the_check_and_nothing_else() {
        let five_minutes = Quantity::Seconds(300.0);
        assert_eq!(five_minutes.in_unit(Unit::Seconds), Ok(Some(300.0)));
        assert_eq!(
            five_minutes.in_unit(Unit::Milliseconds),
            Ok(Some(300_000.0))
        );
        assert_eq!(
            Quantity::Seconds(172_800.0).in_unit(Unit::Days),
            Ok(Some(2.0))
        );
        assert_eq!(five_minutes.in_unit(Unit::Percent), Err("a duration"));
        assert_eq!(Quantity::Percent(50.0).in_unit(Unit::Ratio), Ok(Some(0.5)));
        assert_eq!(Quantity::Plain(7.0).in_unit(Unit::Days), Ok(Some(7.0)));
        assert_eq!(Quantity::Never.in_unit(Unit::Bytes), Ok(None));
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        for text in ["80", "\"80 %\"", "\"300 s\"", "\"1024 B\"", "\"never\""] {
            let quantity: Quantity = serde_json::from_str(text).unwrap();
            let again = serde_json::to_string(&quantity).unwrap();
            assert_eq!(serde_json::from_str::<Quantity>(&again).unwrap(), quantity);
        }
    }
}
