//! How an update ended: outcome, cause, and the line of history.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::core::docker::reference::Digest;
use crate::core::subject::Subject;

/// Who or what is at fault if an update did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The new image: it is refused from now on.
    Image,
    /// The Engine, the disk, the registry or the network: a later try may succeed.
    Surroundings,
    /// A kill, a restart or a power cut: the image was not judged.
    Interruption,
    /// The copy of the image on this machine, damaged by a power cut. It is removed, and the next
    /// round pulls it again.
    DamagedCopy,
    /// A person: `pilotfish rollback`, or a container removed during the update.
    Person,
    /// Its container: a lock appeared before the switch. Nothing was stopped.
    Lock,
}

/// Why an update is rolled back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    pub fault: Fault,
    /// What happened, in one sentence.
    pub detail: String,
    /// The number of the member whose image is at fault. Absent if the fault is not that of one
    /// image; versions before format 3 of the journal meant the first member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<usize>,
}

impl Cause {
    fn new(fault: Fault, detail: impl Into<String>) -> Self {
        Self { fault, detail: detail.into(), member: None }
    }

    /// The new image failed.
    #[must_use]
    pub fn image(detail: impl Into<String>) -> Self {
        Self::new(Fault::Image, detail)
    }

    /// The same for the image of this member alone.
    #[must_use]
    pub const fn of_member(mut self, number: usize) -> Self {
        self.member = Some(number);
        self
    }

    /// Whether it says something about the image of this member.
    #[must_use]
    pub fn concerns(&self, number: usize) -> bool {
        self.member.is_none_or(|member| member == number)
    }

    /// Something around the update failed.
    #[must_use]
    pub fn surroundings(detail: impl Into<String>) -> Self {
        Self::new(Fault::Surroundings, detail)
    }

    /// The update was interrupted.
    #[must_use]
    pub fn interrupted(detail: impl Into<String>) -> Self {
        Self::new(Fault::Interruption, detail)
    }

    /// The copy of the image on this machine is damaged.
    #[must_use]
    pub fn damaged_copy(detail: impl Into<String>) -> Self {
        Self::new(Fault::DamagedCopy, detail)
    }

    /// A person acted on the containers of the update.
    #[must_use]
    pub fn person(detail: impl Into<String>) -> Self {
        Self::new(Fault::Person, detail)
    }

    /// The container locked its update before the switch.
    #[must_use]
    pub fn lock(detail: impl Into<String>) -> Self {
        Self::new(Fault::Lock, detail)
    }

    /// Whether the new container did not work, independent of the fault.
    #[must_use]
    pub const fn is_failure(&self) -> bool {
        matches!(self.fault, Fault::Image | Fault::Surroundings | Fault::DamagedCopy)
    }

    /// Whether the digest is refused from now on.
    #[must_use]
    pub const fn blames_image(&self) -> bool {
        matches!(self.fault, Fault::Image)
    }
}

/// How an update ended. The words are those of the metric `pilotfish_updates_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The new container serves.
    Updated,
    /// The old container serves again, because the new one was not healthy.
    RolledBack,
    /// Nothing was switched; the old container was never touched.
    Failed,
    /// A kill, a restart or a power cut interrupted it; the old container serves.
    Interrupted,
    /// Neither the update nor the rollback could be finished; a person is needed.
    Stuck,
}

impl Outcome {
    /// All outcomes, for the metric.
    pub const ALL: [Self; 5] =
        [Self::Updated, Self::RolledBack, Self::Failed, Self::Interrupted, Self::Stuck];

    /// The word used in history, metrics and JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Updated => "updated",
            Self::RolledBack => "rolled_back",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Stuck => "stuck",
        }
    }
}

/// One container of a group in a line of history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRecord {
    pub container: String,
    /// The image as the user wrote it.
    pub image: String,
    /// The digest that ran before, if it is known.
    pub from: Option<Digest>,
    /// The digest that was offered.
    pub to: Option<Digest>,
}

/// One job in a line of history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    pub container: String,
    /// How many runs began.
    pub runs: u32,
    /// The exit code; absent if it never ended by itself.
    pub exit_code: Option<i64>,
    /// Its last log lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
}

