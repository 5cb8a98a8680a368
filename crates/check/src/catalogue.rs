//! All checks, in the order of the catalogue.

use std::sync::LazyLock;

use crate::{
    Check, availability, backup, connections, down, host, io, locks, logs, patroni, pgbouncer,
    replication, schema, security, statements, timescaledb, transactions, vacuum, wal, warehouse,
};

/// All checks, in the order of the catalogue: groups as a DBA looks, checks in reading order.
pub static CHECKS: LazyLock<Vec<&'static Check<'static>>> = LazyLock::new(|| {
    let subjects: [&'static [Check<'static>]; 19] = [
        availability::CHECKS,
        down::CHECKS,
        connections::CHECKS,
        transactions::CHECKS,
        locks::CHECKS,
        logs::CHECKS,
        vacuum::CHECKS,
        schema::CHECKS,
        wal::CHECKS,
        replication::CHECKS,
        io::CHECKS,
        statements::CHECKS,
        security::CHECKS,
        backup::CHECKS,
        host::CHECKS,
        pgbouncer::CHECKS,
        patroni::CHECKS,
        timescaledb::CHECKS,
        warehouse::CHECKS,
    ];
    subjects.into_iter().flatten().collect()
});

/// Returns the check of that id.
pub fn find(id: &str) -> Option<&'static Check<'static>> {
    CHECKS.iter().copied().find(|check| check.id == id)
}

/// Returns the checks of a group by its name; none when there is no such group.
pub fn of_group(name: &str) -> Vec<&'static Check<'static>> {
    let all = CHECKS.iter().copied();
    all.filter(|check| check.group.name() == name).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::Direction;

    #[test]
    fn ids_are_unique_kebab_case_and_texts_are_whole() {
        let mut seen = BTreeSet::new();
        for check in CHECKS.iter() {
            assert!(seen.insert(check.id), "{} twice", check.id);
            assert!(
                check
                    .id
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                "{}",
                check.id
            );
            assert!(check.title.len() > 3, "{}: a title is missing", check.id);
            for text in [check.what, check.why, check.fix] {
                assert!(text.len() > 8, "{}: a text is missing", check.id);
            }
            assert!(!check.needs.is_empty(), "{}: reads nothing", check.id);
        }
    }

    #[test]
    fn limits_are_in_order() {
        for check in CHECKS.iter() {
            if let (Some(warning), Some(critical)) = (check.warning, check.critical) {
                let ordered = if check.direction == Direction::Above {
                    warning <= critical
                } else {
                    warning >= critical
                };
                assert!(ordered, "{}", check.id);
            }
        }
    }

    #[test]
    fn texts_name_only_checks_and_groups_that_exist() {
        for check in CHECKS.iter() {
            for text in [check.what, check.why, check.fix] {
                let commands = text.split("pawang check ").skip(1);
                for name in commands.filter_map(|rest| rest.split([' ', ',', ';', ')', '.']).next())
                {
                    let exists = find(name).is_some() || !of_group(name).is_empty();
                    assert!(
                        exists || name.starts_with('-'),
                        "{}: pawang check {name}",
                        check.id
                    );
                }
            }
        }
    }
}
