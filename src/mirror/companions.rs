//! What the source has about an image: signatures, attestations, referrers.

use std::collections::BTreeSet;

use crate::core::docker::reference::Digest;
use crate::core::mirror::companions::{
    Companion, CompanionPlace, cosign_tags, fallback_tag, listed_referrers,
};
use crate::core::mirror::manifest_tree::{ManifestTree, RawManifest, TreeBuilder};
use crate::core::mirror::refusal::CopyError;
use crate::core::mirror::rule::RepositoryName;
use crate::mirror::fetch::fetch;
use crate::registry::transfer::Transfer;

/// Looks for companions.
pub(super) struct CompanionSearch<'a, T> {
    registry: &'a T,
    from: &'a RepositoryName,
    /// Those that are there already are left out.
    known_at: Option<&'a RepositoryName>,
    /// Registries without the API for referrers.
    without_api: BTreeSet<&'a str>,
}

impl<'a, T: Transfer> CompanionSearch<'a, T> {
    /// Looks for all companions.
    pub(super) fn new(registry: &'a T, from: &'a RepositoryName) -> Self {
        Self { registry, from, known_at: None, without_api: BTreeSet::new() }
    }

    /// Looks for those that another repository lacks.
    pub(super) fn missing_at(self, known_at: &'a RepositoryName) -> Self {
        Self { known_at: Some(known_at), ..self }
    }

    /// The companions of the root of an image, and of each manifest below it.
    pub(super) async fn find(&mut self, image: &ManifestTree) -> Result<Vec<Companion>, CopyError> {
        let mut found = Vec::new();
        let subjects = image.manifests().map(|manifest| &manifest.digest);
        // The root of a subset is not at the source.
        for subject in subjects.filter(|it| image.is_whole() || image.below_root().contains(it)) {
            for tag in cosign_tags(subject) {
                found.extend(self.of_tag(subject, tag).await?);
            }
            found.extend(self.of_referrers(subject).await?);
        }
        Ok(found)
    }

    async fn of_tag(&self, subject: &Digest, tag: String) -> Result<Option<Companion>, CopyError> {
        let Some(digest) = self.registry.digest_of(self.from, &tag).await? else { return Ok(None) };
        if let Some(to) = self.known_at
            && self.registry.digest_of(to, &tag).await?.as_ref() == Some(&digest)
        {
            return Ok(None);
        }
        let tree = fetch(self.registry, self.from, TreeBuilder::new(digest, &[])).await?;
        let (subject, place) = (subject.clone(), CompanionPlace::CosignTag);
        Ok(Some(Companion { subject, place, tag, tree }))
    }

    async fn of_referrers(&mut self, subject: &Digest) -> Result<Option<Companion>, CopyError> {
        let Some(list) = self.referrers(self.from, subject).await? else { return Ok(None) };
        let wanted = listed_referrers(&list.bytes);
        let there: BTreeSet<_> = match self.known_at {
            Some(to) => {
                let list = self.referrers(to, subject).await?;
                list.map(|list| listed_referrers(&list.bytes)).unwrap_or_default()
            }
            None => BTreeSet::new(),
        };
        if wanted.is_subset(&there) {
            return Ok(None);
        }
        let mut tree = TreeBuilder::new(list.digest.clone(), &[]);
        tree.add(list)?;
        let tree = fetch(self.registry, self.from, tree).await?;
        let (subject, place, tag) =
            (subject.clone(), CompanionPlace::Referrers, fallback_tag(subject));
        Ok(Some(Companion { subject, place, tag, tree }))
    }

    /// The list of referrers, from the API, or from the tag for registries without it. Other
    /// programs use such a tag for a single manifest; that is no list.
    async fn referrers(
        &mut self,
        at: &'a RepositoryName,
        subject: &Digest,
    ) -> Result<Option<RawManifest>, CopyError> {
        if !self.without_api.contains(at.registry.as_str()) {
            match self.registry.referrers(at, subject).await? {
                Some(list) => return Ok(Some(list)),
                None => self.without_api.insert(&at.registry),
            };
        }
        let Some(digest) = self.registry.digest_of(at, &fallback_tag(subject)).await? else {
            return Ok(None);
        };
        let manifest = self.registry.manifest(at, &digest).await?;
        Ok(manifest.is_index().then_some(manifest))
    }
}
