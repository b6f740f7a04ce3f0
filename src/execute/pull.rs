//! The first steps of an update: what is done with images.

use super::images;
use super::{StepError, Update};
use crate::core::docker::names;
use crate::core::update::Note;
use crate::core::update::plan::ImageSource;
use crate::engine::Engine;
use crate::ports::Ports;

impl<P: Ports> Update<'_, P> {
    /// The old image gets its keep-tag, then the decided digest is pulled, then the local tag
    /// moves.
    pub(super) async fn pull(&mut self) -> Result<Note, StepError> {
        let engine = self.ports.engine();
        let plan = self.plan();
        let (repository, tag) = plan.keep_tag();
        engine.tag(&plan.from.image_id, &repository, &tag).await?;
        match plan.source {
            ImageSource::Registry => {}
            ImageSource::Kept => return self.use_kept_image().await,
            // The tag points at it already. If somebody has moved it since, it is theirs.
            ImageSource::Local => {
                let id = plan.to.config.as_str().to_owned();
                return Ok(Note { new_image: Some(id), ..Note::default() });
            }
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
        let was_prefetched =
            engine.remove_image(&names::next_name(&plan.main.container, &id)).await?;
        Ok(Note { new_image: Some(id), fetched: fetched || was_prefetched, ..Note::default() })
    }

    /// A rollback by hand needs no registry: the image is here, only the local tag moves.
    async fn use_kept_image(&self) -> Result<Note, StepError> {
        let plan = self.plan();
        let id = plan.to.config.as_str().to_owned();
        if let Some(tag) = &plan.reference.tag {
            self.ports.engine().tag(&id, &plan.reference.familiar_name(), tag).await?;
        }
        Ok(Note { new_image: Some(id), ..Note::default() })
    }

    async fn fetch(&self) -> Result<(), StepError> {
        let plan = self.plan();
        let image = (&plan.reference, &plan.to);
        images::fetch(self.context, &plan.main.container, image).await
    }

    /// Flushes what was pulled.
    pub(super) async fn sync(&mut self) -> Result<Note, StepError> {
        self.flush().await?;
        Ok(Note::default())
    }

    /// Flushes what the Engine has on disk.
    pub(super) async fn flush(&self) -> Result<(), StepError> {
        images::flush(self.ports).await
    }

    /// The ID of the pulled image.
    pub(super) fn new_image(&self) -> Result<String, StepError> {
        let known = self.journal.progress.known.new_image.clone();
        known.ok_or_else(|| StepError::surroundings("the journal does not name the new image"))
    }
}
