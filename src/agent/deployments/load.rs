//! Receives an image: what forbids it, before a byte arrives; then the load.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::order::{LookedAt, PushOrder};
use crate::agent::context::Context;
use crate::agent::handle::deployments::LoadImage;
use crate::agent::handle::question::AskError;
use crate::core::archive::ArchivedImage;
use crate::core::decide::disk_space::{RESERVE_BYTES, bytes};
use crate::core::decide::observation::Readiness;
use crate::core::decide::offer::Offer;
use crate::core::decide::push::{self, PushedImage, may_push};
use crate::core::decide::reason::Reason;
use crate::core::decide::{Circumstances, No};
use crate::core::deployment::Deployment;
use crate::core::deployment::refusal::{PushRefusal, RefusalWord};
use crate::core::docker::inspect;
use crate::core::docker::reference::{Digest, Platform};
use crate::core::subject::Subject;
use crate::engine::Engine;
use crate::execute::{self, LoadOrder, UpdateContext};
use crate::observe::{Cache, TieIndex, free_bytes};
use crate::ports::Ports;

/// How many bytes on the disk an archive needs while it is loaded, as a multiple of its unpacked
/// size: the Engine writes the archive, and then the layers (measured on Engines 20.10 and 28.5).
const LOAD_FACTOR: u64 = 2;

impl<P: Ports> Context<P> {
    /// Checks what forbids the push, and loads the image. The Engine's lock and other loads are the
    /// caller's. If `cut` is cancelled, the upload ends where it is.
    pub(in crate::agent) async fn receive_image(
        &self,
        deployment: Deployment,
        LoadImage { by, force, upload, .. }: LoadImage,
        (circumstances, mut cache): (Circumstances, Arc<Cache>),
        cut: &CancellationToken,
    ) -> Result<PushOrder, AskError> {
        let place = (&mut cache, &mut TieIndex::default());
        let container = deployment.container.clone();
        let look = self.look_at(&container, place, circumstances.clone(), BTreeMap::new());
        let found = Box::pin(look).await?;
        let platform = match &found {
            LookedAt::Nothing => self.may_create(&deployment).await?,
            LookedAt::Container(observation, readiness) => {
                let offer = running_image(readiness);
                let pushed = PushedImage { deployment: &deployment, offer: &offer, by: &by };
                let rules = (&circumstances, &self.settings.defaults);
                may_push(observation, readiness, &pushed, rules)
                    .map_err(|no| PushRefusal::held(&container, &no))?;
                inspect::platform(&readiness.image)
            }
        };
        let free = free_bytes(self.ports.host(), &self.ports.engine().info().await?);
        check_room(free, upload.size)?;
        let check = |image: &ArchivedImage| self.check_refused(&container, force, image);
        let order = LoadOrder {
            container: &container,
            by: &by,
            platform: &platform,
            unpacked_max: free.map(|free| free.saturating_sub(RESERVE_BYTES) / LOAD_FACTOR),
            check: &check,
        };
        let place = UpdateContext { stop: cut, ..self.for_updates() };
        let offer = Box::pin(execute::load(place, &order, upload)).await?;
        Ok(PushOrder { deployment, by, force, offer: Some(offer) })
    }

    /// Checks that a first container may be created. Returns the platform of its image.
    async fn may_create(&self, deployment: &Deployment) -> Result<Platform, AskError> {
        let definition = deployment.definition.as_ref().ok_or_else(|| {
            let detail = format!(
                "there is no container named {}, and the deployment has no definition to create it",
                deployment.container
            );
            PushRefusal::new(RefusalWord::NoSuchContainer, detail)
        })?;
        let policy = push::policy(definition, &self.settings.defaults);
        policy.map_err(|no| PushRefusal::held(&deployment.container, &no))?;
        Ok(self.engine_info().await?.platform)
    }

    fn check_refused(
        &self,
        container: &str,
        force: bool,
        image: &ArchivedImage,
    ) -> Result<(), PushRefusal> {
        let memory = self
            .ports
            .state()
            .memory()
            .map_err(|error| PushRefusal::new(RefusalWord::NotReady, error.to_string()))?;
        let refusal = memory.refusal(&Subject::container(container), &image.config);
        match refusal.filter(|_| !force) {
            None => Ok(()),
            Some(refusal) => {
                let no = No::new(Reason::RefusedDigest, refusal.detail.clone());
                Err(PushRefusal::held(container, &no))
            }
        }
    }
}

/// The image that runs, as an offer.
pub(super) fn running_image(readiness: &Readiness) -> Offer {
    let id = inspect::id(&readiness.image);
    let digest = id.parse().unwrap_or_else(|_| {
        // Never with Docker, whose IDs are digests.
        Digest::of(id.as_bytes())
    });
    Offer::of_local(&readiness.image, digest, None)
}

fn check_room(free: Option<u64>, size: Option<u64>) -> Result<(), PushRefusal> {
    let (Some(free), Some(size)) = (free, size) else { return Ok(()) };
    let needed = size.saturating_mul(LOAD_FACTOR).saturating_add(RESERVE_BYTES);
    if needed <= free {
        return Ok(());
    }
    let detail = format!("the load needs about {}, {} are free", bytes(needed), bytes(free));
    Err(PushRefusal::new(RefusalWord::DiskFull, detail))
}
