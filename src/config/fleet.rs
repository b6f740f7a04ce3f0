//! The section `[fleet]`: how many devices there are, and the staged rollout.

use super::effective::Effective;
use super::error::ConfigError;
use crate::core::fleet::names::DeviceName;
use crate::core::fleet::place::{Roster, RosterError};
use crate::core::fleet::rollout::{Patience, Rollout};
use crate::core::fleet::waves::Waves;

/// The settings of the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetSettings {
    /// The number of devices; 0: not known.
    pub size: u32,
    /// The index of this device, from 0; absent: the number at the end of its name.
    pub index: Option<u32>,
    /// The waves of a rollout; absent: all devices go at once.
    pub waves: Option<Waves>,
    /// How long a device waits for the canaries.
    pub patience: Patience,
}

impl FleetSettings {
    /// Reads the section `[fleet]`. Without a broker no device could hear the canaries.
    pub(super) fn read(effective: &Effective, has_broker: bool) -> Result<Self, ConfigError> {
        let waves = |text: &str| match Waves::read(text) {
            Ok(Some(_)) if !has_broker => {
                Err("fleet.waves needs a broker: set mqtt.url".to_owned())
            }
            waves => waves.map_err(|error| error.to_string()),
        };
        Ok(Self {
            size: effective.read("fleet.size", parse_size)?,
            index: effective.read("fleet.index", parse_index)?,
            waves: effective.read("fleet.waves", waves)?,
            patience: effective.read("fleet.patience", str::parse)?,
        })
    }

    /// The devices of the fleet, as this one knows them; `None` if their number is not known.
    ///
    /// # Errors
    /// The size or the index is not possible.
    pub fn roster(&self, name: &DeviceName) -> Result<Option<Roster>, RosterError> {
        if self.size == 0 && self.index.is_none() {
            return Ok(None);
        }
        Roster::new(self.size, name.clone(), self.index).map(Some)
    }

    /// The rules of the staged rollout; `None` without waves.
    ///
    /// # Errors
    /// The fleet has no size, or its devices could not tell the places of each other.
    pub fn rollout(&self, name: &DeviceName) -> Result<Option<Rollout>, String> {
        let Some(waves) = &self.waves else { return Ok(None) };
        let roster = Roster::new(self.size, name.clone(), self.index);
        let roster = roster.map_err(|error| error.to_string())?;
        let rollout = Rollout::new(roster, waves.clone(), self.patience);
        rollout.map(Some).map_err(|error| error.to_string())
    }
}

fn parse_size(text: &str) -> Result<u32, &'static str> {
    text.trim().parse().map_err(|_| "write the number of devices, or 0 if it is not known")
}

fn parse_index(text: &str) -> Result<Option<u32>, &'static str> {
    match text.trim() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| "write a number from 0 to fleet.size - 1"),
    }
}
