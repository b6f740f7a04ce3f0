//! stub
use crate::core::credentials::Credentials;
use crate::core::offer::{LookupError, Offer};
use crate::core::reference::{Digest, Platform, Reference};
#[allow(missing_docs)]
pub trait Registry: Send + Sync + 'static {
    fn head(
        &self,
        reference: &Reference,
    ) -> impl Future<Output = Result<Digest, LookupError>> + Send;
    fn resolve(
        &self,
        reference: &Reference,
        digest: &Digest,
        platform: &Platform,
    ) -> impl Future<Output = Result<Offer, LookupError>> + Send;
    fn credentials(
        &self,
        registry: &str,
    ) -> impl Future<Output = Result<Option<Credentials>, LookupError>> + Send;
}
