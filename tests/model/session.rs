//! One run of the agent on a machine, until it ends or is killed.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use pilotfish::agent::{
    Agent, AgentHandle, AgentSettings, Ask, Events, Heartbeat, RoundEnd, RoundListener,
    RoundRequest,
};
use pilotfish::core::decide::snapshot::Snapshot;
use pilotfish::core::policy::PolicyDefaults;
use pilotfish::core::policy::watchtower::Watchtower;
use pilotfish::core::time::schedule::{DeviceFraction, Jitter, Schedule};
use pilotfish::core::time::window::Windows;
use pilotfish::core::time::zone::Zone;
use pilotfish::core::update::Step;
use pilotfish::core::update::event::{Event, EventSink, NumberedEvent};
use pilotfish::journal::{JournalError, StateDirectory};
use pilotfish::ports::AllPorts;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::crash_point::Crash;
use crate::disk::FakeDisk;
use crate::engine::FakeEngine;
use crate::fault::Fault;
use crate::host::FakeHost;
use crate::machine::Machine;
use crate::pushes;
use crate::registry::FakeRegistry;

/// The agent's state directory.
pub const STATE: &str = "/state";

/// The agent's schedule: the default.
pub const EVERY: Duration = Duration::from_secs(15 * 60);

/// How long an agent may take to end after SIGTERM.
const SHUTDOWN_MAX: Duration = Duration::from_secs(10);

/// What the agent is started for.
#[derive(Debug, Clone)]
pub enum Job {
    /// `pilotfish run`, for this time.
    Run(Duration),
    /// `pilotfish update`.
    Round(RoundRequest),
    /// An agent runs, and a client pushes this image to the deployment.
    Push(String),
}

/// How a run of the agent ended.
#[derive(Debug)]
pub enum End {
    /// By itself, or after SIGTERM.
    Over,
    /// A push, in words.
    Pushed(String),
    /// A round, with its result.
    Round(Result<RoundEnd, String>),
    /// It was killed, or the power went.
    Crash(Fault),
    /// It could not start.
    Refused(String),
}

pub type FakeWorld = AllPorts<FakeEngine, FakeRegistry, FakeDisk, FakeHost>;

/// Starts an agent and runs it until it ends.
pub async fn live(machine: &Arc<Machine>, job: Job) -> End {
    let stop = CancellationToken::new();
    *machine.stop.lock().expect("not poisoned") = stop.clone();
    machine.lock().crash_fault = None;
    machine.lock().call_count = 0;
    machine.lock().lives += 1;
    machine.lock().terminated_at = None;
    let life = AssertUnwindSafe(work(Arc::clone(machine), job, stop)).catch_unwind();
    let crash_fault = tokio::select! {
        biased;
        ended = life => match ended {
            Ok(end) => {
                machine.has_ended();
                return end;
            }
            Err(thrown) if thrown.is::<Crash>() => machine.lock().crash_fault.take(),
            Err(thrown) => resume_unwind(thrown),
        },
        crash_fault = machine.inject_timed_faults() => Some(crash_fault),
    };
    let crash_fault = crash_fault.expect("the fault that killed it");
    machine.apply_crash(&crash_fault);
    End::Crash(crash_fault)
}

/// An agent on this machine, and its snapshots.
pub fn agent(
    machine: &Arc<Machine>,
    stop: CancellationToken,
) -> Result<(Agent<FakeWorld>, watch::Receiver<Arc<Snapshot>>), JournalError> {
    let disk = FakeDisk(Arc::clone(machine));
    let state = StateDirectory::with(disk, Path::new(STATE), None)?;
    let world = FakeWorld {
        engine: FakeEngine(Arc::clone(machine)),
        registry: FakeRegistry(Arc::clone(machine)),
        state,
        host: FakeHost(Arc::clone(machine)),
    };
    let ear = Arc::new(ModelListener(Arc::clone(machine)));
    let (snapshot, seen) = watch::channel(Arc::default());
    let events = Events::new(vec![ear.clone()]);
    Ok((Agent::new(Arc::new(world), settings(machine), events, ear, snapshot, stop), seen))
}

/// An agent, the handle by which others ask it, and the queue of their questions.
pub fn asked_agent(machine: &Arc<Machine>) -> (Agent<FakeWorld>, AgentHandle, mpsc::Receiver<Ask>) {
    let (agent, seen) = agent(machine, CancellationToken::new()).expect("an agent");
    let (handle, queue) = AgentHandle::new(Events::new(Vec::new()), seen, Heartbeat::default());
    (agent, handle, queue)
}

