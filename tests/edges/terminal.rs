//! The progress of an update on the terminal, compared as a whole.

use std::time::Duration;

use pilotfish::core::subject::Subject;
use pilotfish::core::update::Step;
use pilotfish::core::update::event::{Event, EventSink, PullProgress};
use pilotfish::core::update::history::{Cause, Outcome, Record};
use pilotfish::documents::EventDocument;
use pilotfish::output::{Screen, TerminalListener, Transcript};

use crate::fixtures::{digest, numbered, record};
use crate::golden::{Page, compare};

/// The events of a good update and of one with a rollback, each with its time in milliseconds.
fn events() -> Vec<(u64, Event)> {
    let till = || Subject::container("till");
    let mut events = vec![(
        0,
        Event::UpdateBegun {
            subject: till(),
            member: None,
            image: "shop.example:5000/front/till:1".into(),
            from: Some(digest("from")),
            to: digest("to"),
            dependents: vec!["drawer".into(), "printer".into()],
        },
    )];
    events.push((0, Event::StepBegun { subject: till(), step: Step::Pull }));
    // Forty updates of the progress line per second, of which ten are shown.
    for picture in 0..80u64 {
        let progress = PullProgress {
            current: picture * 250_000,
            total: 20_000_000,
            layers_done: usize::try_from(picture / 20).expect("a small number"),
            layers: 4,
        };
        let registry = "shop.example:5000".to_owned();
        events.push((picture * 25, Event::Pulling { subject: till(), registry, progress }));
    }
    let registry = "shop.example:5000".to_owned();
    events.push((2000, Event::Pulled { registry, bytes: 20_000_000 }));
    let done = |step, milliseconds| Event::StepDone {
        subject: till(),
        step,
        took: Duration::from_millis(milliseconds),
    };
    events.push((2010, done(Step::Pull, 2010)));
    for (step, milliseconds) in [(Step::Sync, 24), (Step::Create, 110), (Step::Switch, 420)] {
        events.push((2100, Event::StepBegun { subject: till(), step }));
        events.push((2200, done(step, milliseconds)));
    }
    let warning = "old images stay on disk: one is in use".to_owned();
    events.push((2900, Event::Warning { subject: Some(till()), detail: warning }));
    events.push((2900, Event::StepBegun { subject: till(), step: Step::Verify }));
    let cause = Cause::image("the new container exited with code 1 after 0.3 s");
    events.push((3000, Event::RollingBack { subject: till(), cause }));
    let reason = Some("the new container exited with code 1 after 0.3 s");
    let record = Record {
        gap_seconds: Some(1.75),
        log: vec!["panic: no such table".into()],
        ..record("till", Outcome::RolledBack, reason)
    };
    events.push((3500, Event::UpdateEnded(Box::new(record))));
    let subject = Subject::container("kiosk");
    events.push((3900, Event::FetchedAhead { subject, to: digest("to") }));
    events.push((4000, Event::Warning { subject: None, detail: "the disk is slow".into() }));
    events
}

