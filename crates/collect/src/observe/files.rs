//! Looks at files in a thread of its own: a network file system that hangs holds up nobody but whoever asked.

use std::time::Duration;

use pawang_core::Blind;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Whoever asks waits so long; the thread itself cannot be ended.
const LOOK_MAX: Duration = Duration::from_secs(10);

/// The way to look at files; at most one look at a time is under way.
pub(super) struct Files {
    limit: Duration,
    /// A look that did not come back in time.
    hanging: Option<JoinHandle<()>>,
}

impl Default for Files {
    fn default() -> Files {
        Files {
            limit: LOOK_MAX,
            hanging: None,
        }
    }
}

impl Files {
    /// Returns what `work` finds; `what` names the files.
    ///
    /// # Errors
    /// It took too long, or an earlier one still hangs: then nothing new is begun.
    pub(super) async fn look<T: Send + 'static>(
        &mut self,
        what: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Blind> {
        let limit_ms = u64::try_from(self.limit.as_millis()).unwrap_or(u64::MAX);
        let too_long = || Blind::Timeout {
            what: format!("reading {what}"),
            limit_ms,
        };
        if self
            .hanging
            .as_ref()
            .is_some_and(|look| !look.is_finished())
        {
            return Err(too_long());
        }
        let (sender, found) = oneshot::channel();
        let look = tokio::task::spawn_blocking(move || {
            // Whoever asked may have given up.
            let _ = sender.send(work());
        });
        match tokio::time::timeout(self.limit, found).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(_)) => Err(Blind::Failed {
                what: format!("reading {what} broke"),
            }),
            Err(_) => {
                self.hanging = Some(look);
                Err(too_long())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[tokio::test]
    async fn a_look_that_hangs_is_given_up_and_not_begun_twice() {
        let mut files = Files {
            limit: Duration::from_millis(100),
            hanging: None,
        };
        assert_eq!(files.look("files", || 7).await, Ok(7));
        let (go_on, wait) = channel::<()>();
        let hung = files.look("files", move || wait.recv().is_err()).await;
        assert!(matches!(hung, Err(Blind::Timeout { .. })));
        let again = files.look("files", || panic!("one hangs already")).await;
        assert!(matches!(again, Err(Blind::Timeout { .. })));
        go_on.send(()).unwrap();
        files.hanging.as_mut().unwrap().await.unwrap();
        files.limit = LOOK_MAX;
        assert_eq!(files.look("files", || 8).await, Ok(8));
    }

    #[tokio::test]
    async fn a_look_that_breaks_is_told() {
        let mut files = Files::default();
        let broken = files.look("files", || -> u8 { panic!("as planned") }).await;
        assert!(matches!(broken, Err(Blind::Failed { .. })));
    }
}
