//! Makes containers: the new ones beside the old ones, and an old one that somebody removed.

use serde_json::Value;

use super::{StepError, Update};
use crate::core::docker::inspect;
use crate::core::docker::reference::Reference;
use crate::core::recreate::{self, Recreation, ReplacedContainer, RestartPolicy, relink};
use crate::core::update::{Note, healthcheck};
use crate::engine::{Engine, EngineError};
use crate::ports::Ports;

impl<P: Ports> Update<'_, P> {
    /// Creates the new containers beside the old ones, under names of their own and without the
    /// right to be started by the Engine. Each hangs on the new ones before it.
    pub(super) async fn create(&mut self) -> Result<Note, StepError> {
        self.let_compose_finish().await?;
        self.check_no_new_dependents().await?;
        let mut moved = Vec::new();
        for number in self.plan().numbers() {
            let new = self.create_beside(number, &moved).await?;
            moved.push(self.plan().replaced_by(number, new));
        }
        let ids: Vec<_> = moved.into_iter().map(|moved| moved.to).collect();
        self.check_start_requirements(&ids).await?;
        let mut ids = ids.into_iter();
        Ok(Note { new_container: ids.next(), new_dependents: ids.collect(), ..Note::default() })
    }

    async fn create_beside(
        &self,
        number: usize,
        moved: &[ReplacedContainer],
    ) -> Result<String, StepError> {
        let member = self.plan().member(number);
        let name = member.new_name();
        let mut recreation = relink(&member.recreation, moved);
        self.check_names_are_free(number).await?;
        let (image, id) = if number == 0 {
            let image = self.new_image()?;
            recreate::set_compose_image(&mut recreation.body, &image);
            let id = self.make(&name, &recreation).await?;
            (image, id)
        } else {
            let image = self.journal.header.old_image(number).to_owned();
            let id = self.make_on(&name, recreation, &image).await?;
            (image, id)
        };
        let created = self.ports.engine().inspect(&id).await?.unwrap_or_default();
        if inspect::image_id(&created) != image {
            let got = inspect::image_id(&created);
            let detail = format!("the new container got the image {got} instead of {image}");
            return Err(StepError::surroundings(self.plan().naming(number, detail)));
        }
        let settings = &member.health;
        match healthcheck::asks_for_too_long(settings, &member.recreation.body, &created) {
            Some(detail) => Err(StepError::surroundings(self.plan().naming(number, detail))),
            None => Ok(id),
        }
    }

    /// Makes a container without the right to be started by the Engine, and connects it.
    async fn make(&self, name: &str, recreation: &Recreation) -> Result<String, EngineError> {
        let engine = self.ports.engine();
        let mut body = recreation.body.clone();
        recreate::set_restart_policy(&mut body, &RestartPolicy::no());
        let id = engine.create(name, &body, recreation.platform.as_ref()).await?;
        for endpoint in &recreation.connect {
            engine.connect(&endpoint.network, &id, &endpoint.config).await?;
        }
        Ok(id)
    }

    /// Makes a container on an image that its own words for it need not stand for any more: its tag
    /// is lent to that image for the moment of the create. A cut in this moment leaves the tag with
    /// the image that the container runs on, as before whatever moved it.
    pub(super) async fn make_on(
        &self,
        name: &str,
        mut recreation: Recreation,
        image: &str,
    ) -> Result<String, EngineError> {
        let engine = self.ports.engine();
        let written = inspect::text(&recreation.body, "/Image").to_owned();
        let before = engine.inspect_image(&written).await?;
        let before = before.as_ref().map(inspect::id);
        if before == Some(image) {
            return self.make(name, &recreation).await;
        }
        let Ok(Reference { digest: None, tag: Some(tag), .. }) = written.parse::<Reference>()
        else {
            recreation.body["Image"] = Value::from(image);
            return self.make(name, &recreation).await;
        };
        let repository = written.strip_suffix(&format!(":{tag}")).unwrap_or(&written);
        engine.tag(image, repository, &tag).await?;
        let made = self.make(name, &recreation).await;
        match before {
            Some(before) => engine.tag(before, repository, &tag).await?,
            None => _ = engine.remove_image(&written).await?,
        }
        made
    }

    /// The names that the switch needs are free. Nothing that bears one of them is removed here:
    /// no container was made by this update yet, so it is somebody else's, or it is for the sweep,
    /// which asks for proof.
    async fn check_names_are_free(&self, number: usize) -> Result<(), StepError> {
        let member = self.plan().member(number);
        for name in [member.new_name(), member.old_name()] {
            if self.ports.engine().inspect(&name).await?.is_some() {
                let detail = format!(
                    "a container named {name} is in the way, which this update did not make; \
                     rename or remove it"
                );
                return Err(StepError::surroundings(detail));
            }
        }
        Ok(())
    }

    /// The old container was removed while it was parked (`system prune` does that), or does not
    /// hang on what it should any more. Its inspect document and its image are kept, so it is made
    /// again, volumes included.
    pub(super) async fn recreate_old_container(
        &mut self,
        number: usize,
        moved: &[ReplacedContainer],
    ) -> Result<String, StepError> {
        if number == 0 {
            self.restore_tag().await?;
        }
        let image = self.journal.header.old_image(number);
        let holder = self.inspector().name_holder(number).await?;
        if let Some(found) = holder.filter(|it| inspect::image_id(it) == image) {
            return Ok(inspect::id(&found).to_owned());
        }
        let member = self.plan().member(number);
        let recreation = relink(&member.recreation, moved);
        let id = self.make_on(&member.container, recreation, image).await?;
        self.warn(self.plan().naming(
            number,
            "the old container had been removed; it was made again from its kept image",
        ));
        Ok(id)
    }
}
