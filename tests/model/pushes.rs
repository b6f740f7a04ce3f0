//! Every crash point of a push: of its load, its update, and the first container of a deployment.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pilotfish::agent::{
    AgentHandle, AskError, Events, Heartbeat, LoadEnd, LoadImage, Pending, RoundRequest, RunEnd,
    Upload, UploadPart,
};
use pilotfish::core::deployment::push_journal::PushJournal;
use pilotfish::core::deployment::{Definition, Deployment, Deployments};
use pilotfish::core::update::event::Asker;
use serde_json::json;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::crashes::{AFTERMATH, APP, Results, machine_before_update};
use crate::fault::{Fault, Survives};
use crate::images::{Behaviour, Image};
use crate::invariants::{CONTROL, Leniency};
use crate::machine::{Machine, MachineState};
use crate::service::RunOptions;
use crate::session::{End, Job, agent, asked_agent, live, run_during};

/// The container of the deployment.
const TILL: &str = "till";

/// The least number of points in a push.
const POINTS_MIN: usize = 40;

/// How long a push takes at most.
const PUSH_MAX: Duration = Duration::from_secs(15 * 60);

/// A deployment that adopts its container, or creates it.
pub fn deployments(creates: bool) -> Arc<Deployments> {
    let host_config = json!({ "NetworkMode": "shop", "RestartPolicy": { "Name": "always" } });
    let endpoints = json!({ "EndpointsConfig": { "shop": {} } });
    let body = json!({ "Image": APP, "HostConfig": host_config, "NetworkingConfig": endpoints });
    let definition = creates.then(|| Definition::read(TILL, body).expect("a definition"));
    let till = Deployment { name: TILL.into(), container: TILL.into(), definition };
    Arc::new([till].into_iter().collect())
}

/// Pushes an image to an agent of its own. Returns how it ended.
pub async fn push(machine: &Arc<Machine>, image: &str, stop: CancellationToken) -> String {
    let (mut agent, seen) = match agent(machine, stop) {
        Ok(agent) => agent,
        Err(error) => return error.to_string(),
    };
    let (handle, mut queue) = AgentHandle::new(Events::new(Vec::new()), seen, Heartbeat::default());
    let archive = machine.lock().registry.image(image).archive();
    let reload = Notify::new();
    tokio::select! {
        _ = agent.run(&mut queue, &reload) => "the agent ended".to_owned(),
        answer = upload(&handle, archive) => answer,
        () = tokio::time::sleep(PUSH_MAX) => panic!("the push does not end"),
    }
}

async fn upload(handle: &AgentHandle, archive: Vec<u8>) -> String {
    let (wanted, is_wanted) = oneshot::channel();
    let (sender, parts) = mpsc::channel(2);
    let upload = Upload { wanted, parts, size: None, digest: None };
    let (deployment, by) = (TILL.to_owned(), "ci".to_owned());
    let load = LoadImage { deployment, by, force: false, upload };
    let send = async {
        if is_wanted.await.is_ok() {
            for part in archive.chunks(1000) {
                let part = UploadPart::Bytes(Bytes::copy_from_slice(part));
                let _ = sender.send(part).await;
            }
            let _ = sender.send(UploadPart::End).await;
        }
    };
    let (answer, ()) = tokio::join!(handle.ask(Asker::Push, load), send);
    match answer {
        Ok(LoadEnd::Ended { record, .. }) => record.outcome.word().to_owned(),
        Ok(LoadEnd::AlreadyRuns { .. }) => "runs already".to_owned(),
        // The agent is just being killed.
        Err(AskError::Ended) => std::future::pending().await,
        Err(error) => error.to_string(),
    }
}

fn begin(next: Behaviour, services: &[&str], creates: bool) -> MachineState {
    let mut state = machine_before_update(next, services, "always");
    // Nothing newer is in the registry: the image is pushed to the machine.
    state.registry.push(APP, "v1");
    state.deployments = deployments(creates);
    state
}

/// Injects one fault at one point of a push; then an agent runs. `None`: there is no such point.
async fn crash(begin: &MachineState, point: usize, fault: Fault) -> Option<Vec<String>> {
    let machine = Machine::from(begin.clone());
    machine.lock().crash_points.passed = 0;
    machine.lock().crash_points.armed = vec![(point, fault)];
    let End::Crash(_) = Box::pin(live(&machine, Job::Push("v2".into()))).await else { return None };
    Box::pin(live(&machine, Job::Run(AFTERMATH))).await;
    let mut found = machine.invariants(Leniency { may_be_old: true, ..Leniency::default() });
    found.extend(leftovers(&machine));
    // The client pushes again, and this time it arrives, or is refused as before.
    let again = match Box::pin(live(&machine, Job::Push("v2".into()))).await {
        End::Pushed(end) => end,
        other => format!("{other:?}"),
    };
    let is_end = ["updated", "runs already", "rolled_back", "failed"].contains(&again.as_str())
        || again.starts_with("refused_digest");
    if !is_end {
        found.push(format!("the second push ends with: {again}"));
    }
    found.extend(machine.invariants(Leniency { may_be_old: true, ..Leniency::default() }));
    found.extend(leftovers(&machine));
    Some(found)
}

