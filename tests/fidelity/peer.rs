//! The same table for freshdock, another updater, for comparison.
//!
//! It is run as its users run it, `freshdock recreate NAME`, against a registry with the next
//! release. The same code compares the result.

use std::path::PathBuf;
use std::process::Command;

use crate::engine::Engine;
use crate::support::registry::{PORT, Registry};

/// freshdock, and a registry to pull from.
pub struct Freshdock {
    program: PathBuf,
    /// `freshdock 1.7.1`
    pub version: String,
    _registry: Registry,
}

impl Freshdock {
    /// Publishes the next releases. `FRESHDOCK` names the program.
    pub fn new(engine: &Engine, workers: usize) -> Self {
        let program = std::env::var_os("FRESHDOCK").expect("FRESHDOCK names the program");
        let program = PathBuf::from(program);
        let version = Command::new(&program).arg("--version").output().expect("freshdock");
        let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
        let registry = Registry::start(&engine.private);
        let all = (0..workers).flat_map(|number| ["app", "plain"].map(|release| (release, number)));
        for (release, number) in all {
            let name = reference(release, number);
            let commands = [format!("tag {release}:v2 {name}"), format!("push --quiet {name}")];
            for command in commands {
                let words: Vec<&str> = command.split(' ').collect();
                engine.try_docker(&words).unwrap_or_else(|error| panic!("{error}"));
            }
        }
        Self { program, version, _registry: registry }
    }

    /// Runs freshdock on the container.
    pub fn recreate(&self, engine: &Engine, container: &str) -> Result<(), String> {
        let output = Command::new(&self.program)
            .args(["--no-color", "recreate", container])
            .env("DOCKER_HOST", engine.private.host())
            // So the container itself needs no opt-in label.
            .envs([("FRESHDOCK_WATCH_ALL", "true"), ("FRESHDOCK_DEFAULT_MODE", "live")])
            .env("RUST_BACKTRACE", "0")
            .current_dir("/")
            .output()
            .map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        let error = stderr.lines().find(|line| line.starts_with("Error"));
        Err(error.unwrap_or("it failed without a message").to_owned())
    }
}

/// The tag of a release for a worker. The local tag moves for each row.
pub fn reference(release: &str, worker: usize) -> String {
    format!("127.0.0.1:{PORT}/{release}-{worker}:latest")
}
