//! Watchtower's labels, for who moves from there: with `compat.watchtower` they mean what they
//! meant. A label of ours on the same matter wins.
//!
//! Source: containrrr/watchtower 1.7.1 and nicholas-fedor/watchtower 1.21, their documentation of
//! container labels.

use std::collections::BTreeMap;

use super::{LABEL_ENABLE, LABEL_MODE, LabelError};
use crate::core::text::{nearest, shown};

/// What every label of Watchtower's begins with.
pub const WATCHTOWER_PREFIX: &str = "com.centurylinklabs.watchtower.";

/// `true` or `false`: whether it is watched.
const ENABLE: &str = "enable";
/// `true`: report, and touch nothing.
const MONITOR_ONLY: &str = "monitor-only";
/// Which of several Watchtowers it belongs to.
const SCOPE: &str = "scope";

/// What is said about Watchtower in the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watchtower {
    /// Only containers with this scope are watched; absent: those with and without one.
    pub scope: Option<String>,
}

/// The labels of a container with Watchtower's translated to ours, and those of its that are
/// unknown here, or whose value makes no sense.
pub(super) fn translate(
    labels: &BTreeMap<String, String>,
    watchtower: &Watchtower,
) -> (BTreeMap<String, String>, Vec<LabelError>) {
    let mut translated = labels.clone();
    let mut errors = Vec::new();
    for (label, value) in labels {
        let Some(word) = label.strip_prefix(WATCHTOWER_PREFIX) else { continue };
        if let Err(why) = take(word, value.trim(), &mut translated) {
            errors.push(LabelError { label: label.clone(), value: value.clone(), why });
        }
    }
    if let Some(scope) = &watchtower.scope {
        let own = labels.get(&format!("{WATCHTOWER_PREFIX}{SCOPE}"));
        if own.map(|own| own.trim()) != Some(scope) {
            translated.insert(LABEL_ENABLE.to_owned(), "false".to_owned());
        }
    }
    (translated, errors)
}

fn take(word: &str, value: &str, labels: &mut BTreeMap<String, String>) -> Result<(), String> {
    let mut say = |label: &str, value: &str| {
        labels.entry(label.to_owned()).or_insert_with(|| value.to_owned());
    };
    match word {
        ENABLE => say(LABEL_ENABLE, if flag(value)? { "true" } else { "false" }),
        MONITOR_ONLY if flag(value)? => say(LABEL_MODE, "notify"),
        MONITOR_ONLY | SCOPE => {}
        unknown => {
            let meant = nearest(unknown, [ENABLE, MONITOR_ONLY, SCOPE]);
            let meant = meant.map(|meant| format!("; did you mean `{WATCHTOWER_PREFIX}{meant}`?"));
            return Err(format!("has no counterpart here{}", meant.unwrap_or_default()));
        }
    }
    Ok(())
}

/// As Go's `strconv.ParseBool` reads it, which Watchtower does.
fn flag(value: &str) -> Result<bool, String> {
    match value {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        other => Err(format!("`{}` is neither `true` nor `false`", shown(other))),
    }
}
