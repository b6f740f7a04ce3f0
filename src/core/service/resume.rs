//! What to do with the open update of a service, from its journal and what the Swarm says.
//!
//! The Swarm keeps the specification and goes on without the agent, but it keeps no verdict. So a
//! watch that was interrupted begins anew, and what a person has deployed in the meantime stays.

use crate::core::service::plan::ServiceHeader;
use crate::core::service::progress::{ServiceProgress, ServiceStep};
use crate::core::service::watch::{ServiceLook, ServiceWatch};
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

/// How the update continues; `look` is `None` if the service is gone.
#[must_use]
pub fn resume(
    header: &ServiceHeader,
    progress: &ServiceProgress,
    look: Option<&ServiceLook>,
) -> ServiceResume {
    let plan = &header.plan;
    let Some(look) = look else {
        return ServiceResume::Yield("the service was removed during the update".into());
    };
    let (facts, failed) = (&look.facts, progress.failed.clone());
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
        None if has_begun && facts.is_persons_rollback => {
            ServiceResume::Yield("a person rolled the service back during the update".into())
        }
        None if has_begun && facts.state.is_rollback() => {
            ServiceResume::WatchRollback(cause_of_swarm(header, look))
        }
        _ => ServiceResume::NeverBegun,
    }
}

/// The cause of a rollback that began without the agent. If Swarm does not remember a task that
/// failed, it may also have been a person, and the image is not blamed.
fn cause_of_swarm(header: &ServiceHeader, look: &ServiceLook) -> Cause {
    let seen = ServiceWatch::default().failure(look, &header.plan.new_image, &header.known);
    let unknown = "the service was rolled back, and no task is known that failed";
    seen.unwrap_or_else(|| Cause::interrupted(unknown))
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
        let back = || ServiceResume::WatchRollback(Cause::image("it failed"));
        // (moment, whether that moment's image is the new one of the plan, journal, expected)
        let rows = [
            ("good-settled", false, progress(Pull, None, false), ServiceResume::NeverBegun),
            ("good-settled", false, progress(Update, Some(Pull), false), ServiceResume::NeverBegun),
            ("good-middle", true, progress(Update, Some(Pull), false), ServiceResume::Watch),
            ("good-done", true, progress(Watch, Some(Update), false), ServiceResume::Watch),
            ("good-done", true, progress(Watch, Some(Watch), false), ServiceResume::Settle),
            ("good-settled", true, progress(Settle, Some(Watch), false), ServiceResume::Settle),
            ("paused", true, progress(Watch, Some(Update), false), ServiceResume::Watch),
            ("back-middle", false, progress(Watch, Some(Update), true), back()),
            ("rollback-completed", false, progress(Watch, Some(Update), true), back()),
            // The service was rolled back before this update, which never came to its change.
            ("rollback-completed", false, progress(Pull, None, false), ServiceResume::NeverBegun),
        ];
        for (moment, is_new, progress, expected) in rows {
            let look = look(moment);
            let header = header(&look.facts.image, is_new);
            assert_eq!(resume(&header, &progress, Some(&look)), expected, "{moment} {progress:?}");
        }
        let look = look("paused");
        let failed = progress(Watch, Some(Update), true);
        let told = resume(&header(&look.facts.image, true), &failed, Some(&look));
        assert_eq!(told, ServiceResume::GoBack(Cause::image("it failed")));
    }

    /// Swarm forgets in a moment why it went back, and a person may have asked for it.
    #[test]
    fn a_rollback_of_swarms_is_blamed_on_the_task_that_failed() {
        let watching = progress(ServiceStep::Watch, Some(ServiceStep::Update), false);
        for moment in ["rollback-started", "rollback-completed"] {
            let mut look = look(moment);
            let failed = look.tasks.iter().find(|task| task.image.contains("exits"));
            let mut header = header(&look.facts.image, false);
            header.plan.new_image = failed.expect("a task that failed").image.clone();
            let ended = look.tasks.iter().filter(|task| task.image.contains("till:1"));
            header.known = ended.map(|task| task.id.clone()).collect();
            let told = resume(&header, &watching, Some(&look));
            let ServiceResume::WatchRollback(cause) = told else { panic!("{told:?}") };
            assert_eq!(
                cause,
                Cause::image("its task on vm (bxkjm9s) failed: task: non-zero exit (1)")
            );
            look.tasks.retain(|task| !task.has_ended_by_itself());
            let told = resume(&header, &watching, Some(&look));
            let ServiceResume::WatchRollback(cause) = told else { panic!("{told:?}") };
            assert!(!cause.blames_image(), "{cause:?}");
            look.facts.is_persons_rollback = true;
            let told = resume(&header, &watching, Some(&look));
            assert!(matches!(told, ServiceResume::Yield(_)), "{told:?}");
        }
    }

    #[test]
    fn what_a_person_deployed_or_removed_stays() {
        let look = look("good-done");
        let mut header = header(&look.facts.image, true);
        header.plan.new_image = "till:3@sha256:3".into();
        let progress = progress(ServiceStep::Watch, None, true);
        let told = resume(&header, &progress, Some(&look));
        assert!(matches!(told, ServiceResume::Yield(detail) if detail.contains("till:2")));
        assert!(matches!(resume(&header, &progress, None), ServiceResume::Yield(_)));
    }
}
