//! Binary results become values: one decoder per column, chosen once, then no allocation except for texts.

use std::net::{Ipv4Addr, Ipv6Addr};

use pawang_core::{Timestamp, Value};
use tokio_postgres::types::{FromSql, Kind, Type};
use tokio_postgres::{Column, Row};

use crate::Error;

/// Microseconds between 1970 and 2000, where PostgreSQL's clock begins.
const EPOCH_2000_MICROSECONDS: i64 = 946_684_800_000_000;
const DAY_SECONDS: f64 = 86_400.0;
const ARRAY_ITEMS_MAX: usize = 1_000_000;

/// How the bytes of one column are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decoder {
    Bool,
    Int2,
    Int4,
    Int8,
    Unsigned4,
    Unsigned8,
    Float4,
    Float8,
    Numeric,
    Text,
    Jsonb,
    Timestamp,
    Date,
    Interval,
    Network,
    Uuid,
    Bytes,
    Void,
    Array,
}

/// A result column and how to read it.
pub(crate) struct Reader {
    decoder: Decoder,
    name: String,
    type_name: String,
}

/// Chooses the decoders of a result.
pub(crate) fn readers(columns: &[Column]) -> Result<Vec<Reader>, Error> {
    columns
        .iter()
        .map(|column| {
            let decoder = decoder(column.type_()).ok_or_else(|| Error::Column {
                column: column.name().to_owned(),
                type_name: column.type_().name().to_owned(),
                problem: "there is no value for this type".to_owned(),
            })?;
            Ok(Reader {
                decoder,
                name: column.name().to_owned(),
                type_name: column.type_().name().to_owned(),
            })
        })
        .collect()
}

/// Reads one row.
pub(crate) fn row(row: &Row, readers: &[Reader]) -> Result<Vec<Value>, Error> {
    let mut values = Vec::with_capacity(readers.len());
    for (index, reader) in readers.iter().enumerate() {
        let value = match row.try_get::<usize, Option<Raw<'_>>>(index) {
            Ok(None) => Some(Value::Null),
            Ok(Some(Raw(bytes))) => decode(reader.decoder, bytes),
            Err(_) => None,
        };
        values.push(value.ok_or_else(|| Error::Column {
            column: reader.name.clone(),
            type_name: reader.type_name.clone(),
            problem: "the bytes do not fit the type".to_owned(),
        })?);
    }
    Ok(values)
}

/// The bytes of a value, whatever its type.
struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(
        _: &Type,
        raw: &'a [u8],
    ) -> Result<Raw<'a>, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Raw(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

fn decoder(column: &Type) -> Option<Decoder> {
    Some(match *column {
        Type::BOOL => Decoder::Bool,
        Type::INT2 => Decoder::Int2,
        Type::INT4 => Decoder::Int4,
        Type::INT8 => Decoder::Int8,
        Type::OID
        | Type::XID
        | Type::CID
        | Type::REGCLASS
        | Type::REGPROC
        | Type::REGTYPE
        | Type::REGROLE
        | Type::REGNAMESPACE
        | Type::REGPROCEDURE
        | Type::REGOPER
        | Type::REGOPERATOR
        | Type::REGCONFIG
        | Type::REGDICTIONARY => Decoder::Unsigned4,
        Type::XID8 | Type::PG_LSN => Decoder::Unsigned8,
        Type::FLOAT4 => Decoder::Float4,
        Type::FLOAT8 => Decoder::Float8,
        Type::NUMERIC => Decoder::Numeric,
        Type::TEXT
        | Type::VARCHAR
        | Type::BPCHAR
        | Type::NAME
        | Type::CHAR
        | Type::UNKNOWN
        | Type::JSON
        | Type::XML
        | Type::CSTRING
        | Type::PG_NODE_TREE
        | Type::REFCURSOR => Decoder::Text,
        Type::JSONB | Type::JSONPATH => Decoder::Jsonb,
        Type::TIMESTAMPTZ | Type::TIMESTAMP => Decoder::Timestamp,
        Type::DATE => Decoder::Date,
        Type::INTERVAL => Decoder::Interval,
        Type::INET | Type::CIDR => Decoder::Network,
        Type::UUID => Decoder::Uuid,
        Type::BYTEA => Decoder::Bytes,
        Type::VOID => Decoder::Void,
        Type::INT2_VECTOR | Type::OID_VECTOR => Decoder::Array,
        _ => match column.kind() {
            Kind::Enum(_) => Decoder::Text,
            Kind::Domain(base) => return decoder(base),
            // The items say their own type by number, which is enough for all built-in ones.
            Kind::Array(item) => match decoder(item)? {
                Decoder::Array | Decoder::Void => return None,
                _ => Decoder::Array,
            },
            // `citext` and its like send their text as it is.
            Kind::Simple if column.name() == "citext" => Decoder::Text,
            _ => return None,
        },
    })
}

