//! Handles the results of tasks for deployments.

use std::collections::BTreeSet;

use super::order::{ClientAnswer, PushNext, PushOrder};
use super::prepare::PushPrepared;
use crate::agent::Agent;
use crate::agent::execution::in_flight::{UpdateResult, Waiting};
use crate::agent::handle::answers::WaitingKind;
use crate::agent::handle::deployments::{DeploymentActEnd, LoadEnd};
use crate::agent::handle::question::{Answer, AskError};
use crate::agent::tasks::TaskResult;
use crate::core::decide::Decision;
use crate::core::deployment::refusal::PushRefusal;
use crate::core::update::event::Trigger;
use crate::core::update::history::Record;
use crate::ports::Ports;

/// The result of a task for a deployment.
pub(in crate::agent) enum DeploymentResult {
    /// An image is loaded, or refused.
    Loaded(Result<Box<PushOrder>, AskError>, Trigger, Answer<LoadEnd>),
    /// The first container was created, or removed again.
    First(Box<PushOrder>, ClientAnswer, Result<Box<Record>, AskError>),
    /// A client's act on this container has ended.
    Acted(String, Result<DeploymentActEnd, AskError>, Answer<DeploymentActEnd>),
    /// A client was told why its push ended.
    Refused,
}

impl<P: Ports> Agent<P> {
    pub(in crate::agent) async fn deployment_done(&mut self, result: DeploymentResult) {
        match result {
            DeploymentResult::Loaded(order, trigger, answer) => {
                self.deployments.loading = None;
                self.deployments.may_come |= order.is_err();
                match order {
                    Err(error) => _ = answer.send(Err(error)),
                    Ok(_) if self.is_ending() => _ = answer.send(Err(AskError::Ended)),
                    Ok(order) => {
                        self.wait(trigger, WaitingKind::Push(order, ClientAnswer::Load(answer)));
                    }
                }
            }
            DeploymentResult::First(order, answer, result) => {
                let container = order.deployment.container.clone();
                self.deployments.acting.remove(&container);
                match result {
                    Ok(record) => {
                        self.tell_fleet(&record);
                        let image_id = order.image_id();
                        let finish = Box::new(move || answer.ended(record, image_id));
                        self.finish_after_look(BTreeSet::from([container]), finish).await;
                    }
                    Err(error) => {
                        // The entry on disk stays, and is ended before the next push.
                        self.deployments.is_swept = false;
                        answer.fail(error);
                    }
                }
            }
            DeploymentResult::Acted(container, result, answer) => {
                self.deployments.acting.remove(&container);
                self.note_touched(BTreeSet::from([container.clone()]));
                self.answer_after_look(result, BTreeSet::from([container]), answer).await;
            }
            DeploymentResult::Refused => {}
        }
        self.advance().await;
    }

    /// Begins what was decided after the last look, or answers why nothing begins.
    pub(in crate::agent) async fn push_prepared(
        &mut self,
        prepared: PushPrepared,
        trigger: Trigger,
        answer: ClientAnswer,
    ) {
        let PushPrepared { order, recovered, next } = prepared;
        let order = Box::new(order);
        let recovered = recovered.and_then(|swept| self.settle(swept));
        let next = match (recovered, next) {
            (Err(error), _) => Err(AskError::Round(error)),
            (Ok(_), _) if self.is_ending() => Err(AskError::Ended),
            (Ok(_), next) => next,
        };
        let context = self.context.for_trigger(trigger);
        match next {
            Ok(PushNext::Update(plan, readiness)) => {
                let waiting = Waiting::Client(order, answer);
                let update = self.begin_update(Decision::Update(plan.clone()), waiting);
                self.tasks.act(async move {
                    TaskResult::UpdateEnded(update, context.update(*plan, *readiness).await)
                });
            }
            Ok(PushNext::First) => {
                self.deployments.acting.insert(order.deployment.container.clone());
                self.tasks.act(async move {
                    let first = Box::pin(context.start_first(&order)).await.map(Box::new);
                    TaskResult::Deployment(DeploymentResult::First(order, answer, first))
                });
            }
            Ok(PushNext::Done) => self.tasks.act(async move {
                context.drop_pushed(&order).await;
                context.forget_stop(&order.deployment.container);
                answer.unchanged(order.image_id());
                TaskResult::Deployment(DeploymentResult::Refused)
            }),
            Err(error) => self.refuse_push(order, answer, error),
        }
    }

    /// Removes the image of a push that comes to nothing, and says why.
    fn refuse_push(&mut self, order: Box<PushOrder>, answer: ClientAnswer, error: AskError) {
        let context = self.context.clone();
        self.tasks.act(async move {
            context.drop_pushed(&order).await;
            answer.fail(error);
            TaskResult::Deployment(DeploymentResult::Refused)
        });
    }

    /// The update of a push has ended.
    pub(in crate::agent) async fn push_ended(
        &mut self,
        order: Box<PushOrder>,
        answer: ClientAnswer,
        result: UpdateResult,
    ) {
        let container = order.deployment.container.clone();
        match result {
            UpdateResult::Ended(record) => {
                let image_id = order.image_id();
                let finish = Box::new(move || answer.ended(record, image_id));
                self.finish_after_look(BTreeSet::from([container]), finish).await;
            }
            UpdateResult::Held(no) => {
                self.refuse_push(order, answer, PushRefusal::held(&container, &no).into());
            }
            UpdateResult::NotBegun(error) => {
                self.refuse_push(order, answer, AskError::Round(error));
            }
            UpdateResult::Left => answer.fail(AskError::Ended),
            UpdateResult::Unfinished(_) | UpdateResult::Prefetched => {
                answer.fail(AskError::UpdateLeftOpen(container));
            }
        }
    }
}
