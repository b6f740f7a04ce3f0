//! The one label of Compose that speaks of the image.

use serde_json::Value;

/// Compose compares this label with the image's ID: where they differ, the next `compose up`
/// recreates the container once more.
pub const COMPOSE_IMAGE_LABEL: &str = "com.docker.compose.image";

/// Lets Compose's label follow to the new image. Nothing happens where the label was not there.
pub fn set_compose_image(body: &mut Value, image_id: &str) {
    let labels = body.get_mut("Labels").and_then(Value::as_object_mut);
    if let Some(label) = labels.and_then(|labels| labels.get_mut(COMPOSE_IMAGE_LABEL)) {
        *label = Value::String(image_id.to_owned());
    }
}
