//! The commands that ask about the agent itself: `status`, `healthcheck`, `config`.

use anyhow::Context as _;

use super::{CommandContext, Exit, print, say};
use crate::config::{self, ConfigFile, Environment, Sources, watchtower};
use crate::control::client::Control;
use crate::output;

/// `pilotfish status`: the state of the agent.
pub async fn status(setting: &CommandContext, json: bool) -> anyhow::Result<Exit> {
    let status = running(setting).await?.status().await?;
    if json {
        print(&output::status_json(&status)?)?;
    } else {
        print(&output::status(&status, &setting.settings.time_zone, setting.screen))?;
    }
    Ok(Exit::Done)
}

/// `pilotfish healthcheck`: whether the agent on this machine is healthy.
pub async fn healthcheck(setting: &CommandContext) -> anyhow::Result<Exit> {
    running(setting).await?.health().await?;
    Ok(Exit::Done)
}

/// The running agent; an error if there is none.
async fn running(setting: &CommandContext) -> anyhow::Result<Control> {
    let state_dir = &setting.settings.state_dir;
    Control::connect(state_dir).await?.with_context(|| {
        format!(
            "no agent runs with the state directory {}; `pilotfish run` or your service manager starts one",
            state_dir.display()
        )
    })
}

/// `pilotfish config`: the effective values with their origins.
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
