//! Brings two updates in flight to a pair of steps: holds the calls of one update back until the
//! other one is where it should be. Their journals say where they are.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use pilotfish::core::update::Step;
use serde_json::Value;

use crate::fault::When;
use crate::rig::SERVICE;
use crate::second_service::KIOSK;
use crate::service_watch::SERVICE_LABEL_KEY;
use crate::support::agent::open_journals;
use crate::support::http::Peer;

/// After this time the fault happens wherever the updates are. Longer than a verification that
/// fails, together with its rollback.
const STEER_LIMIT: Duration = Duration::from_secs(8);

/// The service that a call changes, by its name or by a label of its container. An update also
/// reads what belongs to the other one, so a call that only reads has no owner.
pub fn owner(line: &str, target: &str, engine: &Path) -> Option<&'static str> {
    if line.starts_with("GET ") {
        return None;
    }
    let services = [KIOSK, SERVICE];
    if let Some(named) = services.into_iter().find(|name| target.contains(name)) {
        return Some(named);
    }
    let (_, rest) = target.split_once("/containers/")?;
    let id = rest.split(['/', '?']).next()?;
    let document = Peer::Unix(engine.to_owned()).get(&format!("/containers/{id}/json")).ok()?;
    let document = (document.status == 200).then(|| document.json())?;
    let label = document["Config"]["Labels"][SERVICE_LABEL_KEY].as_str()?.to_owned();
    services.into_iter().find(|name| *name == label)
}

/// The steps of both updates at which a fault happens, before or after the next call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepPair {
    pub service: Step,
    pub second: Step,
    pub when: When,
}

/// The steps between which only one update can be at a time.
const SWITCHES: [Step; 2] = [Step::Switch, Step::Start];

impl StepPair {
    /// Every pair that two updates can be at; the fault happens before the next call.
    pub fn all() -> Vec<Self> {
        let steps = Step::ALL.into_iter();
        let pairs = steps.flat_map(|service| Step::ALL.map(|second| (service, second)));
        let is_possible =
            |pair: &(Step, Step)| !(SWITCHES.contains(&pair.0) && SWITCHES.contains(&pair.1));
        let pair = |(service, second)| Self { service, second, when: When::Before };
        pairs.filter(is_possible).map(pair).collect()
    }

    /// The update that goes first, because its step is the later one.
    fn first(&self) -> &'static str {
        if self.service >= self.second { SERVICE } else { KIOSK }
    }

    fn goal_of(&self, service: &str) -> Step {
        if service == SERVICE { self.service } else { self.second }
    }
}

impl fmt::Display for StepPair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = if self.when == When::Before { "before" } else { "after" };
        let (service, second) = (self.service.word(), self.second.word());
        write!(formatter, "{when} a call with {SERVICE} in {service} and {KIOSK} in {second}")
    }
}

/// Where an update is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Position {
    NotBegun,
    In(Step),
    RollingBack,
    Ended,
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBegun => formatter.write_str("not begun"),
            Self::In(step) => formatter.write_str(step.word()),
            Self::RollingBack => formatter.write_str("rollback"),
            Self::Ended => formatter.write_str("ended"),
        }
    }
}

/// What becomes of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// It goes on.
    Passes,
    /// It waits.
    Waits,
    /// It gets the fault; where the updates are.
    GetsFault(String),
}

/// Both updates of a case.
pub struct Steering {
    pub pair: StepPair,
    begun: Option<Instant>,
    positions: BTreeMap<&'static str, Position>,
}

impl Steering {
    pub fn new(pair: StepPair) -> Self {
        let positions = [SERVICE, KIOSK].map(|service| (service, Position::NotBegun));
        Self { pair, begun: None, positions: positions.into() }
    }

    /// Decides about a call that changes the service `owner`; `None`: it changes neither.
    pub fn turn(&mut self, journals: &Path, owner: Option<&str>) -> Turn {
        self.look(journals);
        let Some(begun) = self.begun else { return Turn::Passes };
        let has_arrived =
            |service: &str| self.positions[service] >= Position::In(self.pair.goal_of(service));
        let first = self.pair.first();
        let other = if first == SERVICE { KIOSK } else { SERVICE };
        let is_time = has_arrived(first) && has_arrived(other) && owner != Some(first);
        if is_time || begun.elapsed() > STEER_LIMIT {
            return Turn::GetsFault(self.to_string());
        }
        // Nothing holds a read, so an update may leave its step while the other one comes from
        // far behind. Towards the same step they go side by side.
        let is_level = self.pair.service == self.pair.second;
        let other_waits = !is_level && !has_arrived(first);
        let waits = match owner {
            Some(owner) if owner == first => has_arrived(first),
            Some(_) => other_waits && self.positions[other] > Position::NotBegun,
            None => false,
        };
        if waits { Turn::Waits } else { Turn::Passes }
    }

    fn look(&mut self, journals: &Path) {
        let open = open_journals(journals);
        for (service, position) in &mut self.positions {
            *position = match open.get(*service) {
                Some(entries) => position_in(entries),
                None if *position > Position::NotBegun => Position::Ended,
                None => Position::NotBegun,
            };
        }
        if !open.is_empty() {
            self.begun.get_or_insert_with(Instant::now);
        }
    }
}

impl fmt::Display for Steering {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (service, second) = (self.positions[SERVICE], self.positions[KIOSK]);
        write!(formatter, "{SERVICE} in {service}, {KIOSK} in {second}")
    }
}

fn position_in(entries: &[Value]) -> Position {
    if entries.iter().any(|entry| entry["mark"] == "failed") {
        return Position::RollingBack;
    }
    let last = entries.last().and_then(|entry| serde_json::from_value(entry["step"].clone()).ok());
    Position::In(last.unwrap_or(Step::Pull))
}
