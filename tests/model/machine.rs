//! Everything around the agent: one machine with its Engine and its disk, and a registry outside.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use pilotfish::core::update::history::{Cause, Record};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::crash_point::{Crash, CrashPoints};
use crate::disk::Files;
use crate::engine::state::{Moment, State};
use crate::fault::Fault;
use crate::registry::Shelf;
use crate::service::Service;

/// When the model begins, by the clock on the wall.
pub const BEGIN: i64 = 1_800_000_000;

/// More calls than this in one life mean that the agent turns in a circle.
const CALLS_MAX: usize = 50_000;

/// Something that happens right before or after a certain call.
#[derive(Debug, Clone)]
pub struct Hook {
    /// The call, such as `rename`.
    pub call: String,
    /// Which one of them, from 1.
    pub nth: usize,
    pub after: bool,
    pub fault: Fault,
}

/// Everything that can be copied, so that one state of affairs can be gone on from many times.
#[derive(Debug, Clone)]
pub struct Affairs {
    pub engine: State,
    pub files: Files,
    pub shelf: Shelf,
    /// What the clock on the wall is ahead by, in milliseconds.
    pub clock_ahead: i64,
    pub boots: u32,
    /// How many lives the agent has had.
    pub lives: usize,
    /// How many random IDs were drawn.
    pub ids: usize,
    /// Whether another agent lives, as far as that can be seen.
    pub other_agent_lives: Option<bool>,
    /// What is free where the Engine keeps images.
    pub free_bytes: u64,
    pub crash_points: CrashPoints,
    pub hooks: Vec<Hook>,
    /// What happens at which time.
    pub timed: Vec<(Duration, Fault)>,
    /// How often each call was made, for the hooks.
    pub calls: BTreeMap<&'static str, usize>,
    pub call_count: usize,
    /// Acts on the Engine, for the invariant that a quiet round does none.
    pub acts: usize,
    /// What killed the agent.
    pub stroke: Option<Fault>,
    /// Whether the state directory is on the Engine's disk, so that its flushes flush both.
    pub shares_a_disk: bool,
    pub services: Vec<Service>,
    /// What happens so long after a step of an update begins, the first time it does.
    pub at_steps: Vec<(String, Duration, Fault)>,
    /// Whether the Engine never answers what containers there are, and no adapter ends the wait.
    pub hangs: bool,
    /// Whether the judge looks after every fault.
    pub is_looked_at: bool,
    /// Whether a transcript is kept; it costs more than the rest of a run.
    pub talks: bool,
    /// New containers that were seen to pass the gate, by ID.
    pub proven: Vec<String>,
    pub log: Vec<String>,
    /// Whether the agent is between the first call of the commit and the flush behind the second
    /// (I12 leaves this out).
    pub is_between: bool,
    /// Invariants that were seen to break while the agent worked.
    pub violations: Vec<String>,
    /// Whether it is counted how many containers are switched at once.
    pub watches_switches: bool,
    /// The most containers that were switched at once.
    pub switches_at_once: usize,
    /// When the agent was asked to end.
    pub terminated_at: Option<Duration>,
    pub since: Duration,
    /// When the last fault that was let loose was over.
    pub last_fault_over: Duration,
}

/// A machine.
#[derive(Debug)]
pub struct Machine {
    affairs: Mutex<Affairs>,
    origin: Instant,
    base: Duration,
    /// Wakes whoever waits for something to happen in a container.
    pub stirred: Notify,
    /// Wakes whoever carries out what happens at a time.
    pub hands_changed: Notify,
    pub stop: Mutex<CancellationToken>,
}

impl Machine {
    pub fn new() -> Arc<Self> {
        Self::from(Affairs {
            engine: State::new(),
            files: Files::default(),
            shelf: Shelf::default(),
            clock_ahead: 0,
            boots: 1,
            lives: 0,
            ids: 0,
            other_agent_lives: None,
            free_bytes: u64::MAX,
            crash_points: CrashPoints::default(),
            hooks: Vec::new(),
            timed: Vec::new(),
            calls: BTreeMap::new(),
            call_count: 0,
            acts: 0,
            stroke: None,
            shares_a_disk: true,
            services: Vec::new(),
            at_steps: Vec::new(),
            hangs: false,
            is_looked_at: false,
            talks: true,
            proven: Vec::new(),
            log: Vec::new(),
            is_between: false,
            violations: Vec::new(),
            watches_switches: false,
            switches_at_once: 0,
            terminated_at: None,
            since: Duration::ZERO,
            last_fault_over: Duration::ZERO,
        })
    }

    /// Goes on from a copy.
    pub fn from(affairs: Affairs) -> Arc<Self> {
        Arc::new(Self {
            base: affairs.since,
            affairs: Mutex::new(affairs),
            origin: Instant::now(),
            stirred: Notify::new(),
            hands_changed: Notify::new(),
            stop: Mutex::new(CancellationToken::new()),
        })
    }

