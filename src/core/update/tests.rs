//! The rules for an open journal, as a table.

use super::*;

fn entry(seq: u32, step: Step, mark: Mark) -> Entry {
    Entry { seq, at: DateTime::UNIX_EPOCH, step, mark, note: Note::default() }
}

fn up_to(step: Step, mark: Mark) -> Progress {
    let mut entries = Vec::new();
    for earlier in Step::ALL.into_iter().filter(|earlier| *earlier < step) {
        entries.push(entry(entries.len() as u32 + 1, earlier, Mark::Started));
        entries.push(entry(entries.len() as u32 + 1, earlier, Mark::Done));
    }
    entries.push(entry(entries.len() as u32 + 1, step, Mark::Started));
    if mark != Mark::Started {
        entries.push(entry(entries.len() as u32 + 1, step, mark));
    }
    Progress::replay(&entries)
}

fn seen(name: &str, running: bool, started: bool) -> Option<Seen> {
    Some(Seen { id: name.into(), name: name.into(), running, started })
}

fn back(resume: &Resume) -> bool {
    matches!(resume, Resume::Back(_))
}

#[test]
fn before_the_switch_the_way_leads_back_without_blame() {
    let reality =
        Reality { old: seen("till", true, true), new: None, old_was_started_again: false };
    for step in [Step::Pull, Step::Sync, Step::Create] {
        for mark in [Mark::Started, Mark::Done] {
            let Resume::Back(cause) = resume(&up_to(step, mark), &reality) else {
                panic!("{step:?} {mark:?} went forward");
            };
            assert!(!cause.blames_the_image());
        }
    }
}

#[test]
fn a_switch_that_was_cut_short_is_finished_where_no_gap_is_added() {
    let stopped = |started| Reality {
        old: seen("pilotfish-old-till", false, true),
        new: seen("till", false, started),
        old_was_started_again: false,
    };
    let switching = up_to(Step::Switch, Mark::Started);
    assert_eq!(resume(&switching, &stopped(false)), Resume::Forward(Step::Switch));
    assert!(back(&resume(&switching, &stopped(true))));
}

#[test]
fn a_stop_that_is_under_way_is_waited_for_and_not_taken_for_a_life() {
    let mut reality = Reality {
        old: seen("till", true, true),
        new: seen("pilotfish-new-till", false, false),
        old_was_started_again: false,
    };
    let mut progress = up_to(Step::Switch, Mark::Started);
    assert_eq!(resume(&progress, &reality), Resume::Forward(Step::Switch));
    progress.switches = SWITCH_ATTEMPTS_MAX;
    assert!(back(&resume(&progress, &reality)));
    // What was started again has no stop behind it.
    progress.switches = 1;
    reality.old_was_started_again = true;
    assert!(back(&resume(&progress, &reality)));
}

#[test]
fn a_running_new_container_is_verified_again_at_most_three_times() {
    let reality = Reality {
        old: seen("pilotfish-old-till", false, true),
        new: seen("till", true, true),
        old_was_started_again: false,
    };
    let mut progress = up_to(Step::Verify, Mark::Started);
    assert_eq!(resume(&progress, &reality), Resume::Forward(Step::Verify));
    progress.verifications = VERIFY_ATTEMPTS_MAX;
    assert!(back(&resume(&progress, &reality)));
}

#[test]
fn an_old_one_that_runs_again_wins() {
    let reality = Reality {
        old: seen("pilotfish-old-till", true, true),
        new: seen("till", false, true),
        old_was_started_again: true,
    };
    assert!(back(&resume(&up_to(Step::Verify, Mark::Started), &reality)));
}

#[test]
fn a_proven_one_is_committed_and_a_committed_one_is_cleaned_up() {
    let reality =
        Reality { old: None, new: seen("till", true, true), old_was_started_again: false };
    let verified = up_to(Step::Verify, Mark::Done);
    assert_eq!(resume(&verified, &reality), Resume::Forward(Step::Commit));
    let old = seen("pilotfish-old-till", true, true);
    assert!(back(&resume(&verified, &Reality { old, ..reality })));
    let committed = up_to(Step::Commit, Mark::Done);
    assert_eq!(resume(&committed, &Reality::default()), Resume::Forward(Step::Clean));
}

#[test]
fn a_recorded_failure_goes_back_with_its_own_cause() {
    let mut progress = up_to(Step::Verify, Mark::Started);
    let cause = Cause::image("exited with code 1");
    progress.failed = Some(cause.clone());
    assert_eq!(resume(&progress, &Reality::default()), Resume::Back(cause));
}

#[test]
fn an_entry_reads_as_one_flat_line() {
    let note = Note { new_image: Some("sha256:1".into()), ..Note::default() };
    let line = serde_json::to_string(&Entry { note, ..entry(2, Step::Pull, Mark::Done) });
    let expected = r#"{"seq":2,"at":"1970-01-01T00:00:00Z","step":"pull","mark":"done","new_image":"sha256:1"}"#;
    assert_eq!(line.expect("an entry serialises"), expected);
}
