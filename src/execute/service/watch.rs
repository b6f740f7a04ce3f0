//! The step in which every place of the service must prove itself.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::{ServiceUpdate, gone, spec_of, swarm};
use crate::core::service::facts::TaskSlot;
use crate::core::service::outcome::longest_gap;
use crate::core::service::progress::ServiceStep;
use crate::core::service::resume::{ServiceResume, resume};
use crate::core::service::rollback::nodes_come_back;
use crate::core::service::watch::{ServiceLook, ServiceVerdict, ServiceWatch, WatchTarget};
use crate::core::time::duration::format_duration;
use crate::core::update::Mark;
use crate::core::update::history::Cause;
use crate::execute::StepError;
use crate::ports::Ports;

/// How often a task may be replaced once more because of its ports: once for each table of a few,
/// so that an Engine whose ports never come does not go round in circles.
const REPAIRS_MAX: u32 = 3;

impl<P: Ports> ServiceUpdate<'_, P> {
    /// Watches until the verdict, and ends the update if it is good.
    pub(super) async fn watch(&mut self) -> Result<(), StepError> {
        self.write(ServiceStep::Watch, Mark::Started)?;
        let (mut begun, mut watch) = (Instant::now(), ServiceWatch::default());
        let mut repairs = 0;
        let mut known = self.journal.header.known.clone();
        loop {
            let Some((service, look)) = self.look().await? else { return Err(gone()) };
            self.check_it_is_ours(&watch, &look)?;
            if self.brings_nodes_back(&service, &look).await? {
                swarm::pause(look.tasks.len()).await;
                continue;
            }
            match self.judge(&mut watch, begun.elapsed(), &look, &known) {
                ServiceVerdict::Healthy => {
                    self.tell_nodes_away(&look);
                    self.write_gap(Mark::Done, &look)?;
                    return self.settle().await;
                }
                ServiceVerdict::Failed(cause) => return Err(StepError::Cause(cause)),
                ServiceVerdict::PortMissing { slot, detail } => {
                    if repairs >= REPAIRS_MAX {
                        let detail = format!("{detail}, also after a restart of it");
                        return Err(StepError::surroundings(detail));
                    }
                    repairs += 1;
                    // What the agent itself ends says nothing about the image.
                    let ended = look.tasks.iter().filter(|it| look.facts.slot_of(it) == slot);
                    known.extend(ended.map(|task| task.id.clone()));
                    self.repair(&detail, &service, &look, slot).await?;
                    (begun, watch) = (Instant::now(), ServiceWatch::default());
                }
                ServiceVerdict::Waiting(detail) => self.check_limit(begun, &look, &detail)?,
            }
            if self.context.stop.is_cancelled() {
                return Err(StepError::Asked);
            }
            swarm::pause(look.tasks.len()).await;
        }
    }

    /// A node that is away gets the new image when it is back, and no one watches it then.
    fn tell_nodes_away(&self, look: &ServiceLook) {
        let away = look.facts.nodes_away(&look.nodes);
        if !away.is_empty() {
            self.warn(format!("not updated yet: {}", away.join(", ")));
        }
    }

    /// A look at the service; waits for a Swarm that does not answer.
    pub(super) async fn look(&self) -> Result<Option<(Value, ServiceLook)>, StepError> {
        let (engine, id) = (self.context.ports.engine(), &self.plan().service_id);
        swarm::await_answer(self.context, &self.subject(), || swarm::look(engine, id)).await
    }

    fn judge(
        &self,
        watch: &mut ServiceWatch,
        at: Duration,
        look: &ServiceLook,
        known: &BTreeSet<String>,
    ) -> ServiceVerdict {
        let plan = self.plan();
        let (stable, healthy) = (plan.stable, plan.healthy);
        watch.judge(at, look, WatchTarget { image: &plan.new_image, known, stable, healthy })
    }

    /// The specification may name another image by now: Swarm has begun its rollback, or a person
    /// has deployed something.
    fn check_it_is_ours(&self, watch: &ServiceWatch, look: &ServiceLook) -> Result<(), StepError> {
        match resume(&self.journal.header, &self.journal.progress, Some(look)) {
            ServiceResume::WatchRollback(cause) => {
                let plan = self.plan();
                let known = &self.journal.header.known;
                let seen = watch.failure(look, &plan.new_image, known);
                Err(StepError::Cause(seen.unwrap_or(cause)))
            }
            ServiceResume::Yield(detail) => Err(StepError::Cause(Cause::person(detail))),
            ServiceResume::NeverBegun => {
                let detail = "a person brought the old image back";
                Err(StepError::Cause(Cause::person(detail)))
            }
            _ => Ok(()),
        }
    }

    fn check_limit(
        &self,
        begun: Instant,
        look: &ServiceLook,
        detail: &str,
    ) -> Result<(), StepError> {
        let limit = self.plan().watch_limit(look);
        if begun.elapsed() < limit {
            return Ok(());
        }
        let limit = format_duration(limit);
        Err(StepError::surroundings(format!("the update did not end within {limit}: {detail}")))
    }

    /// Replaces a task once more, because nothing publishes its ports. From now on Swarm cannot go
    /// back by itself, because it knows only the specification before this one.
    async fn repair(
        &mut self,
        detail: &str,
        service: &Value,
        look: &ServiceLook,
        slot: TaskSlot,
    ) -> Result<(), StepError> {
        self.warn(format!("{detail}; the task is replaced once more"));
        self.write(ServiceStep::Watch, Mark::Started)?;
        let spec = self.journal.header.spec_of_repair(spec_of(service), &slot);
        self.change_if_possible(look, &spec).await?;
        Ok(())
    }

    /// Whether nodes are left out for a moment, so that they get fresh tasks. Brings them back when
    /// it is time.
    pub(super) async fn brings_nodes_back(
        &mut self,
        service: &Value,
        look: &ServiceLook,
    ) -> Result<bool, StepError> {
        let spec = spec_of(service);
        let nodes = self.journal.header.left_out(spec);
        if nodes.is_empty() {
            self.left_out_since = None;
            return Ok(false);
        }
        let since = *self.left_out_since.get_or_insert_with(Instant::now);
        if nodes_come_back(look, &nodes, since.elapsed()) {
            let spec = self.journal.header.with_all_nodes(spec);
            self.change_if_possible(look, &spec).await?;
        }
        Ok(true)
    }

    /// Writes a specification. `false`: not now, or it is not known; the next look tells.
    pub(super) async fn change_if_possible(
        &self,
        look: &ServiceLook,
        spec: &Value,
    ) -> Result<bool, StepError> {
        match self.change(&look.facts, spec).await {
            Ok(()) => Ok(true),
            Err(error) if error.is_out_of_sequence() || error.is_engine_unreachable() => Ok(false),
            Err(error) if error.is_no_manager() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes the end of the watch, or of the rollback, with the longest gap of a place.
    pub(super) fn write_gap(&mut self, mark: Mark, look: &ServiceLook) -> Result<(), StepError> {
        let gap = longest_gap(look, &self.journal.header.known);
        let milliseconds = gap.map(|gap| u64::try_from(gap.as_millis()).unwrap_or(u64::MAX));
        let step = if mark == Mark::UndoDone { ServiceStep::Update } else { ServiceStep::Watch };
        self.write_entry(step, mark, |entry| entry.gap_milliseconds = milliseconds)?;
        Ok(())
    }
}
