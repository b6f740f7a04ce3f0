//! Parses the arguments, runs the command, prints the chain of causes, exits.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use pilotfish::cli::Cli;
use pilotfish::commands::{self, Exit};
use pilotfish::output;

/// musl's own allocator gives memory back to the system after every answer, and requests it again
/// for the next: two of three system calls of a round, a sixth of its time.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    // Before any connection can be opened: two crates below use the process-wide provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    let exit = run(cli).unwrap_or_else(|error| {
        // Not `eprintln!`: it panics if standard error is closed.
        let _ = writeln!(std::io::stderr(), "pilotfish: {}", output::one_line(&chain(&error)));
        Exit::of_error(&error)
    });
    ExitCode::from(exit.code())
}

/// One thread for everything: the agent waits nearly all the time, and threads that wake each other
/// for every answer cost more than they do. A long task, such as flushing a disk, gets a thread
/// while it runs.
fn run(cli: Cli) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(commands::dispatch(cli))
}

/// The causes in one line, each only once.
fn chain(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |told, cause| {
        let cause = cause.to_string();
        match (told.is_empty(), told.contains(&cause)) {
            (true, _) => cause,
            (false, true) => told,
            (false, false) => format!("{told}: {cause}"),
        }
    })
}
