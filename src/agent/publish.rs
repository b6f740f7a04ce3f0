//! What the snapshot, the metrics and the log are told of containers and rounds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::round::{QueuedRound, Reply, Round};
use super::{Agent, RoundError};
use crate::core::decide::observation::OpenUpdate;
use crate::core::decide::report::{Report, Verdict};
use crate::core::update::event::Event;
use crate::ports::Ports;

impl<P: Ports> Agent<P> {
    /// Shows how these containers stand now, in a round and to everybody. Nothing is published
    /// where they stand as before.
    pub(super) fn show(&self, round: &mut Round, reports: &[Report]) {
        let names: BTreeSet<_> = reports.iter().map(|report| report.container.clone()).collect();
        let is_meant = |report: &Report| names.contains(&report.container);
        let own = std::mem::take(&mut round.end.reports);
        let known: BTreeSet<_> = own.iter().map(|report| &report.container).collect();
        let is_first = |report: &&Report| is_meant(report) && !known.contains(&report.container);
        let earlier = Arc::clone(&self.snapshot.borrow());
        round.before.extend(earlier.reports.iter().filter(is_first).cloned());
        self.snapshot.send_if_modified(|snapshot| {
            let shown = snapshot.reports.iter().filter(|report| !is_meant(report));
            let mut shown: Vec<_> = shown.chain(reports).cloned().collect();
            shown.sort_by(|a, b| a.container.cmp(&b.container));
            let is_news = shown != snapshot.reports;
            if is_news {
                Arc::make_mut(snapshot).reports = shown;
            }
            is_news
        });
        let own = own.iter().filter(|report| !is_meant(report)).cloned();
        round.end.reports = own.chain(reports.iter().cloned()).collect();
    }

    /// Containers that are not watched any more are shown no longer. One that is being replaced is
    /// not gone, although nothing may bear its name for a moment.
    pub(super) fn forget_removed(&mut self, watched: &BTreeSet<String>) {
        let at_work = self.names_at_work();
        let is_there = |name: &String| {
            watched.contains(name) || at_work.contains(name) || self.open.contains_key(name)
        };
        let touched = std::mem::take(&mut self.touched);
        self.touched = touched.into_iter().filter(|(name, _)| is_there(name)).collect();
        self.snapshot.send_if_modified(|snapshot| {
            let are_all = snapshot.reports.iter().all(|report| is_there(&report.container));
            if !are_all {
                let snapshot = Arc::make_mut(snapshot);
                snapshot.reports.retain(|report| is_there(&report.container));
            }
            !are_all
        });
    }

    /// Shows which updates could be neither finished nor undone: also where nothing bears the
    /// container's name any more, or nothing that is watched.
    pub(super) fn show_stuck(&self, open: &BTreeMap<String, OpenUpdate>) {
        let those = |is_meant: fn(&OpenUpdate) -> bool| {
            let meant = open.iter().filter(|(_, open)| is_meant(open));
            meant.map(|(container, _)| container.clone()).collect::<Vec<_>>()
        };
        let stuck = those(|open| matches!(open, OpenUpdate::Stuck(_) | OpenUpdate::Down(_)));
        let down = those(|open| matches!(open, OpenUpdate::Down(_)));
        self.publish(|snapshot| (snapshot.stuck, snapshot.down) = (stuck, down));
    }

    /// Shows the updates in flight, and the step of each.
    pub(super) fn show_in_flight(&self) {
        let shown = self.updates.shown();
        if self.snapshot.borrow().in_flight != shown {
            self.publish(|snapshot| snapshot.in_flight = shown);
        }
    }

    /// A round could not run at all.
    pub(super) fn could_not_run(&self, order: QueuedRound, error: RoundError) {
        let is_counted = !matches!(order.reply, Reply::After(_));
        if is_counted && !matches!(error, RoundError::UnknownNames(_)) {
            self.rounds_heard.round(false, order.begun.elapsed());
            self.publish(|snapshot| {
                snapshot.missed_rounds = snapshot.missed_rounds.saturating_add(1);
                snapshot.error = Some(error.to_string());
            });
            self.context.warn(format!("this round could not run: {error}"));
        }
        order.reply.send(Err(error));
    }

    /// What the snapshot, the metrics and the log say of a round that ended.
    pub(super) fn tell(&mut self, round: &Round) {
        let took = round.order.begun.elapsed();
        let end = &round.end;
        // One that began before another that ended already tells nothing newer than that.
        let is_latest = self.latest.is_none_or(|latest| latest <= round.order.begun);
        self.latest = self.latest.max(Some(round.order.begun));
        let succeeded = round.has_succeeded(&self.snapshot.borrow().reports);
        self.rounds_heard.round(succeeded, took);
        let news = news(&round.before, &end.reports);
        self.publish(|snapshot| {
            if is_latest {
                snapshot.last_check = Some(end.checked_at);
            }
            if succeeded && is_latest {
                snapshot.last_success = Some(end.checked_at);
            }
            snapshot.missed_rounds = 0;
            snapshot.error = None;
            snapshot.quotas.clone_from(&end.quotas);
        });
        let containers = end.reports.len();
        let listener = self.context.for_trigger(round.order.trigger).listener;
        listener.receive(&Event::RoundEnded { containers, news, took });
    }

    /// Shows how many digests are refused, by container.
    pub(super) fn show_refused(&self) {
        let memory = self.context.ports.state().memory().unwrap_or_default();
        let count = |(name, refusals): (&String, &Vec<_>)| (name.clone(), refusals.len());
        let refused: Vec<_> = memory.refused.iter().map(count).collect();
        if self.snapshot.borrow().refused != refused {
            self.publish(|snapshot| snapshot.refused = refused);
        }
    }
}

/// The reports that say something else than before. A container that is seen for the first time
/// and is up to date is no news.
fn news(before: &[Report], now: &[Report]) -> Vec<Report> {
    let is_news = |report: &&Report| {
        let earlier = before.iter().find(|earlier| earlier.container == report.container);
        earlier.map_or(report.verdict != Verdict::UpToDate, |earlier| {
            (earlier.verdict, earlier.reason) != (report.verdict, report.reason)
        })
    };
    now.iter().filter(is_news).cloned().collect()
}
