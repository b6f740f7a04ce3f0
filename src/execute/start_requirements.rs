//! The last look before anything is stopped: whether it could be started again.

use super::{StepError, Update};
use crate::core::decide::start_requirements;
use crate::core::docker::inspect;
use crate::core::update::history::Cause;
use crate::engine::Engine;
use crate::ports::Ports;
use crate::start_requirements::look;

impl<P: Ports> Update<'_, P> {
    /// What the decision looked at is looked at again: a pull lies in between, or hours. And the
    /// Engine tries what the new containers mount, which also shows whether the new image has a
    /// place for it: a file cannot be mounted over a directory.
    pub(super) async fn check_start_requirements(&self, new: &[String]) -> Result<(), StepError> {
        for number in self.members() {
            let original = self.journal.header.original_of(number);
            let met = start_requirements::met("", &look(self.ports, original).await);
            met.map_err(|no| StepError::surroundings(self.naming(number, no.detail)))?;
        }
        for (number, new) in self.members().into_iter().zip(new) {
            let can_mount = self.ports.engine().can_mount(new).await?;
            // One that is gone is told of by what follows.
            if !can_mount && self.look_at(new).await?.is_some() {
                let detail = "the Engine cannot mount what the new container mounts: a source is \
                              missing, or a file and a directory meet; nothing was stopped";
                return Err(StepError::surroundings(self.naming(number, detail)));
            }
        }
        Ok(())
    }

    /// The old containers that ran still run. What a person stopped or removed before the switch is
    /// not to be replaced by something that runs.
    pub(super) async fn check_old_containers_run(&self) -> Result<(), StepError> {
        for number in self.members() {
            let old = self.look_at_old(number).await?;
            let ran = inspect::is_running(self.journal.header.original_of(number));
            if ran && !old.as_ref().is_some_and(inspect::is_running) {
                let end = if old.is_some() { "stopped" } else { "removed" };
                let detail = format!("somebody {end} the old container during the update");
                return Err(StepError::Cause(Cause::person(self.naming(number, detail))));
            }
        }
        Ok(())
    }
}
