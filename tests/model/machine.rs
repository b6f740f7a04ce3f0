//! Everything around the agent: one machine with its Engine and its disk, and a registry.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use pilotfish::core::deployment::Deployments;
use pilotfish::core::update::history::{Cause, Record};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::crash_point::{Crash, CrashPoints};
use crate::disk::Files;
use crate::engine::state::{Moment, State};
use crate::fault::Fault;
use crate::label_hooks::LabelHook;
use crate::registry::RegistryContent;
use crate::service::Service;

/// The Unix time at which the model begins.
pub const BEGIN: i64 = 1_800_000_000;

/// More calls than this in one life mean that the agent is in an endless loop.
const CALLS_MAX: usize = 50_000;

/// A fault right before or after a certain call.
#[derive(Debug, Clone)]
pub struct Hook {
    /// The call, such as `rename`.
    pub call: String,
    /// The n-th such call, from 1.
    pub nth: usize,
    pub after: bool,
    pub fault: Fault,
}

/// The whole state of the machine. It can be copied, so that many runs can continue from it.
#[derive(Debug, Clone)]
pub struct MachineState {
    pub engine: State,
    pub files: Files,
    pub registry: RegistryContent,
    /// The deployments of the agent's configuration.
    pub deployments: Arc<Deployments>,
    /// How far the wall clock is ahead, in milliseconds.
    pub clock_ahead: i64,
    pub boots: u32,
    /// How many times the agent was started.
    pub lives: usize,
    /// How many random IDs were drawn.
    pub ids: usize,
    /// Whether another agent is alive; `None` if that is not visible.
    pub other_agent_lives: Option<bool>,
    /// The free space where the Engine keeps images.
    pub free_bytes: u64,
    pub crash_points: CrashPoints,
    pub hooks: Vec<Hook>,
    /// The commands of labels that ran in containers.
    pub label_hooks: Vec<LabelHook>,
    /// When the lock of an update exists.
    pub lock_lasts: Option<Range<Duration>>,
    /// The planned faults, each with its time.
    pub timed: Vec<(Duration, Fault)>,
    /// How often each call was made, for the hooks.
    pub calls: BTreeMap<&'static str, usize>,
    pub call_count: usize,
    /// Write calls to the Engine. A round without news must make none.
    pub acts: usize,
    /// The fault that killed the agent.
    pub crash_fault: Option<Fault>,
    /// Whether the state directory is on the Engine's disk, so that one flush covers both.
    pub shares_a_disk: bool,
    pub services: Vec<Service>,
    /// Faults that happen a while after a step of an update begins, for the first time.
    pub at_steps: Vec<(String, Duration, Fault)>,
    /// Whether the Engine never answers the list of containers. No adapter ends the wait.
    pub hangs: bool,
    /// Whether the service is checked after every fault.
    pub checks_after_faults: bool,
    /// Whether a transcript is kept. It costs more than the rest of a run.
    pub keeps_transcript: bool,
    /// The IDs of new containers that passed verification.
    pub proven: Vec<String>,
    pub log: Vec<String>,
    /// The services between the first call of their commit and the flush after the second one, or
    /// in the rollback from there (I12 does not apply to them).
    pub committing: BTreeSet<String>,
    /// Violations that were found while the agent worked.
    pub violations: Vec<String>,
    /// Whether the number of simultaneous switches is counted.
    pub watches_switches: bool,
    /// The most containers that were switched at the same time.
    pub switches_at_once: usize,
    /// When SIGTERM was sent to the agent.
    pub terminated_at: Option<Duration>,
    pub since: Duration,
    /// When the last injected fault was over.
    pub last_fault_ended_at: Duration,
}

/// A machine.
#[derive(Debug)]
pub struct Machine {
    state: Mutex<MachineState>,
    origin: Instant,
    base: Duration,
    /// Wakes the tasks that wait for an event of a container.
    pub container_events: Notify,
    /// Wakes the task that injects the timed faults.
    pub timed_faults_changed: Notify,
    pub stop: Mutex<CancellationToken>,
}

impl Machine {
    pub fn new() -> Arc<Self> {
        Self::from(MachineState {
            engine: State::new(),
            files: Files::default(),
            registry: RegistryContent::default(),
            deployments: Arc::default(),
            clock_ahead: 0,
            boots: 1,
            lives: 0,
            ids: 0,
            other_agent_lives: None,
            free_bytes: u64::MAX,
            crash_points: CrashPoints::default(),
            hooks: Vec::new(),
            label_hooks: Vec::new(),
            lock_lasts: None,
            timed: Vec::new(),
            calls: BTreeMap::new(),
            call_count: 0,
            acts: 0,
            crash_fault: None,
            shares_a_disk: true,
            services: Vec::new(),
            at_steps: Vec::new(),
            hangs: false,
            checks_after_faults: false,
            keeps_transcript: true,
            proven: Vec::new(),
            log: Vec::new(),
            committing: BTreeSet::new(),
            violations: Vec::new(),
            watches_switches: false,
            switches_at_once: 0,
            terminated_at: None,
            since: Duration::ZERO,
            last_fault_ended_at: Duration::ZERO,
        })
    }

    /// Continues from a copy.
    pub fn from(state: MachineState) -> Arc<Self> {
        Arc::new(Self {
            base: state.since,
            state: Mutex::new(state),
            origin: Instant::now(),
            container_events: Notify::new(),
            timed_faults_changed: Notify::new(),
            stop: Mutex::new(CancellationToken::new()),
        })
    }

