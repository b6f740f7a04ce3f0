//! Whether a service is healthy on its new image: a verdict from looks at the Swarm.
//!
//! Time is counted by the agent, from the looks in which it saw a task run without a break. The
//! times in the documents come from the clocks of the nodes, and a Pi without a clock of its own
//! may be years off.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::core::service::facts::{ServiceFacts, TaskSlot, UpdateState};
use crate::core::service::node::{Availability, NodeState, SwarmNode};
use crate::core::service::task::{SwarmTask, TaskState};
use crate::core::time::duration::format_duration;
use crate::core::update::history::Cause;
use crate::core::update::start_error::{self, Blame};

/// How long a running task may be without its ports. A node reports both in one message, so this
/// only covers a message that is repeated in two parts.
const PORTS_TIME: Duration = Duration::from_secs(3);

/// The words of a node before the Engine's own, if a container could not be started (swarmkit,
/// `agent/exec/dockerapi`).
const START_FAILED: &str = "starting container failed: ";

/// What one look at the Swarm showed.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceLook {
    pub facts: ServiceFacts,
    pub tasks: Vec<SwarmTask>,
    pub nodes: Vec<SwarmNode>,
}

impl ServiceLook {
    /// The task that serves in a place with this image, if there is one.
    #[must_use]
    pub fn serving(&self, slot: &TaskSlot, image: &str) -> Option<&SwarmTask> {
        let is_it = |task: &&SwarmTask| {
            task.is_serving() && task.image == image && self.facts.slot_of(task) == *slot
        };
        self.tasks.iter().find(is_it)
    }

    /// The name of a node for a person.
    #[must_use]
    pub fn node_name(&self, id: &str) -> String {
        let node = self.nodes.iter().find(|node| node.id == id);
        node.map_or_else(|| "no node".to_owned(), SwarmNode::name)
    }

    /// Whether the Swarm does not know yet where its nodes are, as after a change of its leader.
    #[must_use]
    pub fn is_unclear(&self) -> bool {
        let is_unclear = |node: &SwarmNode| {
            node.state == NodeState::Unclear && node.availability == Availability::Active
        };
        self.nodes.iter().any(|node| is_unclear(node) && self.facts.may_use(node))
    }
}

/// What every place of the service must come to.
#[derive(Debug, Clone, Copy)]
pub struct WatchTarget<'a> {
    /// The image, as in the specification.
    pub image: &'a str,
    /// The tasks that existed before the update: they say nothing about it.
    pub known: &'a BTreeSet<String>,
    /// How long each task must run.
    pub stable: Duration,
    /// How long a task may take to become healthy, once its container runs.
    pub healthy: Duration,
}

/// The verdict so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceVerdict {
    /// Nothing is wrong, and it is not over; the text says what is missing.
    Waiting(String),
    /// Every place has run the image for the stable time.
    Healthy,
    Failed(Cause),
    /// A task runs, but not all of its ports are published; the text says where.
    PortMissing {
        slot: TaskSlot,
        detail: String,
    },
}

/// What the looks so far have shown.
#[derive(Debug, Clone, Default)]
pub struct ServiceWatch {
    /// When each task was first seen to run, from the beginning of the watch.
    running: BTreeMap<String, Duration>,
    /// When the container of each task was first seen to run without being healthy.
    starting: BTreeMap<String, Duration>,
    /// Nodes that were away in the meantime: what ended there says nothing about the image.
    away: BTreeSet<String>,
}

impl ServiceWatch {
    /// Takes a look, made `at` this time after the beginning of the watch.
    pub fn judge(
        &mut self,
        at: Duration,
        look: &ServiceLook,
        target: WatchTarget<'_>,
    ) -> ServiceVerdict {
        self.remember(at, look, target);
        let of_ours =
            |task: &&SwarmTask| task.image == target.image && !target.known.contains(&task.id);
        let tasks = || look.tasks.iter().filter(of_ours);
        if let Some(cause) = self.failure(look, target.image, target.known) {
            return ServiceVerdict::Failed(cause);
        }
        if let Some(slow) = tasks().find(|task| self.is_late(at, task, target.healthy)) {
            let limit = format_duration(target.healthy);
            let detail = format!(
                "its task on {} did not become healthy within {limit}",
                look.node_name(&slow.node_id)
            );
            return ServiceVerdict::Failed(Cause::image(detail));
        }
        if look.facts.state == UpdateState::Paused {
            let detail = "Swarm paused the update after a failed task";
            return ServiceVerdict::Failed(Cause::image(detail));
        }
        self.places(at, look, target)
    }

