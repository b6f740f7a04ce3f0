//! Every crash point of an update, and then every crash point of the recovery from it.
//!
//! One run without a fault counts the points; they are not written down. So a new step is covered
//! without a new test. A run continues from a copy of the machine after the first crash, so the
//! second crash only costs the recovery.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::fault::{Fault, Survives};
use crate::images::{Behaviour, Image};
use crate::invariants::{CONTROL, Leniency};
use crate::machine::{Machine, MachineState};
use crate::script::stop_signal;
use crate::service::RunOptions;
use crate::session::{End, Job, live};

/// The image that every service runs.
pub const APP: &str = "shop.example/app:1";

/// How long an agent runs after the last fault. The next rounds must happen within this time.
pub const AFTERMATH: Duration = Duration::from_secs(16 * 60);

/// How long the Engine alone may take to start its containers after a power cut.
const ALONE: Duration = Duration::from_secs(12);

/// The faults of a run, each with its point.
pub type Way = Vec<(usize, Fault)>;

/// Every n-th point of a recovery gets a second crash; `PILOTFISH_STRIDE=1` tests all points.
const STRIDE: usize = 211;

/// The stride with dependents: there are more points, and each one costs more.
const STRIDE_WITH_DEPENDENTS: usize = 509;

/// The least number of points in an update. Each of its steps writes twice and calls the Engine in
/// between. With fewer points, no crash was injected and the test proves nothing.
const POINTS_MIN: usize = 60;

/// The image of the dependents. It never changes.
const SIDE: &str = "shop.example/side:1";

/// Counts and violations of all runs.
#[derive(Debug, Default)]
pub struct Results {
    pub runs: usize,
    pub points: usize,
    pub alone: usize,
    /// Every violation: how often it occurred, and the faults that first led to it.
    pub found: BTreeMap<String, (usize, Way)>,
}

impl Results {
    pub fn count(&mut self, found: Vec<String>, way: &[(usize, Fault)]) {
        for what in found {
            self.found.entry(what).or_insert_with(|| (0, way.to_vec())).0 += 1;
        }
    }

    /// Whether there is a violation that was not seen before.
    pub fn is_new(&self, found: &[String]) -> bool {
        found.iter().any(|what| !self.found.contains_key(what))
    }

    pub fn add(&mut self, other: Self) {
        (self.runs, self.alone) = (self.runs + other.runs, self.alone + other.alone);
        for (what, (count, way)) in other.found {
            self.found.entry(what).or_insert((0, way)).0 += count;
        }
    }

    /// All violations, one line each.
    pub fn in_words(&self) -> String {
        let lines = self
            .found
            .iter()
            .map(|(what, (count, way))| format!("  {count} x {what}\n      {way:?}\n"));
        lines.collect()
    }

    /// The counts of the violations that must be zero.
    pub fn summary(&self, what: &str) -> String {
        let of = |word: &str| -> usize {
            let meant = self.found.iter().filter(|(found, _)| found.contains(word));
            meant.map(|(_, (count, _))| count).sum()
        };
        format!(
            "{what}: {} runs, {} cuts checked without the agent; lost {}, doubled {}, leftovers {}, in all {} violations",
            self.runs,
            self.alone,
            of("no container runs") + of("runs none") + of("nothing runs"),
            of("containers run") + of("the Engine alone runs 2"),
            of("I6"),
            self.found.values().map(|(count, _)| count).sum::<usize>(),
        )
    }

    /// Prints the counts, and the transcript of one run for each violation. Fails if there are any.
    pub async fn check(&self, what: &str, begin: &MachineState) {
        println!("{}", self.summary(what));
        let mut printed = BTreeSet::new();
        for (found, (count, way)) in &self.found {
            println!("  {count} x {found}\n      {way:?}");
            if printed.insert(format!("{way:?}")) {
                replay(begin, way).await;
            }
        }
        assert!(self.found.is_empty(), "{what}: invariants do not hold");
    }
}

