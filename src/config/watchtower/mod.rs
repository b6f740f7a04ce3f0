//! Translates Watchtower's environment and flags to Pilotfish's configuration, and lists what has
//! no counterpart.
//!
//! The names are those of containrrr/watchtower 1.7.1 and nicholas-fedor/watchtower 1.21. Values
//! without a counterpart are never repeated, because notification URLs contain tokens.

mod options;
mod outward;
mod source;
mod words;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use options::{Becomes, OPTIONS, TomlLine, VARIABLE_PREFIX, WatchtowerOption};
use outward::OUTWARD;
pub use source::{SourceError, read};

use crate::core::text::shown;

/// Watchtower's default interval.
const WATCHTOWERS_INTERVAL: &str = "\"24h\"";

/// How a Watchtower was started: its environment, and its command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Started {
    pub environment: BTreeMap<String, String>,
    /// Flags, and names of containers.
    pub words: Vec<String>,
}

/// Pilotfish's configuration, and what is left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Translation {
    settings: Vec<TomlLine>,
    /// Options that could not be parsed, and why. Values are not repeated, because they may be
    /// secret.
    unclear: Vec<(String, String)>,
    /// Options that Pilotfish follows without a setting.
    anyway: Vec<(String, &'static str)>,
    /// Options without a counterpart, and why.
    nothing: Vec<(String, String)>,
    /// Whether an option excluded containers that Watchtower would have updated otherwise.
    is_narrowed: bool,
}

/// Watchtower's options: by flag, the name that was used, and the value.
type TranslationNote = BTreeMap<&'static str, (String, String)>;

/// Translates a Watchtower's options.
#[must_use]
pub fn translate(started: &Started) -> Translation {
    let mut translation = Translation::default();
    let mut told = TranslationNote::new();
    for option in options() {
        let variable = option.variable_name();
        if let Some(value) = started.environment.get(&variable).filter(|it| !it.is_empty()) {
            told.insert(option.flag, (variable, value.clone()));
        }
    }
    // Flags override the environment, as in Watchtower.
    translation.take_words(&started.words, &mut told);
    translation.note_on_unknown_variables(&started.environment);
    translation.untangle_schedule(&mut told);
    for option in options() {
        if let Some((name, value)) = told.get(option.flag) {
            translation.take(name, value, option);
        }
    }
    translation.take_listen_address(&told);
    translation.take_watched(&told);
    translation.settings.insert(0, TomlLine::new("compat.watchtower", "true".to_owned()));
    if !translation.settings.iter().any(|setting| setting.key.starts_with("schedule.")) {
        translation.settings.push(TomlLine::new("schedule.every", WATCHTOWERS_INTERVAL.to_owned()));
    }
    translation
}

/// All of Watchtower's options.
fn options() -> impl Iterator<Item = &'static WatchtowerOption> {
    OPTIONS.iter().chain(OUTWARD)
}

