//! The first stage for everything except the file: the environment and the command line.

use std::collections::BTreeMap;

use crate::config::error::{ConfigError, ValueOrigin};
use crate::config::keys::{self, KEYS, Key, REGISTRIES, VARIABLE_PREFIX};
use crate::core::text::nearest;

/// Docker's own variable for the Engine; `PILOTFISH_DOCKER_HOST` overrides it.
pub(super) const DOCKER_HOST: &str = "DOCKER_HOST";
/// Docker's own variable: any value except an empty one verifies the Engine's certificate.
pub(super) const DOCKER_TLS_VERIFY: &str = "DOCKER_TLS_VERIFY";
/// Docker's own variable: the directory of `ca.pem`, `cert.pem` and `key.pem`.
pub(super) const DOCKER_CERT_PATH: &str = "DOCKER_CERT_PATH";

/// The environment of the process, as a plain value, so that tests need no process.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    pub variables: BTreeMap<String, String>,
    /// The name of the machine's time zone (`/etc/localtime`, `/etc/timezone`), if it has one.
    pub local_zone: Option<String>,
}

impl Environment {
    /// The environment of this process and this machine.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
    pub fn of_process() -> Self {
        // Text that is not UTF-8 becomes a value that no key accepts, and an error names it.
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        Self {
            variables: std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect(),
            local_zone: iana_time_zone::get_timezone().ok(),
        }
    }

    /// A variable that is set and not empty.
    pub(super) fn filled(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// One value from one place, not yet parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fragment {
    pub(super) key: Key,
    pub(super) value: String,
    pub(super) origin: ValueOrigin,
}

/// The values from the environment, Docker's variable first, so that Pilotfish's overrides it.
pub(super) fn from_variables(environment: &Environment) -> Result<Vec<Fragment>, ConfigError> {
    let mut fragments = Vec::new();
    if let (Some(value), Some(key)) = (environment.filled(DOCKER_HOST), Key::find("docker_host")) {
        let origin = ValueOrigin::Variable(DOCKER_HOST.to_owned());
        fragments.push(Fragment { key, value: value.to_owned(), origin });
    }
    for (name, value) in &environment.variables {
        let Some(behind) = name.strip_prefix(VARIABLE_PREFIX) else { continue };
        let Some(key) = KEYS.into_iter().find(|key| key.variable() == *name) else {
            return Err(unknown_variable(name, behind));
        };
        let origin = ValueOrigin::Variable(name.clone());
        fragments.push(Fragment { key, value: value.clone(), origin });
    }
    Ok(fragments)
}

fn unknown_variable(name: &str, behind: &str) -> ConfigError {
    let variables = KEYS.map(Key::variable);
    let ours = variables.iter().filter_map(|variable| variable.strip_prefix(VARIABLE_PREFIX));
    let hint = if behind.to_lowercase().starts_with(REGISTRIES) {
        "; registries have no variables: write them in the configuration file".to_owned()
    } else if [DOCKER_TLS_VERIFY, DOCKER_CERT_PATH].contains(&behind) {
        format!("; did you mean `{behind}`?")
    } else {
        let suggestion = nearest(behind, ours);
        suggestion.map_or_else(String::new, |suggestion| {
            format!("; did you mean `{VARIABLE_PREFIX}{suggestion}`?")
        })
    };
    ConfigError::UnknownVariable { variable: name.to_owned(), hint }
}

/// The values from the command line, as pairs of key and value.
pub(super) fn from_flags(flags: &[(String, String)]) -> Result<Vec<Fragment>, ConfigError> {
    let fragment = |(name, value): &(String, String)| match Key::find(name) {
        Some(key) => Ok(Fragment { key, value: value.clone(), origin: ValueOrigin::Flag }),
        None => Err(ConfigError::UnknownKey {
            key: name.clone(),
            origin: ValueOrigin::Flag,
            hint: keys::hint(name),
        }),
    };
    flags.iter().map(fragment).collect()
}
