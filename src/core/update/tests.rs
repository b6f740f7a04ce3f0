//! The rules for an unfinished journal, as a table.

use chrono::DateTime;

use super::history::Cause;
use super::*;
use crate::core::update::plan::Strategy;

fn entry(seq: u32, step: Step, mark: Mark) -> JournalEntry {
    JournalEntry { seq, at: DateTime::UNIX_EPOCH, step, mark, note: Note::default() }
}

fn up_to(step: Step, mark: Mark) -> JournalProgress {
    let mut entries = Vec::new();
    for earlier in Strategy::StopFirst.steps().filter(|earlier| *earlier < step) {
        entries.push(entry(entries.len() as u32 + 1, earlier, Mark::Started));
        entries.push(entry(entries.len() as u32 + 1, earlier, Mark::Done));
    }
    entries.push(entry(entries.len() as u32 + 1, step, Mark::Started));
    if mark != Mark::Started {
        entries.push(entry(entries.len() as u32 + 1, step, mark));
    }
    JournalProgress::replay(&entries)
}

fn seen(name: &str, running: bool, started: bool) -> Option<ContainerState> {
    Some(ContainerState { id: name.into(), name: name.into(), running, started })
}

fn alone(
    old: Option<ContainerState>,
    new: Option<ContainerState>,
    old_was_started_again: bool,
) -> ActualState {
    ActualState { members: vec![MemberState { old, new, old_was_started_again }] }
}

fn back(resume: &Resume) -> bool {
    matches!(resume, Resume::Back(_))
}

#[test]
fn before_the_switch_an_update_is_rolled_back_without_blame() {
    let reality = alone(seen("till", true, true), None, false);
    for step in [Step::Pull, Step::Sync, Step::Create] {
        for mark in [Mark::Started, Mark::Done] {
            let Resume::Back(cause) = resume(&up_to(step, mark), &reality) else {
                panic!("{step:?} {mark:?} went forward");
            };
            assert!(!cause.blames_image());
        }
    }
}

#[test]
fn a_stop_request_ends_no_gap_halfway_and_no_commit() {
    let are_left = Step::ALL.map(Step::is_left_to_next_agent);
    let left = Step::ALL.into_iter().zip(are_left).filter(|(_, is_left)| !is_left);
    let kept: Vec<_> = left.map(|(step, _)| step).collect();
    assert_eq!(kept, [Step::Start, Step::Commit, Step::Clean]);
}

#[test]
fn one_way_is_left_after_a_failure_and_after_the_commit() {
    for step in Strategy::StopFirst.steps() {
        for mark in [Mark::Started, Mark::Done] {
            let is_committed = step > Step::Commit || (step, mark) == (Step::Commit, Mark::Done);
            let progress = up_to(step, mark);
            assert_eq!(progress.has_one_way_left(), is_committed, "{step:?} {mark:?}");
            let failed = Some(Cause::interrupted("cut"));
            assert!(JournalProgress { failed, ..progress }.has_one_way_left());
        }
    }
}

#[test]
fn a_switch_that_was_cut_short_is_finished_where_no_gap_is_added() {
    let stopped = |started| {
        alone(seen("pilotfish-old-till", false, true), seen("till", false, started), false)
    };
    let switching = up_to(Step::Switch, Mark::Started);
    assert_eq!(resume(&switching, &stopped(false)), Resume::Forward(Step::Switch));
    assert!(back(&resume(&switching, &stopped(true))));
}

#[test]
fn a_running_stop_is_waited_for_and_is_no_new_start() {
    let mut reality =
        alone(seen("till", true, true), seen("pilotfish-new-till", false, false), false);
    let mut progress = up_to(Step::Switch, Mark::Started);
    assert_eq!(resume(&progress, &reality), Resume::Forward(Step::Switch));
    progress.switches = SWITCH_ATTEMPTS_MAX;
    assert!(back(&resume(&progress, &reality)));
    // A container that was started again is not being stopped.
    progress.switches = 1;
    reality.members[0].old_was_started_again = true;
    assert!(back(&resume(&progress, &reality)));
}

#[test]
fn a_running_new_container_is_verified_again_at_most_three_times() {
    let reality = alone(seen("pilotfish-old-till", false, true), seen("till", true, true), false);
    let mut progress = up_to(Step::Verify, Mark::Started);
    assert_eq!(resume(&progress, &reality), Resume::Forward(Step::Verify));
    progress.verifications = VERIFY_ATTEMPTS_MAX;
    assert!(back(&resume(&progress, &reality)));
}

#[test]
fn an_old_container_that_runs_again_stays() {
    let reality = alone(seen("pilotfish-old-till", true, true), seen("till", false, true), true);
    assert!(back(&resume(&up_to(Step::Verify, Mark::Started), &reality)));
}

