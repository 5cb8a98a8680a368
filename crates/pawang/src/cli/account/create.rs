//! `pawang account create`: an account for the dashboard.

use std::path::PathBuf;

use argon2::{Argon2, PasswordHasher};
use pawang_core::{Kind, Report, Secret};
use pawang_store::state::Account;
use serde_json::json;

use super::permission::{Permission, check_name};
use super::{password, state};
use crate::cli::Global;
use crate::environment;
use crate::output::{self, Exit};

/// Make an account, which a running pawang serve knows at once
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
    /// What it may do
    #[arg(long, value_enum)]
    permission: Permission,
    /// File whose first line is the password, - for standard input; without it, the terminal is asked
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Give an account that exists a new password and permission, and sign it out
    #[arg(long)]
    replace: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    check_name("an account", &args.name)?;
    let state = state::open(global)?;
    let there = state
        .account(&args.name)
        .map_err(|error| error.report())?
        .is_some();
    if there && !args.replace {
        return Err(Report::new(
            Kind::Refused,
            format!("there is already an account \"{}\"", args.name),
        )
        .with_hint(format!("pawang account create {} --replace ...", args.name)));
    }
    let password = match &args.password_file {
        Some(file) => password::from_file(file)?,
        None => match password::from_terminal(&args.name)? {
            Some(password) => password,
            None => {
                output::talk("interrupted: nothing was written");
                return Ok(Exit::Interrupted);
            }
        },
    };
    let now = environment::now();
    let account = Account {
        name: args.name.clone(),
        permission: args.permission.into(),
        password_hash: hash(&password)?,
        created_at: now,
    };
    state
        .put_account(&account)
        .map_err(|error| error.report())?;
    let permission = account.permission;
    let detail = json!({ "permission": permission, "replaced": there });
    state::journal(&state, now, "account.create", &args.name, detail)?;
    if global.json {
        let made = json!({ "name": args.name, "permission": permission, "replaced": there });
        output::json("pawang.account.create/1", &made)?;
    } else if !global.quiet {
        let done = if there {
            "has a new password"
        } else {
            "was made"
        };
        output::talk(&format!(
            "account \"{}\" {done} (permission {permission}); undo: pawang account remove {}",
            args.name, args.name
        ));
    }
    Ok(Exit::Good)
}

/// Returns the PHC string of argon2id with a new salt.
fn hash(password: &Secret<String>) -> Result<String, Report> {
    Argon2::default()
        .hash_password(password.reveal().as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|error| {
            Report::new(Kind::Usage, "could not hash the password").with_detail(error.to_string())
        })
}
