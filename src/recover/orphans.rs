//! Containers with our names and no journal: the state directory was lost, or a power cut restored
//! removed containers. `core::update::orphans` decides what to do with them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use super::orphan_watch::{OrphanLook, OrphanWatch, signs, trial};
use crate::core::decide::observation::OpenUpdate;
use crate::core::docker::inspect;
use crate::core::docker::names;
use crate::core::policy::update_order::UpdateOrder;
use crate::core::policy::{PolicyDefaults, Selection, own_labels};
use crate::core::recreate::dependents::anchors;
use crate::core::recreate::{RestartPolicy, restart_policy};
use crate::core::subject::Subject;
use crate::core::update::event::{Event, Listener};
use crate::core::update::health::{HealthPolicy, HealthSource};
use crate::core::update::orphans::{
    FoundContainer, Health, OrphanAction, OrphanGroup, action, service, together,
};
use crate::core::update::ownership::{self, OwnershipEvidence};
use crate::engine::{Containers, Engine, EngineError, Images, Listed};
use crate::exec;
use crate::ports::Ports;

/// The services that have containers with one of our names, but no journal. `open` are the services
/// with a journal, which are excluded.
#[must_use]
pub fn left_behind(list: &[Listed], open: &BTreeMap<String, OpenUpdate>) -> BTreeSet<String> {
    let services = list.iter().filter_map(|listed| service(&listed.name));
    services.filter(|service| !open.contains_key(*service)).map(str::to_owned).collect()
}

/// One pass over the leftover containers.
pub struct Sweep<'a, P: Ports> {
    pub ports: &'a P,
    pub listener: &'a dyn Listener,
    /// The defaults for containers without labels.
    pub defaults: &'a PolicyDefaults,
    /// The observations so far.
    pub sightings: &'a mut OrphanWatch,
}

