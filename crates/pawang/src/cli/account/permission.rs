//! `--permission`, and the names that accounts and tokens may have.

use pawang_core::{Kind, Report};

/// Longest name of an account or token.
const NAME_BYTES_MAX: usize = 64;

/// What an account or token may do; each may all that the ones before it may.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Permission {
    /// Look
    Viewer,
    /// Act on instances
    Operator,
    /// Change accounts and configuration
    Admin,
}

impl From<Permission> for pawang_store::state::Permission {
    fn from(permission: Permission) -> pawang_store::state::Permission {
        match permission {
            Permission::Viewer => pawang_store::state::Permission::Viewer,
            Permission::Operator => pawang_store::state::Permission::Operator,
            Permission::Admin => pawang_store::state::Permission::Admin,
        }
    }
}

/// Refuses names that could not be typed, or that could be taken for another.
///
/// # Errors
/// The name is empty, too long, or has other characters than letters, digits and `.@_-`.
pub(crate) fn check_name(kind: &str, name: &str) -> Result<(), Report> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '@' | '_' | '-');
    if !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().all(plain) {
        return Ok(());
    }
    Err(Report::new(
        Kind::Usage,
        format!("\"{}\" cannot be the name of {kind}", name.escape_debug()),
    )
    .with_detail(format!(
        "a name has 1 to {NAME_BYTES_MAX} letters, digits and characters of .@_-"
    )))
}
