//! What to do with containers that have our names although there is no journal: the state directory
//! was lost, or a power cut restored removed containers.
//!
//! A name is no proof, because a person can give it too. A container is touched only if all of this
//! holds: the operator opted it in; it and its partner are the same except for what an update
//! changes; nothing has happened to them for as long as an update takes, as seen by this agent; and
//! the container that is to stay has proved itself by its own health policy. No volume is ever
//! removed here.

use std::time::Duration;

use crate::core::docker::names::{NEW_PREFIX, OLD_PREFIX};
use crate::core::recreate::RestartPolicy;

/// Facts about one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundContainer {
    pub id: String,
    pub name: String,
    /// Whether its process runs.
    pub running: bool,
    /// Whether it was ever started.
    pub started: bool,
    pub policy: RestartPolicy,
    /// How long it may take to stop.
    pub stop_timeout: Duration,
    /// The containers it depends on: their IDs and names.
    pub anchors: Vec<String>,
}

/// The health of the container that has the service's name, while it was watched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Health {
    /// It was healthy by its own health policy, for the whole time that this policy asks for.
    Healthy,
    /// It was not healthy.
    Unhealthy,
    /// Unknown: its HEALTHCHECK has not run since the watch began, or the watch was too short.
    #[default]
    Unknown,
}

/// All containers of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrphanGroup {
    /// The container that has the service's name.
    pub holder: Option<FoundContainer>,
    /// The container named `pilotfish-old-NAME`.
    pub old: Option<FoundContainer>,
    /// The container named `pilotfish-new-NAME`.
    pub new: Option<FoundContainer>,
    /// Whether they are shown to be the containers of one update; if not, why not.
    pub proof: Result<(), String>,
    /// Whether nothing has happened to them for as long as an update takes.
    pub has_settled: bool,
    /// The health of the holder during that time.
    pub health: Health,
    /// Whether a label lets the new container run beside the holder.
    pub starts_first: bool,
}

impl Default for OrphanGroup {
    fn default() -> Self {
        let (holder, old, new) = (None, None, None);
        Self {
            holder,
            old,
            new,
            proof: Ok(()),
            has_settled: false,
            health: Health::default(),
            starts_first: false,
        }
    }
}

impl OrphanGroup {
    fn members(&self) -> impl Iterator<Item = &FoundContainer> {
        [&self.holder, &self.old, &self.new].into_iter().flatten()
    }

    /// Whether one of these containers depends on one of the others.
    #[must_use]
    pub fn hangs_on(&self, other: &Self) -> bool {
        let mut anchors = self.members().flat_map(|found| &found.anchors);
        anchors.any(|anchor| {
            other.members().any(|it| it.name == *anchor || it.id.starts_with(anchor.as_str()))
        })
    }

    fn is_a_trial(&self, holder: &FoundContainer, new: &FoundContainer) -> bool {
        self.starts_first && holder.running && new.running && new.policy.is_no()
    }

    fn has_old_container(&self) -> bool {
        self.old.is_some()
    }
}

/// What to do with the containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrphanAction {
    /// Something has just happened to them, or the health of the container that is to stay is not
    /// known yet.
    Wait,
    /// Nothing shows that these are the containers of an update: they are left alone.
    Unproven(String),
    /// They are those of an update, but a person has to look at them.
    Leave(&'static str),
    /// Remove a new container that never served.
    RemoveNew,
    /// The same, and start the holder, which was stopped for it.
    Resume,
    /// Remove the old container, because the holder has proved itself. A holder that was not
    /// committed gets the policy.
    RemoveOld {
        /// The policy for the holder, if it has none of its own yet.
        policy: Option<RestartPolicy>,
    },
    /// Rename the old container back and start it; remove a holder that was not committed.
    RestoreOld,
}

/// The service that a container with one of our names belongs to.
#[must_use]
pub fn service(name: &str) -> Option<&str> {
    name.strip_prefix(OLD_PREFIX).or_else(|| name.strip_prefix(NEW_PREFIX))
}

/// What to do with the containers of a service without a journal.
///
/// The restart policies show whether an update was committed: before the commit the holder has `no`
/// and the parked container is started at boot; after the commit it is the other way round.
#[must_use]
pub fn action(group: &OrphanGroup) -> OrphanAction {
    if let Err(why) = &group.proof {
        return OrphanAction::Unproven(why.clone());
    }
    if !group.has_settled {
        return OrphanAction::Wait;
    }
    match (&group.old, &group.holder, &group.new) {
        (Some(_), _, Some(new)) if new.running => {
            OrphanAction::Leave("the new one runs under our name")
        }
        (Some(_), None, _) => OrphanAction::RestoreOld,
        (Some(old), Some(holder), _) => with_old(old, holder, group.health),
        // The holder has served all the time, and the new one was on trial.
        (None, Some(holder), Some(new)) if group.is_a_trial(holder, new) => OrphanAction::RemoveNew,
        // Only an update creates a container that the Engine must not start.
        (None, Some(_), Some(new)) if new.running || !new.policy.is_no() => {
            OrphanAction::Leave("the new one runs, or may be started by the Engine")
        }
        // A switch that was interrupted between its stops and its renames: the holder is the old
        // container, with a policy that starts it at boot.
        (None, Some(holder), Some(new)) if !holder.running && !new.started => {
            // No update sets `on-failure`: the holder may be a job that has ended.
            let is_armed = !matches!(holder.policy.name.as_str(), "" | "no" | "on-failure");
            if is_armed { OrphanAction::Resume } else { OrphanAction::RemoveNew }
        }
        (None, Some(_), Some(_)) => OrphanAction::RemoveNew,
        (None, None, _) | (None, _, None) => OrphanAction::Leave("there is nothing to go back to"),
    }
}

