//! Agreement before a server is changed: `--yes`, or the name of the instance typed where it is one of production.

use std::io::{BufRead, IsTerminal, Read};

use pawang_core::{Kind, Report};

use crate::estate::Job;
use crate::output;

/// No answer is longer.
const ANSWER_BYTES_MAX: u64 = 1_000;

/// How somebody agrees to a plan.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Agreement {
    /// Agree to the plan without being asked; not enough where the instance is one of production
    #[arg(long)]
    pub(super) yes: bool,
    /// Agree by the name of the instance, as typed; needed where it is one of production
    #[arg(long, value_name = "INSTANCE")]
    confirm: Option<String>,
}

impl Agreement {
    /// Says whether somebody agreed beforehand, without being shown the plan.
    pub(super) fn given(&self) -> bool {
        self.yes || self.confirm.is_some()
    }

    /// Asks whoever sits at the terminal, unless they agreed beforehand.
    ///
    /// # Errors
    /// Nobody agreed.
    pub(super) fn ask(&self, job: &Job) -> Result<(), Report> {
        let name = &job.instance.name;
        let production = job.config.production();
        let refused = |why: &str| Report::new(Kind::Refused, format!("nothing was done: {why}"));
        if let Some(typed) = &self.confirm {
            return match typed == name {
                true => Ok(()),
                false => Err(refused(&format!(
                    "\"{typed}\" is not the name of the instance, \"{name}\""
                ))),
            };
        }
        if self.yes && !production {
            return Ok(());
        }
        let word = if production { name.as_str() } else { "yes" };
        if !std::io::stdin().is_terminal() {
            return Err(match production {
                true => refused("the instance is one of production, and its name was not typed")
                    .with_hint(format!("add --confirm {name}")),
                false => refused("nobody agreed").with_hint("add --yes"),
            });
        }
        output::talk(&format!("type {word} to apply this plan:"));
        let mut answer = String::new();
        let mut input = std::io::BufReader::new(std::io::stdin().take(ANSWER_BYTES_MAX));
        let read = input.read_line(&mut answer);
        match read {
            Ok(_) if answer.trim() == word => Ok(()),
            _ => Err(refused("nobody agreed")),
        }
    }
}
