//! The fleet's say in an update: a "no" while it is not this device's turn.

use std::time::Duration;

use chrono::TimeDelta;

use super::{Circumstances, Decision, No};
use crate::core::docker::reference::{Digest, Reference};
use crate::core::fleet::turn::Turn;
use crate::core::fleet::turn_report::TurnReport;
use crate::core::update::plan::{ImageSource, ImageUpdate};

/// The reference and the digest of a decision that a fleet has a say in: an image of a registry
/// that nothing else forbids.
#[must_use]
pub fn subject_to_turn(decision: &Decision) -> Option<(&Reference, &Digest)> {
    match decision {
        Decision::Update(plan) | Decision::HandOver(plan) => {
            let from_registry = |update: &&ImageUpdate| update.source == ImageSource::Registry;
            let update = plan.changed().map(|(_, _, update)| update).find(from_registry)?;
            Some((&update.reference, &update.to.index))
        }
        Decision::Fetch(fetch) => Some((&fetch.reference, &fetch.offer.index)),
        Decision::UpToDate | Decision::Republished(_) => None,
        Decision::Together(_) | Decision::No(_) => None,
    }
}

/// The "no" of a turn; `None` if it is the device's turn, or if a person insists.
#[must_use]
pub fn held(report: &TurnReport, circumstances: &Circumstances) -> Option<No> {
    let hold = report.turn.hold().filter(|_| !circumstances.force)?;
    let elapsed = report.stage.map(|stage| stage.elapsed).unwrap_or_default();
    let wait = match report.turn {
        Turn::At(time) | Turn::WaitingForCanaries { alone_at: Some(time), .. } => {
            Some(time.saturating_sub(elapsed))
        }
        _ => None,
    };
    let later = |wait: Duration| Some(circumstances.now + TimeDelta::from_std(wait).ok()?);
    Some(No { opens: wait.and_then(later), ..No::new(hold.into(), report.detail()) })
}
