//! The steps of an update on the way forward.

use tokio::time::Instant;

use super::images::{self, Company};
use super::{TRIES_MAX, Trouble, Update};
use crate::core::decide::memory::Refusal;
use crate::core::docker::inspect;
use crate::core::docker::names;
use crate::core::recreate;
use crate::core::recreate::RestartPolicy;
use crate::core::update::blame;
use crate::core::update::event::Event;
use crate::core::update::history::Cause;
use crate::core::update::plan::Source;
use crate::core::update::{Mark, Note, Step};
use crate::engine::{Engine, EngineError, ListedImage};
use crate::host::Host;
use crate::world::Ports;

impl<P: Ports> Update<'_, P> {
    /// The old image gets its keep-tag, then the decided digest is pulled, then the local tag
    /// moves.
    pub(super) async fn pull(&mut self) -> Result<Note, Trouble> {
        let engine = self.ports.engine();
        let plan = self.plan();
        let (repository, tag) = plan.keep_tag();
        engine.tag(&plan.from.image_id, &repository, &tag).await?;
        if plan.source == Source::Kept {
            return self.take_the_kept_one().await;
        }
        let pinned = images::pinned(&plan.reference, &plan.to);
        let fetched = engine.inspect_image(&pinned).await?.is_none();
        if fetched {
            self.fetch().await?;
        }
        let id = images::arrived(engine, &plan.reference, &plan.to).await?;
        if let Some(tag) = &plan.reference.tag {
            engine.tag(&id, &plan.reference.familiar_name(), tag).await?;
        }
        // An image that was fetched ahead has waited long enough: its tag keeps it now, and a name
        // more would be in the way of dropping it if it fails. It was flushed before it got that
        // name, so it is as good as one that was fetched just now.
        let was_ahead = engine.remove_image(&names::next_name(&plan.container, &id)).await?;
        Ok(Note { new_image: Some(id), fetched: fetched || was_ahead, ..Note::default() })
    }

    /// A rollback by hand needs no registry: the image is here, only the local tag moves.
    async fn take_the_kept_one(&self) -> Result<Note, Trouble> {
        let plan = self.plan();
        let id = plan.to.config.as_str().to_owned();
        if let Some(tag) = &plan.reference.tag {
            self.ports.engine().tag(&id, &plan.reference.familiar_name(), tag).await?;
        }
        Ok(Note { new_image: Some(id), ..Note::default() })
    }

    async fn fetch(&self) -> Result<(), Trouble> {
        let plan = self.plan();
        let company = Company { listener: self.listener, stop: self.stop };
        images::fetch(self.ports, company, &plan.container, (&plan.reference, &plan.to)).await
    }

    /// Flushes what was pulled.
    pub(super) async fn sync(&mut self) -> Result<Note, Trouble> {
        self.flush().await?;
        Ok(Note::default())
    }

    /// Flushes what the Engine has on disk.
    pub(super) async fn flush(&self) -> Result<(), Trouble> {
        images::flush(self.ports).await
    }

    /// Creates the new container beside the old one, under a name of its own and without the right
    /// to be started by the Engine.
    pub(super) async fn create(&mut self) -> Result<Note, Trouble> {
        let engine = self.ports.engine();
        let plan = self.plan();
        let name = plan.new_name();
        let image = self.new_image()?;
        self.clear_the_way(&name).await?;
        let mut body = plan.recreation.body.clone();
        recreate::set_restart_policy(&mut body, &RestartPolicy::no());
        recreate::set_compose_image(&mut body, &image);
        let id = engine.create(&name, &body, plan.recreation.platform.as_ref()).await?;
        for endpoint in &plan.recreation.connect {
            engine.connect(&endpoint.network, &id, &endpoint.config).await?;
        }
        let created = engine.inspect(&id).await?.unwrap_or_default();
        if inspect::image_id(&created) != image {
            let got = inspect::image_id(&created);
            let detail = format!("the new container got the image {got} instead of {image}");
            return Err(Trouble::surroundings(detail));
        }
        Ok(Note { new_container: Some(id), ..Note::default() })
    }

    /// A container that an earlier try of this very update left behind is removed; anybody else's
    /// is in the way.
    async fn clear_the_way(&self, name: &str) -> Result<(), Trouble> {
        let engine = self.ports.engine();
        let Some(found) = engine.inspect(name).await? else { return Ok(()) };
        if inspect::was_started(&found) || inspect::is_running(&found) {
            return Err(Trouble::surroundings(format!("a container named {name} is in the way")));
        }
        engine.remove(inspect::id(&found), true).await?;
        Ok(())
    }

    /// Stops and parks the old container, and gives its name to the new one.
    ///
    /// The old one first gets the right to be started at boot, and that is flushed: until the
    /// commit the Engine itself brings the proven container back after a power cut. Names change
    /// after the stop, because a name leaves the Engine's DNS at once.
    pub(super) async fn switch(&mut self) -> Result<Note, Trouble> {
        let engine = self.ports.engine();
        let (old, new) = (self.plan().old_container.clone(), self.new_container()?);
        self.arm_the_second_net(&old).await?;
        let stop_timeout = self.plan().stop_timeout;
        self.stopped_at = Some(Instant::now());
        engine.stop(&old, stop_timeout).await.map_err(|error| gone(error, "the old container"))?;
        engine.rename(&old, &self.plan().old_name()).await.or_else(already_so)?;
        let named = engine.rename(&new, &self.plan().container).await.or_else(already_so);
        named.map_err(|error| taken(error, &self.plan().container))?;
        Ok(Note::default())
    }

    async fn arm_the_second_net(&self, old: &str) -> Result<(), Trouble> {
        if self.plan().restart_policy.is_no() {
            return Ok(());
        }
        // With live-restore the new one may outlive the Engine; `unless-stopped` remembers that
        // the old one was stopped, so that never two of them run.
        let name = if self.journal.header.live_restore { "unless-stopped" } else { "always" };
        let policy = RestartPolicy::named(name);
        self.ports.engine().set_restart_policy(old, &policy).await?;
        self.flush().await
    }

    /// Starts the new container, with an ear on the Engine.
    pub(super) async fn start(&mut self) -> Result<Note, Trouble> {
        let new = self.new_container()?;
        self.listen(&new).await?;
        // An Engine that was restarted since the switch has started the old one: never both. One
        // that is restarted behind this look ends the stream, which is heard without asking it.
        self.check_the_old_one_stayed_down().await?;
        self.check_the_stream_goes_on()?;
        let started = self.ports.engine().start(&new).await;
        self.mark_started();
        if let Err(error) = started {
            return Err(start_failed(error, self.journal.progress.known.fetched));
        }
        Ok(Note { gap_milliseconds: self.gap_milliseconds(), ..Note::default() })
    }

    /// Takes the right to be started from the old container, then gives the user's own to the new
    /// one. Between the two calls neither would be started after a cut; recovery covers it, and
    /// starts the one that has proved itself where the Engine did not.
    pub(super) async fn commit(&mut self) -> Result<Note, Trouble> {
        let new = self.new_container()?;
        let policy = self.plan().restart_policy.clone();
        if !policy.is_no() {
            let engine = self.ports.engine();
            let old =
                engine.set_restart_policy(&self.plan().old_container, &RestartPolicy::no()).await;
            old.or_else(not_there)?;
            engine.set_restart_policy(&new, &policy).await?;
        }
        // An Engine that was restarted just now has started the old one, and not the proven one.
        if self.look_at_old().await?.as_ref().is_some_and(inspect::is_running) {
            let (old, timeout) = (&self.plan().old_container, self.plan().stop_timeout);
            self.ports.engine().stop(old, timeout).await?;
        }
        self.ports.engine().start(&new).await?;
        self.flush().await?;
        Ok(Note::default())
    }

    /// Cleans up, three times at most; an Engine that is away is waited for. A committed update is
    /// never taken back, so what cannot be removed now is left to the next round.
    pub(super) async fn clean_up(&mut self, begun: Instant) -> Result<(), Trouble> {
        for _ in 1..TRIES_MAX {
            match self.clean(begun, false).await {
                Err(Trouble::Engine(error)) => {
                    self.await_the_next_try("cleaning up", &error).await?
                }
                done => return done,
            }
        }
        self.clean(begun, true).await
    }

    /// The old container serves no more. One that somebody started by hand is stopped first.
    async fn remove_the_old_one(&self) -> Result<(), Trouble> {
        let (engine, old) = (self.ports.engine(), &self.plan().old_container);
        match engine.remove(old, false).await {
            Err(EngineError::Conflict { .. }) => {
                engine.stop(old, self.plan().stop_timeout).await?;
                engine.remove(old, false).await?;
            }
            done => _ = done?,
        }
        Ok(())
    }

    /// Removes the old container and images that nobody needs. An image that cannot be removed in
    /// the last try either is no reason to keep the update open: it is said, and left.
    async fn clean(&mut self, begun: Instant, is_last: bool) -> Result<(), Trouble> {
        self.remove_the_old_one().await?;
        match self.drop_old_images().await {
            Err(Trouble::Engine(error)) if !is_last || error.is_the_engine_away() => {
                return Err(error.into());
            }
            Err(trouble) => self.warn(format!("old images stay on disk: {trouble}")),
            Ok(()) => {}
        }
        self.flush().await?;
        self.remember_success()?;
        let container = self.plan().container.clone();
        let (step, took) = (Step::Clean, begun.elapsed());
        self.write(Step::Clean, Mark::Done, Note::default())?;
        self.listener.hear(&Event::StepDone { container, step, took });
        self.close()
    }

    /// The image that proved itself is known under all of its digests, the one before it is where a
    /// rollback would go, and one that a person left behind is refused.
    fn remember_success(&self) -> Result<(), Trouble> {
        let plan = self.plan();
        let mut memory = self.ports.state().memory()?;
        let digests = plan.to.digests();
        memory.succeed(&plan.container, &digests, &plan.from.image_id);
        if let Some(image) = &self.journal.progress.known.new_image {
            for digest in &digests {
                memory.learn(image, digest);
            }
        }
        if plan.source == Source::Kept {
            let digests = plan.from.digests.clone();
            let detail = "a person rolled back from it".to_owned();
            memory
                .refuse(&plan.container, Refusal { digests, at: self.ports.host().now(), detail });
        }
        Ok(self.ports.state().remember(&memory)?)
    }

    /// Drops keep-tags beyond the number that the user wants, the oldest first, and their images:
    /// those of an earlier try as well, which took a tag and came no further.
    async fn drop_old_images(&mut self) -> Result<(), Trouble> {
        let repository = names::keep_repository(&self.plan().container);
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
    async fn surplus_images(&self, images: Vec<ListedImage>) -> Result<Vec<ListedImage>, Trouble> {
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
    pub(super) async fn drop_image(&self, id: &str) -> Result<(), Trouble> {
        Ok(images::drop_if_unused(self.ports.engine(), id).await?)
    }

    /// The ID of the pulled image.
    pub(super) fn new_image(&self) -> Result<String, Trouble> {
        let known = self.journal.progress.known.new_image.clone();
        known.ok_or_else(|| Trouble::surroundings("the journal does not name the new image"))
    }

    /// The ID of the new container.
    pub(super) fn new_container(&self) -> Result<String, Trouble> {
        let known = self.journal.progress.known.new_container.clone();
        known.ok_or_else(|| Trouble::surroundings("the journal does not name the new container"))
    }
}

/// A power cut leaves an image that was pulled shortly before with empty files, and pulling again
/// does not mend it. So a start blames only an image that this update itself fetched; the way back
/// removes any other, and the next round pulls it afresh.
fn start_failed(error: EngineError, fetched: bool) -> Trouble {
    if error.is_the_engine_away() {
        return error.into();
    }
    let message = error.to_string();
    let detail = format!("could not be started: {message}");
    let is_image = blame::is_the_images_fault(&message);
    Trouble::Cause(match (is_image, fetched) {
        (true, true) => Cause::image(detail),
        (true, false) => Cause::surroundings(format!("{detail}; {}", blame::PULLED_AGAIN)),
        (false, _) => Cause::surroundings(detail),
    })
}

fn gone(error: EngineError, what: &str) -> Trouble {
    match error {
        EngineError::NotFound { .. } => {
            Trouble::Cause(Cause::person(format!("somebody removed {what} during the update")))
        }
        error => error.into(),
    }
}

fn taken(error: EngineError, name: &str) -> Trouble {
    match error {
        EngineError::Conflict { .. } => Trouble::Cause(Cause::person(format!(
            "somebody made another container named {name} during the update"
        ))),
        error => error.into(),
    }
}

/// Renaming a container to the name it has is a conflict with itself; whether it is with somebody
/// else shows at the next step.
fn already_so(error: EngineError) -> Result<(), EngineError> {
    match error {
        EngineError::Refused { status: 400, .. } => Ok(()),
        error => Err(error),
    }
}

/// What is gone needs no policy.
pub(super) fn not_there(error: EngineError) -> Result<(), EngineError> {
    match error {
        EngineError::NotFound { .. } => Ok(()),
        error => Err(error),
    }
}
