//! Two updates in flight: kills and power cuts at pairs of their steps. A sample for `make test`,
//! and the cases of `make torture`.

use pilotfish::core::update::Step;

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

/// Random cases, in which every pair of steps comes once before one comes again.
pub fn plan(fault: Fault, lengths: &Lengths, seed: &mut Seed, count: usize) -> Vec<Case> {
    let mut calls: Vec<Case> =
        KINDS.iter().flat_map(|kind| every(*kind, fault, lengths, 1)).collect();
    seed.shuffle(&mut calls);
    let mut pairs = Vec::new();
    let mut next_case = |number: usize| {
        if number % AT_CALLS == AT_CALLS - 1
            && let Some(case) = calls.pop()
        {
            return case;
        }
        if pairs.is_empty() {
            pairs = StepPair::all();
            seed.shuffle(&mut pairs);
        }
        let pair = pairs.pop().expect("there are pairs");
        let again = (fault == Fault::Kill && number.is_multiple_of(AGAIN)).then(|| {
            let place = Place::Call(1 + seed.below(lengths[&Kind::Good]), seed.pick(&When::BOTH));
            PlannedFault { fault, place }
        });
        let place = Place::Steps(StepPair { when: seed.pick(&When::BOTH), ..pair });
        // A bad release does not come to a step after its verification.
        let kind = if pair.service > Step::Verify { Kind::Good } else { seed.pick(&KINDS) };
        Case { kind, aim: PlannedFault { fault, place }, again }
    };
    (0..count).map(&mut next_case).collect()
}

/// Runs a fault at every `stride`th pair of steps, from the pair with the number `first` on.
fn sample(rig: Rig, fault: Fault, first: usize, stride: usize) {
    let pairs = StepPair::all().into_iter().skip(first).step_by(stride);
    let cases = pairs.map(|pair| {
        let aim = PlannedFault { fault, place: Place::Steps(pair) };
        Case { kind: Kind::Good, aim, again: None }
    });
    assert_no_findings(rig, cases.collect());
}

#[test]
fn the_agent_is_killed_with_two_good_updates_in_flight() {
    sample(Rig::with(Setup::SideBySide(Kind::Good), &[]), Fault::Kill, 14, 27);
}

#[test]
fn the_agent_is_killed_with_a_good_and_a_bad_update_in_flight() {
    sample(Rig::with(Setup::SideBySide(Kind::ExitsAtOnce), &[]), Fault::Kill, 12, 25);
}

#[test]
fn the_power_is_cut_with_two_updates_in_flight() {
    let rig = Rig::on_lossy_disk_with(Setup::SideBySide(Kind::Good), &[]);
    sample(rig, Fault::Cut, 17, 53);
}
