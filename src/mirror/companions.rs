//! What the source has about an image: signatures, attestations, referrers.

use crate::core::docker::manifest::{DOCKER_INDEX, OCI_INDEX};
use crate::core::docker::reference::Digest;
use crate::core::mirror::companions::{Companion, CompanionPlace, cosign_tags, fallback_tag};
use crate::core::mirror::manifest_tree::{ManifestTree, TreeBuilder};
use crate::core::mirror::refusal::CopyError;
use crate::core::mirror::rule::RepositoryName;
use crate::mirror::tag::fetch;
use crate::registry::transfer::Transfer;

/// Looks for the companions of the root and of each manifest below it.
pub(super) async fn find<T: Transfer>(
    registry: &T,
    from: &RepositoryName,
    image: &ManifestTree,
) -> Result<Vec<Companion>, CopyError> {
    let mut found = Vec::new();
    let mut has_api = true;
    let subjects = image.manifests().map(|manifest| &manifest.digest);
    // The root of a subset is not at the source.
    for subject in subjects.filter(|it| image.is_whole() || image.below_root().contains(it)) {
        for tag in cosign_tags(subject) {
            found.extend(of_tag(registry, from, subject, tag, CompanionPlace::CosignTag).await?);
        }
        if has_api {
            match registry.referrers(from, subject).await? {
                Some(list) => {
                    let mut tree = TreeBuilder::new(list.digest.clone(), &[]);
                    tree.add(list)?;
                    let tree = fetch(registry, from, tree).await?;
                    let (place, tag) = (CompanionPlace::Referrers, fallback_tag(subject));
                    let is_empty = tree.below_root().is_empty();
                    let companion = Companion { subject: subject.clone(), place, tag, tree };
                    found.extend((!is_empty).then_some(companion));
                }
                None => has_api = false,
            }
        }
        if !has_api {
            let (place, tag) = (CompanionPlace::Referrers, fallback_tag(subject));
            let companion = of_tag(registry, from, subject, tag, place).await?;
            // Other programs use such a tag for a single manifest; that is no list.
            found.extend(companion.filter(is_list));
        }
    }
    Ok(found)
}

async fn of_tag<T: Transfer>(
    registry: &T,
    from: &RepositoryName,
    subject: &Digest,
    tag: String,
    place: CompanionPlace,
) -> Result<Option<Companion>, CopyError> {
    let Some(digest) = registry.digest_of(from, &tag).await? else { return Ok(None) };
    let tree = fetch(registry, from, TreeBuilder::new(digest, &[])).await?;
    Ok(Some(Companion { subject: subject.clone(), place, tag, tree }))
}

fn is_list(companion: &Companion) -> bool {
    let root = companion.tree.root();
    root.is_some_and(|root| matches!(root.media_type.as_str(), OCI_INDEX | DOCKER_INDEX))
}
