//! The quick way through a line: each field ends where the literal after it is first met.
//!
//! It is the first reading that the search of `matching` tries. Where it is no reading of the whole prefix, nothing is known, and that
//! search must tell.

use super::matching::{Fields, find, fixed, host_and_port, zone_may_have_colon};
use super::{Escape, FIELD_BYTES_MAX, Literal, Step, words};
use crate::time::Clock;

/// A field and the literal after it; either may be absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    escape: Option<Escape>,
    literal: Literal,
    /// A time zone may have a colon.
    colon: bool,
}

/// Returns the pairs of a prefix; none when a field has a padding, or none but the label ends it.
pub(super) fn compile(steps: &[Step]) -> Vec<Pair> {
    let mut pairs: Vec<Pair> = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let next = steps.get(index + 1);
        let pair = |escape, literal| Pair {
            escape,
            literal,
            colon: zone_may_have_colon(next),
        };
        let nothing = || Literal::new(Vec::new());
        match step {
            Step::Literal(literal) => match pairs.last_mut() {
                Some(last) if last.literal.bytes.is_empty() => last.literal = literal.clone(),
                _ => pairs.push(pair(None, literal.clone())),
            },
            Step::Fixed(escape) => pairs.push(pair(Some(*escape), nothing())),
            Step::Free(escape, 0) if matches!(next, Some(Step::Literal(_))) => {
                pairs.push(pair(Some(*escape), nothing()));
            }
            // A session's part of the prefix is read first.
            Step::Stop => {}
            Step::Free(..) | Step::Padded(..) => return Vec::new(),
        }
    }
    pairs
}

/// Reads the beginning of a line; returns one more than where its last name begins, 0 when it has none.
#[inline]
pub(super) fn read<'t>(
    pairs: &[Pair],
    text: &'t [u8],
    clock: &mut Clock,
    fields: &mut Fields<'t>,
) -> Option<usize> {
    if pairs.is_empty() {
        return None;
    }
    let mut at = 0;
    let mut last_name_at = 0;
    for pair in pairs {
        let literal = &pair.literal;
        let rest = text.get(at..)?;
        if let Some(escape) = pair.escape {
            let bytes = if escape.is_free() {
                if escape.is_name() {
                    last_name_at = at + 1;
                }
                let bytes = free(rest, escape, literal)?;
                fields.set_free(escape, &rest[..bytes]);
                at += bytes + literal.bytes.len();
                continue;
            } else {
                fixed(rest, escape, pair.colon, clock, fields)?
            };
            at += bytes;
        }
        if !literal.begins(text.get(at..)?) {
            return None;
        }
        at += literal.bytes.len();
    }
    let (label, bytes) = words::label(text.get(at..)?)?;
    fields.label = Some(label);
    fields.label_at = at;
    fields.text_at = at + bytes;
    if fields.pid == 0 {
        fields.pid = fields.session_pid;
    }
    Some(last_name_at)
}

/// Returns how many bytes a field without a grammar takes.
#[inline]
fn free(text: &[u8], escape: Escape, literal: &Literal) -> Option<usize> {
    let limit = text.len().min(FIELD_BYTES_MAX);
    if escape == Escape::HostPort
        && let Some(bytes) = host_and_port(&text[..limit])
        && literal.begins(&text[bytes..])
    {
        return Some(bytes);
    }
    find(text, limit, literal)
}
