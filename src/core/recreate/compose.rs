//! The labels of Compose: the one that speaks of the image, and those that tell whose it is.

use std::collections::BTreeMap;

use serde_json::Value;

/// Compose compares this label with the image's ID: where they differ, the next `compose up`
/// recreates the container once more.
pub const COMPOSE_IMAGE_LABEL: &str = "com.docker.compose.image";

/// The project that a container is of.
const PROJECT: &str = "com.docker.compose.project";

/// By these Compose knows a container again, whatever its name.
const IDENTITY: [&str; 3] =
    [PROJECT, "com.docker.compose.service", "com.docker.compose.container-number"];

/// Whether two containers with these labels are the same one to Compose: it makes a service anew
/// beside the present one, under another name, and then removes that.
#[must_use]
pub fn is_same_service(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> bool {
    agree(&IDENTITY, one, other)
}

/// Whether two containers with these labels are of one project: `docker compose up` goes through
/// all of it.
#[must_use]
pub fn is_same_project(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> bool {
    agree(&[PROJECT], one, other)
}

fn agree(
    labels: &[&str],
    one: &BTreeMap<String, String>,
    other: &BTreeMap<String, String>,
) -> bool {
    labels.iter().all(|label| one.contains_key(*label) && one.get(*label) == other.get(*label))
}

/// Lets Compose's label follow to the new image. Nothing happens where the label was not there.
pub fn set_compose_image(body: &mut Value, image_id: &str) {
    let labels = body.get_mut("Labels").and_then(Value::as_object_mut);
    if let Some(label) = labels.and_then(|labels| labels.get_mut(COMPOSE_IMAGE_LABEL)) {
        *label = Value::String(image_id.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compose_knows_a_container_by_project_service_and_number() {
        let labels = |values: [&str; 3]| -> BTreeMap<String, String> {
            IDENTITY.into_iter().map(str::to_owned).zip(values.map(str::to_owned)).collect()
        };
        let till = labels(["shop", "till", "1"]);
        assert!(is_same_service(&till, &till));
        for other in [["shop", "till", "2"], ["shop", "scale", "1"], ["bar", "till", "1"]] {
            assert!(!is_same_service(&till, &labels(other)), "{other:?}");
            assert_eq!(is_same_project(&till, &labels(other)), other[0] == "shop");
        }
        assert!(!is_same_service(&BTreeMap::new(), &BTreeMap::new()));
    }
}
