//! Commands that run in a container around its checks and its updates, and the hooks of
//! Watchtower's labels. The hooks of Pilotfish's own labels are in `own_hooks`.
//!
//! Source: containrrr/watchtower 1.7.1, `pkg/lifecycle` and `stopStaleContainer`: a failed
//! pre-update command skips the update of its container, independent of its exit code; any other
//! failure is only reported.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::text::shown;

/// How long a hook may take if no label says it, as with Watchtower.
pub(super) const TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);

/// Longest time for a hook, also if its label asks for no limit. The round or the update waits for
/// its hook, so a hook that hangs would keep it from ending.
pub const HOOK_TIMEOUT_MAX: Duration = Duration::from_secs(60 * 60);

/// The exit code of a command that asks for a later try (`EX_TEMPFAIL` of sysexits.h).
const TRY_LATER: i64 = 75;

/// The exit codes of a command that could not be started. Shells and the Engine use the same ones.
const NOT_STARTED: [i64; 2] = [126, 127];

/// The prefix of hook labels, after Watchtower's own prefix.
pub(super) const HOOK_PREFIX: &str = "lifecycle.";

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moment {
    /// Before a round checks for updates.
    PreCheck,
    /// At the end of a round.
    PostCheck,
    /// In the old container, once the new image is on the disk and before anything is touched.
    PreUpdate,
    /// In the old container, right before it is stopped. Watchtower has no such hook.
    PreStop,
    /// In the new container: Watchtower's after its start, Pilotfish's after its verification.
    PostUpdate,
    /// In the old container, after a rollback. Watchtower has no such hook.
    PostRollback,
}

impl Moment {
    /// The moments of Watchtower's hooks, in the order of an update.
    pub const OF_WATCHTOWER: [Self; 4] =
        [Self::PreCheck, Self::PreUpdate, Self::PostUpdate, Self::PostCheck];

    /// The moments of Pilotfish's own hooks, in the order of an update.
    pub const OF_PILOTFISH: [Self; 4] =
        [Self::PreUpdate, Self::PreStop, Self::PostUpdate, Self::PostRollback];

    /// The word in the label.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::PreCheck => "pre-check",
            Self::PostCheck => "post-check",
            Self::PreUpdate => "pre-update",
            Self::PreStop => "pre-stop",
            Self::PostUpdate => "post-update",
            Self::PostRollback => "post-rollback",
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

/// The command of a hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum HookCommand {
    /// The argument of `sh -c`.
    Shell(String),
    /// A program and its arguments. No shell reads them. Never empty.
    Words(Vec<String>),
}

/// One command, and how long it may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    pub command: HookCommand,
    pub timeout: Duration,
}

impl Hook {
    /// The command line.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        match &self.command {
            HookCommand::Shell(script) => vec!["sh".to_owned(), "-c".to_owned(), script.clone()],
            HookCommand::Words(words) => words.clone(),
        }
    }
}

/// What is wrong with the exit code of a hook, in words; `None` for success.
#[must_use]
pub fn complaint(code: i64) -> Option<String> {
    match code {
        0 => None,
        TRY_LATER => Some(format!("asks to be tried later (exit code {TRY_LATER})")),
        code if NOT_STARTED.contains(&code) => Some(format!(
            "could not be started (exit code {code}): the container does not have this command, or \
             may not run it"
        )),
        code => Some(format!("failed (exit code {code})")),
    }
}

/// Watchtower's hooks of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hooks {
    commands: BTreeMap<Moment, String>,
    timeouts: BTreeMap<Moment, Duration>,
}

impl Hooks {
    /// The hook for this moment.
    #[must_use]
    pub fn at(&self, moment: Moment) -> Option<Hook> {
        let command = self.commands.get(&moment)?.clone();
        let timeout = self.timeouts.get(&moment).copied().unwrap_or(TIMEOUT_DEFAULT);
        Some(Hook { command: HookCommand::Shell(command), timeout })
    }

    /// Applies one label. `word` is the part after [`HOOK_PREFIX`].
    pub(super) fn take(&mut self, word: &str, value: &str) -> Result<(), String> {
        let (word, is_timeout) = match word.strip_suffix("-timeout") {
            Some(word) => (word, true),
            None => (word, false),
        };
        let moment = Moment::OF_WATCHTOWER.into_iter().find(|moment| moment.word() == word);
        let moment = moment.ok_or_else(|| {
            let words = Moment::OF_WATCHTOWER.map(Moment::word).join(", ");
            format!("there is no such hook; there are {words}, each also with -timeout")
        })?;
        if is_timeout {
            self.timeouts.insert(moment, minutes(value)?);
        } else if !value.is_empty() {
            self.commands.insert(moment, value.to_owned());
        }
        Ok(())
    }
}

fn minutes(value: &str) -> Result<Duration, String> {
    let minutes: u64 =
        value.parse().map_err(|_| format!("`{}` is not a number of minutes", shown(value)))?;
    match Duration::from_secs(minutes.saturating_mul(60)) {
        Duration::ZERO => Ok(HOOK_TIMEOUT_MAX),
        asked => Ok(asked.min(HOOK_TIMEOUT_MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_takes_a_minute_unless_its_label_says_otherwise_and_an_hour_at_most() {
        for (told, seconds) in [(None, 60), (Some("5"), 300), (Some("0"), 3600), (Some("90"), 3600)]
        {
            let mut hooks = Hooks::default();
            hooks.take("pre-update", "/dump.sh").expect("a command");
            if let Some(told) = told {
                hooks.take("pre-update-timeout", told).expect("a time");
            }
            let hook = hooks.at(Moment::PreUpdate).expect("a hook");
            assert_eq!(hook.timeout.as_secs(), seconds, "{told:?}");
            assert_eq!(hook.words(), ["sh", "-c", "/dump.sh"]);
            assert_eq!(hooks.at(Moment::PostUpdate), None);
        }
    }

    #[test]
    fn what_is_no_hook_is_refused() {
        let mut hooks = Hooks::default();
        assert!(hooks.take("pre-updat", "x").expect_err("a typo").contains("pre-update"));
        assert!(hooks.take("pre-stop", "x").is_err(), "only Pilotfish has it");
        assert!(hooks.take("pre-update-timeout", "soon").is_err());
        assert!(hooks.take("pre-update-timeout", "-1").is_err());
        hooks.take("post-check", "").expect("an empty command is none");
        assert_eq!(hooks.at(Moment::PostCheck), None);
    }

    #[test]
    fn only_the_code_of_success_is_no_complaint() {
        assert_eq!(complaint(0), None);
        assert!(complaint(75).is_some_and(|it| it.contains("later")));
        assert!(complaint(1).is_some_and(|it| it.contains("exit code 1")));
        assert!(complaint(127).is_some_and(|it| it.contains("could not be started")));
    }
}
