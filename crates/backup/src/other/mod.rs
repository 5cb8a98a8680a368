//! Archives of other tools: what they have, as they say themselves, and a guard for their `restore_command`.

pub mod barman;
pub mod folder;
mod foreign;
pub mod guard;
pub mod pgbackrest;
mod program;
pub mod tool;

pub use foreign::Foreign;
pub use guard::{Guarded, Verdict, guard};
pub use program::find;
pub use tool::{Kept, Tool, ToolKind, shell};
