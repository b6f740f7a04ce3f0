//! The rules for services of a Swarm.
//!
//! Swarm replaces the tasks of a service by itself, one after the other. Its own verdict says
//! little: it says `completed` over a crash loop, over a task without its ports, and after a
//! restart of its manager. So the agent changes the specification once, and then judges by itself
//! what it sees: every place of the service must run the new image for the stable time. If not, it
//! goes back.
//!
//! ```text
//! facts   node task      what a document of the Engine says; nothing is written back from there
//! constraint             on which nodes a service may run
//! decision               facts -> a plan, or a "no"
//! update_config spec     what is written: the update, the rollback, and the user's settings again
//! prepull                a job that makes every node pull the image before anything is stopped
//! watch rollback         looks -> a verdict, and what a rollback does next
//! progress resume        the journal, and what a later agent makes of it
//! ```

pub mod constraint;
pub mod decision;
pub mod facts;
pub mod node;
pub mod outcome;
pub mod outline;
pub mod plan;
pub mod prepull;
pub mod progress;
pub mod resume;
pub mod rollback;
pub mod spec;
pub mod task;
pub mod update_config;
pub mod watch;

#[cfg(test)]
pub mod recorded;

use std::collections::BTreeMap;

use serde_json::Value;

/// The labels at a JSON pointer; a value that is no text is left out.
fn labels(document: &Value, pointer: &str) -> BTreeMap<String, String> {
    let labels = document.pointer(pointer).and_then(Value::as_object).into_iter().flatten();
    let read = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
    labels.filter_map(read).collect()
}
