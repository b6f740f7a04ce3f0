//! The invariants, checked from outside: only the Engine and the disk are asked.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::dependents;
use crate::fault::Fault;
use crate::releases::Kind;
use crate::rig::{CONTROL, Case, Rig, SERVICE};
use crate::second_service::KIOSK;
use crate::service::Setup;
use crate::service_watch::{SERVICE_LABEL_KEY, Watch};
use crate::support::agent::{Finished, begins_step};
use crate::support::registry::Published;
use crate::support::text;

/// The exit code after a failed release.
const ROLLED_BACK: i32 = 3;

/// The files of a state directory at rest.
const STATE_FILES: [&str; 8] = [
    "layout",
    "memory.json",
    "history.jsonl",
    "journal",
    "lock",
    "lock-change",
    "control.sock",
    "agent-id",
];

/// The till's variables that users set, and not images.
const USER_VARIABLES: [&str; 3] = ["TILL_DIARY=", "TILL_PORT=", "TILL_LEDGER="];

/// How long an Engine may take after its start to start its containers.
const ALONE_LIMIT: Duration = Duration::from_secs(20);
const ALONE_INTERVAL: Duration = Duration::from_millis(50);

/// The category of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// The service does not run.
    Lost,
    /// It ran twice.
    Doubled,
    /// Something was left behind.
    Leftovers,
    /// It runs, but it was changed, or it is not the expected one.
    Changed,
    /// A bad image was started again.
    Revived,
    /// Something took too long.
    Late,
}

/// A violated invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub weight: Weight,
    pub what: String,
}

impl Finding {
    const fn new(weight: Weight, what: String) -> Self {
        Self { weight, what }
    }

    pub const fn lost(what: String) -> Self {
        Self::new(Weight::Lost, what)
    }

    pub const fn doubled(what: String) -> Self {
        Self::new(Weight::Doubled, what)
    }

    pub const fn changed(what: String) -> Self {
        Self::new(Weight::Changed, what)
    }

    pub const fn leftovers(what: String) -> Self {
        Self::new(Weight::Leftovers, what)
    }

    pub const fn late(what: String) -> Self {
        Self::new(Weight::Late, what)
    }

    pub const fn revived(what: String) -> Self {
        Self::new(Weight::Revived, what)
    }
}

/// A watched service, and its release in this case.
pub struct Judged<'a> {
    pub name: &'static str,
    pub watch: &'a Watch,
    /// Its image between two cases.
    pub current: &'a Published,
    pub original: &'a Value,
    pub kind: Kind,
    pub next: &'a Published,
    /// The version of the release.
    pub version: String,
}

/// I1: no container of the service runs, or more than one.
pub fn lost(rig: &Rig, watch: &Watch) -> Finding {
    let names = rig.pi.names();
    let weight = if watch.most() > 1 { Weight::Doubled } else { Weight::Lost };
    Finding::new(weight, format!("there is not exactly one container of the service: {names:?}"))
}

/// I1: at some time more ran than one, or than two if the new container starts first.
pub fn doubled(rig: &Rig, watch: &Watch) -> Option<Finding> {
    let most = watch.most();
    (most > rig.setup.running_max()).then(|| Finding::doubled(format!("{most} ran")))
}

/// I13: if the new container starts first, a kill of the agent costs no gap.
fn gap(rig: &Rig, case: &Case, watch: &Watch) -> Option<Finding> {
    let must_serve = rig.setup == Setup::StartFirst && case.aim.fault == Fault::Kill;
    let is_away = must_serve && watch.least() == 0;
    is_away.then(|| Finding::lost("for a moment no container of the service ran".to_owned()))
}

