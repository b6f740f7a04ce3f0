//! Every crash point of an update, and then every crash point of the recovery from it.
//!
//! The points are counted by running once without a fault, not written down: a new step is covered
//! without a new test. A run goes on from a copy of the machine as the first crash left it, so
//! that the second crash costs only the recovery.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::fault::{Fault, Keeps};
use crate::images::{Behaviour, Image};
use crate::invariants::{CONTROL, Leave};
use crate::machine::{Affairs, Machine};
use crate::script::stop_signal;
use crate::service::RunOptions;
use crate::session::{End, Job, live};

/// The image that everybody runs.
pub const APP: &str = "shop.example/app:1";

/// How long an agent lives after the last fault: the next rounds must have come and gone.
pub const AFTERMATH: Duration = Duration::from_secs(16 * 60);

/// How long an Engine alone is given to come back after a power cut.
const ALONE: Duration = Duration::from_secs(12);

/// The crashes of a run: at which point, and which.
pub type Way = Vec<(usize, Fault)>;

/// Every how-manieth point of a recovery is crashed at; `PILOTFISH_STRIDE=1` leaves none out.
const STRIDE: usize = 40;

/// The same where several containers are replaced together: there are more points, and each costs
/// more.
const STRIDE_OF_COMPANY: usize = 150;

/// The least number of points that an update has: each of its eight steps writes twice, and the
/// Engine is asked in between. With fewer, nothing was crashed, and nothing proved.
const POINTS_MIN: usize = 60;

/// The image of what hangs on others. It never changes.
const SIDE: &str = "shop.example/side:1";

/// What was run and what was found.
#[derive(Debug, Default)]
pub struct Results {
    pub runs: usize,
    pub points: usize,
    pub alone: usize,
    /// What was found, how often, and the first way that led to it.
    pub found: BTreeMap<String, (usize, Way)>,
}

impl Results {
    pub fn count(&mut self, found: Vec<String>, way: &[(usize, Fault)]) {
        for what in found {
            self.found.entry(what).or_insert_with(|| (0, way.to_vec())).0 += 1;
        }
    }

    /// Whether something was found that was not found before.
    pub fn is_new(&self, found: &[String]) -> bool {
        found.iter().any(|what| !self.found.contains_key(what))
    }

    pub fn add(&mut self, other: Self) {
        (self.runs, self.alone) = (self.runs + other.runs, self.alone + other.alone);
        for (what, (count, way)) in other.found {
            self.found.entry(what).or_insert((0, way)).0 += count;
        }
    }

    /// What was found, one line each.
    pub fn in_words(&self) -> String {
        let lines = self
            .found
            .iter()
            .map(|(what, (count, way))| format!("  {count} x {what}\n      {way:?}\n"));
        lines.collect()
    }

    /// The numbers of what must never be.
    pub fn summary(&self, what: &str) -> String {
        let of = |word: &str| -> usize {
            let meant = self.found.iter().filter(|(found, _)| found.contains(word));
            meant.map(|(_, (count, _))| count).sum()
        };
        format!(
            "{what}: {} runs, {} cuts judged without the agent; lost {}, doubled {}, debris {}, in all {} breaches",
            self.runs,
            self.alone,
            of("no container runs") + of("runs none") + of("nothing runs"),
            of("containers run") + of("the Engine alone runs 2"),
            of("I6"),
            self.found.values().map(|(count, _)| count).sum::<usize>(),
        )
    }

    /// Prints the numbers, and of everything that was found the transcript of one run.
    pub async fn check(&self, what: &str, begin: &Affairs) {
        println!("{}", self.summary(what));
        let mut told = BTreeSet::new();
        for (found, (count, way)) in &self.found {
            println!("  {count} x {found}\n      {way:?}");
            if told.insert(format!("{way:?}")) {
                retell(begin, way).await;
            }
        }
        assert!(self.found.is_empty(), "{what}: invariants do not hold");
    }
}

/// A machine with its services, right before the update.
pub fn stage(next: Behaviour, services: &[&str], policy: &str) -> Affairs {
    let machine = Machine::new();
    {
        let mut affairs = machine.lock();
        affairs.talks = false;
        affairs.is_looked_at = true;
        let shelf = &mut affairs.shelf;
        shelf.built(Image::new("v1", Behaviour::Good).with_volume("/data"));
        shelf.built(Image::new("v2", next).with_volume("/data"));
        shelf.push(APP, "v1");
    }
    machine.run_service(&RunOptions { is_watched: false, ..RunOptions::new(CONTROL, APP, policy) });
    for service in services {
        machine.run_service(&RunOptions::new(service, APP, policy));
    }
    machine.lock().shelf.push(APP, "v2");
    machine.copy()
}

/// I12: nobody starts the agent again.
pub async fn alone(after: &Affairs, results: &mut Results, way: &[(usize, Fault)]) {
    let machine = Machine::from(after.clone());
    tokio::time::sleep(ALONE).await;
    results.alone += 1;
    results.count(machine.judge_the_engine_alone(after.is_between), way);
}

fn strokes(seed: usize) -> [Fault; 4] {
    [
        Fault::Kill,
        Fault::Cut(Keeps::All),
        Fault::Cut(Keeps::Nothing),
        Fault::Cut(Keeps::Some(seed as u64)),
    ]
}

/// One crash at one point, from this state of affairs. `None`: the agent came to its end before.
async fn crash(from: &Affairs, point: usize, stroke: Fault) -> Option<Affairs> {
    let machine = Machine::from(from.clone());
    machine.lock().crash_points.passed = 0;
    machine.lock().crash_points.armed = vec![(point, stroke)];
    match Box::pin(live(&machine, Job::Run(AFTERMATH))).await {
        End::Crash(_) => Some(machine.copy()),
        _ => None,
    }
}

