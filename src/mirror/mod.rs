//! Carries out one rule of the mirror. It may end at any place and begin again: the addresses of
//! content are the journal.
//!
//! ```text
//! rule        the tags of a rule, one after the other; then `keep`   <- start here
//! tag         one tag: compare, fetch, plan, carry out, look again
//!   companions  what the source has about an image
//!   steps       the steps of the plan
//!     again       requests that another mirror may disturb
//! ```

mod again;
mod companions;
mod rule;
mod steps;
mod tag;

pub use rule::{RuleReport, RuleRun, TagReport};
pub use tag::{TagOutcome, TagPlan};
