//! Tables: sorted by a link, bounded, and the same without a script.

use std::cmp::Ordering;

use maud::{Markup, html};

use super::Here;
use crate::words;

/// Rows that a table shows before "show more".
pub(crate) const ROWS_SHOWN: usize = 100;
/// Rows that a table shows at most; the rest is reached by filters.
const ROWS_MAX: usize = 1_000;

/// What a row is sorted by; nothing comes last whichever way it is sorted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Order {
    /// Largest first at first.
    Number(f64),
    /// A to Z at first.
    Text(String),
    /// No value.
    Nothing,
}

/// Key in the address, title, and what it means, shown on hover.
pub(crate) type Head = (&'static str, &'static str, &'static str);

/// One column of a table of `T`.
pub(crate) struct Column<'a, T> {
    key: &'static str,
    title: &'static str,
    hint: &'static str,
    numeric: bool,
    words: bool,
    order: Box<dyn Fn(&T) -> Order + 'a>,
    show: Box<dyn Fn(&T) -> Markup + 'a>,
}

/// A table of `T`.
pub(crate) struct Table<'a, T> {
    /// What its rows are, plural: `tables`.
    pub what: &'static str,
    /// The key of the column that it is sorted by at first, with `-` before it for the other way around.
    pub sorted: &'static str,
    /// Its columns.
    pub columns: Vec<Column<'a, T>>,
    /// What it says when it has no rows.
    pub empty: Markup,
}

impl<'a, T> Column<'a, T> {
    /// Returns a column of numbers.
    pub(crate) fn number(
        (key, title, hint): Head,
        value: impl Fn(&T) -> Option<f64> + Copy + 'a,
        say: fn(f64) -> String,
    ) -> Column<'a, T> {
        Column {
            key,
            title,
            hint,
            numeric: true,
            words: false,
            order: Box::new(move |row| value(row).map_or(Order::Nothing, Order::Number)),
            show: Box::new(move |row| match value(row) {
                None => super::dash("not seen"),
                Some(number) if number == 0.0 => html! { span .none { (say(number)) } },
                Some(number) => html! { (say(number)) },
            }),
        }
    }

    /// Returns a column of texts.
    pub(crate) fn text(
        (key, title, hint): Head,
        order: impl Fn(&T) -> String + 'a,
        show: impl Fn(&T) -> Markup + 'a,
    ) -> Column<'a, T> {
        Column {
            key,
            title,
            hint,
            numeric: false,
            words: false,
            order: Box::new(move |row| Order::Text(order(row))),
            show: Box::new(show),
        }
    }

    /// Returns a column of shares in percent; `why` says what it means that there is none.
    pub(crate) fn share(
        head: Head,
        value: impl Fn(&T) -> Option<f64> + Copy + 'a,
        why: &'static str,
    ) -> Column<'a, T> {
        let column = Column::number(head, value, super::percent);
        column.shown(move |row| super::or_dash(value(row).map(super::percent), why))
    }

    /// Gives the column room for sentences.
    pub(crate) fn wordy(mut self) -> Column<'a, T> {
        self.words = true;
        self
    }

    /// Shows the column in another way than its value; it sorts as before.
    pub(crate) fn shown(mut self, show: impl Fn(&T) -> Markup + 'a) -> Column<'a, T> {
        self.show = Box::new(show);
        self
    }
}

