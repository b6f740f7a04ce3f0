//! The agent's own update. The self-update helper carries it out, because an agent cannot stop
//! itself and continue.
//!
//! The process that holds the lock of the state directory works; all others wait. The file
//! described here says who may take the lock: while the update is requested, the helper; once it
//! has ended, the agent in the container that remains.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::decide::offer::Offer;
use crate::core::docker::{inspect, names};
use crate::core::recreate::restart_policy;
use crate::core::subject::Subject;
use crate::core::update::JournalProgress;
use crate::core::update::history::Record;
use crate::core::update::plan::{Header, Plan};

/// How many helpers are created for one update if they vanish in the middle of it. After that a
/// person is needed.
pub const HELPERS_MAX: u32 = 3;

/// How long a running helper may leave the lock free. The Engine waits up to a minute before it
/// restarts a container that ends again and again.
const SILENCE_OF_A_RUNNING_HELPER: Duration = Duration::from_secs(90);

/// How long the agent waits for a helper that does not run: an Engine that has just started starts
/// its containers one after the other.
const SILENCE_OF_A_STOPPED_HELPER: Duration = Duration::from_secs(10);

/// What the helper has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SelfUpdateTask {
    /// An ordinary update.
    Update {
        /// A person insists: windows and refusals do not count, safety does.
        force: bool,
    },
    /// A rollback to the previous image.
    RollBack,
}

/// Who may take the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockOwner {
    Helper,
    /// The agent: the helper has nothing more to do, and waits to be removed.
    Agent,
}

/// An update of the agent's own container by a helper.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SelfUpdate {
    /// Version of the format of this file.
    pub version: u32,
    /// Who may take the lock.
    pub turn: LockOwner,
    /// The name of the agent's container.
    pub container: String,
    /// The ID of the container that is replaced.
    pub old_container: String,
    /// The ID of the image that it runs, and the helper too.
    pub image_id: String,
    pub task: SelfUpdateTask,
    /// The image that shall run.
    pub to: Offer,
    /// How many helpers have been created for it.
    pub helpers: u32,
    /// The ID of the newest update in the history when the self-update was requested, empty if
    /// there was none. The helper ended all newer updates, and they are not reported yet. Absent in
    /// a file of an older program.
    #[serde(rename = "reported_until", default, skip_serializing_if = "Option::is_none")]
    pub reported_until: Option<String>,
}

impl SelfUpdate {
    /// The format that this program writes.
    pub const VERSION: u32 = 1;

    /// What the update is about.
    #[must_use]
    pub fn subject(&self) -> Subject {
        Subject::container(&self.container)
    }

    /// The request for the first helper.
    #[must_use]
    pub fn of(plan: &Plan, task: SelfUpdateTask) -> Option<Self> {
        let (member, update) = plan.first_changed()?;
        Some(Self {
            version: Self::VERSION,
            turn: LockOwner::Helper,
            container: member.container.clone(),
            old_container: member.old_container.clone(),
            image_id: update.from.image_id.clone(),
            task,
            to: update.to.clone(),
            helpers: 1,
            reported_until: None,
        })
    }

    /// The updates that the helper has ended, oldest first, from a history with the newest first.
    #[must_use]
    pub fn unreported(&self, history: Vec<Record>) -> Vec<Record> {
        let Some(known) = &self.reported_until else { return Vec::new() };
        let mut records: Vec<_> =
            history.into_iter().take_while(|record| record.id != *known).collect();
        records.reverse();
        records
    }

    /// The name of the helper's container.
    #[must_use]
    pub fn helper(&self) -> String {
        names::helper_name(&self.container)
    }

    /// Whether it concerns this container: the one that is replaced, or one with a name that only
    /// the two containers of this update can have.
    #[must_use]
    pub fn is_about(&self, id: &str, name: &str) -> bool {
        let container = &self.container;
        id == self.old_container
            || name == container
            || name == names::old_name(container)
            || name == names::new_name(container)
    }
}