    /// A copy of the state to continue from.
    pub fn copy(&self) -> MachineState {
        let now = self.now();
        let mut state = self.lock().clone();
        state.engine.streams_end();
        state.since = now;
        state
    }

    pub fn lock(&self) -> MutexGuard<'_, MachineState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time since the model began.
    pub fn now(&self) -> Duration {
        self.base + self.origin.elapsed()
    }

    /// The runtime's instant for a time of the model.
    pub fn instant(&self, at: Duration) -> Instant {
        self.origin + at.saturating_sub(self.base)
    }

    pub fn moment(&self, state: &MachineState) -> Moment {
        let now = self.now();
        Moment { now, wall: wall(now, state.clock_ahead) }
    }

    /// Calls `work` with the current state, after everything that is due has happened.
    pub fn with<T>(&self, work: impl FnOnce(&mut MachineState, Moment) -> T) -> T {
        let mut state = self.lock();
        let at = self.moment(&state);
        state.engine.settle(at);
        let result = work(&mut state, at);
        drop(state);
        self.container_events.notify_waiters();
        result
    }

    /// Adds a line to the transcript.
    pub fn log(&self, line: impl AsRef<str>) {
        let now = self.now();
        let mut state = self.lock();
        if state.keeps_transcript {
            state.log.push(format!("{:>8.1}s  {}", now.as_secs_f64(), line.as_ref()));
        }
    }

    /// Replaces IDs and digests by readable names, if a transcript is kept.
    pub fn in_words(&self, text: &str) -> String {
        let state = self.lock();
        if state.keeps_transcript { state.engine.in_words(text) } else { String::new() }
    }

    /// A point at which a fault can happen. Returns the fault of this call. A crash does not
    /// return.
    pub fn point(&self, call: &'static str, after: bool) -> Option<Fault> {
        self.count_the_call();
        let fault = {
            let mut state = self.lock();
            state.crash_points.pass().or_else(|| state.hook(call, after))
        };
        self.apply_fault(fault?)
    }

    /// Like [`point`](Self::point), but only for the hooks of scripts.
    pub fn read_point(&self, call: &'static str, after: bool) -> Option<Fault> {
        self.count_the_call();
        let counts = self.lock().crash_points.counts_reads;
        if counts {
            return self.point(call, after);
        }
        let fault = self.lock().hook(call, after);
        self.apply_fault(fault?)
    }

    fn count_the_call(&self) {
        let mut state = self.lock();
        state.call_count += 1;
        let is_sane = state.call_count < CALLS_MAX;
        drop(state);
        assert!(is_sane, "the agent is in an endless loop");
    }

    fn apply_fault(&self, fault: Fault) -> Option<Fault> {
        match fault {
            Fault::Kill | Fault::Cut(_) => {
                self.lock().crash_fault = Some(fault);
                resume_unwind(Box::new(Crash));
            }
            Fault::Refuse | Fault::Conflict | Fault::LoseTheAnswer => {
                let over = self.now();
                self.fault_ended_at(over);
                self.plan_check(over);
                Some(fault)
            }
            other => {
                self.inject(other);
                None
            }
        }
    }

    pub fn fault_ended_at(&self, at: Duration) {
        let mut state = self.lock();
        state.last_fault_ended_at = state.last_fault_ended_at.max(at);
    }

    /// The agent has finished the verification of the new container.
    pub fn verification_passed(&self, service: &str) {
        let mut state = self.lock();
        for member in state.members_of(service) {
            let id = state.engine.find(&member).map(|container| container.id.clone());
            state.proven.extend(id);
        }
    }

    /// The agent begins a rollback.
    pub fn rollback_began(&self, service: &str, cause: &Cause) {
        self.log(format!("{service}: going back: {} ({:?})", cause.detail, cause.fault));
    }

    /// An update ended.
    pub fn update_ended(&self, record: &Record) {
        let reason = record.reason.as_deref().map_or(String::new(), |why| format!(": {why}"));
        let gap = record.gap_seconds.map_or(String::new(), |gap| format!(" (gap {gap:.1}s)"));
        self.lock().engine.finished_jobs.clear();
        self.log(format!("{}: {}{gap}{reason}", record.subject, record.outcome.word()));
    }

    /// A step of an update begins.
    pub fn step_began(&self, service: &str, step: &str) {
        let now = self.now();
        let mut state = self.lock();
        let members = state.members_of(service);
        match step {
            "commit" => state.committing.extend(members),
            _ => state.committing.retain(|name| !members.contains(name)),
        }
        if state.at_steps.is_empty() {
            return;
        }
        let (meant, others) = state.at_steps.drain(..).partition(|(word, ..)| word == step);
        state.at_steps = others;
        let meant: Vec<(String, Duration, Fault)> = meant;
        state.timed.extend(meant.into_iter().map(|(_, after, fault)| (now + after, fault)));
        drop(state);
        self.timed_faults_changed.notify_one();
    }
}

impl MachineState {
    fn hook(&mut self, call: &'static str, after: bool) -> Option<Fault> {
        if self.hooks.is_empty() {
            return None;
        }
        let count = self.calls.entry(call).or_default();
        *count += usize::from(!after);
        let nth = *count;
        let meant = |hook: &Hook| hook.call == call && hook.nth == nth && hook.after == after;
        let position = self.hooks.iter().position(meant)?;
        Some(self.hooks.remove(position).fault)
    }
}

pub fn wall(now: Duration, ahead: i64) -> DateTime<Utc> {
    let begin = DateTime::from_timestamp(BEGIN, 0).unwrap_or_default();
    begin + TimeDelta::from_std(now).unwrap_or_default() + TimeDelta::milliseconds(ahead)
}
