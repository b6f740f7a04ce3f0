//! Asks a registry once for each distinct reference, all at the same time. The answer for one
//! reference never affects the others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt, stream};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::Cache;
use crate::core::decide::observation::{Observation, Offered};
use crate::core::decide::offer::{LookupError, Offer};
use crate::core::decide::reason::Reason;
use crate::core::docker::inspect;
use crate::core::docker::reference::{Digest, Platform, Reference};
use crate::engine::{Engine, EngineError};
use crate::registry::Registry;

/// How many requests run at once. They mostly wait; the registry port limits how many one registry
/// gets.
pub(super) const LOOK_UPS_AT_ONCE: usize = 256;

/// How long a registry may take to answer for all containers that follow it, and again to send the
/// manifests of its digests. One exchange ends after 30 s; a challenge, a token, the answer and a
/// slow credential helper fit in, and so do some hundred images of a slow registry. What it has not
/// answered by then counts as unreachable, for its own containers.
pub const REGISTRY_TIMEOUT: Duration = Duration::from_secs(120);

/// The answer, if it comes in time.
pub(super) async fn in_time<T>(
    deadline: Instant,
    reference: &Reference,
    answer: impl Future<Output = Result<T, LookupError>>,
) -> Result<T, LookupError> {
    timeout_at(deadline, answer).await.unwrap_or_else(|_| {
        let (host, seconds) = (&reference.registry, REGISTRY_TIMEOUT.as_secs());
        let detail = format!("{host} did not answer within {seconds} s");
        Err(LookupError::new(Reason::RegistryUnreachable, detail))
    })
}

/// One HEAD for each distinct reference.
pub async fn digests<'a>(
    registry: &impl Registry,
    observations: impl Iterator<Item = &'a mut Observation>,
) {
    let mut groups: BTreeMap<Reference, Vec<&mut Observation>> = BTreeMap::new();
    for observation in observations {
        if let Ok(reference) = &observation.reference {
            groups.entry(reference.clone()).or_default().push(observation);
        }
    }
    let deadline = Instant::now() + REGISTRY_TIMEOUT;
    let mut waiting = groups.into_iter();
    let mut under_way = FuturesUnordered::new();
    loop {
        for (reference, group) in waiting.by_ref().take(LOOK_UPS_AT_ONCE - under_way.len()) {
            under_way.push(look_up(registry, deadline, reference, group));
        }
        if under_way.next().await.is_none() {
            return;
        }
    }
}

/// One HEAD, for all containers of a reference. It is created when its turn comes, because a
/// waiting request needs as much memory as a running one.
fn look_up<'a>(
    registry: &'a impl Registry,
    deadline: Instant,
    reference: Reference,
    group: Vec<&'a mut Observation>,
) -> BoxFuture<'a, ()> {
    async move {
        let answer = in_time(deadline, &reference, registry.head(&reference)).await;
        let offered = answer.map_or_else(Offered::Unknown, Offered::Digest);
        for observation in group {
            observation.offered = offered.clone();
        }
    }
    .boxed()
}

/// The image of the local tag, for containers that follow no registry.
pub async fn local_tags<'a>(
    engine: &impl Engine,
    observations: impl Iterator<Item = &'a mut Observation>,
) {
    for observation in observations {
        let Ok(reference) = &observation.reference else { continue };
        let name = reference.local_name();
        let answer = engine.inspect_image(&name).await;
        observation.offered = offered_here(&name, reference, answer);
    }
}

fn offered_here(
    name: &str,
    reference: &Reference,
    answer: Result<Option<Value>, EngineError>,
) -> Offered {
    let image = match answer {
        Ok(Some(image)) => image,
        Ok(None) => {
            let detail = format!("no image on this machine is named {name}");
            return Offered::Unknown(LookupError::new(Reason::NotFound, detail));
        }
        Err(error) => {
            return Offered::Unknown(LookupError::new(Reason::EngineError, error.to_string()));
        }
    };
    match inspect::id(&image).parse() {
        Ok(id) => {
            let offer = Offer::of_local(&image, id, None).with_version_of(&image, reference);
            Offered::Image(Box::new(offer))
        }
        Err(_) => {
            let detail = format!("the ID of {name} is not a digest");
            Offered::Unknown(LookupError::new(Reason::EngineError, detail))
        }
    }
}

/// Fetches the manifest of each new digest: once for each platform, and remembered as long as the
/// agent runs. GETs of manifests count against a registry's quota.
pub async fn images<'a>(
    registry: &impl Registry,
    cache: &mut Arc<Cache>,
    observations: impl Iterator<Item = &'a mut Observation>,
) {
    let mut groups: BTreeMap<(Reference, Digest, String), (Platform, Vec<&mut Observation>)> =
        BTreeMap::new();
    for observation in observations {
        let (Ok(reference), Ok(running)) = (&observation.reference, &observation.running) else {
            continue;
        };
        let Some(digest) = observation.offered.digest().cloned() else { continue };
        let platform = running.platform.clone();
        if let Some(offer) = cache.offer(reference, &digest, &platform) {
            observation.offered = Offered::Image(Box::new(offer.clone()));
            continue;
        }
        let key = (reference.clone(), digest, platform.to_string());
        groups.entry(key).or_insert_with(|| (platform, Vec::new())).1.push(observation);
    }
    let deadline = Instant::now() + REGISTRY_TIMEOUT;
    let mut look_ups: Vec<BoxFuture<'_, _>> = Vec::new();
    for ((reference, digest, _), (platform, group)) in groups {
        let look_up = async move {
            let resolved = registry.resolve(&reference, &digest, &platform);
            let answer = in_time(deadline, &reference, resolved).await;
            (reference, platform, answer, group)
        };
        look_ups.push(look_up.boxed());
    }
    let mut answers = stream::iter(look_ups).buffer_unordered(LOOK_UPS_AT_ONCE);
    while let Some((reference, platform, answer, group)) = answers.next().await {
        if let Ok(offer) = &answer {
            Arc::make_mut(cache).keep_offer(&reference, &platform, offer.clone());
        }
        let offered = answer.map_or_else(Offered::Unknown, |offer| Offered::Image(Box::new(offer)));
        for observation in group {
            observation.offered = offered.clone();
        }
    }
}
