//! The update state machine: the steps of an update, what its journal says, and what to do with an
//! unfinished journal.
//!
//! The order of the steps is the product. Nothing of the old container is removed before the new
//! one has proved itself; the journal and the Engine hold enough to continue or to roll back
//! without any registry.

// One decided update. Its execution decides nothing.
pub mod plan;
// What an update needs for itself, so that others may run beside it.
pub mod footprint;
// Whether a new container is healthy: a verdict from samples.
pub mod health;
// The HEALTHCHECK of a container: its times, its command, and what an image may ask for.
pub mod healthcheck;
// How long each step may take as a whole.
pub mod time_limits;
// Whose fault it is when the Engine cannot start a container.
pub mod start_error;
// Outcome, cause, and the line of history.
pub mod history;
// How an unfinished update continues: the state on the Engine, and what to do.
mod resume;
// How an update ended, read from its journal.
pub mod outcome;
// The agent's own update, which the self-update helper carries out.
pub mod self_update;
// Containers with one of our names, but without a journal.
pub mod orphans;
// Whose fault it is that a new container did not start, or failed its trial.
pub mod fault;
// What a rollback takes for its own, and what it gives back.
pub mod rollback;
// What shows that containers are those of an update, if there is no journal.
pub mod ownership;
// All events of an update.
pub mod event;

pub use resume::{ActualState, ContainerState, MemberState, Resume, is_taken_away, resume};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::core::update::history::Cause;

/// Most verifications of one update that something other than the image may end.
pub const VERIFY_ATTEMPTS_MAX: u32 = 3;

/// Most switches of one update that a kill or a lost answer may interrupt.
pub const SWITCH_ATTEMPTS_MAX: u32 = 3;

/// One step of an update. Each has an undo. Doing or undoing a step twice does no harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Tag the old image for a rollback, then pull the decided digest and move the local tag.
    Pull,
    /// Flush the pulled image to disk: a power cut leaves an unflushed image with empty files.
    Sync,
    /// Create the new container beside the old one, not started, restart policy `no`.
    Create,
    /// Stop the old container, park it under another name, give its name to the new one.
    Switch,
    /// Start the new container.
    Start,
    /// Watch the new container until it has proved itself.
    Verify,
    /// Remove the restart policy of the old container and give the user's policy to the new one.
    Commit,
    /// Remove the old container and images that are no longer needed.
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

    /// Whether an agent that is asked to stop leaves this step to the next agent. It does not leave
    /// the start, because the old container is down. It does not leave the commit and what follows,
    /// because the new container has proved itself.
    #[must_use]
    pub fn is_left_to_next_agent(self) -> bool {
        self < Self::Commit && self != Self::Start
    }

    /// Whether the old container is already stopped in this step, so that every millisecond counts:
    /// journal entries of such steps are not flushed one by one. Recovery does not need them: from
    /// the start of the switch on it expects that the old container may be down, and asks the
    /// Engine.
    #[must_use]
    pub const fn is_in_service_gap(self) -> bool {
        matches!(self, Self::Start)
    }
}

/// What an entry says about its step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// The step begins. This mark is on disk before the step acts.
    Started,
    /// The step is complete.
    Done,
    /// The step failed; the rollback begins.
    Failed,
    /// The undo of the step begins.
    UndoStarted,
    /// The undo of the step is complete.
    UndoDone,
}

/// Facts that become known during the update.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The ID of the pulled image, on `pull` done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_image: Option<String>,
    /// Whether this update fetched the image, on `pull` done. A power cut may have damaged an older
    /// one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fetched: bool,
    /// The ID of the new container, on `create` done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_container: Option<String>,
    /// The IDs of the new containers of the plan's dependents, on `create` done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub new_dependents: Vec<String>,
    /// Why the update is rolled back, on `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The last log lines of the failed container, on `undo_done` of `create`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
    /// Images that are about to lose the tag that shows their owner, on `started` of `clean`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
    /// Dependents that a person recreated during their trial, on `started` of `verify`: the
    /// container there now is that person's, and the update continues without it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub released: Vec<usize>,
    /// Service gap so far, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap_milliseconds: Option<u64>,
}

impl Note {
    /// The ID of the new container of a member, if it is known.
    #[must_use]
    pub fn new_container_of(&self, number: usize) -> Option<&str> {
        match number.checked_sub(1) {
            None => self.new_container.as_deref(),
            Some(index) => self.new_dependents.get(index).map(String::as_str),
        }
    }
}

/// One line of a journal, behind its header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// Position in the journal, from 1. The header is 0.
    pub seq: u32,
    /// Time of writing, for people.
    pub at: DateTime<Utc>,
    pub step: Step,
    pub mark: Mark,
    #[serde(flatten)]
    pub note: Note,
}

/// One line of a journal, as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalLine {
    JournalEntry(Box<JournalEntry>),
    /// The beginning of an entry: it was not written completely.
    Torn,
    /// Something else.
    Damaged,
}

/// A replayed journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalProgress {
    /// The furthest step that has begun.
    pub begun: Option<Step>,
    /// The furthest step that is complete.
    pub done: Option<Step>,
    /// Why it is rolled back, if it is.
    pub failed: Option<Cause>,
    /// The lowest step whose undo is complete.
    pub undone: Option<Step>,
    /// Whether the rollback has started the old containers again.
    pub is_restored: bool,
    /// How many switches have begun.
    pub switches: u32,
    /// When the last switch began, by the machine's clock.
    pub switched_at: Option<DateTime<Utc>>,
    /// How many verifications have begun.
    pub verifications: u32,
    /// All facts so far, the newest of each.
    pub known: Note,
    /// The number of entries.
    pub entries: u32,
}

