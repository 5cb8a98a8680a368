//! pg_repack under the same watch as statements: whoever may stop an action may stop its program.

use std::time::Duration;

use pawang_core::plan::{Action, Impact, Relation};
use pawang_postgres::{Host, Writer};
use tokio::sync::watch;
use tokio::time::sleep;

use super::Run;
use super::guard::{Fault, Guarded};
use super::sweep;
use crate::monitor::Order;
use crate::repack::{Ended, Reach, find, repack};

/// The program gives up when it waits longer for others; it never ends their sessions.
const WAIT: Duration = Duration::from_secs(60);
/// The monitor is asked so often whether the program has to stop.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

impl Run<'_> {
    /// Writes a table anew by the client program of pg_repack.
    pub(super) async fn repack(
        &self,
        table: &Relation,
        action: &Action,
        writer: &Writer,
    ) -> Guarded {
        let mut result = self.program(table, action, writer).await;
        // The program cleans up after itself, but not when its own session was ended.
        if result.is_err()
            && let Err(why) = sweep::swept(writer, table).await
        {
            result = result.map_err(|fault| match fault {
                Fault::Cancelled(words) => Fault::Cancelled(format!("{words}; {why}")),
                Fault::NotBegun(words) => Fault::NotBegun(format!("{words}; {why}")),
                fault => fault,
            });
        }
        Guarded {
            tries: 1,
            impact: Impact::default(),
            result: result.map(|()| 0),
        }
    }

    async fn program(
        &self,
        table: &Relation,
        action: &Action,
        writer: &Writer,
    ) -> Result<(), Fault> {
        let not_begun = |why: &str| Fault::NotBegun(why.to_owned());
        let program = find(writer.server.major())
            .ok_or_else(|| not_begun("the program pg_repack is not on this machine"))?;
        let target = self.how.target;
        // The very server that the action was prepared on.
        let chosen = |host: &&Host| host.to_string() == writer.address();
        let host = (target.hosts.iter().find(chosen))
            .or(target.hosts.first())
            .ok_or_else(|| not_begun("the target names no host"))?;
        let (name, port) = match host {
            Host::Socket { directory, port } => (directory.to_string_lossy().into_owned(), *port),
            Host::Tcp { name, port, .. } => (name.clone(), *port),
        };
        let password = target.with_database(&action.database).password_for(host);
        let reach = Reach {
            host: &name,
            port,
            user: &target.user,
            database: &action.database,
            password: password.as_ref().map(|password| password.reveal().as_str()),
            ssl: &target.ssl,
            application: &sweep::application(&action.id),
        };
        let (tell, told) = watch::channel(false);
        let work = async {
            // Dropped with the program's end, which ends the watch too.
            let mut told = told;
            repack(&program, table, &reach, WAIT, &mut told).await
        };
        let (ended, why) = futures_util::future::join(work, self.stop_when_ordered(&tell)).await;
        match ended {
            Err(error) => Err(Fault::NotBegun(format!(
                "could not start pg_repack: {error}"
            ))),
            Ok(Ended::Done) => Ok(()),
            Ok(Ended::Failed(words)) => Err(Fault::NotBegun(format!("pg_repack gave up: {words}"))),
            Ok(Ended::Stopped { clean: true }) => Err(Fault::Cancelled(why.unwrap_or_default())),
            Ok(Ended::Stopped { clean: false }) => Err(Fault::Cancelled(format!(
                "{}; pg_repack did not end by itself and was killed",
                why.unwrap_or_default()
            ))),
        }
    }

    /// Tells the program to stop when the monitor says so; ends when the program has ended.
    async fn stop_when_ordered(&self, tell: &watch::Sender<bool>) -> Option<String> {
        loop {
            tokio::select! {
                // Nobody listens any more: the program has ended.
                () = tell.closed() => return None,
                () = sleep(LOOK_INTERVAL) => {}
            }
            if let Order::Cancel(why) | Order::End(why) = self.monitor.order() {
                tell.send_replace(true);
                return Some(why);
            }
        }
    }
}
