//! Releases that a client pushes to the running agent, on a disk that loses what was not flushed.
//!
//! Each release has a program of its own, in a layer that no other image has. So an image whose
//! files were lost cannot start.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fault::{Fault, Place, PlannedFault, WHOLE};
use crate::invariants::{self, Finding, Judged};
use crate::proxy::From;
use crate::releases::Kind;
use crate::rig::{AGENT_TIMEOUT, Case, LOOK_INTERVAL, Outcome, RECOVERY_LIMIT, Rig, SERVICE};
use crate::service::Setup;
use crate::support::agent::{Finished, Running};
use crate::support::command::wait_until;
use crate::support::pushed::{self, PUSHED};
use crate::support::registry::Published;
use crate::support::{Pi, QUIET, text};

/// The kinds of releases that are pushed.
pub const KINDS: [Kind; 2] = [Kind::Good, Kind::ExitsAtOnce];

/// The deployment of the service.
const DEPLOYMENT: &str = "[[deployment]]\nname = \"till\"\n";

/// The size of the last layer of each release.
const BALLAST: usize = 3_000_000;

/// How many bytes of an archive the Engine has when the power is cut.
const SENT: [u64; 3] = [1, 1_000_000, 4_000_000];

/// So long after the whole archive the power is cut, in milliseconds. A load takes about 300.
const UNPACKING: [u64; 8] = [0, 10, 30, 60, 100, 150, 200, 300];

/// The exit code of a push whose image was rolled back.
const ROLLED_BACK: i32 = 3;

/// An agent that takes pushes.
pub struct Pushes {
    /// The certificates and the archives.
    files: PathBuf,
    agent: Option<Running>,
    /// The user's name of the service's image.
    tag: String,
}

impl Pushes {
    /// The agent of a machine of this kind, which does not run yet.
    pub fn of(pi: &mut Pi, setup: Setup) -> Option<Self> {
        (setup == Setup::Pushed).then(|| {
            let files = pushed::install(pi, DEPLOYMENT, QUIET);
            Self { files, agent: None, tag: String::new() }
        })
    }
}

/// A cut in the middle of a load, for each kind of release.
pub fn in_loads() -> Vec<Case> {
    let places = SENT.map(|bytes| Place::InLoad(bytes, Duration::ZERO)).into_iter();
    let places = places
        .chain(UNPACKING.map(|time| Place::InLoad(WHOLE, Duration::from_millis(time))))
        .map(|place| PlannedFault { fault: Fault::Cut, place });
    let aims: Vec<_> = places.collect();
    let of_kind = |kind| aims.iter().map(move |aim| Case { kind, aim: *aim, again: None });
    KINDS.into_iter().flat_map(of_kind).collect()
}

/// A release as an archive.
struct Archive {
    path: PathBuf,
    kind: Kind,
    image: Published,
}

/// The calls from the load on to the end of the update.
pub fn count_calls(rig: &mut Rig, kind: Kind) -> Vec<String> {
    let archive = save_next(rig, kind);
    run_agent(rig);
    rig.proxy.set(From::ALoad, None);
    let finished = push(rig, &archive);
    let calls = rig.proxy.calls();
    let findings = settled(rig, &archive, &finished);
    assert!(findings.is_empty(), "a push without any fault: {findings:?}");
    calls
}

/// Runs one case, from a settled machine to a settled machine.
pub fn run_case(rig: &mut Rig, case: &Case) -> Outcome {
    let archive = save_next(rig, case.kind);
    run_agent(rig);
    rig.control = rig.pi.inspect(crate::rig::CONTROL);
    rig.watch.begin();
    rig.proxy.set(From::ALoad, Some(case.aim));
    let mut outcome = Outcome { setup: rig.setup, ..Outcome::default() };
    if push_and_cut(rig, &archive) {
        outcome.landed = rig.proxy.landed();
        rig.proxy.set(From::ALoad, None);
        outcome.findings.extend(invariants::alone(rig, &[judged(rig, &archive)]));
        recover(rig, &archive, &mut outcome);
    }
    rig.proxy.set(From::ALoad, None);
    if outcome.findings.is_empty() {
        let finished = push(rig, &archive);
        outcome.findings.extend(settled(rig, &archive, &finished));
    }
    if !outcome.findings.is_empty() {
        let log = pushes(rig).agent.as_ref().map(Running::all_output);
        outcome.log = format!("{}\n--- the next agent:\n{}", rig.log, log.unwrap_or_default());
        pushes(rig).agent = None;
        rig.reset();
    }
    outcome
}

