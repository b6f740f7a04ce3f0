//! Actions of people on the machine, with their usual tools, and the checks afterwards.

use std::process::{Command, Output};

use serde_json::Value;

use crate::compose;
use crate::fault::UserAction;
use crate::invariants::{self, Finding};
use crate::rig::{CONTROL, ROUNDS_MAX, Rig, SERVICE};
use crate::support::QUIET;
use crate::support::agent::{Agent, Finished};
use crate::support::command::output;
use crate::support::registry::Published;
use crate::support::text;

impl Rig {
    /// Runs the action. It may fail, because it happens in the middle of an update.
    pub fn act(&mut self, user_action: UserAction) {
        self.action_log.push_str(&format!("--- {user_action:?} among {:?}\n", self.pi.names()));
        match user_action {
            UserAction::Remove => self.docker(&["rm", "--force", SERVICE]),
            UserAction::Restart => self.docker(&["restart", "--time=1", SERVICE]),
            UserAction::Rename => self.docker(&["rename", SERVICE, "mine"]),
            UserAction::Prune => self.docker(&["system", "prune", "--force"]),
            UserAction::AnotherAgent => {
                let other = Agent::install_as("another", &self.pi.engine, QUIET);
                let output = other.run(&self.pi.engine, &["update"]);
                self.action_log.push_str(&output_of(&output));
            }
            UserAction::ComposeUp => self.compose(&["up", "--detach"]),
            UserAction::ComposeRecreate => self.compose(&["up", "--detach", "--force-recreate"]),
            UserAction::ComposePull => {
                self.compose(&["pull", "--quiet"]);
                self.compose(&["up", "--detach"]);
            }
            UserAction::ComposeDown => self.compose(&["down"]),
        }
        self.action_log.push_str(&format!("--- then {:?}\n", self.pi.names()));
    }

    fn docker(&self, arguments: &[&str]) {
        drop(output(
            Command::new("docker").env("DOCKER_HOST", self.pi.engine.host()).args(arguments),
        ));
    }

    /// Remembers the containers that Compose created.
    fn compose(&mut self, arguments: &[&str]) {
        let before = self.ids();
        let mut output = compose::try_to(&self.pi, arguments);
        self.action_log.push_str(&String::from_utf8_lossy(&output.stderr));
        if is_name_collision(&output) {
            output = compose::try_to(&self.pi, &["up", "--detach"]);
            self.action_log.push_str(&String::from_utf8_lossy(&output.stderr));
        }
        // The agent's call is paused meanwhile, so nothing may stop the person's command.
        let failed = format!("docker-compose {arguments:?} ended with {}", output.status);
        self.failed_commands.extend((!output.status.success()).then(|| Finding::changed(failed)));
        let is_new = |id: &String| !before.contains(id);
        self.made = self.ids().into_iter().filter(is_new).collect();
    }

    fn ids(&self) -> Vec<String> {
        self.pi.engine.containers().iter().map(|it| text(&it["Id"])).collect()
    }

    /// A person changed the service. The change stays, no update is left open, and never two
    /// containers run.
    pub fn check_after_action(
        &mut self,
        user_action: UserAction,
        next: &Published,
        landed: bool,
    ) -> Vec<Finding> {
        let output = output_of(&self.pi.agent.run(&self.pi.engine, &["recover"]));
        self.action_log.push_str(&format!("--- recover:\n{output}"));
        let mut findings = std::mem::take(&mut self.failed_commands);
        findings.extend(self.check_created_containers(user_action));
        for _ in 0..ROUNDS_MAX {
            let output = output_of(&self.pi.update(&[]));
            self.action_log.push_str(&output);
        }
        findings.extend(self.check_final_state(user_action, next));
        if landed && !self.history_knows(next) {
            let what = "the history does not have the interrupted update".to_owned();
            findings.push(Finding::changed(what));
        }
        findings
    }

    fn check_created_containers(&mut self, user_action: UserAction) -> Vec<Finding> {
        let runs = |id: &String| {
            self.pi.engine.inspect(id).is_some_and(|it| it["State"]["Running"] == true)
        };
        let gone: Vec<&String> = self.made.iter().filter(|id| !runs(id)).collect();
        let mut findings = Vec::new();
        if !gone.is_empty() {
            let what =
                format!("what {user_action:?} made does not run: {gone:?}, {:?}", self.pi.names());
            findings.push(Finding::changed(what));
        }
        if user_action == UserAction::ComposeDown
            && self.pi.names() != [format!("{CONTROL} running")]
        {
            let what = format!("what was taken down is back: {:?}", self.pi.names());
            findings.push(Finding::changed(what));
        }
        self.made.clear();
        findings
    }

    /// In the end no container of the agent is left, no journal is open, and one container of the
    /// service runs, on the release; none if a person removed it.
    fn check_final_state(&self, user_action: UserAction, next: &Published) -> Vec<Finding> {
        let mut findings = Vec::new();
        let names = self.pi.names();
        let ours = names.iter().filter(|name| name.contains("pilotfish-"));
        findings.extend(ours.map(|name| Finding::leftovers(format!("the container {name}"))));
        let is_present = names.iter().any(|name| !name.starts_with(CONTROL));
        let running = invariants::running(self, SERVICE);
        if running.len() != 1 && (is_present || !user_action.may_remove_service()) {
            findings.push(invariants::lost(self, &self.watch));
        }
        if let Some(service) = running.first().filter(|it| it["Image"] != next.image.as_str()) {
            let what = format!("{} runs, the release is {}", service["Image"], next.image);
            findings.push(Finding::changed(what));
        }
        for service in &running {
            let policy = &service["HostConfig"]["RestartPolicy"]["Name"];
            if policy != "always" {
                findings.push(Finding::changed(format!("its restart policy is {policy}")));
            }
        }
        if user_action.is_compose() && is_present {
            let known = compose::containers(&self.pi);
            let ids: Vec<String> = running.iter().map(|it| text(&it["Id"])).collect();
            if known != ids {
                findings.push(Finding::changed(format!("Compose knows {known:?}, of {ids:?}")));
            }
        }
        findings.extend(invariants::doubled(self, &self.watch));
        findings.extend(invariants::check_control(self));
        findings.extend(invariants::check_state(&self.pi.agent.state()));
        findings
    }

    /// I7, for any name that the container had at that time.
    fn history_knows(&self, next: &Published) -> bool {
        let is_it = |record: &Value| record["to"] == next.digest.as_str();
        invariants::history(self).iter().any(is_it)
    }
}

/// Compose 2 may take the parked container for the service, and then finds its name in use. Then it
/// is run again, as `docs/when-it-fails.md` says.
fn is_name_collision(output: &Output) -> bool {
    let stderr = String::from_utf8_lossy(&output.stderr);
    !output.status.success() && stderr.contains("is already in use by container")
}

fn output_of(finished: &Finished) -> String {
    format!("{}{}", finished.out, finished.err)
}
