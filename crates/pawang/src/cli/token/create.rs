//! `pawang token create`: a token that is shown once.

use pawang_config::{Period, Quantity};
use pawang_core::{Kind, Report};
use pawang_store::state::{ApiToken, token_hash};
use serde_json::json;

use crate::cli::Global;
use crate::cli::account::permission::{Permission, check_name};
use crate::cli::account::state;
use crate::environment;
use crate::output::{self, Exit};

/// What every token begins with, so that people and scanners of leaked secrets know it.
const START: &str = "pawang_";
/// Random bytes of a token.
const BYTES: usize = 32;

/// Make a token and print it; it is shown this once
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
    /// What it may do
    #[arg(long, value_enum)]
    permission: Permission,
    /// After how long it ends, such as 90d; never when not given
    #[arg(long, value_name = "TIME", value_parser = period)]
    expires: Option<Period>,
}

fn period(text: &str) -> Result<Period, String> {
    let period: Period = text.parse::<Quantity>()?.try_into()?;
    if period.0.is_zero() {
        return Err("it would end at once".to_owned());
    }
    Ok(period)
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    check_name("a token", &args.name)?;
    let state = state::open(global)?;
    let tokens = state.tokens().map_err(|error| error.report())?;
    if tokens.iter().any(|token| token.name == args.name) {
        return Err(Report::new(
            Kind::Refused,
            format!("there is already a token \"{}\"", args.name),
        )
        .with_hint(format!("pawang token remove {}", args.name)));
    }
    let now = environment::now();
    let ends = args
        .expires
        .map(|period| now.checked_add(period.0))
        .transpose();
    let expires_at = ends.map_err(|error| {
        Report::new(Kind::Usage, "the token would end too late").with_detail(error.to_string())
    })?;
    let secret = random()?;
    let token = ApiToken {
        name: args.name.clone(),
        permission: args.permission.into(),
        token_hash: token_hash(&secret),
        created_at: now,
        expires_at,
    };
    state.put_token(&token).map_err(|error| error.report())?;
    let detail = json!({ "permission": token.permission, "expires_at": expires_at });
    state::journal(&state, now, "token.create", &args.name, detail)?;
    if global.json {
        let made = json!({
            "name": args.name,
            "permission": token.permission,
            "expires_at": expires_at,
            "token": secret,
        });
        output::json("pawang.token.create/1", &made)?;
    } else {
        output::data(&format!("{secret}\n"))?;
    }
    if !global.quiet {
        output::talk(&format!(
            "token \"{}\" was made, and is shown this once; undo: pawang token remove {}",
            args.name, args.name
        ));
    }
    Ok(Exit::Good)
}

fn random() -> Result<String, Report> {
    let mut bytes = [0_u8; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| {
        Report::new(
            Kind::Refused,
            "the operating system gives no random numbers",
        )
        .with_detail(error.to_string())
    })?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{START}{digits}"))
}
