//! What the snapshot shows of containers and of updates that no way could end.

use std::collections::{BTreeMap, BTreeSet};

use super::{Agent, Request};
use crate::core::decide::observation::OpenUpdate;
use crate::core::decide::report::Report;
use crate::world::Ports;

impl<P: Ports> Agent<P> {
    /// Shows how the containers of a request stand now.
    pub(super) fn show(&self, request: &Request, reports: &[Report]) {
        let refused = self.refused();
        self.publish(|snapshot| {
            merge(&mut snapshot.reports, request, reports);
            snapshot.refused = refused;
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

    /// Looks again at containers that a person has touched, so that nobody is shown how they stood
    /// before. This is no round: nothing is counted, and what goes wrong is left to the next one.
    pub(super) async fn look_again_at(&mut self, names: BTreeSet<String>) {
        let request = Request { names: Some(names), dry_run: true, ..Request::default() };
        if let Ok(end) = self.try_round(&request, None).await {
            self.show(&request, &end.reports);
        }
    }
}

/// The reports of a round that was about some containers replace only theirs.
fn merge(reports: &mut Vec<Report>, request: &Request, news: &[Report]) {
    match &request.names {
        Some(names) => reports.retain(|report| !names.contains(&report.container)),
        None => reports.retain(|report| request.except.contains(&report.container)),
    }
    reports.extend(news.iter().cloned());
    reports.sort_by(|a, b| a.container.cmp(&b.container));
}
