//! The service of the torture suite: how it is started, and started again after a finding.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::compose;
use crate::dependents;
use crate::group::{self, JOB};
use crate::releases::Kind;
use crate::rig::{CONTROL, RECOVERY_LIMIT, SERVICE};
use crate::second_service::{self, KIOSK};
use crate::service_watch::label_of;
use crate::support::Pi;
use crate::support::command::wait_until;
use crate::support::registry::Published;

/// The labels of watched containers, with the shortest times that still distinguish good from bad,
/// so that a night has room for thousands of cases.
pub const LABELS: [&str; 3] =
    ["pilotfish.enable=true", "pilotfish.health.stable=1s", "pilotfish.health.timeout=4s"];

/// A label of the service without a meaning here.
pub const SHELF: &str = "com.example.shelf=3";

/// How the service was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Setup {
    /// `docker run`.
    #[default]
    Alone,
    /// `docker-compose up`, from a file.
    Composed,
    /// `docker run`, and two dependents share its network.
    WithDependents,
    /// `docker run`, and a second service gets a release of this kind in the same round.
    SideBySide(Kind),
    /// `docker run` on a network of its own, and the new container starts first.
    StartFirst,
    /// `docker run`, and a client pushes its releases.
    Pushed,
    /// `docker run`, in a group with a second service and a job.
    Group,
}

impl Setup {
    /// The suffix in the name of a case, after the kind of its release.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Alone => "",
            Self::Composed => ", from a compose file",
            Self::WithDependents => ", two dependents",
            Self::SideBySide(_) => ", two updates",
            Self::StartFirst => ", start-first",
            Self::Pushed => ", pushed",
            Self::Group => ", a group with a job",
        }
    }

    /// The kind of the second service's release, in the name of a case.
    pub fn second_words(self) -> String {
        match self {
            Self::SideBySide(kind) => format!(" and {}", kind.word()),
            _ => String::new(),
        }
    }

    /// Starts the service on the image, with its dependents.
    pub fn start(self, pi: &Pi, image: &Published) {
        match self {
            Self::Alone | Self::Pushed => start_alone(pi, SERVICE, image),
            Self::Composed => compose::start(pi, image),
            Self::WithDependents => {
                start_alone(pi, SERVICE, image);
                dependents::start(pi);
            }
            Self::StartFirst => start_on_its_network(pi, image),
            Self::SideBySide(_) => {
                start_alone(pi, SERVICE, image);
                second_service::start(pi);
            }
            Self::Group => group::start(pi, image),
        }
        let mut expected = self.names();
        expected.retain(|name| *name != JOB);
        wait_until("the service runs", RECOVERY_LIMIT, || {
            let names = pi.names();
            expected.iter().all(|name| names.contains(&format!("{name} running")))
        });
    }

    /// The names of all containers while nothing is in flight, without the control container.
    pub fn names(self) -> Vec<&'static str> {
        match self {
            Self::Alone | Self::Composed | Self::StartFirst | Self::Pushed => vec![SERVICE],
            Self::WithDependents => [&[SERVICE], &dependents::DEPENDENTS[..]].concat(),
            Self::SideBySide(_) => vec![SERVICE, KIOSK],
            Self::Group => vec![SERVICE, KIOSK, JOB],
        }
    }

    /// How many containers of the service may run at the same time.
    pub fn running_max(self) -> usize {
        if self == Self::StartFirst { 2 } else { 1 }
    }

    /// The most images: those of each service and `images.keep` previous ones, the control
    /// container's, and the one that the dependents share.
    pub const fn images_max(self) -> usize {
        match self {
            Self::Alone | Self::Composed | Self::StartFirst | Self::Pushed => 3,
            Self::WithDependents => 4,
            Self::SideBySide(_) | Self::Group => 5,
        }
    }
}

/// The log of the starts of all tills.
pub fn diary(pi: &Pi) -> PathBuf {
    let diary = pi.engine.directory().join("diary");
    fs::create_dir_all(&diary).expect("the diary");
    diary
}

/// The labels of a service whose new container starts first. A probe in the container is the
/// health check of all its images.
const START_FIRST: [&str; 4] = [
    "pilotfish.update.order=start-first",
    "pilotfish.update.drain=1s",
    "pilotfish.update.shared=ok",
    "pilotfish.health.probe=exec:/till healthcheck",
];

/// The network of a service whose new container starts first.
const NETWORK: &str = "shop";

/// Starts the service on a network of its own, where it has an alias.
fn start_on_its_network(pi: &Pi, image: &Published) {
    let networks = pi.engine.docker(&["network", "ls", "--format={{.Name}}"]);
    if !networks.lines().any(|name| name == NETWORK) {
        pi.engine.docker(&["network", "create", NETWORK]);
    }
    let labels = START_FIRST.map(|label| format!("--label={label}"));
    let labels = labels.iter().map(String::as_str);
    let more: Vec<&str> = labels.chain(["--network=shop", "--network-alias=counter"]).collect();
    start_with(pi, SERVICE, image, &more);
}

/// Starts a service with `docker run`.
pub fn start_alone(pi: &Pi, name: &str, image: &Published) {
    start_with(pi, name, image, &[]);
}

/// The same with more options.
pub fn start_with(pi: &Pi, name: &str, image: &Published, more: &[&str]) {
    let label = label_of(name);
    let labels = [&LABELS[..], &[SHELF, &label]].concat();
    let mut options: Vec<String> = labels.iter().map(|label| format!("--label={label}")).collect();
    options.push(format!("--volume={}:/diary", diary(pi).display()));
    options.push(format!("--volume=ledger-{name}:/ledger"));
    options.push(format!("--hostname={name}-3"));
    let rest = [
        "--env=TILL_DIARY=/diary/starts",
        "--env=SHELF=3",
        "--volume=/receipts",
        "--memory=64m",
        "--stop-timeout=5",
    ];
    let options = options.iter().map(String::as_str).chain(rest);
    let options: Vec<&str> = options.chain(more.iter().copied()).collect();
    pi.start(name, &image.reference, &options);
}

/// Starts the control container; returns its document.
pub fn start_control(pi: &Pi, image: &Published) -> Value {
    pi.start(CONTROL, &image.reference, &["--volume=ledger-control:/ledger"]);
    pi.inspect(CONTROL)
}
