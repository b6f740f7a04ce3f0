//! The updates in flight. Each runs in its own task, so several run side by side: their pulls and
//! their trials overlap, and only the switch happens one at a time.

use std::collections::{BTreeMap, BTreeSet};

use super::gate::Stopped;
use crate::agent::RoundError;
use crate::agent::context::Context;
use crate::agent::deployments::order::{ClientAnswer, PushOrder, RollbackAnswer};
use crate::agent::handle::question::{AskError, RollbackEnd};
use crate::agent::round::RoundId;
use crate::core::decide::observation::{Observation, Readiness};
use crate::core::decide::snapshot::ActiveUpdate;
use crate::core::decide::{Decision, Fetch, No, originals};
use crate::core::docker::inspect;
use crate::core::subject::Subject;
use crate::core::update::Step;
use crate::core::update::footprint::Footprint;
use crate::core::update::history::Record;
use crate::core::update::plan::{Header, Plan, Recorded};
use crate::engine::{EngineError, Images};
use crate::execute::{self, Ended, StepError, Update};
use crate::host::Host;
use crate::ports::Ports;
use crate::recover::{self, Unfinished};

/// Identifies an update in flight; IDs count up.
pub(in crate::agent) type UpdateId = u64;

/// Who waits for the end of an update.
pub(in crate::agent) enum Waiting {
    /// A round, which reports on the container.
    Round(RoundId, Box<Observation>),
    /// A person who asked for a rollback.
    Asker(RollbackAnswer),
    /// A client that pushed an image, or that applies a changed definition.
    Client(Box<PushOrder>, ClientAnswer),
}

/// One update in flight, or one pull before its window.
struct InFlight {
    /// What is updated.
    subject: Subject,
    /// The ID of its plan; absent for a pull before its window, which has no journal.
    plan: Option<String>,
    step: Option<Step>,
    footprint: Footprint,
    /// The decision, for the report.
    decision: Decision,
    waiting: Waiting,
}

/// An update that has ended, without its footprint.
pub(in crate::agent) struct EndedUpdate {
    pub(in crate::agent) names: BTreeSet<String>,
    pub(in crate::agent) container: String,
    pub(in crate::agent) decision: Decision,
    pub(in crate::agent) waiting: Waiting,
}

/// All updates in flight.
#[derive(Default)]
pub(in crate::agent) struct Updates {
    all: BTreeMap<UpdateId, InFlight>,
    next: UpdateId,
}

impl Updates {
    /// Adds an update, and returns its ID.
    pub(in crate::agent) fn add(&mut self, decision: Decision, waiting: Waiting) -> UpdateId {
        let id = self.next;
        self.next += 1;
        let (subject, plan) = match &decision {
            Decision::Update(plan) => (plan.subject(), Some(plan.id.clone())),
            Decision::Fetch(fetch) => (Subject::container(&fetch.container), None),
            _ => (Subject::container(""), None),
        };
        let footprint = footprint(&decision);
        let one = InFlight { subject, plan, step: None, footprint, decision, waiting };
        self.all.insert(id, one);
        id
    }

    /// Removes an update that has ended.
    pub(in crate::agent) fn remove(&mut self, id: UpdateId) -> Option<EndedUpdate> {
        let InFlight { subject, footprint, decision, waiting, .. } = self.all.remove(&id)?;
        let container = subject.name;
        Some(EndedUpdate { names: footprint.containers, container, decision, waiting })
    }

    /// Whether an update with this footprint may begin beside those in flight.
    pub(in crate::agent) fn has_room_for(&self, footprint: &Footprint, parallel: usize) -> bool {
        self.all.len() < parallel
            && !self.all.values().any(|one| one.footprint.conflicts_with(footprint))
    }

    pub(in crate::agent) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The names of the containers that they may touch.
    pub(in crate::agent) fn names(&self) -> BTreeSet<String> {
        self.all.values().flat_map(|one| one.footprint.containers.iter().cloned()).collect()
    }

    /// The IDs of their plans. Recovery leaves their journals alone.
    pub(in crate::agent) fn plans(&self) -> BTreeSet<String> {
        self.all.values().filter_map(|one| one.plan.clone()).collect()
    }

    /// Records the step of a container's update.
    pub(in crate::agent) fn note_step(&mut self, subject: &Subject, step: Step) {
        let is_it = |one: &&mut InFlight| *subject == one.subject && one.plan.is_some();
        if let Some(one) = self.all.values_mut().find(is_it) {
            one.step = Some(step);
        }
    }

    /// The updates in flight as the snapshot shows them, by container.
    pub(in crate::agent) fn shown(&self) -> Vec<ActiveUpdate> {
        let updates = self.all.values().filter(|one| one.plan.is_some());
        // A group is shown as its members that get a new image.
        let shown = |one: &InFlight| -> Vec<ActiveUpdate> {
            let Decision::Update(plan) = &one.decision else { return Vec::new() };
            let subjects = plan.changed().map(|(_, it, _)| Subject::container(&it.container));
            subjects.map(|subject| ActiveUpdate { subject, step: one.step }).collect()
        };
        let mut shown: Vec<_> = updates.flat_map(shown).collect();
        shown.sort_by(|a, b| a.subject.cmp(&b.subject));
        shown
    }
}

