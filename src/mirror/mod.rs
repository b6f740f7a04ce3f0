//! Carries out one rule of the mirror. It may end at any place and begin again: the addresses of
//! content are the journal.
//!
//! ```text
//! service     all rules of a process: when each runs, what it remembers   <- start here
//!   rule        the tags of a rule, one after the other; then `keep`
//!     tag         one tag: compare, fetch, plan, carry out, look again
//!       companions  what the source has about an image
//!       steps       the steps of the plan
//!         turn        when a blob may move
//!         again       requests that another mirror may disturb
//!   listener    what is told of it
//! ```

mod again;
mod companions;
mod listener;
mod rule;
mod service;
mod steps;
mod tag;
mod turn;

pub use listener::{MirrorEvent, MirrorListener};
pub use rule::{RulePreview, RuleReport, RuleRun, TagReport};
pub use service::{Mirror, MirrorClock, MirrorHandle, PlannedRule};
pub use tag::{TagOutcome, TagPlan, TagPreview};
pub use turn::Turns;
