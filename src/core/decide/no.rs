//! A "no" with its reason and details.

use chrono::{DateTime, Utc};

use crate::core::decide::reason::Reason;
use crate::core::policy::hooks::Moment;

/// A "no" with its reason and details.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct No {
    pub reason: Reason,
    /// One sentence; may be empty if the reason says everything.
    pub detail: String,
    /// When the window opens that the update waits for; absent if waiting changes nothing.
    pub opens: Option<DateTime<Utc>>,
    /// It lasts longer than it should, so that a person should look at it.
    pub is_overdue: bool,
}

impl No {
    /// A "no" that does not depend on the time.
    #[must_use]
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), opens: None, is_overdue: false }
    }

    /// A group waits, because this one "no" holds one of its members, or another part of it.
    #[must_use]
    pub fn group_waits_for(name: &str, no: &Self) -> Self {
        let detail = match no.detail.as_str() {
            "" => format!("waits for {name}: {}", no.reason),
            detail => format!("waits for {name}: {} ({detail})", no.reason),
        };
        Self { opens: no.opens, ..Self::new(Reason::GroupIncomplete, detail) }
    }

    /// The hook before the update of a container held it; `why` says how the hook ended.
    #[must_use]
    pub fn held_by_hook(container: &str, why: &str) -> Self {
        let detail = format!("the {} hook of {container} {why}", Moment::PreUpdate);
        Self::new(Reason::HeldByHook, detail)
    }
}