    /// A copy to go on from.
    pub fn copy(&self) -> Affairs {
        let now = self.now();
        let mut affairs = self.lock().clone();
        affairs.engine.streams_end();
        affairs.since = now;
        affairs
    }

    pub fn lock(&self) -> MutexGuard<'_, Affairs> {
        self.affairs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since the model began.
    pub fn now(&self) -> Duration {
        self.base + self.origin.elapsed()
    }

    /// The runtime's instant of a time of the model.
    pub fn instant(&self, at: Duration) -> Instant {
        self.origin + at.saturating_sub(self.base)
    }

    pub fn moment(&self, affairs: &Affairs) -> Moment {
        let now = self.now();
        Moment { now, wall: wall(now, affairs.clock_ahead) }
    }

    /// Works on the machine as it is now, with everything that is due done.
    pub fn with<T>(&self, work: impl FnOnce(&mut Affairs, Moment) -> T) -> T {
        let mut affairs = self.lock();
        let at = self.moment(&affairs);
        affairs.engine.settle(at);
        let result = work(&mut affairs, at);
        drop(affairs);
        self.stirred.notify_waiters();
        result
    }

    /// A line for the transcript.
    pub fn log(&self, line: impl AsRef<str>) {
        let now = self.now();
        let mut affairs = self.lock();
        if affairs.talks {
            affairs.log.push(format!("{:>8.1}s  {}", now.as_secs_f64(), line.as_ref()));
        }
    }

    /// IDs and digests as people call what is behind them; only where somebody reads it.
    pub fn in_words(&self, text: &str) -> String {
        let affairs = self.lock();
        if affairs.talks { affairs.engine.in_words(text) } else { String::new() }
    }

    /// A point at which something can go wrong. Gives what the call is to suffer; a crash does not
    /// return.
    pub fn point(&self, call: &'static str, after: bool) -> Option<Fault> {
        self.count_the_call();
        let fault = {
            let mut affairs = self.lock();
            affairs.crash_points.pass().or_else(|| affairs.hook(call, after))
        };
        self.suffer(fault?)
    }

    /// Like [`point`](Self::point), but only for what scripts name.
    pub fn quiet_point(&self, call: &'static str, after: bool) -> Option<Fault> {
        self.count_the_call();
        let counts = self.lock().crash_points.counts_questions;
        if counts {
            return self.point(call, after);
        }
        let fault = self.lock().hook(call, after);
        self.suffer(fault?)
    }

    fn count_the_call(&self) {
        let mut affairs = self.lock();
        affairs.call_count += 1;
        let is_sane = affairs.call_count < CALLS_MAX;
        drop(affairs);
        assert!(is_sane, "the agent turns in a circle");
    }

    fn suffer(&self, fault: Fault) -> Option<Fault> {
        match fault {
            Fault::Kill | Fault::Cut(_) => {
                self.lock().stroke = Some(fault);
                resume_unwind(Box::new(Crash));
            }
            Fault::Refuse | Fault::Conflict | Fault::LoseTheAnswer => {
                let over = self.now();
                self.fault_is_over_at(over);
                self.look_after(over);
                Some(fault)
            }
            other => {
                self.lend(other);
                None
            }
        }
    }

    pub fn fault_is_over_at(&self, at: Duration) {
        let mut affairs = self.lock();
        affairs.last_fault_over = affairs.last_fault_over.max(at);
    }

    /// The agent says that the verification of its new container is complete.
    pub fn proved(&self, service: &str) {
        let mut affairs = self.lock();
        let id = affairs.engine.find(service).map(|container| container.id.clone());
        affairs.proven.extend(id);
    }

    /// The agent goes back.
    pub fn judged(&self, service: &str, cause: &Cause) {
        self.log(format!("{service}: going back: {} ({:?})", cause.detail, cause.fault));
    }

    /// An update ended.
    pub fn ended(&self, record: &Record) {
        let reason = record.reason.as_deref().map_or(String::new(), |why| format!(": {why}"));
        let gap = record.gap_seconds.map_or(String::new(), |gap| format!(" (gap {gap:.1}s)"));
        self.log(format!("{}: {}{gap}{reason}", record.container, record.outcome.word()));
    }

    /// A step of an update begins.
    pub fn begun(&self, step: &str) {
        let now = self.now();
        let mut affairs = self.lock();
        affairs.is_between = step == "commit";
        if affairs.at_steps.is_empty() {
            return;
        }
        let (meant, others) = affairs.at_steps.drain(..).partition(|(word, ..)| word == step);
        affairs.at_steps = others;
        let meant: Vec<(String, Duration, Fault)> = meant;
        affairs.timed.extend(meant.into_iter().map(|(_, after, fault)| (now + after, fault)));
        drop(affairs);
        self.hands_changed.notify_one();
    }
}

impl Affairs {
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
