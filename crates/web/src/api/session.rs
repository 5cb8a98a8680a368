//! Who asks.

use schemars::JsonSchema;
use serde::Serialize;

use super::reply;
use crate::problem::Problem;
use crate::routes::{Look, Reply};
use crate::server::permission_name;

/// Who asks, and what it may.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Session {
    /// Who, as the journal names it.
    actor: String,
    /// `viewer`, `operator` or `admin`.
    permission: String,
    /// What changing requests must carry as `X-CSRF-Token`; absent for tokens, which need none.
    csrf: Option<String>,
}

/// Answers with who asks.
pub(crate) fn session(look: &Look<'_>) -> Result<Reply, Problem> {
    let actor = look
        .actor
        .unwrap_or_else(|| unreachable!("the route needs a viewer"));
    reply(&Session {
        actor: actor.name(),
        permission: permission_name(actor.permission()).to_owned(),
        csrf: actor.csrf().map(str::to_owned),
    })
}
