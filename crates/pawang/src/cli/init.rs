//! `pawang init`: writes a first `pawang.toml`.

use std::path::PathBuf;

use pawang_core::{Kind, Report};

use crate::output::{self, Exit};

const EXAMPLES: &str = "\
Examples:
  pawang init
  pawang init /etc/pawang/pawang.toml
  pawang init --print";

/// Write a commented pawang.toml to start from
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Args {
    /// Where to write it
    #[arg(value_name = "FILE", default_value = "pawang.toml")]
    file: PathBuf,
    /// Print it instead of writing it
    #[arg(long, conflicts_with = "file")]
    print: bool,
}

/// Runs the command.
///
/// # Errors
/// The file exists already, or cannot be written.
pub(crate) fn run(args: &Args) -> Result<Exit, Report> {
    if args.print {
        output::data(pawang_config::example())?;
        return Ok(Exit::Good);
    }
    let file = args.file.display();
    if args.file.exists() {
        return Err(
            Report::new(Kind::Refused, format!("file \"{file}\" exists already"))
                .with_hint("pawang init --print shows the example without writing"),
        );
    }
    output::replace_file(&args.file, pawang_config::example())?;
    output::talk(&format!(
        "wrote {file}; change its addresses, then run: pawang config check --config {file}"
    ));
    Ok(Exit::Good)
}
