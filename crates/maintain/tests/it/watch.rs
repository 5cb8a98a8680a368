//! Looks at a cluster as `pawang maintain plan` does: as the role `monitor`.

use std::collections::BTreeSet;

use pawang_collect::{Catalog, HostRequest, Request, observe};
use pawang_core::plan::Left;
use pawang_core::{Facts, Instance, Timestamp};
use pawang_maintain::{Area, Areas, Planned, Policy, plan};
use pawang_postgres::{Environment, Target};
use pawang_testbed::{Cluster, Setup, Version, until};

/// Autovacuum is on, but comes only once a day: tests decide when vacuum runs.
pub(crate) const PATIENT: (&str, &str) = ("autovacuum_naptime", "86400");

/// Starts a server whose autovacuum leaves the work to us.
pub(crate) async fn patient(version: Option<Version>, more: &[(&str, &str)]) -> Cluster {
    let mut settings = vec![PATIENT];
    settings.extend_from_slice(more);
    Cluster::start(&Setup {
        version,
        settings: &settings,
        ..Setup::default()
    })
    .await
}

/// A cluster whose maintenance is planned.
pub(crate) struct Watch {
    target: Target,
    pub(crate) policy: Policy,
}

impl Watch {
    pub(crate) async fn start(cluster: &Cluster) -> Watch {
        let user = cluster.monitor().await;
        cluster
            .sql("postgres", "GRANT pg_read_all_data TO monitor")
            .await;
        let url = cluster.url_as(&user, "postgres");
        Watch {
            target: Target::parse(&url, &Environment::default()).unwrap(),
            policy: Policy::default(),
        }
    }

    pub(crate) async fn facts(&self, areas: &Areas) -> Facts {
        let catalog = Catalog::built_in();
        let collectors: BTreeSet<String> = areas.collectors();
        let instance = Instance {
            name: "test".to_owned(),
            ..Instance::default()
        };
        observe(&Request {
            instance: &instance,
            target: &self.target,
            purpose: "test",
            catalog: &catalog,
            collectors: &collectors,
            questions: &[],
            databases: &["postgres".to_owned()],
            pgbouncer: None,
            patroni: None,
            host: HostRequest::default(),
            backups: &[],
            now: now(),
        })
        .await
    }

    pub(crate) async fn plan(&self, areas: &[Area]) -> Planned {
        let areas: Areas = areas.iter().copied().collect();
        let facts = self.facts(&areas).await;
        plan(&areas, &facts, None, &self.policy, facts.at)
    }

    /// Asserts that there is nothing to do and that everything could be seen.
    pub(crate) async fn healthy(&self, areas: &[Area]) {
        let planned = self.plan(areas).await;
        assert_eq!(planned.proposals, [], "{:#?}", planned.left);
        let blind: Vec<&Left> = planned.left.iter().filter(|left| left.blind).collect();
        assert!(blind.is_empty(), "{blind:#?}");
    }

    /// Asserts that exactly these tasks are proposed, and returns what was planned.
    pub(crate) async fn proposed(&self, areas: &[Area], expected: &[(&str, &str)]) -> Planned {
        let planned = self.plan(areas).await;
        let tasks = planned
            .proposals
            .iter()
            .map(|p| (p.task.name(), p.task.object()));
        let expected = expected
            .iter()
            .map(|(name, object)| (*name, (*object).to_owned()));
        assert_eq!(
            tasks.collect::<Vec<_>>(),
            expected.collect::<Vec<_>>(),
            "{planned:#?}"
        );
        planned
    }
}

#[expect(clippy::disallowed_methods, reason = "a test is an edge")]
fn now() -> Timestamp {
    std::time::SystemTime::now().try_into().unwrap()
}

/// Waits until a condition holds: statistics arrive a little after the transaction that caused them.
pub(crate) async fn holds(cluster: &Cluster, condition: &str) {
    until(condition, || async {
        let rows = cluster
            .sql("postgres", &format!("SELECT {condition}"))
            .await;
        rows[0][0].as_deref() == Some("t")
    })
    .await;
}
