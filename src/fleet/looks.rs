//! The looks at registries that announcements ask for, each at the device's turn.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::core::docker::reference::Reference;
use crate::core::docker::webhook::Push;
use crate::core::fleet::topic::whole_name;

/// The looks that are due later. There is at most one for each reference that the device follows.
#[derive(Debug, Default)]
pub(super) struct DueLooks(BTreeMap<String, (Instant, Push)>);

impl DueLooks {
    /// A look is due after this time.
    pub(super) fn add(&mut self, reference: Reference, after: Duration) {
        let Some(name) = whole_name(&reference) else { return };
        let Reference { registry, repository, tag, .. } = reference;
        // The digest of the announcement is not passed on: the registry stays the truth.
        let push = Push { registry: Some(registry), repository, tag, digest: None };
        self.0.insert(name, (Instant::now() + after, push));
    }

    /// When the next look is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().map(|(at, _)| *at).min()
    }

    /// The looks that are due now; they are no longer kept.
    pub(super) fn take(&mut self) -> Vec<Push> {
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut self.0).into_iter().partition(|(_, it)| it.0 <= now);
        self.0 = later;
        let due: BTreeMap<String, (Instant, Push)> = due;
        due.into_values().map(|(_, push)| push).collect()
    }
}
