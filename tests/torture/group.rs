//! A group: the second service, then the service, and before both a job from the image of the
//! second service. All of them get a new release in the same round.
//!
//! The job writes each begin and each success of its work on a volume, so that a judge who asks
//! only the disk knows how often it ran.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::fault::{Fault, Place, PlannedFault, When};
use crate::invariants::{self, Finding, check_fidelity};
use crate::releases::Kind;
use crate::rig::{Case, Rig, SERVICE};
use crate::second_service::{KIOSK, first_release};
use crate::service::{LABELS, Setup, start_with};
use crate::support::Pi;
use crate::support::images::Release;
use crate::support::registry::Published;
use crate::support::text;

/// The name of the group.
pub const GROUP: &str = "shop";

/// The name of the job.
pub const JOB: &str = "migrate";

/// All containers of the group.
const MEMBERS: [&str; 3] = [JOB, KIOSK, SERVICE];

/// The kinds of releases for a group. In the last two the service fails, after the job has
/// succeeded and the second service has started.
pub const KINDS: [Kind; 5] =
    [Kind::Good, Kind::JobFails, Kind::JobOverruns, Kind::ExitsAtOnce, Kind::Unhealthy];

/// The labels of each member.
const LABELS_OF_MEMBERS: [&str; 2] = ["pilotfish.group=shop", "pilotfish.group.settle=0s"];

/// The time limit of the job.
const JOB_TIMEOUT: &str = "pilotfish.job.timeout=3s";

/// How long the job works: long enough for a fault while it works.
const WORKS: &str = "150ms";

/// A time that is longer than the limit.
const OVERRUNS: &str = "1m";

/// The volume with the job's file.
const LEDGER: &str = "ledger-shop";

/// How many characters of its ID name the machine of a container.
const NAME_OF_MACHINE: usize = 12;

/// Most runs of a job in one update, according to `docs/projects.md`.
const RUNS_MAX: usize = 3;

/// The release of the second service and the job, in a release of the whole group of this kind.
pub fn release_of_job(kind: Kind, version: &str) -> Release {
    let release = Release::new(version);
    match kind {
        Kind::JobFails => release.with("TILL_JOB_WORKS", WORKS).with("TILL_JOB_CODE", "3"),
        Kind::JobOverruns => release.with("TILL_JOB_WORKS", OVERRUNS),
        _ => release.with("TILL_JOB_WORKS", WORKS),
    }
}

/// Runs the job to its end, and starts both services.
pub fn start(pi: &Pi, image: &Published) {
    let first = first_release(pi);
    pi.engine.docker(&["pull", "--quiet", &first.reference]);
    let labels = [&LABELS[..], &LABELS_OF_MEMBERS, &[JOB_TIMEOUT]].concat();
    let labels: Vec<String> = labels.iter().map(|label| format!("--label={label}")).collect();
    let volume = format!("--volume={LEDGER}:/ledger");
    let mut command = vec!["run", "--name", JOB, "--env=TILL_LEDGER=/ledger/runs", &volume];
    command.extend(labels.iter().map(String::as_str));
    command.extend([first.reference.as_str(), "migrate"]);
    pi.engine.docker(&command);
    start_member(pi, KIOSK, &first, "pilotfish.depends-on=migrate:completed");
    start_member(pi, SERVICE, image, "pilotfish.depends-on=kiosk");
}

fn start_member(pi: &Pi, name: &str, image: &Published, depends_on: &str) {
    let labels = [&LABELS_OF_MEMBERS[..], &[depends_on]].concat();
    let labels: Vec<String> = labels.iter().map(|label| format!("--label={label}")).collect();
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    start_with(pi, name, image, &labels);
}

/// A group as it was at the beginning of a case.
pub struct Group {
    /// The container of the job as it was created.
    original: Value,
    /// Each member's container, and when it was started.
    members: Vec<(String, String)>,
    volumes: BTreeSet<String>,
    /// How many lines earlier releases have written.
    lines: usize,
    /// How often the job had begun when its success was in the journal, if a fault left it there.
    begun_at_success: Option<usize>,
}

