//! The group of a container, and its part in it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::LabelError;
use crate::core::docker::compose::{COMPOSE_PROJECT, COMPOSE_SERVICE, depends_on};
use crate::core::group::dependency::{Condition, Dependency};
use crate::core::text::{did_you_mean, shown};
use crate::core::time::duration::{format_duration, parse_duration};

/// The name of the group, or `project`.
pub const LABEL_GROUP: &str = "pilotfish.group";

/// How long the offered digests of the group must have stood still.
pub const LABEL_GROUP_SETTLE: &str = "pilotfish.group.settle";

/// The members that this one starts after.
pub const LABEL_DEPENDS_ON: &str = "pilotfish.depends-on";

/// `before`: the container is a job, which runs before the members are replaced.
pub const LABEL_JOB: &str = "pilotfish.job";

/// How long the job may run.
pub const LABEL_JOB_TIMEOUT: &str = "pilotfish.job.timeout";

/// What the other members do while the job runs.
pub const LABEL_JOB_MEANWHILE: &str = "pilotfish.job.meanwhile";

/// All labels of this file.
pub(super) const GROUP_LABELS: [&str; 6] = [
    LABEL_GROUP,
    LABEL_GROUP_SETTLE,
    LABEL_DEPENDS_ON,
    LABEL_JOB,
    LABEL_JOB_TIMEOUT,
    LABEL_JOB_MEANWHILE,
];

/// The value of [`LABEL_GROUP`] that stands for the Compose project.
const PROJECT: &str = "project";

/// Longest name of a group in bytes. It is a part of file names.
const GROUP_NAME_MAX: usize = 64;

/// Longest time that digests must have stood still: a release whose images are pushed for longer
/// than a day is not one release.
const SETTLE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Most dependencies in one label: more containers than a project has.
const DEPENDENCIES_MAX: usize = 100;

/// How long a job may run if no label says it.
pub const JOB_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10 * 60);

/// Shortest time for a job: its start alone takes a part of a second on a Pi.
const JOB_TIMEOUT_MIN: Duration = Duration::from_secs(1);

/// Longest time for a job. The other updates of the machine do not wait for it, but a release that
/// takes longer wants a person beside it.
const JOB_TIMEOUT_MAX: Duration = Duration::from_secs(60 * 60);

/// What the members of the group do while a job runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Meanwhile {
    /// The old containers serve.
    #[default]
    #[serde(rename = "running")]
    Serving,
    /// The old containers are stopped before, because they cannot bear the new schema.
    Stopped,
}

/// The part of a container in its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The name of the group; `project` is already replaced by the name of the Compose project.
    pub group: String,
    /// How long the digests must have stood still, if this member says it.
    pub settle: Option<Duration>,
    /// The name of its service in the Compose project.
    pub service: Option<String>,
    /// From Compose and from the label.
    pub depends_on: Vec<Dependency>,
    /// Whether a label says that it is a job.
    pub is_job: bool,
    /// How long it may run as a job.
    pub job_timeout: Duration,
    /// What the others do while it runs as a job.
    pub meanwhile: Meanwhile,
}

/// What the labels say so far.
#[derive(Debug, Default)]
struct GroupParts {
    group: Option<String>,
    settle: Option<Duration>,
    depends_on: Vec<Dependency>,
    is_job: bool,
    job_timeout: Option<Duration>,
    meanwhile: Option<Meanwhile>,
}

/// Whether a label is one of this file.
pub(super) fn is_group_label(label: &str) -> bool {
    GROUP_LABELS.contains(&label)
}

/// Reads the labels of a container about its group. Nothing: it is in no group.
///
/// # Errors
/// Every label that is wrong, or that belongs to a group which is not named.
pub(super) fn read(
    labels: &BTreeMap<String, String>,
) -> Result<Option<Membership>, Vec<LabelError>> {
    let mut parts = GroupParts::default();
    let ours = || labels.iter().filter(|(label, _)| is_group_label(label));
    let wrong = |(label, value): (&String, &String), why| LabelError {
        label: label.clone(),
        value: value.clone(),
        why,
    };
    let errors: Vec<_> = ours()
        .filter_map(|(label, value)| {
            let taken = parts.take(labels, label, value.trim());
            taken.err().map(|why| wrong((label, value), why))
        })
        .collect();
    if !errors.is_empty() {
        return Err(errors);
    }
    let Some(group) = parts.group else {
        // A user who wrote them believes that the container has a group.
        let why = || format!("there is no label `{LABEL_GROUP}`, which it belongs to");
        let lonely: Vec<_> = ours().map(|row| wrong(row, why())).collect();
        return if lonely.is_empty() { Ok(None) } else { Err(lonely) };
    };
    let mut all = depends_on(labels);
    all.extend(parts.depends_on);
    Ok(Some(Membership {
        group,
        settle: parts.settle,
        service: labels.get(COMPOSE_SERVICE).cloned(),
        depends_on: all,
        is_job: parts.is_job,
        job_timeout: parts.job_timeout.unwrap_or(JOB_TIMEOUT_DEFAULT),
        meanwhile: parts.meanwhile.unwrap_or_default(),
    }))
}

