//! Hooks of Compose files that no update runs: told once, and in each check.

use std::collections::BTreeMap;

use crate::core::docker::compose_file::{ComposeService, hooks};
use crate::core::policy::own_labels::{IgnoredFor, IgnoredLabels};
use crate::engine::Listed;
use crate::host::Host;

/// Most bytes of a Compose file that are read. A longer file is not looked at.
const COMPOSE_FILE_MAX: u64 = 256 * 1024;

/// What the Compose files of known containers say, by container ID. A file is read once for each
/// container: Compose takes up a changed file by creating a new one.
#[derive(Debug, Default)]
pub struct ComposeHooks {
    known: BTreeMap<String, Option<IgnoredLabels>>,
}

impl ComposeHooks {
    /// The hooks of these containers. A file that this agent cannot see has none.
    pub fn look<'a>(
        &mut self,
        host: &impl Host,
        watched: impl Iterator<Item = &'a Listed>,
    ) -> Vec<IgnoredLabels> {
        let before = std::mem::take(&mut self.known);
        for listed in watched {
            let known = before.get(&listed.id).cloned();
            let found = known.unwrap_or_else(|| of_container(host, listed));
            self.known.insert(listed.id.clone(), found);
        }
        self.known.values().flatten().cloned().collect()
    }
}

fn of_container(host: &impl Host, listed: &Listed) -> Option<IgnoredLabels> {
    let service = ComposeService::of(&listed.labels)?;
    let mut labels = BTreeMap::new();
    for path in &service.files {
        let Some(text) = host.small_text(path, COMPOSE_FILE_MAX) else { continue };
        let file = path.display().to_string();
        labels.extend(
            hooks(&text, &service.name).into_iter().map(|hook| (hook.into(), file.clone())),
        );
    }
    let because = IgnoredFor::ComposeHook;
    let found = IgnoredLabels { container: listed.name.clone(), because, labels, watched: true };
    (!found.labels.is_empty()).then_some(found)
}
