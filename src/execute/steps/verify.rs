//! Step 6, verify: the trial of the new containers, and dependents that a person recreates during
//! it.

use crate::core::update::{Mark, Note, Step};
use crate::execute::external_changes::await_replacement;
use crate::execute::inspector::Inspector;
use crate::execute::verification::{HealthWatch, PostUpdateHooks, Verification, VerificationStage};
use crate::execute::{StepError, UpdateContext};
use crate::journal::{JournalError, UpdateJournal};
use crate::ports::Ports;

/// Watches all new containers until there is a verdict.
///
/// The verdict counts only if the Engine did not restart: its event streams, opened before the
/// start, must not have ended. A resumed verification starts again, with the whole time of the
/// policies.
pub(in crate::execute) async fn verify<P: Ports>(
    context: UpdateContext<'_, P>,
    journal: &mut UpdateJournal,
    watches: &mut Vec<HealthWatch>,
    hooks: &mut PostUpdateHooks,
) -> Result<(), StepError> {
    loop {
        let inspector = Inspector::of(context.ports.engine(), journal);
        let stage = match inspector.plan().strategy.starts_first() {
            true => VerificationStage::HandedOver,
            false => VerificationStage::Alone,
        };
        let mut verification = Verification { context, inspector, hooks, stage };
        match verification.run(std::mem::take(watches)).await {
            Err(StepError::Meddled { number, detail }) => {
                let is_theirs = await_replacement(inspector, context.stop, number).await?;
                if inspector.plan().member(number).update().is_some() || !is_theirs {
                    return Err(StepError::Meddled { number, detail });
                }
                release(context, journal, number)?;
            }
            done => return done,
        }
    }
}

/// Continues without a dependent that a person recreated: it is not part of the update any more.
fn release<P: Ports>(
    context: UpdateContext<'_, P>,
    journal: &mut UpdateJournal,
    number: usize,
) -> Result<(), JournalError> {
    let plan = &journal.header.plan;
    let name = &plan.member(number).container;
    let detail =
        format!("a person or another program recreated {name}; the update continues without it");
    context.warn(plan, detail);
    let note = Note { released: vec![number], ..Note::default() };
    context.write(journal, Step::Verify, Mark::Started, note)
}