/// Runs an agent for as long as this life takes. It must not end before.
pub async fn run_during(
    agent: &mut Agent<FakeWorld>,
    queue: &mut mpsc::Receiver<Ask>,
    life: impl Future<Output = ()>,
) {
    let reload = Notify::new();
    tokio::select! {
        _ = agent.run(queue, &reload) => panic!("it ended"),
        () = life => {}
    }
}

async fn work(machine: Arc<Machine>, job: Job, stop: CancellationToken) -> End {
    if let Job::Push(image) = &job {
        return End::Pushed(Box::pin(pushes::push(&machine, image, stop)).await);
    }
    let mut agent = match agent(&machine, stop) {
        Ok((agent, _)) => agent,
        Err(error) => return End::Refused(error.to_string()),
    };
    match job {
        Job::Round(request) => {
            End::Round(agent.round(&request).await.map_err(|error| error.to_string()))
        }
        Job::Run(time) => {
            let (_wishes, mut queue) = mpsc::channel(1);
            let reload = Notify::new();
            tokio::select! {
                _ = agent.run(&mut queue, &reload) => {}
                () = tokio::time::sleep(time) => {}
            }
            End::Over
        }
        Job::Push(_) => End::Over,
    }
}

fn settings(machine: &Machine) -> AgentSettings {
    AgentSettings {
        defaults: PolicyDefaults {
            trusts_image_labels: false,
            deployments: Arc::clone(&machine.lock().deployments),
            opt_in: true,
            update_window: Windows::always(),
            health_timeout: Duration::from_secs(60),
            health_stable: Duration::from_secs(30),
            images_keep: 1,
            watchtower: Some(Watchtower::default()),
        },
        schedule: Schedule::Every(EVERY),
        jitter: Jitter::Percent(0),
        device: DeviceFraction::from_identity("model"),
        zone: Zone::utc(),
        pull_parallel: 2,
        update_parallel: 16,
        pull_window: Windows::always(),
        engine_endpoint: None,
    }
}

/// Listens to the agent, for the transcript and for the invariants.
struct ModelListener(Arc<Machine>);

impl EventSink for ModelListener {
    fn receive(&self, NumberedEvent { event, .. }: &NumberedEvent) {
        let machine = &self.0;
        match event {
            Event::UpdateBegun { subject, image, .. } => {
                machine.log(format!("{subject}: an update of {image} begins"));
            }
            Event::Continued { subject, intent } => {
                machine.log(format!("{subject}: taken up: {intent}"));
            }
            Event::StepBegun { subject, step } => {
                machine.log(format!("{subject}: {}", step.word()));
                if *step == Step::Commit {
                    machine.verification_passed(&subject.name);
                }
                machine.step_began(&subject.name, step.word());
            }
            Event::RollingBack { subject, cause } => machine.rollback_began(&subject.name, cause),
            Event::UpdateEnded(record) => machine.update_ended(record),
            Event::Warning { subject, detail } => {
                let subject = subject.as_ref().map(ToString::to_string).unwrap_or_default();
                let detail = machine.in_words(detail);
                machine.log(format!("{subject}: warning: {detail}"));
            }
            Event::FetchedAhead { subject, .. } => {
                machine.log(format!("{subject}: fetched ahead"));
            }
            Event::SelfUpdating { .. }
            | Event::StepDone { .. }
            | Event::Pulling { .. }
            | Event::Pulled { .. }
            | Event::RoundEnded { .. } => {}
        }
    }
}

impl RoundListener for ModelListener {
    fn round(&self, _succeeded: bool, _took: Duration) {}
}

impl Machine {
    /// An agent ends within ten seconds after SIGTERM.
    fn has_ended(&self) {
        let now = self.now();
        let mut state = self.lock();
        let took = state.terminated_at.take().map(|at| now - at);
        if let Some(took) = took.filter(|took| *took > SHUTDOWN_MAX) {
            state.violations.push(format!("the agent took {took:?} to end"));
        }
    }

    /// Applies a kill or a power cut.
    pub fn apply_crash(&self, crash_fault: &Fault) {
        self.log(format!("! {crash_fault:?}"));
        if let Fault::Cut(keeps) = crash_fault {
            self.with(|state, at| {
                state.engine.cut(at, *keeps);
                state.files.cut(*keeps);
                state.boots += 1;
            });
        }
        let up_at = self.lock().engine.up_at();
        let over = self.now().max(up_at);
        self.fault_ended_at(over);
        self.plan_check(over);
    }
}
