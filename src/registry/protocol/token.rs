//! Bearer tokens (distribution `spec/auth/token` and `oauth`), kept per scope until they expire.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::HeaderValue;
use reqwest::{Method, StatusCode, Url};
use secrecy::ExposeSecret as _;
use serde::Deserialize;

use crate::core::docker::address_scope::AddressScope;
use crate::core::docker::credentials::Credentials;
use crate::registry::protocol::endpoint::{RegistryEndpoint, host_of};
use crate::registry::protocol::error::{Failure, refusal};
use crate::registry::protocol::http::basic;
use crate::registry::protocol::query::TokenScope;
use crate::registry::protocol::request::{HttpRequest, HttpResponse};
use crate::registry::protocol::transport::Transport;

/// Lifetime of a token if its server does not say it (distribution `spec/auth/token`).
const LIFE_DEFAULT: Duration = Duration::from_secs(60);

/// Longest accepted lifetime: a revoked login must not work for days.
const LIFE_MAX: Duration = Duration::from_secs(60 * 60);

/// How long before its end a token counts as expired, so that it does not expire during a request.
const LIFE_MARGIN: Duration = Duration::from_secs(10);

/// Largest answer of a token server in bytes. Tokens with many claims have some kilobytes.
const ANSWER_MAX: usize = 256 * 1024;

/// Longest token in bytes: what common servers accept as one header.
const TOKEN_MAX: usize = 16 * 1024;

/// Most scopes whose tokens are kept for one host; no Pi follows that many repositories.
const TOKENS_MAX: usize = 500;

/// Our name for a token server (`client_id` of the OAuth flow).
const CLIENT_ID: &str = "pilotfish";

/// A token as the value of `Authorization`.
#[derive(Clone)]
pub(in crate::registry) struct BearerToken {
    pub header: HeaderValue,
    until: Instant,
}

/// The tokens of one host.
#[derive(Default)]
pub(in crate::registry) struct Tokens {
    slots: Mutex<HashMap<String, TokenSlot>>,
}

/// One scope's token. A request that needs it while it is fetched waits for it.
type TokenSlot = Arc<tokio::sync::Mutex<Option<BearerToken>>>;

impl Tokens {
    /// The slot of a scope. Expired tokens are dropped.
    pub fn slot(&self, scope: &str) -> TokenSlot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        slots.retain(|_, slot| is_in_use(slot, now));
        if slots.len() >= TOKENS_MAX {
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        slots.entry(scope.to_owned()).or_default().clone()
    }
}

impl BearerToken {
    /// Whether the token has not expired.
    pub fn is_good(&self, now: Instant) -> bool {
        self.until > now
    }
}

fn is_in_use(slot: &TokenSlot, now: Instant) -> bool {
    let is_held = Arc::strong_count(slot) > 1;
    is_held
        || slot.try_lock().map_or(true, |token| token.as_ref().is_some_and(|it| it.is_good(now)))
}

/// A request to a token server.
pub(in crate::registry) struct TokenRequest<'a> {
    pub realm: &'a Url,
    /// The host that named it, and the scope of that host.
    pub named_by: (&'a Url, AddressScope),
    /// The server's name for the registry.
    pub service: Option<&'a str>,
    /// What the token must allow.
    pub scope: &'a TokenScope,
    /// The login; `None` for an anonymous token.
    pub credentials: Option<&'a Credentials>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<serde_json::Number>,
}

/// Fetches a token.
pub(in crate::registry) async fn fetch(
    transport: &Transport,
    endpoint: &RegistryEndpoint,
    wanted: &TokenRequest<'_>,
) -> Result<BearerToken, Failure> {
    let host = host_of(wanted.realm);
    let (url, request) = request(wanted)?;
    let answer = transport.exchange_realm(endpoint, url, wanted.named_by, &request).await?;
    if answer.status != StatusCode::OK {
        let asked = format!("a token for {}", wanted.scope.repository);
        return Err(refusal(answer.status, &answer.headers, &answer.body, &host, &asked));
    }
    read(&answer, Instant::now()).ok_or_else(|| {
        Failure::nonsense(format!("{host} answered with something that is not a token"))
    })
}

/// The request: a form for an identity token, a query for everything else.
fn request(wanted: &TokenRequest<'_>) -> Result<(Url, HttpRequest), Failure> {
    let scopes = wanted.scope.parts();
    let joined = scopes.join(" ");
    let mut fields = Vec::new();
    fields.extend(wanted.service.map(|service| ("service", service)));
    let mut url = wanted.realm.clone();
    let mut request = HttpRequest::new(Method::GET, ANSWER_MAX);
    if let Some(token) = wanted.credentials.and_then(|login| login.identity_token.as_ref()) {
        // One field for all scopes (distribution `spec/auth/oauth`), and one for each in a query.
        fields.insert(0, ("scope", joined.as_str()));
        fields.push(("grant_type", "refresh_token"));
        fields.push(("client_id", CLIENT_ID));
        fields.push(("refresh_token", token.expose_secret()));
        request.method = Method::POST;
        request.form = Some(encode(&fields));
    } else {
        let scopes = scopes.iter().map(|scope| ("scope", scope.as_str()));
        url.query_pairs_mut().extend_pairs(scopes).extend_pairs(&fields);
        request.authorization = wanted.credentials.map(basic).transpose()?;
    }
    Ok((url, request))
}

