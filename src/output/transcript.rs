//! Shows an update while it runs: turns events into output.
//!
//! On a terminal one line is rewritten until its step is over. Elsewhere every line is complete and
//! names its container, and nothing is written that depends on timing.

use std::time::Duration;

use crate::core::subject::Subject;
use crate::documents::{EventDocument, UpdateRow};
use crate::output::history::log;
use crate::output::progress::{ProgressLine, padded};
use crate::output::screen::{Screen, Style};
use crate::output::sentence::{change, ended, of_member, seconds, together};
use crate::output::table::push_line;
use crate::output::text::{cut, one_line, wrap};

/// Goes back to the start of the line and clears it (ECMA-48: CR, Erase in Line).
const CLEAR_LINE: &str = "\r\x1b[K";

/// The indentation of an update's steps.
const INDENT: &str = "  ";

/// Turns events into output.
#[derive(Debug)]
pub struct Transcript {
    screen: Screen,
    is_terminal: bool,
    /// Whether the cursor is after a line that will be rewritten.
    is_line_open: bool,
    progress: ProgressLine,
    /// The subject of the lines that need no name: the last line with a name is about it.
    headlined: Option<Subject>,
}

impl Transcript {
    /// Output for a terminal, or line by line for everything else.
    pub fn new(screen: Screen, is_terminal: bool) -> Self {
        Self {
            screen,
            is_terminal,
            is_line_open: false,
            progress: ProgressLine::default(),
            headlined: None,
        }
    }

    /// The output for an event at `now`, a time of any monotonic clock.
    pub fn tell(&mut self, event: &EventDocument, now: Duration) -> String {
        self.follow(event);
        let mut text = self.permanent(event);
        let is_due = match event {
            EventDocument::StepBegun { .. } => true,
            EventDocument::Pulling { subject, progress, .. } => {
                self.is_terminal && self.progress.pulling(subject, progress, now)
            }
            // What was written has closed the line.
            _ => !text.is_empty(),
        };
        if let Some(line) = self.progress.line().filter(|_| is_due && self.is_terminal) {
            text.push_str(&self.rewrite(&line));
        }
        text
    }

    /// Notes what the updates in flight do.
    fn follow(&mut self, event: &EventDocument) {
        match event {
            EventDocument::UpdateBegun { subject, .. }
            | EventDocument::Continued { subject, .. } => self.progress.begin(subject),
            EventDocument::StepBegun { subject, step } => {
                self.progress.set_step(subject, Some(*step));
            }
            EventDocument::StepDone { subject, .. }
            | EventDocument::RollingBack { subject, .. } => self.progress.set_step(subject, None),
            EventDocument::UpdateEnded(update) => self.progress.end(&update.subject),
            EventDocument::FetchedAhead { subject, .. }
            | EventDocument::SelfUpdating { subject, .. } => self.progress.end(subject),
            EventDocument::Pulling { .. }
            | EventDocument::Pulled { .. }
            | EventDocument::RoundEnded { .. }
            | EventDocument::Warning { .. } => {}
        }
    }

    /// The lines about an event that stay.
    fn permanent(&mut self, event: &EventDocument) -> String {
        match event {
            EventDocument::UpdateBegun { subject, member, image, from, to, dependents } => {
                let what = one_line(&of_member(member.as_deref(), image));
                let change = change(from.as_ref(), Some(to));
                let with = together(dependents);
                self.headline(subject, &format!("{what}, {change}{with}"))
            }
            EventDocument::Continued { subject, intent } => {
                self.headline(subject, &format!("continued, {}", one_line(intent)))
            }
            EventDocument::StepBegun { .. }
            | EventDocument::Pulling { .. }
            | EventDocument::Pulled { .. }
            | EventDocument::RoundEnded { .. } => String::new(),
            EventDocument::StepDone { subject, step, took } => {
                let words = format!("{} {}", padded(*step), seconds(took.as_secs_f64()));
                self.line(subject, &words, Style::Plain)
            }
            EventDocument::FetchedAhead { subject, to } => {
                let words = format!("image {} fetched, its update waits", to.short());
                self.headline(subject, &words)
            }
            EventDocument::SelfUpdating { subject, helper } => {
                let words = format!("handed over to {}", one_line(helper));
                self.headline(subject, &words)
            }
            EventDocument::RollingBack { subject, detail, .. } => {
                let words = format!("rolling back: {}", one_line(detail));
                self.line(subject, &words, Style::Yellow)
            }
            EventDocument::UpdateEnded(update) => self.ended(update),
            EventDocument::Warning { subject, detail } => self.warning(subject.as_ref(), detail),
        }
    }

    /// The output after the last event.
    pub fn finish(&mut self) -> String {
        self.close_line().to_owned()
    }

    /// A line about a container, not indented.
    fn headline(&mut self, subject: &Subject, words: &str) -> String {
        let line = format!("{}: {words}", one_line(&subject.to_string()));
        self.headlined = Some(subject.clone());
        self.lines(&line, "", Style::Bold)
    }

    /// A line about a step of an update. A terminal shows it below the headline; it needs the name
    /// again on other outputs, and after lines about another update.
    fn line(&mut self, subject: &Subject, words: &str, paint: Style) -> String {
        if self.is_terminal && self.headlined.as_ref() == Some(subject) {
            return self.lines(words, INDENT, paint);
        }
        self.headlined = None;
        let words: Vec<_> = words.split_whitespace().collect();
        let line = format!("{}: {}", one_line(&subject.to_string()), words.join(" "));
        self.lines(&line, if self.is_terminal { INDENT } else { "" }, paint)
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

    fn ended(&mut self, update: &UpdateRow) -> String {
        let sentence = format!("{}: {}", one_line(&update.subject.to_string()), ended(update));
        self.headlined = None;
        let mut text = self.lines(&sentence, "", Style::Bold);
        log(update, self.screen).for_each(|line| push_line(&mut text, &line));
        text
    }

    fn warning(&mut self, subject: Option<&Subject>, detail: &str) -> String {
        let words = format!("warning: {}", one_line(detail));
        match subject {
            None => self.lines(&words, "", Style::Yellow),
            Some(subject) => self.line(subject, &words, Style::Yellow),
        }
    }
}
