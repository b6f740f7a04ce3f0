//! The hooks that run in new containers after their start, beside their trial.
//!
//! They belong to the person, not to the image: whatever comes of one is said, and decides
//! nothing. Each is begun once: the entry of the first verification is on the disk before. An
//! update that is taken up behind it knows that they were begun, and says that nobody saw their
//! end.

use super::{StepError, Update};
use crate::core::policy::hooks::{Hook, Moment};
use crate::exec::hook::{self, HookError};
use crate::ports::Ports;

impl<P: Ports> Update<'_, P> {
    /// Runs the hooks of all new containers, each behind those of what it hangs on.
    pub(super) async fn run_post_update(
        &self,
        post_update_hooks: Vec<(usize, String, Hook)>,
    ) -> Result<(), StepError> {
        for (number, id, hook) in post_update_hooks {
            match hook::run(self.ports, self.stop, &id, &hook).await {
                Ok(()) => {}
                Err(HookError::Asked) => return Err(StepError::Asked),
                Err(HookError::Failed(why)) => self.complain(number, &why),
            }
        }
        Ok(())
    }

    /// The hooks that are to be run now: all of them the first time, none ever after.
    pub(super) fn post_update_hooks(
        &mut self,
        new: &[(usize, String)],
    ) -> Vec<(usize, String, Hook)> {
        let hooks = new.iter().filter_map(|(number, id)| {
            let hook = self.plan().member(*number).post_update.clone()?;
            Some((*number, id.clone(), hook))
        });
        let hooks: Vec<_> = hooks.collect();
        if self.journal.progress.verifications <= 1 {
            self.has_run_post_update = true;
            return hooks;
        }
        if !self.has_run_post_update {
            for (number, ..) in &hooks {
                let why = "was begun before the update was cut short, and may not have come to its \
                           end; it is not run again";
                self.complain(*number, why);
            }
            self.has_run_post_update = true;
        }
        Vec::new()
    }

    fn complain(&self, number: usize, why: &str) {
        self.warn(self.plan().naming(number, format!("the {} hook {why}", Moment::PostUpdate)));
    }
}
