//! The document of `fleet --json`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::rounded;
use crate::core::decide::report::Verdict;
use crate::core::docker::reference::Digest;
use crate::core::fleet::message::row::SubjectState;
use crate::core::fleet::message::stop::FleetStop;
use crate::core::fleet::names::FleetName;
use crate::core::fleet::overview::{DeviceOverview, FleetOverview};
use crate::core::fleet::overview_rollouts::RolloutOverview;
use crate::core::subject::Subject;

/// Everything that the devices of a fleet tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetDocument {
    pub fleet: String,
    /// The stop that is in force.
    pub stop: Option<FleetStopRow>,
    pub devices: Vec<FleetDeviceRow>,
    pub rollouts: Vec<FleetRolloutRow>,
    /// How many rows devices count that the broker has not sent.
    pub missing: usize,
    /// How many messages could not be read, or were beyond a limit.
    pub ignored: u64,
}

/// A stop of a fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetStopRow {
    /// `*` for everything.
    pub references: Vec<String>,
    pub why: Option<String>,
    pub by: Option<String>,
}

/// One device of a fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetDeviceRow {
    pub device: String,
    /// Absent if the device has not told.
    pub online: Option<bool>,
    pub version: Option<String>,
    /// By the device's clock.
    pub last_check: Option<DateTime<Utc>>,
    pub error: Option<String>,
    pub containers: Vec<FleetContainerRow>,
}

/// One container or service of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetContainerRow {
    #[serde(flatten)]
    pub subject: Subject,
    pub image: String,
    pub running: Option<Digest>,
    pub offered: Option<Digest>,
    pub verdict: Verdict,
    pub reason: Option<String>,
    pub busy: bool,
    pub step: Option<String>,
    pub percent: Option<u8>,
    pub version: Option<String>,
}

/// One digest of a reference that has more than one in the fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetRolloutRow {
    pub reference: String,
    pub digest: Digest,
    pub runs: usize,
    pub updating: usize,
    pub waiting: usize,
    pub refused: usize,
    pub ok: usize,
    pub bad: usize,
    pub stopped: bool,
}

impl FleetDocument {
    /// The document about a fleet.
    #[must_use]
    pub fn new(fleet: &FleetName, overview: &FleetOverview) -> Self {
        let devices = overview.devices().into_iter();
        Self {
            fleet: fleet.to_string(),
            stop: overview.stop().map(FleetStopRow::from),
            devices: devices.map(|(name, it)| FleetDeviceRow::new(name.to_string(), it)).collect(),
            rollouts: overview.rollouts().into_iter().map(FleetRolloutRow::from).collect(),
            missing: overview.counts().missing,
            ignored: overview.ignored(),
        }
    }
}

impl From<&FleetStop> for FleetStopRow {
    fn from(stop: &FleetStop) -> Self {
        Self { references: stop.references(), why: stop.why.clone(), by: stop.by.clone() }
    }
}

impl FleetDeviceRow {
    fn new(name: String, device: &DeviceOverview) -> Self {
        let agent = device.agent.as_ref();
        Self {
            device: name,
            online: device.is_online(),
            version: device.version().map(str::to_owned),
            last_check: agent.and_then(|agent| agent.last_check).map(rounded),
            error: agent.and_then(|agent| agent.error.clone()),
            containers: device.subjects.iter().map(FleetContainerRow::from).collect(),
        }
    }
}

impl From<(&Subject, &SubjectState)> for FleetContainerRow {
    fn from((subject, state): (&Subject, &SubjectState)) -> Self {
        let state = state.clone();
        Self {
            subject: subject.clone(),
            image: state.image,
            running: state.running,
            offered: state.offered,
            verdict: state.verdict,
            reason: state.reason,
            busy: state.busy,
            step: state.step,
            percent: state.percent,
            version: state.version,
        }
    }
}

impl From<RolloutOverview> for FleetRolloutRow {
    fn from(rollout: RolloutOverview) -> Self {
        let RolloutOverview { reference, digest, counts, is_stopped: stopped } = rollout;
        Self {
            reference,
            digest,
            runs: counts.runs,
            updating: counts.updating,
            waiting: counts.waiting,
            refused: counts.refused,
            ok: counts.ok,
            bad: counts.bad,
            stopped,
        }
    }
}
