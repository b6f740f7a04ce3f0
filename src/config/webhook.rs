//! The webhook listener: its address, its TLS, and the senders in `[[webhook.sender]]`.

use std::net::SocketAddr;
use std::path::PathBuf;

use toml::de::DeValue;

use crate::config::effective::{Effective, Explained};
use crate::config::error::{ConfigError, ValueOrigin};
use crate::config::keys::{SENDER_KEYS, SENDERS};
use crate::config::listed_table::ListedTable;
use crate::config::settings::parse_listen;
use crate::config::table::TomlSource;
use crate::core::docker::webhook::{AllowedReferences, SenderKind};
use crate::core::text::did_you_mean;

/// Most senders: each one may cost two HMACs of the body before a request is refused. For all
/// of them and the largest body, 8 MB are hashed.
const SENDERS_MAX: usize = 16;

/// Longest name of a sender in bytes; it is the label of a metric.
const NAME_BYTES_MAX: usize = 64;

/// The key of the one token, and the name of its sender.
const TOKEN_FILE: &str = "webhook.token_file";
const TOKEN_SENDER: &str = "token";

/// The webhook listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSettings {
    pub address: SocketAddr,
    /// Absent: plain http.
    pub tls: Option<WebhookTls>,
    /// At least one.
    pub senders: Vec<WebhookSenderSettings>,
}

/// The files for TLS of the listener, PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookTls {
    /// The certificate, and those of its authorities behind it.
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}

/// One sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSenderSettings {
    pub name: String,
    pub kind: SenderKind,
    /// The file whose first line is the secret.
    pub secret_file: PathBuf,
    /// The images that it may report.
    pub references: AllowedReferences,
    /// The name of its builds, if it is a CI that names no image: letters, digits, `-`, `_` and
    /// `.`, because it becomes a part of a topic.
    pub build: Option<String>,
    /// The key of `secret_file`, for errors.
    pub key: String,
}

/// All senders in the file, and the origin of each value.
#[derive(Debug, Default)]
pub(super) struct Senders {
    senders: Vec<WebhookSenderSettings>,
    pub(super) explained: Vec<Explained>,
}

/// The listener, if it has an address. It needs a sender, because webhooks without a secret are not
/// accepted.
pub(super) fn read(
    effective: &Effective,
    senders: &Senders,
) -> Result<Option<WebhookSettings>, ConfigError> {
    let path = |text: &str| {
        Ok::<_, &str>(Some(text.trim()).filter(|it| !it.is_empty()).map(PathBuf::from))
    };
    let token_file = effective.read(TOKEN_FILE, path)?;
    let tls = read_tls(effective)?;
    let Some(address) = effective.read("webhook.address", parse_listen)? else { return Ok(None) };
    let mut all = senders.senders.clone();
    let is_taken = all.iter().any(|sender| sender.name == TOKEN_SENDER);
    match token_file {
        Some(_) if is_taken => effective.read(TOKEN_FILE, |_| {
            Err::<(), _>("its sender has the name `token`: give the [[webhook.sender]] another one")
        })?,
        Some(secret_file) => all.insert(0, token_sender(secret_file)),
        None if all.is_empty() => effective.read(TOKEN_FILE, |_| {
            Err::<(), _>("webhook.address needs a token file too, or a [[webhook.sender]]")
        })?,
        None => {}
    }
    Ok(Some(WebhookSettings { address, tls, senders: all }))
}

/// The sender of the one token: of any kind, for every image.
fn token_sender(secret_file: PathBuf) -> WebhookSenderSettings {
    WebhookSenderSettings {
        name: TOKEN_SENDER.to_owned(),
        kind: SenderKind::Auto,
        secret_file,
        references: AllowedReferences::default(),
        build: None,
        key: TOKEN_FILE.to_owned(),
    }
}

fn read_tls(effective: &Effective) -> Result<Option<WebhookTls>, ConfigError> {
    let cert_file =
        effective.read("webhook.cert_file", |text| Ok::<_, &str>(text.trim().to_owned()))?;
    let key_file = effective.read("webhook.key_file", |text| match (text.trim(), &*cert_file) {
        ("", "") => Ok(None),
        ("", _) => Err("webhook.cert_file needs webhook.key_file too"),
        (key, _) => Ok(Some(PathBuf::from(key))),
    })?;
    let cert_file = effective.read("webhook.cert_file", |text| match (text.trim(), &key_file) {
        ("", Some(_)) => Err("webhook.key_file needs webhook.cert_file too"),
        (cert, _) => Ok(PathBuf::from(cert)),
    })?;
    Ok(key_file.map(|key_file| WebhookTls { cert_file, key_file }))
}

