//! What people do to the machine, with the tools that people use, and what is left of it.

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
    /// Does it. Most of it may fail, because it meets the middle of an update.
    pub fn meddle(&mut self, user_action: UserAction) {
        self.story.push_str(&format!("--- {user_action:?} among {:?}\n", self.pi.names()));
        match user_action {
            UserAction::Remove => self.docker(&["rm", "--force", SERVICE]),
            UserAction::Restart => self.docker(&["restart", "--time=1", SERVICE]),
            UserAction::Rename => self.docker(&["rename", SERVICE, "mine"]),
            UserAction::Prune => self.docker(&["system", "prune", "--force"]),
            UserAction::AnotherAgent => {
                let other = Agent::install_as("another", &self.pi.engine, QUIET);
                let told = other.run(&self.pi.engine, &["update"]);
                self.story.push_str(&said(&told));
            }
            UserAction::ComposeUp => self.compose(&["up", "--detach"]),
            UserAction::ComposeRecreate => self.compose(&["up", "--detach", "--force-recreate"]),
            UserAction::ComposePull => {
                self.compose(&["pull", "--quiet"]);
                self.compose(&["up", "--detach"]);
            }
            UserAction::ComposeDown => self.compose(&["down"]),
        }
        self.story.push_str(&format!("--- then {:?}\n", self.pi.names()));
    }

    fn docker(&self, arguments: &[&str]) {
        drop(output(
            Command::new("docker").env("DOCKER_HOST", self.pi.engine.host()).args(arguments),
        ));
    }

    /// Remembers what Compose made.
    fn compose(&mut self, arguments: &[&str]) {
        let before = self.ids();
        let mut told = compose::try_to(&self.pi, arguments);
        self.story.push_str(&String::from_utf8_lossy(&told.stderr));
        if is_a_collision(&told) {
            told = compose::try_to(&self.pi, &["up", "--detach"]);
            self.story.push_str(&String::from_utf8_lossy(&told.stderr));
        }
        // The agent's call rests meanwhile, so nothing is in a person's way.
        let failed = format!("docker-compose {arguments:?} ended with {}", told.status);
        self.complaints.extend((!told.status.success()).then(|| Finding::changed(failed)));
        let is_new = |id: &String| !before.contains(id);
        self.made = self.ids().into_iter().filter(is_new).collect();
    }

    fn ids(&self) -> Vec<String> {
        self.pi.engine.containers().iter().map(|it| text(&it["Id"])).collect()
    }

    /// Somebody made of the service what they wanted. It stays so, nothing is left open, and there
    /// are never two.
    pub fn judge_deed(
        &mut self,
        user_action: UserAction,
        next: &Published,
        landed: bool,
    ) -> Vec<Finding> {
        let told = said(&self.pi.agent.run(&self.pi.engine, &["recover"]));
        self.story.push_str(&format!("--- recover:\n{told}"));
        let mut findings = std::mem::take(&mut self.complaints);
        findings.extend(self.judge_what_they_made(user_action));
        for _ in 0..ROUNDS_MAX {
            let told = said(&self.pi.update(&[]));
            self.story.push_str(&told);
        }
        findings.extend(self.judge_after_people(user_action, next));
        if landed && !self.history_knows(next) {
            let what = "the history does not tell of the update that they met".to_owned();
            findings.push(Finding::changed(what));
        }
        findings
    }

    fn judge_what_they_made(&mut self, user_action: UserAction) -> Vec<Finding> {
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

    /// In the end nothing of ours is left, no journal is open, and one container of the service
    /// runs, on the release; none where somebody removed it.
    fn judge_after_people(&self, user_action: UserAction, next: &Published) -> Vec<Finding> {
        let mut findings = Vec::new();
        let names = self.pi.names();
        let ours = names.iter().filter(|name| name.contains("pilotfish-"));
        findings.extend(ours.map(|name| Finding::debris(format!("the container {name}"))));
        let is_there = names.iter().any(|name| !name.starts_with(CONTROL));
        let running = invariants::running(self);
        if running.len() != 1 && (is_there || !user_action.may_take_it_away()) {
            findings.push(invariants::lost(self));
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
        if user_action.is_compose() && is_there {
            let known = compose::containers(&self.pi);
            let ids: Vec<String> = running.iter().map(|it| text(&it["Id"])).collect();
            if known != ids {
                findings.push(Finding::changed(format!("Compose knows {known:?}, of {ids:?}")));
            }
        }
        findings.extend(invariants::doubled(self));
        findings.extend(invariants::judge_control(self));
        findings.extend(invariants::judge_state(&self.pi.agent.state()));
        findings
    }

    /// I7, for whatever name the container had then.
    fn history_knows(&self, next: &Published) -> bool {
        let is_it = |record: &Value| record["to"] == next.digest.as_str();
        invariants::history(self).iter().any(is_it)
    }
}

/// Compose 2 may take the container that waits beside the service for the service, and then meets
/// itself. It is run again then, as `docs/when-it-fails.md` tells.
fn is_a_collision(told: &Output) -> bool {
    let said = String::from_utf8_lossy(&told.stderr);
    !told.status.success() && said.contains("is already in use by container")
}

fn said(finished: &Finished) -> String {
    format!("{}{}", finished.out, finished.err)
}
