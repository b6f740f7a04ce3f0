//! The trial of new containers that were started while the old ones serve. A failure costs no gap.

use crate::execute::external_changes::check_old_containers_run;
use crate::execute::inspector::Inspector;
use crate::execute::verification::{HealthWatch, PostUpdateHooks, Verification, VerificationStage};
use crate::execute::{StepError, UpdateContext};
use crate::ports::Ports;

/// Watches the new containers until they have proved themselves. Nobody knows their names yet.
pub(in crate::execute) async fn prove<P: Ports>(
    context: UpdateContext<'_, P>,
    inspector: Inspector<'_, P::Engine>,
    watches: &mut Vec<HealthWatch>,
    hooks: &mut PostUpdateHooks,
) -> Result<(), StepError> {
    let mut verification =
        Verification { context, inspector, hooks, stage: VerificationStage::Beside };
    verification.run(std::mem::take(watches)).await?;
    check_old_containers_run(inspector).await
}
