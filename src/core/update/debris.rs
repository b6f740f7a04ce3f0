//! What to do with a container that bears one of our names although no journal tells of it: the
//! state directory was lost, or another agent works here.

use chrono::{DateTime, TimeDelta, Utc};

use crate::core::docker::names::{NEW_PREFIX, OLD_PREFIX};
use crate::core::recreate::RestartPolicy;

/// What is known of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its ID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether its process lives.
    pub running: bool,
    /// Whether it was ever started.
    pub started: bool,
    /// Its restart policy.
    pub policy: RestartPolicy,
    /// The latest moment at which anything happened to it.
    pub changed_at: Option<DateTime<Utc>>,
    /// What it hangs on: IDs and names of other containers.
    pub anchors: Vec<String>,
}

/// Everything that stands for one service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Party {
    /// The container that bears the service's name.
    pub holder: Option<Found>,
    /// The one that bears `pilotfish-old-NAME`.
    pub old: Option<Found>,
    /// The one that bears `pilotfish-new-NAME`.
    pub new: Option<Found>,
}

impl Party {
    fn members(&self) -> impl Iterator<Item = &Found> {
        [&self.holder, &self.old, &self.new].into_iter().flatten()
    }

    /// Whether one of these containers hangs on one of the others.
    #[must_use]
    pub fn hangs_on(&self, other: &Self) -> bool {
        let mut anchors = self.members().flat_map(|found| &found.anchors);
        anchors.any(|anchor| {
            other.members().any(|it| it.name == *anchor || it.id.starts_with(anchor.as_str()))
        })
    }

    fn has_an_old_one(&self) -> bool {
        self.old.is_some()
    }
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// Something happened here just now: it may be another agent's update.
    Wait,
    /// A person has to look.
    Leave,
    /// Remove a new container that never served.
    RemoveNew,
    /// The same, and the holder, which had been stopped for it, gets its life back.
    Resume,
    /// The holder serves, so the old one goes; a holder that was not committed gets the policy.
    RemoveOld {
        /// The policy for the holder, where it has ours.
        policy: Option<RestartPolicy>,
    },
    /// The old one gets its name and its life back; a holder that was not committed goes.
    RestoreOld,
    /// Nothing else is left: the new one gets the name, and is started.
    AdoptNew,
}

/// The service that a container of ours stands for.
#[must_use]
pub fn service(name: &str) -> Option<&str> {
    name.strip_prefix(OLD_PREFIX).or_else(|| name.strip_prefix(NEW_PREFIX))
}

/// What to do with the containers of a service for which no journal is open.
///
/// Whether an update had been committed shows in the restart policies: until then the holder has
/// `no` and the parked one may be started at boot, afterwards it is the other way round.
#[must_use]
pub fn remedy(party: &Party, now: DateTime<Utc>, settle: TimeDelta) -> Remedy {
    let everybody = [&party.holder, &party.old, &party.new];
    let latest = everybody.iter().filter_map(|found| found.as_ref()?.changed_at).max();
    if latest.is_some_and(|latest| now - latest < settle && latest <= now) {
        return Remedy::Wait;
    }
    match (&party.old, &party.holder, &party.new) {
        (Some(_), None, _) => Remedy::RestoreOld,
        (Some(old), Some(holder), _) => with_old(old, holder),
        // A switch that was cut short between its stops and its renames: the holder is the old one,
        // armed to be started at boot.
        (None, Some(holder), Some(new)) if !holder.running && !new.started => {
            if holder.policy.is_no() { Remedy::RemoveNew } else { Remedy::Resume }
        }
        (None, Some(_), Some(new)) if !new.running => Remedy::RemoveNew,
        (None, None, Some(_)) => Remedy::AdoptNew,
        (None, _, _) => Remedy::Leave,
    }
}

fn with_old(old: &Found, holder: &Found) -> Remedy {
    let uncommitted = holder.policy.is_no() && !old.policy.is_no();
    match (old.running, holder.running) {
        (true, _) if uncommitted => Remedy::RestoreOld,
        (_, true) => {
            let policy = uncommitted.then(|| old.policy.clone());
            Remedy::RemoveOld { policy }
        }
        (_, false) if uncommitted => Remedy::RestoreOld,
        (true, false) => Remedy::RestoreOld,
        // Both are down and nothing tells why: somebody may have stopped the service on purpose.
        (false, false) => Remedy::Leave,
    }
}

