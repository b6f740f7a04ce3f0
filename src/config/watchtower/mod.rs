//! From Watchtower's environment and flags to our configuration, and what has no counterpart.
//!
//! The names are those of containrrr/watchtower 1.7.1 and nicholas-fedor/watchtower 1.21. Values
//! of what has no counterpart are never repeated: notification URLs carry tokens.

mod options;
mod outward;
mod source;

use std::collections::BTreeMap;
use std::fmt;

use options::{Becomes, OPTIONS, Setting, VARIABLE_PREFIX, WatchtowerOption};
use outward::OUTWARD;
pub use source::{SourceError, read};

/// How often Watchtower looks where nobody says it.
const WATCHTOWERS_INTERVAL: &str = "\"24h\"";

/// How a Watchtower was started: its environment, and the words behind its program's name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Started {
    /// Variables with their values.
    pub environment: BTreeMap<String, String>,
    /// Flags, and names of containers.
    pub words: Vec<String>,
}

/// Our configuration, and what is left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Translation {
    settings: Vec<Setting>,
    /// What Pilotfish does without being told.
    anyway: Vec<(String, &'static str)>,
    /// What has no counterpart, and why.
    nothing: Vec<(String, String)>,
}

/// Translates what a Watchtower was told.
#[must_use]
pub fn translate(started: &Started) -> Translation {
    let mut translation = Translation::default();
    let mut told = BTreeMap::new();
    for option in options() {
        let variable = option.variable_name();
        if let Some(value) = started.environment.get(&variable).filter(|it| !it.is_empty()) {
            told.insert(option.flag, (variable, value.clone()));
        }
    }
    // Flags win over the environment, as they do there.
    translation.take_words(&started.words, &mut told);
    translation.note_on_unknown_variables(&started.environment);
    let opts_in = told.get("label-enable").is_some_and(|(_, value)| value == "true");
    translation.settings.push(Setting::new("opt_in", opts_in.to_string()));
    translation.settings.push(Setting::new("compat.watchtower", "true".to_owned()));
    if !told.contains_key("interval") && !told.contains_key("schedule") {
        translation.settings.push(Setting::new("schedule.every", WATCHTOWERS_INTERVAL.to_owned()));
    }
    for option in options() {
        if let Some((name, value)) = told.get(option.flag) {
            translation.take(name, value, option);
        }
    }
    translation
}

/// Every option of Watchtower's.
fn options() -> impl Iterator<Item = &'static WatchtowerOption> {
    OPTIONS.iter().chain(OUTWARD)
}

impl Translation {
    fn take(&mut self, name: &str, value: &str, option: &WatchtowerOption) {
        match option.becomes {
            _ if value == "false" && !option.takes_value => {}
            Becomes::Setting(translate) => match translate(value) {
                Some(setting) => self.settings.push(setting),
                None => self.leave(name, "its value could not be understood"),
            },
            Becomes::Told => {}
            Becomes::Anyway(what) => self.anyway.push((name.to_owned(), what)),
            Becomes::Nothing(why) => self.leave(name, why),
        }
    }

    fn leave(&mut self, name: &str, why: impl Into<String>) {
        self.nothing.push((name.to_owned(), why.into()));
    }

    fn take_words(
        &mut self,
        words: &[String],
        told: &mut BTreeMap<&'static str, (String, String)>,
    ) {
        let mut words = words.iter().map(String::as_str).peekable();
        while let Some(word) = words.next() {
            let Some(flag) = word.strip_prefix('-') else {
                let why = "it alone was watched: opt it in with the label pilotfish.enable=true, \
                           and set opt_in = true";
                self.leave(word, why);
                continue;
            };
            let (flag, value) = match flag.split_once('=') {
                Some((flag, value)) => (flag, Some(value)),
                None => (flag, None),
            };
            let long = flag.strip_prefix('-');
            let is_it = |option: &&WatchtowerOption| match long {
                Some(long) => option.flag == long,
                None => option.short == Some(flag),
            };
            let Some(option) = options().find(is_it) else {
                self.leave(&format!("-{flag}"), "Watchtower has no such flag");
                continue;
            };
            let value = match value {
                Some(value) => value,
                None if option.takes_value => words.next().unwrap_or_default(),
                None => "true",
            };
            told.insert(option.flag, (format!("--{}", option.flag), value.to_owned()));
        }
    }

    fn note_on_unknown_variables(&mut self, environment: &BTreeMap<String, String>) {
        let is_known = |name: &str| options().any(|option| option.variable_name() == name);
        for name in environment.keys() {
            if name.starts_with(VARIABLE_PREFIX) && !is_known(name) {
                self.leave(name, "no variable of this name is known");
            }
        }
    }
}

