//! Watchtower's labels, for users who move from it: with `compat.watchtower` they keep their
//! meaning. A Pilotfish label on the same subject wins.
//!
//! Source: containrrr/watchtower 1.7.1 and nicholas-fedor/watchtower 1.21, their documentation of
//! container labels.

use std::collections::BTreeMap;

use super::hooks::{HOOK_PREFIX, Hooks};
use super::{LABEL_ENABLE, LABEL_MODE, LabelError};
use crate::core::docker::signal;
use crate::core::text::{nearest, shown};

/// The prefix of Watchtower's labels.
pub const WATCHTOWER_PREFIX: &str = "com.centurylinklabs.watchtower.";

/// `true` or `false`: whether the container is watched.
const ENABLE: &str = "enable";
/// `true`: report only, touch nothing.
const MONITOR_ONLY: &str = "monitor-only";
/// Which of several Watchtowers the container belongs to.
const SCOPE: &str = "scope";
/// Names of containers, separated by commas: this container is replaced together with each of them.
const DEPENDS_ON: &str = "depends-on";
/// `true`: the container follows its local tag; the registry is not asked.
const NO_PULL: &str = "no-pull";
/// The signal that stops the container, instead of its own.
const STOP_SIGNAL: &str = "stop-signal";

/// The labels that are understood, for suggestions.
const WORDS: [&str; 6] = [ENABLE, MONITOR_ONLY, SCOPE, DEPENDS_ON, NO_PULL, STOP_SIGNAL];

/// Watchtower's settings in the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watchtower {
    /// Only containers with this scope are watched; absent: those with and without one.
    pub scope: Option<String>,
    /// Whether commands in labels are run.
    pub runs_hooks: bool,
}

/// Settings from Watchtower's labels that no Pilotfish label offers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompatSettings {
    /// The names of containers that it depends on: it is replaced together with each of them.
    pub depends_on: Vec<String>,
    /// It follows its local tag; no registry is asked.
    pub is_local: bool,
    /// The signal that stops it, as the Engine takes it: a name or a number.
    pub stop_signal: Option<String>,
    /// Commands that run in it.
    pub hooks: Hooks,
}

/// The labels of a container, translated.
#[derive(Debug, Default)]
pub(super) struct Translated {
    /// The labels, with Watchtower's translated to Pilotfish's.
    pub(super) labels: BTreeMap<String, String>,
    /// Settings that no Pilotfish label offers.
    pub(super) commands: CompatSettings,
    /// Watchtower's labels that are unknown here, or whose value is invalid.
    pub(super) errors: Vec<LabelError>,
}

/// Translates Watchtower's labels.
pub(super) fn translate(labels: &BTreeMap<String, String>, watchtower: &Watchtower) -> Translated {
    let mut translated = Translated { labels: labels.clone(), ..Translated::default() };
    for (label, value) in labels {
        let Some(word) = label.strip_prefix(WATCHTOWER_PREFIX) else { continue };
        if let Err(why) = translated.take(word, value.trim(), watchtower) {
            translated.errors.push(LabelError { label: label.clone(), value: value.clone(), why });
        }
    }
    if let Some(scope) = &watchtower.scope {
        let own = labels.get(&format!("{WATCHTOWER_PREFIX}{SCOPE}"));
        if own.map(|own| own.trim()) != Some(scope) {
            translated.labels.insert(LABEL_ENABLE.to_owned(), "false".to_owned());
        }
    }
    translated
}

impl Translated {
    fn take(&mut self, word: &str, value: &str, watchtower: &Watchtower) -> Result<(), String> {
        match word {
            ENABLE => self.say(LABEL_ENABLE, if flag(value)? { "true" } else { "false" }),
            MONITOR_ONLY if flag(value)? => self.say(LABEL_MODE, "notify"),
            MONITOR_ONLY | SCOPE => {}
            NO_PULL => self.commands.is_local = flag(value)?,
            STOP_SIGNAL => self.commands.stop_signal = Some(signal_word(value)?),
            DEPENDS_ON => self.commands.depends_on = names(value),
            other => match other.strip_prefix(HOOK_PREFIX) {
                Some(hook) if watchtower.runs_hooks => self.commands.hooks.take(hook, value)?,
                // As with Watchtower, hooks run only if the configuration allows them.
                Some(_) => {}
                None => return Err(unknown(other)),
            },
        }
        Ok(())
    }

    /// An existing Pilotfish label wins.
    fn say(&mut self, label: &str, value: &str) {
        self.labels.entry(label.to_owned()).or_insert_with(|| value.to_owned());
    }
}

/// Whether it is Watchtower's label for leaving a container alone.
pub(super) fn opts_out(label: &str, value: &str) -> bool {
    label.strip_prefix(WATCHTOWER_PREFIX) == Some(ENABLE) && flag(value.trim()) == Ok(false)
}

fn unknown(word: &str) -> String {
    let suggestion = nearest(word, WORDS).filter(|suggestion| *suggestion != word);
    let suggestion =
        suggestion.map(|suggestion| format!("; did you mean `{WATCHTOWER_PREFIX}{suggestion}`?"));
    format!("has no counterpart here{}", suggestion.unwrap_or_default())
}

fn names(value: &str) -> Vec<String> {
    let names = value.split(',').map(|name| name.trim().trim_start_matches('/'));
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The name of a known signal.
fn signal_word(value: &str) -> Result<String, String> {
    match signal::number(value) {
        Some(_) => Ok(value.to_uppercase()),
        None => Err(format!("`{}` is no signal, such as `SIGQUIT`", shown(value))),
    }
}

/// As Go's `strconv.ParseBool` reads it, because Watchtower uses it.
fn flag(value: &str) -> Result<bool, String> {
    match value {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        other => Err(format!("`{}` is neither `true` nor `false`", shown(other))),
    }
}
