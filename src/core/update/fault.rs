//! Whose fault it is that a new container did not start, or failed its trial.
//!
//! A power cut leaves an image that was pulled shortly before with empty files, and pulling again
//! does not mend it. So an old copy of the image may be damaged, and the image itself is blamed
//! only if the copy is fresh. The rollback removes a damaged copy, and the next round pulls it
//! again.

use crate::core::update::history::Cause;
use crate::core::update::plan::{ImageSource, ImageUpdate, Plan};
use crate::core::update::start_error::{Blame, PULLED_AGAIN, is_damaged_copy};

/// Why the new container of a member could not be started. `fetched` tells whether this update
/// fetched the image, `blame` what the Engine's words blame.
///
/// A dependent runs on the image that it had, so that image is not blamed. An image that was built
/// here cannot be pulled again.
#[must_use]
pub fn of_start(plan: &Plan, number: usize, fetched: bool, blame: Blame, error: &str) -> Cause {
    let detail = plan.naming(number, format!("could not be started: {error}"));
    let source = source(plan, number);
    let is_image = source.is_some() && blame == Blame::Image;
    let is_fresh = fetched || source == Some(ImageSource::Local);
    if is_image && changes_only_definition(plan, number) {
        return Cause::surroundings(format!("{detail}; {SAME_IMAGE}"));
    }
    match (is_image, is_fresh) {
        (true, true) => of_image(plan, number, detail),
        (true, false) => Cause::damaged_copy(format!("{detail}; {PULLED_AGAIN}")),
        (false, _) => Cause::surroundings(detail),
    }
}

/// Whether the copy of the image on which a member's trial failed may be damaged: then the last
/// lines of its log tell. A copy that did not come from the registry cannot be pulled again, nor
/// can that of a dependent.
#[must_use]
pub fn may_be_damaged_copy(plan: &Plan, number: usize, fetched: bool) -> bool {
    !fetched && source(plan, number) == Some(ImageSource::Registry)
}

/// Why the new container of a member failed its trial: the image's fault, unless the last lines of
/// its log show a damaged copy. `log` is empty if the copy cannot be damaged.
#[must_use]
pub fn of_trial(plan: &Plan, number: usize, log: &[String], detail: String) -> Cause {
    if changes_only_definition(plan, number) {
        return Cause::surroundings(format!("{detail}; {SAME_IMAGE}"));
    }
    match is_damaged_copy(&log.join("\n")) {
        true => Cause::damaged_copy(format!("{detail}; {PULLED_AGAIN}")),
        false => of_image(plan, number, plan.naming(number, detail)),
    }
}

/// Blames the new image of a member. A member that keeps its image fails because of a new one below
/// it, and the plan does not tell which: then all new images are at fault.
#[must_use]
pub fn of_image(plan: &Plan, number: usize, detail: impl Into<String>) -> Cause {
    let cause = Cause::image(detail);
    if plan.member(number).update().is_some() { cause.of_member(number) } else { cause }
}

/// Where the new image of a member comes from; nothing if it keeps its image.
fn source(plan: &Plan, number: usize) -> Option<ImageSource> {
    plan.member(number).update().map(|update| update.source)
}

/// Whether a member runs on the image that served before, from a new definition.
fn changes_only_definition(plan: &Plan, number: usize) -> bool {
    plan.member(number).update().is_some_and(ImageUpdate::changes_only_definition)
}

/// The image served before, so it is not blamed.
const SAME_IMAGE: &str = "the image is the one that served before; the new definition is not";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::decide::tests::plan;
    use crate::core::update::history::Fault;
    use crate::core::update::plan::{Change, Member};

    /// A plan with a main member and one that keeps its image.
    fn from(source: ImageSource) -> Plan {
        let mut plan = plan();
        let dependent = Member { change: Change::Keep, ..plan.member(0).clone() };
        plan.members.push(dependent);
        if let Change::To(update) = &mut plan.members[0].change {
            update.source = source;
        }
        plan
    }

    #[test]
    fn a_start_blames_only_a_fresh_copy_of_the_main_image() {
        use Blame::{Image, Surroundings, Unknown};
        let rows = [
            (0, ImageSource::Registry, true, Image, Fault::Image),
            (0, ImageSource::Registry, false, Image, Fault::DamagedCopy),
            (0, ImageSource::Kept, false, Image, Fault::DamagedCopy),
            (0, ImageSource::Local, false, Image, Fault::Image),
            (0, ImageSource::Registry, true, Surroundings, Fault::Surroundings),
            (0, ImageSource::Registry, true, Unknown, Fault::Surroundings),
            (0, ImageSource::Registry, false, Unknown, Fault::Surroundings),
            (1, ImageSource::Registry, true, Image, Fault::Surroundings),
        ];
        for (number, source, fetched, blame, expected) in rows {
            let cause = of_start(&from(source), number, fetched, blame, "exec format error");
            assert_eq!(cause.fault, expected, "{number} {source:?} {fetched} {blame:?}");
        }
    }

    #[test]
    fn a_trial_blames_the_image_unless_its_old_copy_is_damaged() {
        let rows = [
            (0, ImageSource::Registry, false, true),
            (0, ImageSource::Registry, true, false),
            (0, ImageSource::Kept, false, false),
            (0, ImageSource::Local, false, false),
            (1, ImageSource::Registry, false, false),
        ];
        for (number, source, fetched, expected) in rows {
            let found = may_be_damaged_copy(&from(source), number, fetched);
            assert_eq!(found, expected, "{number} {source:?} {fetched}");
        }
        let damaged = ["[FATAL tini (7)] exec /app failed: Exec format error".to_owned()];
        let fault = |log: &[String]| of_trial(&plan(), 0, log, "exited".into()).fault;
        assert_eq!(fault(&damaged), Fault::DamagedCopy);
        assert_eq!(fault(&["listening".to_owned()]), Fault::Image);
        assert_eq!(fault(&[]), Fault::Image);
    }

    #[test]
    fn a_member_that_keeps_its_image_blames_the_new_ones() {
        let blamed = |number: usize| {
            let cause = of_trial(&from(ImageSource::Registry), number, &[], "exited".into());
            [0, 1].map(|member| cause.concerns(member))
        };
        assert_eq!(blamed(0), [true, false]);
        assert_eq!(blamed(1), [true, true]);
    }
}