/// The remedies of services that hang on each other, after each was found for itself: all of them
/// get their old containers back, or none. Once an old one is removed, all are committed.
#[must_use]
pub fn together(parties: &[&Party], remedies: Vec<Remedy>) -> Vec<Remedy> {
    let any = |remedy: &Remedy| remedies.contains(remedy);
    if any(&Remedy::Wait) {
        return vec![Remedy::Wait; remedies.len()];
    }
    let can_go_back = |(party, remedy): (&&Party, &Remedy)| {
        party.has_an_old_one() || matches!(remedy, Remedy::RemoveNew | Remedy::Resume)
    };
    if !any(&Remedy::RestoreOld) || !parties.iter().zip(&remedies).all(can_go_back) {
        return remedies;
    }
    let back = |(party, remedy): (&&Party, Remedy)| match remedy {
        Remedy::RemoveNew => Remedy::Resume,
        Remedy::RemoveOld { .. } if party.has_an_old_one() => Remedy::RestoreOld,
        remedy => remedy,
    };
    parties.iter().zip(remedies.clone()).map(back).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: TimeDelta = TimeDelta::hours(1);

    fn found(running: bool, policy: &str) -> Option<Found> {
        Some(Found {
            id: "1".into(),
            name: "x".into(),
            running,
            started: true,
            policy: RestartPolicy::named(policy),
            changed_at: Some(DateTime::UNIX_EPOCH),
            anchors: Vec::new(),
        })
    }

    #[test]
    fn services_that_hang_on_each_other_go_back_together_or_not_at_all() {
        let parked = Party { old: found(false, "always"), ..Party::default() };
        let committed = Party { holder: found(true, "always"), ..Party::default() };
        let forward = || Remedy::RemoveOld { policy: None };
        let rows = [
            (
                &parked,
                forward(),
                &parked,
                Remedy::RestoreOld,
                [Remedy::RestoreOld, Remedy::RestoreOld],
            ),
            (
                &parked,
                Remedy::RestoreOld,
                &committed,
                Remedy::RemoveNew,
                [Remedy::RestoreOld, Remedy::Resume],
            ),
            (
                &parked,
                Remedy::RestoreOld,
                &committed,
                Remedy::Leave,
                [Remedy::RestoreOld, Remedy::Leave],
            ),
            (&parked, forward(), &committed, Remedy::Leave, [forward(), Remedy::Leave]),
            (&parked, Remedy::Wait, &parked, Remedy::RestoreOld, [Remedy::Wait, Remedy::Wait]),
        ];
        for (one, first, other, second, expected) in rows {
            assert_eq!(together(&[one, other], vec![first, second]), expected);
        }
    }

    #[test]
    fn a_tie_is_found_by_name_and_by_id() {
        let with = |anchors: &[&str]| {
            let mut holder = found(true, "always");
            if let Some(holder) = &mut holder {
                holder.anchors = anchors.iter().map(|anchor| (*anchor).to_owned()).collect();
            }
            Party { holder, ..Party::default() }
        };
        let other = Party { holder: found(true, "no"), ..Party::default() };
        assert!(with(&["x"]).hangs_on(&other));
        assert!(with(&["y", "1"]).hangs_on(&other));
        assert!(!with(&["y"]).hangs_on(&other));
    }

    fn check(holder: Option<Found>, old: Option<Found>, new: Option<Found>) -> Remedy {
        let now = DateTime::UNIX_EPOCH + HOUR + HOUR;
        remedy(&Party { holder, old, new }, now, HOUR)
    }

    #[test]
    fn a_parked_one_without_a_holder_is_the_service() {
        assert_eq!(check(None, found(false, "always"), None), Remedy::RestoreOld);
        assert_eq!(check(None, found(false, "always"), found(false, "no")), Remedy::RestoreOld);
    }

    #[test]
    fn a_parked_one_beside_a_serving_holder_is_debris() {
        let committed = check(found(true, "always"), found(false, "no"), None);
        assert_eq!(committed, Remedy::RemoveOld { policy: None });
        let uncommitted = check(found(true, "no"), found(false, "always"), None);
        let policy = Some(RestartPolicy::named("always"));
        assert_eq!(uncommitted, Remedy::RemoveOld { policy });
    }

    #[test]
    fn an_unproven_holder_gives_way_to_the_proven_one() {
        assert_eq!(check(found(false, "no"), found(false, "always"), None), Remedy::RestoreOld);
        assert_eq!(check(found(true, "no"), found(true, "always"), None), Remedy::RestoreOld);
    }

    #[test]
    fn a_service_that_somebody_stopped_stays_stopped() {
        assert_eq!(check(found(false, "always"), found(false, "no"), None), Remedy::Leave);
    }

    #[test]
    fn a_new_one_that_never_served_is_debris() {
        assert_eq!(check(found(true, "always"), None, found(false, "no")), Remedy::RemoveNew);
        assert_eq!(check(None, None, found(false, "no")), Remedy::AdoptNew);
        let mut fresh = found(false, "no");
        if let Some(fresh) = &mut fresh {
            fresh.started = false;
        }
        assert_eq!(check(found(false, "always"), None, fresh), Remedy::Resume);
    }

    #[test]
    fn what_changed_just_now_may_be_somebody_elses() {
        let party = Party { old: found(false, "always"), ..Party::default() };
        let now = DateTime::UNIX_EPOCH + TimeDelta::minutes(5);
        assert_eq!(remedy(&party, now, HOUR), Remedy::Wait);
    }

    #[test]
    fn a_clock_that_starts_in_1970_does_not_wait_for_decades() {
        let mut old = found(false, "always");
        if let Some(old) = &mut old {
            old.changed_at = Some(DateTime::UNIX_EPOCH + TimeDelta::days(20_000));
        }
        let party = Party { old, ..Party::default() };
        assert_eq!(remedy(&party, DateTime::UNIX_EPOCH, HOUR), Remedy::RestoreOld);
    }
}
