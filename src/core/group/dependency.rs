//! One member of a group depends on another one.

/// What the other member must have done before this one starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// It was started.
    Started,
    /// It is healthy. Like `Started` it only orders the starts: a wait between two starts would
    /// make the service gap longer, and the verification at the end covers it.
    Healthy,
    /// It ran to its end, with exit code 0: it is a job.
    Completed,
}

/// One dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The name of a service of the same Compose project, or of a container.
    pub on: String,
    pub condition: Condition,
    /// Whether this one is recreated when the other one is.
    pub restarts: bool,
}
