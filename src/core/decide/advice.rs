//! What the operator can do about each reason, in one line.

use super::reason::Reason;
use crate::core::fleet::turn::FleetHold;

/// One line for each reason. NAME stands for the container.
const ADVICE: [(Reason, &str); Reason::ALL.len()] = [
    (
        Reason::RefusedDigest,
        "this image failed before; push a fixed one, or `pilotfish allow NAME` to try it again",
    ),
    (Reason::OutsideWindow, "waits for its window; `pilotfish update --force NAME` does it now"),
    (
        Reason::PinnedByDigest,
        "name a tag instead: recreate the container, or deploy the service, from it; Pilotfish then follows this tag",
    ),
    (
        Reason::BuiltLocally,
        "if the registry's image is wanted, `docker pull` it and recreate the container; if it runs already, add the label pilotfish.origin=registry",
    ),
    (
        Reason::PushedOnly,
        "push the next image; `pilotfish rollback NAME` brings back the one before",
    ),
    (Reason::OneOff, "do nothing: it ends by itself, and Pilotfish updates its service"),
    (
        Reason::SwarmTask,
        "give the service the label pilotfish.enable=true, and run Pilotfish on a manager; or update it by hand with `docker service update --image`",
    ),
    (Reason::ManagedElsewhere, "update it with the program that manages it"),
    (Reason::NotifyOnly, "update it yourself, or remove the label pilotfish.mode=notify"),
    (Reason::NotRunning, "start the container; Pilotfish updates only running ones"),
    (Reason::HasDependents, "update them together by hand, or opt the dependents in as well"),
    (Reason::ProbeFailing, "fix pilotfish.health.probe: it must succeed on the running container"),
    (
        Reason::DeviceMissing,
        "plug the device in again, or recreate the container without it; NAME keeps running until then",
    ),
    (
        Reason::StartWouldFail,
        "put back what is missing, or recreate the container without it; NAME keeps running until then",
    ),
    (
        Reason::HeldByHook,
        "the container's own pre-update hook blocks the update; it runs again in the next round",
    ),
    (
        Reason::UpdateLocked,
        "wait until the container removes its lock; if the lock was forgotten, remove it yourself",
    ),
    (
        Reason::GroupIncomplete,
        "fix what the detail names; the whole group is then updated together",
    ),
    (
        Reason::MemberOfGroup,
        "remove the label pilotfish.group from NAME, or let the group follow a registry",
    ),
    (
        Reason::AnotherAgent,
        "stop one of the two agents, or rename or remove the container that the detail names",
    ),
    (
        Reason::Stuck,
        "fix what the detail names; Pilotfish retries automatically, and at once with `pilotfish recover`",
    ),
    (
        Reason::UpdateFailing,
        "fix the cause; Pilotfish retries automatically, and at once with `pilotfish update NAME`",
    ),
    (Reason::UpdateInFlight, "wait for the update to end"),
    (Reason::WaitingForCanaries, FleetHold::WaitingForCanaries.advice()),
    (Reason::FleetRefused, FleetHold::FleetRefused.advice()),
    (Reason::FleetStopped, FleetHold::FleetStopped.advice()),
    (Reason::PlatformMissing, "publish the image for this platform as well"),
    (Reason::LayerUnsupported, "publish the image with gzip layers, or install a newer Engine"),
    (
        Reason::RegistryUnauthorized,
        "`docker login` for this registry as the user the agent runs as",
    ),
    (
        Reason::RegistryUnreachable,
        "check the network and the registry; Pilotfish asks again automatically",
    ),
    (
        Reason::RegistryCertificate,
        "put the registry's CA under /etc/docker/certs.d/HOST:PORT/ca.crt",
    ),
    (Reason::RegistryError, "check the registry; Pilotfish asks again automatically"),
    (Reason::RateLimited, "wait, or log in to the registry for a larger quota"),
    (Reason::NotFound, "the tag is gone from the registry, or needs a login"),
    (Reason::NotLeader, "do nothing: the agent on the leader of the Swarm acts"),
    (Reason::ServiceUpdating, "wait for the end of that change: `docker service ps NAME`"),
    (
        Reason::ServicePaused,
        "see what failed with `docker service ps NAME`, then `docker service rollback NAME` or deploy a fixed image",
    ),
    (Reason::IsAJob, "update the job by hand; every change runs it again"),
    (Reason::CannotUpdateService, "change what the detail names, or update the service by hand"),
    (
        Reason::PrepullFailed,
        "fix the pull on the node that the detail names; Pilotfish retries automatically, and at once with `pilotfish update NAME`",
    ),
    (
        Reason::CannotRecreate,
        "recreate this container by hand; Pilotfish cannot carry over what the detail names",
    ),
    (
        Reason::CannotStartFirst,
        "change what the detail names, or remove the label pilotfish.update.order; NAME keeps running until then",
    ),
    (
        Reason::CannotHandOver,
        "put the agent's state_dir on a volume and use the command `run`; it then updates itself",
    ),
    (Reason::DiskFull, "make room, for example with `docker image prune`"),
    (Reason::BadLabel, "fix the label; until then everything stays as it is"),
    (Reason::EngineError, "check the Engine's own log; Pilotfish asks again automatically"),
];

impl Reason {
    /// What the operator can do about it, in one line. NAME stands for the container.
    #[must_use]
    pub fn advice(self) -> &'static str {
        let row = ADVICE.iter().find(|(reason, _)| *reason == self);
        row.map_or("look at the log of the agent", |(_, advice)| advice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_line_in_the_order_of_the_list() {
        assert_eq!(ADVICE.map(|(reason, _)| reason), Reason::ALL);
    }
}
