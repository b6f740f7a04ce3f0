//! What every update works with, and shares with all others.

use tokio_util::sync::CancellationToken;

use super::Places;
use crate::core::update::event::Listener;

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
