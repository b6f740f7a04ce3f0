//! `kill -9` of the agent, and lost, late or wrong answers: a spread-out sample of what
//! `make torture` does at every call.

use crate::cases::{assert_no_findings, every, lengths};
use crate::fault::{Failure, Fault, Place, PlannedFault, When};
use crate::releases::Kind;
use crate::rig::{Case, Rig};
use crate::service::Setup;

/// Runs every `stride`th of the cases on a machine of its own.
fn sample(rig: Rig, kind: Kind, faults: &[Fault], stride: usize) {
    let mut rig = rig;
    let lengths = lengths(&mut rig, &[kind]);
    let cases = faults.iter().flat_map(|fault| every(kind, *fault, &lengths, stride)).collect();
    assert_no_findings(rig, cases);
}

#[test]
fn the_agent_is_killed_in_an_update_to_a_good_release() {
    sample(Rig::new(&[]), Kind::Good, &[Fault::Kill], 19);
}

#[test]
fn the_agent_is_killed_in_an_update_to_a_release_that_exits_at_once() {
    sample(Rig::new(&[]), Kind::ExitsAtOnce, &[Fault::Kill], 17);
}

#[test]
fn the_agent_is_killed_while_a_bad_release_is_verified_by_health_checks() {
    let mut rig = Rig::new(&[]);
    let kinds = [Kind::DiesInVerification, Kind::Unhealthy, Kind::NeverHealthy];
    let lengths = lengths(&mut rig, &kinds);
    let cases = kinds.into_iter().flat_map(|kind| every(kind, Fault::Kill, &lengths, 53)).collect();
    assert_no_findings(rig, cases);
}

#[test]
fn the_agent_is_killed_in_an_update_with_two_dependents() {
    sample(Rig::with(Setup::WithDependents, &[]), Kind::Good, &[Fault::Kill], 31);
}

#[test]
fn the_agent_is_killed_in_a_rollback_with_two_dependents() {
    sample(Rig::with(Setup::WithDependents, &[]), Kind::ExitsAtOnce, &[Fault::Kill], 37);
}

#[test]
fn the_agent_is_killed_while_the_new_container_starts_first() {
    sample(Rig::with(Setup::StartFirst, &[]), Kind::Good, &[Fault::Kill], 37);
}

#[test]
fn the_agent_is_killed_while_a_bad_release_starts_first() {
    let mut rig = Rig::with(Setup::StartFirst, &[]);
    let kinds = [Kind::ExitsAtOnce, Kind::Unhealthy];
    let lengths = lengths(&mut rig, &kinds);
    let cases = kinds.into_iter().flat_map(|kind| every(kind, Fault::Kill, &lengths, 41)).collect();
    assert_no_findings(rig, cases);
}

#[test]
fn the_power_is_cut_while_the_new_container_starts_first() {
    let rig = Rig::on_lossy_disk_with(Setup::StartFirst, &[]);
    sample(rig, Kind::Good, &[Fault::Cut], 61);
}

#[test]
fn the_agent_is_killed_in_the_update_of_a_group_with_a_job() {
    sample(Rig::with(Setup::Group, &[]), Kind::Good, &[Fault::Kill], 61);
}

/// The Engine has the image, but its files are not flushed.
#[test]
fn the_power_is_cut_right_after_a_pushed_image_was_loaded() {
    let rig = Rig::on_lossy_disk_with(Setup::Pushed, &[]);
    let aim = PlannedFault { fault: Fault::Cut, place: Place::Call(1, When::After) };
    assert_no_findings(rig, vec![Case { kind: Kind::Good, aim, again: None }]);
}

/// The directory of the lock's volume comes back, without the labels that name the agent.
#[test]
fn the_power_is_cut_right_after_the_lock_was_removed() {
    let mut rig = Rig::on_lossy_disk(&[]);
    let calls = rig.count_calls(Kind::ExitsAtOnce);
    let removes = |call: &String| call.starts_with("DELETE /volumes/");
    let number = 1 + calls.iter().rposition(removes).expect("the lock is removed");
    let place = Place::Call(number, When::After);
    let case = Case {
        kind: Kind::ExitsAtOnce,
        aim: PlannedFault { fault: Fault::Cut, place },
        again: None,
    };
    assert_no_findings(rig, vec![case; 3]);
}

#[test]
fn answers_are_lost_late_or_wrong() {
    let statuses = [500, 404, 409].map(Fault::Answer);
    let faults = [&[Fault::DropReply, Fault::Delay][..], &statuses].concat();
    sample(Rig::new(&[]), Kind::Good, &faults, 53);
}

#[test]
fn the_engine_restarts() {
    let faults = [Fault::RestartEngine, Fault::KillEngine];
    sample(Rig::new(&[]), Kind::Good, &faults, 53);
}

#[test]
fn an_engine_with_live_restore_restarts() {
    let faults = [Fault::RestartEngine, Fault::KillEngine];
    sample(Rig::new(&["--live-restore"]), Kind::ExitsAtOnce, &faults, 43);
}

/// The Engine starts the old container again after the agent's last look at it: the new one must
/// not be started.
#[test]
fn the_engine_restarts_right_before_the_new_one_is_started() {
    let mut rig = Rig::new(&[]);
    let calls = rig.count_calls(Kind::ExitsAtOnce);
    let start = calls.iter().position(|call| call.ends_with("/start")).expect("a start");
    let places = [Place::Call(start, When::After), Place::Call(start + 1, When::Before)];
    let faults = [Fault::RestartEngine, Fault::KillEngine];
    let aims =
        places.into_iter().flat_map(|place| faults.map(|fault| PlannedFault { fault, place }));
    let kind = Kind::ExitsAtOnce;
    assert_no_findings(rig, aims.map(|aim| Case { kind, aim, again: None }).collect());
}

/// The Engine comes back later than `health.stable`: elapsed time alone proves nothing.
#[test]
fn an_engine_with_live_restore_is_killed_while_a_bad_release_is_verified() {
    let mut rig = Rig::new(&["--live-restore"]);
    let calls = rig.count_calls(Kind::ExitsAtOnce);
    let start = calls.iter().position(|call| call.ends_with("/start")).expect("a start");
    let cases = (start + 1..start + 6).map(|call| Case {
        kind: Kind::ExitsAtOnce,
        aim: PlannedFault { fault: Fault::KillEngine, place: Place::Call(call, When::After) },
        again: None,
    });
    assert_no_findings(rig, cases.collect());
}

/// Neither the new container nor the proven one can be started until the cause is repaired.
#[test]
fn no_container_can_be_started_for_a_while() {
    sample(Rig::new(&[]), Kind::ExitsAtOnce, &[Fault::StartsFail], 37);
}

#[test]
fn the_agent_gets_sigterm() {
    sample(Rig::new(&[]), Kind::Good, &[Fault::Terminate], 23);
}

#[test]
fn the_registry_goes_down() {
    sample(Rig::new(&[]), Kind::ExitsAtOnce, &[Fault::RegistryGone], 23);
}

#[test]
fn the_disk_under_the_state_fails() {
    let failures = [Failure::Full, Failure::ReadOnly, Failure::Broken];
    sample(Rig::with_state_disk(), Kind::ExitsAtOnce, &failures.map(Fault::State), 47);
}

#[test]
fn the_disk_is_full() {
    sample(Rig::on_small_disk(), Kind::Good, &[Fault::DiskFull], 29);
}

#[test]
fn the_power_is_cut() {
    sample(Rig::on_lossy_disk(&[]), Kind::Good, &[Fault::Cut], 37);
}
