//! `pawang token list`: which programs may come in.

use std::fmt::Write;

use pawang_core::Report;
use serde_json::json;

use crate::cli::Global;
use crate::cli::account::state;
use crate::environment;
use crate::output::{self, Exit};

/// Runs the command.
pub(super) fn run(global: &Global) -> Result<Exit, Report> {
    let tokens = match state::open_to_read(global)? {
        Some(state) => state.tokens().map_err(|error| error.report())?,
        None => Vec::new(),
    };
    let now = environment::now();
    if global.json {
        let list: Vec<_> = tokens
            .iter()
            .map(|token| {
                json!({
                    "name": token.name,
                    "permission": token.permission,
                    "created_at": token.created_at,
                    "expires_at": token.expires_at,
                    "expired": token.expires_at.is_some_and(|at| at <= now),
                })
            })
            .collect();
        output::json("pawang.token.list/1", &list)?;
        return Ok(Exit::Good);
    }
    let mut out = String::new();
    for token in tokens {
        let (name, permission, created_at) = (token.name, token.permission, token.created_at);
        let ends = match token.expires_at {
            None => "never".to_owned(),
            Some(at) if at <= now => format!("{at:.0} (expired)"),
            Some(at) => format!("{at:.0}"),
        };
        let _ = if output::terminal() {
            writeln!(out, "{name:<24}  {permission:<8}  {created_at:.0}  {ends}")
        } else {
            writeln!(out, "{name}\t{permission}\t{created_at:.0}\t{ends}")
        };
    }
    output::data(&out)?;
    Ok(Exit::Good)
}
