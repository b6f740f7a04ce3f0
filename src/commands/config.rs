//! `pilotfish config`: the effective configuration; `--check` and `--from-watchtower`.

use anyhow::Context as _;

use super::{CommandContext, Exit, print, say};
use crate::config::{self, ConfigFile, Environment, Sources, watchtower};
use crate::output;

/// `pilotfish config`: the effective values and where each came from.
pub fn config(setting: &CommandContext) -> anyhow::Result<Exit> {
    print(&output::config(setting.settings.explain(), setting.screen))?;
    Ok(Exit::Done)
}

/// `pilotfish config --check FILE`: whether a file alone is valid.
pub fn check_config(file: &std::path::Path) -> anyhow::Result<Exit> {
    let environment =
        Environment { local_zone: Environment::of_process().local_zone, ..Environment::default() };
    let sources =
        Sources { file: ConfigFile::Required(file.to_owned()), environment, ..Sources::default() };
    config::load(&sources)?;
    print(&format!("{} is valid.\n", file.display()))?;
    Ok(Exit::Done)
}

/// `pilotfish config --from-watchtower FILE`: Watchtower's options as Pilotfish's configuration.
pub fn from_watchtower(file: &std::path::Path) -> anyhow::Result<Exit> {
    let text = if file == std::path::Path::new("-") {
        std::io::read_to_string(std::io::stdin()).context("standard input cannot be read")?
    } else {
        std::fs::read_to_string(file)
            .with_context(|| format!("{} cannot be read", file.display()))?
    };
    let started =
        watchtower::read(&text).with_context(|| format!("{} cannot be used", file.display()))?;
    let translation = watchtower::translate(&started);
    let made = translation.to_string();
    config::load_text(&made, file).context("the result is not a valid configuration")?;
    print(&made)?;
    if translation.is_whole() {
        return Ok(Exit::Done);
    }
    say("not everything could be read: the file lists the problems at its beginning");
    Ok(Exit::Failed)
}
