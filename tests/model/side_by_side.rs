//! Two updates in flight: their pulls and verifications overlap, but a machine switches one
//! container at a time. A crash at any point loses and doubles neither service.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::crashes::{AFTERMATH, Results, crash_pairs_with_stride, machine_before_update};
use crate::images::{Behaviour, Image};
use crate::invariants::Leniency;
use crate::machine::{Machine, MachineState};
use crate::service::RunOptions;
use crate::session::{Job, live};

/// The image of the second container.
pub const KIOSK: &str = "shop.example/kiosk:1";

/// Every n-th point of a recovery gets a second crash. A recovery of two updates has twice as many
/// points, and each costs more.
const STRIDE: usize = 1021;

/// Adds a second container on another image, which has a new release as well.
pub fn add_kiosk(machine: &Machine, next: Behaviour, policy: &str) {
    let push = |machine: &Machine, tag: &str| machine.lock().registry.push(KIOSK, tag);
    {
        let mut state = machine.lock();
        state.registry.built(Image::new("k1", Behaviour::Good).with_volume("/data"));
        state.registry.built(Image::new("k2", next).with_volume("/data"));
    }
    push(machine, "k1");
    machine.run_service(&RunOptions::new("kiosk", KIOSK, policy));
    push(machine, "k2");
}

fn two(till: Behaviour, kiosk: Behaviour) -> MachineState {
    let machine = Machine::from(machine_before_update(till, &["till"], "always"));
    add_kiosk(&machine, kiosk, "always");
    machine.copy()
}

impl MachineState {
    /// Counts the containers that are switched at this moment.
    pub fn count_switches(&mut self) {
        if self.watches_switches {
            self.switches_at_once = self.switches_at_once.max(self.switching().len());
        }
    }

    /// The services whose journal says that the switch has begun and has not ended: the old
    /// container is stopped, the new one is not started.
    fn switching(&self) -> BTreeSet<String> {
        self.open_journals().into_iter().filter_map(|lines| switching(&lines)).collect()
    }
}

fn switching(lines: &[Value]) -> Option<String> {
    let name = lines.first()?["plan"]["container"].as_str()?.to_owned();
    let has = |step: &str, mark: &str| {
        lines.iter().any(|line| line["step"] == step && line["mark"] == mark)
    };
    let has_failed = lines.iter().any(|line| line["mark"] == "failed");
    (has("switch", "started") && !has("start", "done") && !has_failed).then_some(name)
}

#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_while_two_updates_are_in_flight() {
    let begin = two(Behaviour::Good, Behaviour::Good);
    Box::pin(crash_pairs_with_stride("two updates", begin, STRIDE)).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_while_one_of_two_updates_in_flight_fails() {
    let begin = two(Behaviour::Good, Behaviour::Dies(Duration::from_secs(3)));
    Box::pin(crash_pairs_with_stride("two updates, one fails", begin, STRIDE)).await;
}

/// The longest step, the verification, overlaps: two updates take about as long as one. But never
/// are two services stopped at the same time.
#[tokio::test(start_paused = true)]
async fn two_updates_take_as_long_as_one_and_never_switch_at_once() {
    let time_of = async |state: MachineState| {
        let machine = Machine::from(state);
        machine.lock().engine.stop_takes = Duration::from_secs(1);
        machine.lock().watches_switches = true;
        let begun = tokio::time::Instant::now();
        live(&machine, Job::Round(pilotfish::agent::RoundRequest::default())).await;
        let state = machine.lock();
        assert_eq!(state.switches_at_once, 1, "containers switched at the same time");
        drop(state);
        assert_eq!(machine.invariants(Leniency::default()), Vec::<String>::new());
        begun.elapsed()
    };
    let one = time_of(machine_before_update(Behaviour::Good, &["till"], "always")).await;
    let both = time_of(two(Behaviour::Good, Behaviour::Good)).await;
    assert!(both < one + Duration::from_secs(5), "{both:?} for two, {one:?} for one");
}

/// A bad and a good release: one is rolled back and refused, the other one is committed.
#[tokio::test(start_paused = true)]
async fn a_bad_release_does_not_delay_a_good_one() {
    let machine = Machine::from(two(Behaviour::Good, Behaviour::NeverHealthy));
    live(&machine, Job::Run(AFTERMATH)).await;
    let mut results = Results::default();
    results.count(machine.invariants(Leniency::default()), &[]);
    assert!(results.found.is_empty(), "{}", results.in_words());
    let outcomes: BTreeSet<_> = machine
        .lock()
        .history()
        .into_iter()
        .map(|record| (record.subject.name, record.outcome.word().to_owned()))
        .collect();
    let expected = [("kiosk", "rolled_back"), ("till", "updated")];
    assert_eq!(outcomes, expected.map(|(name, word)| (name.to_owned(), word.to_owned())).into());
}