impl Group {
    /// The group of a machine of this kind.
    pub fn of(pi: &Pi, setup: Setup) -> Option<Self> {
        (setup == Setup::Group).then(|| Self::begin(pi, pi.inspect(JOB)))
    }

    /// The group at the beginning of a case.
    fn begin(pi: &Pi, original: Value) -> Self {
        Self {
            original,
            members: MEMBERS.iter().filter_map(|name| identity(pi, name)).collect(),
            volumes: volumes(pi),
            lines: lines(pi).len(),
            begun_at_success: None,
        }
    }

    /// The same group at the beginning of the next case.
    pub fn next(&self, pi: &Pi) -> Self {
        Self::begin(pi, self.original.clone())
    }

    /// Right after a fault, before an agent runs again: notes whether the journal says that the job
    /// has succeeded.
    pub fn note_fault(&mut self, pi: &Pi, version: &str) {
        let entries = pi.agent.entries();
        let mut jobs = entries.iter().filter_map(|entry| entry["jobs"].as_array()).flatten();
        if jobs.any(|job| job["exit_code"] == 0) {
            self.begun_at_success = Some(self.runs(pi, version).begun);
        }
    }

    /// The runs of a release's job.
    fn runs(&self, pi: &Pi, version: &str) -> Runs {
        let lines = lines(pi);
        let new = lines.get(self.lines..).unwrap_or_default();
        let machines = |what: &str| -> Vec<&str> {
            let prefix = format!("{version} {what} ");
            new.iter().filter_map(|line| line.strip_prefix(&prefix)).collect()
        };
        let (begun, done) = (machines("begun"), machines("done"));
        Runs {
            begun: begun.len(),
            done: done.len(),
            is_begun_twice_in_a_copy: begun.iter().collect::<BTreeSet<_>>().len() < begun.len(),
            is_torn: lines.len() < self.lines || begun.len() + done.len() != new.len(),
        }
    }
}

/// The runs of one release's job, according to its volume.
#[derive(Debug)]
struct Runs {
    begun: usize,
    done: usize,
    is_begun_twice_in_a_copy: bool,
    /// Whether there are lines of other releases, or lines are missing.
    is_torn: bool,
}

fn identity(pi: &Pi, name: &str) -> Option<(String, String)> {
    let container = pi.engine.inspect(name)?;
    Some((text(&container["Id"]), text(&container["State"]["StartedAt"])))
}

fn volumes(pi: &Pi) -> BTreeSet<String> {
    let names = pi.engine.docker(&["volume", "ls", "--quiet"]);
    names.lines().map(str::to_owned).collect()
}

fn ledger(pi: &Pi) -> PathBuf {
    pi.engine.directory().join("data/volumes").join(LEDGER).join("_data/runs")
}

fn lines(pi: &Pi) -> Vec<String> {
    let lines = fs::read_to_string(ledger(pi)).unwrap_or_default();
    lines.lines().map(str::to_owned).collect()
}

/// All or none: every member is on the new images, or every member is on the old ones.
fn check_whole(rig: &Rig, next: &Published) -> Option<Finding> {
    let second = rig.second.as_ref().expect("the second service");
    let is_new = |name: &str| {
        let release = if name == SERVICE { next } else { &second.next };
        rig.pi.engine.inspect(name).map(|it| text(&it["Image"]) == release.image)
    };
    let new: Vec<_> = MEMBERS.iter().filter_map(|name| Some((name, is_new(name)?))).collect();
    let is_whole = new.iter().all(|(_, is_new)| *is_new == new[0].1) && new.len() == MEMBERS.len();
    (!is_whole).then(|| Finding::changed(format!("half of the group: on new images: {new:?}")))
}

