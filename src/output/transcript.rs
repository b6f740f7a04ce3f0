//! Shows an update while it runs: turns events into output.
//!
//! On a terminal one line is rewritten until its step is over. Elsewhere every line is complete and
//! names its container, and nothing is written that depends on timing.

use std::time::Duration;

use crate::core::update::Step;
use crate::core::update::event::{Event, PullProgress};
use crate::core::update::history::Record;
use crate::output::history::log;
use crate::output::screen::{Screen, Style};
use crate::output::sentence::{bytes, change, ended, seconds, together};
use crate::output::table::push_line;
use crate::output::text::{cut, one_line, wrap};

/// Goes back to the start of the line and clears it (ECMA-48: CR, Erase in Line).
const CLEAR_LINE: &str = "\r\x1b[K";

/// Shortest time between two updates of a pull's line: ten per second look smooth, and more would
/// only keep a slow machine and a slow connection busy.
const REFRESH_INTERVAL: Duration = Duration::from_millis(100);

/// Shortest time of a pull before its rate is shown.
const RATE_AFTER: Duration = Duration::from_millis(500);

/// The indentation of an update's steps.
const INDENT: &str = "  ";

/// The longest name of a step, for alignment.
const STEP_WIDTH: usize = 6;

/// Turns events into output.
#[derive(Debug)]
pub struct Transcript {
    screen: Screen,
    is_terminal: bool,
    /// Whether the cursor is after a line that will be rewritten.
    is_line_open: bool,
    pull: Option<ShownPull>,
}

/// A pull that is shown.
#[derive(Debug, Clone)]
struct ShownPull {
    began: Duration,
    shown: Duration,
    /// Bytes that the Engine already had at the first event: not part of the rate.
    first: u64,
}

impl Transcript {
    /// Output for a terminal, or line by line for everything else.
    pub const fn new(screen: Screen, is_terminal: bool) -> Self {
        Self { screen, is_terminal, is_line_open: false, pull: None }
    }

    /// The output for an event at `now`, a time of any monotonic clock.
    pub fn tell(&mut self, event: &Event, now: Duration) -> String {
        match event {
            Event::UpdateBegun { container, image, from, to, dependents } => {
                let change = change(from.as_ref(), Some(to));
                let with = together(dependents);
                self.headline(container, &format!("{}, {change}{with}", one_line(image)))
            }
            Event::Continued { container, intent } => {
                self.headline(container, &format!("continued, {}", one_line(intent)))
            }
            Event::StepBegun { step, .. } => self.step_begun(*step),
            Event::StepDone { container, step, took } => {
                self.pull = None;
                let words = format!("{} {}", padded(*step), seconds(took.as_secs_f64()));
                self.line(container, &words, Style::Plain)
            }
            Event::Pulling { progress, .. } => self.pulling(progress, now),
            Event::Pulled { .. } | Event::RoundEnded { .. } => String::new(),
            Event::FetchedAhead { container, to } => {
                self.pull = None;
                let words = format!("image {} fetched, waits for its window", to.short());
                self.headline(container, &words)
            }
            Event::SelfUpdating { container, helper } => {
                let words = format!("handed over to {}", one_line(helper));
                self.headline(container, &words)
            }
            Event::RollingBack { container, cause } => {
                let words = format!("rolling back: {}", one_line(&cause.detail));
                self.line(container, &words, Style::Yellow)
            }
            Event::UpdateEnded(record) => self.ended(record),
            Event::Warning { container, detail } => self.warning(container, detail),
        }
    }

    /// The output after the last event.
    pub fn finish(&mut self) -> String {
        self.close_line().to_owned()
    }

    /// A line about a container, not indented.
    fn headline(&mut self, container: &str, words: &str) -> String {
        let line = format!("{}: {words}", one_line(container));
        self.lines(&line, "", Style::Bold)
    }

    /// A line about a step of an update. A terminal shows it below the headline, other outputs need
    /// the container's name again.
    fn line(&mut self, container: &str, words: &str, paint: Style) -> String {
        if self.is_terminal {
            return self.lines(words, INDENT, paint);
        }
        let words: Vec<_> = words.split_whitespace().collect();
        self.lines(&format!("{}: {}", one_line(container), words.join(" ")), "", paint)
    }

    /// Permanent lines.
    fn lines(&mut self, words: &str, indent: &str, paint: Style) -> String {
        let mut text = self.close_line().to_owned();
        for line in wrap(words, indent, self.screen.width) {
            push_line(&mut text, &self.screen.paint(paint, &line));
        }
        text
    }

    fn close_line(&mut self) -> &'static str {
        if std::mem::take(&mut self.is_line_open) { CLEAR_LINE } else { "" }
    }

    /// Rewrites the open line. Never wider than the screen, because a wrapped line cannot be
    /// rewritten.
    fn rewrite(&mut self, words: &str) -> String {
        self.is_line_open = true;
        let room = self.screen.width.map(|columns| columns.saturating_sub(1));
        let line = cut(&format!("{INDENT}{words}"), room);
        format!("{CLEAR_LINE}{}", self.screen.paint(Style::Dim, &line))
    }

    fn step_begun(&mut self, step: Step) -> String {
        if self.is_terminal {
            self.rewrite(&format!("{} …", padded(step)))
        } else {
            String::new()
        }
    }

    fn pulling(&mut self, progress: &PullProgress, now: Duration) -> String {
        let is_too_soon = |pull: &ShownPull| now < pull.shown + REFRESH_INTERVAL;
        if !self.is_terminal || self.pull.as_ref().is_some_and(is_too_soon) {
            return String::new();
        }
        let fresh = || ShownPull { began: now, shown: now, first: progress.current };
        let pull = ShownPull { shown: now, ..self.pull.clone().unwrap_or_else(fresh) };
        let line = pull.line(progress);
        self.pull = Some(pull);
        self.rewrite(&format!("{} {line}", padded(Step::Pull)))
    }

    fn ended(&mut self, record: &Record) -> String {
        let sentence = format!("{}: {}", one_line(&record.container), ended(record));
        let mut text = self.lines(&sentence, "", Style::Bold);
        log(record, self.screen).for_each(|line| push_line(&mut text, &line));
        text
    }

    fn warning(&mut self, container: &str, detail: &str) -> String {
        let words = format!("warning: {}", one_line(detail));
        if container.is_empty() {
            return self.lines(&words, "", Style::Yellow);
        }
        self.line(container, &words, Style::Yellow)
    }
}

impl ShownPull {
    /// `3/4 layers, 12.3 MB of 40.1 MB, 5.2 MB/s`
    fn line(&self, progress: &PullProgress) -> String {
        let PullProgress { current, total, layers_done, layers } = progress;
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
}

fn padded(step: Step) -> String {
    format!("{:STEP_WIDTH$}", step.word())
}
