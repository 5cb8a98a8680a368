//! What is wrong with a plan: rules as data, each with a pure function.
//!
//! A rule that needs actual numbers says nothing of a plan without ANALYZE, and floors keep small plans silent.

mod conditions;
mod estimates;
mod joins;
mod memory;
mod parallel;
mod scans;
mod statement;
mod view;

use std::sync::LazyLock;

use pawang_core::Level;

use self::view::View;
use super::node::Plan;
use crate::report::PlanFinding;

/// Most findings of one rule in one plan; partitions make many alike.
const MAX_FINDINGS: usize = 3;

/// A rule: what it looks for, why that matters and what helps.
#[derive(Debug)]
pub struct Rule {
    /// Kebab-case name that never changes.
    pub id: &'static str,
    /// How much a finding of it matters.
    pub level: Level,
    /// What it looks for, in one sentence.
    pub what: &'static str,
    /// Why that is slow.
    pub why: &'static str,
    /// What to do.
    pub fix: &'static str,
    /// Its limits; what is below any of the floors is silent.
    pub thresholds: &'static [Threshold],
    /// It needs the actual numbers of ANALYZE.
    pub analyze: bool,
    look: fn(&View<'_>, &mut Found<'_>),
}

/// A limit of a rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// What it limits.
    pub name: &'static str,
    /// The number.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
}

const fn at_least(name: &'static str, value: f64, unit: &'static str) -> Threshold {
    Threshold { name, value, unit }
}

/// The findings of one rule.
struct Found<'a> {
    rule: &'static Rule,
    findings: &'a mut Vec<(f64, PlanFinding)>,
}

impl Found<'_> {
    /// Adds a finding; `weight` ranks the findings of one rule, most first.
    fn add(&mut self, weight: f64, node: String, title: String, remedy: String) {
        let finding = PlanFinding {
            rule: self.rule.id.to_owned(),
            level: self.rule.level,
            node,
            title,
            remedy,
        };
        self.findings.push((weight, finding));
    }
}

/// Returns all rules, in reading order.
pub fn rules() -> &'static [Rule] {
    static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
        let parts = [
            estimates::rules(),
            memory::rules(),
            scans::rules(),
            joins::rules(),
            conditions::rules(),
            parallel::rules(),
            statement::rules(),
        ];
        parts.into_iter().flatten().collect()
    });
    &RULES
}

/// Returns what is wrong with a plan, the worst level first, and of a rule what weighs most first.
pub fn review(plan: &Plan) -> Vec<PlanFinding> {
    let view = View::of(plan);
    let mut all: Vec<PlanFinding> = Vec::new();
    for rule in rules() {
        if rule.analyze && !plan.analyzed() {
            continue;
        }
        let mut findings = Vec::new();
        (rule.look)(
            &view,
            &mut Found {
                rule,
                findings: &mut findings,
            },
        );
        findings.sort_by(|a, b| b.0.total_cmp(&a.0));
        all.extend(
            findings
                .into_iter()
                .take(MAX_FINDINGS)
                .map(|(_, finding)| finding),
        );
    }
    all.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    all
}
