//! Checks that users write themselves: SQL that returns (object, value).

use pawang_core::{Blind, Missing, Value};

use crate::{Observation, View};

/// Measures every row of the snapshot `user:<check id>`; a NULL value is not seen, never ok.
///
/// # Errors
/// Why the statement gave no answer, or that its values are no numbers.
pub fn observe_user_rows(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let snapshot = view.snapshot(&format!("user:{}", view.check))?;
    let mut observations = Vec::new();
    for row in snapshot.rows() {
        let object = row.value("object").to_string();
        let value = match row.value("value") {
            Value::Null => f64::NAN,
            value => value.as_float().ok_or_else(|| Blind::Failed {
                what: format!(
                    "the second column of check \"{}\" must be a number and is \"{value}\"",
                    view.check
                ),
            })?,
        };
        let title = match row.value("value") {
            Value::Null => format!("the statement returned NULL for \"{object}\""),
            _ if value.is_nan() => format!("the statement returned no number for \"{object}\""),
            _ => format!("{object} is at {value}"),
        };
        observations.push(Observation {
            object,
            value,
            title,
            ..Observation::default()
        });
    }
    Ok(observations)
}
