//! `docker compose` in the middle of a start-first update. Compose takes a second container of a
//! service for one too many.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use super::{DRAIN, START_FIRST};
use crate::support::command::run;
use crate::support::compose::{docker_compose, race_with};
use crate::support::registry::Published;
use crate::support::shop::release;
use crate::support::{Pi, WATCHED};

const UP: &[&str] = &["up", "--detach"];
const FORCE_RECREATE: &[&str] = &["up", "--detach", "--force-recreate"];

/// A service of Compose that is updated start-first.
struct ComposeService {
    pi: Pi,
    file: PathBuf,
    name: String,
    version: u32,
}

impl ComposeService {
    fn new() -> Self {
        let pi = Pi::new();
        let one = pi.registry.publish("till", &release("1"));
        let file = pi.engine.directory().join("docker-compose.yml");
        let labels = WATCHED.map(|label| label.trim_start_matches("--label=").to_owned());
        let labels = [&labels[..], &[START_FIRST, DRAIN].map(|it| it[8..].to_owned())].concat();
        let till = json!({ "image": one.reference, "restart": "always", "labels": labels });
        let project = json!({ "version": "3", "services": { "till": till } });
        fs::write(&file, project.to_string()).expect("a compose file");
        let mut service = Self { pi, file, name: String::new(), version: 1 };
        run(&mut service.compose(UP));
        // `shop_till_1`, or `shop-till-1`.
        service.name = service.pi.names().remove(0).replace(" running", "");
        service
    }

    fn compose(&self, arguments: &[&str]) -> Command {
        let mut command = docker_compose(&self.pi.engine, "shop", &self.file);
        command.args(arguments);
        command
    }

    fn is_running(&self) -> bool {
        self.pi.engine.inspect(&self.name).is_some_and(|it| it["State"]["Running"] == true)
    }

    /// Calls Compose when the update comes to the step; returns what is there at the end of both.
    fn compose_at(&mut self, arguments: &[&str], step: &str) -> (Published, String) {
        self.version += 1;
        let next = self.pi.registry.publish("till", &release(&self.version.to_string()));
        let agent = self.pi.update_until(step);
        let (composed, updated) = race_with(|| self.compose(arguments), agent);
        let names = self.pi.names();
        (next, format!("{arguments:?} at {step}: {names:?}\n{composed:?}\n{updated:?}"))
    }

    fn assert_up_leaves_it_running(&mut self, arguments: &[&str], step: &str) {
        let (next, what) = self.compose_at(arguments, step);
        for _ in 0..3 {
            assert!(self.is_running(), "{what}");
            self.pi.update(&[&self.name]);
        }
        assert_eq!(self.pi.names(), [format!("{} running", self.name)], "{what}");
        assert_eq!(self.pi.image(&self.name), next.image, "{what}");
    }

    fn assert_down_ends_it(&mut self, step: &str) {
        let (_, what) = self.compose_at(&["down"], step);
        self.pi.agent.run(&self.pi.engine, &["recover"]);
        assert_eq!(self.pi.names(), Vec::<String>::new(), "{what}");
        run(&mut self.compose(UP));
    }
}

#[test]
fn up_in_the_middle_leaves_the_service_running_and_down_ends_it() {
    let mut service = ComposeService::new();
    service.assert_up_leaves_it_running(UP, "join");
    service.assert_up_leaves_it_running(FORCE_RECREATE, "switch");
    service.assert_down_ends_it("prove");
}

#[test]
#[ignore = "takes two minutes: make torture"]
fn in_the_middle_of_each_step() {
    let mut service = ComposeService::new();
    for step in ["launch", "prove", "join", "switch", "verify", "commit"] {
        service.assert_up_leaves_it_running(UP, step);
        service.assert_up_leaves_it_running(FORCE_RECREATE, step);
    }
    for step in ["prove", "join"] {
        service.assert_down_ends_it(step);
    }
}