/// Right after a recovery, before any other round.
pub fn recovered(rig: &Rig, case: &Case, next: &Published) -> Vec<Finding> {
    let Some(group) = &rig.group else { return Vec::new() };
    let runs = group.runs(&rig.pi, &version(rig));
    let mut findings: Vec<Finding> = check_whole(rig, next).into_iter().collect();
    if group.begun_at_success.is_some_and(|begun| runs.begun != begun) {
        findings.push(Finding::revived(format!("the job ran after its success: {runs:?}")));
    }
    findings.extend(check_runs(case, &runs, 1));
    findings
}

/// Once nothing is in flight.
pub fn settled(rig: &Rig, case: &Case, next: &Published) -> Vec<Finding> {
    let Some(group) = &rig.group else { return Vec::new() };
    let pi = &rig.pi;
    let runs = group.runs(pi, &version(rig));
    let mut findings: Vec<Finding> = check_whole(rig, next).into_iter().collect();
    findings.extend(check_runs(case, &runs, updates(rig)));
    let is_new = pi.image(SERVICE) == next.image;
    if is_new && runs.done == 0 {
        findings.push(Finding::changed(format!("the new images run without their job: {runs:?}")));
    }
    if !is_new {
        findings.extend(check_untouched(rig, case));
    }
    findings.extend(pi.engine.inspect(JOB).map_or_else(
        || vec![Finding::lost(format!("{JOB} is gone"))],
        |job| check_fidelity(&with_name_of(&group.original, &job), &job),
    ));
    let now = volumes(pi);
    if now != group.volumes {
        let what = format!("volumes: {:?}", now.symmetric_difference(&group.volumes));
        findings.push(Finding::leftovers(what));
    }
    findings
}

/// The original job, but with the name that the Engine gives to the machine of the present one.
fn with_name_of(original: &Value, now: &Value) -> Value {
    let mut original = original.clone();
    let id = now["Id"].as_str().unwrap_or_default();
    original["Config"]["Hostname"] = id.get(..NAME_OF_MACHINE).unwrap_or_default().into();
    original
}

/// One more round changes nothing: no job runs, no container is replaced.
pub fn check_another_round(rig: &Rig) -> Option<Finding> {
    rig.group.as_ref()?;
    let state = || {
        let members: Vec<_> = MEMBERS.iter().map(|name| identity(&rig.pi, name)).collect();
        (lines(&rig.pi).len(), members)
    };
    let before = state();
    rig.pi.update(&[]);
    let after = state();
    let what = format!("another round changed something: {before:?} → {after:?}");
    (before != after).then(|| Finding::revived(what))
}

/// The job is begun once in each update that comes to it, and a few times if the power was cut.
fn check_runs(case: &Case, runs: &Runs, updates: usize) -> Vec<Finding> {
    let runs_max = match case.aim.fault {
        Fault::Kill => 1,
        _ => RUNS_MAX,
    };
    let fails = case.kind.has_bad_job();
    let violations = [
        (runs.begun > runs_max * updates, "the job was begun too often"),
        (runs.done > runs_max * updates, "the job succeeded too often"),
        (runs.done > 0 && fails, "a job that cannot succeed is done"),
        (runs.is_begun_twice_in_a_copy, "a copy of the job was started twice"),
        (runs.is_torn, "the job of another release ran, or its file lost lines"),
    ];
    let violated = violations.into_iter().filter(|(is_violated, _)| *is_violated);
    let what = |(_, what): (bool, &str)| format!("{what}, in {updates} updates: {runs:?}");
    violated.map(what).map(Finding::revived).collect()
}

/// A release that was not kept left the old containers there, each with its ID. If the job failed,
/// none was stopped.
fn check_untouched(rig: &Rig, case: &Case) -> Option<Finding> {
    let before = &rig.group.as_ref()?.members;
    let now: Vec<_> = MEMBERS.iter().filter_map(|name| identity(&rig.pi, name)).collect();
    let fails = case.kind.has_bad_job();
    let is_untouched = match fails && case.aim.fault == Fault::Kill {
        true => *before == now,
        false => before.iter().map(|it| &it.0).eq(now.iter().map(|it| &it.0)),
    };
    let what = format!("the old containers were touched: {before:?} → {now:?}");
    (!is_untouched).then(|| Finding::changed(what))
}

