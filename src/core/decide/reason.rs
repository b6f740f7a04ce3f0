//! The closed list of reasons for a "no". The log, the metric, the JSON and the documentation use
//! the same word; `check` prints the advice as well.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::core::fleet::turn::FleetHold;

/// Why a container is held, or could not be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The offered digest failed before.
    RefusedDigest,
    /// An image waits for its pull or update window.
    OutsideWindow,
    /// The user wrote a digest or an image ID, so there is no tag to follow.
    PinnedByDigest,
    /// Nothing shows that the image came from the registry of its name.
    BuiltLocally,
    /// Its images are pushed, and no registry is followed.
    PushedOnly,
    /// `docker compose run` started it for one command.
    OneOff,
    /// A task of Swarm.
    SwarmTask,
    /// Another program creates and replaces it.
    ManagedElsewhere,
    /// `pilotfish.mode=notify`.
    NotifyOnly,
    /// Created, paused, exited or dead.
    NotRunning,
    /// A dependent that may not be touched would break.
    HasDependents,
    /// The probe does not succeed on the running container, so it could not judge the new one.
    ProbeFailing,
    /// A device that the start of the container needs is missing.
    DeviceMissing,
    /// Something else that the start of the container needs is missing.
    StartWouldFail,
    /// The pre-update hook of a label failed.
    HeldByHook,
    /// The path of its lock label exists in the container.
    UpdateLocked,
    /// The group of the container waits for another member, or for its digests to stand still.
    GroupIncomplete,
    /// A client pushed an image for a member of a group.
    MemberOfGroup,
    /// Another agent works on this Engine.
    AnotherAgent,
    /// An update can be neither finished nor undone.
    Stuck,
    /// Earlier tries failed for a reason outside of the image; the next one waits for its pause.
    UpdateFailing,
    /// An update of this container runs.
    UpdateInFlight,
    /// In a staged rollout its turn has not come.
    WaitingForCanaries,
    /// In a staged rollout the image failed on other devices.
    FleetRefused,
    /// An operator stopped the fleet.
    FleetStopped,
    /// The offered image has no manifest for this platform.
    PlatformMissing,
    /// The Engine cannot unpack a layer of the offered image.
    LayerUnsupported,
    /// Credentials are missing or refused (401, 403).
    RegistryUnauthorized,
    /// The registry does not answer.
    RegistryUnreachable,
    /// The registry's certificate is not trusted.
    RegistryCertificate,
    /// The registry gave an answer that makes no sense.
    RegistryError,
    /// The registry asked for fewer requests (429), or its quota is used up.
    RateLimited,
    /// The registry does not have the tag or the repository (404).
    NotFound,
    /// Another manager of the Swarm acts for this service.
    NotLeader,
    /// Swarm carries out a change of this service that the agent did not begin.
    ServiceUpdating,
    /// Swarm stopped in the middle of a change of this service.
    ServicePaused,
    /// The service is a job, which any change runs again.
    IsAJob,
    /// The service cannot be updated safely as it is.
    CannotUpdateService,
    /// A node could not pull the new image before the update.
    PrepullFailed,
    /// A field of the container cannot be carried over to a new one.
    CannotRecreate,
    /// Two of this container cannot run at the same time, and its label asks for that.
    CannotStartFirst,
    /// The agent runs in this container, and no self-update helper could replace it.
    CannotHandOver,
    /// There is too little disk space for the layers.
    DiskFull,
    /// A `pilotfish.` label is unknown or does not parse.
    BadLabel,
    /// The Engine could not report on this container.
    EngineError,
}

impl Reason {
    /// All reasons, for documentation and tests.
    pub const ALL: [Self; 45] = [
        Self::RefusedDigest,
        Self::OutsideWindow,
        Self::PinnedByDigest,
        Self::BuiltLocally,
        Self::PushedOnly,
        Self::OneOff,
        Self::SwarmTask,
        Self::ManagedElsewhere,
        Self::NotifyOnly,
        Self::NotRunning,
        Self::HasDependents,
        Self::ProbeFailing,
        Self::DeviceMissing,
        Self::StartWouldFail,
        Self::HeldByHook,
        Self::UpdateLocked,
        Self::GroupIncomplete,
        Self::MemberOfGroup,
        Self::AnotherAgent,
        Self::Stuck,
        Self::UpdateFailing,
        Self::UpdateInFlight,
        Self::WaitingForCanaries,
        Self::FleetRefused,
        Self::FleetStopped,
        Self::PlatformMissing,
        Self::LayerUnsupported,
        Self::RegistryUnauthorized,
        Self::RegistryUnreachable,
        Self::RegistryCertificate,
        Self::RegistryError,
        Self::RateLimited,
        Self::NotFound,
        Self::NotLeader,
        Self::ServiceUpdating,
        Self::ServicePaused,
        Self::IsAJob,
        Self::CannotUpdateService,
        Self::PrepullFailed,
        Self::CannotRecreate,
        Self::CannotStartFirst,
        Self::CannotHandOver,
        Self::DiskFull,
        Self::BadLabel,
        Self::EngineError,
    ];

