//! The stop of a whole fleet, and what the device remembers of it.

use crate::core::docker::reference::Reference;
use crate::core::fleet::message::stop::{FleetStop, StopScope};
use crate::core::fleet::message::{Incoming, MessageError};
use crate::core::fleet::topic::Topic;

/// The stop that is in force. It is kept on disk as the message itself, so that a restart without a
/// broker does not lift it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StopMemory {
    stop: Option<FleetStop>,
}

impl StopMemory {
    /// Reads what [`Self::to_disk`] wrote; nothing in it means that no stop is in force.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn from_disk(content: &[u8]) -> Result<Self, MessageError> {
        let mut memory = Self::default();
        if !content.is_empty() {
            let Incoming::Stop(stop) = Incoming::read(&Topic::Stop, content)? else {
                return Err(MessageError::WrongShape);
            };
            memory.note(stop);
        }
        Ok(memory)
    }

    /// The content of the file; empty if no stop is in force.
    #[must_use]
    pub fn to_disk(&self) -> Vec<u8> {
        self.stop.as_ref().map(FleetStop::encode).unwrap_or_default()
    }

    /// Takes a message. Returns whether anything changed, and so must be written.
    pub fn note(&mut self, stop: FleetStop) -> bool {
        let new = (stop.scope != StopScope::Nothing).then_some(stop);
        let is_changed = self.stop != new;
        self.stop = new;
        is_changed
    }

    /// The stop that is in force, for any reference.
    #[must_use]
    pub const fn in_force(&self) -> Option<&FleetStop> {
        self.stop.as_ref()
    }

    /// The stop that concerns this reference. The tag counts, as it does for announcements.
    #[must_use]
    pub fn of(&self, reference: &Reference) -> Option<&FleetStop> {
        let is_same = |it: &Reference| it.same_repository(reference) && it.tag == reference.tag;
        self.stop.as_ref().filter(|stop| match &stop.scope {
            StopScope::Nothing => false,
            StopScope::All => true,
            StopScope::References(references) => references.iter().any(is_same),
        })
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
            assert_eq!(StopMemory::from_disk(&memory.to_disk()).as_ref(), Ok(&memory));
        }
        let pinned = format!("shop/till:v1@sha256:{}", "0".repeat(64));
        memory.note(stop(StopScope::References(vec![till])));
        assert!(memory.of(&reference(&pinned)).is_some());
    }

    #[test]
    fn a_damaged_file_is_an_error() {
        assert_eq!(StopMemory::from_disk(b""), Ok(StopMemory::default()));
        assert_eq!(StopMemory::from_disk(b"{"), Err(MessageError::NotJson));
    }
}
