//! What is done with a service: nothing, an update, or a "no" with its reason.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::core::decide::No;
use crate::core::decide::memory::Memory;
use crate::core::decide::reason::Reason;
use crate::core::docker::reference::{Digest, Reference};
use crate::core::service::constraint::PlacedPlatform;
use crate::core::service::facts::{ServiceFacts, ServiceMode, UpdateState};
use crate::core::service::node::SwarmNode;
use crate::core::service::plan::{ServiceOffer, ServicePlan};
use crate::core::service::spec;
use crate::core::service::update_config::{self, Safety};
use crate::core::subject::Subject;

/// What is known when a service is decided.
#[derive(Debug, Clone, Copy)]
pub struct ServiceCase<'a> {
    pub facts: &'a ServiceFacts,
    pub nodes: &'a [SwarmNode],
    /// The ID of this Engine's node.
    pub own_node: &'a str,
    /// The digest of the agent's first look at the tag; it counts as the running one if the
    /// specification names none.
    pub assumed: Option<&'a Digest>,
    pub memory: &'a Memory,
    /// `health.stable` of the service.
    pub stable: Duration,
    /// How long a new task may take to become healthy.
    pub healthy: Duration,
    pub now: DateTime<Utc>,
}

/// What is done with a service.
#[derive(Debug, Clone, PartialEq)]
pub enum ServiceDecision {
    UpToDate,
    Update(Box<ServicePlan>),
    No(No),
}

/// Whether a service could be updated, whatever its tag points at. Nothing is asked of a registry
/// for a service that cannot.
///
/// # Errors
/// It cannot, for this reason.
pub fn check(case: ServiceCase<'_>) -> Result<Reference, No> {
    let ServiceCase { facts, nodes, .. } = case;
    let no = |reason, detail: &str| Err(No::new(reason, detail));
    if !nodes.iter().any(|node| node.id == case.own_node && node.is_leader) {
        return no(Reason::NotLeader, "another manager leads the Swarm");
    }
    match facts.mode {
        ServiceMode::Job => return no(Reason::IsAJob, "any change would run the job again"),
        ServiceMode::Other => {
            return no(Reason::CannotUpdateService, "it is not a service of containers");
        }
        ServiceMode::Replicated(0) => {
            return no(
                Reason::CannotUpdateService,
                "it has 0 replicas, so nothing could be watched",
            );
        }
        ServiceMode::Global | ServiceMode::Replicated(_) => {}
    }
    let Some(reference) = facts.reference() else {
        return no(Reason::PinnedByDigest, "its image is no reference");
    };
    if reference.tag.is_none() {
        return no(Reason::PinnedByDigest, "its image names a digest without a tag");
    }
    match facts.state {
        UpdateState::Updating | UpdateState::RollbackStarted => {
            return no(Reason::ServiceUpdating, "Swarm is still carrying out a change");
        }
        UpdateState::Paused | UpdateState::RollbackPaused => {
            return no(Reason::ServicePaused, "Swarm paused its last change after a failed task");
        }
        UpdateState::Unknown => {
            return no(Reason::ServiceUpdating, "Swarm names a state that is not known");
        }
        UpdateState::None | UpdateState::Completed | UpdateState::RollbackCompleted => {}
    }
    if facts.eligible(nodes).next().is_none() {
        return no(Reason::CannotUpdateService, "no node that is reachable and active may run it");
    }
    update_config::safe(facts, safety(case))
        .map_err(|why| No::new(Reason::CannotUpdateService, why))?;
    Ok(reference)
}

/// Decides a service for which a registry offers this.
#[must_use]
pub fn decide(case: ServiceCase<'_>, offer: &ServiceOffer) -> ServiceDecision {
    match plan(case, offer) {
        Ok(Some(plan)) => ServiceDecision::Update(Box::new(plan)),
        Ok(None) => ServiceDecision::UpToDate,
        Err(no) => ServiceDecision::No(no),
    }
}