/// I12: the Engine alone, before any agent is started again, runs exactly one proven container of
/// each service. There are two exceptions, in which the service waits for the agent. One is between
/// the two calls of the commit. The other is live-restore: the old container was stopped by hand
/// there, because otherwise it would run beside the new one after every restart of the Engine.
pub fn alone(rig: &Rig, services: &[Judged<'_>]) -> Vec<Finding> {
    let is_control_up = |rig: &Rig| rig.pi.names().contains(&format!("{CONTROL} running"));
    if !becomes_true(|| is_control_up(rig)) {
        // What the Engine itself loses is not checked; the recovery that follows is.
        return Vec::new();
    }
    services.iter().filter_map(|service| one_alone(rig, service)).collect()
}

fn one_alone(rig: &Rig, service: &Judged<'_>) -> Option<Finding> {
    let name = service.name;
    let journals = rig.pi.agent.entries_by_container();
    let entries = journals.get(name);
    if !becomes_true(|| running(rig, name).len() == 1) {
        let last = entries.and_then(|entries| entries.last());
        let is_in_the_commit = last.is_some_and(|last| begins_step(last, "commit"));
        let none = running(rig, name).is_empty();
        let weight = if none { Weight::Lost } else { Weight::Doubled };
        let what = format!("{name}, the Engine alone: {:?}, behind {entries:?}", rig.pi.names());
        let waits = none && (is_in_the_commit || rig.has_live_restore());
        return (!waits).then(|| Finding::new(weight, what));
    }
    let image = text(&running(rig, name)[0]["Image"]);
    // The new container has passed verification, according to the disk.
    let is_done = |entry: &Value| entry["step"] == "verify" && entry["mark"] == "done";
    let is_verified = entries.is_none_or(|entries| entries.iter().any(is_done));
    let is_proven = image == service.current.image || (service.kind.is_good() && is_verified);
    let what = format!("the Engine alone serves {image}, the new one is {}", service.next.image);
    (!is_proven).then(|| Finding::changed(what))
}

/// The running containers of a service, whatever their names, as inspect shows them.
pub fn running(rig: &Rig, service: &str) -> Vec<Value> {
    let all = rig.pi.engine.containers();
    let is_service = |it: &&Value| it["Labels"][SERVICE_LABEL_KEY] == service;
    let of_service = all.iter().filter(|it| it["State"] == "running").filter(is_service);
    of_service.filter_map(|it| rig.pi.engine.inspect(it["Id"].as_str()?)).collect()
}

/// Whether the condition becomes true within the time that an Engine may take to start its
/// containers.
fn becomes_true(mut holds: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < ALONE_LIMIT {
        if holds() {
            return true;
        }
        thread::sleep(ALONE_INTERVAL);
    }
    false
}

/// Right after a recovery: I1, I2, I5, I6, as far as they can hold after an interrupted update.
pub fn recovered(
    rig: &Rig,
    case: &Case,
    services: &[Judged<'_>],
    finished: &Finished,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !matches!(finished.status.code(), Some(0 | ROLLED_BACK)) {
        let what = format!("recover ended with {}: {}", finished.status, finished.err);
        findings.push(Finding::leftovers(what));
    }
    findings.extend(check_containers(rig));
    for service in services {
        findings.extend(doubled(rig, service.watch));
        findings.extend(gap(rig, case, service.watch));
        let Some(container) = rig.pi.engine.inspect(service.name) else { continue };
        let image = text(&container["Image"]);
        let is_new = image == service.next.image;
        if image != service.current.image && !(service.kind.is_good() && is_new) {
            findings.push(Finding::changed(format!("{image} runs")));
        }
        findings.extend(check_fidelity(service.original, &container));
    }
    findings
}

/// All invariants, once nothing is in flight.
pub fn settled(rig: &Rig, case: &Case, services: &[Judged<'_>]) -> Vec<Finding> {
    let mut findings = check_containers(rig);
    for service in services {
        findings.extend(doubled(rig, service.watch));
        if let Some(container) = rig.pi.engine.inspect(service.name) {
            if text(&container["Image"]) != service.current.image {
                findings.push(Finding::changed("another image runs".to_owned()));
            }
            findings.extend(check_fidelity(service.original, &container));
        }
        findings.extend(check_history(rig, case, service));
    }
    findings.extend(check_control(rig));
    if denies_images(case) {
        // Tags and images may stay for that reason. They are removed, so that the next case does
        // not report them.
        rig.pi.engine.docker(&["image", "prune", "--all", "--force"]);
    } else {
        findings.extend(check_images(rig));
    }
    findings.extend(check_state(&rig.pi.agent.state()));
    findings
}

/// Exactly the service, its dependents and the control container exist; all run, none is parked.
pub fn check_containers(rig: &Rig) -> Vec<Finding> {
    let mut findings = Vec::new();
    let names = rig.pi.names();
    let mut expected = rig.setup.names();
    for service in [SERVICE, KIOSK].iter().filter(|it| expected.contains(it)) {
        if !names.contains(&format!("{service} running")) {
            findings.push(Finding::lost(format!("{service} does not run: {names:?}")));
        }
    }
    expected.push(CONTROL);
    let others = names.iter().filter(|name| !expected.contains(&name.split(' ').next().unwrap()));
    findings.extend(others.map(|name| Finding::leftovers(format!("the container {name}"))));
    findings.extend(dependents::invariants(rig));
    findings
}

/// I3, I4, I5: the user's configuration is unchanged, the restart policy included.
pub fn check_fidelity(original: &Value, now: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut compare = |what: &str, before: Value, after: Value| {
        if before != after {
            let what = format!("{what} changed: {before} → {after}");
            findings.push(Finding::changed(what));
        }
    };
    for key in ["Hostname", "User", "Labels", "WorkingDir", "StopTimeout"] {
        compare(key, original["Config"][key].clone(), now["Config"][key].clone());
    }
    compare("Env", users_environment(original), users_environment(now));
    compare("Mounts", mounts(original), mounts(now));
    for (key, before) in original["HostConfig"].as_object().expect("HostConfig") {
        // An anonymous volume is first declared by the image, and later a bind by name.
        if key != "Binds" && key != "Mounts" {
            compare(key, before.clone(), now["HostConfig"][key].clone());
        }
    }
    findings
}

/// The environment without the variables of the images.
fn users_environment(container: &Value) -> Value {
    let all = container["Config"]["Env"].as_array().cloned().unwrap_or_default();
    let is_users = |entry: &Value| {
        let entry = entry.as_str().unwrap_or_default();
        !entry.starts_with("TILL_") || USER_VARIABLES.iter().any(|own| entry.starts_with(own))
    };
    let mut users: Vec<Value> = all.into_iter().filter(is_users).collect();
    users.sort_by_key(ToString::to_string);
    Value::Array(users)
}

/// The mounts: destination, source and mode.
fn mounts(container: &Value) -> Value {
    let all = container["Mounts"].as_array().cloned().unwrap_or_default();
    let mut mounts: Vec<Value> = all
        .iter()
        .map(|it| format!("{} {} {}", it["Destination"], it["Source"], it["RW"]).into())
        .collect();
    mounts.sort_by_key(ToString::to_string);
    Value::Array(mounts)
}

/// The control container was not touched.
pub fn check_control(rig: &Rig) -> Option<Finding> {
    let now = rig.pi.engine.inspect(CONTROL);
    let is_same = now.as_ref().is_some_and(|now| now["Id"] == rig.control["Id"]);
    let what = "the control container was touched".to_owned();
    (!is_same).then_some(Finding::changed(what))
}

/// An agent that is told that an image is gone does not remove it later. The test says so of
/// present images; an Engine does not.
fn denies_images(case: &Case) -> bool {
    case.aim.fault == Fault::Answer(404)
}

pub fn check_images(rig: &Rig) -> Option<Finding> {
    let images = rig.pi.engine.call("GET", "/images/json").succeeded("list images").json();
    let images = images.as_array().cloned().unwrap_or_default();
    let names = images.iter().map(|image| format!("{} {}", image["Id"], image["RepoTags"]));
    let names: Vec<String> = names.collect();
    let is_nameless = |image: &Value| image["RepoTags"].as_array().is_none_or(Vec::is_empty);
    let has_leftovers = images.len() > rig.setup.images_max() || images.iter().any(is_nameless);
    has_leftovers.then(|| Finding::leftovers(format!("images: {names:?}")))
}

/// I6: no journal, no temporary file.
pub fn check_state(state: &Path) -> Vec<Finding> {
    let names = |path: &Path| {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|it| it.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    let mut left = names(&state.join("journal"));
    left.extend(names(state).into_iter().filter(|name| !STATE_FILES.contains(&name.as_str())));
    left.into_iter().map(|name| Finding::leftovers(format!("the file {name}"))).collect()
}

/// I7: the history says how the release ended.
fn check_history(rig: &Rig, case: &Case, service: &Judged<'_>) -> Option<Finding> {
    let (records, next) = (history(rig), service.next);
    let mut of_it = records.iter().rev().filter(|it| is_about(it, &next.digest));
    let runs = service.current.image == next.image;
    let outcome = of_it.next().map(|record| record["outcome"].clone()).unwrap_or_default();
    let fits =
        if runs { outcome == "updated" } else { outcome.is_string() && outcome != "updated" };
    let what = format!("the history says {outcome} of a release that runs: {runs}, {case:?}");
    (!fits).then_some(Finding::changed(what))
}

/// Whether a line of the history is about an update to this digest, of one container or a group.
pub fn is_about(record: &Value, digest: &str) -> bool {
    let mut members = record["members"].as_array().into_iter().flatten();
    record["to"] == digest || members.any(|member| member["to"] == digest)
}

/// The lines of the agent's history, oldest first.
pub fn history(rig: &Rig) -> Vec<Value> {
    let history = fs::read_to_string(rig.pi.agent.state().join("history.jsonl"));
    let history = history.unwrap_or_default();
    history.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
