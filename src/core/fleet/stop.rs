//! The stop of a whole fleet, and what the device remembers of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::docker::reference::Reference;
use crate::core::fleet::message::stop::{FleetStop, StopScope};
use crate::core::fleet::rollout_progress::whole_seconds;

/// The stop that is in force. It is kept on disk, so that a restart without a broker does not lift
/// it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopMemory {
    #[serde(default)]
    message: Option<FleetStop>,
    /// How long the stop is in force, by the monotonic clock of this device.
    #[serde(rename = "elapsed_seconds", default, with = "whole_seconds")]
    elapsed: Duration,
}

impl StopMemory {
    /// Takes a message. Returns whether anything changed, and so must be written. Another stop in
    /// place of the first one does not begin the time again.
    pub fn note(&mut self, stop: FleetStop) -> bool {
        let new = (stop.scope != StopScope::Nothing).then_some(stop);
        let is_changed = self.message != new;
        if self.message.is_none() || new.is_none() {
            self.elapsed = Duration::ZERO;
        }
        self.message = new;
        is_changed
    }

    /// Time has passed by the monotonic clock.
    pub fn advance(&mut self, by: Duration) {
        if self.in_force().is_some() {
            self.elapsed = self.elapsed.saturating_add(by);
        }
    }

    /// How long a stop is in force; zero without one.
    #[must_use]
    pub const fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// The stop that is in force, for any reference.
    #[must_use]
    pub fn in_force(&self) -> Option<&FleetStop> {
        self.message.as_ref().filter(|stop| stop.scope != StopScope::Nothing)
    }

    /// The stop that concerns this reference.
    #[must_use]
    pub fn of(&self, reference: &Reference) -> Option<&FleetStop> {
        self.message.as_ref().filter(|stop| stop.concerns(reference))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(text: &str) -> Reference {
        text.parse().expect("a reference")
    }

    fn stop(scope: StopScope) -> FleetStop {
        FleetStop { scope, why: Some("bad till".into()), by: None }
    }

    #[test]
    fn a_stop_concerns_its_references_until_it_is_lifted() {
        let (till, other) = (reference("shop/till:v1"), reference("shop/till:v2"));
        let only_till = StopScope::References(vec![till.clone()]);
        let mut memory = StopMemory::default();
        for (scope, is_changed, stops_till, stops_other) in [
            (StopScope::Nothing, false, false, false),
            (only_till.clone(), true, true, false),
            (only_till, false, true, false),
            (StopScope::All, true, true, true),
            (StopScope::Nothing, true, false, false),
        ] {
            assert_eq!(memory.note(stop(scope.clone())), is_changed, "{scope:?}");
            assert_eq!(memory.of(&till).is_some(), stops_till, "{scope:?}");
            assert_eq!(memory.of(&other).is_some(), stops_other, "{scope:?}");
            let json = serde_json::to_string(&memory).expect("JSON");
            assert_eq!(serde_json::from_str::<StopMemory>(&json).expect("a memory"), memory);
        }
        let pinned = format!("shop/till:v1@sha256:{}", "0".repeat(64));
        memory.note(stop(StopScope::References(vec![till])));
        assert!(memory.of(&reference(&pinned)).is_some());
    }

    #[test]
    fn the_time_of_a_stop_counts_until_it_is_lifted() {
        let minute = Duration::from_secs(60);
        let mut memory = StopMemory::default();
        memory.advance(minute);
        assert_eq!(memory.elapsed(), Duration::ZERO);
        memory.note(stop(StopScope::All));
        memory.advance(minute);
        memory.note(stop(StopScope::References(vec![reference("till:v1")])));
        memory.advance(minute);
        assert_eq!(memory.elapsed(), 2 * minute);
        let json = serde_json::to_value(&memory).expect("JSON");
        assert_eq!(json["elapsed_seconds"], 120);
        memory.note(stop(StopScope::Nothing));
        assert_eq!((memory.elapsed(), memory.in_force()), (Duration::ZERO, None));
    }
}
