//! The update machine: which steps an update has, what its journal says, and what to do with a
//! journal that was left open.
//!
//! The order of the steps is the product. Nothing of the old container is given up before the new
//! one has proved itself; the journal and the Engine know enough to go on or back without any
//! registry.

// One update, decided: no choice is left for its execution.
pub mod plan;
// Whether a new container is well: a verdict from samples.
pub mod health;
// Whose fault it is when the Engine cannot start a container.
pub mod blame;
// Outcome, cause, and the line of history that tells of them.
pub mod history;
// How an update ended, read from its journal.
pub mod ending;
// The agent's own update, which a helper carries out.
pub mod handover;
// What bears one of our names although no journal tells of it.
pub mod debris;
// Everything that can be said about an update, once.
pub mod event;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::core::docker::names::NEW_PREFIX;
use crate::core::update::history::Cause;

/// How often a verification is begun anew after something else than the image spoilt it.
pub const VERIFY_ATTEMPTS_MAX: u32 = 3;

/// How often a switch is begun anew after a kill or a lost answer cut it short.
pub const SWITCH_ATTEMPTS_MAX: u32 = 3;

/// One step of an update. Each has an undo; doing either twice does no harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Keep-tag for the old image, then pull the decided digest and move the local tag.
    Pull,
    /// Flush what was pulled: a power cut leaves an unflushed image with empty files.
    Sync,
    /// Create the new container beside the old one, not started, restart policy `no`.
    Create,
    /// Stop the old one, park it under another name, give its name to the new one.
    Switch,
    /// Start the new one.
    Start,
    /// Watch it until it has proved itself.
    Verify,
    /// Take the right to be started from the old one and give it to the new one.
    Commit,
    /// Remove the old container and images that nobody needs.
    Clean,
}

impl Step {
    /// All steps, in their order.
    pub const ALL: [Self; 8] = [
        Self::Pull,
        Self::Sync,
        Self::Create,
        Self::Switch,
        Self::Start,
        Self::Verify,
        Self::Commit,
        Self::Clean,
    ];

    /// The word in the journal, the log and on the terminal.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Sync => "sync",
            Self::Create => "create",
            Self::Switch => "switch",
            Self::Start => "start",
            Self::Verify => "verify",
            Self::Commit => "commit",
            Self::Clean => "clean",
        }
    }

    /// Whether the old container stands down in this step or before it, so that every millisecond
    /// counts: entries of such steps are not flushed one by one. Recovery does not need them, it
    /// knows from the start of the switch that the old one may be down, and asks the Engine.
    #[must_use]
    pub const fn is_in_the_gap(self) -> bool {
        matches!(self, Self::Start)
    }
}

/// What an entry says about its step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// The step is about to act. On disk before it does.
    Started,
    /// The step is complete.
    Done,
    /// The step could not be done; from here on the way leads back.
    Failed,
    /// The undo of the step is about to act.
    UndoStarted,
    /// The undo of the step is complete.
    UndoDone,
}

/// Facts that only become known on the way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The ID of the pulled image, on `pull` done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_image: Option<String>,
    /// Whether this update fetched it, on `pull` done. An older one may be damaged by a power cut.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fetched: bool,
    /// The ID of the new container, on `create` done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_container: Option<String>,
    /// Why the way leads back, on `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The last lines the failed container wrote, on `undo_done` of `create`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
    /// Images that are about to lose the tag that tells whose they are, on `started` of `clean`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
    /// Service gap so far, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap_milliseconds: Option<u64>,
}

/// One line of a journal, behind its header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Position in the journal, from 1. The header is 0.
    pub seq: u32,
    /// When it was written, for people.
    pub at: DateTime<Utc>,
    /// Which step.
    pub step: Step,
    /// What about it.
    pub mark: Mark,
    /// What became known.
    #[serde(flatten)]
    pub note: Note,
}

/// A journal, replayed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// The furthest step that was begun.
    pub begun: Option<Step>,
    /// The furthest step that was completed.
    pub done: Option<Step>,
    /// Why it goes back, once it does.
    pub failed: Option<Cause>,
    /// The lowest step whose undo is complete.
    pub undone: Option<Step>,
    /// How often a switch was begun.
    pub switches: u32,
    /// How often a verification was begun.
    pub verifications: u32,
    /// Everything that became known, the newest of each.
    pub known: Note,
    /// The number of entries.
    pub entries: u32,
}

impl Progress {
    /// Replays the entries of a journal.
    #[must_use]
    pub fn replay(entries: &[Entry]) -> Self {
        let mut progress = Self::default();
        for entry in entries {
            progress.take(entry);
        }
        progress
    }

