//! Tags, manifests, referrers and lists of tags of one repository.

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, LINK};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;

use crate::core::docker::manifest::OCI_INDEX;
use crate::core::docker::reference::Digest;
use crate::core::mirror::companions::merged_referrers;
use crate::core::mirror::manifest_tree::RawManifest;
use crate::core::mirror::refusal::{CopyError, MirrorRefusal};
use crate::registry::protocol::query::{RegistryQuery, TokenScope};
use crate::registry::protocol::request::HttpResponse;
use crate::registry::protocol::session::Session;
use crate::registry::transfer::StoredManifest;
use crate::registry::transfer::refusal::{failed, of_source, of_target};

/// Header with the digest of the answer's content.
const CONTENT_DIGEST: &str = "docker-content-digest";

/// Header with which a registry says that it lists a manifest under its subject.
const OCI_SUBJECT: &str = "oci-subject";

/// Most tags of one repository that are read. Docker Hub's largest official repositories have some
/// thousands.
const TAGS_READ_MAX: usize = 20_000;

/// Tags that are asked for in one page. Registries send fewer if they want.
const PAGE_TAGS: usize = 1000;

/// Most pages of tags. A registry decides how long a page is, and could send empty ones.
const PAGES_MAX: usize = 200;

/// One repository at one registry.
pub(in crate::registry) struct At<'a> {
    pub session: &'a Session,
    pub repository: &'a str,
}

impl At<'_> {
    fn manifest_query(&self, method: Method, scope: TokenScope, target: &str) -> RegistryQuery {
        let path = format!("/v2/{}/manifests/{target}", self.repository);
        let mark = if target.contains(':') { '@' } else { ':' };
        let what = format!("{}{mark}{target}", self.repository);
        RegistryQuery::new(method, scope, path, what).for_manifest()
    }

    fn pull(&self) -> TokenScope {
        TokenScope::pull(self.repository)
    }

    /// What a tag points at. An answer without the header is hashed.
    pub async fn digest_of(&self, tag: &str) -> Result<Option<Digest>, CopyError> {
        let ask = self.manifest_query(Method::HEAD, self.pull(), tag);
        let answer = self.session.transfer(&ask).await.map_err(failed)?;
        match answer.status {
            StatusCode::NOT_FOUND => return Ok(None),
            StatusCode::OK => {}
            _ => return Err(of_source(self.session, &ask.what, answer)),
        }
        if let Some(named) = text(&answer.headers, CONTENT_DIGEST) {
            return named.parse().map(Some).map_err(|_| self.nonsense(&ask.what));
        }
        let ask = self.manifest_query(Method::GET, self.pull(), tag);
        let answer = self.session.transfer(&ask).await.map_err(failed)?;
        match answer.status {
            StatusCode::OK => Ok(Some(Digest::of(&answer.body))),
            _ => Err(of_source(self.session, &ask.what, answer)),
        }
    }

    /// A manifest by its digest, checked.
    pub async fn manifest(&self, digest: &Digest) -> Result<RawManifest, CopyError> {
        let ask = self.manifest_query(Method::GET, self.pull(), digest.as_str());
        let answer = self.session.transfer(&ask).await.map_err(failed)?;
        if answer.status != StatusCode::OK {
            return Err(of_source(self.session, &ask.what, answer));
        }
        if !digest.matches(&answer.body) {
            return Err(self.nonsense(&ask.what));
        }
        Ok(raw(digest.clone(), answer))
    }

    /// The list of referrers. Registries without the API answer 404 or 405; a proxy may send a web
    /// page.
    pub async fn referrers(&self, subject: &Digest) -> Result<Option<RawManifest>, CopyError> {
        let what = format!("referrers of {}@{subject}", self.repository);
        let mut next = Some(format!("/v2/{}/referrers/{subject}", self.repository));
        let mut all: Option<RawManifest> = None;
        for _ in 0..PAGES_MAX {
            let Some(path) = next.take() else { return Ok(all) };
            let ask = RegistryQuery::new(Method::GET, self.pull(), path, what.clone());
            let answer = self.session.transfer(&ask.for_manifest()).await.map_err(failed)?;
            match answer.status.as_u16() {
                200 => next = next_page(&answer.headers, &answer.url),
                400 | 404 | 405 => return Ok(None),
                _ => return Err(of_source(self.session, &what, answer)),
            }
            let page = raw(Digest::of(&answer.body), answer);
            if page.media_type != OCI_INDEX {
                return Ok(None);
            }
            // One page is kept byte by byte.
            all = Some(match all {
                Some(earlier) => merged_referrers(Some(&earlier.bytes), &page),
                None => page,
            });
        }
        Err(self.nonsense(&what))
    }

    /// All tags. Distribution 2.8 sends all in one page, other registries name the next one.
    pub async fn tags(&self) -> Result<Vec<String>, CopyError> {
        #[derive(Deserialize)]
        struct Page {
            tags: Option<Vec<String>>,
        }
        let what = format!("tags of {}", self.repository);
        let mut next = Some(format!("/v2/{}/tags/list?n={PAGE_TAGS}", self.repository));
        let mut tags = Vec::new();
        for _ in 0..PAGES_MAX {
            let Some(path) = next.take() else { return Ok(tags) };
            let ask = RegistryQuery::new(Method::GET, self.pull(), path, what.clone());
            let answer = self.session.transfer(&ask).await.map_err(failed)?;
            match answer.status {
                StatusCode::NOT_FOUND => return Ok(tags),
                StatusCode::OK => {}
                _ => return Err(of_source(self.session, &what, answer)),
            }
            let page: Result<Page, _> = serde_json::from_slice(&answer.body);
            tags.extend(page.map_err(|_| self.nonsense(&what))?.tags.unwrap_or_default());
            if tags.len() > TAGS_READ_MAX {
                break;
            }
            next = next_page(&answer.headers, &answer.url);
        }
        let detail = format!("{} has more than {TAGS_READ_MAX} tags", self.repository);
        Err(CopyError::nonsense(detail))
    }

    /// Stores a manifest under a tag or its digest.
    pub async fn put(
        &self,
        tag: Option<&str>,
        manifest: &RawManifest,
    ) -> Result<StoredManifest, CopyError> {
        let target = tag.unwrap_or(manifest.digest.as_str());
        let ask = self.manifest_query(Method::PUT, TokenScope::push(self.repository), target);
        let ask = ask.with_content(&manifest.media_type, manifest.bytes.clone());
        let answer = self.session.transfer(&ask).await.map_err(failed)?;
        if !answer.status.is_success() {
            return Err(of_target(self.session, &ask.what, answer));
        }
        let stored = text(&answer.headers, CONTENT_DIGEST);
        if stored.is_some_and(|stored| stored != manifest.digest.as_str()) {
            let host = &self.session.endpoint.host;
            let detail = format!("{host} stored something other than {}", ask.what);
            return Err(CopyError::refused(MirrorRefusal::TargetLies, detail));
        }
        Ok(StoredManifest { has_referrers_api: answer.headers.contains_key(OCI_SUBJECT) })
    }

    /// Deletes a manifest.
    pub async fn delete(&self, digest: &Digest) -> Result<(), CopyError> {
        let scope = TokenScope::delete(self.repository);
        let ask = self.manifest_query(Method::DELETE, scope, digest.as_str());
        let answer = self.session.transfer(&ask).await.map_err(failed)?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(()),
            status if status.is_success() => Ok(()),
            _ => Err(of_target(self.session, &ask.what, answer)),
        }
    }

    fn nonsense(&self, what: &str) -> CopyError {
        let host = &self.session.endpoint.host;
        CopyError::nonsense(format!("{host} sent something other than {what}"))
    }
}

