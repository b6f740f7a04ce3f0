//! Update windows and pull windows.

use super::dependents::Follower;
use super::{Circumstances, No};
use crate::core::decide::observation::Readiness;
use crate::core::decide::reason::Reason;
use crate::core::policy::Policy;
use crate::core::time::wall_clock::reading;
use crate::core::time::window::Windows;

/// What the windows say about an update that nothing else forbids.
pub(super) enum Timing {
    Now,
    FetchNow(No),
    Later(No),
}

/// A pull waits for the pull window. A replacement waits for the window of the container and for
/// those of all its dependents. An image that is here needs no pull; an image that waits gets a
/// name, so that no clean-up removes it.
pub(super) fn timing(
    policy: &Policy,
    followers: &[Follower<'_>],
    readiness: &Readiness,
    circumstances: &Circumstances,
) -> Timing {
    let Circumstances { now, zone, pull_window, force, .. } = circumstances;
    let is_open = |windows: &Windows| *force || windows.contains(*now, zone);
    let is_pulled = readiness.is_pulled;
    let own = ("the update window".to_owned(), &policy.update_window);
    let of_dependents = followers.iter().map(|follower| {
        (format!("the update window of {}", follower.tie.name), &follower.policy.update_window)
    });
    let first_closed =
        std::iter::once(own.clone()).chain(of_dependents).find(|(_, it)| !is_open(it));
    let can_replace = first_closed.is_none();
    let (which, update_window) = first_closed.unwrap_or(own);
    match (is_pulled || is_open(pull_window), can_replace) {
        (true, true) => Timing::Now,
        (true, false) if is_pulled => {
            let no = closed(circumstances, &format!("pulled; {which}"), update_window);
            if readiness.is_prefetched { Timing::Later(no) } else { Timing::FetchNow(no) }
        }
        (true, false) => Timing::FetchNow(closed(
            circumstances,
            &format!("to be pulled; {which}"),
            update_window,
        )),
        (false, true) => Timing::Later(closed(circumstances, "the pull window", pull_window)),
        (false, false) => {
            let update = closed(circumstances, &which, update_window);
            let pull = closed(circumstances, "the pull window", pull_window);
            Timing::Later(No { detail: format!("{}, {}", pull.detail, update.detail), ..pull })
        }
    }
}

/// The "no" of a window that is closed now.
#[must_use]
pub fn closed(circumstances: &Circumstances, what: &str, windows: &Windows) -> No {
    let Circumstances { now, zone, .. } = circumstances;
    let opens = windows.next_opening(*now, zone);
    let when = opens.map_or_else(
        || "never opens".to_owned(),
        |at| format!("opens {}", reading(at, zone).format("%a %d %b %H:%M")),
    );
    No { opens, ..No::new(Reason::OutsideWindow, format!("{what} {when}")) }
}
