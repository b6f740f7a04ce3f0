//! The agent's own update, which somebody else carries out: an agent cannot stop itself and go on.
//!
//! Whoever holds the lock of the state directory works; everybody else waits. What is written here
//! says for whom the lock is meant: while it is asked, for the helper; once it has ended, for the
//! agent, whichever of the two containers that is by then.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::decide::offer::Offer;
use crate::core::docker::{inspect, names};
use crate::core::recreate::restart_policy;
use crate::core::update::JournalProgress;
use crate::core::update::history::Record;
use crate::core::update::plan::{Header, Plan};

/// How often a helper that vanished in the middle of an update is made again. After that a person
/// is needed.
pub const HELPERS_MAX: u32 = 3;

/// How long a helper that runs may leave the lock alone. The Engine waits up to a minute before it
/// starts one again that ends again and again.
const SILENCE_OF_A_RUNNING_HELPER: Duration = Duration::from_secs(90);

/// How long a helper that does not run is waited for: an Engine that has just started starts its
/// containers one after the other.
const SILENCE_OF_A_STOPPED_HELPER: Duration = Duration::from_secs(10);

/// What the helper is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SelfUpdateTask {
    /// An ordinary update.
    Update {
        /// A person insists: windows and refusals do not hold, safety does.
        force: bool,
    },
    /// Back to the image before.
    RollBack,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockOwner {
    /// The helper's.
    Helper,
    /// The agent's: the helper has nothing more to do, and waits to be removed.
    Agent,
}

/// The agent's own container is in the hands of a helper.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SelfUpdate {
    /// Version of the format of this file.
    pub version: u32,
    /// Whose turn it is.
    pub turn: LockOwner,
    /// The name of the agent's container.
    pub container: String,
    /// The ID of the container that is to be replaced.
    pub old_container: String,
    /// The ID of the image that it runs on, and the helper with it.
    pub image_id: String,
    /// What is to be done.
    pub task: SelfUpdateTask,
    /// What shall run.
    pub to: Offer,
    /// How many helpers have been made for it.
    pub helpers: u32,
    /// The ID of the newest update in the history when it was asked, empty where there was none:
    /// what is newer than that was ended by the helper, and told to nobody yet. Absent in what an
    /// older program has asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_until: Option<String>,
}

impl SelfUpdate {
    /// The format that this program writes.
    pub const VERSION: u32 = 1;

    /// What the first helper is asked.
    #[must_use]
    pub fn of(plan: &Plan, task: SelfUpdateTask) -> Self {
        Self {
            version: Self::VERSION,
            turn: LockOwner::Helper,
            container: plan.main.container.clone(),
            old_container: plan.main.old_container.clone(),
            image_id: plan.from.image_id.clone(),
            task,
            to: plan.to.clone(),
            helpers: 1,
            told_until: None,
        }
    }

    /// What the helper has ended, oldest first, of a history with the newest first.
    #[must_use]
    pub fn untold(&self, history: Vec<Record>) -> Vec<Record> {
        let Some(known) = &self.told_until else { return Vec::new() };
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

    /// Whether it is about this container: the one that is to be replaced, or whatever bears a
    /// name that only the two containers of this update can have.
    #[must_use]
    pub fn is_about(&self, id: &str, name: &str) -> bool {
        let container = &self.container;
        id == self.old_container
            || name == container
            || name == names::old_name(container)
            || name == names::new_name(container)
    }
}

/// Whether an update is about the container with this ID: whoever runs in it must not carry the
/// update out.
#[must_use]
pub fn concerns(header: &Header, progress: &JournalProgress, id: &str) -> bool {
    header.plan.numbers().any(|number| {
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

/// What is known of the helper's container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HelperState {
    /// There is none.
    Absent,
    /// It does not run.
    Stopped,
    /// It runs, or the Engine is about to start it again.
    Runs,
}

/// Whether nobody works although it is the helper's turn: the lock has been free for so long. Only
/// who holds the lock makes a helper, so one that is absent then never comes.
#[must_use]
pub fn is_forsaken(helper: HelperState, lock_is_free_for: Duration) -> bool {
    match helper {
        HelperState::Absent => true,
        HelperState::Stopped => lock_is_free_for >= SILENCE_OF_A_STOPPED_HELPER,
        HelperState::Runs => lock_is_free_for >= SILENCE_OF_A_RUNNING_HELPER,
    }
}

/// What an agent that has got the lock does first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockOwnerAction {
    /// There is nothing to settle.
    Nothing,
    /// It is over: the helper goes, and the file with it.
    TidyUp,
    /// The helper never began: it goes, the file with it, and this counts as a try in vain.
    CountAndTidyUp,
    /// An update of the agent's own container is in the middle: a helper has to end it.
    MakeHelper {
        /// How many it will have been.
        helpers: u32,
    },
    /// The same, but helpers were of no use: the update is stuck, and the agent goes on.
    GiveUp,
}

/// What an agent that has got the lock does first. `has_own_journal`: an open update is about the
/// container it runs in.
#[must_use]
pub fn settle(self_update: Option<&SelfUpdate>, has_own_journal: bool) -> LockOwnerAction {
    let turn = self_update.map(|self_update| self_update.turn);
    let helpers = self_update.map_or(0, |self_update| self_update.helpers);
    match (turn, has_own_journal) {
        (None, false) => LockOwnerAction::Nothing,
        (Some(LockOwner::Agent), false) => LockOwnerAction::TidyUp,
        (Some(LockOwner::Helper), false) => LockOwnerAction::CountAndTidyUp,
        // A helper that came to its end has tried everything.
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
    use crate::core::update::history::Outcome;

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
            told_until: None,
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
        for (told_until, expected) in [
            (None, vec![]),
            (Some("3"), vec![]),
            (Some("1"), vec!["2", "3"]),
            (Some(""), vec!["1", "2", "3"]),
        ] {
            let told_until = told_until.map(str::to_owned);
            let self_update = SelfUpdate { told_until, ..self_update(LockOwner::Agent, 1) };
            let untold = self_update.untold(history());
            let ids: Vec<_> = untold.iter().map(|record| record.id.as_str()).collect();
            assert_eq!(ids, expected, "{:?}", self_update.told_until);
        }
    }

    fn record(id: &str) -> Record {
        Record {
            id: id.into(),
            container: "pilotfish".into(),
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
    fn who_gets_the_lock_settles_what_is_left_and_never_for_ever() {
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
