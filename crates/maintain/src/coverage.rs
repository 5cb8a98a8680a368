//! What a policy names and nothing matches: told, never passed over.

use pawang_core::plan::Left;
use pawang_core::{Facts, Missing};

use crate::Policy;
use crate::scope::{Findings, relation};

/// Adds every pattern of the policy that no database or table matches.
pub(crate) fn unmatched(facts: &Facts, policy: &Policy, found: &mut Findings) {
    let left = |object: String, why: String| Left {
        database: String::new(),
        object,
        why,
        blind: false,
    };
    let whose = if policy.name.is_empty() {
        "the policy".to_owned()
    } else {
        format!("policy \"{}\"", policy.name)
    };
    let covered: Vec<&str> = facts.databases.iter().map(String::as_str).collect();
    let covered: Vec<&str> = covered
        .into_iter()
        .filter(|name| policy.covers(name))
        .collect();
    if covered.is_empty() && !policy.databases.is_empty() {
        let patterns = policy.databases.join("\", \"");
        let why = format!("no database matches \"{patterns}\": {whose} does nothing here");
        found.left.push(left(whose, why));
        return;
    }
    let tables = covered
        .iter()
        .map(|name| (*name, facts.snapshot("tables", Some(name))));
    let tables: Vec<_> = tables.collect();
    // What cannot be seen may well match.
    if tables
        .iter()
        .any(|(_, seen)| matches!(seen, Err(Missing::Blind(_))))
    {
        return;
    }
    for rule in &policy.rules {
        let matched = tables.iter().any(|(database, seen)| {
            let Ok(seen) = seen else { return false };
            let mut rows = seen.rows().filter(|row| row.text("toast_of").is_none());
            rule.covers_database(database)
                && rows.any(|row| rule.covers(database, &relation(&row).to_string()))
        });
        if !matched {
            let pattern = &rule.config.pattern;
            let why = format!(
                "maintenance.rule[{}] matches no table of at least 64 pages or 1,000 rows here",
                rule.index
            );
            found.left.push(left(format!("rule \"{pattern}\""), why));
        }
    }
}

#[cfg(test)]
mod tests {
    use pawang_config::MaintenanceConfig;

    use super::*;
    use crate::fixture::World;

    #[test]
    fn a_pattern_that_matches_nothing_is_told() {
        let config = "[maintenance.policy.a]\ndatabases = ['sales']\n[maintenance.policy.b]\ndatabases = ['x*']\n\
            [[maintenance.rule]]\nmatch = 'dw.*'\n[[maintenance.rule]]\nmatch = 'public.t'\n";
        let config: MaintenanceConfig = pawang_config::parse(config, "t").unwrap().maintenance;
        let mut world = World::new(15);
        world.table("public.t", &[]);
        for (name, expected) in [("a", "rule \"dw.*\""), ("b", "policy \"b\"")] {
            let mut found = Findings::default();
            let policy = Policy::named(name, &config).unwrap();
            unmatched(&world.facts(), &policy, &mut found);
            let told: Vec<&str> = found.left.iter().map(|left| left.object.as_str()).collect();
            assert_eq!(told, [expected]);
        }
    }
}
