//! Containers with our names and no journal: the state directory was lost, or a cut brought back
//! what had been removed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::Value;

use crate::core::decide::observation::OpenUpdate;
use crate::core::docker::inspect;
use crate::core::docker::names;
use crate::core::recreate::dependents::anchors;
use crate::core::recreate::{RestartPolicy, restart_policy};
use crate::core::update::debris::{Found, Party, Remedy, remedy, service, together};
use crate::core::update::event::{Event, Listener};
use crate::engine::{Engine, EngineError, Listed};
use crate::host::Host;
use crate::world::Ports;

/// The services of which something bears one of our names although no journal tells of it. `open`
/// are those whose journal is open, which are none of this.
#[must_use]
pub fn left_behind(list: &[Listed], open: &BTreeMap<String, OpenUpdate>) -> BTreeSet<String> {
    let services = list.iter().filter_map(|listed| service(&listed.name));
    services.filter(|service| !open.contains_key(*service)).map(str::to_owned).collect()
}

/// Puts right what was left behind of these services; `watch` is how long an update of another
/// agent may take. Gives the services that are left alone, because something happened there just
/// now.
pub async fn sweep<P: Ports>(
    ports: &P,
    listener: &dyn Listener,
    services: BTreeSet<String>,
    watch: Duration,
) -> BTreeSet<String> {
    let mut remnants = Vec::new();
    for service in services {
        match find(ports, &service).await {
            Ok((party, grace)) => remnants.push(Remnant { service, party, grace }),
            Err(error) => stays(listener, service, &error),
        }
    }
    let now = ports.host().now();
    let mut unsettled = BTreeSet::new();
    for group in groups(remnants) {
        let parties: Vec<_> = group.iter().map(|remnant| &remnant.party).collect();
        let each = group.iter().map(|it| remedy(&it.party, now, it.settle(watch)));
        let remedies = together(&parties, each.collect());
        for (Remnant { service, party, .. }, remedy) in group.iter().zip(remedies) {
            if remedy == Remedy::Wait {
                unsettled.insert(service.clone());
                continue;
            }
            if let Some(detail) = told(&remedy) {
                let (container, detail) = (service.clone(), detail.to_owned());
                listener.hear(&Event::Warning { container, detail });
            }
            if let Err(error) = apply(ports.engine(), service, party, remedy).await {
                stays(listener, service.clone(), &error);
            }
        }
    }
    unsettled
}

fn stays(listener: &dyn Listener, container: String, error: &EngineError) {
    let detail = format!("what an earlier update left behind stays: {error}");
    listener.hear(&Event::Warning { container, detail });
}

/// What an update left of one service.
struct Remnant {
    service: String,
    party: Party,
    /// How long its containers may take to stop.
    grace: Duration,
}

impl Remnant {
    fn settle(&self, watch: Duration) -> TimeDelta {
        TimeDelta::from_std(watch + self.grace).unwrap_or(TimeDelta::MAX)
    }
}

/// Services that hang on each other, each behind what it hangs on.
fn groups(mut remnants: Vec<Remnant>) -> Vec<Vec<Remnant>> {
    let mut groups: Vec<Vec<Remnant>> = Vec::new();
    while !remnants.is_empty() {
        let is_free = |one: &Remnant| {
            !remnants.iter().any(|it| it.service != one.service && one.party.hangs_on(&it.party))
        };
        // Where all hang on each other there is no first one; any will do.
        let position = remnants.iter().position(is_free).unwrap_or(0);
        let next = remnants.remove(position);
        let is_anchor =
            |group: &Vec<Remnant>| group.iter().any(|it| next.party.hangs_on(&it.party));
        let (anchors, others) = groups.into_iter().partition::<Vec<_>, _>(is_anchor);
        groups = others;
        let mut group: Vec<_> = anchors.into_iter().flatten().collect();
        group.push(next);
        groups.push(group);
    }
    groups
}

