//! Settings that Podman's Docker API leaves out (tested with 4.3), from its own API on the same
//! socket.

use serde_json::Value;

use crate::core::recreate::LIBPOD;

/// The beginning of paths in Podman's own API. Every Podman since 4.0 answers to this version.
pub const PREFIX: &str = "/v4.0.0/libpod";

/// Adds Podman's own document of a container to Docker's.
pub fn complete_container(document: &mut Value, own: Value) {
    if let Some(document) = document.as_object_mut() {
        document.insert(LIBPOD.to_owned(), own);
    }
}

/// Copies the image's health check to the field where Docker's Engine shows it.
pub fn complete_image(document: &mut Value, mut own: Value) {
    const FIELD: &str = "Healthcheck";
    let health_check = own.get_mut(FIELD).map(Value::take).filter(|check| !check.is_null());
    let config = document.get_mut("Config").and_then(Value::as_object_mut);
    if let (Some(config), Some(health_check)) = (config, health_check) {
        config.insert(FIELD.to_owned(), health_check);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_images_health_check_stands_where_docker_shows_it() {
        let check = json!({ "Test": ["CMD", "/bin/true"], "Interval": 11_000_000_000_u64 });
        let mut image = json!({ "Config": { "Cmd": ["sh"] } });
        complete_image(&mut image, json!({ "Healthcheck": check, "User": "one" }));
        assert_eq!(image, json!({ "Config": { "Cmd": ["sh"], "Healthcheck": check } }));
    }

    #[test]
    fn an_image_without_a_health_check_stays_as_it_is() {
        for own in [json!({}), json!({ "Healthcheck": null }), Value::Null] {
            let mut image = json!({ "Config": { "Cmd": ["sh"] } });
            complete_image(&mut image, own);
            assert_eq!(image, json!({ "Config": { "Cmd": ["sh"] } }));
        }
    }
}
