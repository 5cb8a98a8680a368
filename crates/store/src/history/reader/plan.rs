//! Chooses the stretches that answer a question: a resolution where it exists, another where it does not.

use super::super::shelf::{Shelf, Stream, Stretch};
use crate::Error;

/// A stretch of time: after the first instant, up to and with the second.
pub(super) type Window = (i64, i64);

/// A stretch of frames and the time for which it answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    pub(super) stretch: Stretch,
    pub(super) window: Window,
}

/// Chooses stretches that cover `span` without overlap, resolutions in the order of `wanted`.
///
/// Stretches of one resolution overlap only where the clock was set back; they all answer.
pub(super) fn plan(
    shelf: &Shelf,
    stream: &Stream,
    span: Window,
    wanted: &[u32],
) -> Result<Vec<Choice>, Error> {
    let mut open: Vec<Window> = vec![span];
    let mut choices = Vec::new();
    for resolution in wanted {
        let (Some(first), Some(last)) = (open.first(), open.last()) else {
            break;
        };
        let mut stretches = shelf.sealed(stream.id, *resolution, first.0, last.1)?;
        if *resolution == 0 {
            stretches.extend(shelf.hot(stream.id)?);
        }
        let mut left = open.clone();
        for stretch in stretches {
            // Without a lead, the first sample stands for its instant only.
            let lead = i64::from(stretch.first_at > stretch.from_at);
            let covered = (stretch.from_at + lead - 1, stretch.to_at);
            for window in &open {
                let shared = (window.0.max(covered.0), window.1.min(covered.1));
                if shared.0 < shared.1 {
                    choices.push(Choice {
                        stretch,
                        window: shared,
                    });
                }
            }
            left = left
                .iter()
                .flat_map(|window| without(*window, covered))
                .collect();
        }
        open = left;
    }
    choices.sort_by_key(|choice| (choice.window, choice.stretch.from_at));
    Ok(choices)
}

/// Returns what is left of a window: a piece before and a piece after.
fn without(window: Window, covered: Window) -> impl Iterator<Item = Window> {
    let before = (window.0, window.1.min(covered.0));
    let after = (window.0.max(covered.1), window.1);
    [before, after]
        .into_iter()
        .filter(|piece| piece.0 < piece.1)
}

#[cfg(test)]
mod tests {
    use super::without;

    #[test]
    fn what_is_left_of_a_window() {
        let check = |covered, expected: &[(i64, i64)]| {
            assert_eq!(without((10, 20), covered).collect::<Vec<_>>(), expected);
        };
        check((0, 10), &[(10, 20)]);
        check((12, 15), &[(10, 12), (15, 20)]);
        check((0, 15), &[(15, 20)]);
        check((15, 30), &[(10, 15)]);
        check((0, 30), &[]);
        check((20, 30), &[(10, 20)]);
    }
}
