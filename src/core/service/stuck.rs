//! When to cut a rollback of Swarm's short.
//!
//! With ports of `mode: host` every tenth rollback hangs for a minute (measured with Engine 20.10,
//! 2 of 20): the replacement of the bad task waits for the port and is to be shut down before it
//! has a node, so its end is never reported, and the good task waits for that report
//! (`defaultOldTaskTimeout` in swarmkit). One more change of the specification ends it in two
//! seconds.

use std::time::Duration;

use crate::core::service::facts::TaskSlot;
use crate::core::service::task::{SwarmTask, TaskState};
use crate::core::service::watch::ServiceLook;

/// After this time a rollback counts as hanging. Rollbacks that did not hang took seven seconds at
/// most.
const HANG_TIME: Duration = Duration::from_secs(10);

/// The places that a rollback leaves empty, if it hangs; `for_time` is how long it is on its way.
#[must_use]
pub fn hanging(for_time: Duration, look: &ServiceLook) -> Vec<TaskSlot> {
    if for_time < HANG_TIME {
        return Vec::new();
    }
    let slots = look.facts.slots(&look.nodes).into_iter();
    slots.filter(|slot| is_hanging(look, slot)).collect()
}

fn is_hanging(look: &ServiceLook, slot: &TaskSlot) -> bool {
    let tasks = || look.tasks.iter().filter(|task| look.facts.slot_of(task) == *slot);
    let is_left =
        |task: &SwarmTask| task.state < TaskState::Assigned && task.desired >= TaskState::Shutdown;
    !tasks().any(SwarmTask::is_serving) && tasks().any(is_left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::service::recorded::{TABLES, look};

    const AFTER: Duration = Duration::from_secs(11);

    #[test]
    fn a_rollback_that_hangs_is_told_from_one_that_takes_its_time() {
        assert_eq!(hanging(AFTER, &look("stuck-rollback")), [TaskSlot::Node(TABLES[0].into())]);
        assert_eq!(hanging(Duration::from_secs(9), &look("stuck-rollback")), []);
        for moment in ["rollback-started", "rollback-completed", "back-middle", "paused"] {
            assert_eq!(hanging(AFTER, &look(moment)), [], "{moment}");
        }
    }

    #[test]
    fn a_place_that_serves_does_not_hang() {
        let mut look = look("stuck-rollback");
        let good = look.tasks.iter_mut().find(|task| task.state == TaskState::Ready);
        let good = good.expect("the good task");
        (good.state, good.desired) = (TaskState::Running, TaskState::Running);
        assert_eq!(hanging(AFTER, &look), []);
    }
}
