//! What containers and rounds show in the snapshot, the metrics and the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{QueuedRound, Reply, Round};
use crate::agent::{Agent, RoundError};
use crate::core::decide::observation::OpenUpdate;
use crate::core::decide::report::{Report, Verdict};
use crate::core::subject::Subject;
use crate::core::update::event::Event;
use crate::host::Host as _;
use crate::ports::Ports;

impl<P: Ports> Agent<P> {
    /// Adds these reports to a round and to the snapshot. Nothing is published if nothing has
    /// changed.
    pub(in crate::agent) fn show(&self, round: &mut Round, reports: &[Report]) {
        let names: BTreeSet<_> = reports.iter().map(|report| report.subject.clone()).collect();
        let is_meant = |report: &Report| names.contains(&report.subject);
        let own = std::mem::take(&mut round.end.reports);
        let known: BTreeSet<_> = own.iter().map(|report| &report.subject).collect();
        let is_first = |report: &&Report| is_meant(report) && !known.contains(&report.subject);
        let earlier = Arc::clone(&self.snapshot.borrow());
        round.before.extend(earlier.reports.iter().filter(is_first).cloned());
        self.snapshot.send_if_modified(|snapshot| {
            let shown = snapshot.reports.iter().filter(|report| !is_meant(report));
            let mut shown: Vec<_> = shown.chain(reports).cloned().collect();
            shown.sort_by(|a, b| a.subject.cmp(&b.subject));
            let is_news = shown != snapshot.reports;
            if is_news {
                Arc::make_mut(snapshot).reports = shown;
            }
            is_news
        });
        let own = own.iter().filter(|report| !is_meant(report)).cloned();
        round.end.reports = own.chain(reports.iter().cloned()).collect();
    }

    /// Removes containers from the snapshot that are not watched any more. A container that is
    /// being replaced stays, although no container has its name for a moment.
    pub(in crate::agent) fn forget_removed(&mut self, watched: &BTreeSet<String>) {
        let at_work = self.names_at_work();
        let is_there = |name: &String| {
            watched.contains(name) || at_work.contains(name) || self.open.contains_key(name)
        };
        let touched = std::mem::take(&mut self.touched);
        self.touched = touched.into_iter().filter(|(name, _)| is_there(name)).collect();
        self.snapshot.send_if_modified(|snapshot| {
            let is_shown = |report: &Report| match report.subject.service_name() {
                Some(service) => self.swarm.is_watched(service),
                None => is_there(&report.subject.name),
            };
            let are_all = snapshot.reports.iter().all(is_shown);
            if !are_all {
                Arc::make_mut(snapshot).reports.retain(is_shown);
            }
            !are_all
        });
    }

    /// Publishes the updates that can be neither finished nor undone, even if no container, or no
    /// watched one, has the name any more.
    pub(in crate::agent) fn show_stuck(&self, open: &BTreeMap<String, OpenUpdate>) {
        let those = |is_meant: fn(&OpenUpdate) -> bool| {
            let meant = open.iter().filter(|(_, open)| is_meant(open));
            meant.map(|(container, _)| Subject::container(container)).collect::<Vec<_>>()
        };
        let mut stuck = those(|open| matches!(open, OpenUpdate::Stuck(_) | OpenUpdate::Down(_)));
        stuck.extend(self.swarm.stuck());
        let down = those(|open| matches!(open, OpenUpdate::Down(_)));
        self.publish(|snapshot| (snapshot.stuck, snapshot.down) = (stuck, down));
    }

    /// Publishes the updates in flight, and the step of each.
    pub(in crate::agent) fn show_in_flight(&self) {
        let mut shown = self.updates.shown();
        shown.extend(self.swarm.shown());
        if self.snapshot.borrow().in_flight != shown {
            self.publish(|snapshot| snapshot.in_flight = shown);
        }
    }

    /// A round could not run at all.
    pub(in crate::agent) fn could_not_run(&self, order: QueuedRound, error: RoundError) {
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

    /// Publishes the end of a round in the snapshot, the metrics and the log.
    pub(in crate::agent) fn tell(&mut self, round: &Round) {
        let took = round.order.begun.elapsed();
        let end = &round.end;
        // A round that began before another ended round has nothing newer to say.
        let is_latest = self.latest.is_none_or(|latest| latest <= round.order.begun);
        self.latest = self.latest.max(Some(round.order.begun));
        let succeeded = round.has_succeeded(&self.snapshot.borrow().reports);
        self.rounds_heard.round(succeeded, took);
        let news = news(&round.before, &end.reports);
        let host = self.context.ports.host();
        let free = host.least_free_bytes(&self.image_directories);
        self.publish(|snapshot| {
            snapshot.free_bytes = free;
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

    /// Publishes how many digests are refused, by subject.
    pub(in crate::agent) fn show_refused(&self) {
        let memory = self.context.ports.state().memory().unwrap_or_default();
        let count = |(subject, refusals): (&Subject, &Vec<_>)| (subject.clone(), refusals.len());
        let refused: BTreeMap<_, _> = memory.refused.iter().map(count).collect();
        if self.snapshot.borrow().refused != refused {
            self.publish(|snapshot| snapshot.refused = refused);
        }
    }
}

/// The reports that differ from before. A container that is seen for the first time and is up to
/// date is not news.
fn news(before: &[Report], now: &[Report]) -> Vec<Report> {
    let is_news = |report: &&Report| {
        let earlier = before.iter().find(|earlier| earlier.subject == report.subject);
        earlier.map_or(report.verdict != Verdict::UpToDate, |earlier| {
            (earlier.verdict, earlier.reason) != (report.verdict, report.reason)
        })
    };
    now.iter().filter(is_news).cloned().collect()
}
