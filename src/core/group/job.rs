//! Jobs: one-shots of a group, such as migrations. A fresh copy with the new image runs to its end
//! before any member is replaced.
//!
//! A job is begun anew at most a few times in one update, and never after its success. So it must
//! be idempotent: a copy that a power cut ended may have done a part of its work.

use std::collections::BTreeSet;

use crate::core::group::dependency::Condition;
use crate::core::group::order::Node;

/// Most runs of one job in one update. A copy that the power cut twice says nothing about the
/// image; one that is cut each time may be what takes the machine down.
pub const JOB_RUNS_MAX: u32 = 3;

/// What the Engine says about the copy of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyState {
    /// There is none.
    Gone,
    /// It was never started.
    Created,
    /// It runs.
    Works,
    /// It has ended.
    Ended {
        code: i64,
        /// Whether it is certain that it ended by itself: an end of the Engine or of the machine
        /// ends a container too, also with exit code 0.
        by_itself: bool,
    },
}

/// What is done with the copy of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobAction {
    /// Start it. A copy that has ended is replaced by a fresh one before.
    Start { is_fresh: bool },
    /// Wait for its end.
    Wait,
    /// It is done, and never runs again in this update.
    Succeeded,
    /// The update is rolled back, and the image of the job is refused.
    Failed(JobFailure),
}

/// Why a job failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobFailure {
    /// It ended with another exit code than 0.
    Code(i64),
    /// Every run was cut off.
    CutOff,
}

/// A job in an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobState {
    pub copy: CopyState,
    /// How many runs have begun.
    pub runs: u32,
    /// Whether a run has begun in this copy. An Engine that was killed may have forgotten it.
    pub is_used: bool,
}

impl JobState {
    /// The next action.
    #[must_use]
    pub const fn action(self) -> JobAction {
        match self.copy {
            CopyState::Works => JobAction::Wait,
            CopyState::Ended { code: 0, by_itself: true } => JobAction::Succeeded,
            CopyState::Ended { code, by_itself: true } => JobAction::Failed(JobFailure::Code(code)),
            _ if self.runs >= JOB_RUNS_MAX => JobAction::Failed(JobFailure::CutOff),
            CopyState::Created => JobAction::Start { is_fresh: !self.is_used },
            CopyState::Gone | CopyState::Ended { .. } => JobAction::Start { is_fresh: false },
        }
    }
}

/// Whether a member of a group is a job: a label says it, or another member waits for its end.
#[must_use]
pub fn is_job(is_labelled: bool, it: Node<'_>, all: &[Node<'_>]) -> bool {
    let waits = |other: &Node<'_>| {
        let mut awaited = other.depends_on.iter().filter(|on| on.condition == Condition::Completed);
        other.name != it.name && awaited.any(|on| it.is_meant_by(on))
    };
    is_labelled || all.iter().any(waits)
}

/// Which of these jobs run if the images of `changed` members change: those whose own image
/// changes, and those on which a changed member depends. They are returned in their given order.
#[must_use]
pub fn due(jobs: &[&str], changed: &BTreeSet<&str>, all: &[Node<'_>]) -> Vec<String> {
    let is_due = |job: &&&str| {
        let own = all.iter().find(|node| node.name == **job);
        let depends = |node: &Node<'_>| {
            changed.contains(node.name)
                && own.is_some_and(|own| node.depends_on.iter().any(|on| own.is_meant_by(on)))
        };
        changed.contains(**job) || all.iter().any(depends)
    };
    jobs.iter().filter(is_due).map(|job| (*job).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::group::dependency::Dependency;

    #[test]
    fn what_the_copy_of_a_job_means() {
        use CopyState::{Created, Ended, Gone, Works};
        use JobAction::{Failed, Start, Succeeded, Wait};
        let ended = |code, by_itself| Ended { code, by_itself };
        for (copy, runs, expected) in [
            (Created, 0, Start { is_fresh: true }),
            (Created, 2, Start { is_fresh: true }),
            (Gone, 0, Start { is_fresh: false }),
            (Gone, 1, Start { is_fresh: false }),
            (Works, 1, Wait),
            (Works, 3, Wait),
            (ended(0, true), 1, Succeeded),
            (ended(0, true), 3, Succeeded),
            (ended(1, true), 1, Failed(JobFailure::Code(1))),
            (ended(137, true), 1, Failed(JobFailure::Code(137))),
            // The power or the Engine ended it.
            (ended(0, false), 1, Start { is_fresh: false }),
            (ended(255, false), 2, Start { is_fresh: false }),
            (ended(0, false), 3, Failed(JobFailure::CutOff)),
            (Gone, 3, Failed(JobFailure::CutOff)),
            (Created, 3, Failed(JobFailure::CutOff)),
        ] {
            let state = JobState { copy, runs, is_used: false };
            assert_eq!(state.action(), expected, "{copy:?} {runs}");
        }
        let used = JobState { copy: Created, runs: 1, is_used: true };
        assert_eq!(used.action(), Start { is_fresh: false });
    }

    fn on(name: &str, condition: Condition) -> Dependency {
        Dependency { on: name.to_owned(), condition, restarts: false }
    }

    #[test]
    fn a_job_is_what_others_wait_for_or_what_is_labelled() {
        let api = [on("migrate", Condition::Completed), on("db", Condition::Healthy)];
        let nodes = ["shop-migrate-1", "shop-db-1", "shop-api-1"].map(|name| Node {
            name,
            service: name.strip_prefix("shop-").and_then(|it| it.strip_suffix("-1")),
            depends_on: if name == "shop-api-1" { &api } else { &[] },
        });
        let jobs: Vec<_> = nodes.iter().map(|node| is_job(false, *node, &nodes)).collect();
        assert_eq!(jobs, [true, false, false]);
        assert!(is_job(true, nodes[1], &nodes));
    }

    #[test]
    fn a_job_runs_for_its_own_image_and_for_those_of_its_dependents() {
        let api = [on("migrate", Condition::Completed)];
        let node = |name, depends_on| Node { name, service: None, depends_on };
        let nodes =
            [node("migrate", &[][..]), node("seed", &[]), node("api", &api), node("web", &[])];
        let due = |changed: &[&str]| {
            due(&["migrate", "seed"], &changed.iter().copied().collect(), &nodes)
        };
        assert_eq!(due(&["api"]), ["migrate"]);
        assert_eq!(due(&["web"]), [""; 0]);
        assert_eq!(due(&["migrate"]), ["migrate"]);
        assert_eq!(due(&["migrate", "api"]), ["migrate"], "the same image in both runs it once");
        assert_eq!(due(&["web", "seed", "api"]), ["migrate", "seed"]);
    }
}