impl<T> Table<'_, T> {
    /// Draws the rows in the order that the address asks for.
    pub(crate) fn draw(&self, here: &Here<'_>, mut rows: Vec<T>) -> Markup {
        if rows.is_empty() {
            return html! { div .empty { (self.empty) } };
        }
        let (index, turned) = self.chosen(here.visit.parameter("sort"));
        let column = &self.columns[index];
        rows.sort_by_cached_key(|row| Key {
            order: (column.order)(row),
            descending: column.numeric != turned,
        });
        let total = rows.len();
        let shown = shown(here.visit.parameter("show")).min(total);
        html! {
            div .wide tabindex="0" role="region" aria-label=(self.what) {
                table .sortable data-total=(total) {
                    thead { tr { @for (i, column) in self.columns.iter().enumerate() {
                        (heading(here, column, (i == index).then_some(turned)))
                    } } }
                    tbody { @for row in &rows[..shown] {
                        tr { @for column in &self.columns {
                            td .number[column.numeric].words[column.words] data-value=[sortable(&(column.order)(row))] { ((column.show)(row)) }
                        } }
                    } }
                }
            }
            (self.footer(here, shown, total))
        }
    }

    fn footer(&self, here: &Here<'_>, shown: usize, total: usize) -> Markup {
        let next = (shown * 3).min(ROWS_MAX);
        html! {
            p .muted {
                @if shown < total {
                    (words::number(shown as f64)) " of " (words::number(total as f64)) " " (self.what)
                    @if next > shown {
                        " · " a href=(here.with(&[("show", Some(&next.to_string()))])) { "show more" }
                    } @else { " · filter to see others" }
                } @else if total == 1 { "1 row" } @else { (words::number(total as f64)) " " (self.what) }
            }
        }
    }

    /// Returns which column sorts, and whether the other way around than at first.
    fn chosen(&self, asked: Option<&str>) -> (usize, bool) {
        let find = |text: &str| {
            let (turned, key) = match text.strip_prefix('-') {
                Some(key) => (true, key),
                None => (false, text),
            };
            let place = self.columns.iter().position(|column| column.key == key)?;
            Some((place, turned))
        };
        asked
            .and_then(find)
            .or_else(|| find(self.sorted))
            .unwrap_or((0, false))
    }
}

fn shown(asked: Option<&str>) -> usize {
    let asked = asked.and_then(|text| text.parse::<usize>().ok());
    asked.unwrap_or(ROWS_SHOWN).clamp(ROWS_SHOWN, ROWS_MAX)
}

fn heading<T>(here: &Here<'_>, column: &Column<'_, T>, turned: Option<bool>) -> Markup {
    let other = format!("-{}", column.key);
    let next = if turned == Some(false) {
        other.as_str()
    } else {
        column.key
    };
    let sorted = turned.map(|turned| {
        if column.numeric != turned {
            "descending"
        } else {
            "ascending"
        }
    });
    html! {
        th .number[column.numeric] scope="col" aria-sort=[sorted] {
            a href=(here.with(&[("sort", Some(next)), ("show", None)])) title=(column.hint) { (column.title) }
        }
    }
}

/// Returns what a script may sort by.
fn sortable(order: &Order) -> Option<String> {
    match order {
        Order::Number(value) => Some(value.to_string()),
        Order::Text(_) | Order::Nothing => None,
    }
}

#[derive(PartialEq)]
struct Key {
    order: Order,
    descending: bool,
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Key) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Key) -> Ordering {
        let way = |ordering: Ordering| {
            if self.descending {
                ordering.reverse()
            } else {
                ordering
            }
        };
        match (&self.order, &other.order) {
            (Order::Number(a), Order::Number(b)) => way(a.total_cmp(b)),
            (Order::Text(a), Order::Text(b)) => way(a.cmp(b)),
            (Order::Nothing, Order::Nothing) => Ordering::Equal,
            (Order::Nothing, _) => Ordering::Greater,
            (_, Order::Nothing) => Ordering::Less,
            (Order::Number(_), Order::Text(_)) => Ordering::Less,
            (Order::Text(_), Order::Number(_)) => Ordering::Greater,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_comes_last_whichever_way_it_is_sorted() {
        let sorted = |descending| {
            let orders = [Order::Number(1.0), Order::Nothing, Order::Number(2.0)];
            let mut keys: Vec<Key> = orders
                .into_iter()
                .map(|order| Key { order, descending })
                .collect();
            keys.sort();
            keys.into_iter().map(|key| key.order).collect::<Vec<_>>()
        };
        let (one, two) = (Order::Number(1.0), Order::Number(2.0));
        assert_eq!(sorted(true), [two.clone(), one.clone(), Order::Nothing]);
        assert_eq!(sorted(false), [one, two, Order::Nothing]);
    }

    #[test]
    fn the_number_of_rows_is_bounded_whatever_is_asked_for() {
        for (asked, rows) in [
            (None, 100),
            (Some("300"), 300),
            (Some("0"), 100),
            (Some("99999999"), 1_000),
            (Some("-1"), 100),
            (Some("x"), 100),
        ] {
            assert_eq!(shown(asked), rows, "{asked:?}");
        }
    }
}
