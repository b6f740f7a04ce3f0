//! The releases of the cases: a good one, and one for each kind of failure.

use std::time::Duration;

use crate::support::images::Release;

/// How the next release of the service behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Good,
    /// It ends before it serves.
    ExitsAtOnce,
    /// It ends in the middle of its verification.
    DiesInVerification,
    /// Its HEALTHCHECK fails.
    Unhealthy,
    /// Its HEALTHCHECK never comes to a result.
    NeverHealthy,
    /// The job of its group ends with an error.
    JobFails,
    /// The job of its group takes longer than it may.
    JobOverruns,
}

impl Kind {
    /// Those of a service without a group.
    pub const ALL: [Self; 5] = [
        Self::Good,
        Self::ExitsAtOnce,
        Self::DiesInVerification,
        Self::Unhealthy,
        Self::NeverHealthy,
    ];

    /// The release, with this version.
    pub fn release(self, version: &str) -> Release {
        let release = Release::new(version);
        match self {
            Self::Good | Self::JobFails | Self::JobOverruns => release,
            Self::ExitsAtOnce => release.with("TILL_EXIT_AFTER", "0s"),
            Self::DiesInVerification => release.with("TILL_EXIT_AFTER", "300ms"),
            Self::Unhealthy => release
                .with("TILL_UNHEALTHY_AFTER", "0s")
                .with_healthcheck(Duration::from_millis(200), 1),
            Self::NeverHealthy => release
                .with("TILL_UNHEALTHY_AFTER", "0s")
                .with_healthcheck(Duration::from_millis(200), 1000),
        }
    }

    pub const fn is_good(self) -> bool {
        matches!(self, Self::Good)
    }

    /// Whether no member of its group is replaced.
    pub const fn has_bad_job(self) -> bool {
        matches!(self, Self::JobFails | Self::JobOverruns)
    }

    pub const fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::ExitsAtOnce => "exits at once",
            Self::DiesInVerification => "dies in verification",
            Self::Unhealthy => "unhealthy",
            Self::NeverHealthy => "never healthy",
            Self::JobFails => "its job fails",
            Self::JobOverruns => "its job overruns",
        }
    }
}
