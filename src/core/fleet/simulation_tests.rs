//! Whole rollouts with a fake clock: 10,000 devices, one broker, good and bad images, liars.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::core::docker::reference::Digest;
use crate::core::fleet::message::verdict::FleetVerdict;
use crate::core::fleet::names::DeviceName;
use crate::core::fleet::place::Roster;
use crate::core::fleet::rollout::{Patience, Rollout, Standing};
use crate::core::fleet::rollout_progress::RolloutProgress;
use crate::core::fleet::turn::Turn;
use crate::core::fleet::votes::{Tally, Votes};

/// The time from a device's turn to its verdict.
const UPDATE: Duration = Duration::from_secs(120);

const SEEDS: u64 = 5;

/// All devices of one fleet.
struct Fleet {
    names: Vec<DeviceName>,
    rollouts: Vec<Rollout>,
}

impl Fleet {
    fn new(size: u32, waves: &str) -> Self {
        let name = |index: u32| format!("pi-{index}").parse::<DeviceName>().expect("a name");
        let names: Vec<_> = (0..size).map(name).collect();
        let rollout = |name: &DeviceName| {
            let roster = Roster::new(size, name.clone(), None).expect("a roster");
            let waves = waves.parse().expect("waves");
            Rollout::new(roster, waves, Patience::default()).expect("a rollout")
        };
        let rollouts = names.iter().map(rollout).collect();
        Self { names, rollouts }
    }

    fn standings(&self, digest: &Digest) -> Vec<Standing> {
        let ranking = self.rollouts[0].roster().ranking(digest);
        self.rollouts.iter().map(|rollout| rollout.standing_in(&ranking)).collect()
    }
}

/// What happens on one device: whether the image works, and whether it tells the truth.
#[derive(Clone, Copy)]
struct Device {
    works: bool,
    is_honest: bool,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Happens {
    Verdict(usize),
    Turn(usize),
}

/// One rollout of one digest; all devices see it at the same moment.
struct Simulation<'a> {
    fleet: &'a Fleet,
    digest: Digest,
    devices: Vec<Device>,
    standings: Vec<Standing>,
    progress: Vec<RolloutProgress>,
    votes: Votes,
    tally: Tally,
    queue: BinaryHeap<Reverse<(Duration, Happens)>>,
    /// Devices that wait for a message.
    waiting: Vec<usize>,
    tried: Vec<Duration>,
}

impl<'a> Simulation<'a> {
    fn new(fleet: &'a Fleet, seed: u64, device: impl Fn(u64, &Standing) -> Device) -> Self {
        let digest = Digest::of(&seed.to_be_bytes());
        let standings = fleet.standings(&digest);
        let random = |at: usize| mix(seed ^ mix(at as u64 + 1));
        let devices = standings.iter().enumerate().map(|(at, it)| device(random(at), it)).collect();
        let mut new = RolloutProgress::new(digest.clone());
        new.note_connected();
        let progress = vec![new; standings.len()];
        let queue =
            (0..standings.len()).map(|at| Reverse((Duration::ZERO, Happens::Turn(at)))).collect();
        let (votes, tally, tried) = (Votes::default(), Tally::default(), Vec::new());
        let waiting = Vec::new();
        Self { fleet, digest, devices, standings, progress, votes, tally, queue, waiting, tried }
    }

    fn run(mut self) -> Self {
        while let Some(Reverse((now, happens))) = self.queue.pop() {
            match happens {
                Happens::Turn(at) => self.ask(at, now),
                Happens::Verdict(at) => self.tell(at, now),
            }
        }
        self
    }

    fn ask(&mut self, at: usize, now: Duration) {
        let (rollout, progress) = (&self.fleet.rollouts[at], &mut self.progress[at]);
        progress.advance(now - progress.elapsed());
        progress.note(rollout, &self.tally);
        match rollout.turn(&self.standings[at], progress, &self.tally, None) {
            Turn::Now => {
                self.tried.push(now);
                self.queue.push(Reverse((now + UPDATE, Happens::Verdict(at))));
            }
            Turn::At(time) => {
                assert!(time > now, "the time of a turn is in the future");
                self.queue.push(Reverse((time, Happens::Turn(at))));
            }
            _ => self.waiting.push(at),
        }
    }

    fn tell(&mut self, at: usize, now: Duration) {
        let Device { works, is_honest } = self.devices[at];
        let said_ok = works == is_honest;
        let standing = self.standings[at];
        if said_ok && !standing.is_canary {
            return;
        }
        let reference = "till:v1".parse().expect("a reference");
        let verdict =
            FleetVerdict { reference, digest: self.digest.clone(), ok: said_ok, why: None };
        let rollout = &self.fleet.rollouts[0];
        assert!(self.votes.note(rollout, &self.fleet.names[at], &verdict));
        let was_released = rollout.is_released(&self.tally);
        self.tally = self.votes.tally(rollout, &self.digest);
        if !was_released && rollout.is_released(&self.tally) {
            // The message reaches all devices.
            for progress in &mut self.progress {
                progress.advance(now - progress.elapsed());
                progress.note(rollout, &self.tally);
            }
        }
        for waiting in std::mem::take(&mut self.waiting) {
            self.ask(waiting, now);
        }
    }

    fn is_stopped(&self) -> bool {
        self.tally.refused.is_some()
    }
}

