//! Paths of SVG, short: whole numbers, each relative to the one before.

use std::fmt::Write as _;

/// The width of a drawing in its own units; it is stretched to the width that there is.
pub(super) const WIDTH: f64 = 1_200.0;
/// Units per pixel of height.
pub(super) const FINE: f64 = 4.0;

/// A path that is being written.
#[derive(Default)]
pub(super) struct Pen {
    text: String,
    at: (i64, i64),
}

impl Pen {
    /// Goes somewhere without drawing.
    pub(super) fn jump(&mut self, (x, y): (f64, f64)) {
        self.at = (x.round() as i64, y.round() as i64);
        let _ = write!(self.text, "M{} {}", self.at.0, self.at.1);
    }

    /// Draws a straight line.
    pub(super) fn line(&mut self, (x, y): (f64, f64)) {
        let to = (x.round() as i64, y.round() as i64);
        let (dx, dy) = (to.0 - self.at.0, to.1 - self.at.1);
        self.at = to;
        match (dx, dy) {
            (dx, 0) => {
                let _ = write!(self.text, "h{dx}");
            }
            (0, dy) => {
                let _ = write!(self.text, "v{dy}");
            }
            (dx, dy) if dy < 0 => {
                let _ = write!(self.text, "l{dx}{dy}");
            }
            (dx, dy) => {
                let _ = write!(self.text, "l{dx} {dy}");
            }
        }
    }

    /// Closes the shape.
    pub(super) fn close(&mut self) {
        self.text.push('z');
    }

    /// Returns the path.
    pub(super) fn done(self) -> String {
        self.text
    }
}

/// Returns a line through points; `None` lifts the pen, and a point between two gaps is a dot.
pub(super) fn line(points: &[Option<(f64, f64)>]) -> String {
    let mut pen = Pen::default();
    for run in runs(points) {
        pen.jump(run[0]);
        if run.len() == 1 {
            pen.line(run[0]);
        }
        run[1..].iter().for_each(|point| pen.line(*point));
    }
    pen.done()
}

/// Returns the area between an upper and a lower edge; `None` in either is a hole.
pub(super) fn area(upper: &[Option<(f64, f64)>], lower: &[Option<(f64, f64)>]) -> String {
    let mut pen = Pen::default();
    let pairs: Vec<_> = upper.iter().zip(lower).map(|(a, b)| (*a).zip(*b)).collect();
    for run in runs(&pairs) {
        pen.jump(run[0].0);
        run[1..].iter().for_each(|(upper, _)| pen.line(*upper));
        run.iter().rev().for_each(|(_, lower)| pen.line(*lower));
        pen.close();
    }
    pen.done()
}

/// Returns one bar per point, down to `base`, `width` wide and ending at the point.
pub(super) fn bars(points: &[Option<(f64, f64)>], base: f64, width: f64) -> String {
    let mut pen = Pen::default();
    for (x, y) in points.iter().flatten().copied().filter(|(_, y)| *y < base) {
        pen.jump((x - width, base));
        pen.line((x - width, y));
        pen.line((x, y));
        pen.line((x, base));
        pen.close();
    }
    pen.done()
}

/// Returns the stretches without gaps.
fn runs<T: Copy>(points: &[Option<T>]) -> Vec<Vec<T>> {
    let runs = points.split(Option::is_none).filter(|run| !run.is_empty());
    runs.map(|run| run.iter().flatten().copied().collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_lift_the_pen_and_lone_points_are_dots() {
        let (a, b, c) = (Some((0.0, 8.0)), Some((4.0, 4.0)), Some((8.0, 9.0)));
        for (points, path) in [
            (vec![], ""),
            (vec![None, None], ""),
            (vec![a, b, c], "M0 8l4-4l4 5"),
            (vec![a, None, c], "M0 8h0M8 9h0"),
            (vec![a, b, None, c], "M0 8l4-4M8 9h0"),
        ] {
            assert_eq!(line(&points), path);
        }
    }

    #[test]
    fn areas_have_holes_where_nothing_was_seen() {
        let upper = [Some((0.0, 1.0)), Some((2.0, 1.0)), None, Some((6.0, 2.0))];
        let lower = [Some((0.0, 5.0)), Some((2.0, 5.0)), None, Some((6.0, 5.0))];
        assert_eq!(area(&upper, &lower), "M0 1h2v4h-2zM6 2v3z");
    }

    #[test]
    fn bars_of_nothing_are_not_drawn() {
        assert_eq!(
            bars(&[Some((10.0, 4.0)), Some((20.0, 8.0)), None], 8.0, 6.0),
            "M4 8v-4h6v4z"
        );
    }
}
