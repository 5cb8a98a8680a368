//! The command tree: `pawang <noun> <verb>`, one file per verb.

mod account;
mod alert;
mod at;
mod backup;
mod bloat;
mod check;
mod config;
mod confirm;
mod diff;
mod drill;
mod dump;
mod estate;
mod explain;
mod history;
mod incident;
mod init;
mod journal;
mod logs;
mod maintain;
mod notify;
mod progress;
mod query;
mod recovery;
mod reference;
mod restore;
mod route;
mod rule;
mod serve;
mod session;
mod silence;
mod statements;
mod token;
mod top;
pub(crate) mod wal;
mod window;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use pawang_core::Report;

use crate::output::{Color, Exit};

/// Operates PostgreSQL warehouses end to end.
#[derive(Debug, Parser)]
#[command(name = "pawang", version, propagate_version = true, max_term_width = 100, after_long_help = EXIT_CODES)]
#[command(disable_help_subcommand = true, help_template = SCREEN)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// All commands on one screen of 40 lines.
const SCREEN: &str = "\
Examples: pawang check postgres://monitor@db-1/dwh     judge a server; without a name that of libpq
{usage-heading} {usage}    {about}
{subcommands}
Options:
{options}{after-help}
";

const EXIT_CODES: &str = "\
Exit codes:
  0 good   1 something needs attention   2 usage or configuration   3 not reachable   4 refused";

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Instance of pawang.toml, with * (repeatable)
    #[arg(short, long = "instance", value_name = "NAME", global = true)]
    pub instances: Vec<String>,
    /// Configuration file, instead of the first pawang.toml that is found
    ///
    /// It is looked for here, in ~/.config/pawang and in /etc/pawang.
    #[arg(long, value_name = "FILE", global = true, hide_short_help = true)]
    pub config: Option<PathBuf>,
    /// JSON on standard output, in one envelope with its schema's name
    #[arg(long, global = true)]
    pub json: bool,
    /// When to use colours
    #[arg(
        long,
        value_enum,
        default_value_t,
        global = true,
        hide_short_help = true
    )]
    pub color: Color,
    /// Only findings and errors
    #[arg(
        short,
        long,
        global = true,
        conflicts_with = "verbose",
        hide_short_help = true
    )]
    pub quiet: bool,
    /// More detail: evidence, remedies, costs; twice also what Pawang does
    #[arg(short, long, action = clap::ArgAction::Count, global = true, hide_short_help = true)]
    pub verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Args),
    Serve(serve::Args),
    Top(top::Args),
    History(history::Args),
    At(at::Args),
    Diff(diff::Args),
    Logs(logs::Args),
    Query(query::Args),
    Maintain(maintain::Args),
    Backup(backup::Args),
    Session(session::Args),
    Bloat(bloat::Args),
    Progress(progress::Args),
    Restore(Box<restore::Args>),
    Drill(drill::Args),
    Dump(dump::Args),
    Recovery(recovery::Args),
    Explain(explain::Args),
    Alert(alert::Args),
    Silence(silence::Args),
    Window(window::Args),
    Incident(incident::Args),
    Route(route::Args),
    Notify(notify::Args),
    Rule(rule::Args),
    Estate(estate::Args),
    Config(config::Args),
    Account(account::Args),
    Token(token::Args),
    Journal(journal::Args),
    Wal(wal::Args),
    Init(init::Args),
    #[command(hide = true)]
    Reference(reference::Args),
}

/// Runs the command of the command line.
///
/// # Errors
/// Whatever the command could not do, for people.
pub(crate) fn run() -> Result<Exit, Report> {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // `--help` and `--version` are data and good; everything else is wrong usage.
            let _ = error.print();
            return Ok(if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Good
            });
        }
    };
    let explain = matches!(&cli.command, Command::Check(args) if args.explain());
    let daemon = matches!(&cli.command, Command::Serve(args) if args.is_daemon());
    start_diagnostics(cli.global.verbose, explain, daemon);
    match cli.command {
        Command::Check(args) => check::run(args, &cli.global),
        Command::Serve(args) => serve::run(args, &cli.global),
        Command::Top(args) => top::run(&args, &cli.global),
        Command::History(args) => history::run(&args, &cli.global),
        Command::At(args) => at::run(&args, &cli.global),
        Command::Diff(args) => diff::run(&args, &cli.global),
        Command::Logs(args) => logs::run(&args, &cli.global),
        Command::Backup(args) => backup::run(&args, &cli.global),
        Command::Maintain(args) => maintain::run(&args, &cli.global),
        Command::Query(args) => query::run(&args, &cli.global),
        Command::Session(args) => session::run(&args, &cli.global),
        Command::Bloat(args) => bloat::run(&args, &cli.global),
        Command::Progress(args) => progress::run(&args, &cli.global),
        Command::Restore(args) => restore::run(&args, &cli.global),
        Command::Drill(args) => drill::run(&args, &cli.global),
        Command::Dump(args) => dump::run(&args, &cli.global),
        Command::Recovery(args) => recovery::run(&args, &cli.global),
        Command::Explain(args) => explain::run(&args, &cli.global),
        Command::Alert(args) => alert::run(&args, &cli.global),
        Command::Silence(args) => silence::run(&args, &cli.global),
        Command::Window(args) => window::run(&args, &cli.global),
        Command::Incident(args) => incident::run(&args, &cli.global),
        Command::Route(args) => route::run(&args, &cli.global),
        Command::Notify(args) => notify::run(&args, &cli.global),
        Command::Rule(args) => rule::run(&args, &cli.global),
        Command::Estate(args) => estate::run(&args, &cli.global),
        Command::Config(args) => config::run(&args, &cli.global),
        Command::Account(args) => account::run(&args, &cli.global),
        Command::Token(args) => token::run(&args, &cli.global),
        Command::Journal(args) => journal::run(&args, &cli.global),
        Command::Wal(args) => wal::run(&args, &cli.global),
        Command::Init(args) => init::run(&args),
        Command::Reference(args) => reference::run(&args),
    }
}

/// Returns the command tree, for help pages and completions.
pub(crate) fn tree() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// Sends diagnostics to stderr: warnings always, statements with `--explain`, everything with `-vv`; a daemon also tells
/// what it does, with the time where the journal of systemd does not add it.
fn start_diagnostics(verbose: u8, explain: bool, daemon: bool) {
    use tracing_subscriber::filter::{LevelFilter, Targets};
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;

    let level = match (verbose, daemon) {
        (2.., _) => LevelFilter::DEBUG,
        (_, true) => LevelFilter::INFO,
        (_, false) => LevelFilter::WARN,
    };
    let mut targets = Targets::new().with_default(LevelFilter::WARN);
    for name in [
        "pawang",
        "pawang_collect",
        "pawang_postgres",
        "pawang_config",
        "pawang_store",
        "pawang_metrics",
        "pawang_web",
        "pawang_alert",
        "pawang_act",
        "pawang_backup",
    ] {
        targets = targets.with_target(name, level);
    }
    if explain || verbose >= 2 {
        targets = targets.with_target("pawang_collect::statement", LevelFilter::DEBUG);
    } else {
        targets = targets.with_target("pawang_collect::statement", LevelFilter::WARN);
    }
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(false);
    let timed = daemon && crate::environment::variable("JOURNAL_STREAM").is_none();
    let registry = tracing_subscriber::registry().with(targets);
    if timed {
        registry.with(lines).init();
    } else {
        registry.with(lines.without_time()).init();
    }
}
