//! The labels of Compose: the image label, and the labels that identify a service.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::core::docker::compose::{COMPOSE_NUMBER, COMPOSE_PROJECT, COMPOSE_SERVICE};

/// Compose compares this label with the image's ID. If they differ, the next `compose up` recreates
/// the container once more.
pub const COMPOSE_IMAGE_LABEL: &str = "com.docker.compose.image";

/// Compose identifies a container by these labels, independent of its name.
const IDENTITY: [&str; 3] = [COMPOSE_PROJECT, COMPOSE_SERVICE, COMPOSE_NUMBER];

/// Whether two containers with these labels are the same one for Compose: it recreates a service
/// beside the present container, under another name, and then removes the old one.
#[must_use]
pub fn is_same_service(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> bool {
    agree(&IDENTITY, one, other)
}

/// Whether two containers with these labels are of one project: `docker compose up` acts on the
/// whole project.
#[must_use]
pub fn is_same_project(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> bool {
    agree(&[COMPOSE_PROJECT], one, other)
}

fn agree(
    labels: &[&str],
    one: &BTreeMap<String, String>,
    other: &BTreeMap<String, String>,
) -> bool {
    labels.iter().all(|label| one.contains_key(*label) && one.get(*label) == other.get(*label))
}

/// Sets Compose's label to the new image. Does nothing if the label is absent.
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
