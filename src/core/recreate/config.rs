//! `Config`: separates the user's values from the image's.

use serde_json::{Map, Value};

use crate::core::recreate::json_path::JsonPath;
use crate::core::recreate::{CannotRecreate, automatic_hostname, entrypoint};

/// Fields of `Config` that the Engine never takes from an image. So they are the user's even if the
/// image has the same value (`docker commit` writes them into images).
const NEVER_THE_IMAGES: [&str; 11] = [
    "AttachStderr",
    "AttachStdin",
    "AttachStdout",
    "Domainname",
    "Hostname",
    "Image",
    "MacAddress",
    "NetworkDisabled",
    "OpenStdin",
    "StdinOnce",
    "Tty",
];

/// The user's part of `Config`: the part of the create body beside `HostConfig`.
///
/// An unknown field is the image's if the image has exactly the same value, because Engines merge
/// every field in this way today; otherwise it is passed on unchanged.
pub(super) fn user_values(
    container: &JsonPath<'_>,
    image: &JsonPath<'_>,
) -> Result<Map<String, Value>, CannotRecreate> {
    let config = container.field("Config")?;
    let fields = config.object()?;
    config.field("Image")?.string()?;
    let of_image = image_config(image)?;
    let mut body = Map::new();
    for (key, value) in fields {
        let users = match key.as_str() {
            "Entrypoint" | "Cmd" | "ArgsEscaped" => None,
            "Env" => Some(environment(&config, &of_image)?),
            "Labels" | "Volumes" | "Healthcheck" => by_key(&config, &of_image, key)?,
            "ExposedPorts" => exposed_ports(container, &config, &of_image)?,
            known if NEVER_THE_IMAGES.contains(&known) => Some(value.clone()),
            _ => Some(value.clone()).filter(|value| {
                of_image.field(key).is_ok_and(|place| place.value() != Some(value))
            }),
        };
        if let Some(users) = users {
            body.insert(key.clone(), users);
        }
    }
    entrypoint::keep_user_entrypoint(&config, &of_image, &mut body)?;
    drop_automatic_names(container, &mut body)?;
    Ok(body)
}

/// An image without any configuration has null here; a document without the field is not an image.
fn image_config<'a>(image: &JsonPath<'a>) -> Result<JsonPath<'a>, CannotRecreate> {
    let config = image.field("Config")?;
    if !image.object()?.contains_key("Config") {
        return Err(config.refuse("is missing; it should be an object"));
    }
    config.optional_object()?;
    Ok(config)
}

/// The variables that the user set. All entries of a variable count together: one of two entries
/// for the same key may equal the image's and still override the other.
fn environment(config: &JsonPath<'_>, image: &JsonPath<'_>) -> Result<Value, CannotRecreate> {
    let all = config.field("Env")?.strings()?;
    let of_image = image.field("Env")?.strings()?;
    let entries = |all: &[&str], key: &str| -> Vec<String> {
        all.iter().filter(|entry| variable(entry) == key).map(|&entry| entry.to_owned()).collect()
    };
    let is_users = |entry: &&str| {
        let key = variable(entry);
        entries(&all, key) != entries(&of_image, key)
    };
    Ok(all.iter().copied().filter(is_users).collect())
}

/// The name of the variable; an entry without `=` removes a variable of the image.
fn variable(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(key, _)| key)
}

/// The members of an object that the image does not have with the same value. `None` if no member
/// is left of an object that the image has too.
fn by_key(
    config: &JsonPath<'_>,
    image: &JsonPath<'_>,
    key: &str,
) -> Result<Option<Value>, CannotRecreate> {
    let Some(members) = config.field(key)?.optional_object()? else { return Ok(None) };
    let Some(of_image) = image.field(key)?.optional_object()? else {
        return Ok(Some(Value::Object(members.clone())));
    };
    let users: Map<_, _> = members
        .iter()
        .filter(|(name, value)| of_image.get(*name) != Some(*value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Ok(Some(users).filter(|users| !users.is_empty()).map(Value::Object))
}

/// A published port is the user's even if the image declares it too, because it must stay published
/// when the new image no longer declares it.
fn exposed_ports(
    container: &JsonPath<'_>,
    config: &JsonPath<'_>,
    image: &JsonPath<'_>,
) -> Result<Option<Value>, CannotRecreate> {
    let published = container.path(&["HostConfig", "PortBindings"])?.optional_object()?;
    let of_image = image.field("ExposedPorts")?.optional_object()?;
    let Some(ports) = config.field("ExposedPorts")?.optional_object()? else { return Ok(None) };
    let is_users = |port: &String| {
        // Podman also lists ports that are not published, with null.
        published.and_then(|published| published.get(port)).is_some_and(|it| !it.is_null())
            || !of_image.is_some_and(|of_image| of_image.contains_key(port))
    };
    let users: Map<_, _> = ports
        .iter()
        .filter(|(port, _)| is_users(port))
        .map(|(port, value)| (port.clone(), value.clone()))
        .collect();
    Ok(Some(users).filter(|users| !users.is_empty()).map(Value::Object))
}

/// Removes names that the Engine made up, and names that it shows but refuses at create: those of
/// the container whose network is shared, and that of the host.
fn drop_automatic_names(
    container: &JsonPath<'_>,
    body: &mut Map<String, Value>,
) -> Result<(), CannotRecreate> {
    let id = container.field("Id")?.string()?;
    let hostname = container.path(&["Config", "Hostname"])?.optional_string()?;
    let network = container.path(&["HostConfig", "NetworkMode"])?.string()?;
    let uts = container.path(&["HostConfig", "UTSMode"])?.optional_string()?;
    let is_shared = network.starts_with("container:");
    let is_host = uts == Some("host");
    if is_shared || is_host || hostname == Some(automatic_hostname(id)) {
        body.remove("Hostname");
    }
    if is_shared {
        body.remove("Domainname");
    }
    Ok(())
}
