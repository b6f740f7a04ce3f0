//! Answers a check from the snapshot, without asking any registry.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::agent::{Agent, RoundEnd, RoundRequest};
use crate::core::decide::report::Report;
use crate::core::decide::snapshot::Snapshot;
use crate::core::policy::own_labels::IgnoredLabels;
use crate::core::subject::Subject;
use crate::host::Host;
use crate::ports::Ports;

impl RoundEnd {
    /// The results of the last interval, if the request accepts them and they contain all of its
    /// containers.
    #[must_use]
    pub fn known(request: &RoundRequest, snapshot: &Snapshot, now: DateTime<Utc>) -> Option<Self> {
        if !request.dry_run || !request.may_be_known || request.force {
            return None;
        }
        let checked_at = snapshot.last_check?;
        snapshot.next_check.filter(|next| *next > now)?;
        let names = request.names.as_ref();
        let is_meant = |report: &&Report| names.is_none_or(|all| is_named(all, &report.subject));
        let reports: Vec<_> = snapshot.reports.iter().filter(is_meant).cloned().collect();
        let is_complete = names.is_none_or(|names| names.len() == reports.len());
        let quotas = snapshot.quotas.clone();
        let of_request = |it: &&IgnoredLabels| names.is_none_or(|all| all.contains(&it.container));
        let ignored_labels = snapshot.ignored_labels.iter().filter(of_request).cloned().collect();
        is_complete.then(|| Self { checked_at, reports, quotas, ignored_labels, ..Self::default() })
    }
}

/// Whether a name from a person means this: `web`, or `service/web`.
fn is_named(names: &BTreeSet<String>, subject: &Subject) -> bool {
    names.contains(&subject.name) || names.contains(&subject.to_text())
}

impl<P: Ports> Agent<P> {
    /// The results of the snapshot, unless a container was created or removed since: a person who
    /// has just started one wants to see it. This costs one question to the Engine. A container
    /// that is being replaced counts as present, although no container has its name for a moment.
    pub(in crate::agent) async fn known(&mut self, request: &RoundRequest) -> Option<RoundEnd> {
        let snapshot = self.snapshot.borrow().clone();
        let known = RoundEnd::known(request, &snapshot, self.context.ports.host().now())?;
        let mut watched = self.watched().await.ok()?;
        let services = self.follow_services().await;
        watched.extend(services.iter().map(|it| Subject::service(it.name()).to_text()));
        let reported: BTreeSet<_> =
            snapshot.reports.iter().map(|report| report.subject.to_text()).collect();
        // The same is true for a service that an update has left without a container of its name.
        let absent = self.names_at_work().into_iter().chain(self.open.keys().cloned());
        watched.extend(absent.filter(|name| reported.contains(name)));
        (reported == watched).then_some(known)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn snapshot() -> Snapshot {
        let now = DateTime::UNIX_EPOCH;
        let next_check = Some(now + TimeDelta::seconds(1));
        Snapshot { last_check: Some(now), next_check, ..Snapshot::default() }
    }

    fn check() -> RoundRequest {
        RoundRequest { dry_run: true, may_be_known: true, ..RoundRequest::default() }
    }

    #[test]
    fn what_was_found_counts_until_the_next_look_is_due() {
        let now = DateTime::UNIX_EPOCH;
        let end = RoundEnd::known(&check(), &snapshot(), now).expect("known");
        assert_eq!(end.checked_at, now);
        assert!(RoundEnd::known(&check(), &snapshot(), now + TimeDelta::seconds(1)).is_none());
        assert!(RoundEnd::known(&check(), &Snapshot::default(), now).is_none());
    }

    #[test]
    fn only_a_check_that_says_so_is_content_with_it() {
        let now = DateTime::UNIX_EPOCH;
        let names = Some(BTreeSet::from(["till".to_owned()]));
        for request in [
            RoundRequest { may_be_known: false, ..check() },
            RoundRequest { dry_run: false, ..check() },
            RoundRequest { force: true, ..check() },
            RoundRequest { names, ..check() },
        ] {
            assert!(RoundEnd::known(&request, &snapshot(), now).is_none(), "{request:?}");
        }
    }
}
