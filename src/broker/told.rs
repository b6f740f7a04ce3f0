//! Each failure is told once: a broker that is away for a week is no new message each five minutes.

use std::collections::HashSet;

use crate::broker::RefusedAct;
use crate::broker::loss::Loss;
use crate::broker::reason_code::ReasonCode;

/// Most failed topics that are remembered. When there are more, they are told again.
const REMEMBERED_MAX: usize = 1024;

/// The failures that were told.
#[derive(Debug, Default)]
pub(super) struct Told {
    losses: HashSet<Loss>,
    topics: HashSet<(RefusedAct, String, ReasonCode)>,
}

impl Told {
    /// Whether a failed attempt has a cause that was not told since the last good connection.
    pub fn is_new_loss(&mut self, loss: &Loss) -> bool {
        self.losses.insert(loss.clone())
    }

    /// A good connection: the same cause is news again.
    pub fn forget_losses(&mut self) {
        self.losses = HashSet::new();
    }

    /// Whether a refused topic was not told for this reason.
    pub fn is_new_refusal(&mut self, act: RefusedAct, topic: &str, reason: ReasonCode) -> bool {
        if self.topics.len() >= REMEMBERED_MAX {
            self.topics.clear();
        }
        self.topics.insert((act, topic.to_owned(), reason))
    }

    /// The broker accepted a topic: its next refusal is news again.
    pub fn accepted(&mut self, act: RefusedAct, topic: &str) {
        if !self.topics.is_empty() {
            self.topics.retain(|(other, name, _)| *other != act || name != topic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_once_until_the_topic_is_accepted() {
        let mut told = Told::default();
        let (act, reason) = (RefusedAct::Publish, ReasonCode::NOT_AUTHORIZED);
        assert!(told.is_new_refusal(act, "a", reason));
        assert!(!told.is_new_refusal(act, "a", reason));
        assert!(told.is_new_refusal(act, "a", ReasonCode::QUOTA));
        assert!(told.is_new_refusal(RefusedAct::Subscribe, "a", reason));
        told.accepted(act, "a");
        assert!(told.is_new_refusal(act, "a", reason));
        assert!(!told.is_new_refusal(RefusedAct::Subscribe, "a", reason));
        for number in 0..10_000 {
            told.is_new_refusal(act, &number.to_string(), reason);
        }
        assert!(told.topics.len() <= REMEMBERED_MAX);
    }

    #[test]
    fn a_cause_is_told_once_until_there_was_a_connection() {
        let mut told = Told::default();
        assert!(told.is_new_loss(&Loss::Closed));
        assert!(told.is_new_loss(&Loss::Silent));
        assert!(!told.is_new_loss(&Loss::Closed));
        told.forget_losses();
        assert!(told.is_new_loss(&Loss::Closed));
    }
}
