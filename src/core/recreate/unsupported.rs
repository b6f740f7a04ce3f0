//! Refusals before anything else is read.

use crate::core::recreate::CannotRecreate;
use crate::core::recreate::json_path::JsonPath;

/// Swarm's labels on its tasks. Swarm replaces these containers itself.
const SWARM_LABEL_PREFIX: &str = "com.docker.swarm.";

/// Refuses containers that must not be recreated, and documents that do not belong together.
pub(super) fn check(container: &JsonPath<'_>, image: &JsonPath<'_>) -> Result<(), CannotRecreate> {
    check_image(container, image)?;
    let auto_remove = container.path(&["HostConfig", "AutoRemove"])?;
    if auto_remove.boolean()? {
        return Err(auto_remove.refuse("is set (`--rm`): stopping the container would delete it"));
    }
    let labels = container.path(&["Config", "Labels"])?;
    let mut names = labels.optional_object()?.into_iter().flat_map(|labels| labels.keys());
    if let Some(label) = names.find(|label| label.starts_with(SWARM_LABEL_PREFIX)) {
        return Err(labels.field(label)?.refuse("marks a task of Swarm, which replaces it itself"));
    }
    Ok(())
}

/// Subtracting another image's configuration would silently drop or keep values.
fn check_image(container: &JsonPath<'_>, image: &JsonPath<'_>) -> Result<(), CannotRecreate> {
    let running = container.field("Image")?;
    let id = image.field("Id")?;
    if running.string()? != id.string()? {
        return Err(running.refuse("is not the image whose document was given"));
    }
    let architecture = image.field("Architecture")?;
    let expected = container.path(&["ImageManifestDescriptor", "platform", "architecture"])?;
    match (expected.optional_string()?, architecture.optional_string()?) {
        (Some(expected), Some(found)) if expected != found => {
            Err(architecture.refuse(format!("is {found}, but the container runs on {expected}")))
        }
        _ => Ok(()),
    }
}
