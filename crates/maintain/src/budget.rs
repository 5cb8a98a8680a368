//! How much of a plan fits into one run.

use std::time::Duration;

use pawang_core::ByteSize;
use pawang_core::plan::{Left, Proposal};

use crate::Policy;
use crate::scope::Want;

/// Keeps what fits into the budget, in order; the rest is left for the next run.
///
/// A later, smaller action may fit where an earlier one did not. What nobody can estimate is not counted: the window and
/// the governor end it.
pub(crate) fn fit(wants: Vec<Want>, policy: &Policy, left: &mut Vec<Left>) -> Vec<Proposal> {
    // Lanes work side by side.
    let time = policy
        .duration
        .map(|duration| duration.saturating_mul(policy.lanes.max(1)));
    let mut spent = (Duration::ZERO, ByteSize(0));
    let mut kept = Vec::new();
    for Want { proposal, .. } in wants {
        let next = (
            spent
                .0
                .saturating_add(proposal.cost.duration.unwrap_or_default()),
            ByteSize(
                spent
                    .1
                    .0
                    .saturating_add(proposal.cost.wal.unwrap_or_default().0),
            ),
        );
        let why = match (time, policy.wal) {
            (Some(limit), _) if next.0 > limit => Some(format!(
                "it does not fit: {} min in {} lanes are planned already, and it takes about {} min more",
                spent.0.as_secs() / 60,
                policy.lanes,
                proposal
                    .cost
                    .duration
                    .unwrap_or_default()
                    .as_secs()
                    .div_ceil(60)
            )),
            (_, Some(limit)) if next.1 > limit => Some(format!(
                "it does not fit: {} of {limit} WAL are planned already, and it writes up to {} more",
                spent.1,
                proposal.cost.wal.unwrap_or_default()
            )),
            _ => None,
        };
        match why {
            Some(why) => left.push(Left {
                object: proposal.task.object(),
                why: format!("{why}; wanted because {}", proposal.reason),
                database: proposal.database,
                blind: false,
            }),
            None => {
                spent = next;
                kept.push(proposal);
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use pawang_config::Area;
    use pawang_core::plan::{Cost, Relation, Task};

    use super::*;

    #[test]
    fn what_does_not_fit_is_left_and_smaller_work_takes_its_place() {
        let want = |name: &str, minutes: u64, wal: u64| Want {
            area: Area::Vacuum,
            urgency: 1.0,
            proposal: Proposal {
                database: "sales".to_owned(),
                task: Task::DropTable {
                    table: Relation {
                        oid: 1,
                        schema: "s".to_owned(),
                        name: name.to_owned(),
                    },
                },
                reason: "it is due".to_owned(),
                evidence: Vec::new(),
                cost: Cost {
                    duration: Some(Duration::from_secs(minutes * 60)),
                    wal: Some(ByteSize(wal << 20)),
                    ..Cost::default()
                },
            },
        };
        let policy = Policy {
            duration: Some(Duration::from_secs(60 * 60)),
            wal: Some(ByteSize(100 << 20)),
            lanes: 1,
            ..Policy::default()
        };
        let mut left = Vec::new();
        let wants = vec![
            want("a", 50, 10),
            want("b", 20, 10),
            want("c", 10, 95),
            want("d", 10, 90),
        ];
        let kept = fit(wants, &policy, &mut left);
        let names = |proposals: &[Proposal]| -> Vec<String> {
            proposals.iter().map(|p| p.task.object()).collect()
        };
        assert_eq!(names(&kept), ["s.a", "s.d"]);
        let objects: Vec<&str> = left.iter().map(|left| left.object.as_str()).collect();
        assert_eq!(objects, ["s.b", "s.c"]);
    }
}
