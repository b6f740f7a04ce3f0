//! The journal of an update, replayed: how far it came, and what is known.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::history::{Cause, DataState};
use super::note::{JobNote, Note};
use super::step::{Mark, Step};

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
    /// Whether new containers were started beside the old ones, or may have been.
    pub has_launched: bool,
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
        if is_damaged(lines, &entries) && !progress.is_committed() {
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
                self.has_launched |= entry.step == Step::Launch;
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
            if note.new_images.is_empty() {
                note.new_images.clone_from(&self.known.new_images);
            }
            if note.new_containers.is_empty() {
                note.new_containers.clone_from(&self.known.new_containers);
            }
        }
        JournalEntry { seq: self.entries + 1, at, step, mark, note }
    }

    /// Whether new containers may exist.
    #[must_use]
    pub fn may_have_created(&self) -> bool {
        self.begun >= Some(Step::Create)
    }

    /// Whether the update may have stopped the old containers.
    #[must_use]
    pub fn old_may_be_down(&self) -> bool {
        self.begun >= Some(Step::Switch) || self.known.stops_for_jobs
    }

    /// What the jobs have done to the data; nothing if none has begun.
    #[must_use]
    pub fn data_state(&self) -> Option<DataState> {
        let jobs = &self.known.jobs;
        if jobs.iter().any(JobNote::has_succeeded) {
            return Some(DataState::Migrated);
        }
        jobs.iter().any(|job| job.runs > 0).then_some(DataState::Maybe)
    }

    /// Whether jobs may have run, and nothing was switched yet. The update then continues, because
    /// a job that has ended well must not run again.
    #[must_use]
    pub fn is_at_jobs(&self) -> bool {
        self.begun == Some(Step::Run)
    }

    /// Whether a new container may have been started, so that its image was tried.
    #[must_use]
    pub fn may_have_started(&self) -> bool {
        self.has_launched || self.begun >= Some(Step::Start)
    }

    /// Whether containers were stopped or started for the update, or a job may have changed data.
    #[must_use]
    pub fn was_tried(&self) -> bool {
        self.has_launched || self.old_may_be_down() || self.data_state().is_some()
    }

    /// Whether old and new containers run side by side although nothing was stopped yet.
    #[must_use]
    pub fn runs_both(&self) -> bool {
        self.has_launched && !self.old_may_be_down() && !self.has_one_way_left()
    }

    /// Whether the new containers have passed their verification.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.done >= Some(Step::Verify)
    }

    /// Whether the new containers are the service.
    #[must_use]
    pub fn is_committed(&self) -> bool {
        self.done >= Some(Step::Commit)
    }

    /// Whether only one way is left: a rollback that was begun is never turned into an update, and
    /// an update that was committed is never taken back.
    #[must_use]
    pub fn has_one_way_left(&self) -> bool {
        self.failed.is_some() || self.is_committed()
    }

    /// Whether the old container may be stopping right now: the request of a killed agent cannot be
    /// taken back, and the Engine continues with it.
    #[must_use]
    pub fn is_in_switch(&self) -> bool {
        let stops = self.begun == Some(Step::Switch) || self.known.stops_for_jobs;
        stops && self.done < Some(Step::Switch) && self.undone.is_none()
    }

    fn learn(&mut self, note: &Note) {
        let known = &mut self.known;
        if !note.new_images.is_empty() {
            // A repeated image of a version before format 3 does not tell that it was fetched.
            let had = std::mem::take(&mut known.new_images);
            known.new_images = note.new_images.iter().map(|image| image.with(&had)).collect();
        }
        if !note.new_containers.is_empty() {
            known.new_containers.clone_from(&note.new_containers);
        }
        for job in &note.jobs {
            known.jobs.retain(|it| it.number != job.number);
            known.jobs.push(job.clone());
        }
        known.stops_for_jobs |= note.stops_for_jobs;
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
