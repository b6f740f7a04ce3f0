//! Reads how a Watchtower was started, from `docker inspect` or a file of variables.

use std::collections::BTreeMap;

use serde_json::Value;
use thiserror::Error;

use super::Started;

/// The input does not describe a Watchtower.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SourceError {
    /// JSON, but not of one container.
    #[error("this is not what `docker inspect CONTAINER` prints for one container")]
    NotInspect,
    /// Neither JSON nor lines `NAME=VALUE`.
    #[error(
        "line {0} is neither NAME=VALUE nor a comment; give what `docker inspect CONTAINER` prints, or a file for --env-file"
    )]
    NoVariable(usize),
}

/// Reads the output of `docker inspect` for a Watchtower's container, or a file of variables as for
/// `docker run --env-file`.
///
/// # Errors
/// It is neither.
pub fn read(text: &str) -> Result<Started, SourceError> {
    if text.trim_start().starts_with(['[', '{']) { from_inspect(text) } else { from_lines(text) }
}

fn from_inspect(text: &str) -> Result<Started, SourceError> {
    let document: Value = serde_json::from_str(text).map_err(|_| SourceError::NotInspect)?;
    let container = match &document {
        Value::Array(all) if all.len() == 1 => &all[0],
        one => one,
    };
    let config = container.get("Config").ok_or(SourceError::NotInspect)?;
    let texts = |key: &str| {
        let list = config.get(key).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
    };
    let pair = |line: &String| {
        line.split_once('=').map(|(name, value)| (name.to_owned(), unquoted(value).to_owned()))
    };
    // The first word of an entrypoint is the program; the others come before the command.
    let words = texts("Entrypoint").into_iter().skip(1).chain(texts("Cmd"));
    Ok(Started {
        environment: texts("Env").iter().filter_map(pair).collect(),
        words: words.collect(),
    })
}

fn from_lines(text: &str) -> Result<Started, SourceError> {
    let mut environment = BTreeMap::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=').ok_or(SourceError::NoVariable(index + 1))?;
        environment.insert(name.trim().to_owned(), without_comment(value).to_owned());
    }
    Ok(Started { environment, words: Vec::new() })
}

/// The value of a line as Compose reads it (the syntax of the `.env` file): quotation marks around
/// it are not part of it, and ` #` after it begins a comment.
fn without_comment(value: &str) -> &str {
    let value = value.trim();
    let quote = value.chars().next().filter(|first| matches!(first, '"' | '\''));
    if let Some((inside, behind)) = quote.and_then(|quote| value[1..].split_once(quote)) {
        let behind = behind.trim_start();
        return if behind.is_empty() || behind.starts_with('#') { inside } else { value };
    }
    value.split_once(" #").map_or(value, |(value, _)| value.trim_end())
}

/// A value without the quotation marks that Compose keeps in a list under `environment:` (`-
/// TZ="Europe/Berlin"`): they are not meant as a part of the value.
pub(super) fn unquoted(value: &str) -> &str {
    let value = value.trim();
    let between = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    between('"').or_else(|| between('\'')).map_or(value, str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_inspect_prints_is_read() {
        let text = r#"[{"Config": {"Env": ["WATCHTOWER_CLEANUP=true", "ODD"], "Cmd": ["-d"]}}]"#;
        let started = read(text).expect("a container");
        assert_eq!(started.environment["WATCHTOWER_CLEANUP"], "true");
        assert_eq!(started.words, ["-d"]);
        let text = r#"{"Config": {"Env": ["TZ=\"Europe/Brussels\""],
            "Entrypoint": ["/watchtower", "--debug"], "Cmd": ["--scope", "a"]}}"#;
        let started = read(text).expect("a container");
        assert_eq!(started.environment["TZ"], "Europe/Brussels");
        assert_eq!(started.words, ["--debug", "--scope", "a"]);
        assert_eq!(read("[]"), Err(SourceError::NotInspect));
        assert_eq!(read("{\"Config\""), Err(SourceError::NotInspect));
    }

    #[test]
    fn a_file_of_variables_is_read() {
        let started = read("# mine\nWATCHTOWER_SCOPE=a=b\n\n").expect("variables");
        assert_eq!(started.environment["WATCHTOWER_SCOPE"], "a=b");
        for (line, expected) in [
            ("A=\"Europe/Brussels\"", "Europe/Brussels"),
            ("A='Europe/Brussels'", "Europe/Brussels"),
            ("A=Europe/Brussels # mine", "Europe/Brussels"),
            ("A=\"a # b\" # mine", "a # b"),
            ("A= a \r", "a"),
            ("export A=1", "1"),
            ("\u{feff}A=1", "1"),
            ("A=\"open", "\"open"),
            ("A=\"a\"b", "\"a\"b"),
            ("A=\"\"", ""),
        ] {
            assert_eq!(read(line).expect(line).environment["A"], expected, "{line}");
        }
        assert_eq!(read("A=1\nnonsense"), Err(SourceError::NoVariable(2)));
    }
}
