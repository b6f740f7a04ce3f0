//! The life of one agent on a machine, until it ends or is killed.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use pilotfish::agent::{Agent, AgentSettings, RoundEnd, RoundListener, RoundRequest};
use pilotfish::core::decide::snapshot::Snapshot;
use pilotfish::core::policy::PolicyDefaults;
use pilotfish::core::policy::watchtower::Watchtower;
use pilotfish::core::time::schedule::{DeviceFraction, Jitter, Schedule};
use pilotfish::core::time::window::Windows;
use pilotfish::core::time::zone::Zone;
use pilotfish::core::update::Step;
use pilotfish::core::update::event::{Event, Listener};
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
use crate::registry::FakeRegistry;

/// Where the agent keeps its state.
pub const STATE: &str = "/state";

/// The agent's schedule, as the contract has it.
pub const EVERY: Duration = Duration::from_secs(15 * 60);

/// How long an agent may take to end that is asked to.
const SHUTDOWN_MAX: Duration = Duration::from_secs(10);

/// What the agent is started for.
#[derive(Debug, Clone)]
pub enum Job {
    /// `pilotfish run`, for so long.
    Run(Duration),
    /// `pilotfish update`.
    Round(RoundRequest),
}

/// How a life ended.
#[derive(Debug)]
pub enum End {
    /// By itself, or because it was asked to.
    Over,
    /// A round, with what it found.
    Round(Result<RoundEnd, String>),
    /// It was killed, or the power went.
    Crash(Fault),
    /// It could not begin.
    Refused(String),
}

pub type FakeWorld = AllPorts<FakeEngine, FakeRegistry, FakeDisk, FakeHost>;

/// Starts an agent and follows it to its end.
pub async fn live(machine: &Arc<Machine>, job: Job) -> End {
    let stop = CancellationToken::new();
    *machine.stop.lock().expect("not poisoned") = stop.clone();
    machine.lock().stroke = None;
    machine.lock().call_count = 0;
    machine.lock().lives += 1;
    machine.lock().terminated_at = None;
    let life = AssertUnwindSafe(work(Arc::clone(machine), job, stop)).catch_unwind();
    let stroke = tokio::select! {
        biased;
        ended = life => match ended {
            Ok(end) => {
                machine.has_ended();
                return end;
            }
            Err(thrown) if thrown.is::<Crash>() => machine.lock().stroke.take(),
            Err(thrown) => resume_unwind(thrown),
        },
        stroke = machine.carry_out_the_timed() => Some(stroke),
    };
    let stroke = stroke.expect("what killed it");
    machine.strike(&stroke);
    End::Crash(stroke)
}

/// An agent on this machine, and how it stands.
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
    let ear = Arc::new(Ear(Arc::clone(machine)));
    let (snapshot, seen) = watch::channel(Arc::default());
    Ok((Agent::new(Arc::new(world), settings(), ear.clone(), ear, snapshot, stop), seen))
}

async fn work(machine: Arc<Machine>, job: Job, stop: CancellationToken) -> End {
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
    }
}

fn settings() -> AgentSettings {
    AgentSettings {
        defaults: PolicyDefaults {
            trusts_image_labels: false,
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

/// Hears the agent, for the transcript and for the judge.
struct Ear(Arc<Machine>);

impl Listener for Ear {
    fn receive(&self, event: &Event) {
        let machine = &self.0;
        match event {
            Event::UpdateBegun { container, image, .. } => {
                machine.log(format!("{container}: an update of {image} begins"));
            }
            Event::Continued { container, intent } => {
                machine.log(format!("{container}: taken up: {intent}"));
            }
            Event::StepBegun { container, step } => {
                machine.log(format!("{container}: {}", step.word()));
                if *step == Step::Commit {
                    machine.proved(container);
                }
                machine.begun(step.word());
            }
            Event::RollingBack { container, cause } => machine.judged(container, cause),
            Event::UpdateEnded(record) => machine.ended(record),
            Event::Warning { container, detail } => {
                let detail = machine.in_words(detail);
                machine.log(format!("{container}: warning: {detail}"));
            }
            Event::FetchedAhead { container, .. } => {
                machine.log(format!("{container}: fetched ahead"));
            }
            Event::SelfUpdating { .. }
            | Event::StepDone { .. }
            | Event::Pulling { .. }
            | Event::Pulled { .. }
            | Event::RoundEnded { .. } => {}
        }
    }
}

impl RoundListener for Ear {
    fn round(&self, _succeeded: bool, _took: Duration) {}
}

impl Machine {
    /// An agent that was asked to end does so within ten seconds.
    fn has_ended(&self) {
        let now = self.now();
        let mut affairs = self.lock();
        let took = affairs.terminated_at.take().map(|at| now - at);
        if let Some(took) = took.filter(|took| *took > SHUTDOWN_MAX) {
            affairs.violations.push(format!("the agent took {took:?} to end"));
        }
    }

    /// What a kill or a power cut leaves.
    pub fn strike(&self, stroke: &Fault) {
        self.log(format!("! {stroke:?}"));
        if let Fault::Cut(keeps) = stroke {
            self.with(|affairs, at| {
                affairs.engine.cut(at, *keeps);
                affairs.files.cut(*keeps);
                affairs.boots += 1;
            });
        }
        let up_at = self.lock().engine.up_at();
        let over = self.now().max(up_at);
        self.fault_is_over_at(over);
        self.look_after(over);
    }
}
