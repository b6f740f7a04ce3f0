//! The second stage: the values that count, still as text, with their origin.

use std::collections::BTreeMap;
use std::fmt;

use crate::config::environment::Fragment;
use crate::config::error::{ConfigError, ValueOrigin};
use crate::config::keys::KEYS;

const EVERY: &str = "schedule.every";
const CRON: &str = "schedule.cron";

/// One value of the configuration, with its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// The whole key; for a value that only Docker's variables set, the variable.
    pub key: String,
    /// The value as it was written. Never a password: there is no key for one.
    pub value: String,
    pub origin: ValueOrigin,
}

/// One value for each key that has one.
#[derive(Debug)]
pub(super) struct Effective(BTreeMap<&'static str, (String, ValueOrigin)>);

impl Effective {
    /// The default values.
    pub(super) fn defaults() -> Self {
        let default = |(name, default): (&'static str, Option<&str>)| {
            Some((name, (default?.to_owned(), ValueOrigin::Default)))
        };
        Self(KEYS.iter().map(|key| (key.name, key.default)).filter_map(default).collect())
    }

    /// Adds the values of one place, which override earlier ones.
    ///
    /// The two forms of a schedule are alternatives: setting one of them removes the other.
    pub(super) fn overlay(&mut self, fragments: Vec<Fragment>) -> Result<(), ConfigError> {
        let form = |name: &str| fragments.iter().rposition(|fragment| fragment.key.name == name);
        if let (Some(every), Some(cron)) = (form(EVERY), form(CRON)) {
            let second = &fragments[every.max(cron)];
            return Err(ConfigError::TwoSchedules { origin: second.origin.clone() });
        }
        for fragment in fragments {
            match fragment.key.name {
                EVERY => self.0.remove(CRON),
                CRON => self.0.remove(EVERY),
                _ => None,
            };
            self.0.insert(fragment.key.name, (fragment.value, fragment.origin));
        }
        Ok(())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Reads one value; an error names it and its origin.
    pub(super) fn read<T, E: fmt::Display>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, ConfigError> {
        let (value, origin) = match self.0.get(name) {
            Some((value, origin)) => (value.as_str(), origin.clone()),
            None => ("", ValueOrigin::Default),
        };
        parse(value).map_err(|error| ConfigError::BadValue {
            key: name.to_owned(),
            origin,
            value: value.to_owned(),
            why: error.to_string(),
        })
    }

    /// All values, in the order of the documentation.
    pub(super) fn explain(&self) -> Vec<Explained> {
        let explained = |name: &str| {
            let (value, origin) = self.0.get(name)?.clone();
            Some(Explained { key: name.to_owned(), value, origin })
        };
        KEYS.iter().filter_map(|key| explained(key.name)).collect()
    }
}
