//! Docker's `config.json`: the login for a registry, or the credential helper for it.

use std::collections::HashMap;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

use crate::core::docker::credentials::Credentials;
use crate::core::docker::reference::DOCKER_HUB;

/// The key under which `docker login` keeps Docker Hub (`registry.IndexServer`).
const DOCKER_HUB_SERVER: &str = "https://index.docker.io/v1/";

/// `docker login` pads with `=`; other tools do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The logins of `config.json`. It has no `Debug`, because it contains secrets.
///
/// An entry of another shape than Docker's is ignored; the others remain valid.
#[derive(Default)]
pub(in crate::registry) struct DockerConfig {
    auths: HashMap<String, Auth>,
    creds_store: Option<String>,
    cred_helpers: HashMap<String, String>,
}

#[derive(Default)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

/// Where the login for a registry is.
pub(in crate::registry) enum LoginSource {
    /// In the file itself.
    Here(Credentials),
    /// In the program `docker-credential-NAME`.
    Helper(String),
    /// Nowhere: the registry is asked anonymously.
    Nowhere,
}

/// The entry for a registry exists and cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("its `auth` is not the base64 of NAME:PASSWORD")]
pub(in crate::registry) struct UnreadableAuth;

impl DockerConfig {
    /// Reads the file's content. An error contains nothing of it.
    ///
    /// An empty file is an empty configuration, as for Docker's client.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.trim_ascii().is_empty() {
            return Some(Self::default());
        }
        let document: Value = serde_json::from_slice(bytes).ok()?;
        let entries =
            |key: &str| document.get(key).and_then(Value::as_object).into_iter().flatten();
        let helper =
            |(host, name): (&String, &Value)| Some((host.clone(), name.as_str()?.to_owned()));
        Some(Self {
            auths: entries("auths").map(|(host, auth)| (host.clone(), Auth::of(auth))).collect(),
            creds_store: text(&document, "credsStore"),
            cred_helpers: entries("credHelpers").filter_map(helper).collect(),
        })
    }

    /// Where the login for this registry is: its own helper, then the file, then the common store.
    ///
    /// Unlike in Docker's client, an entry with a password goes before `credsStore`: a person added
    /// it by hand, for a machine without a key agent.
    pub fn login(&self, registry: &str) -> Result<LoginSource, UnreadableAuth> {
        let key = normalise(registry);
        let is_ours = |other: &&String| normalise(other) == key;
        let helper = self.cred_helpers.iter().find(|(other, _)| is_ours(other));
        if let Some((_, helper)) = helper.filter(|(_, helper)| !helper.is_empty()) {
            return Ok(LoginSource::Helper(helper.clone()));
        }
        let auth = self.auths.get(registry).or_else(|| {
            let mut fitting = self.auths.iter().filter(|(other, _)| is_ours(other));
            fitting.next().map(|(_, auth)| auth)
        });
        if let Some(credentials) = auth.map(Auth::credentials).transpose()?.flatten() {
            return Ok(LoginSource::Here(credentials));
        }
        let store = self.creds_store.as_ref().filter(|store| !store.is_empty());
        Ok(store.map_or(LoginSource::Nowhere, |store| LoginSource::Helper(store.clone())))
    }
}

/// A text that is not empty.
fn text(document: &Value, key: &str) -> Option<String> {
    let text = document.get(key)?.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}

impl Auth {
    fn of(entry: &Value) -> Self {
        let text = |key| text(entry, key);
        Self {
            auth: text("auth"),
            username: text("username"),
            password: text("password"),
            identitytoken: text("identitytoken"),
        }
    }

    fn credentials(&self) -> Result<Option<Credentials>, UnreadableAuth> {
        let full = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = full(&self.identitytoken) {
            return Ok(Some(Credentials::with_identity_token(token)));
        }
        if let Some(auth) = full(&self.auth) {
            return decode(&auth).map(Some).ok_or(UnreadableAuth);
        }
        let login = full(&self.username).zip(full(&self.password));
        Ok(login.map(|(username, password)| Credentials::with_password(username, password)))
    }
}

