//! The port to registries: the digest behind a tag, the image behind a digest, and logins.
//!
//! ```text
//! client       HttpRegistry: the mirrors of a registry, then itself   <- start here
//! lookup/      what a check asks for: the digest behind a tag, the image behind a digest
//! transfer/    what the mirror asks for: manifests, blobs as streams, uploads
//! protocol/    one host: logins, TLS, redirects, limits, pauses
//! ```
//!
//! This module decides nothing about a container, and nothing here is a reason to pull: a failure
//! becomes a [`LookupError`] with one reason and one sentence.

mod client;
#[doc(hidden)]
pub mod fuzzing;
mod lookup;
mod protocol;
pub mod transfer;

use std::collections::BTreeMap;
use std::future::Future;

pub use client::HttpRegistry;
pub use protocol::settings::{HostSettings, Limits, RegistrySettings, SettingsError};

use crate::core::decide::offer::{LookupError, Offer};
use crate::core::decide::quota::Quota;
pub use crate::core::docker::credentials::Credentials;
use crate::core::docker::engine_registries::EngineRegistries;
use crate::core::docker::reference::{Digest, Platform, Reference};

/// A client of registries.
pub trait Registry: Send + Sync + 'static {
    /// The digest that a reference's tag points at, by one `HEAD`, which costs no quota.
    ///
    /// A registry that does not send the digest is asked by `GET` once, and the body is hashed.
    ///
    /// # Errors
    /// Every failure, each with one reason.
    fn head(
        &self,
        reference: &Reference,
    ) -> impl Future<Output = Result<Digest, LookupError>> + Send;

    /// The image behind `digest` for one platform: index, manifest and configuration, each checked
    /// against its digest. `GET`s of manifests cost quota, so call this only if the digest is new.
    ///
    /// # Errors
    /// Every failure, each with one reason; `platform_missing` names the platforms that exist.
    fn resolve(
        &self,
        reference: &Reference,
        digest: &Digest,
        platform: &Platform,
    ) -> impl Future<Output = Result<Offer, LookupError>> + Send;

    /// The manifest or the index behind `digest`, as the registry sent it, checked against the
    /// digest. It costs quota, so call this only if the digest is new.
    ///
    /// # Errors
    /// Every failure, each with one reason.
    fn document(
        &self,
        reference: &Reference,
        digest: &Digest,
    ) -> impl Future<Output = Result<Vec<u8>, LookupError>> + Send;

    /// The login that the Engine needs to pull from this registry; `None` if it pulls anonymously.
    ///
    /// # Errors
    /// There is a login, but it cannot be read.
    fn credentials(
        &self,
        registry: &str,
    ) -> impl Future<Output = Result<Option<Credentials>, LookupError>> + Send;

    /// What each registry last said of its quota, unless its window has ended since then.
    fn quotas(&self) -> BTreeMap<String, Quota> {
        BTreeMap::new()
    }

    /// Sets the Engine's settings for registries: its mirrors of Docker Hub, which are asked after
    /// those from Pilotfish's settings; the registries whose certificates it does not check; its
    /// proxies, which are used if this program's environment names none.
    fn follow_engine(&self, _engine: &EngineRegistries) {}

    /// The hosts that spoke TLS, the latest last. A login never goes to one of them in clear text.
    fn tls_hosts(&self) -> Vec<String> {
        Vec::new()
    }

    /// Adds hosts that spoke TLS before this program was started.
    fn remember_tls(&self, _hosts: &[String]) {}
}

/// Receives the result of every request, for the metrics.
pub trait RegistryObserver: Send + Sync {
    /// A request ended: with an HTTP status (`"200"`), `"timeout"` or `"error"`.
    fn request(&self, registry: &str, code: &str);

    /// What is left of the registry's quota, from its last answer.
    fn rate_limit_remaining(&self, registry: &str, remaining: u64);
}
