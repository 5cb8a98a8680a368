//! The one way to change a server: proposals -> plan -> print -> confirm -> guarded apply -> verify -> journal.
//!
//! No free text reaches a connection that can write: every statement is made of a [`pawang_core::plan::Task`].

mod apply;
mod draft;
mod error;
mod governor;
mod hold;
mod journal;
mod look;
mod monitor;
mod quote;
mod rate;
pub mod repack;
pub mod session;
mod settle;
mod task;
mod told;
mod witness;

pub use apply::{Apply, Effects, Progress, Step, apply};
pub use draft::{draft, hash, read_plan};
pub use error::Error;
pub use governor::{Limits, Sample, Verdict, judge};
pub use journal::{BEGUN, Intent, Journal, JsonLines, Mirrored};
pub use rate::build_rate;
pub use settle::{Settled, settle};
pub use task::COPY_RIGHT;
pub use told::{Change, Told, Waited};
pub use witness::witness;
