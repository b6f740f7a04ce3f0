//! Two updates in flight: their pulls and trials overlap, one machine switches one container at a
//! time, and a crash at any point loses and doubles neither service.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::crashes::{AFTERMATH, Results, pairs_at, stage};
use crate::images::{Behaviour, Image};
use crate::invariants::Leave;
use crate::machine::{Affairs, Machine};
use crate::service::RunOptions;
use crate::session::{Job, live};

/// The image of the second container.
pub const KIOSK: &str = "shop.example/kiosk:1";

/// Every how-manieth point of a recovery is crashed at: a recovery of two updates has twice as many
/// points, and each costs more.
const STRIDE: usize = 200;

/// A machine with a second container on another image, which has a new release as well.
pub fn add_kiosk(machine: &Machine, next: Behaviour, policy: &str) {
    let shelf = |machine: &Machine, tag: &str| machine.lock().shelf.push(KIOSK, tag);
    {
        let mut affairs = machine.lock();
        affairs.shelf.built(Image::new("k1", Behaviour::Good).with_volume("/data"));
        affairs.shelf.built(Image::new("k2", next).with_volume("/data"));
    }
    shelf(machine, "k1");
    machine.run_service(&RunOptions::new("kiosk", KIOSK, policy));
    shelf(machine, "k2");
}

fn two(till: Behaviour, kiosk: Behaviour) -> Affairs {
    let machine = Machine::from(stage(till, &["till"], "always"));
    add_kiosk(&machine, kiosk, "always");
    machine.copy()
}

impl Affairs {
    /// Counts the containers that are switched at this moment.
    pub fn count_switches(&mut self) {
        if self.watches_switches {
            self.switches_at_once = self.switches_at_once.max(self.switching().len());
        }
    }

    /// The services whose open journal says that their forward switch has begun and has not ended:
    /// the old container is stopped, the new one is not started.
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
    Box::pin(pairs_at("two updates", begin, STRIDE)).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_while_one_of_two_updates_in_flight_fails() {
    let begin = two(Behaviour::Good, Behaviour::Dies(Duration::from_secs(3)));
    Box::pin(pairs_at("two updates, one fails", begin, STRIDE)).await;
}

/// What takes longest, the trial, overlaps: both updates end in about the time of one. And at no
/// moment are both services between their stop and their start.
#[tokio::test(start_paused = true)]
async fn two_updates_take_the_time_of_one_and_never_switch_at_once() {
    let time_of = async |affairs: Affairs| {
        let machine = Machine::from(affairs);
        machine.lock().engine.stop_takes = Duration::from_secs(1);
        machine.lock().watches_switches = true;
        let begun = tokio::time::Instant::now();
        live(&machine, Job::Round(pilotfish::agent::RoundRequest::default())).await;
        let affairs = machine.lock();
        assert_eq!(affairs.switches_at_once, 1, "containers that were switched at once");
        drop(affairs);
        assert_eq!(machine.invariants(Leave::default()), Vec::<String>::new());
        begun.elapsed()
    };
    let one = time_of(stage(Behaviour::Good, &["till"], "always")).await;
    let both = time_of(two(Behaviour::Good, Behaviour::Good)).await;
    assert!(both < one + Duration::from_secs(5), "{both:?} for two, {one:?} for one");
}

/// A bad release beside a good one: one is rolled back and refused, the other one is committed.
#[tokio::test(start_paused = true)]
async fn a_bad_release_holds_up_no_good_one() {
    let machine = Machine::from(two(Behaviour::Good, Behaviour::NeverHealthy));
    live(&machine, Job::Run(AFTERMATH)).await;
    let mut results = Results::default();
    results.count(machine.invariants(Leave::default()), &[]);
    assert!(results.found.is_empty(), "{}", results.in_words());
    let outcomes: BTreeSet<_> = machine
        .lock()
        .history()
        .into_iter()
        .map(|record| (record.container, record.outcome.word().to_owned()))
        .collect();
    let expected = [("kiosk", "rolled_back"), ("till", "updated")];
    assert_eq!(outcomes, expected.map(|(name, word)| (name.to_owned(), word.to_owned())).into());
}
