//! What the Engine says about an unfinished update, and how the update continues.

use crate::core::docker::names::NEW_PREFIX;
use crate::core::update::history::{Cause, Fault};
use crate::core::update::{JournalProgress, SWITCH_ATTEMPTS_MAX, Step, VERIFY_ATTEMPTS_MAX};

/// What the Engine says about one container of an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerState {
    pub id: String,
    /// Without the slash.
    pub name: String,
    /// Whether its process runs (`running`, `restarting` or `paused`).
    pub running: bool,
    /// Whether it was ever started.
    pub started: bool,
}

/// What the Engine says about one member of an update.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemberState {
    /// The container to be replaced, under its present name.
    pub old: Option<ContainerState>,
    /// The container to replace it.
    pub new: Option<ContainerState>,
    /// Whether the old container was started again since the journal began. Then no stop of this
    /// update can still be running.
    pub old_was_started_again: bool,
}

impl MemberState {
    fn old_runs(&self) -> bool {
        self.old.as_ref().is_some_and(|old| old.running)
    }
}

/// What the Engine says about all members of an update, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActualState {
    /// The main one first.
    pub members: Vec<MemberState>,
}

impl ActualState {
    fn old_runs(&self) -> bool {
        self.members.iter().any(MemberState::old_runs)
    }

    /// All new containers; `None` if one of them is missing.
    fn all_new(&self) -> Option<Vec<&ContainerState>> {
        self.members.iter().map(|pair| pair.new.as_ref()).collect()
    }

    /// Whether the old containers that run do so only because their stop has not ended yet.
    fn is_stopping(&self, progress: &JournalProgress) -> bool {
        let is_untouched = |pair: &MemberState| {
            !pair.old_was_started_again && pair.new.as_ref().is_none_or(|new| !new.started)
        };
        progress.is_in_switch() && self.members.iter().all(is_untouched)
    }
}

/// Whether a person removed all containers of an update. No clean-up removes a container that runs,
/// so a person who removed the container that served, and left nothing beside it, wants it gone.
#[must_use]
pub fn is_taken_away(progress: &JournalProgress, reality: &ActualState) -> bool {
    let is_gone = |pair: &MemberState| pair.old.is_none() && pair.new.is_none();
    let by_a_person = |cause: &Cause| cause.fault == Fault::Person;
    progress.failed.as_ref().is_some_and(by_a_person) && reality.members.iter().all(is_gone)
}

/// What to do with an unfinished update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resume {
    /// Continue with this step.
    Forward(Step),
    /// Roll back. The cause is the recorded one, or says that the update was interrupted.
    Back(Cause),
}

/// Decides how an unfinished update continues.
///
/// It continues once all new containers have proved themselves, or while they still can without
/// another gap. In every other case all of them are rolled back. Nothing here blames the image,
/// because an interrupted trial is no judgement.
#[must_use]
pub fn resume(progress: &JournalProgress, reality: &ActualState) -> Resume {
    if let Some(cause) = &progress.failed {
        return Resume::Back(cause.clone());
    }
    if progress.is_committed() {
        return Resume::Forward(Step::Clean);
    }
    let interrupted = |detail: &str| Resume::Back(Cause::interrupted(detail));
    let new = reality.all_new();
    // After a power cut before the commit was on the disk, the Engine has started the old
    // container, and may not start the new one: the container that serves stays.
    if let Some(new) = new.as_ref().filter(|_| progress.is_proven())
        && !reality.old_runs()
    {
        if new.iter().all(|new| !new.name.starts_with(NEW_PREFIX)) {
            return Resume::Forward(Step::Commit);
        }
        return interrupted("the rollback had begun, and could not be recorded");
    }
    if progress.is_at_jobs() {
        // A job that still runs is waited for, and one that was cut off runs again.
        return match (new.is_some(), progress.done >= Some(Step::Run)) {
            (false, _) => interrupted("a new container was gone when the update was continued"),
            (true, false) => Resume::Forward(Step::Run),
            (true, true) => Resume::Forward(Step::Switch),
        };
    }
    match new {
        _ if !progress.old_may_be_down() => {
            interrupted("the update was interrupted before anything was stopped")
        }
        None => interrupted("the new container was gone when the update was continued"),
        Some(new) => resume_switched(progress, reality, &new),
    }
}

/// The same for an update that may have stopped the old containers. `new` are all new ones.
fn resume_switched(
    progress: &JournalProgress,
    reality: &ActualState,
    new: &[&ContainerState],
) -> Resume {
    let interrupted = |detail: &str| Resume::Back(Cause::interrupted(detail));
    if is_handing_over(progress, reality) {
        return Resume::Forward(Step::Switch);
    }
    if reality.old_runs() {
        // It still runs since before the update because its stop has not ended. It may stop at any
        // moment, so the gap is there anyway.
        let is_stopping = !progress.has_launched && reality.is_stopping(progress);
        if is_stopping && progress.switches < SWITCH_ATTEMPTS_MAX {
            return Resume::Forward(Step::Switch);
        }
        return interrupted("the Engine had started the old container again");
    }
    if new.iter().any(|new| !new.running && new.started) {
        return interrupted("the new container no longer ran when the update was continued");
    }
    if progress.verifications >= VERIFY_ATTEMPTS_MAX {
        return interrupted("three verifications in a row were interrupted");
    }
    match new.iter().all(|new| new.running) {
        true => Resume::Forward(Step::Verify),
        // The Engine has forgotten its start, and the switch would not start it.
        false if progress.has_launched => interrupted("the new container did not run"),
        false => Resume::Forward(Step::Switch),
    }
}

/// Whether the old containers are being stopped while proven new ones serve beside them. The
/// journal says so, and nothing has been started again since.
fn is_handing_over(progress: &JournalProgress, reality: &ActualState) -> bool {
    let is_intact = |pair: &MemberState| {
        pair.new.as_ref().is_some_and(|new| new.running) && !pair.old_was_started_again
    };
    progress.has_launched
        && progress.is_in_switch()
        && progress.switches < SWITCH_ATTEMPTS_MAX
        && reality.members.iter().all(is_intact)
}