/// What a push must not leave.
fn leftovers(machine: &Machine) -> Vec<String> {
    machine.with(|state, _| {
        let mut found = Vec::new();
        let used: Vec<_> = state.engine.containers().map(|it| it.image.clone()).collect();
        for image in state.engine.stored.images.values() {
            if image.tags.keys().any(|tag| tag.starts_with("pilotfish-push/")) {
                found.push(format!("a name of a push stays on {}", image.spec.name));
            }
            if image.tags.is_empty() && image.digests.is_empty() && !used.contains(&image.id) {
                found.push(format!("{} stays without a name", image.spec.name));
            }
        }
        let journal = state.files.read(std::path::Path::new("/state/push.json"));
        let journal: PushJournal =
            journal.map(|it| serde_json::from_slice(&it).expect("JSON")).unwrap_or_default();
        if journal.load.is_some() || !journal.first.is_empty() {
            found.push("an entry of a push stays".to_owned());
        }
        found
    })
}

async fn everywhere(name: &str, begin: MachineState, expected: &str) {
    let machine = Machine::from(begin.clone());
    match Box::pin(live(&machine, Job::Push("v2".into()))).await {
        End::Pushed(end) => assert_eq!(end, expected, "{name} without a fault"),
        other => panic!("{name} without a fault: {other:?}"),
    }
    assert_eq!(leftovers(&machine), Vec::<String>::new(), "{name} without a fault");
    let mut results = Results::default();
    'points: for point in 0.. {
        results.points = point;
        let kinds = [
            Fault::Kill,
            Fault::Cut(Survives::All),
            Fault::Cut(Survives::Nothing),
            Fault::Cut(Survives::Some(point as u64)),
        ];
        for fault in kinds {
            let way = vec![(point, fault.clone())];
            let Some(found) = crash(&begin, point, fault).await else { break 'points };
            results.runs += 1;
            results.count(found, &way);
        }
    }
    println!("{}; {} points", results.summary(name), results.points);
    assert!(results.found.is_empty(), "{name}:\n{}", results.in_words());
    assert!(results.points >= POINTS_MIN, "{name}: only {} points", results.points);
}

#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_in_a_push() {
    let state = begin(Behaviour::Good, &[TILL], false);
    Box::pin(everywhere("push", state, "updated")).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_in_a_push_that_is_rolled_back() {
    let state = begin(Behaviour::Dies(Duration::from_secs(3)), &[TILL], false);
    Box::pin(everywhere("push of a bad image", state, "rolled_back")).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_in_a_push_to_the_containerd_store() {
    let state = begin_on_containerd();
    Box::pin(everywhere("push to containerd's store", state, "updated")).await;
}

fn begin_on_containerd() -> MachineState {
    let machine = Machine::new();
    {
        let mut state = machine.lock();
        state.keeps_transcript = false;
        state.engine.containerd_store = true;
        state.registry.built(Image::new("v1", Behaviour::Good).with_volume("/data"));
        state.registry.built(Image::new("v2", Behaviour::Good).with_volume("/data"));
        state.registry.push(APP, "v1");
        state.deployments = deployments(false);
    }
    let control = RunOptions::new(CONTROL, APP, "always");
    machine.run_service(&RunOptions { is_watched: false, ..control });
    machine.run_service(&RunOptions::new(TILL, APP, "always"));
    machine.copy()
}

#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_in_the_first_push_of_a_deployment() {
    let state = begin(Behaviour::Good, &[], true);
    Box::pin(everywhere("first push", state, "updated")).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_in_a_first_push_that_fails() {
    let state = begin(Behaviour::Exits(1), &[], true);
    Box::pin(everywhere("first push of a bad image", state, "failed")).await;
}

/// A client that has begun to push, and does not go on.
struct Stalled {
    pending: Pending<LoadEnd>,
    parts: mpsc::Sender<UploadPart>,
    is_wanted: oneshot::Receiver<()>,
}

impl Stalled {
    fn begin(handle: &AgentHandle) -> Self {
        let (wanted, is_wanted) = oneshot::channel();
        let (sender, parts) = mpsc::channel(2);
        let upload = Upload { wanted, parts, size: None, digest: None };
        let (deployment, by) = (TILL.to_owned(), "slow".to_owned());
        let load = LoadImage { deployment, by, force: false, upload };
        let pending = handle.begin(Asker::Push, load).expect("taken");
        Self { pending, parts: sender, is_wanted }
    }

    async fn finish(mut self, archive: &[u8]) -> LoadEnd {
        let _ = self.parts.send(UploadPart::Bytes(Bytes::copy_from_slice(archive))).await;
        let _ = self.parts.send(UploadPart::End).await;
        self.pending.answer().await.expect("an end")
    }
}

fn outcome(end: &LoadEnd) -> &'static str {
    match end {
        LoadEnd::Ended { record, .. } => record.outcome.word(),
        LoadEnd::AlreadyRuns { .. } => "runs already",
    }
}

