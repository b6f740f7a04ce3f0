//! What every part of the agent works with: the ports, the settings, and the receivers of events.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::AgentSettings;
use super::handle::events::{Events, Publisher, StepNews};
use crate::core::decide::failed_tries::FailedTry;
use crate::core::subject::Subject;
use crate::core::update::event::{Event, Listener, Trigger};
use crate::engine::{Containers, Engine, EngineError, EngineInfo, Listed};
use crate::execute::{Places, UpdateContext};
use crate::ports::Ports;
use crate::registry::Registry;

/// What every part of the agent works with. A clone is cheap (a few reference counts), so each task
/// beside the loop has its own.
pub(super) struct Context<P> {
    pub(super) ports: Arc<P>,
    pub(super) settings: Arc<AgentSettings>,
    /// Every event goes here.
    pub(super) events: Arc<Events>,
    /// Steps of updates go here as well.
    pub(super) steps: mpsc::UnboundedSender<StepNews>,
    /// Publishes events with the trigger of this context.
    pub(super) listener: Arc<dyn Listener>,
    pub(super) stop: CancellationToken,
    /// Shared by all updates of this agent.
    pub(super) places: Arc<Places>,
    /// Whether this is a permanent agent (`run`). Only a permanent agent can wait for a self-update
    /// helper.
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
    /// The context of an agent that has not started.
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

    /// A copy whose events have this trigger.
    pub(super) fn for_trigger(&self, trigger: Trigger) -> Self {
        let publisher = Publisher {
            ports: Arc::clone(&self.ports),
            events: Arc::clone(&self.events),
            trigger,
            steps: self.steps.clone(),
        };
        Self { listener: Arc::new(publisher), ..self.clone() }
    }

    /// The context of an update.
    pub(super) fn for_updates(&self) -> UpdateContext<'_, P> {
        UpdateContext {
            ports: &self.ports,
            listener: &*self.listener,
            stop: &self.stop,
            places: &self.places,
        }
    }

    /// All containers of the Engine.
    pub(super) async fn list(&self) -> Result<Vec<Listed>, EngineError> {
        self.ports.engine().list().await
    }

    /// The Engine's facts about itself. Passes its registry settings on to the registry port.
    pub(super) async fn engine_info(&self) -> Result<EngineInfo, EngineError> {
        let info = self.ports.engine().info().await?;
        self.ports.registry().follow_engine(&info.registries);
        Ok(info)
    }

    /// Sends a warning that is about no container.
    pub(super) fn warn(&self, detail: impl Into<String>) {
        self.tell_warning(None, detail.into());
    }

    /// Sends a warning about this container.
    pub(super) fn warn_about(&self, container: String, detail: impl Into<String>) {
        self.tell_warning(Some(Subject::container(container)), detail.into());
    }

    /// Sends a warning about this service.
    pub(super) fn warn_about_service(&self, service: &str, detail: impl Into<String>) {
        self.tell_warning(Some(Subject::service(service)), detail.into());
    }

    fn tell_warning(&self, subject: Option<Subject>, detail: String) {
        self.listener.receive(&Event::Warning { subject, detail });
    }

    /// Records a failed pull, so that the agent waits before it pulls this image again.
    pub(super) fn pause_after(&self, container: &str, failed: FailedTry) {
        let remembered = self.ports.state().memory().and_then(|mut memory| {
            memory.fail(&Subject::container(container), failed);
            self.ports.state().remember(&memory)
        });
        if let Err(error) = remembered {
            self.warn(error.to_string());
        }
    }
}