fn pushes(rig: &mut Rig) -> &mut Pushes {
    rig.pushes.as_mut().expect("a machine with pushes")
}

/// The archive of the next release, which the Engine has forgotten.
fn save_next(rig: &mut Rig, kind: Kind) -> Archive {
    rig.next_version += 1;
    let version = rig.next_version.to_string();
    let release = kind.release(&version).with_own_till().with_ballast(BALLAST);
    let files = pushes(rig).files.clone();
    let (path, image) = pushed::save(&rig.pi, &files, &release, "next");
    rig.disk.iter().for_each(crate::disk::LossyDisk::flush);
    Archive { path, kind, image }
}

/// Starts the agent unless it runs.
fn run_agent(rig: &mut Rig) {
    let tag = text(&rig.original["Config"]["Image"]);
    let pushes = rig.pushes.as_mut().expect("a machine with pushes");
    pushes.tag = tag;
    if pushes.agent.is_none() {
        pushes.agent = Some(rig.pi.agent.spawn(&rig.pi.engine, &["run"]));
        wait_until("the agent is ready", PUSHED, || pushed::is_ready(&rig.pi));
    }
}

fn begin_push(rig: &mut Rig, archive: &Archive) -> Running {
    let files = pushes(rig).files.clone();
    pushed::begin_push(&rig.pi, &files, SERVICE, &archive.path, &[])
}

fn push(rig: &mut Rig, archive: &Archive) -> Finished {
    begin_push(rig, archive).finish()
}

/// Pushes, and cuts the power if the fault's place is reached. Returns whether it was.
fn push_and_cut(rig: &mut Rig, archive: &Archive) -> bool {
    let mut client = begin_push(rig, archive);
    let begun = Instant::now();
    while client.is_running() {
        assert!(begun.elapsed() < AGENT_TIMEOUT, "the push does not end:\n{}", client.log());
        if let Some(release) = rig.proxy.reached(LOOK_INTERVAL) {
            let agent = pushes(rig).agent.take().expect("a running agent");
            rig.log = format!("{}\n--- the client:\n{}", agent.all_output(), client.all_output());
            rig.cut([agent, client]);
            drop(release);
            return true;
        }
    }
    false
}

/// The service as the invariants see it.
fn judged<'a>(rig: &'a Rig, archive: &'a Archive) -> Judged<'a> {
    Judged {
        name: SERVICE,
        watch: &rig.watch,
        current: &rig.current,
        original: &rig.original,
        kind: archive.kind,
        next: &archive.image,
        version: rig.next_version.to_string(),
    }
}

/// Starts an agent again, until it is ready and nothing is open.
fn recover(rig: &mut Rig, archive: &Archive, outcome: &mut Outcome) {
    rig.watch.look_for_one();
    let begun = Instant::now();
    let agent = rig.pi.agent.spawn(&rig.pi.engine, &["run"]);
    pushes(rig).agent = Some(agent);
    let is_done = |rig: &Rig| pushed::is_ready(&rig.pi) && open(rig).is_none();
    while !is_done(rig) && begun.elapsed() < PUSHED {
        std::thread::sleep(LOOK_INTERVAL);
    }
    outcome.recovered = begun.elapsed();
    if rig.watch.await_one(RECOVERY_LIMIT).is_none() {
        outcome.findings.push(invariants::lost(rig, &rig.watch));
    }
    let first_one = rig.watch.first_one().unwrap_or(begun);
    outcome.service_back = first_one.saturating_duration_since(begun);
    outcome.findings.extend(check(rig, archive));
}

/// What is open according to the disk.
fn open(rig: &Rig) -> Option<String> {
    let journals = rig.pi.agent.journals();
    if !journals.is_empty() {
        return Some(format!("{journals:?}"));
    }
    let journal = fs::read_to_string(rig.pi.agent.state().join("push.json")).unwrap_or_default();
    let document: Value = serde_json::from_str(&journal).unwrap_or_default();
    // An Engine that was not cut may finish a late load; this entry ends by itself.
    let is_open = document["load"].is_object() || document["first"].is_object();
    is_open.then_some(journal)
}

