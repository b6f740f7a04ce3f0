//! Parses a scenario: one command per line, faults included.

use std::time::Duration;

use pilotfish::core::decide::reason::Reason;

use crate::fault::{DiskTrouble, Fault, Survives};
use crate::images::{Behaviour, Image};
use crate::machine::Hook;
use crate::service::RunOptions;

/// One line of a scenario.
#[derive(Debug)]
pub enum Command {
    /// `containerd`: the Engine keeps images in containerd's store.
    ContainerdStore,
    /// `live-restore`.
    LiveRestore,
    /// `state-on-another-disk`: a flush of the Engine's disk does not flush the state directory.
    AnotherDisk,
    /// `free BYTES`.
    Free(u64),
    /// `image v2 = dies 3s`; `image v2 = good except web: exits 1`; `image v2 = good by SIGINT`.
    Image(Box<Image>),
    /// `push shop/app:1 v2`; `clock +1d`; …: happens at once.
    Now(Fault),
    /// `run till shop/app:1 policy=always port=80 label=…`.
    Run(RunOptions),
    /// `build shop/own:1 v2`: a locally built image, without a digest.
    Build(String, String),
    /// `before rename 2: kill`.
    Hook(Hook),
    /// `at verify +5s: prune`.
    AtStep(String, Duration, Fault),
    /// `round`: `pilotfish update`; `round force`; `round by-name`: with all names as arguments.
    Round { force: bool, by_name: bool, dry_run: bool },
    /// `agent 40m`: `pilotfish run` for this time.
    Agent(Duration),
    /// `wait 10s`: only time passes.
    Wait(Duration),
    /// `show`: prints the state of the Engine and the disk.
    Show,
}

/// Reads one line.
pub fn command(line: &str) -> Command {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match word {
        "containerd" => Command::ContainerdStore,
        "live-restore" => Command::LiveRestore,
        "state-on-another-disk" => Command::AnotherDisk,
        "free" => Command::Free(rest.parse().expect("a number of bytes")),
        "image" => Command::Image(Box::new(image(rest))),
        "run" => Command::Run(run_options(rest)),
        "build" => {
            let (tag, image) = rest.split_once(' ').expect("`build TAG IMAGE`");
            Command::Build(tag.to_owned(), image.to_owned())
        }
        "before" | "after" => Command::Hook(hook(word == "after", rest)),
        "at" => at_step(rest),
        "round" => Command::Round {
            force: rest == "force",
            by_name: rest == "by-name",
            dry_run: rest == "dry",
        },
        "agent" => Command::Agent(time(rest)),
        "wait" => Command::Wait(time(rest)),
        "show" => Command::Show,
        _ => Command::Now(fault(line)),
    }
}

fn image(text: &str) -> Image {
    let (name, rest) = text.split_once(" = ").expect("`image NAME = BEHAVIOUR`");
    let (rest, signal) = rest.split_once(" by ").unwrap_or((rest, ""));
    let (behaviour, except) = rest.split_once(" except ").unwrap_or((rest, ""));
    let mut image = Image::new(name, Behaviour::parse(behaviour)).with_volume("/data");
    if !signal.is_empty() {
        image = image.stopped_by(signal);
    }
    match except.split_once(": ") {
        Some((service, behaviour)) => image.except(service, Behaviour::parse(behaviour)),
        None => image,
    }
}

fn run_options(text: &str) -> RunOptions {
    let mut words = text.split(' ');
    let name = words.next().expect("a name");
    let image = words.next().expect("an image");
    let mut command = RunOptions::new(name, image, "always");
    for (key, value) in words.filter_map(|word| word.split_once('=')) {
        match key {
            "policy" => command.policy = value.to_owned(),
            "port" => command.port = value.parse().ok(),
            "keep" => command.keep = value.parse().expect("a number"),
            "watched" => command.is_watched = value == "yes",
            "network" => command = command.joined_to("NetworkMode", value),
            "pid" => command = command.joined_to("PidMode", value),
            "stop-signal" => command.labels.push(stop_signal(value)),
            label => command.labels.push((format!("pilotfish.{label}"), value.to_owned())),
        }
    }
    if command.keep != 1 {
        command.labels.push(("pilotfish.images.keep".into(), command.keep.to_string()));
    }
    command
}

