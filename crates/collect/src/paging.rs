//! All relations instead of the largest: one statement per page of relations, so that none runs long.

use std::collections::HashSet;

use pawang_core::Value;

use crate::Paging;

/// Relations of one page.
pub(crate) const RELATIONS_PER_PAGE: u32 = 5_000;
/// Pages of one database; the facts say when there are more.
pub(crate) const PAGES_MAX: u32 = 40;

/// Which relations one statement returns.
pub(crate) struct Page {
    relations: u32,
    pages_min: u32,
    below_pages: i64,
    below_oid: i64,
}

impl Page {
    /// Returns the page of the largest relations, for those who want no others.
    pub(crate) fn largest(paging: &Paging) -> Page {
        Page {
            relations: paging.relations,
            ..Page::first(paging.pages_min)
        }
    }

    /// Returns the first of all pages.
    pub(crate) fn first(pages_min: u32) -> Page {
        Page {
            relations: RELATIONS_PER_PAGE,
            pages_min,
            below_pages: i64::from(i32::MAX),
            below_oid: i64::from(u32::MAX),
        }
    }

    /// Returns the page after the one that ends with a relation of so many pages and this oid.
    pub(crate) fn after(self, relpages: i64, oid: i64) -> Page {
        Page {
            below_pages: relpages,
            below_oid: oid,
            ..self
        }
    }

    /// Puts the page into a statement.
    pub(crate) fn fill(&self, sql: &str) -> String {
        sql.replace("{relations}", &self.relations.to_string())
            .replace("{pages_min}", &self.pages_min.to_string())
            .replace("{below_pages}", &self.below_pages.to_string())
            .replace("{below_oid}", &self.below_oid.to_string())
    }
}

/// Keeps the rows of relations that no earlier page had: one may shrink between two pages. Returns how many relations
/// the page has.
pub(crate) fn keep_new(rows: &mut Vec<Vec<Value>>, key: usize, seen: &mut HashSet<i64>) -> u32 {
    let mut here = HashSet::new();
    rows.retain(|row| {
        let oid = row[key].as_int().unwrap_or(0);
        here.insert(oid);
        !seen.contains(&oid)
    });
    let count = u32::try_from(here.len()).unwrap_or(u32::MAX);
    seen.extend(here);
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_of_an_earlier_page_are_dropped_and_counted() {
        let mut seen = HashSet::from([7]);
        let mut rows = [7, 7, 5, 5, 4].map(|oid| vec![Value::Int(oid)]).to_vec();
        assert_eq!(keep_new(&mut rows, 0, &mut seen), 3);
        assert_eq!(rows.len(), 3);
        assert!(seen.contains(&4));
    }
}
