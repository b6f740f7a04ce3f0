//! Asks a registry whether it knows the running image, if nothing else shows where it came from:
//! one HEAD for a digest, which costs no quota. The answer is remembered.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use tokio::time::Instant;

use super::resolve::{LOOK_UPS_AT_ONCE, REGISTRY_TIMEOUT, in_time};
use crate::core::decide::memory::Memory;
use crate::core::decide::observation::Observation;
use crate::core::decide::origin::{ImageOrigin, digests_to_ask, has_nothing, news};
use crate::core::decide::{Circumstances, origin};
use crate::core::docker::reference::{Digest, Reference};
use crate::ports::Ports;
use crate::registry::Registry;

/// Finds out where these images came from: first from the history, then from their registries.
pub async fn ask<'a, P: Ports>(ports: &P, observations: impl Iterator<Item = &'a mut Observation>) {
    let mut groups: BTreeMap<(Reference, Vec<Digest>), Vec<&mut Observation>> = BTreeMap::new();
    let mut history = None;
    for observation in observations {
        let (Ok(reference), Ok(running)) = (&observation.reference, &mut observation.running)
        else {
            continue;
        };
        // The history is read only if it is needed, which is rare.
        let history = history.get_or_insert_with(|| ports.state().history().unwrap_or_default());
        if origin::was_pulled(history, &observation.name, reference, running) {
            running.origin = ImageOrigin::ShownNow;
            continue;
        }
        let key = (Reference { tag: None, ..reference.clone() }, digests_to_ask(running));
        groups.entry(key).or_default().push(observation);
    }
    let deadline = Instant::now() + REGISTRY_TIMEOUT;
    let mut look_ups: Vec<BoxFuture<'_, ()>> = Vec::new();
    for ((reference, digests), group) in groups {
        let look_up = async move {
            let asked = look_up(ports.registry(), &reference, digests).map(Ok);
            let answer = in_time(deadline, &reference, asked).await;
            let answer = answer.unwrap_or_else(ImageOrigin::Unanswered);
            for observation in group {
                let offered = observation.offered.digest().cloned();
                let Ok(running) = &mut observation.running else { continue };
                running.origin = match answer.clone() {
                    ImageOrigin::Missing { .. } => ImageOrigin::Missing { offered },
                    answer => answer,
                };
            }
        };
        look_ups.push(look_up.boxed());
    }
    stream::iter(look_ups).buffer_unordered(LOOK_UPS_AT_ONCE).collect::<()>().await;
}

/// Whether the registry knows one of these digests under this name. An answer with another digest
/// does not count.
async fn look_up(registry: &impl Registry, name: &Reference, digests: Vec<Digest>) -> ImageOrigin {
    for digest in digests {
        let asked = Reference { digest: Some(digest.clone()), ..name.clone() };
        match registry.head(&asked).await {
            Ok(found) if found == digest => return ImageOrigin::ShownNow,
            Ok(_) => {}
            Err(error) if has_nothing(&error, name) => {}
            Err(error) => return ImageOrigin::Unanswered(error),
        }
    }
    ImageOrigin::Missing { offered: None }
}

/// Remembers where images came from, as this round has found out. Returns whether anything is new.
#[must_use]
pub fn remember(
    memory: &mut Memory,
    observations: &[Observation],
    circumstances: &Circumstances,
) -> bool {
    let mut is_news = false;
    for observation in observations {
        let (Ok(reference), Ok(running)) = (&observation.reference, &observation.running) else {
            continue;
        };
        if let Some(known) = news(observation, circumstances) {
            is_news |= memory.learn_origin(&running.image_id, reference, known);
        }
    }
    is_news
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::core::decide::offer::{LookupError, Offer};
    use crate::core::decide::reason::Reason;
    use crate::core::docker::reference::Platform;
    use crate::registry::Credentials;

    /// A registry that answers a HEAD for a digest like this.
    struct Scripted(BTreeMap<Digest, Result<Digest, LookupError>>);

    impl Registry for Scripted {
        async fn head(&self, reference: &Reference) -> Result<Digest, LookupError> {
            assert_eq!(reference.tag, None, "a tag says nothing of what runs");
            let digest = reference.digest.as_ref().expect("a digest is asked for");
            let missing = LookupError::new(Reason::NotFound, "no such manifest");
            self.0.get(digest).cloned().unwrap_or(Err(missing))
        }

        async fn resolve(
            &self,
            _: &Reference,
            _: &Digest,
            _: &Platform,
        ) -> Result<Offer, LookupError> {
            panic!("a manifest was asked for, which costs quota")
        }

        async fn document(&self, _: &Reference, _: &Digest) -> Result<Vec<u8>, LookupError> {
            panic!("a manifest was asked for, which costs quota")
        }

        async fn credentials(&self, _: &str) -> Result<Option<Credentials>, LookupError> {
            Ok(None)
        }
    }

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    async fn asked(answers: &[(&str, Result<&str, Reason>)]) -> ImageOrigin {
        let answer = |result: &Result<&str, Reason>| match result {
            Ok(found) => Ok(digest(found)),
            Err(reason) => Err(LookupError::new(*reason, "no")),
        };
        let answers = answers.iter().map(|(asked, result)| (digest(asked), answer(result)));
        let name = "shop/till".parse().map(|name| Reference { tag: None, ..name });
        let digests = vec![digest("index"), digest("manifest")];
        look_up(&Scripted(answers.collect()), &name.expect("a name"), digests).await
    }

    #[tokio::test]
    async fn the_registry_must_know_the_very_digest_and_an_error_is_no_answer() {
        assert_eq!(asked(&[("index", Ok("index"))]).await, ImageOrigin::ShownNow);
        // An index that was deleted, or replaced by another one around the same manifest.
        assert_eq!(asked(&[("manifest", Ok("manifest"))]).await, ImageOrigin::ShownNow);
        assert_eq!(asked(&[]).await, ImageOrigin::Missing { offered: None });
        // A registry that answers with what it likes to offer.
        let other = [("index", Ok("another")), ("manifest", Ok("another"))];
        assert_eq!(asked(&other).await, ImageOrigin::Missing { offered: None });
        for reason in [
            Reason::RegistryUnauthorized,
            Reason::RegistryUnreachable,
            Reason::RegistryError,
            Reason::RateLimited,
        ] {
            let unanswered = ImageOrigin::Unanswered(LookupError::new(reason, "no"));
            assert_eq!(asked(&[("index", Err(reason))]).await, unanswered);
            assert_eq!(asked(&[("manifest", Err(reason))]).await, unanswered);
        }
    }
}
