//! `siloscan completions` and the man pages, made from the command line's own definition.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// For which shell.
#[derive(Args)]
pub struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Where to.
#[derive(Args)]
pub struct Manual {
    /// A folder that is there
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Prints the completions.
pub fn complete(options: &Completions) -> ExitCode {
    let mut command = crate::Options::command();
    // Into memory first: the library panics where a pipe's reader has gone.
    let mut text = Vec::new();
    clap_complete::generate(options.shell, &mut command, "siloscan", &mut text);
    let _ = std::io::stdout().write_all(&text);
    ExitCode::SUCCESS
}

/// Writes the pages.
pub fn write(options: &Manual) -> ExitCode {
    match clap_mangen::generate_to(crate::Options::command(), &options.folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            let folder = options.folder.display();
            eprintln!("siloscan: cannot write man pages into {folder}: {cause}; name a folder");
            ExitCode::from(2)
        }
    }
}
