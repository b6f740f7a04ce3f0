//! Looks at the container of a deployment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::order::LookedAt;
use crate::agent::context::Context;
use crate::agent::handle::question::AskError;
use crate::agent::round::facts::{LookFacts, Names};
use crate::core::decide::observation::OpenUpdate;
use crate::core::decide::reason::Reason;
use crate::core::decide::{Circumstances, No};
use crate::core::deployment::refusal::{PushRefusal, RefusalWord};
use crate::observe::{self, Cache, Groups, PreflightContext, TieIndex};
use crate::ports::Ports;

impl<P: Ports> Context<P> {
    /// Looks at a container, and finds out what an update of it would meet.
    pub(in crate::agent) async fn look_at(
        &self,
        container: &str,
        (cache, ties): (&mut Arc<Cache>, &mut TieIndex),
        circumstances: Circumstances,
        open: BTreeMap<String, OpenUpdate>,
    ) -> Result<LookedAt, AskError> {
        let (list, memory) = (self.list().await?, self.ports.state().memory()?);
        if !list.iter().any(|listed| listed.name == container) {
            return Ok(LookedAt::Nothing);
        }
        let names = Names::only(BTreeSet::from([container.to_owned()]));
        let defaults = &self.settings.defaults;
        let groups = Groups::of(&list, defaults, cache);
        let facts = LookFacts { names, circumstances, list, groups, memory, open, acts: 0 };
        let mut seen = observe::observe_local(&*self.ports, cache, &facts.scope(defaults)).await;
        let Some(observation) = seen.pop() else {
            let detail = "the container has the label pilotfish.enable=false";
            return Err(PushRefusal::held(container, &No::new(Reason::BadLabel, detail)).into());
        };
        let surroundings = PreflightContext { defaults, open: &facts.open };
        let known = (ties, &**cache);
        let readiness = observe::readiness(&*self.ports, known, &surroundings, &observation).await;
        let mut readiness = readiness.ok_or_else(|| {
            let detail = "the Engine could not report on the container";
            PushRefusal::new(RefusalWord::EngineError, detail)
        })?;
        // A pushed image needs no pull, and has a name that keeps it.
        readiness.is_pulled = true;
        readiness.is_prefetched = true;
        Ok(LookedAt::Container(Box::new(observation), Box::new(readiness)))
    }
}