/// Whether an update concerns the container with this ID: a process in that container must not
/// carry it out.
#[must_use]
pub fn concerns(header: &Header, progress: &JournalProgress, id: &str) -> bool {
    header.plan.all_numbers().any(|number| {
        header.plan.member(number).old_container == id
            || progress.known.new_container_of(number) == Some(id)
    })
}

/// What is told if a crash of the Engine ends the agent: after SIGKILL of the Engine only the
/// restart policy `always` starts a container again, and nothing else starts the agent. `own` is
/// the inspect document of the agent's own container.
#[must_use]
pub fn weak_restart_policy(own: &Value) -> Option<String> {
    let policy = restart_policy(own).ok()?;
    let word = if policy.name.is_empty() { "no" } else { &policy.name };
    let name = inspect::name(own);
    (word != "always").then(|| {
        format!(
            "the agent's own container {name} has the restart policy `{word}`: after a crash of the \
             Engine only `always` brings it back"
        )
    })
}

/// The state of the helper's container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HelperState {
    /// There is none.
    Absent,
    Stopped,
    /// It runs, or the Engine is about to start it again.
    Runs,
}

/// Whether no helper works although it may take the lock, which has been free for so long. Only the
/// holder of the lock creates a helper, so an absent helper will not appear later.
#[must_use]
pub fn is_forsaken(helper: HelperState, lock_is_free_for: Duration) -> bool {
    match helper {
        HelperState::Absent => true,
        HelperState::Stopped => lock_is_free_for >= SILENCE_OF_A_STOPPED_HELPER,
        HelperState::Runs => lock_is_free_for >= SILENCE_OF_A_RUNNING_HELPER,
    }
}

/// What an agent does first after it got the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockOwnerAction {
    /// There is nothing to settle.
    Nothing,
    /// The self-update is over: the helper and the file are removed.
    TidyUp,
    /// The helper never began: it and the file are removed, and this counts as a failed try.
    CountAndTidyUp,
    /// An update of the agent's own container is in the middle: a helper has to finish it.
    MakeHelper {
        /// The number of helpers, this one included.
        helpers: u32,
    },
    /// The same, but several helpers failed: the update is stuck, and the agent continues.
    GiveUp,
}

