//! How the new containers of an update take over.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::update::Step;

/// How the new containers take over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The old ones stop, then the new ones start.
    #[default]
    StopFirst,
    /// The new ones prove themselves while the old ones serve. Then both serve for the drain time.
    StartFirst { drain: Duration },
}

impl Strategy {
    /// The steps of an update, in their order.
    pub fn steps(self) -> impl Iterator<Item = Step> + use<> {
        Step::ALL.into_iter().filter(move |step| self.has(*step))
    }

    /// Whether an update takes this step.
    #[must_use]
    pub const fn has(self, step: Step) -> bool {
        match self {
            Self::StopFirst => !matches!(step, Step::Launch | Step::Prove | Step::Join),
            // A job runs before its group is stopped, and a group stops first.
            Self::StartFirst { .. } => !matches!(step, Step::Run | Step::Start),
        }
    }

    /// Whether old and new containers run at the same time for a while.
    #[must_use]
    pub const fn starts_first(self) -> bool {
        matches!(self, Self::StartFirst { .. })
    }

    /// How long both serve.
    #[must_use]
    pub const fn drain(self) -> Duration {
        match self {
            Self::StopFirst => Duration::ZERO,
            Self::StartFirst { drain } => drain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_strategy_walks_a_part_of_one_order() {
        let words =
            |strategy: Strategy| strategy.steps().map(Step::word).collect::<Vec<_>>().join(" ");
        assert_eq!(
            words(Strategy::StopFirst),
            "pull sync create run switch start verify commit clean"
        );
        assert_eq!(
            words(Strategy::StartFirst { drain: Duration::ZERO }),
            "pull sync create launch prove join switch verify commit clean"
        );
    }
}