    /// The word used in the log, metrics, JSON and documentation.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::RefusedDigest => "refused_digest",
            Self::OutsideWindow => "outside_window",
            Self::PinnedByDigest => "pinned_by_digest",
            Self::BuiltLocally => "built_locally",
            Self::PushedOnly => "pushed_only",
            Self::OneOff => "one_off",
            Self::SwarmTask => "swarm_task",
            Self::ManagedElsewhere => "managed_elsewhere",
            Self::NotifyOnly => "notify_only",
            Self::NotRunning => "not_running",
            Self::HasDependents => "has_dependents",
            Self::ProbeFailing => "probe_failing",
            Self::DeviceMissing => "device_missing",
            Self::StartWouldFail => "start_would_fail",
            Self::HeldByHook => "held_by_hook",
            Self::UpdateLocked => "update_locked",
            Self::GroupIncomplete => "group_incomplete",
            Self::MemberOfGroup => "member_of_group",
            Self::AnotherAgent => "another_agent",
            Self::Stuck => "stuck",
            Self::UpdateFailing => "update_failing",
            Self::UpdateInFlight => "update_in_flight",
            Self::WaitingForCanaries => FleetHold::WaitingForCanaries.word(),
            Self::FleetRefused => FleetHold::FleetRefused.word(),
            Self::FleetStopped => FleetHold::FleetStopped.word(),
            Self::PlatformMissing => "platform_missing",
            Self::LayerUnsupported => "layer_unsupported",
            Self::RegistryUnauthorized => "registry_unauthorized",
            Self::RegistryUnreachable => "registry_unreachable",
            Self::RegistryCertificate => "registry_certificate",
            Self::RegistryError => "registry_error",
            Self::RateLimited => "rate_limited",
            Self::NotFound => "not_found",
            Self::NotLeader => "not_leader",
            Self::ServiceUpdating => "service_updating",
            Self::ServicePaused => "service_paused",
            Self::IsAJob => "is_a_job",
            Self::CannotUpdateService => "cannot_update_service",
            Self::PrepullFailed => "prepull_failed",
            Self::CannotRecreate => "cannot_recreate",
            Self::CannotStartFirst => "cannot_start_first",
            Self::CannotHandOver => "cannot_hand_over",
            Self::DiskFull => "disk_full",
            Self::BadLabel => "bad_label",
            Self::EngineError => "engine_error",
        }
    }

    /// True if the container could not be checked; false if it is held on purpose.
    #[must_use]
    pub const fn is_error(self) -> bool {
        matches!(
            self,
            Self::Stuck
                | Self::PlatformMissing
                | Self::LayerUnsupported
                | Self::RegistryUnauthorized
                | Self::RegistryUnreachable
                | Self::RegistryCertificate
                | Self::RegistryError
                | Self::RateLimited
                | Self::NotFound
                | Self::BadLabel
                | Self::EngineError
        )
    }
}

impl From<FleetHold> for Reason {
    fn from(hold: FleetHold) -> Self {
        match hold {
            FleetHold::WaitingForCanaries => Self::WaitingForCanaries,
            FleetHold::FleetRefused => Self::FleetRefused,
            FleetHold::FleetStopped => Self::FleetStopped,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_is_what_serde_writes() {
        for reason in Reason::ALL {
            let json = serde_json::to_string(&reason).expect("a reason serialises");
            assert_eq!(json, format!("\"{}\"", reason.word()));
        }
    }

    #[test]
    fn no_word_stands_twice() {
        let mut words: Vec<_> = Reason::ALL.iter().map(|reason| reason.word()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Reason::ALL.len());
    }
}