/// A machine with its services, right before the update.
pub fn machine_before_update(next: Behaviour, services: &[&str], policy: &str) -> MachineState {
    let machine = Machine::new();
    {
        let mut state = machine.lock();
        state.keeps_transcript = false;
        state.checks_after_faults = true;
        let registry = &mut state.registry;
        registry.built(Image::new("v1", Behaviour::Good).with_volume("/data"));
        registry.built(Image::new("v2", next).with_volume("/data"));
        registry.push(APP, "v1");
    }
    machine.run_service(&RunOptions { is_watched: false, ..RunOptions::new(CONTROL, APP, policy) });
    for service in services {
        machine.run_service(&RunOptions::new(service, APP, policy));
    }
    machine.lock().registry.push(APP, "v2");
    machine.copy()
}

/// I12: the Engine starts after the power cut, and the agent does not.
pub async fn check_alone(after: &MachineState, results: &mut Results, way: &[(usize, Fault)]) {
    let machine = Machine::from(after.clone());
    tokio::time::sleep(ALONE).await;
    results.alone += 1;
    results.count(machine.check_engine_alone(&after.committing), way);
}

fn crash_kinds(seed: usize) -> [Fault; 4] {
    [
        Fault::Kill,
        Fault::Cut(Survives::All),
        Fault::Cut(Survives::Nothing),
        Fault::Cut(Survives::Some(seed as u64)),
    ]
}

/// Injects one fault at one point. `None`: the agent ended before it reached the point.
async fn crash(from: &MachineState, point: usize, crash_fault: Fault) -> Option<MachineState> {
    let machine = Machine::from(from.clone());
    machine.lock().crash_points.passed = 0;
    machine.lock().crash_points.armed = vec![(point, crash_fault)];
    match Box::pin(live(&machine, Job::Run(AFTERMATH))).await {
        End::Crash(_) => Some(machine.copy()),
        _ => None,
    }
}

/// Recovers without faults. Returns the number of points of the recovery.
async fn recover(from: &MachineState, results: &mut Results, way: &[(usize, Fault)]) -> usize {
    let machine = Machine::from(from.clone());
    machine.lock().crash_points.passed = 0;
    Box::pin(live(&machine, Job::Run(AFTERMATH))).await;
    let points = machine.lock().crash_points.passed;
    if machine.lock().needs_another_round() {
        // The pull ahead of an update has no journal, so a power cut can damage the image. It is
        // then pulled again, in one more round.
        Box::pin(live(&machine, Job::Run(AFTERMATH))).await;
    }
    results.runs += 1;
    results.count(machine.invariants(Leniency::default()), way);
    points
}

/// Runs the same faults once more, and prints the transcript.
async fn replay(begin: &MachineState, way: &[(usize, Fault)]) {
    let mut state = begin.clone();
    state.keeps_transcript = true;
    for (point, crash_fault) in way {
        state = crash(&state, *point, crash_fault.clone()).await.unwrap_or(state);
    }
    let machine = Machine::from(state);
    Box::pin(live(&machine, Job::Run(AFTERMATH))).await;
    for line in &machine.lock().log {
        println!("      {line}");
    }
}

/// Crashes at every point, recovers, and crashes again during the recovery: at every `stride`th
/// point of it. The offset and the kind of the second crash differ for each first crash.
pub async fn pairs(name: &str, begin: MachineState) {
    crash_pairs_with_stride(name, begin, STRIDE).await;
}