/// What the execution of a decision needs exclusively.
pub(in crate::agent) fn footprint(decision: &Decision) -> Footprint {
    match decision {
        Decision::Update(plan) | Decision::HandOver(plan) => Footprint::of(plan),
        Decision::Fetch(fetch) => {
            let digests = [&fetch.offer.manifest, &fetch.offer.config];
            Footprint::of_image(&fetch.reference, digests).with_container(&fetch.container)
        }
        Decision::UpToDate | Decision::Republished(_) | Decision::Together(_) | Decision::No(_) => {
            Footprint::default()
        }
    }
}

/// How an update, or a pull before its window, ended.
pub(in crate::agent) enum UpdateResult {
    /// The gate held it before anything was touched.
    Held(No),
    /// It could not begin.
    NotBegun(RoundError),
    /// It ended, successful or not.
    Ended(Box<Record>),
    /// The agent was asked to stop. If the update had begun, its journal has its position.
    Left,
    /// It could be neither finished nor undone so far.
    Unfinished(Box<Unfinished>),
    /// The pull before its window ended. A failure was reported.
    Prefetched,
}

impl UpdateResult {
    /// The answer to the person who asked for the rollback of this container.
    pub(in crate::agent) fn rollback_end(self, container: &str) -> Result<RollbackEnd, AskError> {
        match self {
            Self::Ended(record) => Ok(RollbackEnd::Ended(record)),
            Self::NotBegun(error) => Err(AskError::Round(error)),
            _ => Err(AskError::LeftOpen(container.to_owned())),
        }
    }
}

impl<P: Ports> Context<P> {
    /// Passes the container's gate, and runs the update from its first step.
    pub(in crate::agent) async fn update(&self, plan: Plan, readiness: Readiness) -> UpdateResult {
        match self.pass_container_gate(&plan).await {
            Ok(()) => {}
            Err(Stopped::Held(no)) => return UpdateResult::Held(no),
            Err(Stopped::Stopping) => return UpdateResult::Left,
        }
        match self.update_behind_gate(plan, readiness).await {
            Ok(ended) => ended,
            Err(error) => UpdateResult::NotBegun(error),
        }
    }

    async fn update_behind_gate(
        &self,
        plan: Plan,
        readiness: Readiness,
    ) -> Result<UpdateResult, RoundError> {
        let header = self.header(plan, readiness).await?;
        let update = Update::begin(self.for_updates(), header)?;
        // Boxed, because it is by far the largest part of a task that waits for an update.
        Ok(match Box::pin(update.run()).await {
            Ended::Finished(record) => UpdateResult::Ended(record),
            Ended::Left => UpdateResult::Left,
            Ended::Unfinished(journal, error) => {
                let unfinished = recover::unfinished(&*self.ports, *journal, &error).await;
                UpdateResult::Unfinished(Box::new(unfinished))
            }
        })
    }

    /// Everything that a rollback needs, so that it needs no registry.
    async fn header(&self, plan: Plan, readiness: Readiness) -> Result<Header, EngineError> {
        let mut recorded = Vec::new();
        for (member, original) in plan.all().zip(originals(&plan, &readiness)) {
            let tag_before = match member.update() {
                Some(update) => self.image_behind(&update.local_name()).await?,
                None => None,
            };
            recorded.push(Recorded { original, tag_before });
        }
        Ok(Header {
            version: Header::VERSION,
            started_at: self.ports.host().now(),
            boot_id: self.ports.host().boot_id(),
            plan,
            recorded,
            live_restore: self.engine_info().await?.live_restore,
        })
    }

    /// The ID of the image that a local name points at.
    async fn image_behind(&self, name: &str) -> Result<Option<String>, EngineError> {
        let image = self.ports.engine().inspect_image(name).await?;
        Ok(image.as_ref().map(|image| inspect::id(image).to_owned()))
    }

    /// Pulls an image for an update that waits for its window. After a failure the agent reports
    /// it, and tries again after a pause.
    pub(in crate::agent) async fn prefetch(&self, fetch: &Fetch) -> UpdateResult {
        match execute::prefetch(self.for_updates(), fetch).await {
            Ok(()) | Err(StepError::Asked) => {}
            Err(error) => {
                let detail = format!("the image could not be pulled before its window: {error}");
                if !error.is_engine_unreachable() {
                    let failed = fetch.failed_try(detail.clone(), self.ports.host().now());
                    self.pause_after(&fetch.container, failed);
                }
                self.warn_about(fetch.container.clone(), detail);
            }
        }
        UpdateResult::Prefetched
    }
}
