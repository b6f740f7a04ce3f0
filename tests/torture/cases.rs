//! Cases for every call, distributed over several machines.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::Instant;

use crate::fault::{Fault, Place, PlannedFault, When};
use crate::releases::Kind;
use crate::results::Results;
use crate::rig::{Case, Outcome, Rig};
use crate::service::Setup;

/// The least number of calls of an update: create, stop, two renames, start, commit, clean.
const CALLS_MIN: usize = 10;

/// The number of calls of an update, by the kind of release. Counted once, by runs without a fault.
pub type Lengths = BTreeMap<Kind, usize>;

/// Counts the calls of an update for each of the kinds.
pub fn lengths(rig: &mut Rig, kinds: &[Kind]) -> Lengths {
    let count = |kind: &Kind| {
        let calls = rig.count_calls(*kind).len();
        assert!(calls >= CALLS_MIN, "an update to {} makes only {calls} calls", kind.word());
        (*kind, calls)
    };
    kinds.iter().map(count).collect()
}

/// One fault before and after every call of an update to such a release. Takes every `stride`th of
/// these cases, so that a sample covers the whole update.
pub fn every(kind: Kind, fault: Fault, lengths: &Lengths, stride: usize) -> Vec<Case> {
    let calls = 1..=lengths[&kind];
    let aims = calls.flat_map(|call| {
        When::BOTH.map(|when| PlannedFault { fault, place: Place::Call(call, when) })
    });
    let aims = aims.skip(stride / 2).step_by(stride);
    aims.map(|aim| Case { kind, aim, again: None }).collect()
}

/// Runs all cases, in parallel on the given machines, until the deadline.
pub fn run_cases(rigs: Vec<Rig>, cases: Vec<Case>, deadline: Option<Instant>, results: &Results) {
    let cases = Mutex::new(VecDeque::from(cases));
    std::thread::scope(|scope| {
        for rig in rigs {
            let cases = &cases;
            scope.spawn(move || work(rig, cases, deadline, results));
        }
    });
}

fn work(mut rig: Rig, cases: &Mutex<VecDeque<Case>>, deadline: Option<Instant>, results: &Results) {
    while deadline.is_none_or(|deadline| Instant::now() < deadline) {
        let Some(case) = cases.lock().expect("the cases").pop_front() else { return };
        let outcome = rig.run_case(&case);
        results.add(&case, &outcome);
    }
}

/// Runs the cases on one machine, and fails the test with all findings.
#[track_caller]
pub fn assert_no_findings(rig: Rig, cases: Vec<Case>) {
    let results = Results::default();
    let count = cases.len();
    run_cases(vec![rig], cases, None, &results);
    let (landed, findings) = results.verdict();
    assert!(findings.is_empty(), "{landed} of {count} landed:\n{}", findings.join("\n"));
    assert!(landed * 2 > count, "only {landed} of {count} cases landed");
}

/// The description of a case for the output.
pub fn describe(case: &Case, outcome: &Outcome) -> String {
    let again = case.again.map(|aim| format!(", then {aim} of the recovery")).unwrap_or_default();
    let call = outcome.landed.as_deref().unwrap_or("not reached");
    format!("{} ({call}){again}", name(case, outcome.setup))
}

/// The name of a case, for `TORTURE_ONLY`.
pub fn name(case: &Case, setup: Setup) -> String {
    let (first, second) = (case.kind.word(), setup.second_words());
    format!("{first}{second}{}: {}", setup.words(), case.aim)
}
