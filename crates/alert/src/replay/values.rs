//! The short notation of samples: `70x30 95x20 _x3 critical`.

/// Samples that one text may stand for.
const CELLS_MAX: usize = 1_000_000;

/// One sample of one object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cell {
    /// A value, graded by the limits in force.
    Value(f64),
    /// A level, as the check itself would say it.
    Level(pawang_core::Level),
    /// Nobody looked.
    Nothing,
}

/// Reads samples: `70` is one, `70x30` thirty, `70+5x4` is 70 75 80 85, `_` means that nobody looked; `ok`, `warning`,
/// `critical` and `unknown` are levels.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn cells(text: &str) -> Result<Vec<Cell>, String> {
    let mut cells = Vec::new();
    for word in text.split_whitespace() {
        let (what, times) = match word.rsplit_once('x') {
            Some((what, times)) if !times.is_empty() && !what.is_empty() => {
                let times = times.parse::<usize>();
                (
                    what,
                    times.map_err(|_| format!("\"{word}\": what follows x is no number"))?,
                )
            }
            _ => (word, 1),
        };
        if cells.len().saturating_add(times) > CELLS_MAX {
            return Err(format!("\"{word}\": more than {CELLS_MAX} samples"));
        }
        repeat(what, times, &mut cells).ok_or_else(|| {
            format!("\"{word}\" is no sample; write 70, 70x30, 70+5x4, _, ok, warning, critical or unknown")
        })?;
    }
    if cells.is_empty() {
        return Err("there are no samples in it".to_owned());
    }
    Ok(cells)
}

fn repeat(what: &str, times: usize, cells: &mut Vec<Cell>) -> Option<()> {
    if let Some(cell) = one(what) {
        cells.extend(std::iter::repeat_n(cell, times));
        return Some(());
    }
    // The sign of the first number is no step.
    let at = what
        .char_indices()
        .skip(1)
        .find(|(_, c)| matches!(c, '+' | '-'))?
        .0;
    let (first, step) = (
        what[..at].parse::<f64>().ok()?,
        what[at..].parse::<f64>().ok()?,
    );
    if !(first.is_finite() && step.is_finite()) {
        return None;
    }
    cells.extend((0..times).map(|index| Cell::Value(first + step * index as f64)));
    Some(())
}

/// Reads one sample.
pub(super) fn one(word: &str) -> Option<Cell> {
    use pawang_core::Level;
    Some(match word {
        "_" => Cell::Nothing,
        "ok" => Cell::Level(Level::Ok),
        "warning" => Cell::Level(Level::Warning),
        "critical" => Cell::Level(Level::Critical),
        "unknown" => Cell::Level(Level::Unknown),
        number => Cell::Value(
            number
                .parse::<f64>()
                .ok()
                .filter(|value| value.is_finite())?,
        ),
    })
}
