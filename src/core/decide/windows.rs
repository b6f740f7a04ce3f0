//! What the windows say of an update that nothing else is in the way of.

use super::dependents::Follower;
use super::{Circumstances, No};
use crate::core::decide::observation::Readiness;
use crate::core::decide::reason::Reason;
use crate::core::policy::Policy;
use crate::core::time::wall_clock::reading;
use crate::core::time::window::Windows;

/// What the windows say of an update that nothing else is in the way of.
pub(super) enum Timing {
    Now,
    FetchNow(No),
    Later(No),
}

/// A pull waits for its own window, a replacement for the container's and for those of everything
/// that is recreated with it. An image that is here needs no pull; one that waits is given a name,
/// so that nobody clears it away meanwhile.
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
    let theirs = followers.iter().map(|follower| {
        (format!("the update window of {}", follower.tie.name), &follower.policy.update_window)
    });
    let first_closed = std::iter::once(own.clone()).chain(theirs).find(|(_, it)| !is_open(it));
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

fn closed(circumstances: &Circumstances, what: &str, windows: &Windows) -> No {
    let Circumstances { now, zone, .. } = circumstances;
    let opens = windows.next_opening(*now, zone);
    let when = opens.map_or_else(
        || "never opens".to_owned(),
        |at| format!("opens {}", reading(at, zone).format("%a %d %b %H:%M")),
    );
    No { opens, ..No::new(Reason::OutsideWindow, format!("{what} {when}")) }
}
