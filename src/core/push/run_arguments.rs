//! The arguments of `docker run` as the definition of a deployment. Docker's own client turns them
//! into a body, at a socket that only records: this prepares the arguments, and reads what was
//! recorded.

use serde_json::Value;

/// The image behind the arguments: if they name an image, the client takes this as a word of the
/// command.
pub const IMAGE_MARKER: &str = "pilotfish-push/unnamed:latest";

/// Options that this program decides about. `--cidfile` would write a file, `--pull` would ask a
/// registry.
const REFUSED: [(&str, &str); 3] = [
    ("--cidfile", "it would write a file"),
    ("--pull", "the image is pushed"),
    ("--name", "write `container = \"…\"` instead"),
];

/// The flags of one letter without a value, of `docker run`.
const SHORT_FLAGS: &str = "ditPq";

/// The arguments for `docker create`: without `-d`, which it does not know, and with the marker.
///
/// # Errors
/// An option that is not possible here.
pub fn prepare(arguments: &[String]) -> Result<Vec<String>, String> {
    let mut prepared = Vec::new();
    for argument in arguments {
        let name = argument.split('=').next().unwrap_or_default();
        if let Some((option, why)) = REFUSED.iter().find(|(option, _)| *option == name) {
            return Err(format!("`{option}` is not possible here: {why}"));
        }
        prepared.extend(without_detach(argument));
    }
    prepared.push(IMAGE_MARKER.to_owned());
    Ok(prepared)
}

/// The argument without `--detach`, and `-dit` without its `d`.
fn without_detach(argument: &str) -> Option<String> {
    if matches!(argument, "--detach" | "--detach=true" | "-d") {
        return None;
    }
    match argument.strip_prefix('-') {
        Some(letters)
            if letters.len() > 1 && letters.chars().all(|letter| SHORT_FLAGS.contains(letter)) =>
        {
            Some(format!("-{}", letters.replace('d', "")))
        }
        _ => Some(argument.to_owned()),
    }
}

/// The body that the client sent. Without an image in the arguments it has none.
///
/// # Errors
/// What is wrong with it.
pub fn read(body: &[u8]) -> Result<Value, String> {
    let mut body: Value =
        serde_json::from_slice(body).map_err(|_| "Docker's client sent no JSON".to_owned())?;
    let object = body.as_object_mut().ok_or("Docker's client sent no JSON object")?;
    if object.get("Image").and_then(Value::as_str) == Some(IMAGE_MARKER) {
        object.remove("Image");
        return Ok(body);
    }
    let command = object.get_mut("Cmd").and_then(Value::as_array_mut);
    let command = command.ok_or("Docker's client lost the end of the arguments")?;
    if command.pop().as_ref().and_then(Value::as_str) != Some(IMAGE_MARKER) {
        return Err("Docker's client lost the end of the arguments".to_owned());
    }
    if command.is_empty() {
        object.insert("Cmd".to_owned(), Value::Null);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn prepared(text: &str) -> Result<String, String> {
        let words: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
        let prepared = prepare(&words)?.join(" ");
        Ok(prepared.strip_suffix(IMAGE_MARKER).expect("the marker").trim().to_owned())
    }

    #[test]
    fn detaching_is_left_out_and_everything_else_is_kept() {
        for (given, expected) in [
            ("-d -it -p 80:8000", "-it -p 80:8000"),
            ("-dit --restart always", "-it --restart always"),
            ("--detach --detach-keys ctrl-a web", "--detach-keys ctrl-a web"),
            ("-e d -v /d:/d --dns 1.1.1.1", "-e d -v /d:/d --dns 1.1.1.1"),
            ("", ""),
        ] {
            assert_eq!(prepared(given).as_deref(), Ok(expected), "{given}");
        }
    }

    #[test]
    fn options_that_write_or_ask_are_refused() {
        for given in ["--cidfile /tmp/x", "--cidfile=/tmp/x", "--pull=always", "--name web"] {
            assert!(prepared(given).is_err(), "{given}");
        }
    }

    #[test]
    fn the_image_may_stand_in_the_arguments() {
        for (recorded, expected) in [
            (json!({"Image": IMAGE_MARKER, "Cmd": null}), json!({"Cmd": null})),
            (
                json!({"Image": "web:1", "Cmd": [IMAGE_MARKER]}),
                json!({"Image": "web:1", "Cmd": null}),
            ),
            (
                json!({"Image": "web:1", "Cmd": ["a", IMAGE_MARKER]}),
                json!({"Image": "web:1", "Cmd": ["a"]}),
            ),
        ] {
            let body = serde_json::to_vec(&recorded).expect("JSON");
            assert_eq!(read(&body), Ok(expected), "{recorded}");
        }
        for wrong in ["", "[]", r#"{"Image":"web:1"}"#, r#"{"Image":"web:1","Cmd":["a"]}"#] {
            assert!(read(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