    /// Takes one more entry into account.
    pub fn take(&mut self, entry: &Entry) {
        self.entries = self.entries.max(entry.seq);
        match entry.mark {
            Mark::Started => {
                self.begun = self.begun.max(Some(entry.step));
                self.switches += u32::from(entry.step == Step::Switch);
                self.verifications += u32::from(entry.step == Step::Verify);
            }
            Mark::Done => self.done = self.done.max(Some(entry.step)),
            Mark::Failed => self.failed = entry.note.cause.clone().or(self.failed.take()),
            Mark::UndoStarted => {}
            Mark::UndoDone => self.undone = Some(entry.step),
        }
        self.learn(&entry.note);
    }

    /// Whether the old container may be in the middle of being stopped: nobody who is killed takes
    /// a request back, and the Engine goes on with it.
    #[must_use]
    pub fn is_in_the_switch(&self) -> bool {
        self.begun == Some(Step::Switch) && self.done < Some(Step::Switch) && self.undone.is_none()
    }

    fn learn(&mut self, note: &Note) {
        let known = &mut self.known;
        known.new_image = note.new_image.clone().or(known.new_image.take());
        known.fetched |= note.fetched;
        known.new_container = note.new_container.clone().or(known.new_container.take());
        known.gap_milliseconds = note.gap_milliseconds.or(known.gap_milliseconds);
        known.dropped.extend(note.dropped.iter().cloned());
        if !note.log.is_empty() {
            known.log.clone_from(&note.log);
        }
    }
}

/// What the Engine says about one container of an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its ID.
    pub id: String,
    /// Its name, without the slash.
    pub name: String,
    /// Whether its process runs (`running`, `restarting` or `paused`).
    pub running: bool,
    /// Whether it was ever started.
    pub started: bool,
}

/// What the Engine says about an update that was left open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reality {
    /// The container that was to be replaced, wherever it stands now.
    pub old: Option<Seen>,
    /// The container that was to replace it.
    pub new: Option<Seen>,
    /// Whether the old container was started again since the journal was begun. Then no stop of
    /// this update can be under way any more.
    pub old_was_started_again: bool,
}

/// What to do with an update that was left open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resume {
    /// Go on, beginning with this step.
    Forward(Step),
    /// Go back. The cause is the recorded one, or says that the update was interrupted.
    Back(Cause),
}

/// Decides how an update that was left open goes on.
///
/// Forward once the new container has proved itself, or while it still can without another gap;
/// back in every other case. Nothing here blames the image: what was interrupted was not judged.
#[must_use]
pub fn resume(progress: &Progress, reality: &Reality) -> Resume {
    if let Some(cause) = &progress.failed {
        return Resume::Back(cause.clone());
    }
    if progress.done >= Some(Step::Commit) {
        return Resume::Forward(Step::Clean);
    }
    // After a cut before the commit was on the disk the Engine has started the old one, and the
    // new one has no right to be started: the one that serves stays.
    let old_runs = reality.old.as_ref().is_some_and(|old| old.running);
    let is_in_place = |new: &Seen| !new.name.starts_with(NEW_PREFIX);
    if progress.done >= Some(Step::Verify)
        && reality.new.as_ref().is_some_and(is_in_place)
        && !old_runs
    {
        return Resume::Forward(Step::Commit);
    }
    let interrupted = |detail: &str| Resume::Back(Cause::interrupted(detail));
    if progress.done >= Some(Step::Verify) && reality.new.is_some() && !old_runs {
        return interrupted("the way back had begun, and could not be written down");
    }
    if progress.begun < Some(Step::Switch) {
        return interrupted("the update was interrupted before anything was stopped");
    }
    let Some(new) = &reality.new else {
        return interrupted("the new container was gone when the update was taken up again");
    };
    if old_runs {
        // In its first life it runs because its stop has not come to its end. It may end at any
        // moment, so the gap is there anyway.
        let is_stopping =
            progress.is_in_the_switch() && !reality.old_was_started_again && !new.started;
        if is_stopping && progress.switches < SWITCH_ATTEMPTS_MAX {
            return Resume::Forward(Step::Switch);
        }
        return interrupted("the Engine had started the old container again");
    }
    if !new.running && new.started {
        return interrupted("the new container no longer ran when the update was taken up again");
    }
    if progress.verifications >= VERIFY_ATTEMPTS_MAX {
        return interrupted("three verifications in a row were interrupted");
    }
    Resume::Forward(if new.running { Step::Verify } else { Step::Switch })
}

#[cfg(test)]
mod tests;
