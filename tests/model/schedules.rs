//! Random faults from a seed.
//!
//! `PILOTFISH_SEEDS` says how many seeds are run, `PILOTFISH_SEED` is the first one. A seed that
//! fails is printed with the transcript of its run.

use std::sync::Arc;
use std::time::Duration;

use pilotfish::agent::RoundRequest;
use pilotfish::core::decide::reason::Reason;

use crate::crashes::{AFTERMATH, APP, Results, check_alone, number_of};
use crate::fault::{DiskTrouble, Fault, Survives};
use crate::images::{Behaviour, Image};
use crate::invariants::{CONTROL, Leniency};
use crate::machine::{Machine, MachineState};
use crate::seed::Seed;
use crate::service::RunOptions;
use crate::session::{End, Job, live};
use crate::side_by_side::add_kiosk;

/// The number of seeds without `PILOTFISH_SEEDS`.
const SEEDS: usize = 1_600;

/// The number of threads.
const WORKERS: usize = 2;

/// Faults happen within so many points; an update with a rollback has about 120.
const POINTS: usize = 220;

/// A run ends after so many starts of the agent.
const LIVES_MAX: usize = 12;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn random_faults() {
    let count = number_of("PILOTFISH_SEEDS", SEEDS);
    let begin = number_of("PILOTFISH_SEED", 0);
    let tallies: Vec<Results> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                scope.spawn(move || run((begin + worker..begin + count).step_by(WORKERS)))
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker")).collect()
    });
    let mut whole = Results::default();
    for results in tallies {
        whole.add(results);
    }
    println!("{}", whole.summary(&format!("{count} seeds from {begin}")));
    assert!(whole.found.is_empty(), "{}", whole.in_words());
}

fn run(seeds: impl Iterator<Item = usize>) -> Results {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().expect("a runtime");
    let mut results = Results::default();
    for number in seeds {
        let _name = Name(number);
        let found = runtime.block_on(one(number, false, &mut results));
        if results.is_new(&found) {
            println!("seed {number}: {found:#?}");
            runtime.block_on(one(number, true, &mut Results::default()));
        }
        results.runs += 1;
        results.count(found, &[(number, Fault::Kill)]);
    }
    results
}

/// Prints the seed if a run ends in a panic.
struct Name(usize);

impl Drop for Name {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("it was seed {}", self.0);
        }
    }
}

/// One run of one seed.
async fn one(number: usize, keeps_transcript: bool, results: &mut Results) -> Vec<String> {
    let mut seed = Seed::new(number as u64);
    let machine = Machine::from(machine_before_update(&mut seed));
    {
        let mut state = machine.lock();
        state.keeps_transcript = keeps_transcript;
        state.crash_points.counts_reads = seed.one_in(2);
        state.crash_points.armed = faults(&mut seed);
    }
    let mut machine = machine;
    let mut found = Vec::new();
    for _ in 0..LIVES_MAX {
        match live(&machine, Job::Run(AFTERMATH)).await {
            End::Crash(Fault::Cut(_)) => {
                let mut one = Results::default();
                check_alone(&machine.copy(), &mut one, &[]).await;
                results.alone += 1;
                found.extend(one.found.into_keys());
                // The agent was down during the check.
                machine.fault_ended_at(machine.now());
                machine.plan_check(machine.now());
            }
            End::Crash(_) | End::Over => {}
            End::Refused(_) | End::Round(_) | End::Pushed(_) => {
                tokio::time::sleep(SECOND).await;
            }
        }
        let state = machine.copy();
        machine = Machine::from(state);
        if machine.lock().crash_points.armed.is_empty() {
            break;
        }
    }
    found.extend(invariants(&machine).await);
    if keeps_transcript {
        println!("{}", machine.lock().log.join("\n"));
    }
    found
}

