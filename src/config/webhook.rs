//! The webhook listener: its address, its TLS, and the senders in `[[webhook.sender]]`.

use std::net::SocketAddr;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::effective::{Effective, Explained};
use crate::config::error::{ConfigError, ValueOrigin};
use crate::config::keys::{SENDER_KEYS, SENDERS};
use crate::config::settings::parse_listen;
use crate::config::table::{TomlSource, as_table, in_order, wrong_type};
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
    let tables = value.as_array().ok_or_else(|| wrong_type(SENDERS, expected, value, origin))?;
    let mut all = Senders::default();
    for table in tables.iter() {
        let origin = source.origin(table.span());
        let entries = as_table(SENDERS, table.get_ref(), &origin)?;
        let entry = SenderTable::read(source, entries, origin)?;
        if all.senders.iter().any(|sender| sender.name == entry.name) {
            return Err(entry.wrong("name", &entry.name, "another sender has this name"));
        }
        if all.senders.len() >= SENDERS_MAX {
            let why = format!("there are at most {SENDERS_MAX} senders");
            return Err(entry.wrong("name", &entry.name, &why));
        }
        all.senders.push(entry.settings(&mut all.explained)?);
    }
    Ok(all)
}

/// One table, with the key `webhook.sender."NAME"` of its values.
struct SenderTable<'a, 'i> {
    name: String,
    origin: ValueOrigin,
    entries: Vec<(String, ValueOrigin, &'a DeValue<'i>)>,
}

impl<'a, 'i> SenderTable<'a, 'i> {
    fn read(
        source: &TomlSource<'_>,
        table: &'a DeTable<'i>,
        origin: ValueOrigin,
    ) -> Result<Self, ConfigError> {
        let entry = |(name, value): (&Spanned<_>, &'a Spanned<DeValue<'i>>)| {
            let name: &toml::de::DeString<'_> = name.get_ref();
            (name.clone().into_owned(), value.get_ref())
        };
        let entries = in_order(table).into_iter().map(|it| {
            let origin = source.origin(it.0.span());
            let (name, value) = entry(it);
            (name, origin, value)
        });
        let mut this = Self { name: String::new(), origin, entries: entries.collect() };
        let name = this.text("name")?.unwrap_or_default();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(is_word) {
            let why =
                "each sender needs a name of letters, digits, `-` and `_`, at most 64 of them";
            return Err(this.wrong("name", &name, why));
        }
        this.name = name;
        Ok(this)
    }

    fn settings(
        self,
        explained: &mut Vec<Explained>,
    ) -> Result<WebhookSenderSettings, ConfigError> {
        for (name, origin, _) in &self.entries {
            if !SENDER_KEYS.contains(&name.as_str()) {
                let hint = did_you_mean(name, SENDER_KEYS);
                let (key, origin) = (self.key(name), origin.clone());
                return Err(ConfigError::UnknownKey { key, origin, hint });
            }
        }
        let kind = self.kind()?;
        let secret_file = self.text("secret_file")?.unwrap_or_default();
        if secret_file.trim().is_empty() {
            return Err(self.wrong("secret_file", "", "each sender needs a file with its secret"));
        }
        let references = self.references()?;
        let allowed = AllowedReferences::parse(references.iter().map(String::as_str))
            .map_err(|(pattern, why)| self.wrong("references", pattern, &why.to_string()))?;
        let build = self.text("build")?.filter(|build| !build.is_empty());
        if let Some(build) = build.as_deref().filter(|_| !kind.reports_builds()) {
            let why = "only circleci, bitbucket, gitlab and auto report builds";
            return Err(self.wrong("build", build, why));
        }
        let is_word = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let is_wrong = |build: &&str| build.len() > NAME_BYTES_MAX || !build.chars().all(is_word);
        if let Some(build) = build.as_deref().filter(is_wrong) {
            let why = "use letters, digits, `-`, `_` and `.`, at most 64 of them";
            return Err(self.wrong("build", build, why));
        }
        let values = [
            ("name", Some(self.name.clone())),
            ("kind", Some(kind.word().to_owned())),
            ("secret_file", Some(secret_file.clone())),
            ("references", Some(references.join(", "))),
            ("build", build.clone()),
        ];
        for (name, value) in values {
            if let (Some(value), Some((_, origin, _))) = (value, self.entry(name)) {
                explained.push(Explained { key: self.key(name), value, origin: origin.clone() });
            }
        }
        let key = self.key("secret_file");
        let secret_file = secret_file.into();
        Ok(WebhookSenderSettings {
            name: self.name,
            kind,
            secret_file,
            references: allowed,
            build,
            key,
        })
    }

    fn kind(&self) -> Result<SenderKind, ConfigError> {
        let Some(word) = self.text("kind")? else { return Ok(SenderKind::Auto) };
        SenderKind::ALL.into_iter().find(|kind| kind.word() == word).ok_or_else(|| {
            let words = SenderKind::ALL.map(SenderKind::word);
            let hint = did_you_mean(&word, words);
            self.wrong("kind", &word, &format!("it is one of {}{hint}", words.join(", ")))
        })
    }

    fn references(&self) -> Result<Vec<String>, ConfigError> {
        let Some((_, origin, value)) = self.entry("references") else { return Ok(Vec::new()) };
        let expected = "a list of texts, like [\"ghcr.io/shop/*\"]";
        let wrong = || wrong_type(&self.key("references"), expected, value, origin);
        let items = value.as_array().ok_or_else(wrong)?;
        let text = |item: &Spanned<DeValue<'_>>| item.get_ref().as_str().map(str::to_owned);
        let texts: Vec<String> = items.iter().map(text).collect::<Option<_>>().ok_or_else(wrong)?;
        if texts.is_empty() {
            return Err(self.wrong("references", "[]", "leave the key out to allow all of them"));
        }
        Ok(texts)
    }

    fn text(&self, name: &str) -> Result<Option<String>, ConfigError> {
        let Some((_, origin, value)) = self.entry(name) else { return Ok(None) };
        let expected = "a text in quotation marks";
        let text = value.as_str();
        text.map(|text| Some(text.to_owned()))
            .ok_or_else(|| wrong_type(&self.key(name), expected, value, origin))
    }

    fn entry(&self, name: &str) -> Option<&(String, ValueOrigin, &'a DeValue<'i>)> {
        self.entries.iter().find(|(other, _, _)| other == name)
    }

    fn key(&self, name: &str) -> String {
        if self.name.is_empty() {
            return format!("{SENDERS}.{name}");
        }
        format!("{SENDERS}.\"{}\".{name}", self.name)
    }

    fn wrong(&self, name: &str, value: &str, why: &str) -> ConfigError {
        let origin = self.entry(name).map_or_else(|| self.origin.clone(), |it| it.1.clone());
        let (value, why) = (value.to_owned(), why.to_owned());
        ConfigError::BadValue { key: self.key(name), origin, value, why }
    }
}
