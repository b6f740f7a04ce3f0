//! Floor 2: the one loop that owns the state. A tick or a wish starts a round, one at a time;
//! whoever wants to know how things stand reads the snapshot.

mod assist;
mod handover;
mod hooks;
mod known;
mod learnt;
mod leftovers;
mod look;
mod outlook;
mod round;
mod shown;
mod wish;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::core::decide::Endpoint;
use crate::core::decide::outlook::Outlook;
use crate::core::decide::snapshot::Snapshot;
use crate::core::policy::PolicyDefaults;
use crate::core::time::schedule::{DeviceFraction, Jitter, Schedule};
use crate::core::time::timetable::{Due, Timetable};
use crate::core::time::window::Windows;
use crate::core::time::zone::Zone;
use crate::core::update::event::{Event, Listener};
use crate::engine::{Engine, Listed};
use crate::host::Host;
use crate::observe::{self, Cache};
use crate::recover::Recovery;
use crate::world::Ports;

pub use handover::HandoverError;
pub use round::{Request, RoundEnd, RoundError};
use wish::touched;
pub use wish::{Errand, Fulfilled, Wish, WishError};

/// The longest sleep while a schedule follows the wall clock: a Pi has no clock of its own, and
/// somebody may set it at any time.
const WALL_CLOCK_INTERVAL: Duration = Duration::from_secs(60);

/// A schedule by the wall clock that has just fired is asked for a time this far ahead, so that a
/// clock that is slowed down does not make it fire twice.
const WALL_CLOCK_SLACK: Duration = Duration::from_secs(2);

/// The pause before an update that an absent Engine left open is taken up again; taking it up then
/// waits for the Engine by itself.
const ENGINE_AWAY_INTERVAL: Duration = Duration::from_secs(5);

/// What the agent goes by.
#[derive(Debug, Clone)]
pub struct AgentSettings {
    /// What holds where a container's labels say nothing.
    pub defaults: PolicyDefaults,
    /// When to look.
    pub schedule: Schedule,
    /// How far the agents of a fleet are spread.
    pub jitter: Jitter,
    /// Where this device stands among them.
    pub device: DeviceFraction,
    /// The zone of every time of day.
    pub zone: Zone,
    /// When images may be pulled.
    pub pull_window: Windows,
    /// Where the Engine is reached over the network; absent: by its socket.
    pub engine_endpoint: Option<Endpoint>,
}

/// Why the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnd {
    /// The agent was asked to stop.
    Stopped,
    /// Other settings are to be followed from now on.
    Reload,
    /// A helper updates the agent's own container: it gets the lock, and the agent waits.
    HandedOver,
}

/// Hears how long a round took and whether everything in it could be checked.
pub trait RoundListener: Send + Sync {
    /// Hears of one round.
    fn round(&self, succeeded: bool, took: Duration);
}

/// The agent.
pub struct Agent<P: Ports> {
    ports: Arc<P>,
    settings: AgentSettings,
    listener: Arc<dyn Listener>,
    rounds: Arc<dyn RoundListener>,
    stop: CancellationToken,
    cache: Cache,
    recovery: Recovery,
    outlook: Outlook,
    /// Whether images may be there that were fetched ahead of their window. An earlier agent may
    /// have left some.
    has_images_ahead: bool,
    snapshot: watch::Sender<Arc<Snapshot>>,
    /// Whether the Engine has told which mirrors it asks.
    mirrors_are_known: bool,
    /// Whether it runs for good: only then can it wait for a helper.
    is_resident: bool,
    /// Whether its own container is in the hands of a helper from now on.
    is_handed_over: bool,
}

