//! A job of a plan: a one-shot, such as a migration.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Member;
use crate::core::policy::group::Meanwhile;

/// A one-shot that runs before the members of a plan are replaced. A fresh copy of its container
/// runs to its end. At the commit the copy takes the place of the container that ended before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The container, and its image.
    #[serde(flatten)]
    pub member: Member,
    /// How long it may run.
    pub timeout: Duration,
    /// What the members do meanwhile.
    #[serde(default)]
    pub meanwhile: Meanwhile,
}
