//! The gate between a decision and its execution: what can still hold an update that `core` has
//! decided. Each part answers with a `No` of `core`, which the report then shows.
//!
//! The gate has two parts, in this order. The machine's part checks whether this agent may act at
//! all; the executor passes it, one container at a time. The container's part runs the pre-update
//! hooks; the update's own task passes it, because a hook may take minutes.

use super::executor::Executor;
use crate::agent::context::Context;
use crate::core::decide::reason::Reason;
use crate::core::decide::{Decision, No};
use crate::core::update::plan::{ImageSource, ImageUpdate, Member, Plan};
use crate::exec::hook::{self, HookError};
use crate::execute::{self, StepError};
use crate::host::Host;
use crate::ports::Ports;

/// Why an update does not pass its gate.
pub(in crate::agent) enum Stopped {
    /// The update is held, at least until the next round.
    Held(No),
    /// The agent was asked to stop.
    Stopping,
}

impl<P: Ports> Executor<P> {
    /// The machine's part: checks the Engine's lock, and returns the decision or a "no".
    pub(in crate::agent) async fn pass_machine_gate(&mut self, decision: Decision) -> Decision {
        if !matches!(decision, Decision::Update(_) | Decision::HandOver(_)) {
            return decision;
        }
        match self.keep_engine_lock().await {
            Ok(None) => decision,
            Ok(Some(other)) => Decision::No(No::new(Reason::AnotherAgent, other)),
            Err(error) => Decision::No(No::new(Reason::EngineError, error.to_string())),
        }
    }
}

impl<P: Ports> Context<P> {
    /// The container's part: runs the pre-update hooks of all members, in the order in which they
    /// stop.
    ///
    /// The image is pulled before the hooks, so that only the switch comes between a hook and the
    /// end of its container. It gets the local tag of an image that waits for its window, so that
    /// it is not pulled again if a hook holds the update for days. There is no journal yet, so a
    /// power cut leaves nothing to undo.
    ///
    /// # Errors
    /// Why the update does not begin.
    pub(in crate::agent) async fn pass_container_gate(&self, plan: &Plan) -> Result<(), Stopped> {
        if !plan.has_pre_update_hooks() {
            return Ok(());
        }
        self.pull_for_hooks(plan).await?;
        for (container, id, hook) in plan.pre_update_hooks() {
            match hook::run(&*self.ports, &self.stop, id, hook).await {
                Ok(()) => {}
                Err(HookError::Asked) => return Err(Stopped::Stopping),
                Err(error) => {
                    let why = error.to_string();
                    return Err(Stopped::Held(No::held_by_hook(container, &why)));
                }
            }
        }
        Ok(())
    }

    async fn pull_for_hooks(&self, plan: &Plan) -> Result<(), Stopped> {
        for (_, member, update) in plan.changed() {
            if update.source == ImageSource::Registry {
                self.pull_for_hook(member, update).await?;
            }
        }
        Ok(())
    }

    async fn pull_for_hook(&self, member: &Member, update: &ImageUpdate) -> Result<(), Stopped> {
        let container = &member.container;
        let image = (container.as_str(), &update.reference, &update.to);
        let error = match execute::prefetch_and_tag(self.for_updates(), image).await {
            Ok(()) => return Ok(()),
            Err(StepError::Asked) => return Err(Stopped::Stopping),
            Err(error) => error,
        };
        let detail = format!("the image could not be pulled: {error}");
        self.warn_about(container.clone(), detail.clone());
        if error.is_engine_unreachable() {
            return Err(Stopped::Held(No::new(Reason::EngineError, detail)));
        }
        let failed = member.failed_try(update, detail.clone(), self.ports.host().now(), false);
        self.pause_after(container, failed);
        Err(Stopped::Held(No::new(Reason::UpdateFailing, detail)))
    }
}
