//! Two updates in flight: kills and power cuts at pairs of their steps. A sample for `make test`,
//! and the cases of `make torture`.

use crate::cases::{Lengths, assert_no_findings, every};
use crate::fault::{Fault, Place, PlannedFault, When};
use crate::releases::Kind;
use crate::rig::{Case, Rig};
use crate::seed::Seed;
use crate::service::Setup;
use crate::steer::StepPair;

/// The kinds of release of the first service.
pub const KINDS: [Kind; 3] = [Kind::Good, Kind::ExitsAtOnce, Kind::DiesInVerification];

/// The kinds of release of the second service. Each needs its own machines.
pub const SECOND_KINDS: [Kind; 2] = [Kind::Good, Kind::ExitsAtOnce];

/// Every n-th case is at a call of the updates as they run by themselves, not at a pair of steps.
const AT_CALLS: usize = 5;

/// After every n-th kill, the recovery of both updates is killed as well.
const AGAIN: usize = 4;

/// Random cases: first every pair of steps once, with a random kind of release.
pub fn plan(fault: Fault, lengths: &Lengths, seed: &mut Seed, count: usize) -> Vec<Case> {
    let mut calls: Vec<Case> =
        KINDS.iter().flat_map(|kind| every(*kind, fault, lengths, 1)).collect();
    seed.shuffle(&mut calls);
    let mut pairs = Vec::new();
    let mut plan = Vec::new();
    while plan.len() < count {
        let number = plan.len();
        if number % AT_CALLS == AT_CALLS - 1 {
            plan.extend(calls.pop());
        }
        if pairs.is_empty() {
            pairs = StepPair::all();
            seed.shuffle(&mut pairs);
        }
        let again = (fault == Fault::Kill && number % AGAIN == 0).then(|| {
            let place = Place::Call(1 + seed.below(lengths[&Kind::Good]), seed.pick(&When::BOTH));
            PlannedFault { fault, place }
        });
        let kind = seed.pick(&KINDS);
        let pair = pairs.pop().map(Place::Steps);
        plan.extend(pair.map(|place| Case { kind, aim: PlannedFault { fault, place }, again }));
    }
    plan.truncate(count);
    plan
}

/// Runs a fault at every `stride`th pair of steps.
fn sample(rig: Rig, fault: Fault, stride: usize) {
    let pairs = StepPair::all().into_iter().skip(stride / 2).step_by(stride);
    let cases = pairs.map(|pair| {
        let aim = PlannedFault { fault, place: Place::Steps(pair) };
        Case { kind: Kind::Good, aim, again: None }
    });
    assert_no_findings(rig, cases.collect());
}

#[test]
fn the_agent_is_killed_with_two_good_updates_in_flight() {
    sample(Rig::with(Setup::SideBySide(Kind::Good), &[]), Fault::Kill, 41);
}

#[test]
fn the_agent_is_killed_with_a_good_and_a_bad_update_in_flight() {
    sample(Rig::with(Setup::SideBySide(Kind::ExitsAtOnce), &[]), Fault::Kill, 47);
}

#[test]
fn the_power_is_cut_with_two_updates_in_flight() {
    let rig = Rig::on_lossy_disk_with(Setup::SideBySide(Kind::Good), &[]);
    sample(rig, Fault::Cut, 51);
}