/// Recovers without faults. Gives how many points that had.
async fn recover(from: &Affairs, results: &mut Results, way: &[(usize, Fault)]) -> usize {
    let machine = Machine::from(from.clone());
    machine.lock().crash_points.passed = 0;
    Box::pin(live(&machine, Job::Run(AFTERMATH))).await;
    results.runs += 1;
    results.count(machine.invariants(Leave::default()), way);
    machine.lock().crash_points.passed
}

/// Runs the same once more, and prints what happened.
async fn retell(begin: &Affairs, way: &[(usize, Fault)]) {
    let mut affairs = begin.clone();
    affairs.talks = true;
    for (point, stroke) in way {
        affairs = crash(&affairs, *point, stroke.clone()).await.unwrap_or(affairs);
    }
    let machine = Machine::from(affairs);
    Box::pin(live(&machine, Job::Run(AFTERMATH))).await;
    for line in &machine.lock().log {
        println!("      {line}");
    }
}

/// Crashes at every point, recovers, and crashes again in the recovery: at every `stride`th point
/// of it, another one for each first crash, with another kind of crash each time.
async fn pairs(name: &str, begin: Affairs) {
    pairs_at(name, begin, STRIDE).await;
}

pub async fn pairs_at(name: &str, begin: Affairs, stride: usize) {
    let stride = number_of("PILOTFISH_STRIDE", stride);
    let mut results = Results::default();
    let mut pairs = 0;
    'points: for point in 0.. {
        results.points = point;
        for (number, first) in strokes(point).into_iter().enumerate() {
            let way = vec![(point, first.clone())];
            let Some(after) = crash(&begin, point, first.clone()).await else { break 'points };
            if first != Fault::Kill {
                alone(&after, &mut results, &way).await;
            }
            let points = recover(&after, &mut results, &way).await;
            for second_point in ((point + number) % stride..points).step_by(stride) {
                pairs += 1;
                let second = strokes(point + second_point)[pairs % 4].clone();
                let way = [(point, first.clone()), (second_point, second)];
                pair(&after, &way, &mut results).await;
            }
        }
    }
    println!("{name}: {} points, {pairs} pairs", results.points);
    assert!(results.points >= POINTS_MIN, "{name}: only {} points were crashed at", results.points);
    assert!(pairs >= POINTS_MIN, "{name}: only {pairs} recoveries were crashed in");
    assert!(results.alone >= POINTS_MIN, "{name}: only {} cuts were judged", results.alone);
    results.check(name, &begin).await;
}

/// The second crash of a pair.
async fn pair(after_the_first: &Affairs, way: &[(usize, Fault); 2], results: &mut Results) {
    let (point, stroke) = way[1].clone();
    let Some(after) = crash(after_the_first, point, stroke.clone()).await else { return };
    if stroke != Fault::Kill {
        alone(&after, results, way).await;
    }
    recover(&after, results, way).await;
}

/// A number from the environment, for those who have more time.
pub fn number_of(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_in_a_good_update_and_then_anywhere_in_the_recovery() {
    Box::pin(pairs("good update", stage(Behaviour::Good, &["till"], "always"))).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_in_a_rollback_and_then_anywhere_in_the_recovery() {
    let dies = Behaviour::Dies(Duration::from_secs(3));
    Box::pin(pairs("rollback", stage(dies, &["till"], "unless-stopped"))).await;
}

/// The worst that the signal of a label can meet: another one in the image, after which the Engine
/// starts the container again.
#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_in_an_update_whose_old_one_is_stopped_by_the_signal_of_a_label() {
    let machine = Machine::from(stage(Behaviour::Good, &[], "always"));
    {
        let mut affairs = machine.lock();
        let v0 = Image::new("v0", Behaviour::Good).with_volume("/data");
        affairs.shelf.built(v0.stopped_by("SIGINT"));
        affairs.shelf.push(APP, "v0");
    }
    let command = RunOptions::new("till", APP, "always");
    machine.run_service(&RunOptions { labels: vec![stop_signal("SIGQUIT")], ..command });
    machine.lock().shelf.push(APP, "v2");
    Box::pin(pairs("the signal of a label", machine.copy())).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_while_one_of_two_on_an_image_fails() {
    let mut begin = stage(Behaviour::Good, &["till", "web"], "always");
    let exits = Image::new("v2", Behaviour::Good).with_volume("/data");
    begin.shelf.built(exits.except("web", Behaviour::Exits(1)));
    begin.shelf.push(APP, "v2");
    Box::pin(pairs("two on one image, one fails", begin)).await;
}

/// The same machine with a container in the network of `till`, and one that sees the processes of
/// that one.
fn stage_with_company(next: Behaviour, policy: &str) -> Affairs {
    let machine = Machine::from(stage(next, &["till"], policy));
    {
        let mut affairs = machine.lock();
        affairs.shelf.built(Image::new("side1", Behaviour::Good));
        affairs.shelf.push(SIDE, "side1");
    }
    machine.run_service(&RunOptions::new("drawer", SIDE, policy).hanging("NetworkMode", "till"));
    machine.run_service(&RunOptions::new("alarm", SIDE, policy).hanging("PidMode", "drawer"));
    machine.copy()
}

#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_in_an_update_with_two_dependents() {
    let begin = stage_with_company(Behaviour::Good, "always");
    pairs_at("two dependents", begin, STRIDE_OF_COMPANY).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_in_a_rollback_with_two_dependents() {
    let begin = stage_with_company(Behaviour::Dies(Duration::from_secs(3)), "unless-stopped");
    pairs_at("two dependents, rollback", begin, STRIDE_OF_COMPANY).await;
}
