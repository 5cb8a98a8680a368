//! The one way to change a server: proposals -> plan -> print -> confirm -> guarded apply -> verify -> journal.
//!
//! No free text reaches a connection that can write: every statement is made of a [`pawang_core::plan::Task`].

pub mod repack;
