//! What to do with the open update of a service, from its journal and what the Swarm says.
//!
//! The Swarm keeps the specification and goes on without the agent, but it keeps no verdict. So a
//! watch that was interrupted begins anew, and what a person has deployed in the meantime stays.

use crate::core::service::facts::{ServiceFacts, UpdateState};
use crate::core::service::plan::ServiceHeader;
use crate::core::service::progress::{ServiceProgress, ServiceStep};
use crate::core::update::history::Cause;

/// How the update of a service continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceResume {
    /// The specification was never changed: the update ends, and a later round decides again.
    NeverBegun,
    /// The new image is written: every place must prove itself.
    Watch,
    /// Every place has proved itself: only the user's settings are missing.
    Settle,
    /// The specification names the new image and must name the old one again.
    GoBack(Cause),
    /// The specification names the old image again: every place must come back to it.
    WatchRollback(Cause),
    /// A person has changed or removed the service: it stays as it is.
    Yield(String),
}

/// How the update continues; `facts` is `None` if the service is gone.
#[must_use]
pub fn resume(
    header: &ServiceHeader,
    progress: &ServiceProgress,
    facts: Option<&ServiceFacts>,
) -> ServiceResume {
    let plan = &header.plan;
    let Some(facts) = facts else {
        return ServiceResume::Yield("the service was removed during the update".into());
    };
    let failed = progress.failed.clone();
    if facts.image == plan.new_image {
        return match failed {
            Some(cause) => ServiceResume::GoBack(cause),
            None if progress.done >= Some(ServiceStep::Watch) => ServiceResume::Settle,
            None => ServiceResume::Watch,
        };
    }
    let is_old = facts.image == plan.image || facts.image == plan.old_image;
    if !is_old {
        let detail = format!("{} was deployed during the update", facts.image);
        return ServiceResume::Yield(detail);
    }
    let has_begun = progress.begun >= Some(ServiceStep::Update);
    match failed {
        Some(cause) if has_begun => ServiceResume::WatchRollback(cause),
        None if has_begun && facts.state.is_rollback() => {
            ServiceResume::WatchRollback(of_swarm(facts))
        }
        _ => ServiceResume::NeverBegun,
    }
}

/// The cause of a rollback that Swarm began by itself, and whose failed task is not known any more.
fn of_swarm(facts: &ServiceFacts) -> Cause {
    let how = if facts.state == UpdateState::RollbackPaused { ", and then paused it" } else { "" };
    Cause::image(format!("a task failed, and Swarm began the rollback{how}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::service::recorded::{header, look};

    fn progress(begun: ServiceStep, done: Option<ServiceStep>, failed: bool) -> ServiceProgress {
        let failed = failed.then(|| Cause::image("it failed"));
        ServiceProgress { begun: Some(begun), done, failed, ..ServiceProgress::default() }
    }

    #[test]
    fn the_specification_and_the_journal_say_how_to_go_on() {
        use ServiceStep::{Pull, Settle, Update, Watch};
        let cause = || Cause::image("it failed");
        let swarms = || Cause::image("a task failed, and Swarm began the rollback");
        // (moment, whether that moment's image is the new one of the plan, journal, expected)
        let rows = [
            ("good-settled", false, progress(Pull, None, false), ServiceResume::NeverBegun),
            ("good-settled", false, progress(Update, Some(Pull), false), ServiceResume::NeverBegun),
            ("good-middle", true, progress(Update, Some(Pull), false), ServiceResume::Watch),
            ("good-done", true, progress(Watch, Some(Update), false), ServiceResume::Watch),
            ("good-done", true, progress(Watch, Some(Watch), false), ServiceResume::Settle),
            ("good-settled", true, progress(Settle, Some(Watch), false), ServiceResume::Settle),
            ("paused", true, progress(Watch, Some(Update), false), ServiceResume::Watch),
            ("paused", true, progress(Watch, Some(Update), true), ServiceResume::GoBack(cause())),
            (
                "back-middle",
                false,
                progress(Watch, Some(Update), true),
                ServiceResume::WatchRollback(cause()),
            ),
            (
                "rollback-started",
                false,
                progress(Update, Some(Pull), false),
                ServiceResume::WatchRollback(swarms()),
            ),
            (
                "rollback-completed",
                false,
                progress(Watch, Some(Update), false),
                ServiceResume::WatchRollback(swarms()),
            ),
            (
                "rollback-completed",
                false,
                progress(Watch, Some(Update), true),
                ServiceResume::WatchRollback(cause()),
            ),
            // The service was rolled back before this update, which never came to its change.
            ("rollback-completed", false, progress(Pull, None, false), ServiceResume::NeverBegun),
        ];
        for (moment, is_new, progress, expected) in rows {
            let facts = look(moment).facts;
            let header = header(&facts.image, is_new);
            assert_eq!(resume(&header, &progress, Some(&facts)), expected, "{moment} {progress:?}");
        }
    }

    #[test]
    fn what_a_person_deployed_or_removed_stays() {
        let facts = look("good-done").facts;
        let mut header = header(&facts.image, true);
        header.plan.new_image = "till:3@sha256:3".into();
        let progress = progress(ServiceStep::Watch, None, true);
        let told = resume(&header, &progress, Some(&facts));
        assert!(matches!(told, ServiceResume::Yield(detail) if detail.contains("till:2")));
        assert!(matches!(resume(&header, &progress, None), ServiceResume::Yield(_)));
    }
}
