//! Cases for every call, shared out among several machines.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::Instant;

use crate::fault::{Aim, Fault, Place, When};
use crate::releases::Kind;
use crate::results::Results;
use crate::rig::{Case, Outcome, Rig};
use crate::service::Setup;

/// The least number of calls of an update: create, stop, two renames, start, commit, clean.
const CALLS_MIN: usize = 10;

/// How many calls an update makes, by how it ends. Counted once, by dry runs.
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

/// One fault before and after every call of an update to such a release; of all of these every
/// `stride`th, so that a sample is spread over the whole update.
pub fn every(kind: Kind, fault: Fault, lengths: &Lengths, stride: usize) -> Vec<Case> {
    let calls = 1..=lengths[&kind];
    let aims =
        calls.flat_map(|call| When::BOTH.map(|when| Aim { fault, place: Place::Call(call, when) }));
    let aims = aims.skip(stride / 2).step_by(stride);
    aims.map(|aim| Case { kind, aim, again: None }).collect()
}

/// Plays all of the cases, as many at a time as there are machines, until the deadline.
pub fn play(benches: Vec<Rig>, cases: Vec<Case>, deadline: Option<Instant>, results: &Results) {
    let cases = Mutex::new(VecDeque::from(cases));
    std::thread::scope(|scope| {
        for rig in benches {
            let cases = &cases;
            scope.spawn(move || work(rig, cases, deadline, results));
        }
    });
}

fn work(mut rig: Rig, cases: &Mutex<VecDeque<Case>>, deadline: Option<Instant>, results: &Results) {
    while deadline.is_none_or(|deadline| Instant::now() < deadline) {
        let Some(case) = cases.lock().expect("the cases").pop_front() else { return };
        let outcome = rig.play(&case);
        results.add(&case, &outcome);
    }
}

/// Plays the cases on one machine; fails the test with all that was found.
#[track_caller]
pub fn assert_kept(rig: Rig, cases: Vec<Case>) {
    let results = Results::default();
    let count = cases.len();
    play(vec![rig], cases, None, &results);
    let (landed, findings) = results.verdict();
    assert!(findings.is_empty(), "{landed} of {count} landed:\n{}", findings.join("\n"));
    assert!(landed * 2 > count, "only {landed} of {count} cases landed");
}

/// For what is printed of a case.
pub fn describe(case: &Case, outcome: &Outcome) -> String {
    let again = case.again.map(|aim| format!(", then {aim} of the recovery")).unwrap_or_default();
    let call = outcome.landed.as_deref().unwrap_or("not reached");
    format!("{} ({call}){again}", name(case, outcome.setup))
}

/// By which a case is asked for again.
pub fn name(case: &Case, setup: Setup) -> String {
    format!("{}{}: {}", case.kind.word(), setup.words(), case.aim)
}
