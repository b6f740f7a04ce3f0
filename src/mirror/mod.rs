//! Carries out one rule of the mirror. It may end at any place and begin again: the addresses of
//! content are the journal.
//!
//! ```text
//! service     all rules of a process: when each runs, what it remembers   <- start here
//!   rule        the tags of a rule, one after the other; then `keep`
//!     tag         one tag: compare, fetch, plan, carry out, look again
//!       companions  what the source has about an image
//!         fetch       manifests with all that they name
//!       steps       the steps of the plan
//!         again       requests that another mirror may disturb
//!     run         what one run works with
//!       turn        when a blob may move
//!       listener    what is told of it
//!         report      what it did, or would do
//! ```

mod again;
mod companions;
mod fetch;
mod listener;
mod report;
mod rule;
mod run;
mod service;
mod steps;
mod tag;
mod turn;

pub use listener::{MirrorEvent, MirrorListener};
pub use report::{RulePreview, RuleReport, TagOutcome, TagPlan, TagPreview, TagReport};
pub use run::RuleRun;
pub use service::{Mirror, MirrorClock, MirrorHandle, PlannedRule};
pub use turn::Turns;
