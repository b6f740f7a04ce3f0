//! Entrypoint and command, which the Engine takes from the image as a pair.
//!
//! The Engine's own rule (`daemon/commit.go`, `merge`): a user's entrypoint disables the image's
//! command; a user's command keeps the image's entrypoint. `[""]` means "without the image's
//! entrypoint" and is stored as null.

use serde_json::{Map, Value, json};

use crate::core::recreate::CannotRecreate;
use crate::core::recreate::json_path::JsonPath;

/// Adds the user's values of `Entrypoint`, `Cmd` and `ArgsEscaped`.
pub(super) fn keep_user_entrypoint(
    container: &JsonPath<'_>,
    image: &JsonPath<'_>,
    body: &mut Map<String, Value>,
) -> Result<(), CannotRecreate> {
    let of = |place: &JsonPath<'_>, key: &str| -> Result<Option<Value>, CannotRecreate> {
        let texts = place.field(key)?;
        texts.strings()?;
        Ok(texts.value().cloned())
    };
    let users = choose(
        Entrypoint { entrypoint: of(container, "Entrypoint")?, command: of(container, "Cmd")? },
        &Entrypoint { entrypoint: of(image, "Entrypoint")?, command: of(image, "Cmd")? },
    );
    if let Some(entrypoint) = users.entrypoint {
        body.insert("Entrypoint".to_owned(), entrypoint);
    }
    if let Some(command) = users.command {
        // Only the image's own command brings `ArgsEscaped` with it.
        if let Some(escaped) = container.field("ArgsEscaped")?.value() {
            body.insert("ArgsEscaped".to_owned(), escaped.clone());
        }
        body.insert("Cmd".to_owned(), command);
    }
    Ok(())
}

/// The process of a container; `None` if a value is not set.
#[derive(Debug, Clone, PartialEq)]
struct Entrypoint {
    entrypoint: Option<Value>,
    command: Option<Value>,
}

/// The part of `container` that the user must have written, if the image has `image`.
fn choose(container: Entrypoint, image: &Entrypoint) -> Entrypoint {
    let command_follows = same(container.command.as_ref(), image.command.as_ref());
    let command_if_users =
        |process: &Entrypoint| process.command.clone().filter(|_| !command_follows);
    match &container.entrypoint {
        entrypoint if is_empty(entrypoint.as_ref()) && is_empty(image.entrypoint.as_ref()) => {
            let reset = entrypoint.clone().filter(|_| image.entrypoint.is_none());
            Entrypoint { entrypoint: reset, command: command_if_users(&container) }
        }
        // Null can only come from `[""]`, and then the command is the user's as well.
        None => Entrypoint { entrypoint: Some(json!([""])), command: container.command },
        Some(empty) if is_empty(Some(empty)) => {
            Entrypoint { entrypoint: Some(empty.clone()), command: command_if_users(&container) }
        }
        entrypoint if *entrypoint != image.entrypoint => container,
        // If the user had not written the entrypoint, the image's command would be here.
        _ if is_empty(container.command.as_ref()) && !is_empty(image.command.as_ref()) => container,
        _ => Entrypoint { entrypoint: None, command: command_if_users(&container) },
    }
}

fn is_empty(texts: Option<&Value>) -> bool {
    texts.and_then(Value::as_array).is_none_or(Vec::is_empty)
}

fn same(one: Option<&Value>, other: Option<&Value>) -> bool {
    one == other || (is_empty(one) && is_empty(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(entrypoint: &Value, command: &Value) -> Entrypoint {
        let some = |value: &Value| Some(value.clone()).filter(|value| !value.is_null());
        Entrypoint { entrypoint: some(entrypoint), command: some(command) }
    }

    #[test]
    fn what_is_not_the_images_is_the_users() {
        let (entry, cmd, mine, null) = (json!(["e"]), json!(["c"]), json!(["m"]), json!(null));
        let reset = json!([""]);
        let empty = json!([]);
        // container (entrypoint, command), image (entrypoint, command), what the user wrote
        let rows = [
            ([&entry, &cmd], [&entry, &cmd], [&null, &null], "all the image's"),
            ([&entry, &mine], [&entry, &cmd], [&null, &mine], "own command"),
            ([&mine, &null], [&entry, &cmd], [&mine, &null], "own entrypoint, no command"),
            ([&mine, &cmd], [&entry, &cmd], [&mine, &cmd], "own entrypoint, same command"),
            ([&entry, &null], [&entry, &cmd], [&entry, &null], "same entrypoint written again"),
            ([&null, &mine], [&entry, &cmd], [&reset, &mine], "entrypoint switched off"),
            ([&null, &cmd], [&entry, &cmd], [&reset, &cmd], "off, the same command written"),
            ([&empty, &cmd], [&entry, &cmd], [&empty, &null], "off by [], the image's command"),
            ([&null, &cmd], [&null, &cmd], [&null, &null], "an image without entrypoint"),
            ([&null, &mine], [&null, &cmd], [&null, &mine], "own command, no entrypoint"),
            ([&mine, &null], [&null, &cmd], [&mine, &null], "own entrypoint, image without"),
            ([&null, &mine], [&null, &null], [&null, &mine], "an image that runs nothing"),
            ([&entry, &null], [&entry, &null], [&null, &null], "an image without command"),
            ([&empty, &mine], [&null, &cmd], [&empty, &mine], "[] although there was none"),
        ];
        for (container, image, expected, name) in rows {
            let got = choose(process(container[0], container[1]), &process(image[0], image[1]));
            assert_eq!(got, process(expected[0], expected[1]), "{name}");
        }
    }
}
