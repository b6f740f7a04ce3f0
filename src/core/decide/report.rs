//! What a check says about one container. The table, the JSON and the metrics use the same words.

use serde::{Deserialize, Serialize};

use crate::core::decide::eligibility::stuck;
use crate::core::decide::observation::{Observation, OpenUpdate, Previous};
use crate::core::decide::reason::Reason;
use crate::core::decide::versions::{ShownVersions, Versions};
use crate::core::decide::{Decision, No};
use crate::core::docker::reference::Digest;
use crate::core::subject::Subject;

/// How a check ended for a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The running image is the offered one.
    UpToDate,
    /// There is a new image, and nothing forbids the update.
    Update,
    /// The container stays as it is, on purpose.
    Held,
    /// The container could not be checked.
    Error,
}

impl Verdict {
    /// The word used in the table, JSON and metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::UpToDate => "up_to_date",
            Self::Update => "update",
            Self::Held => "held",
            Self::Error => "error",
        }
    }
}

/// What a check says about one container. All but the versions are fields of `check --json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub subject: Subject,
    /// The image as the user wrote it.
    pub image: String,
    /// The digest that runs, if it is known.
    pub running: Option<Digest>,
    /// The digest that is offered, if it is known.
    pub offered: Option<Digest>,
    /// The versions that the two images state as their own.
    pub versions: Versions,
    pub verdict: Verdict,
    pub reason: Option<Reason>,
    /// Details of a "no"; for an update, what else is recreated.
    pub detail: Option<String>,
    pub advice: Option<String>,
    /// Why a rollback by hand is not possible although there should be a previous image.
    pub no_rollback: Option<String>,
    /// Files that a person copied into the container. Its next update would drop them.
    pub drops: Vec<String>,
}

/// A kept image can still be gone: `docker image prune -a` removes it.
fn no_rollback(previous: &Previous) -> Option<String> {
    match previous {
        Previous::Gone(image) => {
            let image = image.strip_prefix("sha256:").unwrap_or(image);
            let image: String = image.chars().take(12).collect();
            Some(format!("the previous image {image} is no longer on this machine"))
        }
        Previous::None | Previous::Kept(_) | Previous::Unknown(_) => None,
    }
}

/// Whether a container only waits for its turn: the registry has answered, and what is left
/// of the quota goes to other containers first.
fn is_planned(reason: Reason, observation: &Observation) -> bool {
    reason == Reason::RateLimited && observation.hold.is_some()
}

/// The dependents that are recreated with the container, in words.
fn recreated_together(dependents: &[String]) -> Option<String> {
    let (are, hang) = match dependents.len() {
        0 => return None,
        1 => ("is", "hangs"),
        _ => ("are", "hang"),
    };
    Some(format!("{} {hang} on it and {are} recreated with it", dependents.join(", ")))
}

impl Report {
    /// The report on an observation and its decision.
    #[must_use]
    pub fn of(observation: &Observation, decision: &Decision) -> Self {
        let running = observation.running.as_ref().ok();
        let offered = observation.offered.digest().cloned();
        let mut report = Self {
            subject: observation.subject(),
            image: observation.image.clone(),
            running: running.and_then(|running| running.digest.clone()),
            offered,
            versions: Versions {
                running: running.and_then(|running| running.version.clone()),
                offered: observation.offered.version().cloned(),
            },
            verdict: Verdict::UpToDate,
            reason: None,
            detail: None,
            advice: None,
            no_rollback: no_rollback(&observation.previous),
            drops: observation.readiness.iter().flat_map(|it| it.copied_files.clone()).collect(),
        };
        // A digest that leads to the running image is shown as the running one.
        if matches!(decision, Decision::UpToDate | Decision::Republished(_)) {
            report.running = report.offered.clone().or(report.running);
        }
        match decision {
            Decision::UpToDate | Decision::Republished(_) => {}
            Decision::Update(plan) => {
                report.verdict = Verdict::Update;
                report.detail = recreated_together(&plan.dependent_names());
            }
            Decision::Together(part) => {
                report.verdict = Verdict::Update;
                report.detail = Some(format!("updated together with the group {}", part.group));
            }
            Decision::HandOver(_) => {
                report.verdict = Verdict::Update;
                let detail = "the agent runs in this container, so the self-update helper carries out the update";
                report.detail = Some(detail.to_owned());
            }
            Decision::Fetch(fetch) => report.say_no(&fetch.waits),
            Decision::No(no) => report.say_no(no),
        }
        if report.reason.is_some_and(|reason| is_planned(reason, observation)) {
            report.verdict = Verdict::Held;
        }
        report
    }

    /// The report on something whose digests are known, and about which nothing else is to say.
    #[must_use]
    pub fn of_digests(
        subject: Subject,
        image: &str,
        running: Option<Digest>,
        offered: Option<Digest>,
    ) -> Self {
        Self {
            subject,
            image: image.to_owned(),
            running,
            offered,
            versions: Versions::default(),
            verdict: Verdict::UpToDate,
            reason: None,
            detail: None,
            advice: None,
            no_rollback: None,
            drops: Vec::new(),
        }
    }

    /// The same of an update that nothing forbids.
    #[must_use]
    pub fn with_update(self) -> Self {
        Self { verdict: Verdict::Update, ..self }
    }

    /// The report on a service with an unfinished update, if no container has its name now.
    #[must_use]
    pub fn of_missing(subject: Subject, image: &str, open: &OpenUpdate) -> Self {
        let mut report = Self::of_digests(subject, image, None, None);
        report.say_no(&stuck(open));
        report
    }

    /// The report of a container about which now only this "no" is known.
    #[must_use]
    pub fn with_no(&self, reason: Reason, detail: &str) -> Self {
        let mut report = self.clone();
        report.say_no(&No::new(reason, detail));
        report
    }

    fn say_no(&mut self, no: &No) {
        self.verdict = if no.reason.is_error() { Verdict::Error } else { Verdict::Held };
        self.reason = Some(no.reason);
        self.detail = Some(no.detail.clone()).filter(|detail| !detail.is_empty());
        self.advice = Some(no.reason.advice().replace("NAME", &self.subject.name));
    }

    /// The versions of the running and the offered image, as people read them.
    #[must_use]
    pub fn shown_versions(&self) -> ShownVersions {
        self.versions.shown(self.running.as_ref(), self.offered.as_ref())
    }

    /// Whether the offered image is another one than the running one, held or not.
    #[must_use]
    pub fn is_update_available(&self) -> bool {
        is_update_available(self.verdict, self.running.as_ref(), self.offered.as_ref())
    }
}

/// Whether the offered image is another one than the running one, held or not.
#[must_use]
pub fn is_update_available(
    verdict: Verdict,
    running: Option<&Digest>,
    offered: Option<&Digest>,
) -> bool {
    verdict != Verdict::UpToDate && offered.is_some() && offered != running
}
