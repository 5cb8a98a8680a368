//! `pawang reference <page>`: reference pages, man page and completions, from the same definitions as the program.

use std::fmt::Write;

use clap::ValueEnum;
use pawang_check::{CHECKS, Check, Group};
use pawang_collect::{Catalog, Scope};
use pawang_core::Report;

use crate::output::{self, Exit};
use crate::{alias, profile};

const EXAMPLES: &str = "\
Examples:
  pawang reference checks
  pawang reference man > pawang.1
  pawang reference bash > /etc/bash_completion.d/pawang";

/// Print a reference page in Markdown, the man page, or shell completions
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Args {
    /// Which page
    #[arg(value_enum)]
    page: Page,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Page {
    /// Every check: what, why, limits, fix
    Checks,
    /// Every collector and its columns
    Collectors,
    /// Every metric of /metrics and remote-write
    Metrics,
    /// Every command and option
    Cli,
    /// Every key of pawang.toml
    Config,
    /// Names of other plugins that are accepted
    Aliases,
    /// Profiles and their checks
    Profiles,
    /// The HTTP API as OpenAPI
    Openapi,
    /// Man page
    Man,
    /// Completions for bash
    Bash,
    /// Completions for zsh
    Zsh,
    /// Completions for fish
    Fish,
}

/// Runs the command.
///
/// # Errors
/// Standard output refuses.
pub(crate) fn run(args: &Args) -> Result<Exit, Report> {
    use clap_complete::Shell;
    let page = match args.page {
        Page::Checks => checks(),
        Page::Collectors => collectors(),
        Page::Metrics => metrics(),
        Page::Cli => cli(),
        Page::Config => pawang_config::reference(),
        Page::Aliases => aliases(),
        Page::Profiles => profiles(),
        Page::Openapi => openapi(),
        Page::Man => man(),
        Page::Bash => completions(Shell::Bash),
        Page::Zsh => completions(Shell::Zsh),
        Page::Fish => completions(Shell::Fish),
    };
    output::data(&page)?;
    Ok(Exit::Good)
}

fn openapi() -> String {
    format!("{:#}\n", pawang_web::openapi())
}

fn checks() -> String {
    let mut out = format!(
        "# Checks\n\nPawang has {} checks. `pawang explain <check>` shows the same texts.\n",
        CHECKS.len()
    );
    for (group, name, title) in Group::ALL {
        let members: Vec<&&Check<'_>> =
            CHECKS.iter().filter(|check| check.group == group).collect();
        let _ = writeln!(
            out,
            "\n## {title}\n\nGroup `{name}`, {} checks.",
            members.len()
        );
        for check in members {
            let _ = writeln!(out, "\n### {}\n\n{}\n", check.id, sentence(check.title));
            let _ = writeln!(out, "- **What**: {}", check.what);
            let _ = writeln!(out, "- **Why it matters**: {}", check.why);
            let _ = writeln!(
                out,
                "- **Thresholds**: {}.",
                check.limits_in_words(&check.defaults())
            );
            for floor in check.floors {
                let _ = writeln!(
                    out,
                    "  Floor `{}` = {}: ignores {}.",
                    floor.name,
                    floor.unit.show(floor.value),
                    floor.ignores
                );
            }
            let _ = writeln!(out, "- **Fix**: {}", check.fix);
            let _ = writeln!(
                out,
                "- **Reads**: {}",
                check
                    .needs
                    .iter()
                    .map(|n| format!("`{n}`"))
                    .collect::<Vec<_>>()
                    .join(", ")
            );
        }
    }
    out
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| {
        first.to_uppercase().chain(letters).chain(['.']).collect()
    })
}

fn collectors() -> String {
    let catalog = Catalog::built_in();
    let mut out = format!(
        "# Collectors\n\nPawang ships {} collectors.\n",
        catalog.collectors.len()
    );
    for (scope, title) in [
        (Scope::Server, "Once per server"),
        (Scope::Database, "Once per database"),
        (Scope::Host, "From the host"),
        (Scope::Pgbouncer, "From PgBouncer"),
        (Scope::Patroni, "From Patroni"),
        (Scope::Derived, "Computed by the daemon"),
    ] {
        let _ = writeln!(out, "\n## {title}");
        for collector in catalog.of_scope(scope) {
            let header = &collector.header;
            let _ = writeln!(
                out,
                "\n### {}\n\n{}\n\n| column | kind | unit |\n|---|---|---|",
                collector.name, header.summary
            );
            for column in header.columns.iter() {
                let kind = format!("{:?}", column.kind).to_lowercase();
                let _ = writeln!(
                    out,
                    "| `{}` | {kind} | {} |",
                    column.name,
                    column.unit.as_deref().unwrap_or("")
                );
            }
        }
    }
    out
}

fn metrics() -> String {
    let catalog = Catalog::built_in();
    let collectors = catalog.collectors.iter().map(|(name, collector)| {
        let header = &collector.header;
        let of_database = header.scope == Scope::Database;
        let summary = header.summary.as_str();
        (name.as_str(), summary, &header.columns[..], of_database)
    });
    pawang_metrics::reference(collectors)
}

fn cli() -> String {
    let mut out = "# Commands\n".to_owned();
    let mut tree = super::tree().term_width(100);
    // Global options reach the commands below only when the tree is built as a whole.
    tree.build();
    command(&mut out, &mut tree);
    out
}

/// Writes the long help of a command and of all commands below it.
fn command(out: &mut String, command: &mut clap::Command) {
    let name = command
        .get_bin_name()
        .unwrap_or_else(|| command.get_name())
        .to_owned();
    let help = command.render_long_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    let help = help.join("\n");
    let _ = writeln!(out, "\n## {name}\n\n```text\n{}\n```", help.trim_end());
    for below in command
        .get_subcommands_mut()
        .filter(|below| below.get_name() != "help")
    {
        self::command(out, below);
    }
}

fn aliases() -> String {
    let mut out = "# Names of other plugins, and everyday words\n\nThese names are accepted by `check`, `route test` and `rule show`; `-` and `_` are the same.\n".to_owned();
    for (plugin, names) in alias::all() {
        let _ = writeln!(out, "\n## {plugin}\n\n| its name | our checks |\n|---|---|");
        for (name, checks) in names {
            let _ = writeln!(
                out,
                "| `{name}` | {} |",
                checks
                    .iter()
                    .map(|c| format!("`{c}`"))
                    .collect::<Vec<_>>()
                    .join(", ")
            );
        }
    }
    out
}

fn profiles() -> String {
    let mut out =
        "# Profiles\n\n`pawang check --profile <name>` runs the checks of a duty.\n".to_owned();
    for (name, profile) in profile::all() {
        let _ = writeln!(
            out,
            "\n## {name}\n\n{} ({}).\n",
            profile.summary, profile.source
        );
        let checks = profile::checks(&name).unwrap_or_default();
        let _ = writeln!(
            out,
            "{} checks: {}",
            checks.len(),
            checks
                .iter()
                .map(|c| format!("`{}`", c.id))
                .collect::<Vec<_>>()
                .join(", ")
        );
    }
    out
}

fn man() -> String {
    let mut page = Vec::new();
    // Writing to memory cannot fail.
    let _ = clap_mangen::Man::new(super::tree()).render(&mut page);
    String::from_utf8_lossy(&page).into_owned()
}

fn completions(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::tree(), "pawang", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
