//! What every update works with, and shares with all others.

use tokio_util::sync::CancellationToken;

use super::Places;
use crate::core::update::event::{Event, Listener};
use crate::core::update::plan::Plan;
use crate::core::update::{Mark, Note, Step};
use crate::host::Host;
use crate::journal::{JournalError, UpdateJournal};
use crate::ports::Ports;

/// What an update, its recovery, and a pull ahead of its window work with. It is a set of
/// references, so a copy costs nothing.
pub struct UpdateContext<'a, P> {
    /// The Engine, the registries, the state directory and the machine.
    pub ports: &'a P,
    /// Hears everything that is said about an update.
    pub listener: &'a dyn Listener,
    /// Cancelled when the agent is asked to stop.
    pub stop: &'a CancellationToken,
    /// The places that all updates of this agent share.
    pub places: &'a Places,
}

// By hand, because a derive would ask for a `P` that can be copied.
impl<P> Clone for UpdateContext<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for UpdateContext<'_, P> {}

impl<P: Ports> UpdateContext<'_, P> {
    /// Warns about the container of a plan.
    pub(super) fn warn(&self, plan: &Plan, detail: impl Into<String>) {
        let container = plan.main.container.clone();
        self.listener.receive(&Event::Warning { container, detail: detail.into() });
    }

    /// Writes the next entry of a journal, with the present time.
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
