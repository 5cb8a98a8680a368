//! Addresses: every view has one, and links keep the chosen stretch of time.

use crate::page::Visit;
use crate::words::encode;

/// Parameters that every link carries along.
const CARRIED: [&str; 4] = ["range", "from", "to", "at"];

/// The page that is being drawn, for links to other views of it.
pub(crate) struct Here<'a> {
    /// Who looks at what.
    pub visit: &'a Visit<'a>,
    /// The page's own path, encoded.
    pub path: String,
    /// The parameters that it knows besides the stretch of time; others are not repeated in links.
    pub keeps: &'static [&'static str],
}

impl Here<'_> {
    /// Returns the address of this page with some parameters changed; `None` removes one.
    pub(crate) fn with(&self, changes: &[(&str, Option<&str>)]) -> String {
        let mut pairs: Vec<(&str, &str)> = self.kept().collect();
        pairs.retain(|(key, _)| !changes.iter().any(|(changed, _)| changed == key));
        pairs.extend(
            changes
                .iter()
                .filter_map(|(key, value)| value.map(|value| (*key, value))),
        );
        join(&self.path, &pairs)
    }

    /// Returns the parameters that links of this page repeat, each once.
    pub(crate) fn kept(&self) -> impl Iterator<Item = (&str, &str)> {
        let known = CARRIED.iter().chain(self.keeps);
        known.filter_map(|key| {
            let value = self.visit.parameter(key)?;
            (!value.is_empty()).then_some((*key, value))
        })
    }
}

/// Returns the path of a page of an instance; `page` is empty for its overview.
pub(crate) fn instance_path(name: &str, page: &str) -> String {
    let mut path = format!("/instances/{}", encode(name));
    if !page.is_empty() {
        path.push('/');
        path.push_str(page);
    }
    path
}

/// Returns an address with the stretch of time that the visit shows and more parameters.
pub(crate) fn path(visit: &Visit<'_>, path: &str, pairs: &[(&str, &str)]) -> String {
    let link = visit.link(path);
    let more = join("", pairs);
    match more.strip_prefix('?') {
        Some(more) if link.contains('?') => format!("{link}&{more}"),
        _ => format!("{link}{more}"),
    }
}

fn join(path: &str, pairs: &[(&str, &str)]) -> String {
    let mut address = path.to_owned();
    for (index, (key, value)) in pairs.iter().enumerate() {
        address.push(if index == 0 { '?' } else { '&' });
        address.push_str(&encode(key));
        address.push('=');
        address.push_str(&encode(value));
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_kind_stay_one_part_of_the_address() {
        for (name, address) in [
            ("dwh-1", "/instances/dwh-1/tables"),
            ("a/../b", "/instances/a%2F..%2Fb/tables"),
            ("host:5432", "/instances/host:5432/tables"),
            ("\"><script>", "/instances/%22%3E%3Cscript%3E/tables"),
            ("é", "/instances/%C3%A9/tables"),
        ] {
            assert_eq!(instance_path(name, "tables"), address);
        }
        assert_eq!(
            join("/a", &[("q", "x y&z=1"), ("b", "")]),
            "/a?q=x%20y%26z%3D1&b="
        );
    }
}
