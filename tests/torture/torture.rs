//! The whole suite: `make torture`. Environment variables select what it does:
//!
//! | variable | default | meaning |
//! |---|---|---|
//! | `TORTURE_KILLS` | 10000 | faults at calls of the Engine; see below |
//! | `TORTURE_CUTS` | 1000 | power cuts; a tenth more with two updates in flight |
//! | `TORTURE_SECONDS` | no limit | each part ends after this time |
//! | `TORTURE_WORKERS` | 4 | machines in parallel |
//! | `TORTURE_SEED` | the time | the seed for the order of the cases; printed |
//! | `TORTURE_ONLY` | not set | runs this case alone, e.g. `good: kill after call 7` |
//! | `TORTURE_KEEP` | not set | adds to the results of earlier runs, in `target/torture/` |
//!
//! A tenth of the faults hit a service with two dependents. A tenth more kills hit two updates in
//! flight, and with `TORTURE_ONLY` none. A tenth more of both hits updates that start first, and a
//! tenth more updates of a group with a job. A tenth more cuts hits pushes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, fs};

use crate::cases::{Lengths, every, lengths, name, run_cases};
use crate::fault::{Fault, Place, PlannedFault, When};
use crate::group;
use crate::page;
use crate::pushes;
use crate::releases::Kind;
use crate::results::{self, Results};
use crate::rig::{Case, Rig};
use crate::seed::Seed;
use crate::service::Setup;
use crate::side_by_side::{self, SECOND_KINDS};
use crate::support::agent::OTHER_AGENT;
use crate::support::command::run;

/// The statuses of false answers.
const STATUSES: [u16; 3] = [500, 404, 409];

/// After every call had its kills, every n-th fault is another one than a kill.
const OTHERS: usize = 4;

fn number(name: &str, default: u64) -> u64 {
    let text = env::var(name).unwrap_or_default();
    if text.is_empty() { default } else { text.parse().unwrap_or_else(|_| panic!("{name}={text}")) }
}

fn deadline() -> Option<Instant> {
    let seconds = number("TORTURE_SECONDS", 0);
    (seconds > 0).then(|| Instant::now() + Duration::from_secs(seconds))
}

fn directory() -> PathBuf {
    let chosen = env::var_os("TORTURE_RESULTS").map(PathBuf::from);
    chosen.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/torture"))
}

fn results(name: &str) -> PathBuf {
    let file = directory().join(name);
    if env::var_os("TORTURE_KEEP").is_none() {
        drop(fs::remove_file(&file));
    }
    fs::create_dir_all(directory()).expect("a directory for the results");
    fs::write(directory().join("commit"), tested_build()).expect("the tested build");
    file
}

fn tested_build() -> String {
    let commit = run(Command::new("git").args(["rev-parse", "--short", "HEAD"]));
    let binary = env::var_os(OTHER_AGENT).map(PathBuf::from);
    let name = binary.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy());
    let build = name.map_or("debug build".to_owned(), |name| format!("the binary `{name}`"));
    format!("`{}`, {build}", commit.trim())
}

fn seed() -> Seed {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    let seed = number("TORTURE_SEED", now.as_secs());
    eprintln!("TORTURE_SEED={seed}");
    Seed::new(seed)
}

/// A kill before and after every call, for every kind of release.
fn all_kills(lengths: &Lengths) -> Vec<Case> {
    let kinds = lengths.keys();
    kinds.flat_map(|kind| every(*kind, Fault::Kill, lengths, 1)).collect()
}

/// Only every n-th of the calls without an answer is run, because each takes as long as the agent
/// waits: one minute for a read and three for a write.
const HANGS: usize = 9;

/// All other faults at every call of an update to a good and to a bad release.
fn all_others(lengths: &Lengths) -> Vec<Case> {
    let mut faults = vec![Fault::DropReply, Fault::Delay];
    faults.extend(STATUSES.map(Fault::Answer));
    faults.extend([Fault::RestartEngine, Fault::KillEngine, Fault::StartsFail]);
    let kinds = [Kind::Good, Kind::ExitsAtOnce];
    let pairs = kinds.into_iter().flat_map(|kind| faults.iter().map(move |fault| (kind, *fault)));
    let others = pairs.flat_map(|(kind, fault)| every(kind, fault, lengths, 1));
    let hangs = kinds.into_iter().flat_map(|kind| every(kind, Fault::Hang, lengths, HANGS));
    others.chain(hangs).collect()
}

