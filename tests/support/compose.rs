//! The real Compose.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::agent::{Finished, Running};
use crate::support::command::{output, run};
use crate::support::engine::Engine;

/// Compose 2 as a plugin of Docker, below the root directory.
const COMPOSE_PLUGIN: &str = "usr/libexec/docker/cli-plugins/docker-compose";

/// Compose 2: `TEST_COMPOSE`, or the one beside the Engine in `TEST_ENGINE_ROOT`. None: the
/// installed Compose is used, which is 1.29. It cannot recreate a container on Engine 25 or later.
pub fn compose_2() -> Option<PathBuf> {
    let beside = |root: OsString| Path::new(&root).join(COMPOSE_PLUGIN);
    let chosen = env::var_os("TEST_COMPOSE").map(PathBuf::from);
    let beside = env::var_os("TEST_ENGINE_ROOT").map(beside).filter(|path| path.exists());
    chosen.or(beside)
}

/// The real `docker-compose` with the project in this file.
pub fn docker_compose(engine: &Engine, project: &str, file: &Path) -> Command {
    let mut command = Command::new(compose_2().unwrap_or_else(|| "docker-compose".into()));
    command.env("DOCKER_HOST", engine.host());
    command.args(["--project-name", project, "--file"]).arg(file);
    command
}

/// Runs Compose in the middle of an update, and waits for the end of both. Compose gives up if the
/// agent removes a container that Compose is about to remove. Then it is run again, as a person
/// would do. Returns the first result of Compose.
pub fn race_with(compose: impl Fn() -> Command, update: Running) -> (Output, Finished) {
    let composed = output(&mut compose());
    let updated = update.finish();
    if !composed.status.success() {
        run(&mut compose());
    }
    (composed, updated)
}
