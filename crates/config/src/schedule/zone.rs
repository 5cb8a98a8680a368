//! From the clock on the wall to the instant.

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use pawang_core::Timestamp;

/// Returns the instant at which the clock of a zone shows a time, and what is to know about it.
///
/// A time that DST leaves out is the first moment after the gap; of one that comes twice the earlier counts.
/// `None` only at the ends of time.
pub(super) fn instant(zone: &TimeZone, at: DateTime) -> Option<(Timestamp, Option<String>)> {
    let found = zone.to_ambiguous_timestamp(at);
    let name = zone.iana_name().unwrap_or("the zone");
    let told = at.strftime("%H:%M on %Y-%m-%d");
    match found.offset() {
        AmbiguousOffset::Unambiguous { offset } => Some((offset.to_timestamp(at).ok()?, None)),
        AmbiguousOffset::Fold { before, .. } => {
            let note = format!("{told} comes twice in {name}: the earlier one counts");
            Some((before.to_timestamp(at).ok()?, Some(note)))
        }
        AmbiguousOffset::Gap { after, .. } => {
            let earlier = after.to_timestamp(at).ok()?;
            let first = zone
                .following(earlier)
                .find(|transition| transition.offset() == after)?
                .timestamp();
            let note = format!(
                "{told} is left out in {name}: {} counts",
                zone.to_datetime(first).strftime("%H:%M")
            );
            Some((first, Some(note)))
        }
    }
}