/// A configuration file, with what is left as comments at its end.
impl fmt::Display for Translation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "# What Watchtower was told, for Pilotfish: /etc/pilotfish/pilotfish.toml"
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
        let anyway = self.anyway.iter().map(|(name, what)| (name.as_str(), *what));
        list(formatter, "Pilotfish does without being told:", anyway)?;
        let nothing = self.nothing.iter().map(|(name, why)| (name.as_str(), why.as_str()));
        list(formatter, "Has no counterpart:", nothing)
    }
}

fn list<'a>(
    formatter: &mut fmt::Formatter<'_>,
    heading: &str,
    lines: impl Iterator<Item = (&'a str, &'a str)>,
) -> fmt::Result {
    for (index, (name, text)) in lines.enumerate() {
        if index == 0 {
            writeln!(formatter, "\n# {heading}")?;
        }
        writeln!(formatter, "# - {name}: {text}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(environment: &[(&str, &str)], words: &[&str]) -> Started {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Started {
            environment: environment.iter().map(pair).collect(),
            words: words.iter().map(|word| (*word).to_owned()).collect(),
        }
    }

    #[test]
    fn flags_win_over_the_environment_and_everything_is_accounted_for() {
        let page = translate(&started(
            &[
                ("WATCHTOWER_POLL_INTERVAL", "300"),
                ("WATCHTOWER_CLEANUP", "true"),
                ("WATCHTOWER_NOTIFICATION_URL", "discord://token@id"),
                ("WATCHTOWER_SCOPE", "shop"),
                ("WATCHTOWER_HTTP_API_METRICS", "false"),
                ("WATCHTOWER_PONDER", "1"),
                ("TZ", "Europe/Berlin"),
                ("PATH", "/"),
            ],
            &["--interval", "60", "--label-enable", "-t=30s", "till"],
        ))
        .to_string();
        assert_eq!(
            page,
            "\
# What Watchtower was told, for Pilotfish: /etc/pilotfish/pilotfish.toml
opt_in = true
time_zone = \"Europe/Berlin\"

[compat]
watchtower = true
scope = \"shop\"

[schedule]
every = \"60s\"

# Pilotfish does without being told:
# - WATCHTOWER_CLEANUP: previous images beyond images.keep are removed

# Has no counterpart:
# - till: it alone was watched: opt it in with the label pilotfish.enable=true, and set opt_in = true
# - WATCHTOWER_PONDER: no variable of this name is known
# - --stop-timeout: each container is given its own time (docker run --stop-timeout)
# - WATCHTOWER_NOTIFICATION_URL: Pilotfish sends no messages; Prometheus does, by the alerts in deploy/alerts.yml
"
        );
    }

    /// What each option becomes: a line of ours, or the word that its reason is known by.
    #[test]
    fn every_option_has_its_row() {
        let rows = include_str!("options.txt").lines().filter(|line| !line.starts_with('#'));
        let mut variables = Vec::new();
        for row in rows {
            let (variable, rest) = row.split_once('=').expect("VARIABLE=VALUE | BECOMES");
            let (value, expected) = rest.split_once(" | ").expect("VARIABLE=VALUE | BECOMES");
            let page = translate(&started(&[(variable, value)], &[])).to_string();
            let line = page.lines().find(|line| line.contains(expected));
            let line = line.unwrap_or_else(|| panic!("{row}:\n{page}"));
            assert!(!line.starts_with("# -") || line.contains(variable), "{row}:\n{page}");
            // The flag says the same as the variable.
            let option = options().find(|option| option.variable_name() == variable).expect(row);
            let flag = [format!("--{}", option.flag), value.to_owned()];
            let words = if option.takes_value { &flag[..] } else { &flag[..1] };
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            let by_flag = translate(&started(&[], &words)).to_string();
            assert_eq!(by_flag.replacen(&flag[0], variable, 1), page, "{row}");
            variables.push(variable);
        }
        let all: Vec<_> = options().map(WatchtowerOption::variable_name).collect();
        let unproved: Vec<_> = all.iter().filter(|it| !variables.contains(&it.as_str())).collect();
        assert!(unproved.is_empty(), "options.txt has no row for {unproved:?}");
    }

    #[test]
    fn without_a_word_watchtower_watches_everybody_once_a_day() {
        let page = translate(&Started::default()).to_string();
        assert!(page.contains("\nopt_in = false\n"), "{page}");
        assert!(page.contains("\nevery = \"24h\"\n"), "{page}");
    }

    #[test]
    fn a_value_that_makes_no_sense_is_named_and_not_repeated() {
        let page =
            translate(&started(&[("WATCHTOWER_POLL_INTERVAL", "soon")], &["--nonsense=1", "-"]));
        let page = page.to_string();
        assert!(page.contains("# - WATCHTOWER_POLL_INTERVAL: its value could not be"), "{page}");
        assert!(page.contains("# - --nonsense: Watchtower has no such flag"), "{page}");
        assert!(page.contains("# - -: Watchtower has no such flag"), "{page}");
        assert!(!page.contains("soon"));
    }
}