/// A kill in the update, and another one in the recovery.
fn kill_and_kill(lengths: &Lengths, seed: &mut Seed) -> Case {
    let kinds: Vec<Kind> = lengths.keys().copied().collect();
    let kind = seed.pick(&kinds);
    let length = lengths[&kind];
    let mut aim = |length: usize| {
        let place = Place::Call(1 + seed.below(length), seed.pick(&When::BOTH));
        PlannedFault { fault: Fault::Kill, place }
    };
    Case { kind, aim: aim(length), again: Some(aim(length)) }
}

/// The case of `TORTURE_ONLY`, as often as faults are asked for.
fn again(cases: &[Case], setup: Setup, count: usize) -> Option<Vec<Case>> {
    let wanted = env::var("TORTURE_ONLY").ok()?;
    let is_it = |case: &&Case| name(case, setup) == wanted;
    let case = cases.iter().find(is_it).unwrap_or_else(|| panic!("there is no case {wanted:?}"));
    Some(vec![*case; count])
}

fn plan(lengths: &Lengths, seed: &mut Seed, count: usize) -> Vec<Case> {
    let mut kills = all_kills(lengths);
    let mut others = all_others(lengths);
    if let Some(cases) = again(&[&kills[..], &others].concat(), Setup::Alone, count) {
        return cases;
    }
    seed.shuffle(&mut kills);
    seed.shuffle(&mut others);
    let mut plan = Vec::new();
    while plan.len() < count {
        let other = if plan.len() % OTHERS == 0 { others.pop() } else { None };
        let case = other.or_else(|| kills.pop());
        plan.push(case.unwrap_or_else(|| kill_and_kill(lengths, seed)));
    }
    plan
}

#[test]
#[ignore = "takes as long as configured: make torture"]
fn kills() {
    let results = Results::kept_in(&results("kills.jsonl"));
    let mut seed = seed();
    let mut rigs = vec![Rig::new(&[])];
    let lengths = lengths(&mut rigs[0], &Kind::ALL);
    eprintln!("calls of an update: {lengths:?}");
    let workers = number("TORTURE_WORKERS", 4);
    for worker in 1..workers {
        let flags: &[&str] = if worker % 2 == 1 { &["--live-restore"] } else { &[] };
        rigs.push(Rig::new(flags));
    }
    let all = number("TORTURE_KILLS", 10_000);
    let count = all - all / WITH_DEPENDENTS;
    let cases = plan(&lengths, &mut seed, usize::try_from(count).expect("a number"));
    run_cases(rigs, cases, deadline(), &results);
    eprintln!("{}", results.summary());
}

/// Every n-th fault hits a service with two dependents.
const WITH_DEPENDENTS: u64 = 10;

fn plan_with_dependents(lengths: &Lengths, seed: &mut Seed, count: usize) -> Vec<Case> {
    let mut kills = all_kills(lengths);
    if let Some(cases) = again(&kills, Setup::WithDependents, count) {
        return cases;
    }
    seed.shuffle(&mut kills);
    let next = |_| kills.pop().unwrap_or_else(|| kill_and_kill(lengths, seed));
    (0..count).map(next).collect()
}

#[test]
#[ignore = "takes as long as configured: make torture"]
fn kills_with_dependents() {
    let results = Results::kept_in(&results("kills_with_dependents.jsonl"));
    let mut seed = seed();
    let mut rigs = vec![Rig::with(Setup::WithDependents, &[])];
    let lengths = lengths(&mut rigs[0], &[Kind::Good, Kind::ExitsAtOnce]);
    eprintln!("calls of an update with two dependents: {lengths:?}");
    for worker in 1..number("TORTURE_WORKERS", 4) {
        let flags: &[&str] = if worker % 2 == 1 { &["--live-restore"] } else { &[] };
        rigs.push(Rig::with(Setup::WithDependents, flags));
    }
    let count = number("TORTURE_KILLS", 10_000) / WITH_DEPENDENTS;
    let cases =
        plan_with_dependents(&lengths, &mut seed, usize::try_from(count).expect("a number"));
    run_cases(rigs, cases, deadline(), &results);
    eprintln!("{}", results.summary());
}