/// Splitmix64: numbers that look random, the same in each run.
const fn mix(seed: u64) -> u64 {
    let mut number = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

const HONEST: Device = Device { works: true, is_honest: true };

/// A device on which the image fails with this chance in percent.
fn fails(percent: u64) -> impl Fn(u64, &Standing) -> Device {
    move |random, _| Device { works: random % 100 >= percent, ..HONEST }
}

/// The first canaries lie.
fn liars(count: u32, works: bool) -> impl Fn(u64, &Standing) -> Device {
    // 37 has no divisor in common with 100, so the liars are spread over the canaries.
    move |_, it| Device { works, is_honest: !(it.is_canary && it.place.rank * 37 % 100 < count) }
}

/// The most devices that tried, and how many of the rollouts were stopped.
fn outcome(fleet: &Fleet, device: impl Fn(u64, &Standing) -> Device) -> (usize, u64) {
    outcome_of(SEEDS, fleet, device)
}

fn outcome_of(
    seeds: u64,
    fleet: &Fleet,
    device: impl Fn(u64, &Standing) -> Device,
) -> (usize, u64) {
    let runs = (1..=seeds).map(|seed| Simulation::new(fleet, seed, &device).run());
    let results: Vec<_> = runs.map(|it| (it.tried.len(), u64::from(it.is_stopped()))).collect();
    let most = results.iter().map(|(tried, _)| *tried).max().unwrap_or_default();
    (most, results.iter().map(|(_, stopped)| stopped).sum())
}

#[test]
fn a_bad_image_is_tried_by_few_of_ten_thousand() {
    let fleet = Fleet::new(10_000, "day");
    let (tried, stopped) = outcome(&fleet, fails(100));
    assert!(tried <= 9 && stopped == SEEDS, "fails everywhere: {tried} {stopped}");
    let (tried, stopped) = outcome(&fleet, fails(20));
    assert!(tried <= 60 && stopped == SEEDS, "fails on a fifth: {tried} {stopped}");
    let (tried, stopped) = outcome(&fleet, liars(30, false));
    assert!(tried <= 20 && stopped == SEEDS, "bad, and 30 lie: {tried} {stopped}");
}

#[test]
fn a_good_image_reaches_all_of_ten_thousand() {
    let fleet = Fleet::new(10_000, "day");
    for (case, (tried, stopped)) in [
        ("1 % broken", outcome(&fleet, fails(1))),
        ("3 of 100 canaries lie", outcome(&fleet, liars(3, true))),
    ] {
        assert_eq!((tried, stopped), (10_000, 0), "{case}");
    }
}

#[test]
fn ten_liars_of_a_hundred_canaries_stop_a_good_image() {
    let fleet = Fleet::new(10_000, "day");
    let (tried, stopped) = outcome(&fleet, liars(10, true));
    assert!(tried <= 110 && stopped == SEEDS, "{tried} {stopped}");
}

#[test]
fn an_image_that_fails_on_a_twentieth_is_rarely_stopped() {
    // 100 canaries, as in a fleet of 10,000. 18 of 100 are stopped, all of them by canaries;
    // the bound is three standard deviations above.
    let fleet = Fleet::new(1000, "10%@1h 100%@8h");
    let (tried, stopped) = outcome_of(40, &fleet, fails(5));
    assert!(tried == 1000 && stopped <= 14, "{tried} {stopped}");
}

#[test]
fn smaller_fleets_stop_after_the_first_failures() {
    for (size, tried_max) in [(1000, 3), (100, 1)] {
        let fleet = Fleet::new(size, "day");
        let (tried, stopped) = outcome(&fleet, fails(100));
        assert!(tried <= tried_max && stopped == SEEDS, "{size}: {tried} {stopped}");
        let (tried, stopped) = outcome(&fleet, fails(0));
        assert_eq!((tried, stopped), (size as usize, 0), "{size}");
    }
    let (tried, stopped) = outcome(&Fleet::new(1000, "day"), fails(1));
    assert_eq!((tried, stopped), (1000, 0), "1 % broken");
    // One canary, one failure: a broken device among the first ten places stops a good image.
    let (_, stopped) = outcome_of(40, &Fleet::new(100, "day"), fails(1));
    assert!((1..=9).contains(&stopped), "1 % broken of 100: {stopped}");
}

#[test]
fn no_hour_takes_more_than_its_share_of_ten_thousand() {
    let fleet = Fleet::new(10_000, "day");
    let ended = Simulation::new(&fleet, 1, |_, _| HONEST).run();
    let mut hours = [0; 8];
    for time in &ended.tried {
        hours[usize::try_from(time.as_secs() / 3600).expect("an hour")] += 1;
    }
    assert_eq!(hours, [100, 400, 1000, 1000, 1875, 1875, 1875, 1875]);
    let canaries = ended.standings.iter().filter(|it| it.is_canary).count();
    assert_eq!((canaries, ended.tally.ok), (100, 100));
}

#[test]
fn a_fleet_of_three_follows_its_canary() {
    let fleet = Fleet::new(3, "canary");
    let good = Simulation::new(&fleet, 1, |_, _| HONEST).run();
    let millis: Vec<_> = good.tried.iter().map(Duration::as_millis).collect();
    // The verdict after 120 s, the pause of 600 s, and a third of 40 ms between the devices.
    assert_eq!(millis, [0, 720_013, 720_026]);
    let bad = Simulation::new(&fleet, 1, fails(100)).run();
    assert_eq!((bad.tried.len(), bad.is_stopped()), (1, true));
    let week = Fleet::new(100, "week");
    let last = Simulation::new(&week, 1, |_, _| HONEST).run().tried.last().copied();
    assert!(last.is_some_and(|it| it > Duration::from_secs(6 * 86_400)), "{last:?}");
}
