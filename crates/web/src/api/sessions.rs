//! Who waits for whom, and plans that cancel or terminate sessions: the same as on the Activity page.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use pawang_check::forest;
use pawang_core::plan::{Outcome, Plan};
use pawang_core::{Missing, Row, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

use super::estate::Unseen;
use super::reply;
use crate::order;
use crate::page::parts::shown;
use crate::problem::Problem;
use crate::routes::{Look, Reply};
use crate::server::Call;
use crate::site::{Applied, Planned};

/// Who waits for whom.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct LockTree {
    /// When it was seen; absent when nothing was.
    at: Option<Timestamp>,
    /// Root blockers, each before those that wait for it.
    branches: Vec<LockBranch>,
    /// Why nothing was seen.
    blind: Option<Unseen>,
}

/// One session of the lock tree; those that wait for it follow, one level deeper.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct LockBranch {
    /// 0 for root blockers: they wait for nobody.
    depth: usize,
    /// The process; 0 stands for prepared transactions.
    pid: i64,
    /// How many sessions cannot go on before this one does.
    victims: usize,
    /// Whether it waits for one of those that wait for it.
    circle: bool,
    /// The role that connected.
    user: Option<String>,
    /// The database.
    database: Option<String>,
    /// `application_name`.
    application: Option<String>,
    /// What it does.
    state: Option<String>,
    /// The mode of the lock that it waits for.
    mode: Option<String>,
    /// The relation that it waits for.
    relation: Option<String>,
    /// How long it has waited.
    wait_seconds: Option<f64>,
    /// Its statement, or the last one.
    statement: Option<String>,
}

/// A plan that waits for agreement.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct SessionPlan {
    /// The hash by which it is applied, once, within ten minutes.
    hash: String,
    /// Whether `name` must be the name of the instance when it is applied.
    production: bool,
    /// The plan.
    #[schemars(with = "serde_json::Value")]
    plan: Plan,
}

/// What came of a plan.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct SessionsFreed {
    /// Whether everything was done; what was not is told in the outcome.
    done: bool,
    /// How many sessions waited before.
    waited: usize,
    /// How many of them wait still.
    waiting: usize,
    /// What became of each action.
    #[schemars(with = "serde_json::Value")]
    outcome: Outcome,
}

/// Answers with the lock tree.
pub(crate) fn lock_tree(look: &Look<'_>) -> Result<Reply, Problem> {
    let name = look.arguments.get("name");
    let present = look.visit.site.live.instance(name);
    let present = present.ok_or_else(|| Problem::not_found(&format!("instance \"{name}\"")))?;
    let (at, branches, blind) = match present.facts.snapshot("blocking", None) {
        Ok(snapshot) => {
            let branches = forest(snapshot).into_iter().map(|branch| {
                let row = branch.row;
                let text = |column| row.and_then(|row: Row<'_>| Some(row.text(column)?.to_owned()));
                LockBranch {
                    depth: branch.depth,
                    pid: branch.process,
                    victims: branch.victims,
                    circle: branch.circle,
                    user: text("usename"),
                    database: text("datname"),
                    application: text("application_name"),
                    state: text("state"),
                    mode: text("mode"),
                    relation: text("relation"),
                    wait_seconds: row.and_then(|row| row.float("wait_seconds")),
                    statement: text("query").map(|query| shown(&look.visit, &query)),
                }
            });
            (Some(snapshot.at), branches.collect(), None)
        }
        Err(Missing::Blind(blind)) => (None, Vec::new(), Some(Unseen::from(&blind))),
        Err(Missing::NotApplicable(_)) => (None, Vec::new(), None),
    };
    reply(&LockTree {
        at,
        branches,
        blind,
    })
}

/// Makes a plan; nothing is changed.
pub(crate) async fn plan_sessions(call: Arc<Call>) -> Result<Response<Body>, Problem> {
    let Planned {
        plan,
        hash,
        production,
    } = order::sessions::planned(&call).await?;
    let answer = SessionPlan {
        hash,
        production,
        plan,
    };
    Ok(json(&call, &answer))
}

/// Carries out a plan that was made before.
pub(crate) async fn apply_sessions(call: Arc<Call>) -> Result<Response<Body>, Problem> {
    let Applied {
        outcome,
        waited,
        waiting,
        ..
    } = order::sessions::applied(&call).await?;
    let answer = SessionsFreed {
        done: outcome.good(),
        waited,
        waiting,
        outcome,
    };
    Ok(json(&call, &answer))
}

fn json<T: Serialize>(call: &Call, answer: &T) -> Response<Body> {
    let body =
        serde_json::to_vec(answer).expect("plans and outcomes are texts, numbers and instants");
    call.body(StatusCode::OK, "application/json", body)
}
