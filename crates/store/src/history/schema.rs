//! The tables of the history file.

/// `MIGRATIONS[n]` leads from `user_version` n to n + 1; what was released is never edited.
pub(crate) const MIGRATIONS: &[&str] = &[];
