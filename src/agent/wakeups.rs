//! When the loop wakes up by itself, and which containers it then checks.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::Instant;

use super::execution::engine_lock::OTHERS_INTERVAL;
use super::execution::recovery::WATCH_INTERVAL;
use super::round::{QueuedRound, Reply};
use super::{Agent, AgentSettings, RoundRequest};
use crate::core::time::schedule::{Schedule, WALL_CLOCK_INTERVAL};
use crate::core::time::timetable::{Due, Timetable};
use crate::core::update::event::Trigger;
use crate::engine::{Engine, Listed};
use crate::host::Host;
use crate::observe;
use crate::ports::Ports;

/// The pause before the agent resumes an update that was left open because the Engine was away. The
/// recovery then waits for the Engine itself.
const ENGINE_AWAY_INTERVAL: Duration = Duration::from_secs(5);

impl<P: Ports> Agent<P> {
    /// The timetable at the start. Images that an earlier agent pulled are registered at once.
    pub(super) async fn timetable(&mut self, begun: Instant) -> Timetable {
        let schedule = &self.context.settings.schedule;
        let first = begun.elapsed() + self.first_delay(schedule);
        let mut table = Timetable::new(schedule.clone(), first);
        if let Ok(list) = self.list().await {
            let mut own =
                observe::own_schedules(&list, &self.context.settings.defaults, &self.cache);
            own.extend(self.swarm.own_schedules());
            table.follow(own, begun.elapsed(), |schedule| self.first_delay(schedule));
        }
        self.follow_at_start().await;
        self.await_what_was_fetched().await;
        self.publish_next(table.next().saturating_sub(begun.elapsed()));
        table
    }

    /// When to look at the timetable again.
    pub(super) fn waking(&self, table: &Timetable, begun: Instant) -> Instant {
        let mut next = begun + table.next();
        if table.follows_wall_clock() {
            next = next.min(Instant::now() + WALL_CLOCK_INTERVAL);
        }
        next = self.fleet_save_at().map_or(next, |at| next.min(at));
        let Some(executor) = &self.executor else { return next };
        // Recovery needs the Engine's lock.
        if self.other_agent.is_some() {
            return next.min(Instant::now() + OTHERS_INTERVAL);
        }
        if executor.sightings.is_watching() {
            next = next.min(Instant::now() + WATCH_INTERVAL);
        }
        if self.recovery.awaits_engine() {
            return next.min(Instant::now() + ENGINE_AWAY_INTERVAL);
        }
        self.recovery.next_try().map_or(next, |at| next.min(at))
    }

    /// Whether an open update must be resumed now, independent of the schedule. While the Engine is
    /// away nothing can be resumed, and the log has said so.
    async fn is_recovery_due(&self) -> bool {
        let Some(executor) = &self.executor else { return false };
        if executor.sightings.is_watching() {
            return true;
        }
        if self.recovery.awaits_engine() {
            return self.context.ports.engine().info().await.is_ok();
        }
        self.recovery.next_try().is_some_and(|at| at <= Instant::now())
    }

    /// Tries to take the Engine's lock from another agent. If this agent gets it, it does the work
    /// that it could not do before: self-update, recovery, a look.
    async fn try_to_take_over(&mut self) {
        if !matches!(self.hold_engine().await, Ok(None)) {
            return;
        }
        if std::mem::take(&mut self.is_unsettled) && !Box::pin(self.settle_now()).await {
            self.is_self_updating = true;
            return;
        }
        self.take_up_open().await;
        let names = self.watched().await.unwrap_or_default();
        if !names.is_empty() {
            self.look_once(names, None).await;
            self.advance().await;
        }
    }

    /// One turn: checks the containers that are due, and follows changed schedules.
    pub(super) async fn turn(&mut self, table: &mut Timetable, begun: Instant) {
        let due = table.take_due(begun.elapsed(), |schedule| self.delay(schedule));
        if due.is_empty() && self.other_agent.is_some() {
            self.try_to_take_over().await;
        } else if due.is_empty() && self.is_recovery_due().await {
            self.take_up_open().await;
        }
        if !due.is_empty() {
            self.look_after(due, table, begun).await;
            self.put_off_openings();
        }
        self.keep_fleet();
        table.await_openings(self.openings(begun.elapsed()));
        table.check_clock(begun.elapsed(), |schedule| self.delay_by_clock(schedule));
        self.publish_next(table.next().saturating_sub(begun.elapsed()));
    }

    async fn look_after(&mut self, due: Due, table: &mut Timetable, begun: Instant) {
        let list = self.list().await.ok();
        let names = match &list {
            Some(list) => self.follow(list, due.names, table, begun),
            None => due.names,
        };
        let request = if due.all {
            let elsewhere = table.own().filter(|name| !names.contains(*name)).cloned().collect();
            RoundRequest { except: elsewhere, ..RoundRequest::default() }
        } else if names.is_empty() {
            return;
        } else {
            RoundRequest { names: Some(names), ..RoundRequest::default() }
        };
        self.begin(QueuedRound::new(request, Trigger::Schedule, Reply::Nobody), list).await;
        self.advance().await;
    }

    /// Replaces the schedules in the timetable by those of the present containers. Returns the
    /// given names that are still watched.
    fn follow(
        &mut self,
        list: &[Listed],
        names: BTreeSet<String>,
        table: &mut Timetable,
        begun: Instant,
    ) -> BTreeSet<String> {
        let defaults = &self.context.settings.defaults;
        let mut own = observe::own_schedules(list, defaults, &self.cache);
        own.extend(self.swarm.own_schedules());
        table.follow(own, begun.elapsed(), |schedule| self.delay(schedule));
        let watched = observe::watched_names(list, defaults, &self.cache);
        self.pending.retain(&watched);
        self.reported_locks.retain(&watched);
        let is_there = |name: &String| watched.contains(name) || self.swarm.is_watched(name);
        names.into_iter().filter(is_there).collect()
    }

    fn first_delay(&self, schedule: &Schedule) -> Duration {
        let AgentSettings { zone, device, jitter, .. } = &*self.context.settings;
        schedule.first_delay(self.context.ports.host().now(), zone, *device, *jitter)
    }

    /// The delay until the next round after a round.
    fn delay(&self, schedule: &Schedule) -> Duration {
        let AgentSettings { zone, device, jitter, .. } = &*self.context.settings;
        schedule.following_delay(self.context.ports.host().now(), zone, *device, *jitter)
    }

    /// The delay by the present wall clock.
    fn delay_by_clock(&self, schedule: &Schedule) -> Duration {
        let AgentSettings { zone, device, jitter, .. } = &*self.context.settings;
        schedule.next_delay(self.context.ports.host().now(), zone, *device, *jitter)
    }

    pub(super) fn publish_next(&self, delay: Duration) {
        let next =
            TimeDelta::from_std(delay).ok().map(|delay| self.context.ports.host().now() + delay);
        self.publish(|snapshot| snapshot.next_check = next);
    }
}
