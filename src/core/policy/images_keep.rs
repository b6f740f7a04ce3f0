//! How many previous images stay on disk.

use crate::core::text::shown;

/// Most previous images that are kept: more fill an SD card, and no user rolls back that far.
pub const IMAGES_KEEP_MAX: u32 = 100;

/// A value of `images.keep` that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a number from 0 to {IMAGES_KEEP_MAX}")]
pub struct ImagesKeepError(String);

/// Reads `images.keep`: a whole number up to [`IMAGES_KEEP_MAX`].
///
/// # Errors
/// Says what is wrong, and what is valid.
pub fn parse_images_keep(text: &str) -> Result<u32, ImagesKeepError> {
    let number = text.trim().parse().ok().filter(|number| *number <= IMAGES_KEEP_MAX);
    number.ok_or_else(|| ImagesKeepError(shown(text)))
}