fn decode(decoder: Decoder, bytes: &[u8]) -> Option<Value> {
    Some(match decoder {
        Decoder::Bool => Value::Bool(*bytes.first()? != 0),
        Decoder::Int2 => Value::Int(i16::from_be_bytes(bytes.try_into().ok()?).into()),
        Decoder::Int4 => Value::Int(i32::from_be_bytes(bytes.try_into().ok()?).into()),
        Decoder::Int8 => Value::Int(i64::from_be_bytes(bytes.try_into().ok()?)),
        Decoder::Unsigned4 => Value::Int(u32::from_be_bytes(bytes.try_into().ok()?).into()),
        Decoder::Unsigned8 => {
            let number = u64::from_be_bytes(bytes.try_into().ok()?);
            Value::Int(i64::try_from(number).ok()?)
        }
        Decoder::Float4 => Value::Float(f32::from_be_bytes(bytes.try_into().ok()?).into()),
        Decoder::Float8 => Value::Float(f64::from_be_bytes(bytes.try_into().ok()?)),
        Decoder::Numeric => Value::Float(numeric(bytes)?),
        Decoder::Text => text(bytes),
        Decoder::Jsonb => text(bytes.strip_prefix(&[1])?),
        Decoder::Timestamp => Value::Time(timestamp(i64::from_be_bytes(bytes.try_into().ok()?))),
        Decoder::Date => {
            let days = i64::from(i32::from_be_bytes(bytes.try_into().ok()?));
            let microseconds = match i32::try_from(days).ok()? {
                i32::MAX => i64::MAX,
                i32::MIN => i64::MIN,
                _ => days.saturating_mul(86_400_000_000),
            };
            Value::Time(timestamp(microseconds))
        }
        Decoder::Interval => Value::Float(interval(bytes)?),
        Decoder::Network => Value::Text(network(bytes)?.into()),
        Decoder::Uuid => Value::Text(uuid(bytes)?.into()),
        Decoder::Bytes => Value::Text(format!("\\x{}", hex(bytes)).into()),
        Decoder::Void => Value::Null,
        Decoder::Array => Value::List(array(bytes)?),
    })
}

/// Databases with encoding `SQL_ASCII` hold any bytes, so those that are no UTF-8 are replaced, not refused.
fn text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::Text(text.into()),
        Err(_) => Value::Text(String::from_utf8_lossy(bytes).into()),
    }
}

/// Instants that the calendar of `Timestamp` cannot hold, `infinity` among them, become its first or last one.
fn timestamp(microseconds: i64) -> Timestamp {
    let saturated = match microseconds {
        i64::MIN..=0 => Timestamp::MIN,
        1.. => Timestamp::MAX,
    };
    microseconds
        .checked_add(EPOCH_2000_MICROSECONDS)
        .and_then(|since_1970| Timestamp::from_microsecond(since_1970).ok())
        .unwrap_or(saturated)
}

/// Returns seconds as `extract(epoch FROM interval)` counts them: a year has 365.25 days, a month 30.
fn interval(bytes: &[u8]) -> Option<f64> {
    let (microseconds, rest) = bytes.split_first_chunk::<8>()?;
    let (days, months) = rest.split_first_chunk::<4>()?;
    let microseconds = i64::from_be_bytes(*microseconds);
    let days = i32::from_be_bytes(*days);
    let months = i32::from_be_bytes(months.try_into().ok()?);
    // PostgreSQL 17 knows intervals without end.
    match (microseconds, days, months) {
        (i64::MAX, i32::MAX, i32::MAX) => return Some(f64::INFINITY),
        (i64::MIN, i32::MIN, i32::MIN) => return Some(f64::NEG_INFINITY),
        _ => {}
    }
    let whole_days =
        f64::from(months / 12) * 365.25 + f64::from(months % 12) * 30.0 + f64::from(days);
    Some(whole_days * DAY_SECONDS + microseconds as f64 / 1e6)
}

/// Returns the nearest floating-point number: digits of base 10,000, an exponent and a sign.
fn numeric(bytes: &[u8]) -> Option<f64> {
    let (header, digits) = bytes.split_first_chunk::<8>()?;
    let word = |index: usize| u16::from_be_bytes([header[index * 2], header[index * 2 + 1]]);
    let (count, weight, sign) = (usize::from(word(0)), word(1).cast_signed(), word(2));
    let magnitude = match sign {
        0xC000 => f64::NAN,
        0xD000 | 0xF000 => f64::INFINITY,
        _ => {
            if digits.len() != count * 2 {
                return None;
            }
            let digits = digits
                .chunks_exact(2)
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            decimal(
                digits,
                (i32::from(weight) + 1 - i32::try_from(count).ok()?) * 4,
            )?
        }
    };
    Some(if matches!(sign, 0x4000 | 0xF000) {
        -magnitude
    } else {
        magnitude
    })
}

fn decimal(digits: impl Iterator<Item = u16> + Clone, exponent: i32) -> Option<f64> {
    let mut mantissa = Some(0_u64);
    for digit in digits.clone() {
        mantissa = mantissa.and_then(|m| m.checked_mul(10_000)?.checked_add(digit.into()));
    }
    match mantissa {
        // Both factors are exact up to 2^53 and 10^22, so that one rounding gives the nearest number.
        Some(mantissa) if mantissa < 1 << 53 && exponent.abs() <= 22 => {
            let power = 10_f64.powi(exponent.abs());
            Some(if exponent < 0 {
                mantissa as f64 / power
            } else {
                mantissa as f64 * power
            })
        }
        _ => {
            // The first zero keeps a number without digits readable.
            let mut text = "0".to_owned();
            text.extend(digits.map(|digit| format!("{digit:04}")));
            text.push_str(&format!("e{exponent}"));
            text.parse().ok()
        }
    }
}

