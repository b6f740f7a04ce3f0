//! Image references as Docker normalises them, and digests and platforms.
//!
//! The grammar is that of the CNCF distribution project (`reference/regexp.go`); the defaults
//! (`docker.io`, `library/`, `latest`) are those of Docker's own client (`reference/normalize.go`).
//! The parser is written by hand, because the only crate for it uses 13 MB for its first regular
//! expression.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Registry of a reference without one.
pub const DOCKER_HUB: &str = "docker.io";

/// Tag of a reference without a tag and a digest.
pub const DEFAULT_TAG: &str = "latest";

/// Longest repository name, without the host (distribution `RepositoryNameTotalLengthMax`, bytes).
const NAME_LENGTH_MAX: usize = 255;

/// Longest tag (distribution grammar, bytes).
const TAG_LENGTH_MAX: usize = 128;

/// Why a text is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    #[error("an image reference must not be empty")]
    Empty,
    /// The registry is not `HOST` or `HOST:PORT`.
    #[error("`{0}` is not a registry host")]
    Registry(String),
    /// The path is not made of lower-case components.
    #[error("`{0}` is not a repository name: lower-case letters, digits, `.`, `_`, `-` and `/`")]
    Repository(String),
    /// The tag has characters that tags do not have.
    #[error("`{0}` is not a tag: letters, digits, `_`, `.` and `-`, at most 128 of them")]
    Tag(String),
    /// The digest is not `ALGORITHM:HEX`.
    #[error("`{0}` is not a digest like `sha256:…`")]
    Digest(String),
    /// The name is longer than registries accept.
    #[error("the repository name is longer than 255 characters")]
    TooLong,
    /// 64 hexadecimal digits: an image ID, which names no repository.
    #[error("`{0}` is an image ID, not a name")]
    ImageId(String),
}

/// The digest of a manifest, a config or a layer: `sha256:` and 64 hexadecimal digits. A copy
/// shares the text, because one digest is known of many containers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(Arc<str>);

impl Digest {
    /// The whole digest, algorithm included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 hexadecimal digits, as Docker's own tables show an ID.
    #[must_use]
    pub fn short(&self) -> &str {
        let hex = self.hex();
        &hex[..hex.len().min(12)]
    }

    /// The part after the algorithm.
    #[must_use]
    pub fn hex(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, hex)| hex)
    }

    /// The SHA-256 digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self::of_hash(&sha2::Sha256::digest(bytes).into())
    }

    /// The digest with this SHA-256.
    #[must_use]
    pub fn of_hash(hash: &[u8; 32]) -> Self {
        Self(format!("sha256:{}", hex_of(hash)).into())
    }

    /// Whether this is the digest of these bytes, in its own algorithm.
    #[must_use]
    pub fn matches(&self, bytes: &[u8]) -> bool {
        use sha2::Digest as _;
        match self.0.split_once(':') {
            Some(("sha256", hex)) => hex_of(&sha2::Sha256::digest(bytes)) == hex,
            Some(("sha384", hex)) => hex_of(&sha2::Sha384::digest(bytes)) == hex,
            Some(("sha512", hex)) => hex_of(&sha2::Sha512::digest(bytes)) == hex,
            _ => false,
        }
    }
}

fn hex_of(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

impl FromStr for Digest {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ReferenceError::Digest(text.to_owned());
        let (algorithm, hex) = text.split_once(':').ok_or_else(wrong)?;
        let length = match algorithm {
            "sha256" => 64,
            "sha384" => 96,
            "sha512" => 128,
            _ => return Err(wrong()),
        };
        let is_hex = hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if hex.len() == length && is_hex { Ok(Self(text.into())) } else { Err(wrong()) }
    }
}