/// `NAME:PASSWORD` in base64. Trailing NULs are cut off, as Docker does.
fn decode(auth: &str) -> Option<Credentials> {
    let text = String::from_utf8(BASE64.decode(auth.trim()).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    Some(Credentials::with_password(username, password.trim_end_matches('\0')))
}

/// The server that a helper is asked for: the name under which `docker login` stored the login.
pub(in crate::registry) fn server_of(registry: &str) -> &str {
    if registry == DOCKER_HUB { DOCKER_HUB_SERVER } else { registry }
}

/// A key as people and tools write it (`https://HOST/v1/`, `HOST`), reduced to the host
/// (`credentials.ConvertToHostname` of Docker's client).
fn normalise(key: &str) -> &str {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let host = rest.split('/').next().unwrap_or(rest);
    match host {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn found(config: &str, registry: &str) -> String {
        let config = DockerConfig::parse(config.as_bytes()).expect("a docker config");
        match config.login(registry) {
            Ok(LoginSource::Here(login)) => match login.identity_token {
                Some(token) => format!("token {}", token.expose_secret()),
                None => format!("{} {}", login.username, login.password.expose_secret()),
            },
            Ok(LoginSource::Helper(helper)) => format!("helper {helper}"),
            Ok(LoginSource::Nowhere) => "nowhere".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn logins_are_found_as_docker_writes_them() {
        // The password of the first is `a:b?c>d~e`, of the second `x` with trailing NULs.
        let config = r#"{"auths":{
            "registry:443":{"auth":"dXNlcjphOmI/Yz5kfmU="},
            "https://index.docker.io/v1/":{"auth":"aHViOngAAA"},
            "http://plain:5000/v2/":{"username":"u","password":"p"},
            "ghcr.io":{"auth":"dXNlcjo=","identitytoken":"t"},
            "broken":{"auth":"%"},
            "empty":{}}}"#;
        for (registry, expected) in [
            ("registry:443", "user a:b?c>d~e"),
            ("docker.io", "hub x"),
            ("plain:5000", "u p"),
            ("ghcr.io", "token t"),
            ("broken", "its `auth` is not the base64 of NAME:PASSWORD"),
            ("empty", "nowhere"),
            ("elsewhere", "nowhere"),
            ("registry", "nowhere"),
        ] {
            assert_eq!(found(config, registry), expected, "{registry}");
        }
    }

    #[test]
    fn helpers_go_before_the_file_and_the_store_goes_last() {
        let config = r#"{"auths":{"a":{"auth":"dTpw"},"b":{"auth":"dTpw"},"c":{}},
            "credsStore":"pass","credHelpers":{"a":"own","index.docker.io":"hub","b":""}}"#;
        for (registry, expected) in [
            ("a", "helper own"),
            ("docker.io", "helper hub"),
            ("b", "u p"),
            ("c", "helper pass"),
            ("d", "helper pass"),
        ] {
            assert_eq!(found(config, registry), expected, "{registry}");
        }
    }

    #[test]
    fn an_invalid_entry_leaves_the_others_valid() {
        for (config, expected) in [
            ("", "nowhere"),
            (" \n", "nowhere"),
            ("null", "nowhere"),
            ("[]", "nowhere"),
            ("7", "nowhere"),
            (r#"{"auths":null,"credsStore":null,"credHelpers":null}"#, "nowhere"),
            (r#"{"auths":[],"credsStore":7,"credHelpers":"x"}"#, "nowhere"),
            (r#"{"auths":{"a":null,"b":7}}"#, "nowhere"),
            (r#"{"auths":{"a":{"auth":null,"username":1}}}"#, "nowhere"),
            (r#"{"auths":{"b":7,"a":{"auth":"dTpw"}},"credHelpers":{"b":null}}"#, "u p"),
            (r#"{"credsStore":["x"],"auths":{"a":{"auth":"dTpw","email":{}}}}"#, "u p"),
            (r#"{"auths":7,"credHelpers":{"a":"own","b":[]}}"#, "helper own"),
        ] {
            assert_eq!(found(config, "a"), expected, "{config}");
        }
        for broken in ["{", r#"{"auths":{"a":"#, "\u{feff}{}", "not json"] {
            assert!(DockerConfig::parse(broken.as_bytes()).is_none(), "{broken}");
        }
    }

    #[test]
    fn other_settings_do_not_matter() {
        assert_eq!(found(r#"{"HttpHeaders":{"a":"b"},"proxies":{}}"#, "a"), "nowhere");
        assert!(DockerConfig::parse(b"not json").is_none());
    }

    proptest::proptest! {
        #[test]
        fn reading_never_panics(text in r#"\{"auths":\{"a":\{"auth":"[ -~]{0,40}"\}\}\}"#) {
            if let Some(config) = DockerConfig::parse(text.as_bytes()) {
                let _ = config.login("a");
            }
        }
    }
}
