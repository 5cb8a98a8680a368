//! The half of a connection that moves bytes: polled beside each piece of work, never in a task of its own.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use crate::Error;

type Connection = Pin<Box<dyn Future<Output = Result<(), tokio_postgres::Error>> + Send>>;

/// Moves bytes while it is polled; empty after the connection ended.
pub(crate) struct Driver(Option<Connection>);

impl Driver {
    /// Takes a connection over.
    pub(crate) fn new(
        connection: impl Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static,
    ) -> Driver {
        Driver(Some(Box::pin(connection)))
    }

    /// Moves bytes until `work` is done or the connection is lost.
    pub(crate) async fn run<T>(
        &mut self,
        address: &str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let mut work = pin!(work);
        poll_fn(|cx| {
            if let Poll::Ready(result) = work.as_mut().poll(cx) {
                return Poll::Ready(result);
            }
            let message = match self.0.as_mut().map(|driver| driver.as_mut().poll(cx)) {
                // What arrived is taken at once instead of at the next wake-up.
                Some(Poll::Pending) => return work.as_mut().poll(cx),
                Some(Poll::Ready(ended)) => {
                    self.0 = None;
                    // The answer may have come with the end; an error of the work says less than the end itself.
                    if let Poll::Ready(Ok(result)) = work.as_mut().poll(cx) {
                        return Poll::Ready(Ok(result));
                    }
                    last_words(ended)
                }
                None => "it was lost before".to_owned(),
            };
            Poll::Ready(Err(Error::Lost {
                address: address.to_owned(),
                message,
            }))
        })
        .await
    }
}

fn last_words(ended: Result<(), tokio_postgres::Error>) -> String {
    match ended {
        Ok(()) => "it was closed".to_owned(),
        Err(error) => match error.as_db_error() {
            Some(refusal) => refusal.message().to_owned(),
            None => error.to_string(),
        },
    }
}

impl Driver {
    /// Hangs up on a server that does not answer: the next work learns at once that there is no connection.
    pub(crate) fn hang_up(&mut self) {
        self.0 = None;
    }
}

impl Drop for Driver {
    /// Says goodbye without waiting, so that the server frees the slot at once; the client must be dropped before.
    fn drop(&mut self) {
        if let Some(connection) = &mut self.0 {
            let _ = connection
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
        }
    }
}
