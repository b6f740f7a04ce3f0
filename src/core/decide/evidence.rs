//! What must still be found out before a decision is possible, and what it costs to find it out.

use super::Circumstances;
use super::comparison::{Compared, compare, is_notify};
use super::eligibility::eligible;
use super::observation::Observation;
use super::push::followed;
use super::quota::LOOK_COST;

/// One kind of fact. It is gathered only if the facts so far leave the decision open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// The digest that the tag points at.
    OfferedDigest,
    /// The digests and the platform of the running image, from an inspect: a person may have
    /// pulled it again under a new digest since the last look.
    RunningImage,
    /// Whether the registry knows the running image.
    Origin,
    /// The image behind the offered digest.
    OfferedImage,
    /// What an update would meet.
    Readiness,
}

/// What one container costs to gather a kind of evidence about, the lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cost {
    /// One call to the Engine.
    EngineCall,
    /// One request that a registry does not count.
    Request,
    /// Requests that a registry counts as so many pulls.
    Pulls(u64),
    /// Inspects of all containers, a probe of the running one, and a look at the disk.
    Survey,
}

impl Evidence {
    /// All kinds in the order of gathering. No container has an answer without the first; each of
    /// the others costs at least as much as the one before it, and none of them is needed for one
    /// that comes earlier.
    pub const ORDER: [Self; 5] = [
        Self::OfferedDigest,
        Self::RunningImage,
        Self::Origin,
        Self::OfferedImage,
        Self::Readiness,
    ];

    /// What it costs at most.
    #[must_use]
    pub const fn cost(self) -> Cost {
        match self {
            Self::OfferedDigest | Self::Origin => Cost::Request,
            Self::RunningImage => Cost::EngineCall,
            Self::OfferedImage => Cost::Pulls(LOOK_COST),
            Self::Readiness => Cost::Survey,
        }
    }
}

/// The evidence that the decision about a container lacks next; `None`: it can be decided.
#[must_use]
pub fn missing(observation: &Observation, circumstances: &Circumstances) -> Option<Evidence> {
    let is_asked = eligible(observation).is_ok() && followed(observation).is_ok();
    if circumstances.other_agent.is_some() || !is_asked {
        return None;
    }
    let is_inspected = observation.running.as_ref().is_ok_and(|running| running.is_inspected);
    match compare(observation, circumstances) {
        Compared::Unasked => Some(Evidence::OfferedDigest),
        Compared::Unproven | Compared::Unresolved if !is_inspected => Some(Evidence::RunningImage),
        Compared::Unproven => Some(Evidence::Origin),
        Compared::Unresolved => Some(Evidence::OfferedImage),
        Compared::New(_) if observation.readiness.is_none() && !is_notify(observation) => {
            Some(Evidence::Readiness)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_the_first_question_no_cheaper_one_follows_a_dearer_one() {
        let costs: Vec<_> = Evidence::ORDER[1..].iter().map(|it| it.cost()).collect();
        assert!(costs.is_sorted(), "{costs:?}");
    }
}
