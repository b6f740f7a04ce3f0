//! The context of updates: what all of them share.

use tokio_util::sync::CancellationToken;

use super::Places;
use crate::core::subject::Subject;
use crate::core::update::event::{Event, Listener};
use crate::core::update::plan::Plan;
use crate::core::update::{Mark, Note, Step};
use crate::host::Host;
use crate::journal::{JournalError, UpdateJournal};
use crate::ports::Ports;

/// The context of an update, of its recovery, and of a pull before its window. It contains only
/// references, so a copy costs nothing.
pub struct UpdateContext<'a, P> {
    /// The Engine, the registries, the state directory and the machine.
    pub ports: &'a P,
    /// Receives all events of an update.
    pub listener: &'a dyn Listener,
    /// Cancelled when the agent is asked to stop.
    pub stop: &'a CancellationToken,
    /// The places that all updates of this agent share.
    pub places: &'a Places,
}

// Written by hand, because a derive would require `P: Clone`.
impl<P> Clone for UpdateContext<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for UpdateContext<'_, P> {}

impl<P: Ports> UpdateContext<'_, P> {
    /// Warns about the container of a plan.
    pub(super) fn warn(&self, plan: &Plan, detail: impl Into<String>) {
        let subject = Some(plan.subject());
        self.listener.receive(&Event::Warning { subject, detail: detail.into() });
    }

    /// Warns about a container.
    pub(super) fn warn_about(&self, container: &str, detail: impl Into<String>) {
        let subject = Some(Subject::container(container));
        self.listener.receive(&Event::Warning { subject, detail: detail.into() });
    }

    /// Writes an entry of a journal with the present time.
    pub(super) fn write(
        &self,
        journal: &mut UpdateJournal,
        step: Step,
        mark: Mark,
        note: Note,
    ) -> Result<(), JournalError> {
        let now = self.ports.host().now();
        self.ports.state().write(journal, now, step, mark, note)
    }
}
