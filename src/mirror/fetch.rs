//! Manifests of an image, with all that they name.

use crate::core::mirror::manifest_tree::{ManifestTree, TreeBuilder};
use crate::core::mirror::refusal::CopyError;
use crate::core::mirror::rule::RepositoryName;
use crate::registry::transfer::Transfer;

/// Fetches everything below a digest.
pub(super) async fn fetch<T: Transfer>(
    registry: &T,
    from: &RepositoryName,
    mut tree: TreeBuilder,
) -> Result<ManifestTree, CopyError> {
    while let Some(digest) = tree.next().cloned() {
        tree.add(registry.manifest(from, &digest).await?)?;
    }
    tree.finish().ok_or_else(|| CopyError::nonsense(format!("{from} has an incomplete image")))
}
