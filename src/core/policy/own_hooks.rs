//! Commands that run in a container around its updates, from Pilotfish's own labels.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::LabelError;
use super::hooks::{HOOK_TIMEOUT_MAX, Hook, HookCommand, Moment, TIMEOUT_DEFAULT};
use super::probe::split_command_line;
use crate::core::text::{did_you_mean, nearest, shown};
use crate::core::time::duration::{format_duration, parse_duration};

/// The prefix of Pilotfish's hook labels.
pub(super) const OWN_HOOK_PREFIX: &str = "pilotfish.hook.";

/// What follows the label of a hook in the label of its timeout.
const TIMEOUT_SUFFIX: &str = ".timeout";

/// `true`: a failed post-update hook is a failed update.
pub const LABEL_POST_UPDATE_REQUIRED: &str = "pilotfish.hook.post-update.required";

/// The labels of the hooks and of their timeouts.
pub const HOOK_LABELS: [&str; 9] = [
    "pilotfish.hook.pre-update",
    "pilotfish.hook.pre-update.timeout",
    "pilotfish.hook.pre-stop",
    "pilotfish.hook.pre-stop.timeout",
    "pilotfish.hook.post-update",
    "pilotfish.hook.post-update.timeout",
    LABEL_POST_UPDATE_REQUIRED,
    "pilotfish.hook.post-rollback",
    "pilotfish.hook.post-rollback.timeout",
];

/// What makes a hook a command for a shell.
const SHELL_PREFIX: &str = "sh:";

/// Longest command in bytes, as for a probe: a command line, not a script.
const COMMAND_MAX: usize = 4096;

/// Shortest timeout. The start of a command alone takes a part of a second on a Pi.
const TIMEOUT_MIN: Duration = Duration::from_secs(1);

/// Longest timeout of a pre-stop hook. The switches of all other containers wait for it, because
/// only one container is switched at a time.
pub const PRE_STOP_TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// What the hook labels of one container say so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Parts {
    command: Option<HookCommand>,
    timeout: Option<Duration>,
}

/// The hooks of one container that Pilotfish's own labels name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnHooks {
    /// In the order of [`Moment::OF_PILOTFISH`].
    parts: [Parts; 4],
    is_required: bool,
}

/// The hooks that run during an update. The pre-update hook runs before it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateHooks {
    /// In the old container, right before it is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_stop: Option<Hook>,
    /// In the new container, after its verification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_update: Option<Hook>,
    /// Whether a failed post-update hook is a failed update.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_post_update_required: bool,
    /// In the old container, after a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_rollback: Option<Hook>,
}

impl UpdateHooks {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl OwnHooks {
    /// The hook for this moment.
    #[must_use]
    pub fn at(&self, moment: Moment) -> Option<Hook> {
        let number = Moment::OF_PILOTFISH.iter().position(|it| *it == moment)?;
        let Parts { command, timeout } = &self.parts[number];
        Some(Hook { command: command.clone()?, timeout: timeout.unwrap_or(TIMEOUT_DEFAULT) })
    }

    /// The hooks that run during an update.
    #[must_use]
    pub fn during_update(&self) -> UpdateHooks {
        UpdateHooks {
            pre_stop: self.at(Moment::PreStop),
            post_update: self.at(Moment::PostUpdate),
            is_post_update_required: self.is_required,
            post_rollback: self.at(Moment::PostRollback),
        }
    }

    /// Applies one label that begins with [`OWN_HOOK_PREFIX`].
    pub(super) fn take(&mut self, label: &str, value: &str) -> Result<(), String> {
        if label == LABEL_POST_UPDATE_REQUIRED {
            self.is_required = flag(value)?;
            return Ok(());
        }
        let word = label.strip_prefix(OWN_HOOK_PREFIX).unwrap_or(label);
        let (word, is_timeout) = match word.strip_suffix(TIMEOUT_SUFFIX) {
            Some(word) => (word, true),
            None => (word, false),
        };
        let number = Moment::OF_PILOTFISH.iter().position(|moment| moment.word() == word);
        let number = number.ok_or_else(|| unknown(label))?;
        let (moment, parts) = (Moment::OF_PILOTFISH[number], &mut self.parts[number]);
        if is_timeout {
            parts.timeout = Some(timeout(moment, value)?);
        } else {
            parts.command = Some(command(value)?);
        }
        Ok(())
    }

    /// Labels that belong to a hook without a command. A user who wrote them believes that the hook
    /// runs.
    pub(super) fn without_command(&self) -> Vec<LabelError> {
        let mut errors = Vec::new();
        for (moment, Parts { command, timeout }) in Moment::OF_PILOTFISH.iter().zip(&self.parts) {
            if command.is_some() {
                continue;
            }
            let hook = format!("{OWN_HOOK_PREFIX}{moment}");
            let mut add = |label: String, value: String| {
                let why = format!("there is no label `{hook}`, which it belongs to");
                errors.push(LabelError { label, value, why });
            };
            if let Some(timeout) = timeout {
                add(format!("{hook}{TIMEOUT_SUFFIX}"), format_duration(*timeout));
            }
            if self.is_required && *moment == Moment::PostUpdate {
                add(LABEL_POST_UPDATE_REQUIRED.to_owned(), "true".to_owned());
            }
        }
        errors
    }
}

fn unknown(label: &str) -> String {
    // The prefix is the same in all labels: it would make any two of them look alike.
    let behind = |label: &'static str| label.strip_prefix(OWN_HOOK_PREFIX).unwrap_or(label);
    let word = label.strip_prefix(OWN_HOOK_PREFIX).unwrap_or(label);
    let suggestion = nearest(word, HOOK_LABELS.map(behind));
    let suggestion =
        suggestion.map(|suggestion| format!("; did you mean `{OWN_HOOK_PREFIX}{suggestion}`?"));
    format!("there is no such label{}", suggestion.unwrap_or_default())
}

fn command(value: &str) -> Result<HookCommand, String> {
    if value.len() > COMMAND_MAX {
        return Err(format!("a command has at most {COMMAND_MAX} bytes"));
    }
    if let Some(script) = value.strip_prefix(SHELL_PREFIX) {
        let script = script.trim();
        let missing = || format!("`{SHELL_PREFIX}` needs a command after it");
        return if script.is_empty() {
            Err(missing())
        } else {
            Ok(HookCommand::Shell(script.into()))
        };
    }
    let words = split_command_line(value).map_err(|error| error.to_string())?;
    match words.first() {
        Some(program) if !program.is_empty() => Ok(HookCommand::Words(words)),
        _ => Err("a command is missing".to_owned()),
    }
}

fn timeout(moment: Moment, value: &str) -> Result<Duration, String> {
    let longest = match moment {
        Moment::PreStop => PRE_STOP_TIMEOUT_MAX,
        _ => HOOK_TIMEOUT_MAX,
    };
    let asked = parse_duration(value).map_err(|error| error.to_string())?;
    if (TIMEOUT_MIN..=longest).contains(&asked) {
        return Ok(asked);
    }
    let (least, most) = (format_duration(TIMEOUT_MIN), format_duration(longest));
    Err(format!("`{}` is not a time from {least} to {most}", shown(value)))
}

fn flag(value: &str) -> Result<bool, String> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        other => {
            let suggestion = did_you_mean(other, ["true", "false"]);
            Err(format!("`{}` is neither `true` nor `false`{suggestion}", shown(other)))
        }
    }
}

#[cfg(test)]
#[path = "own_hooks_tests.rs"]
mod tests;
