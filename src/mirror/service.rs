//! All rules of a process: when each runs, what it remembers, and what told it to run. Rules run
//! side by side, so a registry that hangs holds up only its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::core::decide::quota::Quota;
use crate::core::docker::webhook::Push;
use crate::core::mirror::memory::{MirrorMemory, RuleMemory};
use crate::core::mirror::rule::MirrorRule;
use crate::core::mirror::scope::RunScope;
use crate::core::time::schedule::{DeviceFraction, Jitter, Schedule, WALL_CLOCK_INTERVAL};
use crate::core::time::timetable::Timetable;
use crate::core::time::zone::Zone;
use crate::host::Host;
use crate::mirror::listener::{MirrorEvent, MirrorListener};
use crate::mirror::report::{RulePreview, RuleReport};
use crate::mirror::run::RuleRun;
use crate::mirror::turn::Turns;
use crate::ports::MirrorPorts;
use crate::registry::Registry as _;
use crate::registry::transfer::Flow;

/// Shortest time between two runs of a rule, so that constant pushes, or a broker that repeats its
/// announcements, keep no registry busy.
const RUN_PAUSE: Duration = Duration::from_secs(1);

/// How long further pushes are gathered after the first: one push of an image and its signature is
/// several events.
const GATHER_TIME: Duration = Duration::from_millis(200);

/// One rule, and when it runs.
#[derive(Debug, Clone)]
pub struct PlannedRule {
    pub rule: MirrorRule,
    /// Absent: only when a push is reported.
    pub schedule: Option<Schedule>,
    /// Whether a reported push starts it.
    pub on_push: bool,
}

/// How times of a schedule are understood.
#[derive(Debug, Clone)]
pub struct MirrorClock {
    pub zone: Zone,
    pub jitter: Jitter,
    pub device: DeviceFraction,
}

/// What pushes ask one rule for.
#[derive(Debug, Default)]
struct AskedRun {
    scope: Mutex<Option<RunScope>>,
    changed: Notify,
    /// Held while the rule runs: a person may ask for it while its schedule comes.
    running: tokio::sync::Mutex<()>,
}

/// Tells the rules of pushes.
#[derive(Debug, Clone)]
pub struct MirrorHandle {
    rules: Arc<[(PlannedRule, AskedRun)]>,
    memory: Arc<Mutex<MirrorMemory>>,
}

impl MirrorHandle {
    /// Reports pushes. Returns how many rules they concern. A push is a hint and nothing more: each
    /// rule asks its source itself.
    pub fn pushed(&self, pushes: &[Push]) -> usize {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let concerned = self.rules.iter().filter(|(planned, asked)| {
            let known = memory.of(&planned.rule);
            let of_push = |push| RunScope::of_push(&planned.rule, push, &known);
            let scopes = pushes.iter().filter(|_| planned.on_push).filter_map(of_push);
            let Some(scope) = scopes.reduce(RunScope::and) else { return false };
            asked.ask(scope);
            true
        });
        concerned.count()
    }
}

impl AskedRun {
    fn ask(&self, scope: RunScope) {
        let mut asked = self.scope.lock().unwrap_or_else(PoisonError::into_inner);
        *asked = Some(match asked.take() {
            Some(earlier) => earlier.and(scope),
            None => scope,
        });
        self.changed.notify_one();
    }

