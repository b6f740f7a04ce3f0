//! Which verdict a device tells after its own update.

use crate::core::docker::reference::{Digest, Reference};
use crate::core::fleet::message::verdict::FleetVerdict;
use crate::core::fleet::rollout::Rollout;
use crate::core::update::history::{Cause, Outcome};

/// What happens to the device's retained verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerdictChange {
    /// It stays as it is.
    Nothing,
    /// It is replaced.
    Publish(FleetVerdict),
    /// It is removed: what it says is no longer true, and the new result is of no use to others.
    Clear,
}

/// What a device tells after an update of a reference to a digest has ended. `told` is its verdict
/// for this reference that the broker has.
///
/// `ok` is told by canaries only. A failure is told by every device, but only if the cause blames
/// the image: a full disk, a registry, a power cut or a person say nothing about the image.
#[must_use]
pub fn change(
    rollout: &Rollout,
    reference: &Reference,
    digest: &Digest,
    (outcome, cause): (Outcome, Option<&Cause>),
    told: Option<&FleetVerdict>,
) -> VerdictChange {
    let verdict = |ok: bool, why: Option<&str>| {
        let (reference, digest) = (without_digest(reference), digest.clone());
        let verdict = FleetVerdict { reference, digest, ok, why: why.map(str::to_owned) };
        if told == Some(&verdict) {
            VerdictChange::Nothing
        } else {
            VerdictChange::Publish(verdict)
        }
    };
    let blame = cause.filter(|cause| cause.blames_image());
    match (outcome, blame) {
        (Outcome::Updated, _) if rollout.standing(digest).is_canary => verdict(true, None),
        (Outcome::Updated, _) if told.is_some() => VerdictChange::Clear,
        (Outcome::Updated, _) | (_, None) => VerdictChange::Nothing,
        (_, Some(cause)) => verdict(false, Some(&cause.detail)),
    }
}

/// A message names the tag alone.
fn without_digest(reference: &Reference) -> Reference {
    Reference { digest: None, ..reference.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::fleet::place::Roster;
    use crate::core::fleet::rollout::Patience;
    use crate::core::fleet::waves::Waves;

    #[test]
    fn only_a_canary_tells_success_and_only_the_image_is_blamed() {
        use Outcome::{Failed, Interrupted, RolledBack, Stuck, Updated};
        let reference: Reference = "shop/till:v1".parse().expect("a reference");
        let digest = Digest::of(b"image");
        let told = |ok: bool, why: Option<&str>| {
            let (reference, why) = (reference.clone(), why.map(str::to_owned));
            FleetVerdict { reference, digest: digest.clone(), ok, why }
        };
        let bad = || VerdictChange::Publish(told(false, Some("exited")));
        let good = || VerdictChange::Publish(told(true, None));
        let nothing = || VerdictChange::Nothing;
        let rows = [
            (Updated, None, None, good(), nothing()),
            (Updated, None, Some(told(true, None)), nothing(), VerdictChange::Clear),
            (Updated, None, Some(told(false, Some("exited"))), good(), VerdictChange::Clear),
            (RolledBack, Some(Cause::image("exited")), None, bad(), bad()),
            (Stuck, Some(Cause::image("exited")), None, bad(), bad()),
            (RolledBack, Some(Cause::surroundings("disk full")), None, nothing(), nothing()),
            (RolledBack, Some(Cause::person("rollback")), None, nothing(), nothing()),
            (Failed, Some(Cause::surroundings("registry")), None, nothing(), nothing()),
            (Interrupted, Some(Cause::interrupted("power")), None, nothing(), nothing()),
            (RolledBack, Some(Cause::damaged_copy("empty file")), None, nothing(), nothing()),
        ];
        let rollout = |index: u32| {
            let name = format!("pi-{index}").parse().expect("a name");
            let roster = Roster::new(10, name, None).expect("a roster");
            Rollout::new(roster, Waves::Canary, Patience::Never).expect("a rollout")
        };
        let rank = |index: &u32| rollout(*index).standing(&digest).place.rank;
        let canary = (0..10).find(|index| rank(index) == 0).expect("a canary");
        for (outcome, cause, told, of_canary, of_other) in rows {
            for (index, expected) in [(canary, of_canary), ((canary + 1) % 10, of_other)] {
                let (ended, told) = ((outcome, cause.as_ref()), told.as_ref());
                let found = change(&rollout(index), &reference, &digest, ended, told);
                assert_eq!(found, expected, "{outcome:?} {cause:?} {told:?} {index}");
            }
        }
    }
}
