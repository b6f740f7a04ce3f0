//! The commands that ask about the agent itself: `status`, `healthcheck`, `config`.

use anyhow::Context as _;

use super::{CommandContext, Exit, print, say};
use crate::config::{self, ConfigFile, Environment, Sources, watchtower};
use crate::control::client::Control;
use crate::documents::Status;
use crate::output;

/// `pilotfish status`: the agent as it stands.
pub async fn status(setting: &CommandContext, json: bool) -> anyhow::Result<Exit> {
    let answer = running(setting).await?.status().await?;
    let status = Status::new(&answer.version, answer.pid, &answer.snapshot);
    if json {
        print(&output::status_json(&status)?)?;
    } else {
        print(&output::status(&status, &setting.settings.time_zone, setting.screen))?;
    }
    Ok(Exit::Done)
}

/// `pilotfish healthcheck`: whether the agent on this machine is well.
pub async fn healthcheck(setting: &CommandContext) -> anyhow::Result<Exit> {
    running(setting).await?.health().await?;
    Ok(Exit::Done)
}

/// The agent, which must run.
async fn running(setting: &CommandContext) -> anyhow::Result<Control> {
    let state_dir = &setting.settings.state_dir;
    Control::connect(state_dir).await?.with_context(|| {
        format!(
            "no agent runs with the state directory {}; `pilotfish run` or your service manager starts one",
            state_dir.display()
        )
    })
}

/// `pilotfish config`: the effective values and where each came from.
pub fn config(setting: &CommandContext) -> anyhow::Result<Exit> {
    print(&output::config(setting.settings.explain(), setting.screen))?;
    Ok(Exit::Done)
}

/// `pilotfish config --check FILE`: whether a file is valid, by itself.
pub fn check_config(file: &std::path::Path) -> anyhow::Result<Exit> {
    let environment =
        Environment { local_zone: Environment::of_process().local_zone, ..Environment::default() };
    let sources =
        Sources { file: ConfigFile::Required(file.to_owned()), environment, ..Sources::default() };
    config::load(&sources)?;
    print(&format!("{} is valid.\n", file.display()))?;
    Ok(Exit::Done)
}

/// `pilotfish config --from-watchtower FILE`: what a Watchtower was told, as our configuration.
pub fn from_watchtower(file: &std::path::Path) -> anyhow::Result<Exit> {
    let text = if file == std::path::Path::new("-") {
        std::io::read_to_string(std::io::stdin()).context("standard input cannot be read")?
    } else {
        std::fs::read_to_string(file)
            .with_context(|| format!("{} cannot be read", file.display()))?
    };
    let started =
        watchtower::read(&text).with_context(|| format!("{} is of no use", file.display()))?;
    let translation = watchtower::translate(&started);
    let made = translation.to_string();
    config::load_text(&made, file).context("what was made of it is no valid configuration")?;
    print(&made)?;
    if translation.is_whole() {
        return Ok(Exit::Done);
    }
    say("not everything was understood: the file names it at its beginning");
    Ok(Exit::Failed)
}