    /// Why a task of the new image ended by itself, if one did. Swarm has begun its own rollback
    /// then, and soon forgets the task.
    #[must_use]
    pub fn failure(
        &self,
        look: &ServiceLook,
        image: &str,
        known: &BTreeSet<String>,
    ) -> Option<Cause> {
        let is_it = |task: &&SwarmTask| {
            task.image == image && !known.contains(&task.id) && task.has_ended_by_itself()
        };
        look.tasks.iter().find(is_it).map(|task| self.cause(look, task))
    }

    fn remember(&mut self, at: Duration, look: &ServiceLook, target: WatchTarget<'_>) {
        let away = look.nodes.iter().filter(|node| node.state == NodeState::Down);
        self.away.extend(away.map(|node| node.id.clone()));
        let ours = || look.tasks.iter().filter(|task| task.image == target.image);
        note(&mut self.running, at, ours().filter(|task| task.is_serving()));
        note(&mut self.starting, at, ours().filter(|task| task.state == TaskState::Starting));
    }

    fn is_late(&self, at: Duration, task: &SwarmTask, healthy: Duration) -> bool {
        self.starting.get(&task.id).is_some_and(|since| at.saturating_sub(*since) > healthy)
    }

    /// Whether every place has what it needs.
    fn places(&self, at: Duration, look: &ServiceLook, target: WatchTarget<'_>) -> ServiceVerdict {
        if look.is_unclear() {
            return ServiceVerdict::Waiting(
                "the Swarm does not know the state of its nodes".into(),
            );
        }
        let slots = look.facts.slots(&look.nodes);
        let mut ready = 0;
        for slot in &slots {
            let Some(task) = look.serving(slot, target.image) else { continue };
            let since = self.running.get(&task.id).copied().unwrap_or(at);
            let for_time = at.saturating_sub(since);
            if !task.publishes(&look.facts.host_ports) && for_time >= PORTS_TIME {
                let node = look.node_name(&task.node_id);
                let detail = format!("nothing publishes the ports of its task on {node}");
                return ServiceVerdict::PortMissing { slot: slot.clone(), detail };
            }
            if task.publishes(&look.facts.host_ports) && for_time >= target.stable {
                ready += 1;
            }
        }
        match slots.len() {
            0 => ServiceVerdict::Waiting("no node may run it now".into()),
            all if all == ready => ServiceVerdict::Healthy,
            all => {
                ServiceVerdict::Waiting(format!("{ready} of {all} tasks have proved themselves"))
            }
        }
    }

    /// Why a task ended, and whose fault it was.
    fn cause(&self, look: &ServiceLook, task: &SwarmTask) -> Cause {
        let node = look.node_name(&task.node_id);
        let detail = format!("its task on {node} {}", ending(task));
        if self.away.contains(&task.node_id) {
            return Cause::interrupted(format!("{detail}; the node was away in the meantime"));
        }
        let start = task.error.strip_prefix(START_FAILED);
        let blame = match (task.state, start) {
            (TaskState::Rejected, _) => start_error::of(&task.error),
            (_, Some(start)) => start_error::of(start),
            // Its container ran.
            (_, None) => Blame::Image,
        };
        match blame {
            Blame::Image => Cause::image(detail),
            Blame::Surroundings | Blame::Unknown => Cause::surroundings(detail),
        }
    }
}

/// Whether every place serves with this image again, with its ports; the text says what is missing.
///
/// # Errors
/// A place does not serve.
pub fn is_restored(look: &ServiceLook, image: &str) -> Result<(), String> {
    if look.is_unclear() {
        return Err("the Swarm does not know the state of its nodes".into());
    }
    let is_good = |slot: &TaskSlot| {
        let task = look.serving(slot, image);
        task.is_some_and(|task| task.publishes(&look.facts.host_ports))
    };
    let slots = look.facts.slots(&look.nodes);
    match slots.iter().filter(|slot| is_good(slot)).count() {
        good if good == slots.len() => Ok(()),
        good => Err(format!("{good} of {} tasks serve", slots.len())),
    }
}

/// When each of these tasks was first seen. A task that is not among them any more begins anew.
fn note<'a>(
    seen: &mut BTreeMap<String, Duration>,
    at: Duration,
    tasks: impl Iterator<Item = &'a SwarmTask>,
) {
    let before = std::mem::take(seen);
    seen.extend(tasks.map(|task| {
        let since = before.get(&task.id).copied().unwrap_or(at);
        (task.id.clone(), since)
    }));
}

fn ending(task: &SwarmTask) -> String {
    match task.state {
        TaskState::Complete => "ended by itself".into(),
        TaskState::Rejected => format!("could not be prepared: {}", task.words()),
        _ => format!("failed: {}", task.words()),
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
