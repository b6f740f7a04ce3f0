//! The service of the torture suite: how it is started, and started again after a finding.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::compose;
use crate::dependents;
use crate::rig::{CONTROL, RECOVERY_LIMIT, SERVICE};
use crate::service_watch::SERVICE_LABEL;
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
}

impl Setup {
    /// The suffix in the name of a case, after the kind of its release.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Alone => "",
            Self::Composed => ", from a compose file",
            Self::WithDependents => ", two dependents",
        }
    }

    /// Starts the service on the image, with its dependents.
    pub fn start(self, pi: &Pi, image: &Published) {
        match self {
            Self::Alone => start_alone(pi, image),
            Self::Composed => compose::start(pi, image),
            Self::WithDependents => {
                start_alone(pi, image);
                dependents::start(pi);
            }
        }
        let expected = self.names();
        wait_until("the service runs", RECOVERY_LIMIT, || {
            let names = pi.names();
            expected.iter().all(|name| names.contains(&format!("{name} running")))
        });
    }

    /// The names of all containers while nothing is in flight, without the control container.
    pub fn names(self) -> Vec<&'static str> {
        match self {
            Self::Alone | Self::Composed => vec![SERVICE],
            Self::WithDependents => [&[SERVICE], &dependents::DEPENDENTS[..]].concat(),
        }
    }

    /// The most images: the service's and `images.keep` previous ones, the control container's, and
    /// the one that the dependents share.
    pub const fn images_max(self) -> usize {
        match self {
            Self::Alone | Self::Composed => 3,
            Self::WithDependents => 4,
        }
    }
}

/// The log of the starts of all tills.
pub fn diary(pi: &Pi) -> PathBuf {
    let diary = pi.engine.directory().join("diary");
    fs::create_dir_all(&diary).expect("the diary");
    diary
}

fn start_alone(pi: &Pi, image: &Published) {
    let labels = [&LABELS[..], &[SHELF, SERVICE_LABEL]].concat();
    let mut options: Vec<String> = labels.iter().map(|label| format!("--label={label}")).collect();
    options.push(format!("--volume={}:/diary", diary(pi).display()));
    let rest = [
        "--env=TILL_DIARY=/diary/starts",
        "--env=SHELF=3",
        "--volume=ledger:/ledger",
        "--volume=/receipts",
        "--hostname=till-3",
        "--memory=64m",
        "--stop-timeout=5",
    ];
    let options: Vec<&str> = options.iter().map(String::as_str).chain(rest).collect();
    pi.start(SERVICE, &image.reference, &options);
}

/// Starts the control container; returns its document.
pub fn start_control(pi: &Pi, image: &Published) -> Value {
    pi.start(CONTROL, &image.reference, &["--volume=ledger-control:/ledger"]);
    pi.inspect(CONTROL)
}