#[tokio::test(start_paused = true)]
async fn two_clients_do_not_load_at_once() {
    let machine = Machine::from(begin(Behaviour::Good, &[TILL], false));
    let archive = machine.lock().registry.image("v2").archive();
    let (mut agent, handle, mut queue) = asked_agent(&machine);
    let life = async {
        let mut slow = Stalled::begin(&handle);
        (&mut slow.is_wanted).await.expect("wanted");
        let second = upload(&handle, archive.clone()).await;
        assert!(second.starts_with("busy"), "{second}");
        assert_eq!(outcome(&slow.finish(&archive).await), "updated");
        assert_eq!(upload(&handle, archive.clone()).await, "runs already");
        // A client that goes away in the middle leaves nothing, and the next one is served.
        let mut gone = Stalled::begin(&handle);
        (&mut gone.is_wanted).await.expect("wanted");
        drop(gone.parts);
        let error = gone.pending.answer().await.expect_err("it broke off").to_string();
        assert!(error.contains("broke off"), "{error}");
        assert_eq!(upload(&handle, archive).await, "runs already");
    };
    run_during(&mut agent, &mut queue, life).await;
    assert_eq!(leftovers(&machine), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_push_and_an_update_from_a_registry_follow_each_other() {
    let machine = Machine::from(begin(Behaviour::Good, &[TILL], false));
    machine.lock().registry.built(Image::new("v3", Behaviour::Good).with_volume("/data"));
    let archive = machine.lock().registry.image("v3").archive();
    let (mut agent, handle, mut queue) = asked_agent(&machine);
    let life = async {
        // The registry's image comes while the client sends: its update runs, then the push.
        let mut slow = Stalled::begin(&handle);
        (&mut slow.is_wanted).await.expect("wanted");
        machine.lock().registry.push(APP, "v2");
        let round = handle.begin(Asker::CommandLine, RoundRequest::default()).expect("taken");
        while handle.snapshot().in_flight.is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // A second client is told so before it sends.
        let second = upload(&handle, archive.clone()).await;
        assert!(second.starts_with("update_in_flight"), "{second}");
        assert_eq!(outcome(&slow.finish(&archive).await), "updated");
        drop(round);
        // What was pushed stays, although the registry offers another image.
        tokio::time::sleep(AFTERMATH).await;
        assert!(handle.snapshot().in_flight.is_empty());
        assert_eq!(upload(&handle, archive).await, "runs already");
    };
    run_during(&mut agent, &mut queue, life).await;
    assert_eq!(leftovers(&machine), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_reload_waits_a_minute_at_most_for_an_upload() {
    const A_MINUTE: Duration = Duration::from_secs(60);
    for arrives in [true, false] {
        let machine = Machine::from(begin(Behaviour::Good, &[TILL], false));
        let archive = machine.lock().registry.image("v2").archive();
        let (mut agent, handle, mut queue) = asked_agent(&machine);
        let reload = Notify::new();
        let client = async {
            let mut slow = Stalled::begin(&handle);
            (&mut slow.is_wanted).await.expect("wanted");
            reload.notify_one();
            tokio::time::sleep(A_MINUTE / 2).await;
            if arrives {
                assert_eq!(outcome(&slow.finish(&archive).await), "updated");
                return Duration::ZERO;
            }
            let begun = Instant::now();
            let error = slow.pending.answer().await.expect_err("it was cut").to_string();
            assert!(error.starts_with("not_ready"), "{error}");
            begun.elapsed()
        };
        let (end, waited) = tokio::join!(agent.run(&mut queue, &reload), client);
        assert_eq!(end, RunEnd::Reload);
        assert!(waited <= A_MINUTE / 2 + Duration::from_secs(1), "{waited:?}");
        assert_eq!(leftovers(&machine), Vec::<String>::new());
    }
}