pub async fn crash_pairs_with_stride(name: &str, begin: MachineState, stride: usize) {
    let stride = number_of("PILOTFISH_STRIDE", stride);
    let mut results = Results::default();
    let mut pairs = 0;
    'points: for point in 0.. {
        results.points = point;
        for (number, first) in crash_kinds(point).into_iter().enumerate() {
            let way = vec![(point, first.clone())];
            let Some(after) = crash(&begin, point, first.clone()).await else { break 'points };
            if first != Fault::Kill {
                check_alone(&after, &mut results, &way).await;
            }
            let points = recover(&after, &mut results, &way).await;
            for second_point in ((point + number) % stride..points).step_by(stride) {
                pairs += 1;
                let second = crash_kinds(point + second_point)[pairs % 4].clone();
                let way = [(point, first.clone()), (second_point, second)];
                pair(&after, &way, &mut results).await;
            }
        }
    }
    println!("{name}: {} points, {pairs} pairs", results.points);
    assert!(results.points >= POINTS_MIN, "{name}: only {} points were tested", results.points);
    assert!(pairs >= POINTS_MIN, "{name}: only {pairs} second crashes were tested");
    assert!(results.alone >= POINTS_MIN, "{name}: only {} cuts were checked", results.alone);
    results.check(name, &begin).await;
}

/// The second crash of a pair.
async fn pair(after_the_first: &MachineState, way: &[(usize, Fault); 2], results: &mut Results) {
    let (point, crash_fault) = way[1].clone();
    let Some(after) = crash(after_the_first, point, crash_fault.clone()).await else { return };
    if crash_fault != Fault::Kill {
        check_alone(&after, results, way).await;
    }
    recover(&after, results, way).await;
}

/// A number from the environment, for longer runs.
pub fn number_of(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_in_a_good_update_and_then_anywhere_in_the_recovery() {
    Box::pin(pairs("good update", machine_before_update(Behaviour::Good, &["till"], "always")))
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_in_a_rollback_and_then_anywhere_in_the_recovery() {
    let dies = Behaviour::Dies(Duration::from_secs(3));
    Box::pin(pairs("rollback", machine_before_update(dies, &["till"], "unless-stopped"))).await;
}

/// The worst case of a stop-signal label: the image names another signal, so the Engine starts the
/// container again.
#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_in_an_update_with_a_stop_signal_label() {
    let machine = Machine::from(machine_before_update(Behaviour::Good, &[], "always"));
    {
        let mut state = machine.lock();
        let v0 = Image::new("v0", Behaviour::Good).with_volume("/data");
        state.registry.built(v0.stopped_by("SIGINT"));
        state.registry.push(APP, "v0");
    }
    let command = RunOptions::new("till", APP, "always");
    machine.run_service(&RunOptions { labels: vec![stop_signal("SIGQUIT")], ..command });
    machine.lock().registry.push(APP, "v2");
    Box::pin(pairs("the signal of a label", machine.copy())).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_while_one_of_two_containers_on_an_image_fails() {
    let mut begin = machine_before_update(Behaviour::Good, &["till", "web"], "always");
    let exits = Image::new("v2", Behaviour::Good).with_volume("/data");
    begin.registry.built(exits.except("web", Behaviour::Exits(1)));
    begin.registry.push(APP, "v2");
    crash_pairs_with_stride("two on one image, one fails", begin, STRIDE_WITH_DEPENDENTS).await;
}

/// The same machine with two dependents: a container in the network of `till`, and a container in
/// the process namespace of that one.
fn machine_with_dependents(next: Behaviour, policy: &str) -> MachineState {
    let machine = Machine::from(machine_before_update(next, &["till"], policy));
    {
        let mut state = machine.lock();
        state.registry.built(Image::new("side1", Behaviour::Good));
        state.registry.push(SIDE, "side1");
    }
    machine.run_service(&RunOptions::new("drawer", SIDE, policy).joined_to("NetworkMode", "till"));
    machine.run_service(&RunOptions::new("alarm", SIDE, policy).joined_to("PidMode", "drawer"));
    machine.copy()
}

#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_in_an_update_with_two_dependents() {
    let begin = machine_with_dependents(Behaviour::Good, "always");
    crash_pairs_with_stride("two dependents", begin, STRIDE_WITH_DEPENDENTS).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_in_a_rollback_with_two_dependents() {
    let begin = machine_with_dependents(Behaviour::Dies(Duration::from_secs(3)), "unless-stopped");
    crash_pairs_with_stride("two dependents, rollback", begin, STRIDE_WITH_DEPENDENTS).await;
}
