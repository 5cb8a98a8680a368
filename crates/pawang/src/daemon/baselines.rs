//! Reads what is usual at each hour of the week out of the history, now and then, for the checks whose rules ask for it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use pawang_alert::baseline::{Baseline, Learner};
use pawang_alert::book::Event;
use pawang_alert::setup::Setup;
use pawang_core::{Timestamp, Verdict};
use pawang_store::history::{Fold, Reader, Rows, SeriesQuery, Span};
use pawang_store::live::Present;
use tokio::sync::watch;

use super::judge::{MEASURES, apart};
use super::shared::Shared;

/// What is usual changes slowly.
const EVERY: Duration = Duration::from_secs(3_600);
/// The first reading waits until every instance was judged.
const FIRST_AFTER: Duration = Duration::from_secs(90);
/// The past that counts: older habits are no habits any more.
const WEEKS: Duration = Duration::from_secs(6 * 7 * 86_400);
const HOUR: Duration = Duration::from_secs(3_600);
/// Objects of one check whose past is read.
const OBJECTS_MAX: usize = 50;

/// Reads what is usual on every instance, until it is dropped.
pub(super) async fn run(shared: Arc<Shared>, setup: watch::Receiver<Arc<Setup>>) {
    tokio::time::sleep(FIRST_AFTER).await;
    loop {
        for present in shared.live.instances() {
            let setup = Arc::clone(&setup.borrow());
            let name = present.instance.name.clone();
            match learn(&shared, setup, present).await {
                Ok(Some(baseline)) => {
                    let baseline = Arc::new(baseline);
                    let event = Event::Baseline {
                        instance: name,
                        baseline,
                    };
                    shared.alerting.event(event).await;
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(instance = name, "what is usual cannot be read: {error}");
                }
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn learn(
    shared: &Shared,
    setup: Arc<Setup>,
    present: Arc<Present>,
) -> Result<Option<Baseline>, String> {
    let (Some(store), Some(evaluation)) = (shared.store.clone(), present.evaluation.clone()) else {
        return Ok(None);
    };
    let now = (shared.now)();
    let work = move || {
        let instance = &present.instance;
        let asked = evaluation.verdicts.iter().filter(|verdict| {
            let group = instance.group.as_deref();
            let rule = setup.rules.rule(&verdict.check, group, &instance.name, "");
            rule.deviations.is_some()
        });
        let reader = store.reader().map_err(|error| error.to_string())?;
        let mut learner = Learner::default();
        for verdict in asked {
            let databases = &present.facts.databases;
            read(
                &reader,
                &instance.name,
                verdict,
                databases,
                now,
                &mut learner,
            )
            .map_err(|error| error.to_string())?;
        }
        Ok(Some(learner.finish()))
    };
    let learnt = tokio::task::spawn_blocking(work).await;
    learnt.map_err(|error| error.to_string())?
}

/// Learns the past of the objects that a check measures now.
fn read(
    reader: &Reader,
    instance: &str,
    verdict: &Verdict,
    databases: &[String],
    now: Timestamp,
    learner: &mut Learner,
) -> Result<(), pawang_store::Error> {
    let objects: BTreeSet<&str> = verdict
        .measures
        .iter()
        .take(OBJECTS_MAX)
        .map(|measure| measure.object.as_str())
        .collect();
    for object in objects {
        let mut rows = vec![vec![
            verdict.check.clone(),
            String::new(),
            object.to_owned(),
        ]];
        let (database, rest) = apart(object, databases);
        if !database.is_empty() {
            rows.push(vec![
                verdict.check.clone(),
                database.to_owned(),
                rest.to_owned(),
            ]);
        }
        let found = reader.series(&SeriesQuery {
            instance,
            collector: MEASURES,
            database: None,
            columns: &["value"],
            rows: Rows::Only(&rows),
            fold: Fold::Each,
            span: Span {
                from: now - WEEKS,
                to: now,
            },
            step: Some(HOUR),
        })?;
        let points = found.iter().flat_map(|series| &series.points);
        for point in points {
            if let Some(reading) = point.reading {
                // A step ends at the hour that it does not belong to.
                learner.add(&verdict.check, object, point.at - HOUR / 2, reading.mean);
            }
        }
    }
    Ok(())
}