/// The events of two updates side by side, one of which is rolled back, and of a pull ahead of a
/// window.
fn side_by_side() -> Vec<(u64, Event)> {
    let (till, kiosk, signs) = ("till", "kiosk", "signs");
    let begun = |name: &str| Event::UpdateBegun {
        subject: Subject::container(name),
        member: None,
        image: format!("shop.example/{name}:1"),
        from: Some(digest("from")),
        to: digest("to"),
        dependents: Vec::new(),
    };
    let step = |name: &str, step| Event::StepBegun { subject: Subject::container(name), step };
    let done = |name: &str, step, took| Event::StepDone {
        subject: Subject::container(name),
        step,
        took: Duration::from_millis(took),
    };
    let pulling = |name: &str, current, total| Event::Pulling {
        subject: Subject::container(name),
        registry: "shop.example".into(),
        progress: PullProgress { current, total, layers_done: 1, layers: 2 },
    };
    let warning = |name: &str, detail: &str| Event::Warning {
        subject: Some(Subject::container(name)),
        detail: detail.into(),
    };
    let cause = Cause::image("the new container exited with code 1");
    let bad = record(till, Outcome::RolledBack, Some("the new container exited with code 1"));
    vec![
        (0, begun(till)),
        (0, step(till, Step::Pull)),
        (50, pulling(till, 1_000_000, 4_000_000)),
        (60, begun(kiosk)),
        (60, step(kiosk, Step::Pull)),
        (200, pulling(kiosk, 500_000, 0)),
        (310, pulling(till, 2_000_000, 4_000_000)),
        (420, pulling(signs, 30, 100)),
        (500, done(till, Step::Pull, 500)),
        (500, step(till, Step::Verify)),
        (600, warning(kiosk, "the registry is slow")),
        (700, Event::FetchedAhead { subject: Subject::container(signs), to: digest("to") }),
        (800, Event::RollingBack { subject: Subject::container(till), cause }),
        (900, done(kiosk, Step::Pull, 840)),
        (900, step(kiosk, Step::Sync)),
        (950, Event::UpdateEnded(Box::new(bad))),
        (990, done(kiosk, Step::Sync, 90)),
        (999, Event::UpdateEnded(Box::new(record(kiosk, Outcome::Updated, None)))),
    ]
}

fn rendered(screen: Screen, is_terminal: bool) -> String {
    rendered_events(events(), screen, is_terminal)
}

fn rendered_events(events: Vec<(u64, Event)>, screen: Screen, is_terminal: bool) -> String {
    let mut transcript = Transcript::new(screen, is_terminal);
    let mut text = String::new();
    for (at, event) in events {
        text.push_str(&transcript.tell(&EventDocument::from(&event), Duration::from_millis(at)));
    }
    text + &transcript.finish()
}

/// The output of a terminal with its control characters escaped, one line for each rewrite.
fn written_out(text: &str) -> String {
    text.replace("\r\x1b[K", "⏎\n").replace('\x1b', "␛")
}

#[test]
fn a_terminal_sees_steps_and_progress_on_one_rewritten_line() {
    let text = rendered(Screen { width: Some(60), colour: false }, true);
    for line in text.split(['\n', '\r']) {
        let columns = line.trim_start_matches("\x1b[K").chars().count();
        assert!(columns <= 60, "{line}");
    }
    let pictures = text.matches("layers").count();
    assert_eq!(pictures, 20, "ten a second for two seconds");
    compare("terminal", &written_out(&text));
}

#[test]
fn a_terminal_says_which_of_several_updates_a_line_is_about() {
    let screen = Screen { width: Some(60), colour: false };
    compare("terminal-several", &written_out(&rendered_events(side_by_side(), screen, true)));
    compare("terminal-several-pipe", &rendered_events(side_by_side(), Screen::NONE, false));
}

#[test]
fn a_coloured_terminal_sees_the_same_in_colour() {
    let colourful = rendered(Screen { width: Some(60), colour: true }, true);
    let mut plain = colourful.clone();
    for code in ["0", "1", "2", "31", "32", "33", "36"] {
        plain = plain.replace(&format!("\x1b[{code}m"), "");
    }
    assert_ne!(plain, colourful);
    assert_eq!(plain, rendered(Screen { width: Some(60), colour: false }, true));
}

#[test]
fn a_pipe_gets_complete_plain_lines() {
    let text = rendered(Screen::NONE, false);
    assert!(!text.contains(['\r', '\x1b']), "{text:?}");
    compare("terminal-pipe", &text);
}

#[test]
fn the_listener_writes_the_transcript() {
    let page = Page::default();
    let listener = TerminalListener::new(page.clone(), Screen::NONE, false).expect("a thread");
    for (_, event) in events() {
        listener.receive(&numbered(event));
    }
    listener.finish();
    assert_eq!(page.text(), rendered(Screen::NONE, false));
}