/// What the jobs of an update that was rolled back did to the data: a rollback moves no data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataState {
    /// A job began and did not end well: it may have done a part of its work.
    Maybe,
    /// A job ended well: the old code runs on the new schema.
    Migrated,
}

impl DataState {
    /// The word in history and JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Maybe => "maybe",
            Self::Migrated => "migrated",
        }
    }
}

/// What a line of history has only for a group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// The containers that got a new image, or would have got one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MemberRecord>,
    /// The jobs that ran, or would have run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<JobRecord>,
    /// What the jobs did to the data, after a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<DataState>,
}

/// One line of history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The update's ID, unique on this machine.
    pub id: String,
    #[serde(flatten)]
    pub subject: Subject,
    /// The image as the user wrote it.
    pub image: String,
    /// The digest that ran before, if it is known.
    pub from: Option<Digest>,
    /// The digest that was offered.
    pub to: Option<Digest>,
    /// When the update began, by the machine's clock.
    pub started_at: DateTime<Utc>,
    pub finished_at: DateTime<Utc>,
    pub outcome: Outcome,
    /// How many tries in a row ended like this; the line describes the newest one.
    #[serde(default = "once")]
    pub tries: u32,
    /// The reason, for everything but `updated`.
    pub reason: Option<String>,
    /// Seconds from the stop of the old container to the start of the container that serves. Absent
    /// if nothing was stopped, or if it could not be measured.
    pub gap_seconds: Option<f64>,
    /// The last log lines of the failed container; with several containers each line begins with
    /// the container's name.
    #[serde(default)]
    pub log: Vec<String>,
    /// The dependents that were recreated with it, or would have been.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependents: Vec<String>,
    /// What only a group has.
    #[serde(flatten)]
    pub group: GroupRecord,
    /// The client that asked for it through the push API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

const fn once() -> u32 {
    1
}

impl Record {
    /// Whether this record describes the same failure as an earlier one of its container: nothing
    /// was stopped for either, and both were for the same image.
    #[must_use]
    pub fn repeats(&self, earlier: &Self) -> bool {
        let is_failed = |record: &Self| record.outcome == Outcome::Failed;
        self.subject == earlier.subject
            && is_failed(self)
            && is_failed(earlier)
            && self.to == earlier.to
            && self.from == earlier.from
            && self.group.members == earlier.group.members
    }

    /// The containers that it is about. For a service of a Swarm there are none.
    #[must_use]
    pub fn containers(&self) -> Vec<String> {
        if let Some(name) = self.subject.container_name() {
            return vec![name.to_owned()];
        }
        let GroupRecord { members, jobs, .. } = &self.group;
        let members = members.iter().map(|member| &member.container);
        let jobs = jobs.iter().map(|job| &job.container);
        let mut all: Vec<_> = members.chain(jobs).chain(&self.dependents).cloned().collect();
        all.sort();
        all.dedup();
        all
    }

    /// Whether it is about something with this name: the group, the service, the container, or a
    /// container of the group.
    #[must_use]
    pub fn is_about(&self, name: &str) -> bool {
        self.subject.name == name
            || (self.subject.group_name().is_some()
                && self.containers().iter().any(|it| it == name))
    }

    /// The new images that it is about: each with its container or service, the image as the user
    /// wrote it, and the digest.
    pub fn images(&self) -> impl Iterator<Item = (Subject, &str, Option<&Digest>)> {
        let members = self.group.members.iter().map(|member| {
            let subject = Subject::container(&member.container);
            (subject, member.image.as_str(), member.to.as_ref())
        });
        let is_alone = self.subject.group_name().is_none();
        let own = is_alone.then(|| (self.subject.clone(), self.image.as_str(), self.to.as_ref()));
        own.into_iter().chain(members)
    }

    /// One line for an earlier failure and this one, which repeats it. The time of the first try
    /// stays.
    #[must_use]
    pub fn after(&self, earlier: &Self) -> Self {
        let tries = earlier.tries.saturating_add(self.tries);
        Self { tries, started_at: earlier.started_at, ..self.clone() }
    }
}