/// Watchtower's label for the stop signal.
pub fn stop_signal(signal: &str) -> (String, String) {
    ("com.centurylinklabs.watchtower.stop-signal".to_owned(), signal.to_owned())
}

/// `rename 2: kill`.
fn hook(after: bool, text: &str) -> Hook {
    let (point, what) = text.split_once(": ").expect("`before CALL N: …`");
    let (call, nth) = point.rsplit_once(' ').expect("a call and a number");
    let nth = nth.parse().expect("a number");
    Hook { call: call.to_owned(), nth, after, fault: fault(what) }
}

/// `verify +5s: prune`.
fn at_step(text: &str) -> Command {
    let (point, what) = text.split_once(": ").expect("`at STEP +TIME: …`");
    let (step, after) = point.split_once(" +").expect("a step and a time");
    Command::AtStep(step.to_owned(), time(after), fault(what))
}

fn time(text: &str) -> Duration {
    humantime::parse_duration(text).expect("a time")
}

fn fault(text: &str) -> Fault {
    let words: Vec<_> = text.split(' ').collect();
    match words.as_slice() {
        ["kill"] => Fault::Kill,
        ["sigterm"] => Fault::Terminate,
        ["cut", keeps] => Fault::Cut(match *keeps {
            "nothing-kept" => Survives::Nothing,
            "all-kept" => Survives::All,
            seed => Survives::Some(seed.parse().expect("a seed")),
        }),
        ["engine", "restarts", down] => Fault::RestartEngine { killed: false, down: time(down) },
        ["engine", "killed", down] => Fault::RestartEngine { killed: true, down: time(down) },
        ["refuse"] => Fault::Refuse,
        ["conflict"] => Fault::Conflict,
        ["lose-the-answer"] => Fault::LoseTheAnswer,
        ["disk", "full", writes] => Fault::Disk(DiskTrouble::Full, number(writes)),
        ["disk", "broken", writes] => Fault::Disk(DiskTrouble::Broken, number(writes)),
        ["disk", "mended"] => Fault::MendDisk,
        ["lose-state"] => Fault::LoseState,
        ["clock", seconds] => Fault::SetClock(clock(seconds)),
        ["prune"] => Fault::Prune,
        ["create-foreign", name, image] => Fault::CreateForeign((*name).into(), (*image).into()),
        ["other-agent", "lives"] => Fault::OtherAgent(Some(true)),
        ["other-agent", "is-gone"] => Fault::OtherAgent(Some(false)),
        ["other-agent", "unseen"] => Fault::OtherAgent(None),
        ["unlock"] => Fault::Unlock,
        ["rm", name] => Fault::Remove((*name).into()),
        ["stop", name] => Fault::Stop((*name).into()),
        ["start", name] => Fault::Start((*name).into()),
        ["restart", name] => Fault::Restart((*name).into()),
        ["rename", from, to] => Fault::Rename((*from).into(), (*to).into()),
        ["run-again", name] => Fault::Run((*name).into()),
        ["create-again", name] => Fault::Create((*name).into()),
        ["pull", tag] => Fault::Pull((*tag).into()),
        ["push", tag, image] => Fault::Push((*tag).into(), (*image).into()),
        ["registry", "down"] => Fault::Registry(Some(Reason::RegistryUnreachable)),
        ["registry", "up"] => Fault::Registry(None),
        _ => panic!("`{text}` is not a known action"),
    }
}

fn number(text: &str) -> usize {
    if text == "always" { usize::MAX } else { text.parse().expect("a number") }
}

/// `+1d`, `-1d`, `1970`.
fn clock(text: &str) -> i64 {
    let time = |text: &str| i64::try_from(time(text).as_millis()).expect("a short time");
    match text.split_at(1) {
        ("+", rest) => time(rest),
        ("-", rest) => -time(rest),
        _ => -1000 * crate::machine::BEGIN,
    }
}
