//! Checks that a container is the same after its image was replaced: the promise, as code.
//!
//! The whole inspect documents are compared. The fields that may differ are listed below, with the
//! reason; every other field, known or not, must be equal. This shares no code with the creation of
//! the body, because a common error would stay hidden.

mod config;
mod host_config;
mod networks;

use std::collections::BTreeSet;

use serde_json::Value;

/// One place that differs although it must not.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The path in the inspect document.
    pub path: String,
    /// The old value; null if there was none.
    pub before: Value,
    /// The new value.
    pub after: Value,
}

/// A container and its image, as the Engine reports them.
#[derive(Debug, Clone, Copy)]
pub struct Inspected<'a> {
    /// `GET /containers/ID/json`.
    pub container: &'a Value,
    /// `GET /images/ID/json`.
    pub image: &'a Value,
}

/// Top-level fields that may differ, and why.
pub const MAY_DIFFER: [(&str, &str); 19] = [
    ("Id", "every container has its own"),
    ("Created", "a time"),
    ("State", "what happened since"),
    ("RestartCount", "what happened since"),
    ("ExecIDs", "what happened since"),
    ("Image", "the new image"),
    ("ImageManifestDescriptor", "the new image"),
    ("Path", "the first word of entrypoint and command, which are compared"),
    ("Args", "the other words of entrypoint and command"),
    ("ResolvConfPath", "holds the ID"),
    ("HostnamePath", "holds the ID"),
    ("HostsPath", "holds the ID"),
    ("LogPath", "holds the ID"),
    ("GraphDriver", "the container's own layer"),
    ("Storage", "the container's own layer, from Engine 29 on"),
    ("SizeRw", "the container's own layer"),
    ("SizeRootFs", "the new image"),
    ("MountLabel", "SELinux categories, made by the Engine for each container"),
    ("ProcessLabel", "SELinux categories, made by the Engine for each container"),
];

/// All differences that are not allowed. Empty if the promise is kept.
///
/// Both documents are from a running container. A malformed document is a difference, not an error.
#[must_use]
pub fn differences(before: Inspected<'_>, after: Inspected<'_>) -> Vec<Difference> {
    let mut found = Differences::default();
    for key in keys(before.container, after.container) {
        match key {
            "Config" => config::compare(before, after, &mut found),
            "HostConfig" => host_config::compare(before.container, after.container, &mut found),
            "Mounts" => host_config::compare_mounts(before, after, &mut found),
            "NetworkSettings" => networks::compare(before.container, after.container, &mut found),
            _ if MAY_DIFFER.iter().any(|(field, _)| *field == key) => {}
            _ => found.unless_equal(key, &before.container[key], &after.container[key]),
        }
    }
    found.0
}

/// The differences found so far.
#[derive(Default)]
struct Differences(Vec<Difference>);

impl Differences {
    fn add(&mut self, path: &str, before: &Value, after: &Value) {
        let (before, after) = (before.clone(), after.clone());
        self.0.push(Difference { path: path.to_owned(), before, after });
    }

    fn unless(&mut self, is_kept: bool, path: &str, before: &Value, after: &Value) {
        if !is_kept {
            self.add(path, before, after);
        }
    }

    fn unless_equal(&mut self, path: &str, before: &Value, after: &Value) {
        self.unless(before == after, path, before, after);
    }
}

/// The keys of both objects.
fn keys<'a>(before: &'a Value, after: &'a Value) -> BTreeSet<&'a str> {
    let keys = |value: &'a Value| value.as_object().into_iter().flat_map(|object| object.keys());
    keys(before).chain(keys(after)).map(String::as_str).collect()
}

/// Whether the value is a list, an object, or nothing. Other values are compared as they are.
fn is_collection(value: &Value) -> bool {
    matches!(value, Value::Null | Value::Array(_) | Value::Object(_))
}

/// The texts of a list, without order; none if there is no list.
fn texts(list: &Value) -> BTreeSet<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The name that the Engine gives to a container without one: the first 12 digits of its ID.
fn short_id(container: &Value) -> &str {
    container["Id"].as_str().and_then(|id| id.get(..12)).unwrap_or_default()
}
