//! Whether a group can be updated now: it waits while one of its members cannot.

use crate::core::decide::reason::Reason;
use crate::core::decide::{Decision, No};

/// What is decided about one member for itself.
#[derive(Debug, Clone, Copy)]
pub struct Decided<'a> {
    /// The name of its container.
    pub name: &'a str,
    pub decision: &'a Decision,
}

/// Whether a member is updated.
#[must_use]
pub const fn acts(decision: &Decision) -> bool {
    matches!(decision, Decision::Update(_))
}

/// Why the members of a group that could be updated wait: for another member, which the detail
/// names. `unseen` are members that this look has not decided about.
#[must_use]
pub fn waits(members: &[Decided<'_>], unseen: &[String]) -> Option<No> {
    if let Some(name) = unseen.first() {
        let detail = format!("waits for {name}, which is being checked or updated");
        return Some(No::new(Reason::GroupIncomplete, detail));
    }
    let mut held = members.iter().filter_map(|member| Some((member.name, obstacle(member)?)));
    let (name, no) = held.next()?;
    Some(No::group_waits_for(name, no))
}

/// What keeps a member from being updated together with the others.
const fn obstacle<'a>(member: &Decided<'a>) -> Option<&'a No> {
    match member.decision {
        Decision::No(no) if !stays_as_it_is(no.reason) => Some(no),
        Decision::Fetch(fetch) => Some(&fetch.waits),
        _ => None,
    }
}

/// Whether a member with this reason is never updated by the agent, so that nobody waits for it.
const fn stays_as_it_is(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::PinnedByDigest
            | Reason::BuiltLocally
            | Reason::PushedOnly
            | Reason::NotifyOnly
            | Reason::OneOff
            | Reason::SwarmTask
            | Reason::ManagedElsewhere
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::decide::tests::plan;

    fn no(reason: Reason, detail: &str) -> Decision {
        Decision::No(No::new(reason, detail))
    }

    fn waiting(members: &[(&str, Decision)], unseen: &[&str]) -> Option<String> {
        let members: Vec<_> =
            members.iter().map(|(name, decision)| Decided { name, decision }).collect();
        let unseen: Vec<_> = unseen.iter().map(|name| (*name).to_owned()).collect();
        waits(&members, &unseen).map(|no| {
            assert_eq!(no.reason, Reason::GroupIncomplete);
            no.detail
        })
    }

    #[test]
    fn a_group_waits_for_the_member_that_cannot_be_updated() {
        let update = || ("api", Decision::Update(Box::new(plan())));
        assert_eq!(waiting(&[update(), ("db", Decision::UpToDate)], &[]), None);
        let refused = || ("web", no(Reason::RefusedDigest, "sha256:1 failed"));
        assert_eq!(
            waiting(&[update(), refused()], &[]).as_deref(),
            Some("waits for web: refused_digest (sha256:1 failed)")
        );
        for reason in [
            Reason::NotRunning,
            Reason::OutsideWindow,
            Reason::RegistryUnreachable,
            Reason::BadLabel,
            Reason::UpdateFailing,
            Reason::WaitingForCanaries,
        ] {
            let expected = format!("waits for db: {reason}");
            assert_eq!(waiting(&[update(), ("db", no(reason, ""))], &[]), Some(expected));
        }
        assert_eq!(
            waiting(&[update()], &["db"]).as_deref(),
            Some("waits for db, which is being checked or updated")
        );
    }

    #[test]
    fn nobody_waits_for_a_member_that_is_never_updated() {
        for reason in [Reason::PinnedByDigest, Reason::BuiltLocally, Reason::NotifyOnly] {
            let db = ("db", no(reason, "its own matter"));
            assert_eq!(waiting(&[("api", Decision::Update(Box::new(plan()))), db], &[]), None);
        }
    }
}
