//! What a check asks registries for: the digest behind a tag, and the image behind a digest.
//!
//! ```text
//! digest        what a tag points at; costs no quota
//! resolution    from a digest down to the image for one platform
//! ```

pub(super) mod digest;
pub(super) mod resolution;
