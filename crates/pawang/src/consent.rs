//! How a person agrees to a plan: `--yes`, an answer at the terminal, or the name of an instance that is production.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};

use pawang_config::InstanceConfig;
use pawang_core::{Kind, Report};

/// Groups and labels that make an instance production.
const PRODUCTION: [&str; 2] = ["prod", "production"];
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 1_024;

/// What was said on the command line.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Consent {
    /// Do it without asking; a production instance wants --confirm too
    #[arg(long)]
    pub yes: bool,
    /// The name of the instance: needed where its group or a label is prod, and nobody can be asked
    #[arg(long, value_name = "INSTANCE")]
    pub confirm: Option<String>,
    /// Never ask: refuse what needs an answer
    #[arg(long)]
    pub no_input: bool,
}

/// Returns whether a name must be typed before this instance is changed.
pub(crate) fn production(config: &InstanceConfig) -> bool {
    let is = |text: &str| {
        PRODUCTION
            .iter()
            .any(|word| text.eq_ignore_ascii_case(word))
    };
    config.group.as_deref().is_some_and(is)
        || config
            .labels
            .iter()
            .any(|(name, value)| is(name) || is(value))
}

impl Consent {
    /// Returns once somebody agreed to a plan for `config`; `command` is what would say yes without asking.
    ///
    /// # Errors
    /// Nobody agreed, with exit code 4.
    pub(crate) fn obtain(&self, config: &InstanceConfig, command: &str) -> Result<(), Report> {
        let name = &config.name;
        let production = production(config);
        if let Some(typed) = &self.confirm {
            if typed != name {
                let what = format!("\"{typed}\" is not the instance that would be changed");
                return Err(
                    Report::new(Kind::Refused, what).with_detail(format!("it is \"{name}\""))
                );
            }
            return Ok(());
        }
        if self.yes && !production {
            return Ok(());
        }
        let refused = || {
            let hint = match production {
                true => format!("{command} --confirm {name}"),
                false => format!("{command} --yes"),
            };
            Report::new(Kind::Refused, "nobody agreed to the plan").with_hint(hint)
        };
        if self.no_input {
            return Err(refused());
        }
        // The terminal itself, so that a plan can come from a pipe.
        let Ok(mut terminal) = File::options().read(true).write(true).open("/dev/tty") else {
            return Err(refused());
        };
        let question = match production {
            true => format!("{name} is production: type its name to go on: "),
            false => "go on? [y/N] ".to_owned(),
        };
        let answer = ask(&mut terminal, &question);
        let agreed = match production {
            true => answer == *name,
            false => matches!(answer.as_str(), "y" | "Y" | "yes"),
        };
        if agreed { Ok(()) } else { Err(refused()) }
    }
}

fn ask(terminal: &mut File, question: &str) -> String {
    use std::io::Read;
    let mut answer = String::new();
    let asked = terminal
        .write_all(question.as_bytes())
        .and_then(|()| terminal.flush());
    if asked.is_ok() {
        let read = BufReader::new(terminal.take(ANSWER_BYTES_MAX)).read_line(&mut answer);
        if read.is_err() {
            answer.clear();
        }
    }
    answer.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(name: &str, group: Option<&str>, label: Option<(&str, &str)>) -> InstanceConfig {
        InstanceConfig {
            name: name.to_owned(),
            group: group.map(str::to_owned),
            labels: label
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into_iter()
                .collect(),
            ..InstanceConfig::default()
        }
    }

    #[test]
    fn production_wants_its_name_and_yes_alone_is_not_enough() {
        let prod = instance("dwh-1", Some("prod"), None);
        let labelled = instance("dwh-1", None, Some(("environment", "Production")));
        let test = instance("dwh-1", Some("test"), Some(("site", "jakarta")));
        let consent = |yes: bool, confirm: Option<&str>| Consent {
            yes,
            confirm: confirm.map(str::to_owned),
            no_input: true,
        };
        for (config, said, agreed) in [
            (&test, consent(true, None), true),
            (&test, consent(false, None), false),
            (&test, consent(false, Some("dwh-1")), true),
            (&prod, consent(true, None), false),
            (&prod, consent(true, Some("dwh-1")), true),
            (&prod, consent(true, Some("dwh-2")), false),
            (&labelled, consent(true, None), false),
        ] {
            assert_eq!(said.obtain(config, "pawang x").is_ok(), agreed, "{said:?}");
        }
    }
}
