//! What the pages share: addresses, tables, filters, values over time, and what could not be seen.

mod address;
mod alert;
mod filter;
mod forecast;
mod history;
mod line;
mod meanwhile;
mod query;
mod say;
#[cfg(test)]
mod scene;
mod secret;
mod table;
#[cfg(test)]
mod tests;
mod unseen;

pub(crate) use address::{Here, instance_path, path};
pub(crate) use alert::{
    acknowledge_form, alerts_of, button, carried, condition, critical, handling, may, mute_form,
    periods, rank, snooze_form, urgency, wants_somebody,
};
pub(crate) use filter::{Field, choices, filter, matches};
pub(crate) use forecast::{Forecast, forecast};
pub(crate) use history::{
    Ask, active_by, class_name, combine, growth, series, single, summed, wait_classes,
};
pub(crate) use line::{Line, known_at, lines, lines_of};
pub(crate) use meanwhile::meanwhile;
pub(crate) use query::{HIDDEN, shown, text_of};
pub(crate) use say::{
    bar, change, dash, figure, milliseconds, one_line, or_dash, per_second, percent, shell,
};
pub use secret::without_secrets;
pub(crate) use secret::{safe_item, safe_setting};
pub(crate) use table::{Column, Head, Table};
pub(crate) use unseen::unseen;