/// The latest time of a random power cut, in milliseconds. An update to a release that is never
/// healthy takes so long.
const RANDOM_CUT_MAX: usize = 6_000;

/// Every n-th cut is at a random time, not at a call.
const RANDOM_CUTS: usize = 4;

fn plan_cuts(lengths: &Lengths, seed: &mut Seed, count: usize) -> Vec<Case> {
    let every_cut = |kind: &Kind| every(*kind, Fault::Cut, lengths, 1);
    let mut calls: Vec<Case> = lengths.keys().flat_map(every_cut).collect();
    if let Some(cases) = again(&calls, Setup::Alone, count) {
        return cases;
    }
    seed.shuffle(&mut calls);
    let mut plan = Vec::new();
    while plan.len() < count {
        if calls.is_empty() {
            calls = lengths.keys().flat_map(every_cut).collect();
            seed.shuffle(&mut calls);
        }
        if plan.len() % RANDOM_CUTS == 0 {
            let time = Duration::from_millis(seed.below(RANDOM_CUT_MAX) as u64);
            let aim = PlannedFault { fault: Fault::Cut, place: Place::After(time) };
            plan.push(Case { kind: seed.pick(&Kind::ALL), aim, again: None });
        } else {
            plan.extend(calls.pop());
        }
    }
    plan
}

#[test]
#[ignore = "takes as long as configured: make torture"]
fn cuts() {
    let results = Results::kept_in(&results("cuts.jsonl"));
    let mut seed = seed();
    let mut rigs = vec![Rig::on_lossy_disk(&[])];
    let lengths = lengths(&mut rigs[0], &Kind::ALL);
    for worker in 1..number("TORTURE_WORKERS", 4) {
        let flags: &[&str] = if worker % 2 == 1 { &["--live-restore"] } else { &[] };
        rigs.push(Rig::on_lossy_disk(flags));
    }
    let count = number("TORTURE_CUTS", 1_000);
    let cases = plan_cuts(&lengths, &mut seed, usize::try_from(count).expect("a number"));
    run_cases(rigs, cases, deadline(), &results);
    eprintln!("{}", results.summary());
}

/// Every n-th fault more hits two updates in flight.
const WITH_TWO_UPDATES: u64 = 10;

/// Runs the cases with two updates in flight, a half for each kind of the second release.
fn run_side_by_side(fault: Fault, count: u64, file: &str) {
    if env::var_os("TORTURE_ONLY").is_some() {
        return;
    }
    let results = Results::kept_in(&results(file));
    let mut seed = seed();
    let machine = |setup, flags: &[&str]| match fault {
        Fault::Cut => Rig::on_lossy_disk_with(setup, flags),
        _ => Rig::with(setup, flags),
    };
    for kind in SECOND_KINDS {
        let setup = Setup::SideBySide(kind);
        let mut rigs = vec![machine(setup, &[])];
        let lengths = lengths(&mut rigs[0], &side_by_side::KINDS);
        eprintln!("calls of two updates, the second one {}: {lengths:?}", kind.word());
        for worker in 1..number("TORTURE_WORKERS", 4) {
            let flags: &[&str] = if worker % 2 == 1 { &["--live-restore"] } else { &[] };
            rigs.push(machine(setup, flags));
        }
        let count = usize::try_from(count).expect("a number") / SECOND_KINDS.len();
        let cases = side_by_side::plan(fault, &lengths, &mut seed, count);
        run_cases(rigs, cases, deadline(), &results);
    }
    eprintln!("{}", results.summary());
}

#[test]
#[ignore = "takes as long as configured: make torture"]
fn kills_with_two_updates() {
    let count = number("TORTURE_KILLS", 10_000) / WITH_TWO_UPDATES;
    run_side_by_side(Fault::Kill, count, "kills_with_two_updates.jsonl");
}

#[test]
#[ignore = "takes as long as configured: make torture"]
fn cuts_with_two_updates() {
    let count = number("TORTURE_CUTS", 1_000) / WITH_TWO_UPDATES;
    run_side_by_side(Fault::Cut, count, "cuts_with_two_updates.jsonl");
}

/// Every n-th fault more hits an update whose new container starts first.
const WITH_START_FIRST: u64 = 10;

/// The releases whose new container starts first.
const START_FIRST_KINDS: [Kind; 3] = [Kind::Good, Kind::ExitsAtOnce, Kind::Unhealthy];

