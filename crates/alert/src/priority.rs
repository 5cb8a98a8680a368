//! How urgent an alert is: from its level, the class of its check, and what people wait for.

use pawang_core::alert::Priority;
use pawang_core::{Level, Role};

use crate::book::Subject;
use crate::rule::{Class, Rule};

/// Returns how urgent it is.
///
/// A rule's own priority stands as it is. Else a critical finding counts by its class, and anything less is P3; what
/// nobody waits for is one less urgent, and so is the critical finding of a standby.
pub fn priority(level: Level, rule: &Rule, subject: &Subject) -> Priority {
    if let Some(priority) = rule.priority {
        return priority;
    }
    let critical = level == Level::Critical;
    let urgency = match rule.class {
        Class::Hygiene => 3,
        Class::Outage if critical => 0,
        Class::Degraded if critical => 1,
        Class::Outage | Class::Degraded | Class::Load => 2,
    };
    let standby = critical && subject.role == Some(Role::Standby);
    let less = usize::from(standby) + usize::from(!subject.production);
    Priority::ALL[(urgency + less).min(3)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::RuleSet;

    #[test]
    fn urgency_comes_from_level_class_and_role() {
        let rules = RuleSet::default();
        let check = |class, level, production, role, expected: &str| {
            let mut rule = rules.rule("own-check", None, "dwh-1", "");
            (rule.class, rule.priority) = (class, None);
            let subject = Subject {
                production,
                role,
                ..Subject::default()
            };
            let found = priority(level, &rule, &subject);
            assert_eq!(
                found.as_str(),
                expected,
                "{class:?} {level} {production} {role:?}"
            );
            rule.priority = Some(Priority::P2);
            assert_eq!(priority(level, &rule, &subject), Priority::P2);
        };
        let (critical, warning) = (Level::Critical, Level::Warning);
        let (primary, standby) = (Some(Role::Primary), Some(Role::Standby));
        check(Class::Outage, critical, true, primary, "P1");
        check(Class::Outage, critical, true, None, "P1");
        check(Class::Outage, critical, true, standby, "P2");
        check(Class::Outage, critical, false, primary, "P2");
        check(Class::Outage, critical, false, standby, "P3");
        check(Class::Outage, warning, true, primary, "P3");
        check(Class::Outage, warning, true, standby, "P3");
        check(Class::Degraded, critical, true, primary, "P2");
        check(Class::Degraded, critical, false, standby, "P4");
        check(Class::Degraded, warning, false, primary, "P4");
        check(Class::Load, critical, true, primary, "P3");
        check(Class::Load, critical, false, standby, "P4");
        check(Class::Hygiene, critical, true, primary, "P4");
        check(Class::Hygiene, warning, false, standby, "P4");
    }
}
