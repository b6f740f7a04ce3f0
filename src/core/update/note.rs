//! Facts that become known during an update, as its journal holds them.

use serde::{Deserialize, Serialize};

use super::history::Cause;

/// The image that a member gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewImage {
    /// The number of the member.
    pub member: usize,
    pub id: String,
    /// Whether this update fetched it. A power cut may have damaged an older copy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fetched: bool,
}

impl NewImage {
    /// The same, with what was known of it.
    pub(super) fn with(&self, known: &[Self]) -> Self {
        let was_fetched =
            known.iter().any(|it| it.member == self.member && it.id == self.id && it.fetched);
        Self { fetched: self.fetched || was_fetched, ..self.clone() }
    }
}

/// How far a job has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobNote {
    /// The number of the job.
    pub number: usize,
    /// The ID of its copy. A copy that was cut off is replaced by a fresh one.
    pub container: String,
    /// How many runs have begun.
    pub runs: u32,
    /// Whether a run has begun in this copy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_used: bool,
    /// The exit code of the run that ended by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// The last log lines of that run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
}

impl JobNote {
    /// Whether it ended well. Then it never runs again in this update.
    #[must_use]
    pub fn has_succeeded(&self) -> bool {
        self.exit_code == Some(0)
    }
}

/// Facts that become known during the update.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "NoteFormat")]
pub struct Note {
    /// The new images, on `pull` done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub new_images: Vec<NewImage>,
    /// The IDs of the new containers of all members, in their order, on `create` done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub new_containers: Vec<String>,
    /// How far jobs have come, on `started` of `run`: before each run, and after its end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<JobNote>,
    /// The members are stopped before a job runs, on `started` of `run`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stops_for_jobs: bool,
    /// Why the update is rolled back, on `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The last log lines of the failed container, on `undo_done` of `create`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
    /// Images that are about to lose the tag that shows their owner, on `started` of `clean`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
    /// Dependents that a person recreated during their trial, on `started` of `verify`: the
    /// container there now is that person's, and the update continues without it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub released: Vec<usize>,
    /// Service gap so far, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap_milliseconds: Option<u64>,
}

impl Note {
    /// The ID of the new container of a member, if it is known.
    #[must_use]
    pub fn new_container_of(&self, number: usize) -> Option<&str> {
        let of_job = self.job(number).map(|job| job.container.as_str());
        of_job.or_else(|| self.new_containers.get(number).map(String::as_str))
    }

    /// How far the job with this number has come, if it was begun.
    #[must_use]
    pub fn job(&self, number: usize) -> Option<&JobNote> {
        self.jobs.iter().find(|job| job.number == number)
    }

    /// The ID of the new image of a member, if it is known.
    #[must_use]
    pub fn new_image_of(&self, number: usize) -> Option<&str> {
        self.new_image(number).map(|image| image.id.as_str())
    }

    /// Whether this update fetched the new image of a member.
    #[must_use]
    pub fn has_fetched(&self, number: usize) -> bool {
        self.new_image(number).is_some_and(|image| image.fetched)
    }

    fn new_image(&self, number: usize) -> Option<&NewImage> {
        self.new_images.iter().find(|image| image.member == number)
    }
}

/// A note as it is read. Versions before format 3 of the journal named the main container and its
/// dependents apart.
#[derive(Default, Deserialize)]
#[serde(default)]
struct NoteFormat {
    new_images: Vec<NewImage>,
    new_containers: Vec<String>,
    jobs: Vec<JobNote>,
    stops_for_jobs: bool,
    cause: Option<Cause>,
    log: Vec<String>,
    dropped: Vec<String>,
    released: Vec<usize>,
    gap_milliseconds: Option<u64>,
    // Before format 3.
    new_image: Option<String>,
    fetched: bool,
    new_container: Option<String>,
    new_dependents: Vec<String>,
}

impl From<NoteFormat> for Note {
    fn from(read: NoteFormat) -> Self {
        let fetched = read.fetched;
        let of_main = |id| NewImage { member: 0, id, fetched };
        let older_containers = read.new_container.into_iter().chain(read.new_dependents);
        Self {
            new_images: read.new_images.into_iter().chain(read.new_image.map(of_main)).collect(),
            new_containers: read.new_containers.into_iter().chain(older_containers).collect(),
            jobs: read.jobs,
            stops_for_jobs: read.stops_for_jobs,
            cause: read.cause,
            log: read.log,
            dropped: read.dropped,
            released: read.released,
            gap_milliseconds: read.gap_milliseconds,
        }
    }
}
