//! Names of other monitoring plugins that are accepted in place of ours, as data in `data/aliases.toml`.

use std::collections::BTreeMap;

/// Plugin to its name to our checks.
pub(crate) type Aliases = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// Returns all aliases.
pub(crate) fn all() -> Aliases {
    toml::from_str(include_str!("../data/aliases.toml"))
        .unwrap_or_else(|error| unreachable!("aliases.toml: {error}"))
}

/// Returns the checks behind a name of another plugin; `-` and `_` are the same.
pub(crate) fn checks(name: &str) -> Option<Vec<String>> {
    let name = name.replace('-', "_");
    all().values().find_map(|names| names.get(&name).cloned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alias_names_checks_that_exist() {
        for (plugin, names) in all() {
            for (name, checks) in names {
                assert!(!checks.is_empty(), "{plugin} {name}");
                for check in checks {
                    assert!(
                        pawang_check::find(&check).is_some(),
                        "{plugin} {name}: there is no check {check}"
                    );
                }
            }
        }
    }
}
