//! What is told about a device's turn: to the decision, and to a person.

use std::time::Duration;

use crate::core::fleet::rollout::Standing;
use crate::core::fleet::turn::Turn;
use crate::core::fleet::votes::{RefusedByVotes, Tally};
use crate::core::text::shown;
use crate::core::time::duration::format_duration;

/// A device's turn to update a reference to a digest, and what it follows from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnReport {
    pub turn: Turn,
    /// `None` if the rollout is not staged: then only a stop matters.
    pub stage: Option<RolloutStage>,
}

/// Where a device stands in a staged rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RolloutStage {
    pub standing: Standing,
    /// The number of devices.
    pub size: u32,
    /// The number of canaries.
    pub canaries: u32,
    /// So many canaries must report that the image works.
    pub ok_needed: u32,
    /// What the verdicts say.
    pub tally: Tally,
    /// The time since the device first saw the digest.
    pub elapsed: Duration,
}

impl TurnReport {
    /// How long until the device must ask again if no message comes. `None` if only a message
    /// changes anything.
    #[must_use]
    pub fn next_look(&self) -> Option<Duration> {
        self.turn.next_look(self.stage.map(|stage| stage.elapsed).unwrap_or_default())
    }

    /// What a person is told, in one line.
    #[must_use]
    pub fn detail(&self) -> String {
        let stage = self.stage.map(|stage| stage.detail(&self.turn));
        let Turn::Stopped { by, why } = &self.turn else {
            return stage.unwrap_or_else(|| "the rollout is not staged".to_owned());
        };
        let by = by.as_ref().map(|by| format!(" by {}", shown(by))).unwrap_or_default();
        let why = why.as_ref().map(|why| format!(": {}", shown(why))).unwrap_or_default();
        format!("the fleet is stopped{by}{why}")
    }
}

impl RolloutStage {
    /// The device's place as people count, from 1.
    #[must_use]
    pub const fn place(&self) -> u32 {
        self.standing.place.rank + 1
    }

    fn detail(&self, turn: &Turn) -> String {
        let role = if self.standing.is_canary { " (canary)" } else { "" };
        let place = format!("place {} of {}{role}", self.place(), self.size);
        match turn {
            Turn::Now => format!("{place}: its turn has come"),
            Turn::At(time) => format!("{place}: its turn comes in {}", self.remaining(*time)),
            Turn::WaitingForCanaries { alone_at, is_overdue } => {
                let said = format!("{place}: {}", self.said_by_canaries());
                match (alone_at, is_overdue) {
                    (Some(time), _) => format!(
                        "{said}; the broker is unreachable, so this device goes alone in {}",
                        self.remaining(*time)
                    ),
                    (None, true) => format!("{said}; this takes longer than fleet.patience"),
                    (None, false) => said,
                }
            }
            Turn::Refused(RefusedByVotes { bad, tried }) => {
                format!("{place}: the image failed on {bad} of {tried} devices that tried it")
            }
            Turn::Stopped { .. } => place,
        }
    }

    /// What the canaries report, for people.
    #[must_use]
    pub fn said_by_canaries(&self) -> String {
        let Self { canaries, ok_needed, tally: Tally { ok, bad, .. }, .. } = self;
        format!(
            "the image works on {ok} of {canaries} canaries, {ok_needed} are needed; it failed on \
             {bad}"
        )
    }

    /// The time until then, in whole seconds.
    fn remaining(&self, time: Duration) -> String {
        format_duration(Duration::from_secs(time.saturating_sub(self.elapsed).as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::fleet::place::{Ranking, Roster};
    use crate::core::fleet::rollout::{Patience, Rollout};
    use crate::core::fleet::waves::Waves;

    #[test]
    fn a_person_reads_the_place_the_time_and_what_the_canaries_said() {
        let (tally, elapsed) = (Tally { ok: 1, bad: 2, refused: None }, Duration::from_millis(500));
        let name = "pi-0".parse().expect("a name");
        let roster = Roster::new(10_000, name, None).expect("a roster");
        let waves: Waves = "day".parse().expect("waves");
        let rollout = Rollout::new(roster, waves, Patience::Never).expect("a rollout");
        let standing = rollout.standing_in(&Ranking::new(10_000, "x"));
        let report = |turn: Turn| {
            let stage = RolloutStage {
                standing,
                size: 10_000,
                canaries: 100,
                ok_needed: 50,
                tally,
                elapsed,
            };
            TurnReport { turn, stage: Some(stage) }.detail()
        };
        let place = format!("place {} of 10000", standing.place.rank + 1);
        let said = "the image works on 1 of 100 canaries, 50 are needed; it failed on 2";
        let hour = Duration::from_secs(3600);
        let waiting = |alone_at, is_overdue| Turn::WaitingForCanaries { alone_at, is_overdue };
        let by = Some("ann\u{1b}".to_owned());
        for (turn, detail) in [
            (Turn::Now, format!("{place}: its turn has come")),
            (Turn::At(hour), format!("{place}: its turn comes in 59m 59s")),
            (waiting(None, false), format!("{place}: {said}")),
            (
                waiting(None, true),
                format!("{place}: {said}; this takes longer than fleet.patience"),
            ),
            (
                waiting(Some(hour), false),
                format!(
                    "{place}: {said}; the broker is unreachable, so this device goes alone in \
                     59m 59s"
                ),
            ),
            (
                Turn::Refused(RefusedByVotes { bad: 5, tried: 9 }),
                format!("{place}: the image failed on 5 of 9 devices that tried it"),
            ),
            (
                Turn::Stopped { by, why: Some("bad\nday".to_owned()) },
                "the fleet is stopped by ann\\u{1b}: bad\\nday".to_owned(),
            ),
            (Turn::Stopped { by: None, why: None }, "the fleet is stopped".to_owned()),
        ] {
            assert_eq!(report(turn), detail);
        }
        let unstaged = TurnReport { turn: Turn::Now, stage: None };
        assert_eq!(unstaged.detail(), "the rollout is not staged");
        assert_eq!(unstaged.next_look(), Some(Duration::ZERO));
    }
}
