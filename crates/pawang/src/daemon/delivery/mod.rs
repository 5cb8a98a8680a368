//! Gets messages to their targets: keeps each until it was taken, tries again, collects, and goes round a channel that
//! is in trouble. What it knows is saved, so that a daemon that was killed goes on where it was.

mod digest;
mod heartbeat;
mod outbox;
mod post;

use std::sync::Arc;
use std::time::Duration;

use pawang_alert::setup::Setup;
use pawang_core::Timestamp;
use pawang_core::alert::{ChannelStatus, Message, Parcel};
use pawang_store::state::State;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::alerting::Alerting;
use post::Post;

/// What the orderly end may take: messages under way get so long.
const END_MAX: Duration = Duration::from_secs(5);

/// The way to the task that delivers.
pub(super) struct Delivery {
    messages: mpsc::UnboundedSender<Vec<Message>>,
    setup: watch::Sender<Arc<Setup>>,
    stop: watch::Sender<bool>,
    handle: JoinHandle<()>,
}

/// What the task works with.
pub(super) struct Tools {
    /// Where it is saved how far messages got.
    pub state: State,
    /// Who is told that a message was taken, or that a channel is in trouble.
    pub alerting: Alerting,
    /// Whether everything moves: without that there is no sign of life.
    pub moves: watch::Receiver<bool>,
    /// The clock.
    pub now: fn() -> Timestamp,
}

/// The two ends that exist before the task does: alerts hand messages over, and show how the channels are doing.
pub(super) struct Ends {
    /// Hands messages over; never waits.
    pub messages: mpsc::UnboundedSender<Vec<Message>>,
    /// How each channel is doing.
    pub status: watch::Receiver<Vec<ChannelStatus>>,
    receiver: mpsc::UnboundedReceiver<Vec<Message>>,
    sender: watch::Sender<Vec<ChannelStatus>>,
}

impl Default for Ends {
    fn default() -> Ends {
        let (messages, receiver) = mpsc::unbounded_channel();
        let (sender, status) = watch::channel(Vec::new());
        Ends {
            messages,
            status,
            receiver,
            sender,
        }
    }
}

impl Ends {
    /// Starts to deliver; `waiting` is what an earlier daemon did not get through.
    pub(super) fn start(self, setup: Arc<Setup>, waiting: Vec<Parcel>, tools: Tools) -> Delivery {
        let (setup_sender, setups) = watch::channel(Arc::clone(&setup));
        let (stop, stopped) = watch::channel(false);
        let post = Post::new(setup, waiting, tools, self.sender);
        let inputs = post::Inputs {
            messages: self.receiver,
            setups,
            stopped,
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "the one task that delivers; it is held here and joined at the end"
        )]
        let handle = tokio::spawn(post.run(inputs));
        Delivery {
            messages: self.messages,
            setup: setup_sender,
            stop,
            handle,
        }
    }
}

impl Delivery {
    /// Takes another configuration; what waits is tried at once.
    pub(super) fn take_setup(&self, setup: Arc<Setup>) {
        self.setup.send_replace(setup);
    }

    /// Ends the task; what was not delivered is delivered after the next start.
    pub(super) async fn stop(self) {
        let Delivery {
            messages,
            stop,
            mut handle,
            ..
        } = self;
        drop(messages);
        stop.send_replace(true);
        if timeout(END_MAX, &mut handle).await.is_err() {
            tracing::warn!("some messages under way are sent again after the next start");
            handle.abort();
        }
    }
}