fn raw(digest: Digest, answer: HttpResponse) -> RawManifest {
    let media_type = answer.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.unwrap_or_default().split(';').next().unwrap_or_default();
    let media_type = media_type.trim().to_owned();
    RawManifest { digest, media_type, bytes: Bytes::from(answer.body) }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The path of the next page, if it is at the same registry (RFC 8288, `rel="next"`).
fn next_page(headers: &HeaderMap, page: &Url) -> Option<String> {
    let link = text(headers, LINK.as_str())?;
    let (target, rest) = link.strip_prefix('<')?.split_once('>')?;
    if !rest.contains("rel=\"next\"") && !rest.contains("rel=next") {
        return None;
    }
    let next = page.join(target).ok().filter(|next| next.origin() == page.origin())?;
    let query = next.query().map_or_else(String::new, |query| format!("?{query}"));
    Some(format!("{}{query}", next.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_at_the_same_registry() {
        let page: Url = "https://r:443/v2/a/tags/list?n=2".parse().expect("a URL");
        let next = |link: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, link.parse().expect("a value"));
            next_page(&headers, &page)
        };
        let expected = Some("/v2/a/tags/list?last=b&n=2".to_owned());
        assert_eq!(next("</v2/a/tags/list?last=b&n=2>; rel=\"next\""), expected);
        assert_eq!(next("<https://r/v2/a/tags/list?last=b&n=2>; rel=next"), expected);
        assert_eq!(next("<https://other/v2/a/tags/list?n=2>; rel=\"next\""), None);
        assert_eq!(next("</v2/a/tags/list>; rel=\"prev\""), None);
        assert_eq!(next("nonsense"), None);
    }
}
