//! What an announcement leads to: one look at the registry, or nothing.

use std::collections::VecDeque;
use std::time::Duration;

use crate::core::docker::reference::Digest;
use crate::core::fleet::message::announcement::Announcement;
use crate::core::fleet::place::{Ranking, Roster};
use crate::core::fleet::topic::{ReferenceKey, whole_name};

/// Most references whose last announcement is remembered; the oldest go first. A device follows
/// no more. If one is forgotten, the next announcement costs a look.
const REFERENCES_MAX: usize = 256;

/// Shortest time between two looks at one reference. In a fleet it is at least [`Roster::spread`],
/// so that a flood of announcements costs a registry no more than 50 requests in a second from all
/// devices together.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// Why an announcement leads to no look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoLook {
    /// The announced digest runs already.
    Runs,
    /// The announced digest was found by a look or refused before.
    Known,
    /// The last announcement of this reference said the same. Retained ones come again after each
    /// connection.
    Repeated,
    /// A look at this reference is going to be taken anyway.
    Awaited,
    /// The reference has no tag.
    Untagged,
}

impl NoLook {
    /// The word used in the log and the metric.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Known => "known",
            Self::Repeated => "repeated",
            Self::Awaited => "awaited",
            Self::Untagged => "untagged",
        }
    }
}

/// What the device knows of the digests of a reference.
#[derive(Debug, Clone, Default)]
pub struct KnownDigests {
    /// The digests that every container of this reference runs.
    pub running: Vec<Digest>,
    /// The digest that the last look found, and those that are refused.
    pub judged: Vec<Digest>,
}

/// The last announcement of a reference.
#[derive(Debug)]
struct Heard {
    key: ReferenceKey,
    digest: Option<Digest>,
    /// When its look is due, or was.
    look: Duration,
}

/// The last announcements of the references that this device follows.
#[derive(Debug, Default)]
pub struct Announcements {
    heard: VecDeque<Heard>,
}

impl Announcements {
    /// When a look is due because of this announcement. `now` is a time of the monotonic clock, and
    /// so is the answer. Without a fleet's size the look is due at once.
    ///
    /// Only the last digest of a reference counts as a repetition: after a push of A, of B and of A
    /// again the device must look once more.
    ///
    /// # Errors
    /// Why no look is needed.
    pub fn take(
        &mut self,
        announcement: &Announcement,
        is_retained: bool,
        known: &KnownDigests,
        roster: Option<&Roster>,
        now: Duration,
    ) -> Result<Duration, NoLook> {
        let key = ReferenceKey::of(&announcement.reference).ok_or(NoLook::Untagged)?;
        let digest = announcement.digest.as_ref();
        if digest.is_some_and(|digest| known.running.contains(digest)) {
            return Err(NoLook::Runs);
        }
        if digest.is_some_and(|digest| known.judged.contains(digest)) {
            return Err(NoLook::Known);
        }
        let earliest = now.saturating_add(delay(announcement, roster));
        let pause = LOOK_PAUSE.max(roster.map_or(Duration::ZERO, Roster::spread));
        let at = self.heard.iter().position(|heard| heard.key == key);
        let Some(mut heard) = at.and_then(|at| self.heard.remove(at)) else {
            self.keep(Heard { key, digest: digest.cloned(), look: earliest });
            return Ok(earliest);
        };
        let is_repeated = match digest {
            Some(_) => heard.digest.as_ref() == digest,
            None => is_retained,
        };
        let answer = if is_repeated {
            Err(NoLook::Repeated)
        } else {
            heard.digest = digest.cloned();
            heard.next_look(now, earliest, pause)
        };
        self.keep(heard);
        answer
    }

    fn keep(&mut self, heard: Heard) {
        if self.heard.len() >= REFERENCES_MAX {
            self.heard.pop_front();
        }
        self.heard.push_back(heard);
    }
}

impl Heard {
    fn next_look(
        &mut self,
        now: Duration,
        earliest: Duration,
        pause: Duration,
    ) -> Result<Duration, NoLook> {
        if self.look > now {
            return Err(NoLook::Awaited);
        }
        self.look = earliest.max(self.look.saturating_add(pause));
        Ok(self.look)
    }
}

/// How long a device waits before its look, so that a registry is not asked by all devices of a
/// fleet at once: its place's share of [`Roster::spread`]. The place is the one for the announced
/// digest.
#[must_use]
pub fn delay(announcement: &Announcement, roster: Option<&Roster>) -> Duration {
    let Some(roster) = roster else { return Duration::ZERO };
    let ranking = announcement.digest.as_ref().map_or_else(
        || Ranking::new(roster.size(), &whole_name(&announcement.reference).unwrap_or_default()),
        |digest| roster.ranking(digest),
    );
    roster.own_place(&ranking).share_of(roster.spread())
}

#[cfg(test)]
#[path = "announcements_tests.rs"]
mod tests;