impl GroupParts {
    fn take(
        &mut self,
        labels: &BTreeMap<String, String>,
        label: &str,
        value: &str,
    ) -> Result<(), String> {
        match label {
            LABEL_GROUP => self.group = Some(group(labels, value)?),
            LABEL_GROUP_SETTLE => self.settle = Some(settle(value)?),
            LABEL_DEPENDS_ON => self.depends_on = dependencies(value)?,
            LABEL_JOB => self.is_job = job(value)?,
            LABEL_JOB_TIMEOUT => self.job_timeout = Some(job_timeout(value)?),
            _ => self.meanwhile = Some(meanwhile(value)?),
        }
        Ok(())
    }
}

fn group(labels: &BTreeMap<String, String>, value: &str) -> Result<String, String> {
    if value != PROJECT {
        return if is_name(value) {
            Ok(value.to_owned())
        } else {
            Err(format!(
                "`{}` is not a name: letters, digits, `-`, `_` and `.`, at most {GROUP_NAME_MAX}",
                shown(value)
            ))
        };
    }
    let project = labels.get(COMPOSE_PROJECT).filter(|project| is_name(project));
    project.cloned().ok_or_else(|| {
        format!("`{PROJECT}` is the Compose project, and Compose did not create this container")
    })
}

fn is_name(text: &str) -> bool {
    let is_fine =
        |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    let begins = text.starts_with(|letter: char| letter.is_ascii_alphanumeric());
    begins && text.len() <= GROUP_NAME_MAX && text.chars().all(is_fine)
}

fn settle(value: &str) -> Result<Duration, String> {
    let asked = parse_duration(value).map_err(|error| error.to_string())?;
    if asked <= SETTLE_MAX {
        return Ok(asked);
    }
    Err(format!("`{}` is longer than {}", shown(value), format_duration(SETTLE_MAX)))
}

/// `db,cache:healthy`. Compose's own words for the conditions are read as well.
fn dependencies(value: &str) -> Result<Vec<Dependency>, String> {
    let entries: Vec<_> = value.split(',').map(str::trim).collect();
    if entries.len() > DEPENDENCIES_MAX {
        return Err(format!("it names more than {DEPENDENCIES_MAX} members"));
    }
    entries.into_iter().map(own_dependency).collect()
}

fn own_dependency(entry: &str) -> Result<Dependency, String> {
    let (on, condition) = entry.split_once(':').unwrap_or((entry, "started"));
    let (on, condition) = (on.trim(), condition.trim());
    if on.is_empty() {
        return Err("the name of a member is missing, as in `db,cache:healthy`".to_owned());
    }
    let condition = match condition.strip_prefix("service_").unwrap_or(condition) {
        "started" => Condition::Started,
        "healthy" => Condition::Healthy,
        "completed" | "completed_successfully" => Condition::Completed,
        other => {
            let suggestion = did_you_mean(other, ["started", "healthy", "completed"]);
            return Err(format!(
                "`{}` is neither `started` nor `healthy` nor `completed`{suggestion}",
                shown(other)
            ));
        }
    };
    Ok(Dependency { on: on.to_owned(), condition, restarts: false })
}

fn job(value: &str) -> Result<bool, String> {
    if value == "before" {
        return Ok(true);
    }
    Err(format!("`{}` is not `before`{}", shown(value), did_you_mean(value, ["before"])))
}

fn job_timeout(value: &str) -> Result<Duration, String> {
    let asked = parse_duration(value).map_err(|error| error.to_string())?;
    if (JOB_TIMEOUT_MIN..=JOB_TIMEOUT_MAX).contains(&asked) {
        return Ok(asked);
    }
    let (least, most) = (format_duration(JOB_TIMEOUT_MIN), format_duration(JOB_TIMEOUT_MAX));
    Err(format!("`{}` is not a time from {least} to {most}", shown(value)))
}

fn meanwhile(value: &str) -> Result<Meanwhile, String> {
    match value {
        "running" => Ok(Meanwhile::Serving),
        "stopped" => Ok(Meanwhile::Stopped),
        other => {
            let suggestion = did_you_mean(other, ["running", "stopped"]);
            Err(format!("`{}` is neither `running` nor `stopped`{suggestion}", shown(other)))
        }
    }
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