/// A switch, in every spelling that Watchtower accepts (Go's `strconv.ParseBool`).
fn is_on(value: &str) -> Option<bool> {
    match value.trim() {
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Some(true),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

const NOT_A_SWITCH: &str = "its value is neither true nor false";
const NO_SENSE: &str = "its value could not be read";

impl Translation {
    /// Whether all options could be parsed.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.unclear.is_empty()
    }

    fn take(&mut self, name: &str, value: &str, option: &WatchtowerOption) {
        if !option.takes_value {
            match is_on(value) {
                Some(true) => {}
                Some(false) => return,
                None => return self.doubt(name, NOT_A_SWITCH),
            }
        }
        self.is_narrowed |= option.narrows;
        match option.becomes {
            Becomes::Setting(translate) => self.set(name, translate(value)),
            Becomes::Told => {}
            Becomes::Anyway(what) => self.anyway.push((name.to_owned(), what)),
            Becomes::Nothing(why) => self.leave(name, why),
        }
    }

    /// Only values that Pilotfish's own parser accepts are written.
    fn set(&mut self, name: &str, setting: Option<TomlLine>) {
        let is_good = |setting: &TomlLine| {
            let line = format!("{} = {}", setting.key, setting.value);
            super::load_text(&line, Path::new(name)).is_ok()
        };
        match setting.filter(is_good) {
            Some(setting) => {
                self.settings.retain(|other| other.key != setting.key);
                self.settings.push(setting);
            }
            None => self.doubt(name, NO_SENSE),
        }
    }

    fn leave(&mut self, name: &str, why: impl Into<String>) {
        self.nothing.push((name.to_owned(), why.into()));
    }

    fn doubt(&mut self, name: &str, why: impl Into<String>) {
        self.unclear.push((name.to_owned(), why.into()));
    }

    /// A schedule may name its time zone (robfig/cron), and excludes an interval.
    fn untangle_schedule(&mut self, told: &mut TranslationNote) {
        let Some((name, schedule)) = told.get_mut("schedule") else { return };
        let name = name.clone();
        let zoned = schedule.strip_prefix("CRON_TZ=").or_else(|| schedule.strip_prefix("TZ="));
        let zoned = zoned.and_then(|rest| rest.split_once(' '));
        let zoned = zoned.map(|(zone, rest)| (zone.to_owned(), rest.trim().to_owned()));
        if schedule.split_whitespace().count() == 5 {
            let why = "it has five fields and is read like crontab, minute first; Watchtower 1.7 \
                       took the first for seconds: look whether this is what you mean";
            self.leave(&name, why);
        }
        if let Some((zone, rest)) = zoned {
            *schedule = rest;
            told.insert("time-zone", (name, zone));
        }
        if let Some((name, _)) = told.remove("interval") {
            let why = "an interval and a schedule exclude each other: the schedule is written";
            self.doubt(&name, why);
        }
    }

    /// Watchtower's metrics are on the port of its API; in a container on all addresses.
    fn take_listen_address(&mut self, told: &TranslationNote) {
        let value = |flag| told.get(flag).map(|(_, value): &(String, String)| value.as_str());
        let Some((name, on)) = told.get("http-api-metrics") else { return };
        if is_on(on) == Some(true) {
            let host = value("http-api-host").unwrap_or("0.0.0.0");
            let port = value("http-api-port").unwrap_or("8080");
            let address = toml::Value::String(format!("{host}:{port}")).to_string();
            self.set(name, Some(TomlLine::new("listen.address", address)));
        }
    }

    /// Watchtower watches all containers by default. Exclusions are not part of Pilotfish's
    /// configuration, so with exclusions a container must ask to be watched.
    fn take_watched(&mut self, told: &TranslationNote) {
        let by_label =
            told.get("label-enable").is_some_and(|(_, value)| is_on(value) != Some(false));
        if self.is_narrowed && !by_label {
            let why = "not every container was updated: opt_in = true waits for the label \
                       pilotfish.enable=true on each that shall be";
            self.nothing.insert(0, ("opt_in".to_owned(), why.to_owned()));
        }
        let opts_in = by_label || self.is_narrowed;
        self.settings.insert(0, TomlLine::new("opt_in", opts_in.to_string()));
    }

    fn note_on_unknown_variables(&mut self, environment: &BTreeMap<String, String>) {
        let is_known = |name: &str| options().any(|option| option.variable_name() == name);
        for name in environment.keys() {
            if name.starts_with(VARIABLE_PREFIX) && !is_known(name) {
                self.doubt(name, "no variable of this name is known");
            }
        }
    }
}

/// A configuration file, with problems at the top, and the rest at the end.
impl fmt::Display for Translation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "# Translated from Watchtower, for Pilotfish: /etc/pilotfish/pilotfish.toml"
        )?;
        list(
            formatter,
            "COULD NOT BE READ, and is not in this file:",
            self.unclear.iter().cloned(),
        )?;
        let (top, below): (Vec<_>, Vec<_>) =
            self.settings.iter().partition(|setting| !setting.key.contains('.'));
        for setting in top {
            writeln!(formatter, "{} = {}", setting.key, setting.value)?;
        }
        let mut sections: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
        for setting in below {
            let (section, key) = setting.key.split_once('.').unwrap_or(("", setting.key));
            sections.entry(section).or_default().push((key, &setting.value));
        }
        for (section, lines) in sections {
            writeln!(formatter, "\n[{section}]")?;
            for (key, value) in lines {
                writeln!(formatter, "{key} = {value}")?;
            }
        }
        let anyway = self.anyway.iter().map(|(name, what)| (name.clone(), (*what).to_owned()));
        list(formatter, "Pilotfish does without a setting:", anyway)?;
        list(formatter, "Has no counterpart:", self.nothing.iter().cloned())
    }
}

fn list(
    formatter: &mut fmt::Formatter<'_>,
    heading: &str,
    lines: impl Iterator<Item = (String, String)>,
) -> fmt::Result {
    for (index, (name, text)) in lines.enumerate() {
        if index == 0 {
            writeln!(formatter, "\n# {heading}")?;
        }
        // A name may be any word of a command line: it must not end the comment.
        writeln!(formatter, "# - {}: {text}", shown(&name))?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
