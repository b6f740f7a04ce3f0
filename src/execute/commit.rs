//! The end of an update that went well: the new containers are what there is from now on.

use tokio::time::Instant;

use super::images;
use super::{StepError, TRIES_MAX, Update};
use crate::core::decide::memory::Refusal;
use crate::core::decide::origin::RememberedOrigin;
use crate::core::docker::inspect;
use crate::core::docker::names;
use crate::core::recreate::RestartPolicy;
use crate::core::update::event::Event;
use crate::core::update::plan::ImageSource;
use crate::core::update::{Mark, Note, Step};
use crate::engine::{Engine, EngineError, ListedImage};
use crate::host::Host;
use crate::ports::Ports;

impl<P: Ports> Update<'_, P> {
    /// Takes the right to be started from the old containers, then gives the users' own to the new
    /// ones. Between the calls nothing would be started after a cut, or only what others hang on;
    /// recovery covers it, and starts what has proved itself where the Engine did not.
    pub(super) async fn commit(&mut self) -> Result<Note, StepError> {
        let new = self.new_containers()?;
        let engine = self.ports.engine();
        let has_policy = |number: &usize| !self.plan().member(*number).restart_policy.is_no();
        for number in self.members().into_iter().rev().filter(has_policy) {
            let old = &self.plan().member(number).old_container;
            engine.set_restart_policy(old, &RestartPolicy::no()).await.or_else(not_there)?;
        }
        for (number, id) in new.iter().filter(|(number, _)| has_policy(number)) {
            let policy = &self.plan().member(*number).restart_policy;
            let given = engine.set_restart_policy(id, policy).await;
            given.map_err(|error| self.removed("new", error, *number))?;
        }
        // An Engine that was restarted just now has started the old ones, and not the proven ones.
        for number in self.plan().numbers().rev() {
            if self.look_at_old(number).await?.as_ref().is_some_and(inspect::is_running) {
                self.stop_old_container(number).await?;
            }
        }
        for (_, id) in &new {
            engine.start(id).await?;
        }
        self.flush().await?;
        Ok(Note::default())
    }

    /// Cleans up, three times at most; an Engine that is away is waited for. A committed update is
    /// never taken back, so what cannot be removed now is left to the next round.
    pub(super) async fn clean_up(&mut self, begun: Instant) -> Result<(), StepError> {
        for _ in 1..TRIES_MAX {
            match self.clean(begun, false).await {
                Err(StepError::Engine(error)) => {
                    self.await_next_attempt("cleaning up", &error).await?
                }
                done => return done,
            }
        }
        self.clean(begun, true).await
    }

    /// The old containers serve no more. One that somebody started by hand is stopped first.
    async fn remove_old_containers(&self) -> Result<(), StepError> {
        let engine = self.ports.engine();
        for number in self.plan().numbers().rev() {
            let old = &self.plan().member(number).old_container;
            match engine.remove(old, false).await {
                Err(EngineError::Conflict { .. }) => {
                    self.stop_old_container(number).await?;
                    engine.remove(old, false).await?;
                }
                done => _ = done?,
            }
        }
        Ok(())
    }

    /// Removes the old containers and images that nobody needs. An image that cannot be removed in
    /// the last try either is no reason to keep the update open: it is said, and left.
    async fn clean(&mut self, begun: Instant, is_last: bool) -> Result<(), StepError> {
        self.remove_old_containers().await?;
        match self.drop_old_images().await {
            Err(StepError::Engine(error)) if !is_last || error.is_engine_unreachable() => {
                return Err(error.into());
            }
            Err(error) => self.warn(format!("old images stay on disk: {error}")),
            Ok(()) => {}
        }
        self.flush().await?;
        self.remember_success()?;
        let subject = self.plan().subject();
        let (step, took) = (Step::Clean, begun.elapsed());
        self.write(Step::Clean, Mark::Done, Note::default())?;
        self.listener.hear(&Event::StepDone { subject, step, took });
        self.close()
    }

    /// The image that proved itself is known under all of its digests, the one before it is where a
    /// rollback would go, and one that a person left behind is refused.
    fn remember_success(&self) -> Result<(), StepError> {
        let plan = self.plan();
        let mut memory = self.ports.state().memory()?;
        let digests = plan.to.digests();
        memory.succeed(&plan.subject(), &digests, &plan.from.image_id);
        if let Some(image) = &self.journal.progress.known.new_image {
            for digest in &digests {
                memory.learn(image, digest);
            }
            if plan.source == ImageSource::Registry {
                memory.learn_origin(image, &plan.reference, RememberedOrigin::Pulled);
            }
        }
        if plan.source == ImageSource::Kept {
            let digests = plan.from.digests.clone();
            let detail = "a person rolled back from it".to_owned();
            memory
                .refuse(&plan.subject(), Refusal { digests, at: self.ports.host().now(), detail });
        }
        Ok(self.ports.state().remember(&memory)?)
    }

    /// Drops keep-tags beyond the number that the user wants, the oldest first, and their images:
    /// those of an earlier try as well, which took a tag and came no further.
    async fn drop_old_images(&mut self) -> Result<(), StepError> {
        let repository = names::keep_repository(&self.plan().main.container);
        let images = self.ports.engine().list_images(&repository).await?;
        let present = self.journal.progress.known.new_image.clone();
        let (present, kept): (Vec<_>, Vec<_>) =
            images.into_iter().partition(|image| Some(&image.id) == present.as_ref());
        let surplus = self.surplus_images(kept).await?;
        if !surplus.is_empty() {
            let dropped = surplus.iter().map(|image| image.id.clone()).collect();
            self.write(Step::Clean, Mark::Started, Note { dropped, ..Note::default() })?;
        }
        let mut untagged = Ok(());
        // What serves again after a way back needs no tag to be kept, as long as it has a name.
        let present = present.iter().filter(|image| image.tags.len() > 1);
        for tag in present.chain(&surplus).flat_map(|image| &image.tags) {
            if names::is_keep_tag(tag, &repository) {
                untagged = self.ports.engine().remove_image(tag).await.map(|_| ()).and(untagged);
            }
        }
        for id in self.journal.progress.known.dropped.clone() {
            self.drop_image(&id).await?;
        }
        Ok(untagged?)
    }

    /// The kept images that are more than the user wants, by the age of their tags.
    async fn surplus_images(
        &self,
        images: Vec<ListedImage>,
    ) -> Result<Vec<ListedImage>, StepError> {
        let mut kept = Vec::new();
        for image in images {
            let document = self.ports.engine().inspect_image(&image.id).await?.unwrap_or_default();
            let tagged_at = inspect::text(&document, "/Metadata/LastTagTime").to_owned();
            kept.push((tagged_at, image));
        }
        kept.sort_by(|a, b| b.0.cmp(&a.0));
        let keep = usize::try_from(self.plan().images_keep).unwrap_or(usize::MAX);
        Ok(kept.into_iter().skip(keep).map(|(_, image)| image).collect())
    }

    /// Removes an image that has no name and no container any more.
    pub(super) async fn drop_image(&self, id: &str) -> Result<(), StepError> {
        Ok(images::drop_if_unused(self.ports.engine(), id).await?)
    }
}

/// What is gone needs no policy.
fn not_there(error: EngineError) -> Result<(), EngineError> {
    match error {
        EngineError::NotFound { .. } => Ok(()),
        error => Err(error),
    }
}