/// How often the job ran, for the results.
pub fn summary(rig: &Rig) -> Value {
    let Some(group) = &rig.group else { return Value::Null };
    let runs = group.runs(&rig.pi, &version(rig));
    json!({ "begun": runs.begun, "done": runs.done, "updates": updates(rig) })
}

/// The version of the job's release in this case.
fn version(rig: &Rig) -> String {
    rig.second.as_ref().expect("the second service").version()
}

/// How many updates to this release came to their job, according to the history.
fn updates(rig: &Rig) -> usize {
    let second = rig.second.as_ref().expect("the second service");
    let digest = second.next.digest.as_str();
    let records = invariants::history(rig);
    let came_to_job = |record: &&Value| {
        let runs = record["jobs"][0]["runs"].as_u64();
        invariants::is_about(record, digest) && runs.is_some_and(|runs| runs > 0)
    };
    records.iter().filter(came_to_job).count()
}

/// A person recreates one service on its new image, and starts the job that has ended.
#[test]
fn the_check_finds_half_a_group_and_a_job_that_runs_again() {
    let mut rig = Rig::with(Setup::Group, &[]);
    let next = rig.pi.registry.publish(SERVICE, &Kind::Good.release("1"));
    let second = rig.second.as_mut().expect("the second service");
    second.publish(&rig.pi, Kind::Good);
    let kiosk = second.next.clone();
    let case = case_of(Fault::Kill, Kind::Good);
    assert_eq!(settled(&rig, &case, &next), []);

    rig.pi.engine.docker(&["pull", "--quiet", &kiosk.reference]);
    rig.pi.engine.docker(&["rm", "--force", KIOSK]);
    start_member(&rig.pi, KIOSK, &kiosk, "pilotfish.depends-on=migrate:completed");
    rig.pi.engine.docker(&["start", "--attach", JOB]);

    let findings = settled(&rig, &case, &next);
    let finds = |what: &str| findings.iter().any(|finding| finding.what.contains(what));
    assert!(finds("half of the group"), "{findings:?}");
    assert!(finds("the job of another release ran"), "{findings:?}");
    assert!(finds("the old containers were touched"), "{findings:?}");
    // The new container has an anonymous volume of its own.
    assert!(finds("volumes"), "{findings:?}");
}

const fn case_of(fault: Fault, kind: Kind) -> Case {
    Case { kind, aim: PlannedFault { fault, place: Place::Call(1, When::Before) }, again: None }
}

#[test]
fn runs_of_a_job_are_counted() {
    let runs = |begun, done| Runs { begun, done, is_begun_twice_in_a_copy: false, is_torn: false };
    let count =
        |fault, kind, runs, updates| check_runs(&case_of(fault, kind), &runs, updates).len();
    for (fault, kind, runs, updates, findings) in [
        (Fault::Kill, Kind::Good, runs(1, 1), 1, 0),
        (Fault::Kill, Kind::Good, runs(2, 1), 1, 1),
        (Fault::Kill, Kind::Good, runs(2, 2), 1, 2),
        (Fault::Kill, Kind::ExitsAtOnce, runs(2, 2), 2, 0),
        (Fault::Kill, Kind::JobFails, runs(1, 0), 1, 0),
        (Fault::Kill, Kind::JobFails, runs(1, 1), 1, 1),
        (Fault::Cut, Kind::Good, runs(3, 1), 1, 0),
        (Fault::Cut, Kind::Good, runs(4, 1), 1, 1),
    ] {
        let counted = count(fault, kind, runs, updates);
        assert_eq!(counted, findings, "{fault}, {}: {updates} updates", kind.word());
    }
}
