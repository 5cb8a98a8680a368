//! `pawang wal`: the write-ahead log goes into repositories and comes back, and is looked at.

mod gaps;
mod get;
mod guard;
mod place;
mod push;
mod status;
mod stream;

use clap::Subcommand;
use pawang_core::Report;

use crate::cli::Global;
use crate::output::Exit;

const EXAMPLES: &str = "\
Examples:
  archive_command = 'pawang wal push %p'
  restore_command = 'pawang wal get %f %p'
  restore_command = 'pawang wal guard -- pgbackrest --stanza=main archive-get %f %p'
  pawang wal stream -i dwh-1
  pawang wal status --repository /srv/backup";

/// The write-ahead log in repositories: push, stream, get, look for what is missing
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Push(push::Args),
    Stream(stream::Args),
    Get(get::Args),
    Guard(guard::Args),
    Status(status::Args),
    Gaps(gaps::Args),
}

/// Runs the command.
///
/// # Errors
/// The WAL is not where it should be, or that cannot be said.
pub(crate) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    match &args.verb {
        Verb::Push(args) => push::run(args, global),
        Verb::Stream(args) => stream::run(args, global),
        Verb::Get(args) => get::run(args, global),
        Verb::Guard(args) => guard::run(args),
        Verb::Status(args) => status::run(args, global),
        Verb::Gaps(args) => gaps::run(args, global),
    }
}

/// Tells whether a command line is one that PostgreSQL's recovery runs: whatever ends it, and whatever is wrong with it, must
/// not look like the end of the archive.
pub(crate) fn recovers(words: impl Iterator<Item = std::ffi::OsString>) -> bool {
    // Options of every command may stand anywhere between them.
    let mut words = words.skip_while(|word| word != "wal");
    words.any(|word| word == "get" || word == "guard")
}

#[cfg(test)]
mod tests {
    use super::recovers;

    #[test]
    fn commands_of_recovery_are_known_by_their_words() {
        let check = |line: &str| recovers(line.split(' ').map(Into::into));
        assert!(check("pawang wal get 000000010000000000000001 x"));
        assert!(check("pawang --no-such wal guard -- cp"));
        assert!(check("pawang wal -i dwh-1 get 000000010000000000000001 x"));
        assert!(!check("pawang wal push pg_wal/000000010000000000000001"));
        assert!(!check("pawang check"));
    }
}
