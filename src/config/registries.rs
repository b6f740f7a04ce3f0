//! Settings for single registries, in addition to the Engine's own.

use std::collections::BTreeMap;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::effective::Explained;
use crate::config::error::{ConfigError, ValueOrigin};
use crate::config::keys::{REGISTRIES, REGISTRY_KEYS};
use crate::config::table::{TomlSource, as_table, in_order, wrong_type};
use crate::core::docker::reference::Reference;
use crate::core::text::did_you_mean;

/// TOML reads `[registries.ghcr.io]` as nested tables, and does not accept a colon at all.
pub(super) const QUOTE_THE_HOST: &str =
    "a registry stands in quotation marks, like [registries.\"registry:443\"]";

/// The settings for one registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistryHostSettings {
    /// A file with additional certificate authorities, PEM.
    pub ca_file: Option<PathBuf>,
    /// Whether plain HTTP is used.
    pub plain_http: bool,
    /// Registries that are asked first, in this order: `https://mirror:443` or `mirror:443`.
    pub mirrors: Vec<String>,
    /// The user to log in as; requires `password_file`.
    pub username: Option<String>,
    /// A file whose first line is the password. The configuration never contains the password
    /// itself.
    pub password_file: Option<PathBuf>,
}

/// All registries by host, and the origin of each value.
#[derive(Debug, Default)]
pub(super) struct Registries {
    pub(super) hosts: BTreeMap<String, RegistryHostSettings>,
    pub(super) explained: Vec<Explained>,
}

/// Reads the table `registries`.
pub(super) fn read(
    source: &TomlSource<'_>,
    table: &DeTable<'_>,
) -> Result<Registries, ConfigError> {
    let mut registries = Registries::default();
    for (name, value) in in_order(table) {
        let key = format!("{REGISTRIES}.\"{}\"", name.get_ref());
        let origin = source.origin(name.span());
        let host = canonical_host(name.get_ref())
            .map_err(|why| bad_value(&key, &origin, name.get_ref(), why))?;
        let entries = as_table(&key, value.get_ref(), &origin)?;
        let mut settings = RegistryHostSettings::default();
        for (name, value) in in_order(entries) {
            let field = Field {
                key: format!("{key}.{}", name.get_ref()),
                origin: source.origin(name.span()),
                value: value.get_ref(),
            };
            registries.explained.push(field.take(name.get_ref(), &mut settings)?);
        }
        check_login(&settings).map_err(|why| bad_value(&key, &origin, &host, why))?;
        registries.hosts.insert(host, settings);
    }
    Ok(registries)
}

/// The host as image references name it: Docker Hub has several names.
fn canonical_host(host: &str) -> Result<String, String> {
    let names_host = |reference: &Reference| {
        let path = reference.repository.as_str();
        path == "image" || (path == "library/image" && host.contains('.'))
    };
    let reference = format!("{host}/image").parse::<Reference>().ok();
    reference
        .filter(|reference| !host.contains('/') && names_host(reference))
        .map(|reference| reference.registry)
        .ok_or_else(|| format!("write HOST or HOST:PORT without https://; {QUOTE_THE_HOST}"))
}

fn check_login(settings: &RegistryHostSettings) -> Result<(), String> {
    match (&settings.username, &settings.password_file) {
        (Some(_), None) => Err("username needs a password_file too".to_owned()),
        (None, Some(_)) => Err("password_file needs a username too".to_owned()),
        _ => Ok(()),
    }
}

fn bad_value(key: &str, origin: &ValueOrigin, value: &str, why: String) -> ConfigError {
    let (key, origin, value) = (key.to_owned(), origin.clone(), value.to_owned());
    ConfigError::BadValue { key, origin, value, why }
}

/// One key of one registry.
struct Field<'a, 'i> {
    key: String,
    origin: ValueOrigin,
    value: &'a DeValue<'i>,
}

impl Field<'_, '_> {
    /// Stores the value in the settings.
    fn take(
        self,
        name: &str,
        settings: &mut RegistryHostSettings,
    ) -> Result<Explained, ConfigError> {
        let value = match name {
            "ca_file" => settings.ca_file.insert(self.text()?.into()).display().to_string(),
            "password_file" => {
                settings.password_file.insert(self.text()?.into()).display().to_string()
            }
            "username" => settings.username.insert(self.text()?).clone(),
            "plain_http" => {
                settings.plain_http = self.flag()?;
                settings.plain_http.to_string()
            }
            "mirrors" => {
                settings.mirrors = self.mirrors()?;
                settings.mirrors.join(", ")
            }
            unknown => return Err(self.unknown(unknown)),
        };
        Ok(Explained { key: self.key, value, origin: self.origin })
    }

    fn text(&self) -> Result<String, ConfigError> {
        let expected = "a text in quotation marks";
        let text = self.value.as_str();
        let text = text.ok_or_else(|| wrong_type(&self.key, expected, self.value, &self.origin))?;
        if text.trim().is_empty() {
            return Err(bad_value(
                &self.key,
                &self.origin,
                text,
                "it must not be empty".to_owned(),
            ));
        }
        Ok(text.to_owned())
    }

    fn flag(&self) -> Result<bool, ConfigError> {
        let expected = "true or false, without quotation marks";
        self.value
            .as_bool()
            .ok_or_else(|| wrong_type(&self.key, expected, self.value, &self.origin))
    }

    fn mirrors(&self) -> Result<Vec<String>, ConfigError> {
        let expected = "a list of texts, like [\"https://mirror:443\"]";
        let wrong = || wrong_type(&self.key, expected, self.value, &self.origin);
        let items = self.value.as_array().ok_or_else(wrong)?;
        let text = |item: &Spanned<DeValue<'_>>| item.get_ref().as_str().map(str::to_owned);
        let mirrors: Vec<String> =
            items.iter().map(text).collect::<Option<_>>().ok_or_else(wrong)?;
        let is_wrong = |mirror: &&String| {
            mirror.is_empty() || mirror.contains('@') || mirror.contains(char::is_whitespace)
        };
        match mirrors.iter().find(is_wrong) {
            None => Ok(mirrors),
            Some(mirror) => {
                let why = "write https://HOST:PORT or HOST:PORT, without a user or a password";
                Err(bad_value(&self.key, &self.origin, mirror, why.to_owned()))
            }
        }
    }

    fn unknown(self, name: &str) -> ConfigError {
        let hint = match self.value {
            DeValue::Table(_) => format!("; {QUOTE_THE_HOST}"),
            _ => did_you_mean(name, REGISTRY_KEYS),
        };
        ConfigError::UnknownKey { key: self.key, origin: self.origin, hint }
    }
}