#[test]
fn a_proven_one_is_committed_and_a_committed_one_is_cleaned_up() {
    let reality = alone(None, seen("till", true, true), false);
    let verified = up_to(Step::Verify, Mark::Done);
    assert_eq!(resume(&verified, &reality), Resume::Forward(Step::Commit));
    let old = seen("pilotfish-old-till", true, true);
    assert!(back(&resume(&verified, &alone(old, seen("till", true, true), false))));
    let committed = up_to(Step::Commit, Mark::Done);
    assert_eq!(resume(&committed, &ActualState::default()), Resume::Forward(Step::Clean));
}

#[test]
fn a_recorded_failure_goes_back_with_its_own_cause() {
    let mut progress = up_to(Step::Verify, Mark::Started);
    let cause = Cause::image("exited with code 1");
    progress.failed = Some(cause.clone());
    assert_eq!(resume(&progress, &ActualState::default()), Resume::Back(cause));
}

#[test]
fn an_entry_reads_as_one_flat_line() {
    let note = Note { new_containers: vec!["1".into()], ..Note::default() };
    let line = serde_json::to_string(&JournalEntry { note, ..entry(2, Step::Create, Mark::Done) });
    let expected = r#"{"seq":2,"at":"1970-01-01T00:00:00Z","step":"create","mark":"done","new_containers":["1"]}"#;
    assert_eq!(line.expect("an entry serialises"), expected);
}

/// A main container and a dependent.
fn two(main: MemberState, dependent: MemberState) -> ActualState {
    ActualState { members: vec![main, dependent] }
}

fn pair(old: Option<ContainerState>, new: Option<ContainerState>) -> MemberState {
    MemberState { old, new, old_was_started_again: false }
}

#[test]
fn one_member_that_failed_takes_all_of_them_back() {
    let well = || pair(seen("pilotfish-old-till", false, true), seen("till", true, true));
    let parked = || seen("pilotfish-old-side", false, true);
    let verifying = up_to(Step::Verify, Mark::Started);
    let with = |side| resume(&verifying, &two(well(), side));
    assert_eq!(with(pair(parked(), seen("side", true, true))), Resume::Forward(Step::Verify));
    assert_eq!(with(pair(parked(), seen("side", false, false))), Resume::Forward(Step::Switch));
    assert!(back(&with(pair(parked(), seen("side", false, true)))));
    assert!(back(&with(pair(parked(), None))));
    assert!(back(&with(pair(seen("side", true, true), seen("side", true, true)))));
}

#[test]
fn all_members_are_committed_or_none() {
    let well = || pair(seen("pilotfish-old-till", false, true), seen("till", true, true));
    let verified = up_to(Step::Verify, Mark::Done);
    let with = |side| resume(&verified, &two(well(), side));
    assert_eq!(with(pair(None, seen("side", false, true))), Resume::Forward(Step::Commit));
    assert!(back(&with(pair(None, seen("pilotfish-new-side", false, true)))));
    assert!(back(&with(pair(seen("pilotfish-old-side", true, true), seen("side", true, true)))));
}

#[test]
fn a_stop_of_a_dependent_that_is_under_way_is_waited_for() {
    let till = pair(seen("till", true, true), seen("pilotfish-new-till", false, false));
    let side = pair(seen("side", true, true), seen("pilotfish-new-side", false, false));
    let reality = two(till, side);
    let switching = up_to(Step::Switch, Mark::Started);
    assert_eq!(resume(&switching, &reality), Resume::Forward(Step::Switch));
    let mut again = reality;
    again.members[1].old_was_started_again = true;
    assert!(back(&resume(&switching, &again)));
}

#[test]
fn containers_that_a_person_removed_are_not_recreated() {
    let mut progress = up_to(Step::Verify, Mark::Started);
    let nothing = alone(None, None, false);
    let parked = alone(seen("pilotfish-old-till", false, true), None, false);
    for (cause, reality, expected) in [
        (Cause::person("rm"), &nothing, true),
        (Cause::person("rm"), &parked, false),
        (Cause::surroundings("prune"), &nothing, false),
        (Cause::image("exited"), &nothing, false),
    ] {
        progress.failed = Some(cause.clone());
        assert_eq!(is_taken_away(&progress, reality), expected, "{cause:?}");
    }
}

fn lines_up_to(step: Step) -> Vec<JournalLine> {
    let mut lines = Vec::new();
    for step in Strategy::StopFirst.steps().filter(|earlier| *earlier <= step) {
        for mark in [Mark::Started, Mark::Done] {
            lines.push(line(entry(lines.len() as u32 + 1, step, mark)));
        }
    }
    lines
}

