//! Writes the man page and the shell completions, from the command line's own definition:
//! `cargo run --example pages -- DIRECTORY` (`make dist` and the packages call it).
//!
//! | file | what it is |
//! |---|---|
//! | `pilotfish.1`, `pilotfish-check.1`, … | a man page for the program and one for each command |
//! | `pilotfish.bash`, `_pilotfish`, `pilotfish.fish` | completions for bash, zsh and fish |

use std::path::PathBuf;
use std::{env, fs};

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;
use pilotfish::cli::Cli;

/// The shells that people on a Pi use.
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

fn main() -> Result<()> {
    let directory = env::args_os().nth(1).context("say where: pages DIRECTORY")?;
    let directory = PathBuf::from(directory);
    fs::create_dir_all(&directory).with_context(|| format!("making {}", directory.display()))?;
    clap_mangen::generate_to(Cli::command(), &directory).context("writing the man pages")?;
    for shell in SHELLS {
        clap_complete::generate_to(shell, &mut Cli::command(), "pilotfish", &directory)
            .with_context(|| format!("writing the completions of {shell}"))?;
    }
    Ok(())
}
