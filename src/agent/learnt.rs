//! What a round learnt of images, and is worth remembering.

use super::Agent;
use crate::core::decide::memory::Memory;
use crate::core::decide::observation::Observation;
use crate::core::decide::{Circumstances, Decision, decide};
use crate::engine::Listed;
use crate::journal::JournalError;
use crate::observe;
use crate::registry::Registry;
use crate::world::Ports;

impl<P: Ports> Agent<P> {
    /// A republished index is remembered, so that its manifest is asked for only once; so is where
    /// an image came from, and which hosts spoke TLS, so that no login goes to them in clear later.
    pub(super) fn remember_republished(
        &self,
        mut memory: Memory,
        (observations, list): (&[Observation], &[Listed]),
        circumstances: &Circumstances,
    ) -> Result<(), JournalError> {
        let mut is_news = observe::remember_origins(&mut memory, observations, circumstances);
        is_news |= memory.learn_tls(self.ports.registry().tls_hosts());
        for observation in observations {
            if let (Decision::Republished(digest), Ok(running)) =
                (decide(observation, circumstances), &observation.running)
            {
                is_news |= memory.learn(&running.image_id, &digest);
            }
            is_news |= refuse_the_index_too(&mut memory, observation);
        }
        if !is_news {
            return Ok(());
        }
        memory.tidy(&list.iter().map(|listed| listed.image_id.clone()).collect());
        self.ports.state().remember(&memory)
    }
}

/// A bad image under a new index is recognised by its manifest; the index is remembered as well,
/// so that the next round need not ask what is behind it.
fn refuse_the_index_too(memory: &mut Memory, observation: &Observation) -> bool {
    let (Some(refusal), Some(index)) = (&observation.refusal, observation.offered.digest()) else {
        return false;
    };
    let mut again = refusal.clone();
    again.digests.insert(index.clone());
    memory.refusal(&observation.name, index).is_none() && memory.refuse(&observation.name, again)
}
