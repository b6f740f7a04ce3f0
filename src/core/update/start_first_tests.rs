//! The rules for an unfinished journal of an update that started the new container first.

use std::time::Duration;

use chrono::DateTime;

use super::*;
use crate::core::update::history::Cause;
use crate::core::update::plan::Strategy;

const START_FIRST: Strategy = Strategy::StartFirst { drain: Duration::from_secs(10) };

fn up_to(step: Step, mark: Mark) -> JournalProgress {
    let mut progress = JournalProgress::default();
    let mut write = |step, mark| {
        let entry = progress.next(DateTime::UNIX_EPOCH, step, mark, Note::default());
        progress.take(&entry);
    };
    for earlier in START_FIRST.steps().filter(|earlier| *earlier < step) {
        write(earlier, Mark::Started);
        write(earlier, Mark::Done);
    }
    write(step, Mark::Started);
    if mark == Mark::Done {
        write(step, mark);
    }
    progress
}

fn pair(old: (&str, bool), new: (&str, bool)) -> ActualState {
    let seen = |(name, running): (&str, bool)| {
        Some(ContainerState { id: name.into(), name: name.into(), running, started: true })
    };
    let member = MemberState { old: seen(old), new: seen(new), old_was_started_again: false };
    ActualState { members: vec![member] }
}

fn is_back(resume: &Resume) -> bool {
    matches!(resume, Resume::Back(cause) if !cause.blames_image())
}

#[test]
fn before_the_switch_an_update_is_rolled_back_although_both_run() {
    let both = pair(("till", true), ("pilotfish-new-till", true));
    for step in [Step::Launch, Step::Prove, Step::Join] {
        for mark in [Mark::Started, Mark::Done] {
            let progress = up_to(step, mark);
            assert!(is_back(&resume(&progress, &both)), "{step:?} {mark:?}");
            assert!(progress.runs_both() && progress.was_tried() && progress.may_have_started());
            assert!(!progress.old_may_be_down());
        }
    }
    assert!(!up_to(Step::Create, Mark::Done).runs_both());
    assert!(!up_to(Step::Switch, Mark::Started).runs_both());
    let failed = Some(Cause::image("unhealthy"));
    let failed = JournalProgress { failed, ..up_to(Step::Prove, Mark::Started) };
    assert!(!failed.runs_both(), "it goes back already");
}

#[test]
fn a_hand_over_that_was_cut_short_goes_on_while_the_new_one_serves() {
    let mut progress = up_to(Step::Switch, Mark::Started);
    for old in [("till", true), ("pilotfish-old-till", true), ("pilotfish-old-till", false)] {
        for new in [("pilotfish-new-till", true), ("till", true)] {
            assert_eq!(resume(&progress, &pair(old, new)), Resume::Forward(Step::Switch));
        }
    }
    progress.switches = SWITCH_ATTEMPTS_MAX;
    let both = pair(("till", true), ("pilotfish-new-till", true));
    assert!(is_back(&resume(&progress, &both)));
}

#[test]
fn after_a_power_cut_in_the_hand_over_the_old_one_stays() {
    let progress = up_to(Step::Switch, Mark::Started);
    let mut cut = pair(("pilotfish-old-till", true), ("till", false));
    cut.members[0].old_was_started_again = true;
    assert!(is_back(&resume(&progress, &cut)));
    // The Engine has forgotten that it ever started the new one.
    let forgotten = |old_runs| {
        let mut forgotten = pair(("pilotfish-old-till", old_runs), ("pilotfish-new-till", false));
        if let Some(new) = &mut forgotten.members[0].new {
            new.started = false;
        }
        forgotten
    };
    assert!(is_back(&resume(&progress, &forgotten(true))));
    assert!(is_back(&resume(&progress, &forgotten(false))));
    assert!(is_back(&resume(&up_to(Step::Verify, Mark::Started), &forgotten(false))));
}

#[test]
fn after_the_hand_over_it_is_as_with_every_update() {
    let handed_over = pair(("pilotfish-old-till", false), ("till", true));
    let switched = up_to(Step::Switch, Mark::Done);
    assert_eq!(resume(&switched, &handed_over), Resume::Forward(Step::Verify));
    let verified = up_to(Step::Verify, Mark::Done);
    assert_eq!(resume(&verified, &handed_over), Resume::Forward(Step::Commit));
    let again = pair(("pilotfish-old-till", true), ("till", true));
    assert!(is_back(&resume(&up_to(Step::Verify, Mark::Started), &again)));
    let ended = pair(("pilotfish-old-till", false), ("till", false));
    assert!(is_back(&resume(&up_to(Step::Verify, Mark::Started), &ended)));
}