/// Reads the tables `[[webhook.sender]]`.
pub(super) fn read_senders(
    source: &TomlSource<'_>,
    value: &DeValue<'_>,
    origin: &ValueOrigin,
) -> Result<Senders, ConfigError> {
    let expected = "tables that begin with [[webhook.sender]]";
    let mut all = Senders::default();
    for mut table in ListedTable::read_all(SENDERS, expected, source, value, origin)? {
        let name = read_name(&table)?;
        table.set_name(&name);
        if all.senders.iter().any(|sender| sender.name == name) {
            return Err(table.wrong("name", &name, "another sender has this name"));
        }
        if all.senders.len() >= SENDERS_MAX {
            let why = format!("there are at most {SENDERS_MAX} senders");
            return Err(table.wrong("name", &name, &why));
        }
        all.senders.push(read_sender(&table, &mut all.explained)?);
    }
    Ok(all)
}

fn read_name(table: &ListedTable<'_, '_>) -> Result<String, ConfigError> {
    let name = table.text("name")?.unwrap_or_default();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(is_word) {
        let why = "each sender needs a name of letters, digits, `-` and `_`, at most 64 of them";
        return Err(table.wrong("name", &name, why));
    }
    Ok(name)
}

fn read_sender(
    table: &ListedTable<'_, '_>,
    explained: &mut Vec<Explained>,
) -> Result<WebhookSenderSettings, ConfigError> {
    table.check_keys(&SENDER_KEYS)?;
    let kind = read_kind(table)?;
    let secret_file = table.text("secret_file")?.unwrap_or_default();
    if secret_file.trim().is_empty() {
        return Err(table.wrong("secret_file", "", "each sender needs a file with its secret"));
    }
    let references = read_references(table)?;
    let allowed = AllowedReferences::parse(references.iter().map(String::as_str))
        .map_err(|(pattern, why)| table.wrong("references", pattern, &why.to_string()))?;
    let build = read_build(table, kind)?;
    let values = [
        ("name", Some(table.name().to_owned())),
        ("kind", Some(kind.word().to_owned())),
        ("secret_file", Some(secret_file.clone())),
        ("references", Some(references.join(", "))),
        ("build", build.clone()),
    ];
    explained.extend(values.into_iter().filter_map(|(name, value)| table.explain(name, value?)));
    Ok(WebhookSenderSettings {
        name: table.name().to_owned(),
        kind,
        secret_file: secret_file.into(),
        references: allowed,
        build,
        key: table.key("secret_file"),
    })
}

fn read_kind(table: &ListedTable<'_, '_>) -> Result<SenderKind, ConfigError> {
    let Some(word) = table.text("kind")? else { return Ok(SenderKind::Auto) };
    SenderKind::ALL.into_iter().find(|kind| kind.word() == word).ok_or_else(|| {
        let words = SenderKind::ALL.map(SenderKind::word);
        let hint = did_you_mean(&word, words);
        table.wrong("kind", &word, &format!("it is one of {}{hint}", words.join(", ")))
    })
}

fn read_references(table: &ListedTable<'_, '_>) -> Result<Vec<String>, ConfigError> {
    let expected = "a list of texts, like [\"ghcr.io/shop/*\"]";
    let texts = table.texts("references", expected)?;
    if texts.as_ref().is_some_and(Vec::is_empty) {
        return Err(table.wrong("references", "[]", "leave the key out to allow all of them"));
    }
    Ok(texts.unwrap_or_default())
}

fn read_build(
    table: &ListedTable<'_, '_>,
    kind: SenderKind,
) -> Result<Option<String>, ConfigError> {
    let Some(build) = table.text("build")?.filter(|build| !build.is_empty()) else {
        return Ok(None);
    };
    if !kind.reports_builds() {
        let why = "only circleci, bitbucket, gitlab and auto report builds";
        return Err(table.wrong("build", &build, why));
    }
    let is_word = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if build.len() > NAME_BYTES_MAX || !build.chars().all(is_word) {
        let why = "use letters, digits, `-`, `_` and `.`, at most 64 of them";
        return Err(table.wrong("build", &build, why));
    }
    Ok(Some(build))
}
