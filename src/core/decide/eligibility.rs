//! Whether a container may be updated at all. Decided before any registry is asked.

use super::No;
use crate::core::decide::observation::{Observation, OpenUpdate, Running};
use crate::core::decide::reason::Reason;
use crate::core::docker::names;
use crate::core::docker::reference::{Reference, ReferenceError};
use crate::core::policy::Policy;
use crate::core::policy::managers::Manager;

/// Facts about a container that may be updated at all.
pub(super) struct Eligible<'a> {
    pub(super) policy: &'a Policy,
    pub(super) reference: &'a Reference,
    pub(super) running: &'a Running,
}

/// The checks before any registry is asked.
pub(super) fn eligible(observation: &Observation) -> Result<Eligible<'_>, No> {
    if let Some(manager) = observation.manager {
        return Err(managed(manager));
    }
    let policy = observation.policy.as_ref().map_err(|errors| {
        let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
        No::new(Reason::BadLabel, texts.join("; "))
    })?;
    match &observation.open_update {
        Some(open @ (OpenUpdate::Stuck(_) | OpenUpdate::Down(_))) => return Err(stuck(open)),
        Some(OpenUpdate::Elsewhere) => {
            let detail = "a container of an update that this agent did not begin stands beside it";
            return Err(No::new(Reason::AnotherAgent, detail));
        }
        Some(OpenUpdate::Unproven) => {
            let (old, new) =
                (names::old_name(&observation.name), names::new_name(&observation.name));
            let detail = format!(
                "a container named {old} or {new} stands beside it, and nothing shows whose it is"
            );
            return Err(No::new(Reason::AnotherAgent, detail));
        }
        Some(OpenUpdate::InFlight) => {
            return Err(No::new(Reason::UpdateInFlight, "an update is being carried out"));
        }
        None => {}
    }
    in_its_state(observation)?;
    // If the Engine gave no answer, the name of the container's image is not known either.
    let running = observation
        .running
        .as_ref()
        .map_err(|error| No::new(Reason::EngineError, error.clone()))?;
    let reference = observation.reference.as_ref().map_err(image_id_as_name)?;
    if let Some(digest) = &reference.digest {
        let detail = format!("the image is written with the digest {}", digest.short());
        return Err(No::new(Reason::PinnedByDigest, detail));
    }
    if running.is_written_as_id && !running.origin.is_shown() {
        return Err(No::new(Reason::PinnedByDigest, "the image is written as an ID"));
    }
    let needs_registry = observation.deployment.is_none() && !observation.is_local();
    if needs_registry && running.digests.is_empty() && !observation.has_shown_origin() {
        return Err(No::new(Reason::BuiltLocally, "the image has never been in a registry"));
    }
    Ok(Eligible { policy, reference, running })
}

/// Checks that a container runs, or is a job that has ended well.
fn in_its_state(observation: &Observation) -> Result<(), No> {
    let state = observation.state.as_str();
    let runs = matches!(state, "running" | "restarting");
    let detail = match (observation.is_job, observation.exit_code) {
        (false, _) if runs => return Ok(()),
        _ if observation.is_ended_job() => return Ok(()),
        (true, _) if runs => "the job is being run by a person or another program".to_owned(),
        (_, Some(code)) => format!("the container is {state}, with exit code {code}"),
        (_, None) => format!("the container is {state}"),
    };
    let stopped = observation.deployment.as_ref().and_then(|it| it.stopped.as_ref());
    let by = stopped.map_or_else(String::new, |it| format!(", stopped by {}", it.by));
    let detail = detail + &by;
    Err(No::new(Reason::NotRunning, detail))
}

/// The "no" for an update that could be neither finished nor undone.
pub(super) fn stuck(open: &OpenUpdate) -> No {
    No::new(
        Reason::Stuck,
        match open {
            OpenUpdate::Down(why) => {
                format!("the service is down, and is started again after a pause: {why}")
            }
            OpenUpdate::Stuck(why) => {
                format!("its last update can be neither finished nor undone: {why}")
            }
            OpenUpdate::InFlight | OpenUpdate::Elsewhere | OpenUpdate::Unproven => String::new(),
        },
    )
}

/// The "no" for a container that another program creates and replaces.
fn managed(manager: Manager) -> No {
    let reason = match manager {
        Manager::OneOff => Reason::OneOff,
        Manager::Swarm => Reason::SwarmTask,
        Manager::Other(_) => Reason::ManagedElsewhere,
    };
    No::new(reason, manager.in_words())
}

fn image_id_as_name(error: &ReferenceError) -> No {
    match error {
        ReferenceError::ImageId(_) => {
            No::new(Reason::PinnedByDigest, "the image is written as an ID")
        }
        other => No::new(Reason::CannotRecreate, format!("Config.Image: {other}")),
    }
}