fn plan(case: ServiceCase<'_>, offer: &ServiceOffer) -> Result<Option<ServicePlan>, No> {
    let ServiceCase { facts, stable, healthy, .. } = case;
    let reference = check(case)?;
    // Nobody knows what runs from a tag. Until it moves, nothing is done.
    let from = reference.digest.clone().or_else(|| case.assumed.cloned());
    let Some(from) = from.filter(|from| !is_offered(offer, from)) else { return Ok(None) };
    let digests: BTreeSet<_> = offer.manifests.iter().chain([&offer.digest]).cloned().collect();
    let subject = Subject::service(&facts.name);
    if let Some(refusal) = digests.iter().find_map(|it| case.memory.refusal(&subject, it)) {
        return Err(No::new(Reason::RefusedDigest, refusal.detail.clone()));
    }
    if let Some(no) = digests.iter().find_map(|it| failing(case, &subject, it)) {
        return Err(no);
    }
    let platforms = platforms(case, offer)?;
    let update_config = update_config::safe(facts, safety(case))
        .map_err(|why| No::new(Reason::CannotUpdateService, why))?;
    Ok(Some(ServicePlan {
        id: ServicePlan::make_id(&facts.name, case.now),
        service: facts.name.clone(),
        service_id: facts.id.clone(),
        image: facts.image.clone(),
        new_image: spec::pinned(&reference, &offer.digest),
        old_image: match reference.digest {
            Some(_) => facts.image.clone(),
            None => spec::pinned(&reference, &from),
        },
        from,
        to: offer.digest.clone(),
        digests,
        platforms,
        update_config,
        back_config: update_config::back(facts),
        stable: update_config::stable(facts, stable),
        healthy,
    }))
}

/// The pause after tries that failed for a reason outside of the image. What failed before anything
/// was stopped was the pull.
fn failing(case: ServiceCase<'_>, subject: &Subject, digest: &Digest) -> Option<No> {
    let failing = case.memory.failing(subject, &case.facts.id, digest)?;
    let next = failing.next_try(case.now)?;
    let is_pull = failing.outages == 0;
    let reason = if is_pull { Reason::PrepullFailed } else { Reason::UpdateFailing };
    let next = next.format("%Y-%m-%d %H:%M UTC");
    Some(No::new(reason, format!("{}; the next try is at {next}", failing.detail)))
}

fn safety(case: ServiceCase<'_>) -> Safety {
    Safety { stable: case.stable, is_pinned: case.facts.pinned_digest().is_some() }
}

fn is_offered(offer: &ServiceOffer, digest: &Digest) -> bool {
    offer.digest == *digest || offer.manifests.contains(digest)
}

/// The platforms that the update writes; nothing if the service names none, or if the offer is not
/// an index. Every node that the constraints of a global service allow must have one of them: Swarm
/// ends the old task before it finds out that the new one has no place.
fn platforms(case: ServiceCase<'_>, offer: &ServiceOffer) -> Result<Option<Value>, No> {
    let ServiceCase { facts, nodes, .. } = case;
    let offered = offer.platforms.as_ref();
    let offered: Option<Vec<_>> =
        offered.map(|all| all.iter().map(PlacedPlatform::of_image).collect());
    let placed = offered.as_ref().unwrap_or(&facts.platforms);
    let fits = |node: &&SwarmNode| placed.is_empty() || placed.iter().any(|it| it.fits(node));
    let mut reached = nodes.iter().filter(|node| node.takes_tasks() && facts.may_use(node));
    let misfit = match facts.mode {
        ServiceMode::Global => reached.find(|node| !fits(node)),
        _ if reached.clone().any(|node| fits(&node)) => None,
        _ => reached.next(),
    };
    if let Some(node) = misfit {
        let (name, os, architecture) = (node.name(), &node.os, &node.architecture);
        let detail = format!("the image has nothing for {name}, which is {os}/{architecture}");
        return Err(No::new(Reason::PlatformMissing, detail));
    }
    let write = |it: &PlacedPlatform| match it.architecture.as_str() {
        "" => json!({ "OS": it.os }),
        architecture => json!({ "Architecture": architecture, "OS": it.os }),
    };
    let offered = offered.filter(|_| !facts.platforms.is_empty());
    Ok(offered.map(|all| all.iter().map(write).collect::<Vec<_>>().into()))
}

#[cfg(test)]
#[path = "decision_tests.rs"]
mod tests;
