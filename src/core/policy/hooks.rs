//! Commands that run in a container around its checks and its updates, from Watchtower's labels.
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
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);

/// Longest time for a hook, also if its label asks for no limit. The round or the update waits for
/// its hook, so a hook that hangs would keep it from ending.
pub const HOOK_TIMEOUT_MAX: Duration = Duration::from_secs(60 * 60);

/// The exit code of a command that asks for a later try (`EX_TEMPFAIL` of sysexits.h).
const TRY_LATER: i64 = 75;

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
    /// In the new container, after its start.
    PostUpdate,
}

impl Moment {
    /// All moments, in the order of an update.
    pub const ALL: [Self; 4] = [Self::PreCheck, Self::PreUpdate, Self::PostUpdate, Self::PostCheck];

    /// The word in the label.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::PreCheck => "pre-check",
            Self::PostCheck => "post-check",
            Self::PreUpdate => "pre-update",
            Self::PostUpdate => "post-update",
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

/// One command, and how long it may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// The argument of `sh -c`.
    pub command: String,
    pub timeout: Duration,
}

impl Hook {
    /// The command line.
    #[must_use]
    pub fn words(&self) -> [String; 3] {
        ["sh".to_owned(), "-c".to_owned(), self.command.clone()]
    }
}

/// What is wrong with the exit code of a hook, in words; `None` for success.
#[must_use]
pub fn complaint(code: i64) -> Option<String> {
    match code {
        0 => None,
        TRY_LATER => Some(format!("asks to be tried later (exit code {TRY_LATER})")),
        code => Some(format!("failed (exit code {code})")),
    }
}

/// The hooks of one container.
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
        Some(Hook { command, timeout })
    }

    /// Applies one label. `word` is the part after [`HOOK_PREFIX`].
    pub(super) fn take(&mut self, word: &str, value: &str) -> Result<(), String> {
        let (word, is_timeout) = match word.strip_suffix("-timeout") {
            Some(word) => (word, true),
            None => (word, false),
        };
        let moment = Moment::ALL.into_iter().find(|moment| moment.word() == word);
        let moment = moment.ok_or_else(|| {
            let words = Moment::ALL.map(Moment::word).join(", ");
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
    }
}
