//! The first stage for what is not the file: the environment and the command line.

use std::collections::BTreeMap;

use crate::config::error::{ConfigError, ValueOrigin};
use crate::config::keys::{self, KEYS, Key, REGISTRIES, VARIABLE_PREFIX};
use crate::core::text::nearest;

/// Docker's own variable for the Engine; `PILOTFISH_DOCKER_HOST` wins over it.
pub(super) const DOCKER_HOST: &str = "DOCKER_HOST";
/// Docker's own variable: anything but empty verifies the Engine's certificate.
pub(super) const DOCKER_TLS_VERIFY: &str = "DOCKER_TLS_VERIFY";
/// Docker's own variable: where `ca.pem`, `cert.pem` and `key.pem` are.
pub(super) const DOCKER_CERT_PATH: &str = "DOCKER_CERT_PATH";

/// What the surroundings of the process say. A plain value, so that tests need no process.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// The environment variables.
    pub variables: BTreeMap<String, String>,
    /// What the machine calls its time zone (`/etc/localtime`, `/etc/timezone`), if it has a name.
    pub local_zone: Option<String>,
}

impl Environment {
    /// That of this process and this machine.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
    pub fn of_process() -> Self {
        // What is not UTF-8 becomes a value that no key takes, and is then named.
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

/// One value from one place, not yet understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fragment {
    pub(super) key: Key,
    pub(super) value: String,
    pub(super) origin: ValueOrigin,
}

/// What the environment sets, Docker's variable first, so that ours wins.
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
        let meant = nearest(behind, ours);
        meant
            .map_or_else(String::new, |meant| format!("; did you mean `{VARIABLE_PREFIX}{meant}`?"))
    };
    ConfigError::UnknownVariable { variable: name.to_owned(), hint }
}

/// What the command line sets, as pairs of key and value.
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