impl<P: Ports> Sweep<'_, P> {
    /// Checks the leftover containers of these services, and cleans up those that were watched for
    /// long enough and are proven. Returns the services that must not be touched.
    pub async fn run(mut self, services: BTreeSet<String>) -> BTreeMap<String, OpenUpdate> {
        self.sightings.retain(&services);
        let mut leftovers = Vec::new();
        for service in services {
            match self.find(&service).await {
                Ok(group) => leftovers.push(ServiceOrphans { service, group }),
                Err(error) => self.stays(&service, &error),
            }
        }
        let mut untouched = BTreeMap::new();
        for group in groups(leftovers) {
            let groups: Vec<_> = group.iter().map(|orphans| &orphans.group).collect();
            let each = groups.iter().map(|group| action(group)).collect();
            let actions = together(&groups, each);
            for (orphans, action) in group.iter().zip(actions) {
                if let Some(open) = self.put_right(orphans, action).await {
                    untouched.insert(orphans.service.clone(), open);
                }
            }
        }
        untouched
    }

    async fn put_right(
        &mut self,
        orphans: &ServiceOrphans,
        action: OrphanAction,
    ) -> Option<OpenUpdate> {
        let ServiceOrphans { service, group } = orphans;
        let untouched = match &action {
            OrphanAction::Wait => Some(OpenUpdate::Elsewhere),
            OrphanAction::Unproven(_) | OrphanAction::Leave(_) => Some(OpenUpdate::Unproven),
            _ => None,
        };
        if let Some(detail) = describe(&action, group)
            && self.sightings.is_news(service, &detail)
        {
            self.warn(service, detail);
        }
        if action != OrphanAction::Wait {
            self.sightings.forget(service);
        }
        if let Err(error) = apply(self.ports.engine(), service, group, action).await {
            self.stays(service, &error);
        }
        untouched
    }

    fn warn(&self, service: &str, detail: String) {
        let subject = Some(Subject::container(service));
        self.listener.receive(&Event::Warning { subject, detail });
    }

    fn stays(&self, service: &str, error: &EngineError) {
        self.warn(
            service,
            format!("the containers that an earlier update left behind stay: {error}"),
        );
    }

    async fn find(&mut self, service: &str) -> Result<OrphanGroup, EngineError> {
        let holder = self.evidence(service).await?;
        let old = self.evidence(&names::old_name(service)).await?;
        let new = self.evidence(&names::new_name(service)).await?;
        let proof = ownership::check(service, holder.as_ref(), old.as_ref(), new.as_ref());
        let (mut has_settled, mut health) = (false, Health::Unknown);
        if proof.is_ok() {
            let all: Vec<_> = [&holder, &old, &new].into_iter().flatten().collect();
            let look = self.look(holder.as_ref(), &all).await;
            let is_first = !self.sightings.knows(service);
            let sighting = self.sightings.see(service, look);
            (has_settled, health) = (sighting.has_settled(), sighting.health());
            let settle = sighting.settle();
            if is_first && !has_settled {
                let time = humantime::format_duration(settle);
                let detail = format!(
                    "for {time} the agent only watches the containers that an earlier update left behind"
                );
                self.warn(service, detail);
            }
        }
        let starts_first = holder.as_ref().and_then(drain_of).is_some();
        let found =
            |evidence: Option<OwnershipEvidence>| evidence.map(|evidence| read(&evidence.document));
        let (holder, old, new) = (found(holder), found(old), found(new));
        Ok(OrphanGroup { holder, old, new, proof, has_settled, health, starts_first })
    }

    /// One container by its exact name: the Engine also accepts the beginning of an ID as a name.
    async fn evidence(&self, name: &str) -> Result<Option<OwnershipEvidence>, EngineError> {
        let engine = self.ports.engine();
        let Some(document) = engine.inspect(name).await? else { return Ok(None) };
        if inspect::name(&document) != name {
            return Ok(None);
        }
        let image = engine.inspect_image(inspect::image_id(&document)).await?.unwrap_or_default();
        let (labels, of_image) = (inspect::labels(&document), inspect::labels(&image));
        let selection = own_labels::read(&labels, &of_image, self.defaults);
        Ok(Some(OwnershipEvidence { document, image, selection }))
    }

    async fn look(
        &self,
        holder: Option<&OwnershipEvidence>,
        all: &[&OwnershipEvidence],
    ) -> OrphanLook {
        let trials = all.iter().filter_map(|one| match &one.selection {
            Selection::Watched(policy) => Some(trial(&policy.health, &one.document)),
            _ => None,
        });
        let stops = all.iter().map(|one| inspect::stop_timeout(&one.document));
        let longest = |times: &mut dyn Iterator<Item = Duration>| times.max().unwrap_or_default();
        let drains = all.iter().filter_map(|one| drain_of(one));
        let settle = longest(&mut { trials })
            .saturating_add(longest(&mut { stops }))
            .saturating_add(longest(&mut { drains }));
        let holder = holder.and_then(|one| match &one.selection {
            Selection::Watched(policy) => Some((&policy.health, &one.document)),
            _ => None,
        });
        let policy = holder.map(|(settings, document)| HealthPolicy::of(settings, document));
        let is_well = match (&policy, holder) {
            (Some(policy), Some((settings, document))) if inspect::is_running(document) => {
                match (policy.source, &settings.probe) {
                    (HealthSource::Probe, Some(probe)) => {
                        let id = inspect::id(document);
                        exec::probe::run(self.ports, id, document, probe).await.is_ok()
                    }
                    (HealthSource::Healthcheck, _) => inspect::health(document) == Some("healthy"),
                    _ => inspect::text(document, "/State/Status") == "running",
                }
            }
            _ => false,
        };
        let last_check = holder.map_or("", |(_, document)| inspect::last_check_at(document));
        OrphanLook {
            signs: all.iter().map(|one| signs(&one.document)).collect(),
            settle,
            policy,
            is_well,
            last_check: last_check.to_owned(),
        }
    }
}

/// How long both containers of an update serve, if the new one starts first.
fn drain_of(one: &OwnershipEvidence) -> Option<Duration> {
    match &one.selection {
        Selection::Watched(policy) => match policy.update_order() {
            UpdateOrder::StartFirst { drain, .. } => Some(drain),
            UpdateOrder::StopFirst => None,
        },
        _ => None,
    }
}

/// The leftover containers of one service.
struct ServiceOrphans {
    service: String,
    group: OrphanGroup,
}