/// `application/x-www-form-urlencoded`, by the encoder for a URL's query.
fn encode(fields: &[(&str, &str)]) -> String {
    let Ok(mut url) = Url::parse("form:/") else { return String::new() };
    url.query_pairs_mut().extend_pairs(fields);
    url.query().unwrap_or_default().to_owned()
}

fn read(answer: &HttpResponse, now: Instant) -> Option<BearerToken> {
    let answer: TokenAnswer = serde_json::from_slice(&answer.body).ok()?;
    let full = |token: Option<String>| token.filter(|token| !token.is_empty());
    let token = full(answer.token).or_else(|| full(answer.access_token))?;
    if token.len() > TOKEN_MAX {
        return None;
    }
    let mut header = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    header.set_sensitive(true);
    let life = match answer.expires_in.as_ref().and_then(serde_json::Number::as_f64) {
        // An invalid value is ignored: the next refusal shows when the token has expired.
        Some(seconds) => Duration::try_from_secs_f64(seconds.min(LIFE_MAX.as_secs_f64())),
        None => Ok(LIFE_DEFAULT),
    };
    let life = life.unwrap_or(LIFE_DEFAULT);
    Some(BearerToken { header, until: now + life.saturating_sub(LIFE_MARGIN.min(life / 2)) })
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;

    use super::*;

    fn life(body: &str) -> Option<u64> {
        let body = body.as_bytes().to_vec();
        let (status, headers) = (StatusCode::OK, HeaderMap::new());
        let url = "https://t/".parse().expect("a URL");
        let answer = HttpResponse {
            status,
            headers,
            body,
            stream: None,
            url,
            place: AddressScope::Internet,
        };
        let now = Instant::now();
        read(&answer, now).map(|token| (token.until - now).as_secs())
    }

    #[test]
    fn a_token_has_one_of_two_names_and_a_life() {
        assert_eq!(life(r#"{"token":"a","expires_in":300}"#), Some(290));
        assert_eq!(life(r#"{"access_token":"a"}"#), Some(50));
        assert_eq!(life(r#"{"token":"","access_token":"a","expires_in":4}"#), Some(2));
        assert_eq!(life(r#"{"token":"a","expires_in":1e9}"#), Some(3590));
        assert_eq!(life(r#"{"token":"a","expires_in":1e300}"#), Some(3590));
        assert_eq!(life(r#"{"token":"a","expires_in":-1}"#), Some(50));
        let long = format!(r#"{{"token":"{}"}}"#, "x".repeat(TOKEN_MAX + 1));
        for wrong in [r#"{"expires_in":1}"#, r#"{"token":"a\nb"}"#, long.as_str()] {
            assert_eq!(life(wrong), None, "{wrong}");
        }
    }

    fn asked(scope: &TokenScope, credentials: Option<&Credentials>) -> (String, Option<String>) {
        let realm = "https://t/token?kept=1".parse().expect("a URL");
        let (service, named_by) = (Some("a b"), (&realm, AddressScope::Internet));
        let wanted = TokenRequest { realm: &realm, named_by, service, scope, credentials };
        let (url, request) = request(&wanted).expect("a request");
        assert_eq!(request.form.is_some(), request.method == Method::POST);
        (url.to_string(), request.form)
    }

    #[test]
    fn the_scope_is_one_repository_or_two_for_a_mount() {
        let (url, _) = asked(&TokenScope::pull("x/y"), None);
        assert_eq!(url, "https://t/token?kept=1&scope=repository%3Ax%2Fy%3Apull&service=a+b");
        let mount = TokenScope::push("x/y").with_mount(Some("z"));
        let (url, _) = asked(&mount, None);
        let expected = "https://t/token?kept=1&scope=repository%3Ax%2Fy%3Apull%2Cpush\
            &scope=repository%3Az%3Apull&service=a+b";
        assert_eq!(url, expected);
        let login = Credentials::with_identity_token("a secret");
        let (_, form) = asked(&mount, Some(&login));
        let expected = "scope=repository%3Ax%2Fy%3Apull%2Cpush+repository%3Az%3Apull&";
        assert!(form.is_some_and(|form| form.starts_with(expected)));
    }

    #[test]
    fn an_identity_token_never_stands_in_a_url() {
        let login = Credentials::with_identity_token("a secret");
        let (url, form) = asked(&TokenScope::pull("x/y"), Some(&login));
        assert_eq!(url, "https://t/token?kept=1");
        assert!(form.expect("a form").contains("refresh_token=a+secret"));
    }

    #[test]
    fn expired_tokens_are_dropped() {
        let tokens = Tokens::default();
        let header = HeaderValue::from_static("Bearer x");
        let now = Instant::now();
        let expired = BearerToken { header: header.clone(), until: now };
        let good = BearerToken { header, until: now + Duration::from_secs(60) };
        *tokens.slot("old").try_lock().expect("free") = Some(expired);
        *tokens.slot("new").try_lock().expect("free") = Some(good);
        tokens.slot("third");
        let slots = tokens.slots.lock().expect("not poisoned");
        assert!(slots.contains_key("new") && !slots.contains_key("old"));
    }
}
