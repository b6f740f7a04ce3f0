//! The updates in flight, and the line of a terminal that says what they do now.

use std::time::Duration;

use crate::core::subject::Subject;
use crate::core::update::Step;
use crate::documents::PullProgressDocument;
use crate::output::sentence::bytes;
use crate::output::text::one_line;

/// Shortest time between two updates of the line: ten per second look smooth, and more would only
/// keep a slow machine and a slow connection busy.
const REFRESH_INTERVAL: Duration = Duration::from_millis(100);

/// Shortest time of a pull before its rate is shown.
const RATE_AFTER: Duration = Duration::from_millis(500);

/// The longest name of a step, for alignment.
const STEP_WIDTH: usize = 6;

/// The updates in flight, in the order in which they began.
#[derive(Debug, Default)]
pub(super) struct ProgressLine {
    updates: Vec<ShownUpdate>,
    /// When the line was last updated because of a pull.
    shown: Option<Duration>,
}

/// One update that is shown.
#[derive(Debug)]
struct ShownUpdate {
    subject: Subject,
    step: Option<Step>,
    pull: Option<ShownPull>,
}

/// A pull that is shown.
#[derive(Debug, Clone)]
struct ShownPull {
    began: Duration,
    shown: Duration,
    /// Bytes that the Engine already had at the first event: not part of the rate.
    first: u64,
    progress: PullProgressDocument,
}

impl ProgressLine {
    /// The update of a subject is in flight from now on.
    pub(super) fn begin(&mut self, subject: &Subject) {
        self.update(subject);
    }

    /// It begins a step, or is between two of them.
    pub(super) fn set_step(&mut self, subject: &Subject, step: Option<Step>) {
        let update = self.update(subject);
        (update.step, update.pull) = (step, None);
        self.shown = None;
    }

    /// It is over.
    pub(super) fn end(&mut self, subject: &Subject) {
        self.updates.retain(|update| update.subject != *subject);
    }

    /// Layers arrive. Returns whether the line is due for an update.
    pub(super) fn pulling(
        &mut self,
        subject: &Subject,
        progress: &PullProgressDocument,
        now: Duration,
    ) -> bool {
        if self.shown.is_some_and(|shown| now < shown + REFRESH_INTERVAL) {
            return false;
        }
        self.shown = Some(now);
        let update = self.update(subject);
        update.step = Some(Step::Pull);
        let (began, first) =
            update.pull.as_ref().map_or((now, progress.current), |pull| (pull.began, pull.first));
        update.pull = Some(ShownPull { began, shown: now, first, progress: progress.clone() });
        true
    }

    /// What the updates do now: all about the only one, or a few words about each.
    pub(super) fn line(&self) -> Option<String> {
        let busy = || self.updates.iter().filter_map(|update| Some((update, update.step?)));
        match busy().count() {
            0 => None,
            1 if self.updates.len() == 1 => busy().next().map(|(update, step)| {
                let pull = update.pull.as_ref().map_or_else(|| "…".to_owned(), ShownPull::whole);
                format!("{} {pull}", padded(step))
            }),
            _ => {
                let short = |(update, step): (&ShownUpdate, Step)| {
                    let name = one_line(&update.subject.to_string());
                    let share = update.pull.as_ref().map(ShownPull::share).unwrap_or_default();
                    format!("{name} {}{share}", step.word())
                };
                Some(busy().map(short).collect::<Vec<_>>().join(", "))
            }
        }
    }

    fn update(&mut self, subject: &Subject) -> &mut ShownUpdate {
        let known = self.updates.iter().position(|update| update.subject == *subject);
        let index = known.unwrap_or_else(|| {
            self.updates.push(ShownUpdate { subject: subject.clone(), step: None, pull: None });
            self.updates.len() - 1
        });
        &mut self.updates[index]
    }
}

impl ShownPull {
    /// `3/4 layers, 12.3 MB of 40.1 MB, 5.2 MB/s`
    fn whole(&self) -> String {
        let PullProgressDocument { current, total, layers_done, layers } = &self.progress;
        let mut line = format!("{layers_done}/{layers} layers, {}", bytes(*current));
        if total > current {
            line.push_str(&format!(" of {}", bytes(*total)));
        }
        let elapsed = self.shown.saturating_sub(self.began);
        if elapsed >= RATE_AFTER {
            let rate = current.saturating_sub(self.first) as f64 / elapsed.as_secs_f64();
            line.push_str(&format!(", {}/s", bytes(rate as u64)));
        }
        line
    }

    /// ` 31 %`, or the bytes if the whole size is not known.
    fn share(&self) -> String {
        let PullProgressDocument { current, total, .. } = &self.progress;
        let percent = current.saturating_mul(100).checked_div(*total);
        percent.map_or_else(|| format!(" {}", bytes(*current)), |share| format!(" {share} %"))
    }
}

/// The word of a step, as wide as the longest one.
pub(super) fn padded(step: Step) -> String {
    format!("{:STEP_WIDTH$}", step.word())
}
