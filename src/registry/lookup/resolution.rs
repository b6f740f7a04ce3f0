//! From a digest down to the image for one platform: index, nested indexes, manifest,
//! configuration.

use reqwest::header::CONTENT_TYPE;

use crate::core::decide::offer::{LookupError, Offer};
use crate::core::decide::reason::Reason;
use crate::core::docker::manifest::{
    Configuration, Document, IndexEntry, Manifest, ManifestError, candidates, check_layers, fits,
    is_accepted, parse_configuration, parse_document,
};
use crate::core::docker::reference::{Digest, Platform, Reference};
use crate::registry::protocol::error::Failure;
use crate::registry::protocol::query::RegistryQuery;
use crate::registry::protocol::request::HttpResponse;
use crate::registry::protocol::session::Session;

/// Most manifests fetched for one image. Each costs quota. A nested index with two entries to try
/// needs four, and an index without platforms has each of its entries tried.
const MANIFESTS_MAX: usize = 16;

/// Most platforms named in the sentence about a missing one.
const PLATFORMS_NAMED_MAX: usize = 12;

/// One lookup behind a digest.
pub(in crate::registry) struct Resolution<'a> {
    session: &'a Session,
    reference: &'a Reference,
    platform: &'a Platform,
    /// The platforms that exist, for the sentence about the missing one.
    seen: Vec<String>,
    /// The real platform of an entry that the index lists as matching.
    misnamed: Option<Platform>,
}

impl<'a> Resolution<'a> {
    /// A lookup that has not started.
    pub fn new(session: &'a Session, reference: &'a Reference, platform: &'a Platform) -> Self {
        Self { session, reference, platform, seen: Vec::new(), misnamed: None }
    }

    /// Walks down from `index`, the best entry first, to a manifest whose configuration fits.
    pub async fn run(mut self, index: &Digest) -> Result<Offer, LookupError> {
        let mut waiting = vec![index.clone()];
        for _ in 0..MANIFESTS_MAX {
            let Some(digest) = waiting.pop() else { break };
            match self.document(&digest).await? {
                Document::Index(entries) => {
                    self.note(&entries);
                    let best_first = candidates(&entries, self.platform).into_iter();
                    waiting.extend(best_first.rev().map(|entry| entry.digest.clone()));
                }
                Document::Manifest(manifest) => {
                    let configuration = self.configuration(&manifest).await?;
                    if fits(self.platform, &configuration.platform) {
                        return Ok(offer(self.reference, (index, digest), manifest, configuration));
                    }
                    if digest == *index {
                        self.seen.push(configuration.platform.to_string());
                    } else {
                        self.misnamed = Some(configuration.platform);
                    }
                }
            }
        }
        Err(self.missing())
    }

    async fn document(&self, digest: &Digest) -> Result<Document, LookupError> {
        let ask = RegistryQuery::manifest(self.reference, digest);
        let read = |answer| {
            let answer = self.session.accept(&ask, answer)?;
            self.check_digest(&ask, digest, &answer)?;
            check_content_type(self.session, &ask, &answer)?;
            parse_document(&answer.body).map_err(|error| self.nonsense(&ask, &error))
        };
        self.session.ask(&ask, read).await
    }

    async fn configuration(&self, manifest: &Manifest) -> Result<Configuration, LookupError> {
        let ask = RegistryQuery::blob(self.reference, &manifest.config);
        let read = |answer| {
            let answer = self.session.accept(&ask, answer)?;
            self.check_digest(&ask, &manifest.config, &answer)?;
            let read = parse_configuration(&answer.body)
                .and_then(|read| check_layers(manifest, &read).map(|()| read));
            read.map_err(|error| self.nonsense(&ask, &error))
        };
        self.session.ask(&ask, read).await
    }

    fn check_digest(
        &self,
        ask: &RegistryQuery,
        digest: &Digest,
        answer: &HttpResponse,
    ) -> Result<(), Failure> {
        if digest.matches(&answer.body) {
            return Ok(());
        }
        let host = &self.session.endpoint.host;
        Err(Failure::nonsense(format!("{host} sent something other than {}", ask.what)))
    }

    fn nonsense(&self, ask: &RegistryQuery, error: &ManifestError) -> Failure {
        let host = &self.session.endpoint.host;
        Failure::nonsense(format!("the answer of {host} for {} is unusable: {error}", ask.what))
    }

    fn note(&mut self, entries: &[IndexEntry]) {
        let platforms = entries.iter().filter_map(|entry| entry.platform.as_ref());
        self.seen.extend(platforms.map(Platform::to_string));
    }

    fn missing(self) -> LookupError {
        let (reference, platform) = (self.reference, self.platform);
        let detail = match &self.misnamed {
            Some(other) => format!(
                "{reference} has no image for {platform}: the index entry for it is for {other}"
            ),
            None => format!("{reference} has no image for {platform}; it has {}", self.instead()),
        };
        LookupError::new(Reason::PlatformMissing, detail)
    }

    /// The platforms that exist.
    fn instead(mut self) -> String {
        self.seen.sort();
        self.seen.dedup();
        let more = self.seen.len().saturating_sub(PLATFORMS_NAMED_MAX);
        self.seen.truncate(PLATFORMS_NAMED_MAX);
        let mut instead = self.seen.join(", ");
        if instead.is_empty() {
            instead.push_str("nothing");
        }
        if more > 0 {
            instead.push_str(&format!(" and {more} more"));
        }
        instead
    }
}

fn offer(
    reference: &Reference,
    (index, digest): (&Digest, Digest),
    manifest: Manifest,
    configuration: Configuration,
) -> Offer {
    let version = configuration.version.and_then(|stated| stated.own(reference).cloned());
    Offer {
        index: index.clone(),
        manifest: digest,
        config: manifest.config,
        platform: configuration.platform,
        layers: manifest.layers,
        diff_ids: configuration.diff_ids,
        version,
    }
}

/// Whether an answer is marked as a manifest, or has no type.
pub(in crate::registry) fn has_manifest_type(answer: &HttpResponse) -> bool {
    let content_type = answer.headers.get(CONTENT_TYPE);
    content_type.is_none_or(|value| value.to_str().is_ok_and(is_accepted))
}

/// Refuses an answer that is marked as something else than a manifest: usually a login page.
pub(in crate::registry) fn check_content_type(
    session: &Session,
    ask: &RegistryQuery,
    answer: &HttpResponse,
) -> Result<(), Failure> {
    if has_manifest_type(answer) {
        return Ok(());
    }
    let (host, what) = (&session.endpoint.host, &ask.what);
    Err(Failure::nonsense(format!(
        "{host} answered with something that is not a manifest for {what}"
    )))
}
