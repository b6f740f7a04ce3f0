//! Parse, dispatch, print the chain of causes, exit.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use pilotfish::cli::Cli;
use pilotfish::commands::{self, Exit};
use pilotfish::output;

/// musl's own gives memory back to the system with every answer, and asks for it again with the
/// next: two of three system calls of a round, a sixth of its time.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    // Before anything can open a connection: two crates below ask for the process-wide provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    let exit = run(cli).unwrap_or_else(|error| {
        // Not `eprintln!`: it panics where nobody reads any more.
        let _ = writeln!(std::io::stderr(), "pilotfish: {}", output::one_line(&chain(&error)));
        Exit::of_error(&error)
    });
    ExitCode::from(exit.code())
}

/// One thread for all of it: the agent waits for others nearly all of its life, and threads that
/// wake each other up for every answer cost more than they do. What takes long by itself, such as
/// flushing a disk, has a thread while it lasts.
fn run(cli: Cli) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(commands::dispatch(cli))
}

/// The causes in one line, each told once.
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