/// All faults are over. After two more runs of the agent, all invariants must hold.
async fn invariants(machine: &Arc<Machine>) -> Vec<String> {
    {
        let mut state = machine.lock();
        state.crash_points.armed.clear();
        state.files.error = None;
        state.registry.failure = None;
    }
    live(machine, Job::Run(2 * AFTERMATH)).await;
    let mut found = machine.invariants(Leniency::default());
    found.extend(quiet(machine).await);
    found
}

/// I11: a round without news writes nothing and does nothing.
async fn quiet(machine: &Arc<Machine>) -> Vec<String> {
    let count = || {
        let state = machine.lock();
        (state.files.writes, state.acts)
    };
    let before = count();
    live(machine, Job::Round(RoundRequest::default())).await;
    let after = count();
    if before == after {
        Vec::new()
    } else {
        vec!["I11: a round without news does something".into()]
    }
}

fn machine_before_update(seed: &mut Seed) -> MachineState {
    let machine = Machine::new();
    let policy = seed.pick(&["always", "unless-stopped", "on-failure", "no", "unless-stopped"]);
    {
        let mut state = machine.lock();
        state.checks_after_faults = true;
        state.shares_a_disk = !seed.one_in(3);
        state.engine.containerd_store = seed.one_in(3);
        state.engine.live_restore = seed.one_in(5);
        state.engine.stop_takes = Duration::from_millis(seed.pick(&[10, 300, 1000]));
        let registry = &mut state.registry;
        registry.built(Image::new("v1", Behaviour::Good).with_volume("/data"));
        registry.built(Image::new("v2", behaviour(seed)).with_volume("/data"));
        registry.built(Image::new("v3", behaviour(seed)).with_volume("/data"));
        registry.push(APP, "v1");
    }
    machine.run_service(&RunOptions { is_watched: false, ..RunOptions::new(CONTROL, APP, policy) });
    let port = seed.one_in(4).then_some(8080);
    machine.run_service(&RunOptions { port, ..RunOptions::new("till", APP, policy) });
    if seed.one_in(4) {
        machine.run_service(&RunOptions::new("web", APP, policy));
    }
    if seed.one_in(3) {
        add_kiosk(&machine, behaviour(seed), policy);
    }
    machine.lock().registry.push(APP, "v2");
    machine.copy()
}

fn behaviour(seed: &mut Seed) -> Behaviour {
    seed.pick(&[
        Behaviour::Good,
        Behaviour::Good,
        Behaviour::Healthy(5 * SECOND),
        Behaviour::Exits(1),
        Behaviour::Exits(0),
        Behaviour::Dies(3 * SECOND),
        Behaviour::Dies(20 * SECOND),
        Behaviour::Unhealthy(5 * SECOND),
        Behaviour::Sickens(12 * SECOND),
        Behaviour::NeverHealthy,
        Behaviour::CannotStart,
    ])
}

/// Up to four faults, at any points.
fn faults(seed: &mut Seed) -> Vec<(usize, Fault)> {
    (0..=seed.below(4)).map(|_| (seed.below(POINTS), fault(seed))).collect()
}

fn fault(seed: &mut Seed) -> Fault {
    let down = Duration::from_millis(seed.pick(&[200, 2_000, 20_000, 200_000]));
    match seed.below(16) {
        0..=2 => Fault::Kill,
        3 => Fault::Cut(Survives::All),
        4 => Fault::Cut(Survives::Nothing),
        5 | 6 => Fault::Cut(Survives::Some(seed.next())),
        7 => Fault::Terminate,
        8 => Fault::RestartEngine { killed: false, down },
        9 => Fault::RestartEngine { killed: true, down },
        10 => Fault::Refuse,
        11 => Fault::LoseTheAnswer,
        12 => Fault::Disk(seed.pick(&[DiskTrouble::Full, DiskTrouble::Broken]), 1 + seed.below(24)),
        13 => Fault::SetClock(seed.pick(&[86_400_000, -86_400_000, -40_000, 3_600_000])),
        14 => Fault::Push(APP.into(), seed.pick(&["v2", "v3"]).into()),
        _ => Fault::Registry(Some(Reason::RegistryUnreachable)),
    }
}
