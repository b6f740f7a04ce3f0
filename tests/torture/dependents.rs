//! Two dependents in the network of the service, which are updated with it.

use std::fs;

use serde_json::Value;

use crate::invariants::{Finding, Weight, check_fidelity};
use crate::rig::{RECOVERY_LIMIT, Rig, SERVICE};
use crate::service::{LABELS, Setup};
use crate::service_watch::Watch;
use crate::support::Pi;
use crate::support::images::Release;

/// The names of the dependents.
pub const DEPENDENTS: [&str; 2] = ["scale", "printer"];

/// The label of a dependent, which stays whatever the container's name is.
fn label(dependent: &str) -> String {
    format!("torture.dependent={dependent}")
}

/// Starts them in the network of the service, each with its own port.
pub fn start(pi: &Pi) {
    for (dependent, port) in DEPENDENTS.into_iter().zip(["TILL_PORT=8081", "TILL_PORT=8082"]) {
        let image = pi.registry.publish("peripheral", &Release::new("peripheral"));
        let own = label(dependent);
        let labels = [&LABELS[..], &[own.as_str()]].concat();
        let mut options: Vec<String> = labels.iter().map(|it| format!("--label={it}")).collect();
        options.push(format!("--network=container:{SERVICE}"));
        options.push(format!("--env={port}"));
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        pi.start(dependent, &image.reference, &options);
    }
}

/// A dependent as it was started, and a watch on how many of its containers run.
pub struct Dependent {
    name: &'static str,
    original: Value,
    watch: Watch,
}

impl Dependent {
    /// All dependents of this machine.
    pub fn all(pi: &Pi) -> Vec<Self> {
        let all = DEPENDENTS.into_iter().filter_map(|name| Some((name, pi.engine.inspect(name)?)));
        let watch = |name| Watch::start(&pi.engine.socket(), &label(name));
        all.map(|(name, original)| Self { name, original, watch: watch(name) }).collect()
    }

    /// Resets the highest number of containers that ran at the same time.
    pub fn begin(&self) {
        self.watch.begin();
    }
}

/// Once the service runs, exactly one container of each dependent runs, in the network of the
/// present service container, with its original configuration.
pub fn invariants(rig: &Rig) -> Vec<Finding> {
    let service = rig.pi.engine.inspect(SERVICE).unwrap_or_default();
    rig.dependents.iter().flat_map(|dependent| check_one(rig, dependent, &service)).collect()
}

fn check_one(rig: &Rig, dependent: &Dependent, service: &Value) -> Vec<Finding> {
    let name = dependent.name;
    if dependent.watch.await_one(RECOVERY_LIMIT).is_none() {
        return vec![Finding::lost(format!("not one {name}: {:?}", rig.pi.names()))];
    }
    let mut findings = Vec::new();
    if dependent.watch.most() > 1 {
        findings.push(Finding::doubled(format!("{} of {name} ran", dependent.watch.most())));
    }
    let Some(now) = rig.pi.engine.inspect(name) else {
        findings.push(Finding::lost(format!("nothing is named {name}: {:?}", rig.pi.names())));
        return findings;
    };
    let (own, theirs) = (network(&now), network(service));
    if own.is_none() || own != theirs {
        let what = format!("{name} is in {own:?}, the service in {theirs:?}");
        findings.push(Finding::lost(what));
    }
    findings.extend(check_fidelity(&followed(&dependent.original, service), &now));
    findings
}

/// The network namespace of a container's process, according to the kernel. The Engine's document
/// would not change if the container that it names had been restarted since.
fn network(container: &Value) -> Option<String> {
    let process = container["State"]["Pid"].as_u64().filter(|process| *process > 0)?;
    let link = fs::read_link(format!("/proc/{process}/ns/net")).ok()?;
    Some(link.to_string_lossy().into_owned())
}

/// The original configuration of a dependent, but joined to the present service container.
fn followed(original: &Value, service: &Value) -> Value {
    let mut original = original.clone();
    let anchor = service["Id"].as_str().unwrap_or_default();
    original["HostConfig"]["NetworkMode"] = format!("container:{anchor}").into();
    original
}

/// A restart by hand leaves the dependents in a network of their own, and no document shows it.
#[test]
fn the_check_finds_dependents_that_were_left_behind() {
    let rig = Rig::with(Setup::WithDependents, &[]);
    assert_eq!(invariants(&rig), []);

    rig.pi.engine.docker(&["restart", "--time=1", SERVICE]);

    let weights: Vec<Weight> = invariants(&rig).iter().map(|finding| finding.weight).collect();
    assert_eq!(weights, [Weight::Lost; DEPENDENTS.len()]);
}