    fn take(&self) -> Option<RunScope> {
        self.scope.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The rules of a process.
pub struct Mirror<P> {
    ports: Arc<P>,
    handle: MirrorHandle,
    clock: MirrorClock,
    turns: Turns,
    listener: Arc<dyn MirrorListener>,
}

impl<P: MirrorPorts> Mirror<P> {
    /// The rules, with what is remembered of them. A memory that cannot be read is no reason not
    /// to copy.
    pub fn new(
        ports: Arc<P>,
        rules: Vec<PlannedRule>,
        clock: MirrorClock,
        turns: Turns,
        listener: Arc<dyn MirrorListener>,
    ) -> Self {
        let rules: Arc<[_]> =
            rules.into_iter().map(|planned| (planned, AskedRun::default())).collect();
        let memory = ports.state().mirror_memory().unwrap_or_else(|error| {
            if let Some((planned, _)) = rules.first() {
                let detail = format!("{error}. Until then `keep` deletes nothing");
                listener.event(&planned.rule, &MirrorEvent::Forgotten { detail: &detail });
            }
            MirrorMemory::default()
        });
        let handle = MirrorHandle { rules, memory: Arc::new(Mutex::new(memory)) };
        Self { ports, handle, clock, turns, listener }
    }

    /// Tells these rules of pushes.
    #[must_use]
    pub fn handle(&self) -> MirrorHandle {
        self.handle.clone()
    }

    /// Carries out all rules, each on its schedule and when pushes ask for it, until `stop`. A
    /// copy ends at any place.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut tasks = JoinSet::new();
        for number in 0..self.handle.rules.len() {
            let (mirror, stop) = (self.clone(), stop.clone());
            tasks.spawn(async move { stop.run_until_cancelled(mirror.follow(number)).await });
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Carries out rules once, side by side: those with these names, or all. The reports are in the
    /// order of the rules.
    pub async fn run_once(
        self: Arc<Self>,
        names: Option<&BTreeSet<String>>,
    ) -> Vec<(MirrorRule, RuleReport)> {
        let mut tasks = JoinSet::new();
        for (number, rule) in self.rules().enumerate() {
            if names.is_none_or(|names| names.contains(&rule.name)) {
                let mirror = self.clone();
                tasks.spawn(async move { (number, mirror.run_rule(number, RunScope::ALL).await) });
            }
        }
        let mut reports: Vec<_> = tasks.join_all().await;
        reports.sort_by_key(|(number, _)| *number);
        let rule = |number: usize| self.handle.rules[number].0.rule.clone();
        reports.into_iter().map(|(number, report)| (rule(number), report)).collect()
    }

    /// What a run of each rule would do. Writes nothing.
    pub async fn preview(&self) -> Vec<(MirrorRule, RulePreview)> {
        let mut previews = Vec::new();
        for rule in self.rules() {
            let memory = self.remembered(rule);
            let preview = self.prepared(rule, RunScope::ALL).preview(&memory).await;
            previews.push((rule.clone(), preview));
        }
        previews
    }

    /// What the sources say of their quotas, by registry.
    #[must_use]
    pub fn quotas(&self) -> BTreeMap<String, Quota> {
        let mut quotas = self.ports.registry().quotas();
        quotas.retain(|registry, _| self.rules().any(|rule| rule.from.registry == *registry));
        quotas
    }

    /// The rules, in their order.
    pub fn rules(&self) -> impl Iterator<Item = &MirrorRule> {
        self.handle.rules.iter().map(|(planned, _)| &planned.rule)
    }

    async fn follow(&self, number: usize) {
        let (planned, asked) = &self.handle.rules[number];
        let begun = Instant::now();
        let mut table = planned.schedule.as_ref().map(|schedule| self.timetable(schedule));
        loop {
            let scope = tokio::select! {
                () = asked.changed.notified() => {
                    tokio::time::sleep(GATHER_TIME).await;
                    asked.take()
                }
                () = due(table.as_ref(), begun) => {
                    table.as_mut().and_then(|table| self.turn(table, begun))
                }
            };
            let Some(scope) = scope else { continue };
            self.run_rule(number, scope).await;
            tokio::time::sleep(RUN_PAUSE).await;
        }
    }

    fn timetable(&self, schedule: &Schedule) -> Timetable {
        let MirrorClock { zone, jitter, device } = &self.clock;
        let first = schedule.first_delay(self.now(), zone, *device, *jitter);
        Timetable::new(schedule.clone(), first)
    }

    /// Whether the schedule has come, or only the wall clock must be looked at again.
    fn turn(&self, table: &mut Timetable, begun: Instant) -> Option<RunScope> {
        let MirrorClock { zone, jitter, device } = &self.clock;
        let now = self.now();
        let due = table.take_due(begun.elapsed(), |schedule| {
            schedule.following_delay(now, zone, *device, *jitter)
        });
        table.check_clock(begun.elapsed(), |schedule| {
            schedule.next_delay(now, zone, *device, *jitter)
        });
        due.all.then_some(RunScope::ALL)
    }

    fn now(&self) -> DateTime<Utc> {
        self.ports.host().now()
    }

    async fn run_rule(&self, number: usize, mut scope: RunScope) -> RuleReport {
        let (planned, asked) = &self.handle.rules[number];
        let rule = &planned.rule;
        let _running = asked.running.lock().await;
        let mut memory = self.remembered(rule);
        let is_daily_look = scope.tags.is_none() && memory.is_thorough_look_due(self.now());
        scope.is_thorough |= is_daily_look;
        let mut report = self.prepared(rule, scope).run(&mut memory).await;
        if is_daily_look && report.is_success() {
            memory.looked_thoroughly(self.now());
            report.has_news = true;
        }
        if report.has_news {
            self.remember(rule, memory);
        }
        let ended = MirrorEvent::RuleEnded { report: &report, at: self.now() };
        self.listener.event(rule, &ended);
        report
    }

    fn prepared<'a>(&'a self, rule: &'a MirrorRule, scope: RunScope) -> RuleRun<'a, P::Registry> {
        let is_neighbour = |other: &&MirrorRule| {
            other.to.registry == rule.to.registry && other.to.repository != rule.to.repository
        };
        RuleRun {
            registry: self.ports.registry(),
            rule,
            scope,
            flow: Flow { rate: rule.rate, ..Flow::default() },
            turns: self.turns.clone(),
            mount: match rule.from.registry == rule.to.registry {
                true => Some(rule.from.repository.clone()),
                false => self.rules().find(is_neighbour).map(|other| other.to.repository.clone()),
            },
            listener: &*self.listener,
        }
    }

    fn remembered(&self, rule: &MirrorRule) -> RuleMemory {
        self.handle.memory.lock().unwrap_or_else(PoisonError::into_inner).of(rule)
    }

    fn remember(&self, rule: &MirrorRule, memory: RuleMemory) {
        let mut all = self.handle.memory.lock().unwrap_or_else(PoisonError::into_inner);
        all.set(rule, memory);
        if let Err(error) = self.ports.state().remember_mirror(&all) {
            let detail = error.to_string();
            self.listener.event(rule, &MirrorEvent::Forgotten { detail: &detail });
        }
    }
}

/// Waits until the timetable must be looked at; without one, without an end.
async fn due(table: Option<&Timetable>, begun: Instant) {
    let Some(table) = table else { return std::future::pending().await };
    let at = begun + table.next();
    let at =
        if table.follows_wall_clock() { at.min(Instant::now() + WALL_CLOCK_INTERVAL) } else { at };
    sleep_until(at).await;
}
