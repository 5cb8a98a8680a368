//! Tasks of the repository: `cargo xtask <task>`; each task is one file.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tasks start programs and talk to the person who runs them"
)]

mod backup_ledger;
mod bench;
mod demo;
mod docs;
mod fuzz;
mod languages;
mod messages;
mod postgres;
mod run;
mod system;
mod test;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <task>

  demo [--keep]                     start a warehouse with load and with faults, and check it
  test [--postgres all|15,18]       run all that CI runs; installs what is missing with apt when it may
  bench check [--large]             measure pawang check beside other tools, into docs/benchmarks.md
  bench serve [store|estate|metrics]  measure the daemon, its history, pages and /metrics, into docs/benchmarks.md
  bench alert [latency|storm|truth|day] [--write]  measure alerts; with --write into docs/benchmarks.md
  bench logs [report|follow|normaliser] [--write]  measure reports beside pgBadger, following, shapes
  bench act [harm|kills|kill-guard] [--write]  measure what changing a server does to others; with --write into docs/benchmarks.md
  bench maintain [bloat|night] [--write]  measure estimates of bloat, and a night beside vacuumdb and reindexdb
  bench backup [base|table|push|stream|load] [--write]  measure backups, restores and WAL beside pgBackRest and pg_basebackup
  backup-ledger [targets]           restore to so many points (200) of a night in which everything was killed, on each server version
  test --step <name>                run one step of it alone
  fuzz [target] [--seconds N] [--keep]  fuzz the log parsers with cargo-fuzz; --keep packs the corpus that it found
  tidy                              check the rules that no compiler checks
  docs [--check]                    write docs/reference, or tell which pages are stale
  postgres fetch <major>... | all   get other PostgreSQL servers for the tests
  messages <source tree>            make the table of server messages and their SQLSTATEs of pawang logs
  languages [folder]                make the tables of translated messages of pawang logs from PostgreSQL's catalogues
  postgres tools                    get the client programs that the tests need besides
  postgres list                     show the servers that the tests find";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["test"] => test::run(None),
        ["test", "--step", step] => test::alone(step),
        ["test", "--postgres", versions] => test::run(Some(versions)),
        ["demo"] => demo::run(false),
        ["demo", "--keep"] => demo::run(true),
        ["bench", "check"] => bench::check(false),
        ["bench", "check", "--large"] => bench::check(true),
        ["bench", "serve"] => bench::serve(None),
        ["bench", "serve", only] => bench::serve(Some(only)),
        ["bench", "alert", ref words @ ..] => bench::alert(words),
        ["bench", "act", ref words @ ..] => bench::act(words),
        ["bench", "backup", ref words @ ..] => bench::backup(words),
        ["bench", "logs", ref words @ ..] => bench::logs(words),
        ["fuzz", ref words @ ..] => fuzz::run(words),
        ["bench", "maintain", ref words @ ..] => bench::maintain(words),
        ["backup-ledger"] => backup_ledger::run("200"),
        ["backup-ledger", targets] => backup_ledger::run(targets),
        ["tidy"] => tidy::run(),
        ["docs"] => docs::run(false),
        ["docs", "--check"] => docs::run(true),
        ["postgres", "fetch", ref majors @ ..] if !majors.is_empty() => postgres::fetch(majors),
        ["messages", tree] => messages::run(tree),
        ["languages"] => languages::run("/usr/share/locale"),
        ["languages", folder] => languages::run(folder),
        ["postgres", "tools"] => postgres::tools(),
        ["postgres", "list"] => postgres::list(),
        _ => Err(USAGE.to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
