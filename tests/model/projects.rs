//! A group with a job in the model: two services and a migration on one image. Every crash point of
//! their update, and then of the recovery from it. A job never runs again after its success.

use std::time::Duration;

use crate::crashes::{APP, crash_pairs_with_stride};
use crate::images::{Behaviour, Image};
use crate::invariants::CONTROL;
use crate::machine::{Machine, MachineState};
use crate::service::RunOptions;

/// How long the job works.
const WORKS: Duration = Duration::from_secs(5);

/// Every n-th point of a recovery gets a second crash: there are more points than with dependents.
const STRIDE: usize = 1021;

/// A machine before the update of the group `shop`: `web` starts after `till`, which starts after
/// the job `migrate`. This is how the new image behaves as `web`, and as the job.
async fn machine_with_group(web: Behaviour, job: Behaviour, meanwhile: &str) -> MachineState {
    let machine = Machine::new();
    {
        let mut state = machine.lock();
        state.keeps_transcript = false;
        state.checks_after_faults = true;
        let one = Image::new("v1", Behaviour::Good).except("migrate", Behaviour::Ends(WORKS));
        let two = Image::new("v2", Behaviour::Good).except("web", web).except("migrate", job);
        state.registry.built(one.with_volume("/data"));
        state.registry.built(two.with_volume("/data"));
        state.registry.push(APP, "v1");
    }
    let control = RunOptions::new(CONTROL, APP, "always");
    machine.run_service(&RunOptions { is_watched: false, ..control });
    let member = |name: &str, policy: &str, labels: &[(&str, &str)]| {
        let mut options = RunOptions::new(name, APP, policy);
        let all = [&[("group", "shop"), ("group.settle", "0s")], labels].concat();
        let label =
            |(name, value): &(&str, &str)| (format!("pilotfish.{name}"), (*value).to_owned());
        options.labels = all.iter().map(label).collect();
        options
    };
    let job = member("migrate", "no", &[("job", "before"), ("job.meanwhile", meanwhile)]);
    machine.run_service(&RunOptions { is_job: true, ..job });
    machine.run_service(&member("till", "always", &[("depends-on", "migrate:completed")]));
    machine.run_service(&member("web", "always", &[("depends-on", "till")]));
    // The first run of the job ends.
    tokio::time::sleep(2 * WORKS).await;
    machine.with(|state, _| {
        state.engine.harden();
        state.engine.finished_jobs.clear();
    });
    machine.lock().registry.push(APP, "v2");
    machine.copy()
}

#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_in_the_update_of_a_group_with_a_job() {
    let begin = machine_with_group(Behaviour::Good, Behaviour::Ends(WORKS), "running").await;
    crash_pairs_with_stride("a group with a job", begin, STRIDE).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_in_the_update_of_a_group_whose_job_fails() {
    let begin = machine_with_group(Behaviour::Good, Behaviour::Exits(1), "running").await;
    crash_pairs_with_stride("a job that fails", begin, STRIDE).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_in_the_rollback_of_a_group_behind_its_job() {
    let dies = Behaviour::Dies(Duration::from_secs(3));
    let begin = machine_with_group(dies, Behaviour::Ends(WORKS), "running").await;
    crash_pairs_with_stride("a group, rollback", begin, STRIDE).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_in_the_update_of_a_group_that_stands_still_for_its_job() {
    let begin = machine_with_group(Behaviour::Good, Behaviour::Ends(WORKS), "stopped").await;
    crash_pairs_with_stride("a group that stands still", begin, STRIDE).await;
}