fn network(bytes: &[u8]) -> Option<String> {
    let (&[family, bits, cidr, length], address) = bytes.split_first_chunk::<4>()?;
    if usize::from(length) != address.len() {
        return None;
    }
    let (text, full) = match family {
        2 => (
            Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?).to_string(),
            32,
        ),
        3 => (
            Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?).to_string(),
            128,
        ),
        _ => return None,
    };
    Some(if cidr != 0 || bits != full {
        format!("{text}/{bits}")
    } else {
        text
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn uuid(bytes: &[u8]) -> Option<String> {
    let text = hex(<&[u8; 16]>::try_from(bytes).ok()?);
    let part = |range| text.get(range);
    Some(format!(
        "{}-{}-{}-{}-{}",
        part(0..8)?,
        part(8..12)?,
        part(12..16)?,
        part(16..20)?,
        part(20..32)?
    ))
}

/// Reads a one-dimensional array; NULL items are left out.
fn array(bytes: &[u8]) -> Option<Vec<String>> {
    fn word(bytes: &[u8]) -> Option<(i32, &[u8])> {
        let (word, rest) = bytes.split_first_chunk::<4>()?;
        Some((i32::from_be_bytes(*word), rest))
    }
    let (dimensions, rest) = word(bytes)?;
    let (_has_null, rest) = word(rest)?;
    let (item_type, rest) = word(rest)?;
    let decoder = match Type::from_oid(item_type.cast_unsigned()) {
        Some(item) => decoder(&item)?,
        None => Decoder::Text,
    };
    match dimensions {
        0 => return Some(Vec::new()),
        1 => {}
        _ => return None,
    }
    let (count, rest) = word(rest)?;
    let (_lower_bound, mut rest) = word(rest)?;
    let count = usize::try_from(count).ok()?;
    if count > ARRAY_ITEMS_MAX {
        return None;
    }
    let mut items = Vec::with_capacity(count.min(rest.len() / 4));
    for _ in 0..count {
        let (length, tail) = word(rest)?;
        rest = tail;
        if let Ok(length) = usize::try_from(length) {
            let (item, tail) = rest.split_at_checked(length)?;
            rest = tail;
            items.push(match decode(decoder, item)? {
                Value::Text(text) => text.into(),
                other => other.to_string(),
            });
        }
    }
    Some(items)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn intervals_count_as_extract_epoch_does() {
        let bytes = |microseconds: i64, days: i32, months: i32| {
            let mut bytes = microseconds.to_be_bytes().to_vec();
            bytes.extend(days.to_be_bytes());
            bytes.extend(months.to_be_bytes());
            bytes
        };
        for (interval_bytes, seconds) in [
            (bytes(1_500_000, 0, 0), 1.5),
            (bytes(0, 1, 0), 86_400.0),
            (bytes(0, 0, 13), 34_149_600.0),
            (bytes(-1, -1, 0), -86_400.000_001),
            (bytes(i64::MAX, i32::MAX, i32::MAX), f64::INFINITY),
        ] {
            assert_eq!(interval(&interval_bytes), Some(seconds));
        }
    }

    #[test]
    fn endless_instants_become_the_last_one() {
        assert_eq!(timestamp(i64::MAX), Timestamp::MAX);
        assert_eq!(timestamp(i64::MIN), Timestamp::MIN);
        assert_eq!(timestamp(0).to_string(), "2000-01-01T00:00:00Z");
    }

    fn numeric_bytes(digits: &[u16], weight: i16, sign: u16) -> Vec<u8> {
        let count = u16::try_from(digits.len()).unwrap();
        let words = [count, weight.cast_unsigned(), sign, 0];
        words
            .iter()
            .chain(digits)
            .flat_map(|word| word.to_be_bytes())
            .collect()
    }

    proptest! {
        #[test]
        fn numerics_are_the_nearest_number(digits in prop::collection::vec(0_u16..10_000, 0..8), weight in -6_i16..8, negative: bool) {
            let text: String = digits.iter().map(|digit| format!("{digit:04}")).collect();
            let exponent = (i64::from(weight) + 1 - digits.len() as i64) * 4;
            let expected: f64 = format!("{}0{text}e{exponent}", if negative { "-" } else { "" }).parse().unwrap();
            let sign = if negative { 0x4000 } else { 0 };
            prop_assert_eq!(numeric(&numeric_bytes(&digits, weight, sign)), Some(expected));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            for decoder in [Decoder::Bool, Decoder::Int4, Decoder::Numeric, Decoder::Date, Decoder::Interval,
                Decoder::Network, Decoder::Uuid, Decoder::Array, Decoder::Timestamp, Decoder::Jsonb] {
                let _ = decode(decoder, &bytes);
            }
        }
    }
}
