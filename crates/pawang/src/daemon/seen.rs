//! What is known of an instance, as it goes over the socket to a terminal dashboard.

use std::collections::BTreeMap;
use std::sync::Arc;

use pawang_core::{Evaluation, Facts, Snapshot, Timestamp};
use pawang_store::live::{BudgetStatus, Present};
use serde::{Deserialize, Serialize};

/// The parts of a present that a terminal shows.
#[derive(Serialize, Deserialize)]
pub(crate) struct Seen {
    facts: Arc<Facts>,
    evaluation: Option<Arc<Evaluation>>,
    since: Arc<BTreeMap<String, Timestamp>>,
    activity: Vec<Arc<Snapshot>>,
    answered_at: Option<Timestamp>,
}

impl Seen {
    /// Takes what a terminal shows.
    pub(super) fn of(present: &Present) -> Seen {
        Seen {
            facts: Arc::clone(&present.facts),
            evaluation: present.evaluation.clone(),
            since: Arc::clone(&present.since),
            activity: present.activity.to_vec(),
            answered_at: present.answered_at,
        }
    }

    /// Returns it as a present again; what no terminal shows is empty.
    pub(crate) fn present(self) -> Present {
        Present {
            instance: self.facts.instance.clone(),
            labels: BTreeMap::new(),
            facts: self.facts,
            evaluation: self.evaluation,
            since: self.since,
            collectors: Arc::new([]),
            budget: BudgetStatus::default(),
            activity: self.activity.into(),
            answered_at: self.answered_at,
        }
    }
}