async fn find<P: Ports>(ports: &P, service: &str) -> Result<(Party, Duration), EngineError> {
    let mut grace = Duration::ZERO;
    let mut found = BTreeMap::new();
    for name in [service.to_owned(), names::old_name(service), names::new_name(service)] {
        if let Some(document) = ports.engine().inspect(&name).await? {
            grace = grace.max(inspect::stop_timeout(&document));
            found.insert(name, read(&document));
        }
    }
    let party = Party {
        holder: found.remove(service),
        old: found.remove(&names::old_name(service)),
        new: found.remove(&names::new_name(service)),
    };
    Ok((party, grace))
}

fn read(document: &Value) -> Found {
    Found {
        id: inspect::id(document).to_owned(),
        name: inspect::name(document).to_owned(),
        running: inspect::is_running(document),
        started: inspect::was_started(document),
        policy: restart_policy(document).unwrap_or_else(|_| RestartPolicy::no()),
        changed_at: inspect::changed_at(document),
        anchors: anchors(document)
            .map(|anchors| anchors.into_iter().map(|anchor| anchor.container).collect())
            .unwrap_or_default(),
    }
}

const fn told(remedy: &Remedy) -> Option<&'static str> {
    match remedy {
        Remedy::Wait => None,
        Remedy::Leave => {
            Some("an earlier update left containers behind; nothing tells whose they are")
        }
        Remedy::RemoveNew | Remedy::Resume => {
            Some("removing a new container that an earlier update left behind")
        }
        Remedy::RemoveOld { .. } => {
            Some("removing an old container that an earlier update left behind")
        }
        Remedy::RestoreOld => {
            Some("bringing back the old container that an earlier update had parked")
        }
        Remedy::AdoptNew => {
            Some("only the new container of an earlier update is left; it gets the name")
        }
    }
}

async fn apply(
    engine: &impl Engine,
    service: &str,
    party: &Party,
    remedy: Remedy,
) -> Result<(), EngineError> {
    match (remedy, &party.holder, &party.old, &party.new) {
        (Remedy::RemoveNew, _, _, Some(new)) => {
            engine.remove(&new.id, true).await?;
        }
        (Remedy::Resume, Some(holder), _, Some(new)) => {
            engine.remove(&new.id, true).await?;
            engine.start(&holder.id).await?;
        }
        (Remedy::RemoveOld { policy }, Some(holder), Some(old), new) => {
            if let Some(policy) = policy {
                engine.set_restart_policy(&holder.id, &policy).await?;
            }
            stop_if_running(engine, old).await?;
            engine.remove(&old.id, false).await?;
            remove_new(engine, new.as_ref()).await?;
        }
        (Remedy::RestoreOld, holder, Some(old), new) => {
            remove_new(engine, new.as_ref()).await?;
            if let Some(holder) = holder {
                stop_if_running(engine, holder).await?;
                engine.rename(&holder.id, &names::new_name(service)).await?;
            }
            engine.rename(&old.id, service).await?;
            engine.start(&old.id).await?;
            if let Some(holder) = holder {
                engine.remove(&holder.id, true).await?;
            }
        }
        (Remedy::AdoptNew, _, _, Some(new)) => {
            engine.rename(&new.id, service).await?;
            engine.start(&new.id).await?;
            engine.set_restart_policy(&new.id, &RestartPolicy::named("unless-stopped")).await?;
        }
        _ => {}
    }
    Ok(())
}

async fn remove_new(engine: &impl Engine, new: Option<&Found>) -> Result<(), EngineError> {
    if let Some(new) = new.filter(|new| !new.running) {
        engine.remove(&new.id, true).await?;
    }
    Ok(())
}

async fn stop_if_running(engine: &impl Engine, found: &Found) -> Result<(), EngineError> {
    if found.running { engine.stop(&found.id, inspect::STOP_TIMEOUT_DEFAULT).await } else { Ok(()) }
}
