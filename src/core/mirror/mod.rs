//! The rules of the mirror: what is copied from one registry to another, in which order, and what
//! is refused.
//!
//! ```text
//! rule              one `[[mirror]]` of the configuration
//!   tag_expression    the expression that selects tags
//! scope             what one run is about: all tags, or those that a push named
//! tag_state         whether a tag is copied at all
//! manifest_tree     a manifest or an index with everything below it, its bytes unchanged
//!   subset            the smaller index of a rule that wants some platforms
//! companions        signatures, attestations and other documents about an image
//! plan              the steps of one tag's copy   <- start here
//! memory            what was written under each tag
//! retention         which old tags are deleted
//! refusal           every "no" of the mirror, with advice
//! ```

pub mod companions;
pub mod manifest_tree;
pub mod memory;
pub mod plan;
pub mod refusal;
pub mod retention;
pub mod rule;
pub mod scope;
mod subset;
pub mod tag_expression;
pub mod tag_state;
