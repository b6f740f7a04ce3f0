//! Which containers are due when: the agent's own schedule, and those of containers.
//!
//! Times are durations since the agent started, by the monotonic clock, so that setting the clock
//! can neither delay a round nor start many of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::core::time::schedule::Schedule;

/// The containers that are due.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    /// Whether all containers without a schedule of their own are due.
    pub all: bool,
    /// Containers with a schedule of their own, and those whose window opens.
    pub names: BTreeSet<String>,
}

impl Due {
    /// Whether no container is due.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.all && self.names.is_empty()
    }
}

/// One schedule and the time of its next round.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ScheduleRow {
    schedule: Schedule,
    at: Duration,
}

/// All active schedules.
#[derive(Debug, Clone)]
pub struct Timetable {
    agent: ScheduleRow,
    own: BTreeMap<String, ScheduleRow>,
    /// The containers that wait for a window, and when it opens.
    openings: BTreeMap<String, Duration>,
}

impl Timetable {
    /// A timetable with the agent's own schedule, first due at this time.
    #[must_use]
    pub fn new(schedule: Schedule, first: Duration) -> Self {
        let agent = ScheduleRow { schedule, at: first };
        Self { agent, own: BTreeMap::new(), openings: BTreeMap::new() }
    }

    /// Sets the schedules of containers. A container whose schedule did not change keeps its turn;
    /// a new one is due after one delay.
    pub fn follow(
        &mut self,
        schedules: BTreeMap<String, Schedule>,
        now: Duration,
        delay: impl Fn(&Schedule) -> Duration,
    ) {
        let mut before = std::mem::take(&mut self.own);
        for (name, schedule) in schedules {
            let kept = before.remove(&name).filter(|row| row.schedule == schedule);
            let row = kept.unwrap_or_else(|| ScheduleRow { at: now + delay(&schedule), schedule });
            self.own.insert(name, row);
        }
    }

    /// Sets the openings of windows that containers wait for. Each container is due once then,
    /// independent of its schedule: a daily round at one would never meet a window at four.
    pub fn await_openings(&mut self, openings: BTreeMap<String, Duration>) {
        self.openings = openings;
    }

    /// The names with a schedule of their own.
    pub fn own(&self) -> impl Iterator<Item = &String> {
        self.own.keys()
    }

    /// When the next container is due.
    #[must_use]
    pub fn next(&self) -> Duration {
        let openings = self.openings.values().copied();
        self.rows().map(|row| row.at).chain(openings).min().unwrap_or(self.agent.at)
    }

    /// Whether anything follows the wall clock, which may be set.
    #[must_use]
    pub fn follows_wall_clock(&self) -> bool {
        !self.openings.is_empty()
            || self.rows().any(|row| matches!(row.schedule, Schedule::Cron(_)))
    }

    /// The containers that are due now. Their next turn is one delay later.
    pub fn take_due(&mut self, now: Duration, delay: impl Fn(&Schedule) -> Duration) -> Due {
        let mut due = Due::default();
        if self.agent.at <= now {
            due.all = true;
            self.agent.at = now + delay(&self.agent.schedule);
        }
        for (name, row) in self.own.iter_mut().filter(|(_, row)| row.at <= now) {
            due.names.insert(name.clone());
            row.at = now + delay(&row.schedule);
        }
        let opened = self.openings.iter().filter(|(_, at)| **at <= now);
        due.names.extend(opened.map(|(name, _)| name.clone()));
        self.openings.retain(|_, at| *at > now);
        due
    }

    /// Recalculates the cron schedules from the wall clock.
    pub fn check_clock(&mut self, now: Duration, delay: impl Fn(&Schedule) -> Duration) {
        let rows = std::iter::once(&mut self.agent).chain(self.own.values_mut());
        for row in rows.filter(|row| row.at > now && matches!(row.schedule, Schedule::Cron(_))) {
            row.at = now + delay(&row.schedule);
        }
    }

    fn rows(&self) -> impl Iterator<Item = &ScheduleRow> {
        std::iter::once(&self.agent).chain(self.own.values())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn minutes(minutes: u64) -> Duration {
        Duration::from_secs(minutes * 60)
    }

    fn schedule(text: &str) -> Schedule {
        text.parse().expect("a schedule")
    }

    fn interval(schedule: &Schedule) -> Duration {
        match schedule {
            Schedule::Every(interval) => *interval,
            Schedule::Cron(_) => minutes(600),
        }
    }

    #[test]
    fn a_container_has_its_own_turns() {
        let mut table = Timetable::new(schedule("15m"), minutes(0));
        let own = BTreeMap::from([("till".to_owned(), schedule("5m"))]);
        table.follow(own.clone(), minutes(0), interval);
        assert_eq!(table.take_due(minutes(0), interval), Due { all: true, ..Due::default() });
        assert_eq!(table.next(), minutes(5));
        table.follow(own, minutes(3), interval);
        assert_eq!(table.next(), minutes(5), "a container that stays keeps its turn");
        let due = table.take_due(minutes(5), interval);
        assert_eq!((due.all, due.names.len()), (false, 1));
        assert_eq!(table.next(), minutes(10));
        table.follow(BTreeMap::new(), minutes(6), interval);
        assert_eq!(table.next(), minutes(15), "a container that is gone has no turn");
    }

    #[test]
    fn a_late_round_does_not_make_up_for_missed_ones() {
        let mut table = Timetable::new(schedule("1m"), minutes(0));
        assert!(table.take_due(minutes(100), interval).all);
        assert!(table.take_due(minutes(100), interval).is_empty());
        assert_eq!(table.next(), minutes(101));
    }

    #[test]
    fn a_daily_round_at_one_meets_a_window_that_opens_at_four() {
        let mut table = Timetable::new(schedule("0 1 * * *"), minutes(60));
        assert!(table.take_due(minutes(60), interval).all);
        table.await_openings(BTreeMap::from([("till".to_owned(), minutes(240))]));
        assert_eq!(table.next(), minutes(240));
        assert!(table.take_due(minutes(239), interval).is_empty());
        let due = table.take_due(minutes(240), interval);
        let names = BTreeSet::from(["till".to_owned()]);
        assert_eq!(due, Due { all: false, names });
        assert!(table.take_due(minutes(240), interval).is_empty(), "it is due once");
    }

    #[test]
    fn an_opening_follows_the_wall_clock_and_leaves_schedules_alone() {
        let mut table = Timetable::new(schedule("15m"), minutes(15));
        table.follow(BTreeMap::from([("till".into(), schedule("1h"))]), minutes(0), interval);
        assert!(!table.follows_wall_clock());
        table.await_openings(BTreeMap::from([("till".to_owned(), minutes(5))]));
        assert!(table.follows_wall_clock());
        assert_eq!(table.take_due(minutes(5), interval).names.len(), 1);
        assert_eq!(table.own["till"].at, minutes(60), "its own turn is as it was");
        // The clock was set back: the opening is further away.
        table.await_openings(BTreeMap::from([("till".to_owned(), minutes(70))]));
        assert_eq!(table.take_due(minutes(15), interval), Due { all: true, ..Due::default() });
    }

    #[test]
    fn only_schedules_by_the_wall_clock_follow_it() {
        let mut table = Timetable::new(schedule("0 4 * * *"), minutes(600));
        table.follow(BTreeMap::from([("a".into(), schedule("20m"))]), minutes(0), interval);
        assert!(table.follows_wall_clock());
        table.check_clock(minutes(1), |_| minutes(2));
        assert_eq!(table.next(), minutes(3));
        assert_eq!(table.own["a"].at, minutes(20));
    }
}
