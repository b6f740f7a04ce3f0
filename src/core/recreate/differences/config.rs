//! `Config`: the image's values must follow the new image, all others must stay.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::core::recreate::compose::COMPOSE_IMAGE_LABEL;
use crate::core::recreate::differences::{Differences, Inspected, is_collection, keys, short_id};

/// Fields that no Engine takes from an image.
const USERS_ALONE: [&str; 10] = [
    "AttachStderr",
    "AttachStdin",
    "AttachStdout",
    "Domainname",
    "Image",
    "MacAddress",
    "NetworkDisabled",
    "OpenStdin",
    "StdinOnce",
    "Tty",
];

/// Fields that are compared member by member.
const COLLECTIONS: [&str; 5] = ["Env", "ExposedPorts", "Healthcheck", "Labels", "Volumes"];

/// The same field in all four documents.
#[derive(Clone, Copy)]
struct Four<'a> {
    before: &'a Value,
    old_image: &'a Value,
    after: &'a Value,
    new_image: &'a Value,
}

impl<'a> Four<'a> {
    fn field(self, key: &str) -> Self {
        Self {
            before: &self.before[key],
            old_image: &self.old_image[key],
            after: &self.after[key],
            new_image: &self.new_image[key],
        }
    }

    /// The rule: the old image's value follows to the new image's, any other value stays.
    fn is_kept(self) -> bool {
        let same = |one: &Value, other: &Value| one == other || (is_empty(one) && is_empty(other));
        let expected = if same(self.before, self.old_image) { self.new_image } else { self.before };
        same(self.after, expected)
    }

    fn keys(self) -> BTreeSet<&'a str> {
        let mut all = keys(self.before, self.after);
        all.extend(keys(self.old_image, self.new_image));
        all
    }
}

pub(super) fn compare(before: Inspected<'_>, after: Inspected<'_>, found: &mut Differences) {
    let config = Four {
        before: &before.container["Config"],
        old_image: &before.image["Config"],
        after: &after.container["Config"],
        new_image: &after.image["Config"],
    };
    for key in keys(config.before, config.after) {
        let path = format!("Config.{key}");
        let field = config.field(key);
        let is_readable = is_collection(field.before) && is_collection(field.after);
        match key {
            _ if COLLECTIONS.contains(&key) && !is_readable => {
                found.unless_equal(&path, field.before, field.after);
            }
            "Hostname" => compare_hostname(before.container, after.container, found),
            "Env" => compare_environment((before.container, after.container), field, found),
            "Labels" => compare_labels(field, &path, found),
            "Volumes" | "Healthcheck" => compare_members(owned(field), &path, found),
            "ExposedPorts" => {
                compare_ports(field, &before.container["HostConfig"]["PortBindings"], found);
            }
            "Entrypoint" | "Cmd" | "ArgsEscaped" => {}
            // Engines do not merge these: the image's values are not visible in the container.
            "Shell" | "OnBuild" if field.after.is_null() && field.before == field.old_image => {}
            _ if USERS_ALONE.contains(&key) => {
                found.unless_equal(&path, field.before, field.after);
            }
            _ => found.unless(field.is_kept(), &path, field.before, field.after),
        }
    }
    compare_process(config, found);
}

/// An automatic host name is the short ID; a shared one or the host's is the same as before.
fn compare_hostname(before: &Value, after: &Value, found: &mut Differences) {
    let (old, new) = (&before["Config"]["Hostname"], &after["Config"]["Hostname"]);
    let expected = if *old == short_id(before) { json!(short_id(after)) } else { old.clone() };
    found.unless(*new == expected, "Config.Hostname", old, new);
}

/// A user's entrypoint disables the image's command, so the user's command must stay.
fn compare_process(config: Four<'_>, found: &mut Differences) {
    let (entrypoint, command) = (config.field("Entrypoint"), config.field("Cmd"));
    let is_users = !(entrypoint.before == entrypoint.old_image
        || is_empty(entrypoint.before) && is_empty(entrypoint.old_image));
    let image_has_command = !is_empty(command.old_image);
    let both_written =
        is_empty(command.before) && image_has_command && !is_empty(entrypoint.before);
    // An empty list keeps the image's command, null (stored for `[""]`) disables it.
    let command_stays = is_users && *entrypoint.before != json!([]) || both_written;
    let stays = |field: Four<'_>| {
        field.before == field.after || (is_empty(field.before) && is_empty(field.after))
    };
    let entrypoint_kept = if both_written { stays(entrypoint) } else { entrypoint.is_kept() };
    let command_kept = if command_stays { stays(command) } else { command.is_kept() };
    found.unless(entrypoint_kept, "Config.Entrypoint", entrypoint.before, entrypoint.after);
    found.unless(command_kept, "Config.Cmd", command.before, command.after);
}

/// Podman adds the host name to the environment; an automatic one is the short ID.
fn compare_environment(
    (before, after): (&Value, &Value),
    field: Four<'_>,
    found: &mut Differences,
) {
    const KEY: &str = "HOSTNAME";
    let mut all = environment(field);
    let is_automatic = |container: &Value, variables: &Value| {
        variables[KEY] == json!([format!("{KEY}={}", short_id(container))])
    };
    if is_automatic(before, &all[0]) && is_automatic(after, &all[2]) {
        all[0][KEY] = Value::Null;
        all[2][KEY] = Value::Null;
    }
    compare_members(all, "Config.Env", found);
}

fn compare_labels(labels: Four<'_>, path: &str, found: &mut Differences) {
    for label in labels.keys().into_iter().filter(|label| *label != COMPOSE_IMAGE_LABEL) {
        let field = labels.field(label);
        found.unless(field.is_kept(), &format!("{path}.{label}"), field.before, field.after);
    }
    let compose = labels.field(COMPOSE_IMAGE_LABEL);
    let is_kept = compose.before.is_null() == compose.after.is_null();
    found.unless(is_kept, &format!("{path}.{COMPOSE_IMAGE_LABEL}"), compose.before, compose.after);
}

/// A published port stays; a port that is only declared follows the image.
fn compare_ports(ports: Four<'_>, published: &Value, found: &mut Differences) {
    for port in ports.keys() {
        let field = ports.field(port);
        let is_kept = if published.get(port).is_some_and(|bindings| !bindings.is_null()) {
            field.before == field.after
        } else {
            field.is_kept()
        };
        found.unless(is_kept, &format!("Config.ExposedPorts.{port}"), field.before, field.after);
    }
}

fn compare_members(
    [before, old_image, after, new_image]: [Value; 4],
    path: &str,
    found: &mut Differences,
) {
    let all = Four { before: &before, old_image: &old_image, after: &after, new_image: &new_image };
    for key in all.keys() {
        let field = all.field(key);
        found.unless(field.is_kept(), &format!("{path}.{key}"), field.before, field.after);
    }
}

fn owned(four: Four<'_>) -> [Value; 4] {
    [four.before, four.old_image, four.after, four.new_image].map(Value::clone)
}

/// The environment as an object: every variable with all of its entries.
fn environment(four: Four<'_>) -> [Value; 4] {
    [four.before, four.old_image, four.after, four.new_image].map(|entries| {
        let mut variables = json!({});
        for entry in entries.as_array().into_iter().flatten().filter_map(Value::as_str) {
            let key = entry.split('=').next().unwrap_or_default();
            match &mut variables[key] {
                Value::Array(all) => all.push(entry.into()),
                none => *none = json!([entry]),
            }
        }
        variables
    })
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}
