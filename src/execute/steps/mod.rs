//! The steps of an update, one file each. A step's parameters are what it needs; `Update` writes
//! the journal entries and keeps the order.

mod clean;
mod commit;
mod create;
mod join;
mod prove;
mod pull;
mod run;
mod start;
mod switch;
mod verify;

pub(super) use clean::clean;
pub(super) use commit::commit;
pub(super) use create::create;
pub(super) use join::join;
pub(super) use prove::prove;
pub(super) use pull::pull;
pub(super) use run::RunJobs;
pub(super) use start::{launch, start, start_failed};
pub(super) use switch::{
    arm_restart_policy, check_nothing_changed, check_unlocked, is_restart_policy_armed,
    rename_and_stop, stop_and_rename, stop_members,
};
pub(super) use verify::verify;

use super::StepError;
use crate::core::update::history::Cause;
use crate::core::update::plan::Plan;
use crate::engine::EngineError;

/// Whether an earlier process, or an earlier try, began the update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begun {
    /// This process began it.
    Here,
    /// It was resumed.
    Earlier,
}

/// Why the Engine does not know a container of a member. The container was seen to run, and no
/// clean-up removes a running container, so a person removed it. For a resumed update it is not
/// known when the container was removed.
fn removed(plan: &Plan, begun: Begun, which: &str, error: EngineError, number: usize) -> StepError {
    if !error.is_not_found() || begun == Begun::Earlier {
        return error.into();
    }
    let detail =
        format!("a person or another program removed the {which} container during the update");
    StepError::Cause(Cause::person(plan.naming(number, detail)))
}
