//! The configuration: from a file, the environment and the command line to typed [`Settings`].
//!
//! There are three stages, which can be read one by one:
//! 1. *Fragments* (`file`, `environment`): the values of each place, as text, with their origin.
//!    Unknown keys and wrong TOML types are errors here.
//! 2. *Effective* (`effective`): the later place overrides: defaults, file, environment, command
//!    line.
//! 3. *Settings* (`settings`): every text is parsed. Wrong values are errors here, and the error
//!    still names the file and the line, the variable, or the command line.
//!
//! Nothing else in the program reads the environment.

mod bytes;
mod deployment;
mod docker;
mod effective;
mod environment;
mod error;
mod file;
mod fleet;
mod keys;
mod listed_table;
mod mirror;
mod mqtt;
mod push;
mod registries;
mod settings;
mod table;
mod time_zone;
mod webhook;
// From Watchtower's settings to Pilotfish's.
pub mod watchtower;

pub use deployment::{DeploymentSettings, DeploymentSource};
pub use docker::{DockerHost, DockerHostError, DockerTls};
pub use effective::Explained;
pub use environment::Environment;
pub use error::{ConfigError, ValueOrigin};
pub use file::{ConfigFile, DEFAULT_FILE};
pub use fleet::FleetSettings;
pub use keys::{
    DEPLOYMENT_KEYS, KEYS, Key, MIRROR_KEYS, PUSH_ALLOW_KEYS, REGISTRY_KEYS, SENDER_KEYS, ValueKind,
};
pub use mirror::MirrorSettings;
pub use mqtt::MqttSettings;
pub use push::{PushAddress, PushFiles, PushSettings};
pub use registries::RegistryHostSettings;
pub use settings::{LogFormat, LogLevel, Settings};
pub use webhook::{WebhookSenderSettings, WebhookSettings, WebhookTls};

use std::path::Path;

use effective::Effective;

/// All sources of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    pub file: ConfigFile,
    pub environment: Environment,
    /// Values from the command line: pairs of key (`schedule.every`) and value.
    pub flags: Vec<(String, String)>,
}

/// Reads a text as if it were the whole configuration.
///
/// # Errors
/// As [`load`].
pub fn load_text(text: &str, path: &Path) -> Result<Settings, ConfigError> {
    let file = file::parse(text, path)?;
    let mut effective = Effective::defaults();
    effective.overlay(file.fragments)?;
    Settings::from_effective(&effective, file.tables, &Environment::default())
}

/// Reads the whole configuration.
///
/// # Errors
/// The first error, as a sentence that names its origin and says what to do.
pub fn load(sources: &Sources) -> Result<Settings, ConfigError> {
    let file = file::read(&sources.file)?;
    let mut effective = Effective::defaults();
    effective.overlay(file.fragments)?;
    effective.overlay(environment::from_variables(&sources.environment)?)?;
    effective.overlay(environment::from_flags(&sources.flags)?)?;
    Settings::from_effective(&effective, file.tables, &sources.environment)
}
