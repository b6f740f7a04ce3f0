//! Containers with our names and no journal: the state directory was lost, or a cut brought back
//! what had been removed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::Value;

use crate::core::docker::inspect;
use crate::core::docker::names;
use crate::core::recreate::{RestartPolicy, restart_policy};
use crate::core::update::debris::{Found, Party, Remedy, remedy, service};
use crate::core::update::event::{Event, Listener};
use crate::engine::{Engine, EngineError};
use crate::host::Host;
use crate::world::Ports;

/// Puts right what bears one of our names although no journal tells of it. `open` are the services
/// whose journal is open, which are none of this; `watch` is how long an update of another agent
/// may take. Gives the services that are left alone, because something happened there just now.
///
/// # Errors
/// The Engine does not give its list.
pub async fn sweep<P: Ports>(
    ports: &P,
    listener: &dyn Listener,
    open: &BTreeSet<String>,
    watch: Duration,
) -> Result<BTreeSet<String>, EngineError> {
    let services: BTreeSet<String> = ports
        .engine()
        .list()
        .await?
        .iter()
        .filter_map(|listed| service(&listed.name).map(str::to_owned))
        .filter(|service| !open.contains(service))
        .collect();
    let mut unsettled = BTreeSet::new();
    for service in services {
        match put_right(ports, listener, &service, watch).await {
            Ok(true) => {}
            Ok(false) => _ = unsettled.insert(service),
            Err(error) => {
                let detail = format!("what an earlier update left behind stays: {error}");
                listener.hear(&Event::Warning { container: service, detail });
            }
        }
    }
    Ok(unsettled)
}

/// Says whether it is settled.
async fn put_right<P: Ports>(
    ports: &P,
    listener: &dyn Listener,
    service: &str,
    watch: Duration,
) -> Result<bool, EngineError> {
    let engine = ports.engine();
    let mut grace = Duration::ZERO;
    let mut found = BTreeMap::new();
    for name in [service.to_owned(), names::old_name(service), names::new_name(service)] {
        if let Some(document) = engine.inspect(&name).await? {
            grace = grace.max(inspect::stop_timeout(&document));
            found.insert(name, read(&document));
        }
    }
    let party = Party {
        holder: found.remove(service),
        old: found.remove(&names::old_name(service)),
        new: found.remove(&names::new_name(service)),
    };
    let settle = TimeDelta::from_std(watch + grace).unwrap_or(TimeDelta::MAX);
    let remedy = remedy(&party, ports.host().now(), settle);
    if let Some(detail) = told(&remedy) {
        listener.hear(&Event::Warning { container: service.to_owned(), detail: detail.to_owned() });
    }
    let is_settled = remedy != Remedy::Wait;
    apply(engine, service, &party, remedy).await?;
    Ok(is_settled)
}

fn read(document: &Value) -> Found {
    Found {
        id: inspect::id(document).to_owned(),
        name: inspect::name(document).to_owned(),
        running: inspect::is_running(document),
        started: inspect::was_started(document),
        policy: restart_policy(document).unwrap_or_else(|_| RestartPolicy::no()),
        changed_at: inspect::changed_at(document),
    }
}

const fn told(remedy: &Remedy) -> Option<&'static str> {
    match remedy {
        Remedy::Wait => None,
        Remedy::Leave => {
            Some("an earlier update left containers behind; nothing tells whose they are")
        }
        Remedy::RemoveNew => Some("removing a new container that an earlier update left behind"),
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