impl TryFrom<String> for Digest {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0.as_ref().to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The platform of an image, in the words of the OCI image index (`platform`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`, in practice.
    pub os: String,
    /// Go's name of the architecture: `arm64`, `arm`, `amd64`.
    pub architecture: String,
    /// `v6`, `v7`, `v8`; empty if the architecture has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

impl Platform {
    /// Whether an image for `offered` runs where an image for `self` ran.
    ///
    /// The variant counts only if both name one. Exception: `arm64` and `arm64/v8` are one platform
    /// (containerd `platforms.Normalize`).
    #[must_use]
    pub fn accepts(&self, offered: &Self) -> bool {
        self.os == offered.os
            && self.architecture == offered.architecture
            && (self.variant == offered.variant
                || self.variant.is_empty()
                || offered.variant.is_empty())
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(formatter, "/{}", self.variant) }
    }
}

/// A complete image reference, with all defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reference {
    /// `docker.io`, `registry:443`, `[::1]:5000`.
    pub registry: String,
    /// `library/nginx`: the path below the registry.
    pub repository: String,
    /// The tag; `latest` if the text had neither tag nor digest, absent if it had only a digest.
    pub tag: Option<String>,
    /// The digest that pins the image, if the text had one.
    pub digest: Option<Digest>,
}

impl Reference {
    /// The name with the tag, as the Engine names an image on its machine.
    #[must_use]
    pub fn local_name(&self) -> String {
        let name = self.familiar_name();
        self.tag.as_ref().map_or_else(|| name.clone(), |tag| format!("{name}:{tag}"))
    }

    /// The name without tag and digest, as `docker image ls` shows it: `nginx`,
    /// `registry:443/shop/till`.
    #[must_use]
    pub fn familiar_name(&self) -> String {
        if self.registry != DOCKER_HUB {
            return format!("{}/{}", self.registry, self.repository);
        }
        let official = self.repository.strip_prefix("library/");
        let short = official.filter(|rest| !rest.contains('/')).unwrap_or(&self.repository);
        match short.split_once('/') {
            // Without its registry the name would mean another image.
            Some((first, _)) if looks_like_host(first) => self.full_name(),
            _ => short.to_owned(),
        }
    }

    /// The name without tag and digest, whole: `docker.io/library/nginx`.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// Whether both name the same repository of the same registry.
    #[must_use]
    pub fn same_repository(&self, other: &Self) -> bool {
        self.registry == other.registry && self.repository == other.repository
    }

    /// Whether both name the same tag of the same repository, with or without a digest behind it.
    #[must_use]
    pub fn same_tag(&self, other: &Self) -> bool {
        self.same_repository(other) && self.tag == other.tag
    }

    /// What a registry is asked for: the tag, or the digest if there is no tag.
    #[must_use]
    pub fn tag_or_digest(&self) -> &str {
        match (&self.tag, &self.digest) {
            (Some(tag), _) => tag,
            (None, Some(digest)) => digest.as_str(),
            (None, None) => DEFAULT_TAG,
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.familiar_name())?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(formatter, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if is_image_id(text) {
            return Err(ReferenceError::ImageId(text.to_owned()));
        }
        let (rest, digest) = split_digest(text)?;
        let (name, tag) = split_tag(rest)?;
        let (registry, repository) = split_registry(name);
        check_registry(registry)?;
        let repository = with_library(registry, repository);
        check_repository(&repository)?;
        if repository.len() > NAME_LENGTH_MAX {
            return Err(ReferenceError::TooLong);
        }
        let tag = match (tag, &digest) {
            (None, None) => Some(DEFAULT_TAG.to_owned()),
            (tag, _) => tag.map(str::to_owned),
        };
        Ok(Self { registry: registry.to_owned(), repository, tag, digest })
    }
}

/// Whether the text is an image ID as in Docker's inspect, or only its 64 digits.
///
/// Docker refuses such a text as a name for the same reason (`reference/normalize.go`).
#[must_use]
pub fn is_image_id(text: &str) -> bool {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn split_digest(text: &str) -> Result<(&str, Option<Digest>), ReferenceError> {
    match text.split_once('@') {
        None => Ok((text, None)),
        Some((rest, digest)) => Ok((rest, Some(digest.parse()?))),
    }
}

/// A colon after the last slash separates the tag; one before it belongs to the host's port.
fn split_tag(text: &str) -> Result<(&str, Option<&str>), ReferenceError> {
    let path_start = text.rfind('/').map_or(0, |slash| slash + 1);
    let Some(colon) = text[path_start..].find(':') else { return Ok((text, None)) };
    let (name, tag) = (&text[..path_start + colon], &text[path_start + colon + 1..]);
    if is_tag(tag) { Ok((name, Some(tag))) } else { Err(ReferenceError::Tag(tag.to_owned())) }
}

/// Whether a text is a valid tag (distribution-spec, "Pulling manifests").
#[must_use]
pub fn is_tag(text: &str) -> bool {
    let first = text.bytes().next();
    let starts_well = first.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    starts_well && text.len() <= TAG_LENGTH_MAX && text.bytes().all(is_word)
}

/// The first component is a host if it could not be a Docker Hub user: a dot, a colon, an
/// upper-case letter, or `localhost` (`splitDockerDomain`).
fn split_registry(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((host, rest)) if looks_like_host(host) => (canonical_registry(host), rest),
        _ => (DOCKER_HUB, name),
    }
}

fn looks_like_host(text: &str) -> bool {
    text == "localhost"
        || text.contains(['.', ':'])
        || text.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// Docker Hub has an old name. But `registry-1.docker.io`, the host behind it, is a separate
/// registry for Docker: its images are stored under that name.
fn canonical_registry(host: &str) -> &str {
    if host == "index.docker.io" { DOCKER_HUB } else { host }
}

fn with_library(registry: &str, repository: &str) -> String {
    if registry == DOCKER_HUB && !repository.contains('/') {
        format!("library/{repository}")
    } else {
        repository.to_owned()
    }
}

fn check_registry(registry: &str) -> Result<(), ReferenceError> {
    let wrong = || ReferenceError::Registry(registry.to_owned());
    let (host, port) = if let Some(rest) = registry.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or_else(wrong)?;
        // The grammar has no dots here, not even for an IPv4 address inside.
        let is_address = address.parse::<Ipv6Addr>().is_ok() && !address.contains('.');
        is_address.then_some(()).ok_or_else(wrong)?;
        ("", port.strip_prefix(':').or(if port.is_empty() { None } else { Some("") }))
    } else {
        match registry.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (registry, None),
        }
    };
    let host_is_good = registry.starts_with('[') || host.split('.').all(is_host_component);
    let port_is_good =
        port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    if host_is_good && port_is_good { Ok(()) } else { Err(wrong()) }
}

fn is_host_component(component: &str) -> bool {
    !component.is_empty()
        && !component.starts_with('-')
        && !component.ends_with('-')
        && component.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn check_repository(repository: &str) -> Result<(), ReferenceError> {
    if repository.split('/').all(is_path_component) {
        Ok(())
    } else {
        Err(ReferenceError::Repository(repository.to_owned()))
    }
}

/// Lower-case letters and digits, joined by one `.`, one or two `_`, or any number of `-`.
fn is_path_component(component: &str) -> bool {
    let bytes = component.as_bytes();
    let is_alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if !bytes.first().is_some_and(is_alphanumeric) || !bytes.last().is_some_and(is_alphanumeric) {
        return false;
    }
    component.split(|letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit()).all(
        |separator| {
            matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
        },
    )
}

#[cfg(test)]
#[path = "reference_tests.rs"]
mod tests;
