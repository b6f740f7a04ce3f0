//! Layer 3: the public JSON, version 1. Every edge speaks it: the control socket, `--json`, and
//! what is sent to other machines.
//!
//! One file for each document. A document is plain data, made from the types of the core and of the
//! agent. Field names never change. A reader ignores fields that it does not know, so a newer
//! version may add some. Digests are complete (`sha256:…`), times are RFC 3339 in UTC, durations
//! are seconds. The words of enums (verdicts, reasons, outcomes, steps) are those of the core. A
//! subject is the field `container` or the field `service`; in lists it is a text.

mod answer;
mod check;
mod container;
mod deployment;
mod event;
mod fleet;
mod fleet_overview;
mod history;
mod mirror;
mod plan;
mod quota;
mod request;
mod round;
mod seconds;
mod status;

pub use answer::{AllowedDocument, AnswerLine, RecoveryDocument, RollbackDocument};
pub use check::{CheckDocument, IgnoredLabelsRow};
pub use container::ContainerRow;
pub use deployment::{
    ClientActRow, DeploymentRow, DeploymentsDocument, LayersDocument, LogDocument, PushDocument,
    RefusalDocument,
};
pub use event::{EventDocument, EventRow, PullProgressDocument, TriggerDocument};
pub use fleet::{AgentMessage, ContainerMessage, EventMessage};
pub use fleet_overview::{
    FleetContainerRow, FleetDeviceRow, FleetDocument, FleetRolloutRow, FleetStopRow,
};
pub use history::{HistoryDocument, UpdateRow};
pub use mirror::{MirrorDocument, MirrorFailure, MirrorOutcome, MirrorRuleRow, MirrorTagRow};
pub use plan::{GroupPlanRow, JobRow, PlanRow, ServicePlanRow};
pub use quota::QuotaRow;
pub use request::{Request, RoundQuery};
pub use round::RoundDocument;
pub use status::{InFlightRow, StatusDocument};

use chrono::{DateTime, SubsecRound, Utc};

/// Digits after the seconds of a time. More would be noise.
const SUBSECOND_DIGITS: u16 = 3;

/// A time without the noise.
fn rounded(time: DateTime<Utc>) -> DateTime<Utc> {
    time.trunc_subsecs(SUBSECOND_DIGITS)
}