/// What must hold whenever nothing is open: one container with the user's configuration, on an
/// image that the user's tag names too, and images that are whole.
fn check(rig: &Rig, archive: &Archive) -> Vec<Finding> {
    let pi = &rig.pi;
    let mut findings = invariants::check_containers(rig);
    findings.extend(open(rig).map(|what| Finding::leftovers(format!("still open: {what}"))));
    findings.extend(invariants::doubled(rig, &rig.watch));
    findings.extend(invariants::check_control(rig));
    findings.extend(invariants::check_images(rig));
    let Some(container) = pi.engine.inspect(SERVICE) else { return findings };
    findings.extend(invariants::check_fidelity(&rig.original, &container));
    let running = text(&container["Image"]);
    let is_new = running == archive.image.image && archive.kind.is_good();
    if running != rig.current.image && !is_new {
        findings.push(Finding::changed(format!("{running} runs")));
    }
    let tag = &rig.pushes.as_ref().expect("a machine with pushes").tag;
    let named = pi.engine.call("GET", &format!("/images/{tag}/json")).json()["Id"].clone();
    if named != running.as_str() {
        findings.push(Finding::changed(format!("{tag} names {named}, {running} runs")));
    }
    findings.extend(check_image_files(pi));
    findings
}

/// Reads every file of every listed image, with the checksums of the Engine, and starts it.
fn check_image_files(pi: &Pi) -> Vec<Finding> {
    let list = pi.engine.call("GET", "/images/json").succeeded("list").json();
    let ids = list.as_array().into_iter().flatten().map(|image| text(&image["Id"]));
    let broken = ids.filter_map(|id| {
        let save = docker(pi, &["save", &id]);
        let run = docker(pi, &["run", "--rm", "--network=none", &id, "migrate"]);
        let what = save.err().or(run.err())?;
        Some(Finding::changed(format!("the image {id} is broken: {what}")))
    });
    broken.collect()
}

/// Runs the `docker` command without its output.
fn docker(pi: &Pi, words: &[&str]) -> Result<(), String> {
    let mut command = Command::new("docker");
    command.env("DOCKER_HOST", pi.engine.host()).args(words);
    let output = command.stdout(Stdio::null()).output().expect("docker");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{words:?}: {error}")) }
}

/// After the image was pushed without a fault: a good one runs, and a bad one is refused and gone.
fn settled(rig: &mut Rig, archive: &Archive, finished: &Finished) -> Vec<Finding> {
    let is_good = archive.kind.is_good();
    let code = finished.status.code();
    let is_refused = finished.err.contains("refused_digest");
    let is_expected =
        if is_good { code == Some(0) } else { code == Some(ROLLED_BACK) || is_refused };
    let mut findings = Vec::new();
    if !is_expected {
        let what = format!("the next push ended with {code:?}: {}{}", finished.out, finished.err);
        findings.push(Finding::changed(what));
    }
    let running = rig.pi.engine.inspect(SERVICE).map(|it| text(&it["Image"]));
    if is_good != (running.as_ref() == Some(&archive.image.image)) {
        findings.push(Finding::changed(format!("{running:?} runs after the next push")));
    }
    findings.extend(check(rig, archive));
    let id = &archive.image.image;
    let is_there = rig.pi.engine.call("GET", &format!("/images/{id}/json")).status == 200;
    if is_there != is_good {
        findings.push(Finding::leftovers(format!("the pushed image is there: {is_there}")));
    }
    if is_good {
        rig.current = archive.image.clone();
    }
    findings
}

/// A person moves the tag, and a file of an image is lost.
#[test]
fn the_check_finds_a_moved_tag_and_a_lost_file() {
    let mut rig = Rig::with(Setup::Pushed, &[]);
    let calls = count_calls(&mut rig, Kind::Good);
    assert!(calls.iter().any(|call| call == "POST /images/load"), "{calls:?}");
    let archive = save_next(&mut rig, Kind::Good);
    rig.control = rig.pi.inspect(crate::rig::CONTROL);
    assert_eq!(check(&rig, &archive), []);

    let control = text(&rig.control["Image"]);
    let tag = pushes(&mut rig).tag.clone();
    rig.pi.engine.docker(&["tag", &control, &tag]);
    let id = rig.current.image.clone();
    let layers = "{{.GraphDriver.Data.UpperDir}}:{{.GraphDriver.Data.LowerDir}}";
    let layers = rig.pi.engine.docker(&["image", "inspect", "--format", layers, &id]);
    let files = layers.trim().split(':').map(|layer| Path::new(layer).join("own-till"));
    let program = files.into_iter().find(|file| file.exists()).expect("the layer of the program");
    fs::remove_file(&program).expect("the running program keeps its file");
    fs::write(&program, "").expect("an empty file");

    let findings = check(&rig, &archive);
    let finds = |what: &str| findings.iter().any(|finding| finding.what.contains(what));
    assert!(finds("names"), "{findings:?}");
    assert!(finds("is broken"), "{findings:?}");
}
