//! Sessions of a server: who waits for whom, whose session may be ended, and how that is done without harming anybody else.

mod draft;
mod free;
mod guard;
mod look;
mod settle;
mod signal;
mod view;

pub use draft::draft;
pub(crate) use draft::{undo, verify};
pub use free::{Freed, How, Step, free};
pub(crate) use free::{alone, through};
pub use guard::{Decision, Deed, PAUSE, Policy, blockers, one, refusal};
pub use look::look;
pub(crate) use settle::open;
pub(crate) use signal::about;
pub use signal::{Signalled, expected, signal, statement};
pub use view::{Branch, CLIENT_BACKEND, PREPARED, Prepared, Process, View, Wait};
