//! Parse, dispatch, print the chain of causes, exit.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use pilotfish::cli::Cli;
use pilotfish::commands::{self, Exit};

/// The loop, and what serves metrics beside it. A Pi Zero has one core; memory counts more than
/// threads do.
const WORKER_THREADS: usize = 2;

fn main() -> ExitCode {
    // Before anything can open a connection: two crates below ask for the process-wide provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    let exit = run(cli).unwrap_or_else(|error| {
        // Not `eprintln!`: it panics where nobody reads any more.
        let _ = writeln!(std::io::stderr(), "pilotfish: {}", chain(&error));
        Exit::of_error(&error)
    });
    ExitCode::from(exit.code())
}

fn run(cli: Cli) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build()?;
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
