//! The port to registries: what a tag points at, what is behind a digest, and who may ask.
//!
//! ```text
//! client        HttpRegistry: the mirrors of a registry, then itself   <- begin here
//!   resolution    from a digest down to the image for one platform
//!   session       one host: its pause, its queue, its login
//!     backoff       how long a host is left alone after which failure
//!     challenge     what a 401 asks for
//!     token         bearer tokens, until they expire
//!   transport     one exchange: with or without TLS, redirects
//!     hosts         what is known and allowed of each host
//!     wire          one request and its answer, within their limits, counted
//!     plain_heads   cheap connections for what is asked most where there is no TLS
//!     trust         certificates on disk; one HTTP client per trust set
//!     verifier      which certificate of a server is good
//!       issued        whether an authority signed one that calls itself an authority
//!     resolver      names that a registry sends us to
//!     proxy         the environment's proxies, or the Engine's
//!     quotas        what registries say of their quotas
//!     failure       every way to fail, and its one reason
//!     retry_after   how long a registry asks to be left alone
//!   credentials   logins: our settings, docker's configuration, helpers
//! ```
//!
//! Nothing here decides anything about a container, and nothing is ever a reason to pull: what
//! goes wrong comes back as a [`LookupError`] with one reason and one sentence.

mod backoff;
mod challenge;
mod client;
mod credentials;
mod docker_config;
mod endpoint;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod credential_helper;
mod hosts;
mod certificate_signature;
mod proxy;
mod rate_limit;
mod resolution;
mod dns;
mod retry_after;
mod session;
mod settings;
mod token;
mod transport;
mod tls;
mod plain_heads;
mod verifier;
mod http;

use std::collections::BTreeMap;
use std::future::Future;

pub use client::HttpRegistry;
pub use settings::{HostSettings, Limits, RegistrySettings, SettingsError};

use crate::core::decide::offer::{LookupError, Offer};
use crate::core::decide::quota::Quota;
pub use crate::core::docker::credentials::Credentials;
use crate::core::docker::engine_registries::EngineRegistries;
use crate::core::docker::reference::{Digest, Platform, Reference};

/// What is asked of registries.
pub trait Registry: Send + Sync + 'static {
    /// The digest a reference's tag points at, by one `HEAD`, which costs no quota.
    ///
    /// A registry that does not name the digest is asked by `GET` once, and the body is hashed.
    ///
    /// # Errors
    /// Every failure, with its one reason.
    fn head(
        &self,
        reference: &Reference,
    ) -> impl Future<Output = Result<Digest, LookupError>> + Send;

    /// What is behind `digest` for one platform: index, manifest and configuration, each checked
    /// against its digest. `GET`s of manifests cost quota, so ask only when the digest is new.
    ///
    /// # Errors
    /// Every failure, with its one reason; `platform_missing` names what there is instead.
    fn resolve(
        &self,
        reference: &Reference,
        digest: &Digest,
        platform: &Platform,
    ) -> impl Future<Output = Result<Offer, LookupError>> + Send;

    /// What the Engine must be given to pull from this registry; nothing where it pulls
    /// anonymously.
    ///
    /// # Errors
    /// There is a login, but it cannot be read.
    fn credentials(
        &self,
        registry: &str,
    ) -> impl Future<Output = Result<Option<Credentials>, LookupError>> + Send;

    /// What each registry said last of its quota, unless its window has turned since.
    fn quotas(&self) -> BTreeMap<String, Quota> {
        BTreeMap::new()
    }

    /// What the Engine says of registries: its mirrors of Docker Hub, which are asked behind those
    /// that were set for it here; the registries whose certificates it does not check; its proxies,
    /// which count where this program's environment names none.
    fn follow_engine(&self, _engine: &EngineRegistries) {}

    /// The hosts that spoke TLS, the latest last. A login never goes to one of them in clear.
    fn tls_hosts(&self) -> Vec<String> {
        Vec::new()
    }

    /// Hosts that spoke TLS before this program was started.
    fn remember_tls(&self, _hosts: &[String]) {}
}

/// Hears of every request, for the metrics.
pub trait RegistryObserver: Send + Sync {
    /// A request ended: with an HTTP status (`"200"`), `"timeout"` or `"error"`.
    fn request(&self, registry: &str, code: &str);

    /// What is left of the registry's quota, as its last answer said.
    fn rate_limit_remaining(&self, registry: &str, remaining: u64);
}
