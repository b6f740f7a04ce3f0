//! The rollback of a service: the specification names the old image again, and every place serves
//! with it.

use tokio::time::Instant;

use super::{ServiceUpdate, spec_of, swarm};
use crate::core::service::progress::ServiceStep;
use crate::core::service::rollback::{RollbackMove, next_move};
use crate::core::service::watch::ServiceLook;
use crate::core::time::duration::format_duration;
use crate::core::update::Mark;
use crate::execute::StepError;
use crate::ports::Ports;

impl<P: Ports> ServiceUpdate<'_, P> {
    /// Brings every place back to the old image. Doing it twice changes nothing.
    pub(super) async fn roll_back(&mut self) -> Result<(), StepError> {
        let begun = Instant::now();
        let mut last_change = begun;
        loop {
            // A service that is gone has nothing to go back to.
            let Some((service, look)) = self.look().await? else { return Ok(()) };
            if self.brings_nodes_back(&service, &look).await? {
                last_change = Instant::now();
                swarm::pause(look.tasks.len()).await;
                continue;
            }
            let header = &self.journal.header;
            let (spec, detail) = match next_move(&header.plan, last_change.elapsed(), &look) {
                RollbackMove::Done | RollbackMove::Leave => {
                    return self.write_gap(Mark::UndoDone, &look);
                }
                RollbackMove::Wait(missing) => {
                    self.check_rollback_limit(begun, &look, &missing)?;
                    if self.context.stop.is_cancelled() {
                        return Err(StepError::Asked);
                    }
                    swarm::pause(look.tasks.len()).await;
                    continue;
                }
                RollbackMove::Write => {
                    let detail = format!("the service goes back to {}", header.plan.old_image);
                    (header.spec_of_rollback(spec_of(&service)), detail)
                }
                RollbackMove::Replace(slots) => {
                    let detail = "the rollback hangs, so a task is replaced once more".to_owned();
                    (header.spec_of_help(spec_of(&service), &slots), detail)
                }
            };
            self.warn(detail);
            self.write(ServiceStep::Update, Mark::UndoStarted)?;
            if self.change_if_possible(&look, &spec).await? {
                last_change = Instant::now();
            }
            swarm::pause(look.tasks.len()).await;
        }
    }

    fn check_rollback_limit(
        &self,
        begun: Instant,
        look: &ServiceLook,
        missing: &str,
    ) -> Result<(), StepError> {
        let limit = self.plan().rollback_limit(look);
        if begun.elapsed() < limit {
            return Ok(());
        }
        let limit = format_duration(limit);
        Err(StepError::surroundings(format!("the rollback did not end within {limit}: {missing}")))
    }
}
