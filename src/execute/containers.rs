//! Creates containers, stopped and with the restart policy `no`.

use serde_json::Value;

use crate::core::docker::inspect;
use crate::core::docker::reference::Reference;
use crate::core::recreate::{self, Recreation, RestartPolicy};
use crate::engine::{Engine, EngineError};

/// Creates a container and connects it to its networks. Returns its ID.
pub(super) async fn create(
    engine: &impl Engine,
    name: &str,
    recreation: &Recreation,
) -> Result<String, EngineError> {
    let mut body = recreation.body.clone();
    recreate::set_restart_policy(&mut body, &RestartPolicy::no());
    let id = engine.create(name, &body, recreation.platform.as_ref()).await?;
    for endpoint in &recreation.connect {
        engine.connect(&endpoint.network, &id, &endpoint.config).await?;
    }
    Ok(id)
}

/// Creates a container from an image that the image name in its configuration may not point at any
/// more: the tag points at that image only during the create. After a power cut in this moment the
/// tag points at the image that the container runs, as before the tag was moved.
pub(super) async fn create_on(
    engine: &impl Engine,
    name: &str,
    mut recreation: Recreation,
    image: &str,
) -> Result<String, EngineError> {
    let written = inspect::text(&recreation.body, "/Image").to_owned();
    let before = engine.inspect_image(&written).await?;
    let before = before.as_ref().map(inspect::id);
    if before == Some(image) {
        return create(engine, name, &recreation).await;
    }
    let Ok(Reference { digest: None, tag: Some(tag), .. }) = written.parse::<Reference>() else {
        recreation.body["Image"] = Value::from(image);
        return create(engine, name, &recreation).await;
    };
    let repository = written.strip_suffix(&format!(":{tag}")).unwrap_or(&written);
    engine.tag(image, repository, &tag).await?;
    let made = create(engine, name, &recreation).await;
    match before {
        Some(before) => engine.tag(before, repository, &tag).await?,
        None => _ = engine.remove_image(&written).await?,
    }
    made
}