impl<P: Ports> Agent<P> {
    /// An agent that has not done anything yet. It says in `snapshot` how things stand, and ends
    /// soon after `stop` is cancelled.
    pub fn new(
        ports: Arc<P>,
        settings: AgentSettings,
        listener: Arc<dyn Listener>,
        rounds: Arc<dyn RoundListener>,
        snapshot: watch::Sender<Arc<Snapshot>>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            ports,
            settings,
            listener,
            rounds,
            stop,
            cache: Cache::default(),
            recovery: Recovery::default(),
            outlook: Outlook::default(),
            has_images_ahead: true,
            snapshot,
            mirrors_are_known: false,
            is_resident: false,
            is_handed_over: false,
        }
    }

    /// Checks on schedule and fulfils wishes, until it is asked to stop or to begin anew with other
    /// settings, which waits for the end of a round. What an earlier agent left open is finished at
    /// once, not at the first tick.
    pub async fn run(&mut self, errands: &mut mpsc::Receiver<Errand>, reload: &Notify) -> RunEnd {
        let begun = Instant::now();
        self.is_resident = true;
        if !Box::pin(self.settle_now()).await {
            return RunEnd::HandedOver;
        }
        self.recover_now().await;
        let first = self.first_delay(&self.settings.schedule);
        let mut table = Timetable::new(self.settings.schedule.clone(), begun.elapsed() + first);
        if let Ok(list) = self.list().await {
            let own = observe::own_schedules(&list, &self.settings.defaults, &self.cache);
            table.follow(own, begun.elapsed(), |schedule| self.first_delay(schedule));
        }
        self.await_what_was_fetched().await;
        self.publish_next(table.next().saturating_sub(begun.elapsed()));
        while !self.is_handed_over {
            table.await_openings(self.openings(begun.elapsed()));
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return RunEnd::Stopped,
                () = reload.notified() => return RunEnd::Reload,
                Some(errand) = errands.recv() => self.run_errand(errand).await,
                () = tokio::time::sleep_until(self.waking(&table, begun)) => {
                    self.turn(&mut table, begun).await;
                }
            }
        }
        RunEnd::HandedOver
    }

    /// Says whether the lock is for this agent. Where the Engine could not make a helper that is
    /// needed, the agent waits like one that has a helper, and settles it anew.
    async fn settle_now(&mut self) -> bool {
        self.look_at_own_restart_policy().await;
        self.settle().await.unwrap_or_else(|error| {
            self.warn(format!("the agent's own update cannot be settled: {error}"));
            !matches!(error, HandoverError::Engine(_))
        })
    }

    /// When to look at the timetable again.
    fn waking(&self, table: &Timetable, begun: Instant) -> Instant {
        let mut next = begun + table.next();
        if table.follows_the_wall_clock() {
            next = next.min(Instant::now() + WALL_CLOCK_INTERVAL);
        }
        if self.recovery.awaits_the_engine() {
            return next.min(Instant::now() + ENGINE_AWAY_INTERVAL);
        }
        self.recovery.next_try().map_or(next, |at| next.min(at))
    }

    /// Whoever wished may have gone away meanwhile; the wish is fulfilled all the same.
    async fn run_errand(&mut self, Errand { wish, answer }: Errand) {
        let fulfilled = self.fulfil(wish.clone()).await;
        if let Ok(fulfilled) = &fulfilled {
            let touched = touched(&wish, fulfilled);
            if !touched.is_empty() {
                self.look_again_at(touched).await;
            }
        }
        let _ = answer.send(fulfilled);
    }

    /// One waking: whoever is due is looked at, and schedules that came or went are followed.
    async fn turn(&mut self, table: &mut Timetable, begun: Instant) {
        let due = table.take_due(begun.elapsed(), |schedule| self.delay(schedule));
        if due.is_nobody() && self.is_recovery_due().await {
            self.recover_now().await;
        }
        if !due.is_nobody() {
            self.look_after(due, table, begun).await;
            self.put_off_openings();
        }
        table.await_openings(self.openings(begun.elapsed()));
        table.ask_the_clock(begun.elapsed(), |schedule| self.delay_by_clock(schedule));
        self.publish_next(table.next().saturating_sub(begun.elapsed()));
    }

    /// Whether something that was left open is to be taken up now, whatever the schedule says.
    /// While the Engine is away, nothing can be, and that has been said.
    async fn is_recovery_due(&self) -> bool {
        if self.recovery.awaits_the_engine() {
            return self.ports.engine().info().await.is_ok();
        }
        self.recovery.next_try().is_some_and(|at| at <= Instant::now())
    }

    async fn look_after(&mut self, due: Due, table: &mut Timetable, begun: Instant) {
        let list = self.list().await.ok();
        let names = match &list {
            Some(list) => self.follow(list, due.names, table, begun),
            None => due.names,
        };
        let request = if due.everybody {
            let elsewhere = table.own().filter(|name| !names.contains(*name)).cloned().collect();
            Request { except: elsewhere, ..Request::default() }
        } else if names.is_empty() {
            return;
        } else {
            Request { names: Some(names), ..Request::default() }
        };
        // A round that could not run is told in the snapshot and the log.
        let _ = self.round_over(list, &request).await;
    }

    /// Takes over the schedules of the containers that there are now. Gives those of the names that
    /// are still watched.
    fn follow(
        &mut self,
        list: &[Listed],
        names: BTreeSet<String>,
        table: &mut Timetable,
        begun: Instant,
    ) -> BTreeSet<String> {
        let defaults = &self.settings.defaults;
        let own = observe::own_schedules(list, defaults, &self.cache);
        table.follow(own, begun.elapsed(), |schedule| self.delay(schedule));
        let watched = observe::watched_names(list, defaults, &self.cache);
        self.outlook.retain(&watched);
        names.into_iter().filter(|name| watched.contains(name)).collect()
    }

    fn first_delay(&self, schedule: &Schedule) -> Duration {
        let AgentSettings { zone, device, jitter, .. } = &self.settings;
        schedule.first_delay(self.ports.host().now(), zone, *device, *jitter)
    }

    /// The delay after a round.
    fn delay(&self, schedule: &Schedule) -> Duration {
        let AgentSettings { zone, device, jitter, .. } = &self.settings;
        match schedule {
            Schedule::Every(interval) => *interval,
            Schedule::Cron(_) => {
                let now = self.ports.host().now() + WALL_CLOCK_SLACK;
                schedule.next_delay(now, zone, *device, *jitter) + WALL_CLOCK_SLACK
            }
        }
    }

    /// The delay as the wall clock sees it now.
    fn delay_by_clock(&self, schedule: &Schedule) -> Duration {
        let AgentSettings { zone, device, jitter, .. } = &self.settings;
        schedule.next_delay(self.ports.host().now(), zone, *device, *jitter)
    }

    fn publish_next(&self, delay: Duration) {
        let next = TimeDelta::from_std(delay).ok().map(|delay| self.ports.host().now() + delay);
        self.publish(|snapshot| snapshot.next_check = next);
    }

    fn publish(&self, change: impl FnOnce(&mut Snapshot)) {
        self.snapshot.send_modify(|snapshot| change(Arc::make_mut(snapshot)));
    }

    fn warn(&self, detail: impl Into<String>) {
        let container = String::new();
        self.listener.hear(&Event::Warning { container, detail: detail.into() });
    }

    /// The names of refused digests' containers with their number, for the metrics.
    fn refused(&self) -> Vec<(String, usize)> {
        let memory = self.ports.state().memory().unwrap_or_default();
        memory.refused.iter().map(|(name, refusals)| (name.clone(), refusals.len())).collect()
    }
}
