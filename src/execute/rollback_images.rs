//! The way back, for images: the local tag, the keep-tag and what was pulled.

use super::rollback::Attempt;
use super::{StepError, Update};
use crate::core::docker::inspect;
use crate::core::update::history::Cause;
use crate::core::update::plan::ImageSource;
use crate::core::update::{Mark, Note, Step};
use crate::engine::{Engine, EngineError, Listed};
use crate::ports::Ports;

impl<P: Ports> Update<'_, P> {
    /// The local tag points at the old image again, the keep-tag of this try goes, and the failed
    /// image goes if nobody uses it. One that cannot be removed in the last try either is no reason
    /// to keep the update open: it is said, and left.
    pub(super) async fn restore_images(&mut self, attempt: Attempt) -> Result<(), StepError> {
        self.restore_tag().await?;
        let (repository, tag) = self.plan().keep_tag();
        match self.ports.engine().remove_image(&format!("{repository}:{tag}")).await {
            // Containerd's store gives up no image that runs, and this is its last name where
            // somebody else's container has kept the local tag.
            Err(EngineError::Conflict { message }) if attempt == Attempt::Last => {
                self.warn(format!("{repository}:{tag} stays: {message}"));
            }
            done => _ = done?,
        }
        // What somebody built or pulled by hand is theirs; it only loses the tag.
        let ours = self.pulled_image().await?.filter(|_| self.plan().source != ImageSource::Local);
        if let Some(image) = ours {
            match self.drop_image(&image).await {
                Err(StepError::Engine(error))
                    if attempt != Attempt::Last || error.is_engine_unreachable() =>
                {
                    return Err(error.into());
                }
                Err(error) => self.warn(format!("the failed image stays on disk: {error}")),
                Ok(()) => {}
            }
        }
        self.note_undo(Step::Pull, Mark::UndoDone, Note::default());
        Ok(())
    }

    /// The image of this update, also where the journal does not know it yet: a pull that a power
    /// cut interrupted leaves an image that is listed as present and has empty files.
    async fn pulled_image(&self) -> Result<Option<String>, StepError> {
        if let Some(known) = self.journal.progress.known.new_image.clone() {
            return Ok(Some(known));
        }
        let plan = self.plan();
        let pinned = format!("{}@{}", plan.reference.familiar_name(), plan.to.index);
        if plan.source != ImageSource::Registry {
            return Ok(None);
        }
        let image = self.ports.engine().inspect_image(&pinned).await?;
        let id = image.map(|image| inspect::id(&image).to_owned());
        Ok(id.filter(|id| *id != plan.from.image_id))
    }

    /// What the local tag is to point at again. An image that failed does not get it back, even
    /// where somebody had pulled it by hand: it would be what the next `compose up` starts.
    fn tag_before(&self, new: &str) -> Option<&str> {
        let progress = &self.journal.progress;
        let has_failed = progress.begun >= Some(Step::Start)
            && progress.failed.as_ref().is_some_and(Cause::is_failure);
        match self.journal.header.tag_before.as_deref() {
            Some(before) if before == new && has_failed => Some(&self.plan().from.image_id),
            before => before,
        }
    }

    /// Moves the local tag back, unless another container runs on the new image by now.
    pub(super) async fn restore_tag(&self) -> Result<(), StepError> {
        let plan = self.plan();
        let (Some(tag), Some(new)) = (&plan.reference.tag, self.pulled_image().await?) else {
            return Ok(());
        };
        let ours = self.journal.progress.known.new_container.as_deref();
        let containers = self.ports.engine().list().await?;
        let others = |line: &Listed| line.image_id == new && Some(line.id.as_str()) != ours;
        if containers.iter().any(others) {
            return Ok(());
        }
        let name = plan.reference.familiar_name();
        match self.tag_before(&new) {
            Some(before) => match self.ports.engine().tag(before, &name, tag).await {
                Err(error) if error.is_not_found() => {
                    self.warn(format!("{name}:{tag} cannot point at {before} again: it is gone"));
                    Ok(())
                }
                done => Ok(done?),
            },
            None => {
                self.ports.engine().remove_image(&format!("{name}:{tag}")).await?;
                Ok(())
            }
        }
    }
}