fn line(entry: JournalEntry) -> JournalLine {
    JournalLine::JournalEntry(Box::new(entry))
}

/// Whatever line is lost or damaged, the update is rolled back to the recorded state, the name and
/// the start of the old container included.
fn assert_leads_back(lines: &[JournalLine]) {
    let progress = JournalProgress::of_journal(lines);
    assert!(progress.begun >= Some(Step::Switch), "{lines:?}");
    let serves = alone(seen("pilotfish-old-till", false, true), seen("till", true, true), false);
    let Resume::Back(cause) = resume(&progress, &serves) else { panic!("forward: {lines:?}") };
    assert!(!cause.blames_image() && cause.detail.contains("damaged"), "{cause:?}");
}

#[test]
fn a_journal_that_is_damaged_in_the_middle_leads_back_and_is_not_read_on() {
    for step in Strategy::StopFirst.steps().filter(|step| *step <= Step::Verify) {
        let whole = lines_up_to(step);
        for spoilt in 0..whole.len() - 1 {
            let mut lines = whole.clone();
            for by in [JournalLine::Damaged, JournalLine::Torn] {
                lines[spoilt] = by;
                assert_leads_back(&lines);
            }
            lines.remove(spoilt);
            assert_leads_back(&lines);
        }
        // A complete line that cannot be read: no torn line ends like this.
        for also in [None, Some(JournalLine::Torn), Some(JournalLine::Damaged)] {
            let mut lines = whole.clone();
            *lines.last_mut().expect("a line") = JournalLine::Damaged;
            lines.extend(also);
            assert_leads_back(&lines);
        }
        let mut swapped = whole.clone();
        swapped.swap(0, 1);
        assert_leads_back(&swapped);
    }
}

#[test]
fn torn_lines_are_forgiven_at_the_end_and_where_their_number_was_used_again() {
    for step in Strategy::StopFirst.steps() {
        let whole = lines_up_to(step);
        let expected = JournalProgress::of_journal(&whole);
        assert_eq!(expected.failed, None);
        let mut torn = whole.clone();
        torn.extend([JournalLine::Torn, JournalLine::Torn]);
        assert_eq!(JournalProgress::of_journal(&torn), expected);
        for before in 0..whole.len() {
            let mut lines = whole.clone();
            lines.insert(before, JournalLine::Torn);
            assert_eq!(JournalProgress::of_journal(&lines), expected);
            // The rest of an entry after a power cut, with the next entry after it.
            lines[before] = JournalLine::Damaged;
            assert_eq!(JournalProgress::of_journal(&lines), expected);
            // A write that failed, but is in the file all the same.
            lines[before] = whole[before].clone();
            assert_eq!(JournalProgress::of_journal(&lines).failed, None, "{lines:?}");
        }
    }
}

#[test]
fn a_commit_that_is_known_to_be_complete_stands_whatever_else_is_damaged() {
    let mut lines = lines_up_to(Step::Commit);
    lines[3] = JournalLine::Damaged;
    let reality = alone(seen("pilotfish-old-till", false, true), seen("till", true, true), false);
    let progress = JournalProgress::of_journal(&lines);
    assert_eq!(resume(&progress, &reality), Resume::Forward(Step::Clean));
}

#[test]
fn a_verdict_that_can_be_read_keeps_its_cause() {
    let mut lines = lines_up_to(Step::Start);
    lines[1] = JournalLine::Damaged;
    let note = Note { cause: Some(Cause::image("exited")), ..Note::default() };
    lines.push(line(JournalEntry {
        note,
        ..entry(lines.len() as u32 + 1, Step::Verify, Mark::Failed)
    }));
    let progress = JournalProgress::of_journal(&lines);
    assert!(progress.failed.is_some_and(|cause| cause.blames_image()));
}

#[test]
fn no_single_line_alone_tells_which_container_is_the_new_one() {
    let mut progress = JournalProgress::default();
    let mut lines = Vec::new();
    for step in Strategy::StopFirst.steps().filter(|step| *step <= Step::Verify) {
        for mark in [Mark::Started, Mark::Done] {
            let mut note = Note::default();
            if (step, mark) == (Step::Create, Mark::Done) {
                note.new_containers = vec!["new".into(), "other".into()];
            }
            let entry = progress.next(DateTime::UNIX_EPOCH, step, mark, note);
            progress.take(&entry);
            lines.push(line(entry));
        }
    }
    for spoilt in 0..lines.len() {
        let mut lines = lines.clone();
        lines[spoilt] = JournalLine::Damaged;
        let progress = JournalProgress::of_journal(&lines);
        assert_eq!(progress.known.new_containers, ["new", "other"]);
    }
}
