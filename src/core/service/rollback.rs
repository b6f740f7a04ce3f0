//! The rollback of a service: what is written next, from what the Swarm shows.
//!
//! A rollback may hang. With ports of `mode: host` every tenth rollback of Swarm's own took a
//! minute (measured with Engine 20.10, 2 of 20): the replacement of the bad task waits for the port
//! and is to be shut down before it has a node, so its end is never reported, and the good task
//! waits for that report (`defaultOldTaskTimeout` in swarmkit). A fresh task for that place ends it
//! in two seconds.

use std::time::Duration;

use crate::core::service::facts::{TaskSlot, UpdateState};
use crate::core::service::plan::ServicePlan;
use crate::core::service::task::{SwarmTask, TaskState};
use crate::core::service::watch::{ServiceLook, is_restored};

/// After this time without a change a rollback counts as hanging, and one that Swarm has paused is
/// continued. A rollback that does not hang fills a place within two seconds.
const HANG_TIME: Duration = Duration::from_secs(5);

/// How long a node may be left out of the service. Swarm ends its task at once, unless it has just
/// changed its leader.
const LEFT_OUT_TIME: Duration = Duration::from_secs(5);

/// What a rollback does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RollbackMove {
    /// The specification gets the old image.
    Write,
    /// These places get fresh tasks.
    Replace(Vec<TaskSlot>),
    /// Swarm needs time; the text says what is missing.
    Wait(String),
    /// Every place serves with the old image.
    Done,
    /// The specification names neither image of the plan: the update never changed it, or a person
    /// has deployed something else since.
    Leave,
}

/// What is done next; `for_time` is how long ago the last change was.
#[must_use]
pub fn next_move(plan: &ServicePlan, for_time: Duration, look: &ServiceLook) -> RollbackMove {
    let image = &look.facts.image;
    if *image == plan.new_image {
        return RollbackMove::Write;
    }
    if *image != plan.old_image {
        return RollbackMove::Leave;
    }
    let Err(missing) = is_restored(look, image) else { return RollbackMove::Done };
    let slots = if for_time < HANG_TIME { Vec::new() } else { hanging(look) };
    if slots.is_empty() { RollbackMove::Wait(missing) } else { RollbackMove::Replace(slots) }
}

/// The places that stay empty without the agent.
fn hanging(look: &ServiceLook) -> Vec<TaskSlot> {
    let is_paused = matches!(look.facts.state, UpdateState::RollbackPaused | UpdateState::Paused);
    let slots = look.facts.slots(&look.nodes).into_iter();
    let is_left = |slot: &TaskSlot| match look.serving(slot, &look.facts.image) {
        // Swarm calls it running, and nothing reaches it.
        Some(task) => !task.publishes(&look.facts.host_ports),
        None => is_paused || is_hanging(look, slot),
    };
    slots.filter(is_left).collect()
}

fn is_hanging(look: &ServiceLook, slot: &TaskSlot) -> bool {
    let tasks = || look.tasks.iter().filter(|task| look.facts.slot_of(task) == *slot);
    let is_left =
        |task: &SwarmTask| task.state < TaskState::Assigned && task.desired >= TaskState::Shutdown;
    !tasks().any(SwarmTask::is_serving) && tasks().any(is_left)
}

/// Whether nodes that were left out of the service, so that they get fresh tasks, come back now:
/// when their tasks are on their way out. A change that comes earlier would undo the first one
/// before Swarm has seen it.
#[must_use]
pub fn nodes_come_back(look: &ServiceLook, nodes: &[String], for_time: Duration) -> bool {
    let is_wanted =
        |task: &SwarmTask| nodes.contains(&task.node_id) && task.desired <= TaskState::Running;
    for_time >= LEFT_OUT_TIME || !look.tasks.iter().any(is_wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::service::recorded::{TABLES, header, look};

    const AFTER: Duration = HANG_TIME;

    fn moved(look: &ServiceLook, for_time: Duration) -> RollbackMove {
        next_move(&header(&look.facts.image, false).plan, for_time, look)
    }

    fn waits(moved: &RollbackMove) -> bool {
        matches!(moved, RollbackMove::Wait(_))
    }

    #[test]
    fn a_rollback_that_hangs_is_told_from_one_that_takes_its_time() {
        let stuck = look("stuck-rollback");
        let replace = RollbackMove::Replace(vec![TaskSlot::Node(TABLES[0].into())]);
        assert_eq!(moved(&stuck, AFTER), replace);
        assert!(waits(&moved(&stuck, Duration::from_secs(4))));
        for moment in ["rollback-started", "back-middle"] {
            let moved = moved(&look(moment), AFTER);
            assert!(waits(&moved), "{moment}: {moved:?}");
        }
        for moment in ["rollback-completed", "back-done"] {
            assert_eq!(moved(&look(moment), AFTER), RollbackMove::Done, "{moment}");
        }
    }

    #[test]
    fn the_old_image_is_written_only_in_place_of_the_new_one() {
        let paused = look("paused");
        let mut plan = header(&paused.facts.image, true).plan;
        assert_eq!(next_move(&plan, AFTER, &paused), RollbackMove::Write);
        plan.new_image = "till:3@sha256:3".into();
        assert_eq!(next_move(&plan, AFTER, &paused), RollbackMove::Leave);
        // A tag that was never changed, or that a person has written again.
        let unpinned = look("unpinned");
        plan.image = unpinned.facts.image.clone();
        assert_eq!(next_move(&plan, AFTER, &unpinned), RollbackMove::Leave);
    }

    #[test]
    fn a_rollback_that_swarm_has_paused_is_continued() {
        let mut look = look("rollback-started");
        look.facts.state = UpdateState::RollbackPaused;
        let replace = RollbackMove::Replace(vec![TaskSlot::Node(TABLES[0].into())]);
        assert_eq!(moved(&look, AFTER), replace);
        assert!(waits(&moved(&look, Duration::ZERO)));
    }

    #[test]
    fn a_task_without_its_ports_is_replaced_and_one_that_serves_is_not() {
        let mut look = look("stuck-rollback");
        let good = look.tasks.iter_mut().find(|task| task.state == TaskState::Ready);
        let good = good.expect("the good task");
        (good.state, good.desired) = (TaskState::Running, TaskState::Running);
        good.ports.clear();
        let replace = RollbackMove::Replace(vec![TaskSlot::Node(TABLES[0].into())]);
        assert_eq!(moved(&look, AFTER), replace);
        assert!(waits(&moved(&look, Duration::ZERO)));
        let good = look.tasks.iter_mut().find(|task| task.is_serving() && task.ports.is_empty());
        good.expect("the good task").ports = look.facts.host_ports.clone();
        assert_eq!(moved(&look, AFTER), RollbackMove::Done);
    }

    #[test]
    fn nodes_come_back_when_their_tasks_are_on_their_way_out() {
        let mut look = look("good-done");
        let nodes = [TABLES[0].to_owned()];
        assert!(!nodes_come_back(&look, &nodes, Duration::ZERO));
        assert!(nodes_come_back(&look, &nodes, LEFT_OUT_TIME));
        let tasks = look.tasks.iter_mut().filter(|task| task.node_id == TABLES[0]);
        tasks.for_each(|task| task.desired = TaskState::Shutdown);
        assert!(nodes_come_back(&look, &nodes, Duration::ZERO));
    }
}