impl JournalProgress {
    /// Replays the entries of a journal.
    #[must_use]
    pub fn replay(entries: &[JournalEntry]) -> Self {
        let mut progress = Self::default();
        for entry in entries {
            progress.take(entry);
        }
        progress
    }

    /// Replays the lines of a journal after its header.
    ///
    /// A line torn by a power cut or a full disk is the last line, or the entry after it has the
    /// same number: nothing was done for a torn line. Everything else is damage, and it is unknown
    /// what was done. Unless the commit is known to be complete, a damaged journal is then rolled
    /// back to the state recorded in the header.
    #[must_use]
    pub fn of_journal(lines: &[JournalLine]) -> Self {
        let entry = |line: &JournalLine| match line {
            JournalLine::JournalEntry(entry) => Some(entry.as_ref().clone()),
            JournalLine::Torn | JournalLine::Damaged => None,
        };
        let entries: Vec<JournalEntry> = lines.iter().filter_map(entry).collect();
        let mut progress = Self::replay(&entries);
        if is_damaged(lines, &entries) && progress.done < Some(Step::Commit) {
            progress.begun = progress.begun.max(Some(Step::Switch));
            let cause = || Cause::interrupted(DAMAGED);
            progress.failed = progress.failed.or_else(|| Some(cause()));
        }
        progress
    }

    /// Applies one more entry.
    pub fn take(&mut self, entry: &JournalEntry) {
        self.entries = self.entries.max(entry.seq);
        match entry.mark {
            Mark::Started => {
                self.begun = self.begun.max(Some(entry.step));
                if entry.step == Step::Switch {
                    self.switches += 1;
                    self.switched_at = Some(entry.at);
                }
                let is_begun_anew = entry.note.released.is_empty();
                self.verifications += u32::from(entry.step == Step::Verify && is_begun_anew);
            }
            Mark::Done => self.done = self.done.max(Some(entry.step)),
            Mark::Failed => self.failed = entry.note.cause.clone().or(self.failed.take()),
            Mark::UndoStarted => {}
            Mark::UndoDone => {
                self.undone = Some(entry.step);
                self.is_restored |= entry.step == Step::Switch;
            }
        }
        self.learn(&entry.note);
    }

    /// The next entry. An entry that begins a step repeats what recovery must know, so that no
    /// single line of a journal is the only one that names the new container.
    #[must_use]
    pub fn next(&self, at: DateTime<Utc>, step: Step, mark: Mark, mut note: Note) -> JournalEntry {
        if mark == Mark::Started {
            note.new_image = note.new_image.or_else(|| self.known.new_image.clone());
            note.new_container = note.new_container.or_else(|| self.known.new_container.clone());
            if note.new_dependents.is_empty() {
                note.new_dependents.clone_from(&self.known.new_dependents);
            }
        }
        JournalEntry { seq: self.entries + 1, at, step, mark, note }
    }

    /// Whether only one way is left: a rollback that was begun is never turned into an update, and
    /// an update that was committed is never taken back.
    #[must_use]
    pub fn has_one_way_left(&self) -> bool {
        self.failed.is_some() || self.done >= Some(Step::Commit)
    }

    /// Whether the old container may be stopping right now: the request of a killed agent cannot be
    /// taken back, and the Engine continues with it.
    #[must_use]
    pub fn is_in_switch(&self) -> bool {
        self.begun == Some(Step::Switch) && self.done < Some(Step::Switch) && self.undone.is_none()
    }

    fn learn(&mut self, note: &Note) {
        let known = &mut self.known;
        known.new_image = note.new_image.clone().or(known.new_image.take());
        known.fetched |= note.fetched;
        known.new_container = note.new_container.clone().or(known.new_container.take());
        if !note.new_dependents.is_empty() {
            known.new_dependents.clone_from(&note.new_dependents);
        }
        known.gap_milliseconds = note.gap_milliseconds.or(known.gap_milliseconds);
        known.dropped.extend(note.dropped.iter().cloned());
        known.released.extend(&note.released);
        if !note.log.is_empty() {
            known.log.clone_from(&note.log);
        }
    }
}

/// Whether lines are missing, or are complete but unreadable.
fn is_damaged(lines: &[JournalLine], entries: &[JournalEntry]) -> bool {
    let at_the_end =
        lines.iter().rev().take_while(|line| !matches!(line, JournalLine::JournalEntry(_)));
    let is_unclear = at_the_end.into_iter().any(|line| *line == JournalLine::Damaged);
    let mut last = 0;
    let mut has_a_gap = false;
    for entry in entries {
        // An entry whose write failed may be in the file all the same, and its number is used
        // again.
        has_a_gap |= entry.seq != last + 1 && (entry.seq != last || last == 0);
        last = entry.seq;
    }
    has_a_gap || is_unclear
}

/// The detail of an update whose journal is damaged.
const DAMAGED: &str =
    "its journal is damaged, so it is unknown how far it came: the old container is brought back";

#[cfg(test)]
mod tests;