/// Groups of services that depend on each other, each after the services that it depends on.
fn groups(mut leftovers: Vec<ServiceOrphans>) -> Vec<Vec<ServiceOrphans>> {
    let mut groups: Vec<Vec<ServiceOrphans>> = Vec::new();
    while !leftovers.is_empty() {
        let is_free = |one: &ServiceOrphans| {
            !leftovers.iter().any(|it| it.service != one.service && one.group.hangs_on(&it.group))
        };
        // If all depend on each other there is no first one; any will do.
        let position = leftovers.iter().position(is_free).unwrap_or(0);
        let next = leftovers.remove(position);
        let is_anchor =
            |group: &Vec<ServiceOrphans>| group.iter().any(|it| next.group.hangs_on(&it.group));
        let (anchors, others) = groups.into_iter().partition::<Vec<_>, _>(is_anchor);
        groups = others;
        let mut group: Vec<_> = anchors.into_iter().flatten().collect();
        group.push(next);
        groups.push(group);
    }
    groups
}

fn read(document: &Value) -> FoundContainer {
    FoundContainer {
        id: inspect::id(document).to_owned(),
        name: inspect::name(document).to_owned(),
        running: inspect::is_running(document),
        started: inspect::was_started(document),
        // A policy that cannot be read proves nothing, so the container is not touched.
        policy: restart_policy(document).unwrap_or_else(|_| RestartPolicy::no()),
        stop_timeout: inspect::stop_timeout(document),
        anchors: anchors(document)
            .map(|anchors| anchors.into_iter().map(|anchor| anchor.container).collect())
            .unwrap_or_default(),
    }
}

/// The message for a person. The policy that an update set is not the user's, and the user's is
/// unknown.
fn describe(action: &OrphanAction, group: &OrphanGroup) -> Option<String> {
    let policy = |policy: &RestartPolicy| match policy.is_no() {
        true => String::new(),
        false => format!(
            "; its restart policy is {} now, and the policy before the update is unknown: \
             `docker update --restart=…` sets it",
            policy.name
        ),
    };
    let armed = |found: &Option<FoundContainer>| found.as_ref().map(|found| policy(&found.policy));
    Some(match action {
        OrphanAction::Wait => return None,
        OrphanAction::Unproven(why) => format!(
            "a container with one of our names is left alone, because nothing shows that this \
             agent created it: {why}; rename or remove it"
        ),
        OrphanAction::Leave(why) => {
            format!("the containers that an earlier update left behind need a person: {why}")
        }
        OrphanAction::RemoveNew => {
            "removing a new container that an earlier update left behind; its volumes stay".into()
        }
        OrphanAction::Resume => format!(
            "removing a new container that an earlier update left behind, and starting the one that \
             was stopped for it{}",
            armed(&group.holder).unwrap_or_default()
        ),
        OrphanAction::RemoveOld { policy: given } => format!(
            "removing an old container that an earlier update left behind{}",
            given.as_ref().map(policy).unwrap_or_default()
        ),
        OrphanAction::RestoreOld => format!(
            "bringing back the old container that an earlier update had parked{}",
            armed(&group.old).unwrap_or_default()
        ),
    })
}

async fn apply(
    engine: &impl Engine,
    service: &str,
    group: &OrphanGroup,
    action: OrphanAction,
) -> Result<(), EngineError> {
    match (action, &group.holder, &group.old, &group.new) {
        (OrphanAction::RemoveNew, _, _, Some(new)) => {
            if new.running {
                engine.stop(&new.id, new.stop_timeout).await?;
            }
            engine.remove(&new.id, false).await?;
        }
        (OrphanAction::Resume, Some(holder), _, Some(new)) => {
            engine.remove(&new.id, false).await?;
            engine.start(&holder.id).await?;
        }
        (OrphanAction::RemoveOld { policy }, Some(holder), Some(old), new) => {
            if let Some(policy) = policy {
                engine.set_restart_policy(&holder.id, &policy).await?;
            }
            engine.remove(&old.id, false).await?;
            remove_new(engine, new.as_ref()).await?;
        }
        (OrphanAction::RestoreOld, holder, Some(old), new) => {
            remove_new(engine, new.as_ref()).await?;
            if let Some(holder) = holder {
                if holder.running {
                    engine.stop(&holder.id, holder.stop_timeout).await?;
                }
                engine.rename(&holder.id, &names::new_name(service)).await?;
            }
            engine.rename(&old.id, service).await?;
            engine.start(&old.id).await?;
            if let Some(holder) = holder {
                engine.remove(&holder.id, false).await?;
            }
        }
        _ => {}
    }
    Ok(())
}

async fn remove_new(engine: &impl Engine, new: Option<&FoundContainer>) -> Result<(), EngineError> {
    if let Some(new) = new {
        engine.remove(&new.id, false).await?;
    }
    Ok(())
}
