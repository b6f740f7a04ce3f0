//! The real `docker-compose`, on a project with the service in it: the installed one, or the one in
//! `TEST_COMPOSE` (`make test-engines` uses Compose 2).

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use crate::rig::SERVICE;
use crate::service::{LABELS, SHELF, diary};
use crate::service_watch::SERVICE_LABEL;
use crate::support::Pi;
use crate::support::command::{output, run};
use crate::support::compose::docker_compose;
use crate::support::registry::Published;

/// The name of the project, which is in its labels and its network.
const PROJECT: &str = "shop";

/// Writes the file, and starts the project for the first time.
pub fn start(pi: &Pi, image: &Published) {
    fs::write(path(pi), file(pi, image)).expect("the compose file");
    run(&mut compose(pi, &["up", "--detach"]));
}

/// Runs a command of a person in the project's directory. It may fail, because it runs in the
/// middle of an update.
pub fn try_to(pi: &Pi, arguments: &[&str]) -> Output {
    output(&mut compose(pi, arguments))
}

/// The IDs of the containers that Compose considers part of the project.
pub fn containers(pi: &Pi) -> Vec<String> {
    let ids = run(&mut compose(pi, &["ps", "--quiet"]));
    ids.lines().map(str::to_owned).collect()
}

fn compose(pi: &Pi, arguments: &[&str]) -> Command {
    let mut command = docker_compose(&pi.engine, PROJECT, &path(pi));
    command.args(arguments);
    command
}

fn path(pi: &Pi) -> PathBuf {
    pi.engine.directory().join("docker-compose.yml")
}

/// The same service that `docker run` starts elsewhere, as a compose file.
fn file(pi: &Pi, image: &Published) -> String {
    let labels = [&LABELS[..], &[SHELF, SERVICE_LABEL]].concat();
    let labels: Vec<String> = labels.iter().map(|label| format!("{label:?}")).collect();
    format!(
        "version: \"2.4\"\n\
         services:\n  \
         {SERVICE}:\n    \
         container_name: {SERVICE}\n    \
         image: {}\n    \
         restart: always\n    \
         hostname: till-3\n    \
         mem_limit: 64m\n    \
         stop_grace_period: 5s\n    \
         labels: [{}]\n    \
         environment: [TILL_DIARY=/diary/starts, SHELF=3]\n    \
         volumes: [\"{}:/diary\", \"ledger:/ledger\", /receipts]\n\
         volumes:\n  \
         ledger: {{}}\n",
        image.reference,
        labels.join(", "),
        diary(pi).display(),
    )
}
