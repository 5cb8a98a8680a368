//! One action: is it still what was agreed to, do it, prove it, write it down.

use std::time::Duration;

use pawang_core::plan::{Action, Done, Impact, RewriteMethod, Risk, State, Task};
use pawang_postgres::Writer;
use tokio::time::{Instant, sleep};

use super::guard::Guard;
use super::record::Doer;
use super::{Effects, Run};
use crate::journal::Intent;
use crate::look;
use crate::task::{self, Facts, Proof};

/// How long a proof may take to come true: servers before 15 tell statistics late, and an ended session takes a while.
const PROOF_PATIENCE: Duration = Duration::from_secs(5);
const PROOF_INTERVAL: Duration = Duration::from_millis(100);

/// Why an action ended early.
struct Early {
    state: State,
    detail: String,
    hint: Option<String>,
}

impl Early {
    fn new(state: State, detail: impl Into<String>) -> Early {
        Early {
            state,
            detail: detail.into(),
            hint: None,
        }
    }

    fn of_server(error: &pawang_postgres::Error) -> Early {
        let (state, detail, hint) = match error {
            pawang_postgres::Error::Undefined { message, .. } => (
                State::Stale,
                format!("it is gone or changed: {message}"),
                None,
            ),
            error => (State::Failed, error.line(), error.report().hint),
        };
        Early {
            state,
            detail,
            hint,
        }
    }
}