/// What an agent does first after it got the lock. `has_own_journal`: an unfinished update concerns
/// the container the agent runs in.
#[must_use]
pub fn settle(self_update: Option<&SelfUpdate>, has_own_journal: bool) -> LockOwnerAction {
    let turn = self_update.map(|self_update| self_update.turn);
    let helpers = self_update.map_or(0, |self_update| self_update.helpers);
    match (turn, has_own_journal) {
        (None, false) => LockOwnerAction::Nothing,
        (Some(LockOwner::Agent), false) => LockOwnerAction::TidyUp,
        (Some(LockOwner::Helper), false) => LockOwnerAction::CountAndTidyUp,
        // A helper that ended by itself has tried everything.
        (Some(LockOwner::Agent), true) => LockOwnerAction::GiveUp,
        (_, true) if helpers >= HELPERS_MAX => LockOwnerAction::GiveUp,
        (_, true) => LockOwnerAction::MakeHelper { helpers: helpers + 1 },
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::core::decide::tests::offer;
    use crate::core::update::history::{GroupRecord, Outcome};

    fn self_update(turn: LockOwner, helpers: u32) -> SelfUpdate {
        SelfUpdate {
            version: SelfUpdate::VERSION,
            turn,
            container: "pilotfish".into(),
            old_container: "1111".into(),
            image_id: "sha256:1".into(),
            task: SelfUpdateTask::Update { force: false },
            to: offer("two"),
            helpers,
            reported_until: None,
        }
    }

    #[test]
    fn only_always_brings_the_agent_back() {
        let rows = [
            (serde_json::json!({ "Name": "always" }), None),
            (serde_json::json!({ "Name": "unless-stopped" }), Some("unless-stopped")),
            (
                serde_json::json!({ "Name": "on-failure", "MaximumRetryCount": 3 }),
                Some("on-failure"),
            ),
            (serde_json::json!({ "Name": "no" }), Some("no")),
            (serde_json::json!({ "Name": "" }), Some("no")),
        ];
        for (policy, expected) in rows {
            let own = serde_json::json!({
                "Name": "/pilotfish",
                "HostConfig": { "RestartPolicy": policy },
            });
            let told = weak_restart_policy(&own);
            let says =
                |word| told.as_ref().is_some_and(|it| it.contains(&format!("`{word}`: after")));
            assert_eq!(told.is_some(), expected.is_some(), "{policy}");
            assert!(expected.is_none_or(says), "{policy}");
        }
    }

    #[test]
    fn what_the_helper_has_ended_is_what_is_newer_than_the_question() {
        let history = || ["3", "2", "1"].map(record).to_vec();
        for (reported_until, expected) in [
            (None, vec![]),
            (Some("3"), vec![]),
            (Some("1"), vec!["2", "3"]),
            (Some(""), vec!["1", "2", "3"]),
        ] {
            let reported_until = reported_until.map(str::to_owned);
            let self_update = SelfUpdate { reported_until, ..self_update(LockOwner::Agent, 1) };
            let unreported = self_update.unreported(history());
            let ids: Vec<_> = unreported.iter().map(|record| record.id.as_str()).collect();
            assert_eq!(ids, expected, "{:?}", self_update.reported_until);
        }
    }

    fn record(id: &str) -> Record {
        Record {
            by: None,
            id: id.into(),
            subject: Subject::container("pilotfish"),
            image: "shop/pilotfish".into(),
            from: None,
            to: None,
            started_at: DateTime::UNIX_EPOCH,
            finished_at: DateTime::UNIX_EPOCH,
            outcome: Outcome::Updated,
            tries: 1,
            reason: None,
            gap_seconds: None,
            log: Vec::new(),
            dependents: Vec::new(),
            group: GroupRecord::default(),
        }
    }

    #[test]
    fn it_is_about_the_containers_of_the_update_and_no_others() {
        let self_update = self_update(LockOwner::Helper, 1);
        for (id, name, expected) in [
            ("1111", "pilotfish", true),
            ("1111", "somebody-renamed-it", true),
            ("2222", "pilotfish", true),
            ("2222", "pilotfish-new-pilotfish", true),
            ("2222", "pilotfish-old-pilotfish", true),
            ("2222", "pilotfish-helper-pilotfish", false),
            ("2222", "till", false),
        ] {
            assert_eq!(self_update.is_about(id, name), expected, "{id} {name}");
        }
    }

    #[test]
    fn a_helper_is_waited_for_as_long_as_it_may_still_come() {
        let seconds = Duration::from_secs;
        for (helper, free, expected) in [
            (HelperState::Absent, 0, true),
            (HelperState::Stopped, 9, false),
            (HelperState::Stopped, 10, true),
            (HelperState::Runs, 60, false),
            (HelperState::Runs, 90, true),
        ] {
            assert_eq!(is_forsaken(helper, seconds(free)), expected, "{helper:?} {free}");
        }
    }

    #[test]
    fn the_lock_owner_settles_a_self_update_with_a_limited_number_of_helpers() {
        let asked = |helpers| Some(self_update(LockOwner::Helper, helpers));
        for (self_update, has_own_journal, expected) in [
            (None, false, LockOwnerAction::Nothing),
            (Some(self_update(LockOwner::Agent, 1)), false, LockOwnerAction::TidyUp),
            (asked(1), false, LockOwnerAction::CountAndTidyUp),
            (None, true, LockOwnerAction::MakeHelper { helpers: 1 }),
            (asked(1), true, LockOwnerAction::MakeHelper { helpers: 2 }),
            (asked(HELPERS_MAX), true, LockOwnerAction::GiveUp),
            (Some(self_update(LockOwner::Agent, 1)), true, LockOwnerAction::GiveUp),
        ] {
            assert_eq!(settle(self_update.as_ref(), has_own_journal), expected, "{self_update:?}");
        }
    }
}
