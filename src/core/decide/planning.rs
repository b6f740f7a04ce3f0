//! Makes the plan of one container from everything that is known about it.

use super::dependents::{Follower, member};
use super::eligibility::Eligible;
use super::observation::{Observation, Readiness};
use super::offer::Offer;
use super::reason::Reason;
use super::self_protection::{engine_access, itself};
use super::start_first::{self, Twins};
use super::{Circumstances, No};
use crate::core::recreate::Original;
use crate::core::update::plan::{
    Change, ImageSource, ImageUpdate, Member, Plan, PreviousImage, Strategy,
};

/// Everything that a plan is made from.
pub(super) struct Planning<'a> {
    pub(super) observation: &'a Observation,
    pub(super) eligible: &'a Eligible<'a>,
    pub(super) readiness: &'a Readiness,
    pub(super) followers: &'a [Follower<'a>],
    /// Whether the new container is created as the old one was.
    pub(super) keeps_definition: bool,
}

impl<'a> Planning<'a> {
    /// Of a container that is created as it was.
    pub(super) const fn of(
        observation: &'a Observation,
        eligible: &'a Eligible<'a>,
        readiness: &'a Readiness,
        followers: &'a [Follower<'a>],
    ) -> Self {
        Self { observation, eligible, readiness, followers, keeps_definition: true }
    }

    pub(super) fn plan(
        &self,
        (source, offer): (ImageSource, &Offer),
        circumstances: &Circumstances,
    ) -> Result<Plan, No> {
        let Eligible { policy, reference, running } = *self.eligible;
        let update = ImageUpdate {
            reference: reference.clone(),
            source,
            from: PreviousImage {
                image_id: running.image_id.clone(),
                digest: running.digest.clone(),
                digests: running.identities(),
            },
            to: offer.clone(),
            images_keep: policy.images_keep,
        };
        let members = self.members(Change::To(Box::new(update)), circumstances)?;
        let strategy = self.strategy(source, &members)?;
        let observation = self.observation;
        let mut plan = Plan {
            id: Plan::make_id(&observation.name, circumstances.now),
            subject: observation.subject(),
            by: None,
            members,
            jobs: Vec::new(),
            data: None,
            guards: Vec::new(),
            strategy,
        };
        // Hooks belong to updates: a person who rolls back wants the previous image at once. And
        // the agent's own image has no shell.
        if source == ImageSource::Kept || observation.is_self {
            plan.forget_hooks();
        }
        Ok(plan)
    }

    /// The container with this change, and its dependents.
    pub(super) fn members(
        &self,
        change: Change,
        circumstances: &Circumstances,
    ) -> Result<Vec<Member>, No> {
        let (observation, readiness) = (self.observation, self.readiness);
        itself(observation, &readiness.original, circumstances)?;
        let followers = self.followers.iter().map(Follower::original);
        for original in followers.chain([&readiness.original]) {
            engine_access(original, circumstances)?;
        }
        let facts = Original {
            container: &readiness.original,
            image: &readiness.image,
            api: readiness.api,
        };
        let main = member(&facts, self.eligible.policy, readiness.can_update)
            .map_err(|error| No::new(Reason::CannotRecreate, error.to_string()))?;
        let main = Member {
            container: observation.name.clone(),
            old_container: observation.id.clone(),
            image: observation.image.clone(),
            change,
            ..main
        };
        let dependents = self.followers.iter().map(|follower| follower.member(readiness));
        std::iter::once(Ok(main)).chain(dependents).collect()
    }

    /// How the new container takes over; it is the first of these members.
    fn strategy(&self, source: ImageSource, members: &[Member]) -> Result<Strategy, No> {
        let Some(main) = members.first() else { return Ok(Strategy::StopFirst) };
        match source {
            // A person who rolls back wants the previous image at once, also if two cannot run.
            ImageSource::Kept => Ok(Strategy::StopFirst),
            // Nothing shows whether a container of a new definition can run beside the old one.
            _ if !self.keeps_definition => Ok(Strategy::StopFirst),
            ImageSource::Registry | ImageSource::Local | ImageSource::Pushed => {
                start_first::strategy(&Twins {
                    policy: self.eligible.policy,
                    readiness: self.readiness,
                    followers: self.followers,
                    recreation: &main.recreation,
                    is_self: self.observation.is_self,
                })
            }
        }
    }
}
