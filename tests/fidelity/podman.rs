//! Completes Podman's Docker API documents, so that missing or differently named values are
//! compared as well.

use serde_json::{Map, Value};

/// Fields that differ for every container, or that are in Docker's document already.
const NOT_COMPARED: [&str; 1] = ["Annotations"];

/// The stop signals of the table's images, and the numbers that a container shows.
const SIGNALS: [(&str, &str); 3] = [("SIGUSR1", "10"), ("SIGUSR2", "12"), ("SIGINT", "2")];

/// Adds the values of Podman's own document to Docker's document.
pub fn complete_container(container: &mut Value, mut own: Value) {
    let mut config: Map<String, Value> = own["Config"].as_object().cloned().unwrap_or_default();
    config.retain(|field, _| {
        container["Config"].get(field).is_none() && !NOT_COMPARED.contains(&field.as_str())
    });
    let mut made = Map::from_iter([("Config".to_owned(), Value::Object(config))]);
    made.insert("Pod".to_owned(), own["Pod"].take());
    container["Libpod"] = Value::Object(made);
}

/// Adds the defaults of a container without options to the image: the health check, which Docker's
/// API omits, the signal as a number, and Podman's defaults.
pub fn complete_image(image: &mut Value, own: &Value) {
    let config = &mut image["Config"];
    config["Healthcheck"] = own["Healthcheck"].clone();
    let signal = config["StopSignal"].as_str().unwrap_or_default();
    let known = SIGNALS.iter().find(|(name, _)| *name == signal);
    config["StopSignal"] = known.map_or("15", |(_, number)| number).into();
    if config["WorkingDir"].as_str().unwrap_or_default().is_empty() {
        config["WorkingDir"] = "/".into();
    }
}

/// A user's health check replaces the image's completely, while Docker's Engine merges both.
pub fn merge_nothing(before: &Value, images: [&mut Value; 2]) {
    if before["Config"]["Healthcheck"] == images[0]["Config"]["Healthcheck"] {
        return;
    }
    for image in images {
        image["Config"]["Healthcheck"] = Value::Null;
    }
}

/// The network `bridge` of the table is `podman` in Podman's documents.
pub fn name_the_default_network(fields: &mut Value) {
    let networks = fields.pointer_mut("/NetworkSettings/Networks").and_then(Value::as_object_mut);
    if let Some(networks) = networks
        && let Some(endpoint) = networks.remove("bridge")
    {
        networks.insert("podman".to_owned(), endpoint);
    }
}
