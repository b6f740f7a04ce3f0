//! What everything in the agent works with: the ports, the settings, and who is told.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::AgentSettings;
use super::events::{Events, Publisher, StepNews};
use crate::core::decide::failed_tries::FailedTry;
use crate::core::update::event::{Event, Listener, Trigger};
use crate::engine::{Engine, EngineError, EngineInfo, Listed};
use crate::execute::{Places, UpdateContext};
use crate::ports::Ports;
use crate::registry::Registry;

/// What everything in the agent works with. A copy costs a few counters, so that what goes on
/// beside the loop has one of its own.
pub(super) struct Context<P> {
    pub(super) ports: Arc<P>,
    pub(super) settings: Arc<AgentSettings>,
    /// Every event goes here.
    pub(super) events: Arc<Events>,
    /// Steps of updates go here as well.
    pub(super) steps: mpsc::UnboundedSender<StepNews>,
    /// Publishes events under the trigger of this context.
    pub(super) listener: Arc<dyn Listener>,
    pub(super) stop: CancellationToken,
    /// What the updates of this agent share.
    pub(super) places: Arc<Places>,
    /// Whether the agent runs for good: only then can it wait for a helper.
    pub(super) is_resident: bool,
}

impl<P> Clone for Context<P> {
    fn clone(&self) -> Self {
        Self {
            ports: Arc::clone(&self.ports),
            settings: Arc::clone(&self.settings),
            events: Arc::clone(&self.events),
            steps: self.steps.clone(),
            listener: Arc::clone(&self.listener),
            stop: self.stop.clone(),
            places: Arc::clone(&self.places),
            is_resident: self.is_resident,
        }
    }
}

impl<P: Ports> Context<P> {
    /// The context of an agent that has not begun.
    pub(super) fn new(
        ports: Arc<P>,
        settings: Arc<AgentSettings>,
        (events, steps): (Arc<Events>, mpsc::UnboundedSender<StepNews>),
        stop: CancellationToken,
        places: Arc<Places>,
    ) -> Self {
        let trigger = Trigger::Schedule;
        let publisher = Publisher {
            ports: Arc::clone(&ports),
            events: Arc::clone(&events),
            trigger,
            steps: steps.clone(),
        };
        let listener = Arc::new(publisher);
        Self { ports, settings, events, steps, listener, stop, places, is_resident: false }
    }

    /// The same, for what this trigger brings about.
    pub(super) fn for_trigger(&self, trigger: Trigger) -> Self {
        let publisher = Publisher {
            ports: Arc::clone(&self.ports),
            events: Arc::clone(&self.events),
            trigger,
            steps: self.steps.clone(),
        };
        Self { listener: Arc::new(publisher), ..self.clone() }
    }

    /// What an update works with.
    pub(super) fn for_updates(&self) -> UpdateContext<'_, P> {
        UpdateContext {
            ports: &self.ports,
            listener: &*self.listener,
            stop: &self.stop,
            places: &self.places,
        }
    }

    /// Every container that the Engine has.
    pub(super) async fn list(&self) -> Result<Vec<Listed>, EngineError> {
        self.ports.engine().list().await
    }

    /// What the Engine says of itself. The registry port hears of what concerns registries.
    pub(super) async fn engine_info(&self) -> Result<EngineInfo, EngineError> {
        let info = self.ports.engine().info().await?;
        self.ports.registry().follow_engine(&info.registries);
        Ok(info)
    }

    /// Warns of something that concerns no container.
    pub(super) fn warn(&self, detail: impl Into<String>) {
        self.warn_about(String::new(), detail);
    }

    /// Warns of something that concerns this container.
    pub(super) fn warn_about(&self, container: String, detail: impl Into<String>) {
        self.listener.receive(&Event::Warning { container, detail: detail.into() });
    }

    /// An image that cannot be fetched is not fetched again in each round.
    pub(super) fn pause_after(&self, container: &str, failed: FailedTry) {
        let remembered = self.ports.state().memory().and_then(|mut memory| {
            memory.fail(container, failed);
            self.ports.state().remember(&memory)
        });
        if let Err(error) = remembered {
            self.warn(error.to_string());
        }
    }
}
