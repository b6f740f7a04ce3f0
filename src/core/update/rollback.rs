//! What a rollback takes for its own, and what it gives back.

use serde_json::Value;

use crate::core::docker::inspect;
use crate::core::recreate::ReplacedContainer;
use crate::core::update::JournalProgress;
use crate::core::update::history::Cause;
use crate::core::update::plan::Header;

/// Whose container holds the name of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameHolder {
    /// It is the old or the new container of the update.
    OfThisUpdate,
    /// It is like the old container. If the old one is gone, the rollback has made it; if the old
    /// one is there, it is external.
    LikeTheOld,
    /// A person or another program made it while the name was free.
    External,
}

/// Tells whose container holds the name of a member. `new` is the ID of the member's new container,
/// if there is one; `restored` are the members that serve again.
#[must_use]
pub fn name_holder(
    (header, progress): (&Header, &JournalProgress),
    number: usize,
    (holder, new): (&Value, Option<&str>),
    restored: &[ReplacedContainer],
) -> NameHolder {
    let id = inspect::id(holder);
    if id == header.plan.member(number).old_container || Some(id) == new {
        return NameHolder::OfThisUpdate;
    }
    let is_like_the_old = progress.failed.is_some()
        && inspect::image_id(holder) == header.old_image(number)
        && header.depends_as_before(number, holder, restored);
    if is_like_the_old { NameHolder::LikeTheOld } else { NameHolder::External }
}

/// The image that the local tag of a member is to point at again; nothing if there was no such tag.
/// `new` is the ID of the image that failed: it does not get the tag back, even if a person had
/// pulled it by hand, because the next `compose up` would start it.
#[must_use]
pub fn tag_to_restore<'a>(
    header: &'a Header,
    progress: &JournalProgress,
    number: usize,
    new: &str,
) -> Option<&'a str> {
    let has_failed =
        progress.may_have_started() && progress.failed.as_ref().is_some_and(Cause::is_failure);
    match header.tag_before(number) {
        Some(before) if before == new && has_failed => Some(header.old_image(number)),
        before => before,
    }
}

/// Whether an old container that was started again serves as well as before the update. A
/// container that was shortly after its start then may have been on its way to healthy, so its
/// first check is awaited: until then a start-first update keeps the new container beside it.
#[must_use]
pub fn is_as_healthy_as_before(original: &Value, now: &Value) -> bool {
    inspect::is_running(now)
        && match (inspect::health(original), inspect::health(now)) {
            (_, None | Some("healthy")) => true,
            (before, Some("unhealthy")) => before != Some("healthy"),
            (before, Some(_)) => before == Some("unhealthy"),
        }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::json;

    use super::*;
    use crate::core::decide::tests::plan;
    use crate::core::update::Step;
    use crate::core::update::plan::{Change, Recorded};

    const OLD_IMAGE: &str = "sha256:before";
    const NEW_IMAGE: &str = "sha256:after";

    fn header(tag_before: Option<&str>) -> Header {
        let mut plan = plan();
        let Some(main) = plan.members.first_mut() else { panic!("no member") };
        "old".clone_into(&mut main.old_container);
        if let Change::To(update) = &mut main.change {
            OLD_IMAGE.clone_into(&mut update.from.image_id);
        }
        let tag_before = tag_before.map(str::to_owned);
        Header {
            version: Header::VERSION,
            started_at: DateTime::UNIX_EPOCH,
            boot_id: "boot".into(),
            plan,
            recorded: vec![Recorded { original: json!({}), tag_before }],
            live_restore: false,
        }
    }

    fn progress(begun: Step, failed: Option<Cause>) -> JournalProgress {
        JournalProgress { begun: Some(begun), failed, ..JournalProgress::default() }
    }

    #[test]
    fn a_name_is_held_by_this_update_by_its_rollback_or_by_others() {
        use NameHolder::{External, LikeTheOld, OfThisUpdate};
        let rows = [
            ("old", OLD_IMAGE, false, OfThisUpdate),
            ("old", OLD_IMAGE, true, OfThisUpdate),
            ("new", NEW_IMAGE, false, OfThisUpdate),
            ("new", NEW_IMAGE, true, OfThisUpdate),
            ("third", OLD_IMAGE, false, External),
            ("third", OLD_IMAGE, true, LikeTheOld),
            ("third", NEW_IMAGE, true, External),
            ("third", NEW_IMAGE, false, External),
        ];
        let header = header(None);
        for (id, image, has_failed, expected) in rows {
            let failed = has_failed.then(|| Cause::image("exited"));
            let progress = progress(Step::Verify, failed);
            let holder = json!({ "Id": id, "Image": image });
            let found = name_holder((&header, &progress), 0, (&holder, Some("new")), &[]);
            assert_eq!(found, expected, "{id} {image} {has_failed}");
        }
    }

    #[test]
    fn an_image_that_failed_does_not_get_the_tag_back() {
        let failed = || Some(Cause::image("exited"));
        let rows = [
            (None, Step::Verify, failed(), None),
            (Some("sha256:other"), Step::Verify, failed(), Some("sha256:other")),
            (Some(NEW_IMAGE), Step::Verify, failed(), Some(OLD_IMAGE)),
            (Some(NEW_IMAGE), Step::Start, Some(Cause::surroundings("port")), Some(OLD_IMAGE)),
            // It was not tried, or its trial did not tell anything of it.
            (Some(NEW_IMAGE), Step::Switch, failed(), Some(NEW_IMAGE)),
            (Some(NEW_IMAGE), Step::Verify, Some(Cause::interrupted("cut")), Some(NEW_IMAGE)),
            (Some(NEW_IMAGE), Step::Verify, Some(Cause::person("rm")), Some(NEW_IMAGE)),
            (Some(NEW_IMAGE), Step::Verify, None, Some(NEW_IMAGE)),
        ];
        for (before, begun, failed, expected) in rows {
            let (header, progress) = (header(before), progress(begun, failed));
            let restored = tag_to_restore(&header, &progress, 0, NEW_IMAGE);
            assert_eq!(restored, expected, "{before:?} {progress:?}");
        }
    }

    #[test]
    fn an_old_container_is_back_as_soon_as_it_is_as_healthy_as_before() {
        let state =
            |health: &str| json!({ "State": { "Running": true, "Health": { "Status": health } } });
        let rows = [
            ("healthy", "starting", false),
            ("healthy", "healthy", true),
            ("healthy", "unhealthy", false),
            ("starting", "starting", false),
            ("starting", "healthy", true),
            ("starting", "unhealthy", true),
            ("unhealthy", "starting", true),
            ("unhealthy", "unhealthy", true),
            ("none", "none", true),
        ];
        for (before, now, expected) in rows {
            let is_back = is_as_healthy_as_before(&state(before), &state(now));
            assert_eq!(is_back, expected, "{before}, and now {now}");
        }
        let stopped = json!({ "State": { "Running": false } });
        assert!(!is_as_healthy_as_before(&state("none"), &stopped));
    }
}
