//! Names of WAL segments and timelines, as PostgreSQL spells them (`XLogFileName`, all versions since 9.3).

use std::fmt;
use std::str::FromStr;

use pawang_core::Lsn;
use serde::{Deserialize, Serialize};

/// A timeline's number; its text is eight hexadecimal digits, as in file names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timeline(pub u32);

/// The name of a whole segment: `000000010000000A000000FE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentName {
    /// The timeline.
    pub timeline: Timeline,
    /// The upper half of its positions.
    pub log: u32,
    /// The segment within that.
    pub segment: u32,
}

/// The text is no name of a WAL segment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read \"{0}\" as the name of a WAL segment")]
pub struct ParseSegmentError(pub String);

impl SegmentName {
    /// Returns the name of the segment that holds a position.
    pub fn holding(timeline: Timeline, position: Lsn, segment_bytes: u32) -> SegmentName {
        SegmentName::numbered(
            timeline,
            position.0 / u64::from(segment_bytes),
            segment_bytes,
        )
    }

    /// Returns the name of the segment with a number, counted from position 0.
    pub fn numbered(timeline: Timeline, number: u64, segment_bytes: u32) -> SegmentName {
        let per_log = (1u64 << 32) / u64::from(segment_bytes);
        SegmentName {
            timeline,
            log: u32::try_from(number / per_log).unwrap_or(u32::MAX),
            segment: u32::try_from(number % per_log).unwrap_or(u32::MAX),
        }
    }

    /// Returns its number, counted from position 0.
    pub fn number(&self, segment_bytes: u32) -> u64 {
        u64::from(self.log) * ((1u64 << 32) / u64::from(segment_bytes)) + u64::from(self.segment)
    }

    /// Returns its first position.
    pub fn start(&self, segment_bytes: u32) -> Lsn {
        Lsn(self.number(segment_bytes) * u64::from(segment_bytes))
    }

    /// Returns the position behind it.
    pub fn end(&self, segment_bytes: u32) -> Lsn {
        Lsn((self.number(segment_bytes) + 1) * u64::from(segment_bytes))
    }

    /// Returns the segment behind it, on the same timeline.
    pub fn next(&self, segment_bytes: u32) -> SegmentName {
        SegmentName::numbered(self.timeline, self.number(segment_bytes) + 1, segment_bytes)
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08X}", self.0)
    }
}

impl FromStr for Timeline {
    type Err = ParseSegmentError;

    fn from_str(text: &str) -> Result<Timeline, ParseSegmentError> {
        eight_digits(text)
            .map(Timeline)
            .ok_or_else(|| ParseSegmentError(text.to_owned()))
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:08X}{:08X}", self.timeline, self.log, self.segment)
    }
}

impl FromStr for SegmentName {
    type Err = ParseSegmentError;

    fn from_str(text: &str) -> Result<SegmentName, ParseSegmentError> {
        let digits = |from: usize| text.get(from..from + 8).and_then(eight_digits);
        let name = || {
            (text.len() == 24).then_some(())?;
            Some(SegmentName {
                timeline: Timeline(digits(0)?),
                log: digits(8)?,
                segment: digits(16)?,
            })
        };
        name().ok_or_else(|| ParseSegmentError(text.to_owned()))
    }
}

impl Serialize for SegmentName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SegmentName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<SegmentName, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// PostgreSQL writes upper case only; other spellings are other files.
fn eight_digits(text: &str) -> Option<u32> {
    let plain = text.len() == 8
        && text
            .bytes()
            .all(|letter| matches!(letter, b'0'..=b'9' | b'A'..=b'F'));
    plain.then(|| u32::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn timelines_are_hexadecimal() {
        assert_eq!("0000001F".parse(), Ok(Timeline(31)));
        assert!("1F".parse::<Timeline>().is_err());
        assert!("0000001f".parse::<Timeline>().is_err());
    }

    proptest! {
        #[test]
        fn a_segment_holds_its_positions(position in 0u64..1 << 56, power in 20u32..=30, timeline in 1u32..) {
            let bytes = 1u32 << power;
            let name = SegmentName::holding(Timeline(timeline), Lsn(position), bytes);
            prop_assert!(name.start(bytes).0 <= position && position < name.end(bytes).0);
            prop_assert_eq!(name.to_string().parse(), Ok(name));
            prop_assert_eq!(name.next(bytes).start(bytes), name.end(bytes));
        }
    }
}
