//! The formats in which journals begin.
//!
//! Versions before format 3 wrote the fields of the main container into the plan itself, and those
//! of its dependents into a list beside it. An update that such a version left open is continued.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::{Change, Header, ImageUpdate, Member, Plan, Recorded, Strategy};
use crate::core::subject::Subject;

/// Format 3.
#[derive(Deserialize)]
struct Symmetric {
    version: u32,
    started_at: DateTime<Utc>,
    boot_id: String,
    plan: Plan,
    recorded: Vec<Recorded>,
    live_restore: bool,
}

/// Formats 1 and 2.
#[derive(Deserialize)]
struct MainAndDependents {
    version: u32,
    started_at: DateTime<Utc>,
    boot_id: String,
    plan: OlderPlan,
    original: Value,
    #[serde(default)]
    dependents: Vec<Value>,
    tag_before: Option<String>,
    live_restore: bool,
}

#[derive(Deserialize)]
struct OlderPlan {
    id: String,
    #[serde(flatten)]
    main: Member,
    #[serde(flatten)]
    update: ImageUpdate,
    #[serde(default)]
    dependents: Vec<Member>,
}

impl TryFrom<Value> for Header {
    type Error = String;

    /// Reads a header of any format. The errors are for people.
    fn try_from(document: Value) -> Result<Self, String> {
        let version = document.get("version").and_then(Value::as_u64).unwrap_or_default();
        if version > u64::from(Self::VERSION) {
            return Err(format!("it has format {version}"));
        }
        let in_words = |error: serde_json::Error| error.to_string();
        let is_symmetric = document.pointer("/plan/members").is_some();
        let header = if is_symmetric {
            Self::from(serde_json::from_value::<Symmetric>(document).map_err(in_words)?)
        } else {
            Self::from(serde_json::from_value::<MainAndDependents>(document).map_err(in_words)?)
        };
        let (planned, recorded) = (header.plan.all_numbers().len(), header.recorded.len());
        if planned == 0 || recorded != planned {
            return Err(format!("it plans {planned} containers, and records {recorded}"));
        }
        Ok(header)
    }
}

impl From<Symmetric> for Header {
    fn from(header: Symmetric) -> Self {
        let Symmetric { version, started_at, boot_id, plan, recorded, live_restore } = header;
        Self { version, started_at, boot_id, plan, recorded, live_restore }
    }
}

impl From<MainAndDependents> for Header {
    fn from(header: MainAndDependents) -> Self {
        let OlderPlan { id, mut main, update, dependents } = header.plan;
        main.change = Change::To(Box::new(update));
        let subject = Subject::container(&main.container);
        let members = std::iter::once(main).chain(dependents).collect();
        let main = Recorded { original: header.original, tag_before: header.tag_before };
        let others = header.dependents.into_iter();
        let others = others.map(|original| Recorded { original, tag_before: None });
        Self {
            version: header.version,
            started_at: header.started_at,
            boot_id: header.boot_id,
            plan: Plan {
                id,
                subject,
                by: None,
                members,
                strategy: Strategy::StopFirst,
                jobs: Vec::new(),
                guards: Vec::new(),
                data: None,
            },
            recorded: std::iter::once(main).chain(others).collect(),
            live_restore: header.live_restore,
        }
    }
}

#[cfg(test)]
#[path = "format_tests.rs"]
mod tests;