fn with_old(old: &FoundContainer, holder: &FoundContainer, health: Health) -> OrphanAction {
    let is_uncommitted = holder.policy.is_no() && !old.policy.is_no();
    match (old.running, holder.running, health) {
        (true, _, _) if is_uncommitted => OrphanAction::RestoreOld,
        (true, ..) => OrphanAction::Leave("the old one runs, and it is unknown why"),
        (false, true, Health::Healthy) => {
            let policy = is_uncommitted.then(|| old.policy.clone());
            OrphanAction::RemoveOld { policy }
        }
        (false, true, Health::Unknown) => OrphanAction::Wait,
        (false, _, _) if is_uncommitted => OrphanAction::RestoreOld,
        (false, true, Health::Unhealthy) => {
            OrphanAction::Leave("the container with the service's name is not healthy")
        }
        // A person may have stopped the service on purpose.
        (false, false, _) => OrphanAction::Leave("both are down, and it is unknown why"),
    }
}

/// The actions for services that depend on each other, from the action for each: all of them get
/// their old containers back, or none. Once one old container is removed, all are committed.
#[must_use]
pub fn together(groups: &[&OrphanGroup], actions: Vec<OrphanAction>) -> Vec<OrphanAction> {
    let any = |action: &OrphanAction| actions.contains(action);
    if any(&OrphanAction::Wait) {
        return vec![OrphanAction::Wait; actions.len()];
    }
    // If one were rolled back alone, the one that stays would lose the container it depends on.
    if actions.iter().any(|action| matches!(action, OrphanAction::Unproven(_))) {
        let stays = |action| match action {
            unproven @ OrphanAction::Unproven(_) => unproven,
            _ => OrphanAction::Leave("nothing shows who created a container that depends on it"),
        };
        return actions.into_iter().map(stays).collect();
    }
    let can_go_back = |(group, action): (&&OrphanGroup, &OrphanAction)| {
        group.has_old_container()
            || matches!(action, OrphanAction::RemoveNew | OrphanAction::Resume)
    };
    if !any(&OrphanAction::RestoreOld) || !groups.iter().zip(&actions).all(can_go_back) {
        return actions;
    }
    let back = |(group, action): (&&OrphanGroup, OrphanAction)| match action {
        OrphanAction::RemoveNew => OrphanAction::Resume,
        OrphanAction::RemoveOld { .. } if group.has_old_container() => OrphanAction::RestoreOld,
        action => action,
    };
    groups.iter().zip(actions.clone()).map(back).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(running: bool, policy: &str) -> Option<FoundContainer> {
        Some(FoundContainer {
            id: "1".into(),
            name: "x".into(),
            running,
            started: true,
            policy: RestartPolicy::named(policy),
            stop_timeout: Duration::from_secs(10),
            anchors: Vec::new(),
        })
    }

    fn fresh(policy: &str) -> Option<FoundContainer> {
        found(false, policy).map(|found| FoundContainer { started: false, ..found })
    }

    #[test]
    fn services_that_depend_on_each_other_are_rolled_back_together_or_not_at_all() {
        use OrphanAction::{Leave, RemoveNew, RestoreOld, Resume, Unproven, Wait};
        let parked = OrphanGroup { old: found(false, "always"), ..OrphanGroup::default() };
        let committed = OrphanGroup { holder: found(true, "always"), ..OrphanGroup::default() };
        let forward = || OrphanAction::RemoveOld { policy: None };
        let strange = || Unproven("Config.Env".into());
        let unclear = Leave("nothing shows who created a container that depends on it");
        let rows = [
            (&parked, forward(), &parked, RestoreOld, [RestoreOld, RestoreOld]),
            (&parked, RestoreOld, &committed, RemoveNew, [RestoreOld, Resume]),
            (&parked, RestoreOld, &committed, Leave(""), [RestoreOld, Leave("")]),
            (&parked, forward(), &committed, Leave(""), [forward(), Leave("")]),
            (&parked, Wait, &parked, RestoreOld, [Wait, Wait]),
            (&parked, RestoreOld, &parked, strange(), [unclear, strange()]),
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
            OrphanGroup { holder, ..OrphanGroup::default() }
        };
        let other = OrphanGroup { holder: found(true, "no"), ..OrphanGroup::default() };
        assert!(with(&["x"]).hangs_on(&other));
        assert!(with(&["y", "1"]).hangs_on(&other));
        assert!(!with(&["y"]).hangs_on(&other));
    }

    fn group(
        holder: Option<FoundContainer>,
        old: Option<FoundContainer>,
        new: Option<FoundContainer>,
    ) -> OrphanGroup {
        let (has_settled, health) = (true, Health::Healthy);
        OrphanGroup { holder, old, new, has_settled, health, ..OrphanGroup::default() }
    }

    fn check(
        holder: Option<FoundContainer>,
        old: Option<FoundContainer>,
        new: Option<FoundContainer>,
    ) -> OrphanAction {
        action(&group(holder, old, new))
    }

    #[test]
    fn a_parked_one_without_a_holder_is_the_service() {
        assert_eq!(check(None, found(false, "always"), None), OrphanAction::RestoreOld);
        assert_eq!(
            check(None, found(false, "always"), found(false, "no")),
            OrphanAction::RestoreOld
        );
    }

    #[test]
    fn a_parked_container_beside_a_proven_holder_is_removed() {
        let committed = check(found(true, "always"), found(false, "no"), None);
        assert_eq!(committed, OrphanAction::RemoveOld { policy: None });
        let uncommitted = check(found(true, "no"), found(false, "always"), None);
        let policy = Some(RestartPolicy::named("always"));
        assert_eq!(uncommitted, OrphanAction::RemoveOld { policy });
    }

    #[test]
    fn an_unproven_holder_gives_way_to_the_proven_one() {
        assert_eq!(
            check(found(false, "no"), found(false, "always"), None),
            OrphanAction::RestoreOld
        );
        assert_eq!(check(found(true, "no"), found(true, "always"), None), OrphanAction::RestoreOld);
        let unwell = OrphanGroup {
            health: Health::Unhealthy,
            ..group(found(true, "no"), found(false, "always"), None)
        };
        assert_eq!(action(&unwell), OrphanAction::RestoreOld);
    }

    #[test]
    fn what_has_not_proved_itself_is_never_committed() {
        let of = |health, holder, old| {
            action(&OrphanGroup { health, ..group(found(true, holder), found(false, old), None) })
        };
        assert_eq!(of(Health::Unknown, "no", "always"), OrphanAction::Wait);
        assert_eq!(of(Health::Unknown, "always", "no"), OrphanAction::Wait);
        assert!(matches!(of(Health::Unhealthy, "always", "no"), OrphanAction::Leave(_)));
    }

    #[test]
    fn a_service_that_a_person_stopped_stays_stopped() {
        let is_left = |holder, old, new| matches!(check(holder, old, new), OrphanAction::Leave(_));
        assert!(is_left(found(false, "always"), found(false, "no"), None));
        assert!(is_left(found(false, "always"), found(true, "no"), None));
        assert!(is_left(found(true, "always"), found(true, "no"), None));
    }

    #[test]
    fn a_new_container_that_never_served_is_removed() {
        assert_eq!(check(found(true, "always"), None, found(false, "no")), OrphanAction::RemoveNew);
        assert_eq!(check(found(false, "always"), None, fresh("no")), OrphanAction::Resume);
        for new in [found(true, "no"), found(false, "always")] {
            assert!(matches!(check(found(true, "always"), None, new), OrphanAction::Leave(_)));
        }
        assert!(matches!(check(None, None, found(false, "no")), OrphanAction::Leave(_)));
    }

    #[test]
    fn a_new_container_on_trial_beside_the_holder_is_removed_if_a_label_allows_two() {
        let of = |starts_first, holder, new| {
            action(&OrphanGroup { starts_first, ..group(holder, None, new) })
        };
        let up = |policy| found(true, policy);
        assert_eq!(of(true, up("always"), up("no")), OrphanAction::RemoveNew);
        for (starts_first, holder, new) in [
            (false, up("always"), up("no")),
            (true, found(false, "always"), up("no")),
            (true, up("always"), up("always")),
        ] {
            assert!(matches!(of(starts_first, holder, new), OrphanAction::Leave(_)));
        }
    }

    #[test]
    fn names_are_no_proof() {
        let any = [None, found(true, "always"), found(false, "no"), fresh("no")];
        for holder in &any {
            for old in &any {
                for new in &any {
                    let group = group(holder.clone(), old.clone(), new.clone());
                    let strange = OrphanGroup { proof: Err("Config.Env".into()), ..group };
                    assert_eq!(action(&strange), OrphanAction::Unproven("Config.Env".into()));
                }
            }
        }
    }

    #[test]
    fn containers_that_changed_just_now_are_left_alone() {
        let settled = group(None, found(false, "always"), None);
        assert_eq!(action(&OrphanGroup { has_settled: false, ..settled }), OrphanAction::Wait);
    }
}
