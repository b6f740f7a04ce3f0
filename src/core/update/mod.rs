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
// The HEALTHCHECK of a container: its times, its command, and what an image may ask for.
pub mod healthcheck;
// How long each step may take as a whole.
pub mod time_limits;
// Whose fault it is when the Engine cannot start a container.
pub mod start_error;
// Outcome, cause, and the line of history that tells of them.
pub mod history;
// How an update that was left open goes on: what the Engine says, and what is done with it.
mod resume;
// How an update ended, read from its journal.
pub mod outcome;
// The agent's own update, which a helper carries out.
pub mod self_update;
// What bears one of our names although no journal tells of it.
pub mod orphans;
// Whose fault it is that a new container did not start, or failed its trial.
pub mod fault;
// What a rollback takes for its own, and what it gives back.
pub mod rollback;
// What shows that containers are those of an update, where no journal tells it.
pub mod ownership;
// Everything that can be said about an update, once.
pub mod event;

pub use resume::{ActualState, ContainerState, MemberState, Resume, is_taken_away, resume};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

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

    /// Whether an agent that is asked to stop leaves this step to the next agent. It does not leave
    /// the start, because the old container is down. It does not leave the commit and what follows,
    /// because the new container has proved itself.
    #[must_use]
    pub fn is_left_to_next_agent(self) -> bool {
        self < Self::Commit && self != Self::Start
    }

    /// Whether the old container stands down in this step or before it, so that every millisecond
    /// counts: entries of such steps are not flushed one by one. Recovery does not need them, it
    /// knows from the start of the switch that the old one may be down, and asks the Engine.
    #[must_use]
    pub const fn is_in_service_gap(self) -> bool {
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
    /// The IDs of the new containers of the plan's dependents, on `create` done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub new_dependents: Vec<String>,
    /// Why the way leads back, on `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The last lines the failed container wrote, on `undo_done` of `create`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
    /// Images that are about to lose the tag that tells whose they are, on `started` of `clean`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
    /// Dependents that somebody made anew while they were on trial, on `started` of `verify`: what
    /// stands there now is theirs, and the update goes on without it.
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

/// One line of a journal as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalLine {
    /// An entry.
    JournalEntry(Box<JournalEntry>),
    /// The beginning of one: it was not written to its end.
    Torn,
    /// Something else.
    Damaged,
}

/// A journal, replayed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalProgress {
    /// The furthest step that was begun.
    pub begun: Option<Step>,
    /// The furthest step that was completed.
    pub done: Option<Step>,
    /// Why it goes back, once it does.
    pub failed: Option<Cause>,
    /// The lowest step whose undo is complete.
    pub undone: Option<Step>,
    /// Whether the old containers have served again on the way back.
    pub is_restored: bool,
    /// How often a switch was begun.
    pub switches: u32,
    /// When the last one was begun, by the machine's clock.
    pub switched_at: Option<DateTime<Utc>>,
    /// How often a verification was begun.
    pub verifications: u32,
    /// Everything that became known, the newest of each.
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

    /// Replays the lines of a journal behind its header.
    ///
    /// A line that was torn, by a power cut or a full disk, stands at the end, or the entry behind
    /// it bears its number: nothing was done for it. Everything else is damage, and there is no
    /// telling what was done. Unless the commit is known to be complete, the way then leads back to
    /// what the header recorded, whatever is found.
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

    /// Takes one more entry into account.
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

    /// The next entry. Where a step begins, it says again what recovery has to know, so that no
    /// single line of a journal is the only one that tells which container is the new one.
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

    /// Whether the old container may be in the middle of being stopped: nobody who is killed takes
    /// a request back, and the Engine goes on with it.
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

/// Whether lines are missing, or cannot be understood although they are complete.
fn is_damaged(lines: &[JournalLine], entries: &[JournalEntry]) -> bool {
    let at_the_end =
        lines.iter().rev().take_while(|line| !matches!(line, JournalLine::JournalEntry(_)));
    let is_unclear = at_the_end.into_iter().any(|line| *line == JournalLine::Damaged);
    let mut last = 0;
    let mut has_a_gap = false;
    for entry in entries {
        // An entry whose write failed may stand there all the same, and its number is used again.
        has_a_gap |= entry.seq != last + 1 && (entry.seq != last || last == 0);
        last = entry.seq;
    }
    has_a_gap || is_unclear
}

/// What is told of an update whose journal is damaged.
const DAMAGED: &str = "its journal is damaged, so there is no telling how far it came: what ran before is brought back";

#[cfg(test)]
mod tests;
