//! What this device tells its fleet: the retained messages, made from the snapshot.

use std::collections::BTreeMap;

use serde::Serialize;

use super::device::FleetDevice;
use crate::core::decide::snapshot::Snapshot;
use crate::core::fleet::topic::Topic;
use crate::core::subject::Subject;
use crate::documents::{AgentMessage, ContainerMessage};

/// The progress of the pulls in flight, in whole percents, by subject.
pub(super) type Percents = BTreeMap<Subject, u8>;

/// Every retained message that tells the present state, by topic. A container whose name cannot be
/// a level of a topic is left out; Docker allows no such name.
pub(super) fn messages(
    device: &FleetDevice,
    snapshot: &Snapshot,
    percents: &Percents,
) -> BTreeMap<Topic, Vec<u8>> {
    let FleetDevice { name, version, .. } = device;
    let agent = (Topic::Agent(name.clone()), json(&AgentMessage::new(version, snapshot)));
    let rows = snapshot.reports.iter().filter_map(|report| {
        let topic = Topic::of_subject(name.clone(), &report.subject).ok()?;
        let percent = percents.get(&report.subject).copied();
        Some((topic, json(&ContainerMessage::new(report, snapshot, percent))))
    });
    let verdicts = snapshot.fleet.iter().flat_map(|fleet| &fleet.verdicts);
    let verdicts = verdicts.map(|verdict| (verdict.topic.clone(), verdict.payload.clone()));
    rows.chain([agent]).chain(verdicts).collect()
}

fn json(message: &impl Serialize) -> Vec<u8> {
    // These types have text keys only, so writing them cannot fail.
    serde_json::to_vec(message).unwrap_or_default()
}
