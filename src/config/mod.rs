//! The configuration: from a file, the environment and the command line to typed [`Settings`].
//!
//! In three stages, each of which can be looked at by itself:
//! 1. *Fragments* (`file`, `environment`): what each place says, as text, with where it stands.
//!    Unknown keys and wrong TOML types end here.
//! 2. *Effective* (`effective`): the later place wins: defaults, file, environment, command line.
//! 3. *Settings* (`settings`): every text is understood. Wrong values end here, and the error
//!    still knows the file and the line, the variable, or that it was the command line.
//!
//! Nothing else in the program reads the environment.

mod docker;
mod effective;
mod environment;
mod error;
mod file;
mod keys;
mod registries;
mod settings;
mod table;
mod time_zone;
// From Watchtower's settings to ours.
pub mod watchtower;

pub use docker::{DockerHost, DockerHostError, DockerTls};
pub use effective::Explained;
pub use environment::Environment;
pub use error::{ConfigError, ValueOrigin};
pub use file::{ConfigFile, DEFAULT_FILE};
pub use keys::{KEYS, Key, REGISTRY_KEYS, ValueKind};
pub use registries::RegistryHostSettings;
pub use settings::{LogFormat, LogLevel, Settings, WebhookSettings};

use std::path::Path;

use effective::Effective;

/// Everything that has a say.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Which file is read.
    pub file: ConfigFile,
    /// The surroundings of the process.
    pub environment: Environment,
    /// What the command line sets: pairs of key (`schedule.every`) and value.
    pub flags: Vec<(String, String)>,
}

/// Reads and understands a text as if it were the whole configuration.
///
/// # Errors
/// As [`load`].
pub fn load_text(text: &str, path: &Path) -> Result<Settings, ConfigError> {
    let file = file::parse(text, path)?;
    let mut effective = Effective::defaults();
    effective.overlay(file.fragments)?;
    Settings::from_effective(&effective, file.registries, &Environment::default())
}

/// Reads and understands the whole configuration.
///
/// # Errors
/// The first thing that is wrong, as a sentence that says where it stands and what to do.
pub fn load(sources: &Sources) -> Result<Settings, ConfigError> {
    let file = file::read(&sources.file)?;
    let mut effective = Effective::defaults();
    effective.overlay(file.fragments)?;
    effective.overlay(environment::from_variables(&sources.environment)?)?;
    effective.overlay(environment::from_flags(&sources.flags)?)?;
    Settings::from_effective(&effective, file.registries, &sources.environment)
}
