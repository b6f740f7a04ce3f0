//! A second watched service, on its own image. Both services get a new release in the same round,
//! so that two updates are in flight.

use serde_json::Value;

use crate::group;
use crate::invariants::Judged;
use crate::releases::Kind;
use crate::rig::RECOVERY_LIMIT;
use crate::service::{Setup, start_alone};
use crate::service_watch::{Watch, label_of};
use crate::support::Pi;
use crate::support::command::wait_until;
use crate::support::registry::Published;

/// The name of the second service.
pub const KIOSK: &str = "kiosk";

/// The second service of a machine.
pub struct SecondService {
    /// Whether its release is a part of that of a group.
    is_in_group: bool,
    kind: Kind,
    pub watch: Watch,
    /// Its image between two cases.
    current: Published,
    /// Its release in this case.
    pub next: Published,
    /// Its container as it was created, for comparison.
    original: Value,
    next_version: u32,
}

/// Starts it on its first release.
pub fn start(pi: &Pi) {
    let first = first_release(pi);
    pi.engine.docker(&["pull", "--quiet", &first.reference]);
    start_alone(pi, KIOSK, &first);
    wait_until("the second service runs", RECOVERY_LIMIT, || {
        pi.names().contains(&format!("{KIOSK} running"))
    });
}

/// Publishes its first release.
pub fn first_release(pi: &Pi) -> Published {
    pi.registry.publish(KIOSK, &Kind::Good.release(&version(0)))
}

/// Other versions than those of the first service, so that the images differ.
fn version(number: u32) -> String {
    format!("{KIOSK}-{number}")
}

impl SecondService {
    /// The second service of a machine of this kind, right after its start.
    pub fn of(pi: &Pi, setup: Setup) -> Option<Self> {
        let kind = match setup {
            Setup::SideBySide(kind) => kind,
            Setup::Group => Kind::Good,
            _ => return None,
        };
        let watch = Watch::start(&pi.engine.socket(), &label_of(KIOSK));
        let first = first_release(pi);
        let (current, next, original) = (first.clone(), first, pi.inspect(KIOSK));
        let is_in_group = setup == Setup::Group;
        Some(Self { is_in_group, kind, watch, current, next, original, next_version: 0 })
    }

    /// Publishes its next release, and that of the job if it is in a group: then the group is
    /// updated to a release of this kind.
    pub fn publish(&mut self, pi: &Pi, of_group: Kind) {
        self.next_version += 1;
        let release = if self.is_in_group {
            self.kind = of_group;
            group::release_of_job(of_group, &self.version())
        } else {
            self.kind.release(&self.version())
        };
        self.next = pi.registry.publish(KIOSK, &release);
    }

    pub fn version(&self) -> String {
        version(self.next_version)
    }

    /// The service, as the invariants see it.
    pub fn judged(&self) -> Judged<'_> {
        Judged {
            name: KIOSK,
            watch: &self.watch,
            current: &self.current,
            original: &self.original,
            kind: self.kind,
            next: &self.next,
            version: self.version(),
        }
    }

    /// Notes whether its release runs, or is refused. Returns whether a good one is refused.
    pub fn settle(&mut self, runs: bool) -> bool {
        if runs {
            self.current = self.next.clone();
        }
        !runs && self.kind.is_good()
    }

    /// Takes it as it is after a new start.
    pub fn reset(&mut self, pi: &Pi) {
        self.current = first_release(pi);
        self.original = pi.inspect(KIOSK);
    }
}
