//! The challenge of a 401: `WWW-Authenticate` (RFC 9110 §11.6.1, distribution `spec/auth/token`).

use http_auth::ChallengeRef;
use http_auth::parser::ChallengeParser;
use reqwest::Url;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// How a registry wants requests to be authorized.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::registry) enum Challenge {
    /// A token from a separate server.
    Bearer {
        /// The URL of the token server.
        realm: Url,
        /// The token server's name for this registry.
        service: Option<String>,
    },
    /// User name and password with every request.
    Basic,
}

/// The best challenge of an answer, from one header or several: a token before a password, because
/// a token is valid for one repository only and expires.
pub(in crate::registry) fn choose(headers: &HeaderMap) -> Option<Challenge> {
    let values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let mut challenges: Vec<_> = values.flat_map(parse).collect();
    let bearer = challenges.iter().position(|found| matches!(found, Challenge::Bearer { .. }));
    let best = bearer.unwrap_or(0);
    (best < challenges.len()).then(|| challenges.swap_remove(best))
}

/// The challenges of one header value that this program can answer, up to the first that does not
/// parse.
fn parse(value: &str) -> Vec<Challenge> {
    let readable = ChallengeParser::new(value).map_while(Result::ok);
    readable.filter_map(|challenge| answerable(&challenge)).collect()
}

fn answerable(challenge: &ChallengeRef<'_>) -> Option<Challenge> {
    if challenge.scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !challenge.scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let realm: Url = parameter(challenge, "realm")?.parse().ok()?;
    let is_web = matches!(realm.scheme(), "http" | "https") && realm.has_host();
    let has_login = !realm.username().is_empty() || realm.password().is_some();
    let service = parameter(challenge, "service");
    (is_web && !has_login).then_some(Challenge::Bearer { realm, service })
}

fn parameter(challenge: &ChallengeRef<'_>, name: &str) -> Option<String> {
    let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.to_unescaped())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(values: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, value.parse().expect("a header value"));
        }
        choose(&headers)
    }

    fn bearer(realm: &str, service: Option<&str>) -> Option<Challenge> {
        let realm = realm.parse().expect("a URL");
        Some(Challenge::Bearer { realm, service: service.map(str::to_owned) })
    }

    #[test]
    fn challenges_of_registries_in_the_field() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull""#;
        let expected = bearer("https://auth.docker.io/token", Some("registry.docker.io"));
        assert_eq!(chosen(&[hub]), expected);
        assert_eq!(chosen(&[r#"Basic realm="Registry Realm""#]), Some(Challenge::Basic));
        assert_eq!(chosen(&["basic"]), Some(Challenge::Basic));
        assert_eq!(chosen(&[r#"bearer realm="https://t/x""#]), bearer("https://t/x", None));
    }

    #[test]
    fn a_token_goes_before_a_password() {
        let both = r#"Basic realm="x", Bearer realm="https://t/x",service="s""#;
        assert_eq!(chosen(&[both]), bearer("https://t/x", Some("s")));
        let apart = [r#"Basic realm="x""#, r#"Bearer realm="https://t/x",service="a\"b""#];
        assert_eq!(chosen(&apart), bearer("https://t/x", Some("a\"b")));
        assert_eq!(chosen(&["Digest realm=\"x\"", "Basic realm=\"x\""]), Some(Challenge::Basic));
    }

    #[test]
    fn what_cannot_be_answered_is_no_challenge() {
        for value in [
            "",
            "Negotiate",
            "Bearer",
            "Bearer realm=\"not a url\"",
            "Bearer realm=\"file:///etc/passwd\"",
            "Bearer realm=\"https://user:secret@t/x\"",
            "Bearer realm=",
            "=,=,\"",
        ] {
            assert_eq!(chosen(&[value]), None, "{value}");
        }
        assert_eq!(chosen(&["Basic realm=\"x\", %%%"]), Some(Challenge::Basic));
    }

    proptest::proptest! {
        #[test]
        fn choosing_never_panics(value in "[ -~]{0,200}") {
            let _ = chosen(&[&value]);
        }
    }
}
