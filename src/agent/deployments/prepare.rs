//! Decides what becomes of a pushed image, after the last look at its container.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::load::running_image;
use super::order::{LookedAt, PushNext, PushOrder};
use crate::agent::RoundError;
use crate::agent::context::Context;
use crate::agent::execution::executor::Executor;
use crate::agent::execution::recovery::Swept;
use crate::agent::handle::question::AskError;
use crate::core::decide::push::{self, PushedImage};
use crate::core::decide::{Circumstances, No};
use crate::core::deployment::push_journal::OpenFirst;
use crate::core::deployment::refusal::PushRefusal;
use crate::core::docker::{inspect, names};
use crate::core::policy::own_hooks::UpdateHooks;
use crate::core::update::history::Record;
use crate::core::update::plan::{Change, Member, Plan};
use crate::engine::{Containers, EngineError, Images};
use crate::execute::{self, FirstStart};
use crate::host::Host;
use crate::observe::Cache;
use crate::ports::Ports;
use crate::recover::RecoveryRun;

/// An order after the last look.
pub(in crate::agent) struct PushPrepared {
    pub(in crate::agent) order: PushOrder,
    /// The result of the recovery of open updates.
    pub(in crate::agent) recovered: Result<Swept, RoundError>,
    pub(in crate::agent) next: Result<PushNext, AskError>,
}

impl<P: Ports> Executor<P> {
    /// Finishes or undoes open updates, looks at the container, and plans its update.
    pub(in crate::agent) async fn prepare_push(
        &mut self,
        order: PushOrder,
        cache: Arc<Cache>,
        circumstances: Circumstances,
        (run, in_flight): (RecoveryRun, &BTreeSet<String>),
    ) -> PushPrepared {
        let recovered = self.recover_open(run, in_flight).await;
        let next = match &recovered {
            Ok(swept) => self.plan_push(&order, cache, circumstances, swept).await,
            // The error of the recovery is the answer.
            Err(_) => Ok(PushNext::Done),
        };
        PushPrepared { order, recovered, next }
    }

    async fn plan_push(
        &mut self,
        order: &PushOrder,
        mut cache: Arc<Cache>,
        circumstances: Circumstances,
        swept: &Swept,
    ) -> Result<PushNext, AskError> {
        let Self { context, ties, .. } = self;
        let container = &order.deployment.container;
        let place = (&mut cache, ties);
        let found = context.look_at(container, place, circumstances.clone(), swept.open()).await?;
        let (mut observation, readiness) = match found {
            LookedAt::Container(observation, readiness) => (observation, readiness),
            LookedAt::Nothing if order.offer.is_some() => return Ok(PushNext::First),
            LookedAt::Nothing => {
                return Err(super::no_such_container(container).into());
            }
        };
        let offer = order.offer.clone().unwrap_or_else(|| running_image(&readiness));
        let memory = context.ports.state().memory()?;
        let subject = observation.subject();
        let refusal =
            offer.digests().iter().find_map(|digest| memory.refusal(&subject, digest)).cloned();
        observation.refusal = refusal.map(Box::new);
        let (deployment, by) = (&order.deployment, order.by.as_str());
        let pushed = PushedImage { deployment, offer: &offer, by };
        let rules = (&circumstances, &context.settings.defaults);
        let plan = push::push(&observation, &readiness, &pushed, rules);
        match plan.map_err(|no| PushRefusal::held(container, &no))? {
            Some(plan) => Ok(PushNext::Update(Box::new(plan), readiness)),
            None => {
                if order.offer.is_none() {
                    let timeout = inspect::stop_timeout(&readiness.original);
                    context.ports.engine().restart(&observation.id, timeout).await?;
                }
                Ok(PushNext::Done)
            }
        }
    }
}

impl<P: Ports> Context<P> {
    /// Removes an image that was pushed, and that no container is to run.
    pub(in crate::agent) async fn drop_pushed(&self, order: &PushOrder) {
        let Some(offer) = &order.offer else { return };
        let (engine, id) = (self.ports.engine(), offer.index.as_str());
        let name = names::push_name(&order.deployment.container, id);
        let dropped: Result<(), EngineError> = async {
            engine.remove_image(&name).await?;
            execute::drop_if_unused(engine, id).await
        }
        .await;
        if let Err(error) = dropped {
            let detail = format!("the pushed image stays on disk: {error}");
            self.warn_about(order.deployment.container.clone(), detail);
        }
    }

    /// Creates the first container of a deployment.
    pub(in crate::agent) async fn start_first(
        &self,
        order: &PushOrder,
    ) -> Result<Record, AskError> {
        let (Some(definition), Some(offer)) = (&order.deployment.definition, &order.offer) else {
            return Err(super::no_such_container(&order.deployment.container).into());
        };
        let policy = push::policy(definition, &self.settings.defaults);
        let container = &order.deployment.container;
        let policy = policy.map_err(|no: No| PushRefusal::held(container, &no))?;
        let api = self.engine_info().await?.api;
        let recreation = definition.recreation(api);
        let member = Member {
            container: container.clone(),
            old_container: String::new(),
            image: definition.image.clone(),
            restart_policy: definition.restart_policy(),
            health: policy.health,
            stop_timeout: inspect::stop_timeout(&recreation.body),
            // Nothing is replaced: no image changes, and there is no moment for a hook or a lock.
            change: Change::Keep,
            stop_signal: None,
            pre_update: None,
            post_update: None,
            hooks: UpdateHooks::default(),
            lock: None,
            recreation,
        };
        let at = self.ports.host().now();
        let open = OpenFirst {
            id: Plan::make_id(container, at),
            by: order.by.clone(),
            at,
            image_id: offer.index.to_string(),
            image: definition.image.clone(),
            definition: definition.hash(),
            policy: member.restart_policy.clone(),
            config: Some(offer.config.clone()),
            layers: offer.layers.iter().map(|layer| layer.digest.clone()).collect(),
            is_verified: false,
        };
        let first = FirstStart { member: &member, offer, open: &open };
        let ended = Box::pin(first.run(self.for_updates())).await;
        ended.map_err(|_| AskError::UpdateLeftOpen(container.clone()))
    }
}