/// Every n-th fault more hits an update of a group with a job.
const WITH_GROUP: u64 = 10;

/// Every n-th cut more hits a push.
const WITH_PUSHES: u64 = 10;

/// Every n-th kill during the update of a group gets another one in the recovery.
const AGAIN: usize = 5;

/// Faults before and after the calls of updates on machines of this kind.
fn run_setup(setup: Setup, kinds: &[Kind], fault: Fault, count: u64, file: &str) {
    let results = Results::kept_in(&results(file));
    let mut seed = seed();
    let machine = |flags: &[&str]| match fault {
        Fault::Cut => Rig::on_lossy_disk_with(setup, flags),
        _ => Rig::with(setup, flags),
    };
    let mut rigs = vec![machine(&[])];
    let lengths = lengths(&mut rigs[0], kinds);
    eprintln!("calls of an update{}: {lengths:?}", setup.words());
    let kinds = lengths.keys();
    let mut cases: Vec<Case> = kinds.flat_map(|kind| every(*kind, fault, &lengths, 1)).collect();
    if setup == Setup::Pushed {
        cases.extend(pushes::in_loads());
    }
    let count = usize::try_from(count).expect("a number");
    if let Some(again) = again(&cases, setup, count) {
        cases = again;
    }
    seed.shuffle(&mut cases);
    cases.truncate(count);
    if setup == Setup::Group && fault == Fault::Kill {
        let twice = cases.iter_mut().step_by(AGAIN);
        twice.for_each(|case| case.again = kill_and_kill(&lengths, &mut seed).again);
    }
    for worker in 1..number("TORTURE_WORKERS", 4) {
        let flags: &[&str] = if worker % 2 == 1 { &["--live-restore"] } else { &[] };
        rigs.push(machine(flags));
    }
    run_cases(rigs, cases, deadline(), &results);
    eprintln!("{}", results.summary());
}

#[test]
#[ignore = "takes as long as configured: make torture"]
fn kills_with_start_first() {
    let count = number("TORTURE_KILLS", 10_000) / WITH_START_FIRST;
    let file = "kills_with_start_first.jsonl";
    run_setup(Setup::StartFirst, &START_FIRST_KINDS, Fault::Kill, count, file);
}

#[test]
#[ignore = "takes as long as configured: make torture"]
fn cuts_with_start_first() {
    let count = number("TORTURE_CUTS", 1_000) / WITH_START_FIRST;
    let file = "cuts_with_start_first.jsonl";
    run_setup(Setup::StartFirst, &START_FIRST_KINDS, Fault::Cut, count, file);
}

#[test]
#[ignore = "takes as long as configured: make torture"]
fn kills_with_group() {
    let count = number("TORTURE_KILLS", 10_000) / WITH_GROUP;
    run_setup(Setup::Group, &group::KINDS, Fault::Kill, count, "kills_with_group.jsonl");
}

#[test]
#[ignore = "takes as long as configured: make torture"]
fn cuts_with_group() {
    let count = number("TORTURE_CUTS", 1_000) / WITH_GROUP;
    run_setup(Setup::Group, &group::KINDS, Fault::Cut, count, "cuts_with_group.jsonl");
}

#[test]
#[ignore = "takes as long as configured: make torture"]
fn cuts_with_pushes() {
    let count = number("TORTURE_CUTS", 1_000) / WITH_PUSHES;
    run_setup(Setup::Pushed, &pushes::KINDS, Fault::Cut, count, "cuts_with_pushes.jsonl");
}

/// Its name sorts last, so that it runs last.
#[test]
#[ignore = "writes docs/reliability.md: make torture"]
fn page() {
    let kept = |name: &str| results::read(&directory().join(name));
    let commit = fs::read_to_string(directory().join("commit")).expect("results of a run");
    let kills = [
        "kills.jsonl",
        "kills_with_dependents.jsonl",
        "kills_with_two_updates.jsonl",
        "kills_with_start_first.jsonl",
        "kills_with_group.jsonl",
    ];
    let cuts = [
        "cuts.jsonl",
        "cuts_with_two_updates.jsonl",
        "cuts_with_start_first.jsonl",
        "cuts_with_group.jsonl",
        "cuts_with_pushes.jsonl",
    ];
    page::write(&commit, &kills.map(kept).concat(), &cuts.map(kept).concat());
}
