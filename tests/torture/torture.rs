//! All of it: `make torture`. What it does is chosen by the environment:
//!
//! | variable | default | meaning |
//! |---|---|---|
//! | `TORTURE_KILLS` | 10000 | strikes at calls of the Engine; a tenth with two dependents |
//! | `TORTURE_CUTS` | 1000 | power cuts |
//! | `TORTURE_SECONDS` | no limit | each of the three ends after this time |
//! | `TORTURE_WORKERS` | 4 | machines that are tortured at the same time |
//! | `TORTURE_SEED` | the time | begins the order of the cases; printed |
//! | `TORTURE_ONLY` | not set | plays this case alone, e.g. `good: kill after call 7` |
//! | `TORTURE_KEEP` | not set | adds to the results of earlier runs, in `target/torture/` |

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, fs};

use crate::cases::{Lengths, every, lengths, name, play};
use crate::fault::{Aim, Fault, Place, When};
use crate::page;
use crate::releases::Kind;
use crate::results::{self, Results};
use crate::rig::{Case, Rig};
use crate::seed::Seed;
use crate::service::Setup;
use crate::support::agent::OTHER_AGENT;
use crate::support::command::run;

/// The statuses with which the bench answers for the Engine.
const STATUSES: [u16; 3] = [500, 404, 409];

/// One strike in so many is something else than a kill, once every call was struck by a kill.
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
    fs::write(directory().join("commit"), what_is_tortured()).expect("what is tortured");
    file
}

fn what_is_tortured() -> String {
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

/// Every call of every kind of release, struck by a kill before and after.
fn all_kills(lengths: &Lengths) -> Vec<Case> {
    let kinds = lengths.keys();
    kinds.flat_map(|kind| every(*kind, Fault::Kill, lengths, 1)).collect()
}

/// Of the calls that are never answered one in so many is played: each takes as long as the
/// agent's patience, one minute for a question and three for an act.
const HANGS: usize = 9;

/// All the other strikes at every call of an update to a good and to a bad release.
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

/// A kill in the update, and another in the recovery from it.
fn kill_and_kill(lengths: &Lengths, seed: &mut Seed) -> Case {
    let kinds: Vec<Kind> = lengths.keys().copied().collect();
    let kind = seed.pick(&kinds);
    let length = lengths[&kind];
    let mut aim = |length: usize| {
        let place = Place::Call(1 + seed.below(length), seed.pick(&When::BOTH));
        Aim { fault: Fault::Kill, place }
    };
    Case { kind, aim: aim(length), again: Some(aim(length)) }
}

/// The case that somebody wants to see again, as often as strikes are asked for.
fn again(cases: &[Case], setup: Setup, count: usize) -> Option<Vec<Case>> {
    let told = env::var("TORTURE_ONLY").ok()?;
    let is_it = |case: &&Case| name(case, setup) == told;
    let case = cases.iter().find(is_it).unwrap_or_else(|| panic!("there is no case {told:?}"));
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
#[ignore = "takes as long as it is told: make torture"]
fn kills() {
    let results = Results::kept_in(&results("kills.jsonl"));
    let mut seed = seed();
    let mut benches = vec![Rig::new(&[])];
    let lengths = lengths(&mut benches[0], &Kind::ALL);
    eprintln!("calls of an update: {lengths:?}");
    let workers = number("TORTURE_WORKERS", 4);
    for worker in 1..workers {
        let flags: &[&str] = if worker % 2 == 1 { &["--live-restore"] } else { &[] };
        benches.push(Rig::new(flags));
    }
    let all = number("TORTURE_KILLS", 10_000);
    let count = all - all / CREWS;
    let cases = plan(&lengths, &mut seed, usize::try_from(count).expect("a number"));
    play(benches, cases, deadline(), &results);
    eprintln!("{}", results.summary());
}

/// One strike in so many meets a service with two dependents.
const CREWS: u64 = 10;

fn plan_for_crews(lengths: &Lengths, seed: &mut Seed, count: usize) -> Vec<Case> {
    let mut kills = all_kills(lengths);
    if let Some(cases) = again(&kills, Setup::WithDependents, count) {
        return cases;
    }
    seed.shuffle(&mut kills);
    let next = |_| kills.pop().unwrap_or_else(|| kill_and_kill(lengths, seed));
    (0..count).map(next).collect()
}

#[test]
#[ignore = "takes as long as it is told: make torture"]
fn crews() {
    let results = Results::kept_in(&results("crews.jsonl"));
    let mut seed = seed();
    let mut benches = vec![Rig::with(Setup::WithDependents, &[])];
    let lengths = lengths(&mut benches[0], &[Kind::Good, Kind::ExitsAtOnce]);
    eprintln!("calls of an update with two dependents: {lengths:?}");
    for worker in 1..number("TORTURE_WORKERS", 4) {
        let flags: &[&str] = if worker % 2 == 1 { &["--live-restore"] } else { &[] };
        benches.push(Rig::with(Setup::WithDependents, flags));
    }
    let count = number("TORTURE_KILLS", 10_000) / CREWS;
    let cases = plan_for_crews(&lengths, &mut seed, usize::try_from(count).expect("a number"));
    play(benches, cases, deadline(), &results);
    eprintln!("{}", results.summary());
}

/// Longest time after which the power is cut at random, in milliseconds: an update to one that
/// is never healthy takes so long.
const RANDOM_CUT_MAX: usize = 6_000;

/// One cut in so many strikes at a random time, not at a call.
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
            let aim = Aim { fault: Fault::Cut, place: Place::After(time) };
            plan.push(Case { kind: seed.pick(&Kind::ALL), aim, again: None });
        } else {
            plan.extend(calls.pop());
        }
    }
    plan
}

#[test]
#[ignore = "takes as long as it is told: make torture"]
fn cuts() {
    let results = Results::kept_in(&results("cuts.jsonl"));
    let mut seed = seed();
    let mut benches = vec![Rig::on_lossy_disk(&[])];
    let lengths = lengths(&mut benches[0], &Kind::ALL);
    for worker in 1..number("TORTURE_WORKERS", 4) {
        let flags: &[&str] = if worker % 2 == 1 { &["--live-restore"] } else { &[] };
        benches.push(Rig::on_lossy_disk(flags));
    }
    let count = number("TORTURE_CUTS", 1_000);
    let cases = plan_cuts(&lengths, &mut seed, usize::try_from(count).expect("a number"));
    play(benches, cases, deadline(), &results);
    eprintln!("{}", results.summary());
}

/// Named so that it comes last.
#[test]
#[ignore = "writes docs/reliability.md: make torture"]
fn page() {
    let kept = |name: &str| results::read(&directory().join(name));
    let commit = fs::read_to_string(directory().join("commit")).expect("results of a run");
    let kills = [kept("kills.jsonl"), kept("crews.jsonl")].concat();
    page::write(&commit, &kills, &kept("cuts.jsonl"));
}
