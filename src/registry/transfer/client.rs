//! The registry client as a [`Transfer`]: each call to the session with the registry itself. A
//! mirror of the settings is for checks; a copy is of the registry that the rule names.

use std::sync::Arc;

use crate::core::docker::reference::Digest;
use crate::core::mirror::manifest_tree::{BlobDescriptor, RawManifest};
use crate::core::mirror::refusal::CopyError;
use crate::core::mirror::rule::RepositoryName;
use crate::registry::client::HttpRegistry;
use crate::registry::protocol::session::Session;
use crate::registry::transfer::manifests::At;
use crate::registry::transfer::{Flow, OpenUpload, StoredManifest, Transfer, UploadStart, upload};

fn at<'a>(session: &'a Arc<Session>, name: &'a RepositoryName) -> At<'a> {
    At { session, repository: &name.repository }
}

impl Transfer for HttpRegistry {
    async fn digest_of(
        &self,
        name: &RepositoryName,
        tag: &str,
    ) -> Result<Option<Digest>, CopyError> {
        at(&self.own_session(&name.registry), name).digest_of(tag).await
    }

    async fn manifest(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<RawManifest, CopyError> {
        at(&self.own_session(&name.registry), name).manifest(digest).await
    }

    async fn referrers(
        &self,
        name: &RepositoryName,
        subject: &Digest,
    ) -> Result<Option<RawManifest>, CopyError> {
        at(&self.own_session(&name.registry), name).referrers(subject).await
    }

    async fn tags(&self, name: &RepositoryName) -> Result<Vec<String>, CopyError> {
        at(&self.own_session(&name.registry), name).tags().await
    }

    async fn has_blob(
        &self,
        name: &RepositoryName,
        blob: &BlobDescriptor,
    ) -> Result<bool, CopyError> {
        at(&self.own_session(&name.registry), name).has_blob(blob).await
    }

    async fn begin_upload(
        &self,
        to: &RepositoryName,
        blob: &BlobDescriptor,
        mount_from: Option<&str>,
    ) -> Result<UploadStart, CopyError> {
        at(&self.own_session(&to.registry), to).begin_upload(blob, mount_from).await
    }

    async fn send_blob(
        &self,
        from: &RepositoryName,
        to: &RepositoryName,
        upload: Box<OpenUpload>,
        blob: &BlobDescriptor,
        flow: &Flow,
    ) -> Result<(), CopyError> {
        let source = (self.own_session(&from.registry), from.repository.as_str());
        let target = self.own_session(&to.registry);
        Box::pin(upload::send(source, &target, *upload, blob, flow)).await
    }

    async fn put_manifest(
        &self,
        to: &RepositoryName,
        tag: Option<&str>,
        manifest: &RawManifest,
    ) -> Result<StoredManifest, CopyError> {
        at(&self.own_session(&to.registry), to).put(tag, manifest).await
    }

    async fn delete(&self, name: &RepositoryName, digest: &Digest) -> Result<(), CopyError> {
        at(&self.own_session(&name.registry), name).delete(digest).await
    }
}
