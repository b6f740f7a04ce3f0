//! What no force overrides: safety.

use super::{No, space};
use crate::core::decide::observation::{Readiness, Running};
use crate::core::decide::offer::Offer;
use crate::core::decide::reason::Reason;
use crate::core::docker::manifest;
use crate::core::recreate::dependents;

/// What no force overrides.
pub(super) fn safe(running: &Running, readiness: &Readiness, offer: &Offer) -> Result<(), No> {
    let hanging = dependents::dependents(&readiness.original, &readiness.others)
        .map_err(|error| No::new(Reason::CannotRecreate, error.to_string()))?;
    if let Some(first) = hanging.first() {
        let others = hanging.len() - 1;
        let more = if others > 0 { format!(", and {others} more") } else { String::new() };
        let detail = format!("{} {}{more}", first.name, first.how);
        return Err(No::new(Reason::HasDependents, detail));
    }
    if let Some(file) = readiness.declared_files.first() {
        let detail = format!(
            "{file} stands in the container's own layer, as an inline config or secret of Compose does"
        );
        return Err(No::new(Reason::CannotRecreate, detail));
    }
    if let Some(missing) = space::missing(readiness, offer) {
        return Err(No::new(Reason::DiskFull, missing));
    }
    if let Some(Err(detail)) = &readiness.probe {
        let detail = format!("the probe fails on the running container: {detail}");
        return Err(No::new(Reason::ProbeFailing, detail));
    }
    if !manifest::fits(&running.platform, &offer.platform) {
        let detail =
            format!("the image is for {}, this needs {}", offer.platform, running.platform);
        return Err(No::new(Reason::PlatformMissing, detail));
    }
    Ok(())
}
