//! Updates that start the new container first: every crash point of an update, and then of the
//! recovery from it.
//!
//! Two containers of the service may run at the same time, but only while an open journal says so
//! (the one exception to I1). And one of them runs all the time (I13): neither a kill of the agent
//! nor an image that fails while the old container serves costs a gap.

use std::time::Duration;

use serde_json::Value;

use crate::crashes::{APP, crash_pairs_with_stride};
use crate::images::{Behaviour, Image};
use crate::invariants::CONTROL;
use crate::machine::{Machine, MachineState};
use crate::service::RunOptions;

/// Every n-th point of a recovery gets a second crash, as with dependents.
const STRIDE: usize = 1021;

/// The first container is healthy after this time.
const FIRST_HEALTHY: Duration = Duration::from_secs(1);

/// Whether an entry of a journal begins the step, or ends it.
fn is_entry(entry: &Value, step: &str, mark: &str) -> bool {
    entry["step"] == step && entry["mark"] == mark
}

/// Whether a journal says that both containers may run: from the launch on until the old one was
/// stopped, and in a rollback.
fn allows_both(lines: &[Value], service: &str) -> bool {
    let Some((header, entries)) = lines.split_first() else { return false };
    let has = |step, mark| entries.iter().any(|entry| is_entry(entry, step, mark));
    let is_meant = header["plan"]["strategy"]["start_first"].is_object()
        && header["plan"]["container"] == service;
    let is_going_back = entries.iter().any(|entry| entry["mark"] == "failed");
    is_meant && has("launch", "started") && (is_going_back || !has("switch", "done"))
}

impl MachineState {
    /// How many containers of a service may run now.
    pub fn may_run(&self, service: &str) -> usize {
        let allows = self.open_journals().iter().any(|lines| allows_both(lines, service));
        if allows { 2 } else { 1 }
    }

    /// Whether the label of a service asks for the new container first.
    fn starts_first(&self, service: &str) -> bool {
        let service = self.services.iter().find(|it| it.name == service);
        service.is_some_and(|it| it.body["Labels"]["pilotfish.update.order"] == "start-first")
    }
}

impl Machine {
    /// I1, after each act of the agent: two containers run only if a journal says so. And nobody
    /// finds a container that has not proved itself.
    pub fn check_no_unknown_pair(&self) {
        let mut state = self.lock();
        let names = state.services.iter().map(|service| service.name.clone());
        let services: Vec<_> = names.filter(|name| state.starts_first(name)).collect();
        for service in services {
            let running = state.engine.running_of(&service);
            if running > state.may_run(&service) {
                state.violations.push(format!("I1: {running} containers run of {service}"));
            }
            let named = state.engine.containers().filter(|it| {
                let names = it.networks.values().any(|endpoint| endpoint["Aliases"].is_array());
                it.service == service && it.is_running() && names
            });
            let has_proved = state
                .open_journals()
                .iter()
                .any(|lines| lines.iter().any(|entry| is_entry(entry, "prove", "done")));
            if named.count() > 1 && !has_proved {
                state.violations.push(format!("I13: {service} has an unproven name"));
            }
        }
    }
}

/// A machine before an update to this image.
fn machine_to(next: Image, policy: &str) -> MachineState {
    let machine = Machine::new();
    {
        let mut state = machine.lock();
        state.keeps_transcript = false;
        state.checks_after_faults = true;
        let first = Image::new("v1", Behaviour::Healthy(FIRST_HEALTHY));
        state.registry.built(first.with_volume("/data"));
        state.registry.built(next.with_volume("/data"));
        state.registry.push(APP, "v1");
    }
    machine.run_service(&RunOptions { is_watched: false, ..RunOptions::new(CONTROL, APP, policy) });
    let mut options = RunOptions::new("till", APP, policy);
    // Short times, so that an update that begins in the last round of a run ends in it.
    let labels = [
        ("update.order", "start-first"),
        ("update.drain", "5s"),
        ("update.shared", "ok"),
        ("health.stable", "10s"),
    ];
    let labels = labels.map(|(word, value)| (format!("pilotfish.{word}"), value.to_owned()));
    options.labels.extend(labels);
    machine.run_service(&options);
    machine.lock().registry.push(APP, "v2");
    machine.copy()
}

/// The same, where no kill and no image may cost a gap.
fn machine_without_gap(next: Image, policy: &str) -> MachineState {
    let mut state = machine_to(next, policy);
    state.engine.must_serve.insert("till".to_owned());
    state
}

#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_in_a_good_update_costs_no_gap() {
    let next = Image::new("v2", Behaviour::Healthy(Duration::from_secs(2)));
    let begin = machine_without_gap(next, "always");
    crash_pairs_with_stride("start-first", begin, STRIDE).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_with_an_image_that_is_never_healthy_costs_no_gap() {
    let next = Image::new("v2", Behaviour::Unhealthy(Duration::from_secs(3)));
    let begin = machine_without_gap(next, "unless-stopped");
    crash_pairs_with_stride("start-first, unhealthy", begin, STRIDE).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_with_an_image_that_exits_at_once_costs_no_gap() {
    let begin =
        machine_without_gap(Image::new("v2", Behaviour::Exits(1)).with_healthcheck(), "always");
    crash_pairs_with_stride("start-first, exits", begin, STRIDE).await;
}

/// It fails after the old container has stopped.
#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_with_an_image_that_fails_after_the_switch() {
    let next = Image::new("v2", Behaviour::Sickens(Duration::from_secs(25)));
    let begin = machine_to(next, "always");
    crash_pairs_with_stride("start-first, fails late", begin, STRIDE).await;
}
