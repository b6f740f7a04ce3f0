//! `pilotfish allow NAME`: forget the refused digests of a container.

use super::{CommandContext, Exit, print, via_agent};
use crate::agent::Allow;

/// Forgets the refused digests, and prints how many there were.
pub async fn allow(setting: &CommandContext, name: String) -> anyhow::Result<Exit> {
    let allowed = via_agent::ask(setting, Allow { container: name.clone() }).await?;
    print(&match allowed.digests {
        0 => format!("{name} had no refused digests.\n"),
        1 => format!("{name}: one refused digest is forgotten; the next round may try it again.\n"),
        count => format!(
            "{name}: {count} refused digests are forgotten; the next round may try them again.\n"
        ),
    })?;
    Ok(Exit::Done)
}