impl Run<'_> {
    /// Does one action and writes down what became of it.
    pub(super) async fn act(&self, at: usize, kept: &mut Option<(String, Writer)>) -> Done {
        let action = &self.plan.actions[at];
        let now = (self.how.clock)();
        let mut done = Done {
            id: action.id.clone(),
            state: State::Done,
            detail: String::new(),
            hint: None,
            started_at: now,
            ended_at: now,
            tries: 0,
            before: Facts::new(),
            after: Facts::new(),
            impact: Impact::default(),
        };
        let mut intent = None;
        let mut open = false;
        let early = match self.allowed(at) {
            Err(early) => Err(early),
            Ok(()) => match &action.task {
                Task::DeleteFile { .. } => self.delete(action, &mut done, &mut intent),
                _ => {
                    self.change(action, kept, &mut done, &mut intent, &mut open)
                        .await
                }
            },
        };
        if let Err(early) = early {
            done.state = early.state;
            done.detail = early.detail;
            done.hint = early.hint;
        }
        done.ended_at = (self.how.clock)();
        // Without an end in the journal the next run looks what became of it.
        if !open && let Err(error) = self.record.end(action, intent.as_ref(), &done) {
            done.detail = format!("{}; {error}", done.detail);
            tracing::error!("{}", error.report());
        }
        done
    }

    /// Refuses what must not even be looked at.
    fn allowed(&self, at: usize) -> Result<(), Early> {
        let action = &self.plan.actions[at];
        if action.risk == Risk::High && !self.how.allow_high_risk {
            let mut early = Early::new(State::Refused, "its risk is high, and nobody confirmed it");
            early.hint = Some("confirm it, or allow it by name in the policy".to_owned());
            return Err(early);
        }
        let queue = self.queue();
        for (before, earlier) in self.plan.actions[..at].iter().enumerate() {
            let good = queue.done[before]
                .as_ref()
                .is_none_or(|done| done.state.good());
            if !good
                && earlier.database == action.database
                && task::needs(&action.task, &earlier.task)
            {
                let why = format!("\"{}\" was not done, and it needs that", earlier.id);
                return Err(Early::new(State::Skipped, why));
            }
        }
        Ok(())
    }

    fn delete(
        &self,
        action: &Action,
        done: &mut Done,
        intent: &mut Option<Intent>,
    ) -> Result<(), Early> {
        let Task::DeleteFile {
            path,
            size,
            modified_at,
        } = &action.task
        else {
            unreachable!("only files come here");
        };
        if let crate::monitor::Order::End(why) = self.monitor.order() {
            return Err(Early::new(State::Skipped, why));
        }
        let facts = task::describe(path).ok().flatten();
        if facts.is_none() {
            return Err(Early::new(State::Needless, "the file is gone already"));
        }
        if facts.as_ref() != Some(&action.expected) {
            return Err(Early::new(
                State::Stale,
                "the file changed after the plan was made",
            ));
        }
        if self.how.effects == Effects::Dry {
            return Err(Early::new(State::DryRun, ""));
        }
        *intent = Some(self.begin(action, None, &done.before, Vec::new())?);
        done.tries = 1;
        task::delete(path, *size, *modified_at).map_err(|why| Early::new(State::Failed, why))
    }

    async fn change(
        &self,
        action: &Action,
        kept: &mut Option<(String, Writer)>,
        done: &mut Done,
        intent: &mut Option<Intent>,
        open: &mut bool,
    ) -> Result<(), Early> {
        if let crate::monitor::Order::End(why) = self.monitor.order() {
            return Err(Early::new(State::Skipped, why));
        }
        let writer = self.writer(&action.database, &action.id, kept).await;
        let writer = writer.map_err(|error| Early::of_server(&error))?;
        done.before = self.still_so(action, writer).await?;
        let unseen = self.monitor.unseen();
        if !unseen.is_empty() && action.cost.disk.is_some() {
            done.before.insert("unseen".to_owned(), unseen.join(", "));
        }
        let guard = Guard {
            how: self.how,
            monitor: self.monitor,
            writer,
            action,
        };
        if self.how.effects == Effects::Dry {
            guard
                .permit()
                .await
                .map_err(|why| Early::new(State::Skipped, why))?;
            return Err(Early::new(State::DryRun, "nothing was changed"));
        }
        let indexes = indexes(writer, &action.task).await;
        let indexes = indexes.map_err(|error| Early::of_server(&error))?;
        let settings = task::session_settings(&action.task);
        for (name, value) in &settings {
            let set = writer.set(name, value).await;
            set.map_err(|error| Early::of_server(&error))?;
        }
        // Waiting happens before the intent, so that nothing is open that was never begun.
        guard
            .permit()
            .await
            .map_err(|why| Early::new(State::Skipped, why))?;
        *intent = Some(self.begin(action, Some(writer), &done.before, indexes.clone())?);
        let guarded = match &action.task {
            Task::Rewrite {
                table,
                method: RewriteMethod::PgRepack,
            } => self.repack(table, action, writer).await,
            _ => guard.run(&indexes).await,
        };
        done.tries = guarded.tries;
        done.impact = guarded.impact;
        let result = match guarded.result {
            Ok(_) => self.prove(action, writer, done).await,
            Err(fault) => {
                *open = fault.open();
                let (state, detail, hint) = fault.explain(done.tries);
                Err(Early {
                    state,
                    detail,
                    hint,
                })
            }
        };
        for (name, _) in &settings {
            // A session that lost its settings' defaults is not used again, because it is lost.
            if writer.alive() && writer.set(name, "DEFAULT").await.is_err() {
                tracing::debug!("could not set {name} back");
            }
        }
        if *open {
            *kept = None;
        }
        result
    }

    /// Compares the object with what was agreed to, and returns its numbers.
    async fn still_so(&self, action: &Action, writer: &Writer) -> Result<Facts, Early> {
        let of_server = |error: pawang_postgres::Error| Early::of_server(&error);
        crate::hold::same_world(&self.plan.world, &writer.server)
            .map_err(|error| Early::new(State::Stale, error.to_string()))?;
        if let Some(hold) = self
            .holds
            .iter()
            .find(|hold| hold.database == action.database)
            && !hold.session.alive()
        {
            let why = "the session that keeps other Pawangs away was lost";
            return Err(Early::new(State::Skipped, why));
        }
        // The server's own version counts, not only that of the plan.
        match task::recipe(&action.task, writer.server.version) {
            Err(why) => return Err(Early::new(State::Refused, why)),
            Ok(recipe) if recipe.sql != action.sql => {
                let why = "this server's version needs other statements";
                return Err(Early::new(State::Stale, why));
            }
            Ok(_) => {}
        }
        if look::needless(writer, &action.task)
            .await
            .map_err(of_server)?
        {
            return Err(Early::new(State::Needless, "it is already as wanted"));
        }
        let seen = look::seen(writer, &action.task).await.map_err(of_server)?;
        let Some(facts) = seen.facts else {
            return Err(Early::new(State::Stale, "it is gone"));
        };
        if let Some(why) = difference(&action.expected, &facts) {
            return Err(Early::new(State::Stale, why));
        }
        if let Some(why) = task::refusal(&action.task, &facts) {
            return Err(Early::new(State::Refused, why));
        }
        if let Some(grant) = seen.lacking {
            let user = &writer.server.user;
            let mut early = Early::new(State::Refused, format!("role \"{user}\" may not do this"));
            early.hint = Some(grant);
            return Err(early);
        }
        let rows = look::in_the_way(writer, &action.task, &facts).await;
        let rows = rows.map_err(of_server)?;
        if rows > 0 {
            let default = facts.get("default").cloned().unwrap_or_default();
            let why = format!("default partition {default} holds {rows} rows of the range");
            let mut early = Early::new(State::Refused, why);
            early.hint = Some("move these rows out of the default partition first".to_owned());
            return Err(early);
        }
        Ok(seen.numbers)
    }

    fn begin(
        &self,
        action: &Action,
        writer: Option<&Writer>,
        before: &Facts,
        indexes: Vec<u32>,
    ) -> Result<Intent, Early> {
        let intent = self
            .record
            .begin(action, writer.map(Doer::from), before, indexes);
        intent.map_err(|error| {
            let report = error.report();
            Early {
                state: State::Skipped,
                detail: format!("{}: {}", report.primary, report.detail.unwrap_or_default()),
                hint: Some("free space in the state folder".to_owned()),
            }
        })
    }

    /// Asks the server whether it is now as wanted.
    async fn prove(&self, action: &Action, writer: &Writer, done: &mut Done) -> Result<(), Early> {
        let deadline = Instant::now() + PROOF_PATIENCE;
        let proof = task::probe(&action.task, writer.server.version).proof;
        loop {
            done.after = look::numbers(writer, &action.task).await;
            let proven = match &proof {
                Proof::Success => true,
                Proof::Grew(what) => {
                    let count =
                        |facts: &Facts| facts.get(*what).and_then(|n| n.parse::<u64>().ok());
                    match (count(&done.before), count(&done.after)) {
                        (Some(before), Some(after)) => after > before,
                        // The numbers could not be read behind somebody's lock: nothing speaks against the server.
                        _ => true,
                    }
                }
                Proof::Changed(what) => match (done.before.get(*what), done.after.get(*what)) {
                    (Some(before), Some(after)) => before != after,
                    _ => true,
                },
                Proof::Holds(sql) | Proof::Became(sql) => look::holds(writer, sql)
                    .await
                    .map_err(|error| Early::of_server(&error))?,
            };
            if proven {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let why = format!("could not verify that {}", action.verify);
                return Err(Early::new(State::Failed, why));
            }
            sleep(PROOF_INTERVAL).await;
        }
    }
}

/// Returns the first fact that is not as expected; facts that the plan does not know do not count.
fn difference(expected: &Facts, found: &Facts) -> Option<String> {
    if expected.is_empty() && !found.is_empty() {
        return Some("the plan does not say what was true when it was made".to_owned());
    }
    expected.iter().find_map(|(name, value)| {
        let now = found.get(name).map_or("", String::as_str);
        (now != value).then(|| format!("{name} was \"{value}\" and is \"{now}\" now"))
    })
}

/// Returns the identities of the indexes of the table of an index that is built anew.
async fn indexes(writer: &Writer, task: &Task) -> Result<Vec<u32>, pawang_postgres::Error> {
    let Task::Reindex { table, .. } = task else {
        return Ok(Vec::new());
    };
    let rows = look::rows(writer, &format!("{}{}", task::SIBLINGS, table.oid)).await?;
    let oids = rows.iter().filter_map(|row| row.get("oid")?.parse().ok());
    Ok(oids.collect())
}
