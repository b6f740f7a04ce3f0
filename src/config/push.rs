//! The push API: its address, its files for TLS, and the rules in `[[push.allow]]`.

use std::net::SocketAddr;
use std::path::PathBuf;

use toml::de::DeValue;

use crate::config::bytes::parse_bytes;
use crate::config::deployment::DeploymentSettings;
use crate::config::effective::{Effective, Explained};
use crate::config::error::{ConfigError, ValueOrigin};
use crate::config::keys::{PUSH_ALLOW, PUSH_ALLOW_KEYS};
use crate::config::listed_table::ListedTable;
use crate::config::settings::parse_listen;
use crate::config::table::TomlSource;
use crate::core::push::client::ClientPattern;
use crate::core::push::permission::{Permission, Permissions, PermittedNames, PushAct};
use crate::core::text::did_you_mean;

/// Most rules: each client of a Pi needs one.
const RULES_MAX: usize = 64;

/// All names, and all acts.
const ALL: &str = "*";

/// What an address of a passed socket begins with.
const PASSED: &str = "fd:";

/// The smallest `push.size_max`: less holds no image.
const SIZE_MIN: u64 = 1_000_000;

/// The push API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushSettings {
    pub address: PushAddress,
    pub files: PushFiles,
    /// The largest archive in bytes.
    pub size_max: u64,
    pub permissions: Permissions,
}

/// Where the push API listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushAddress {
    Address(SocketAddr),
    /// A socket that the parent process, systemd, has opened: its descriptor.
    Passed(i32),
}

/// The files for TLS, PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushFiles {
    /// The certificate of this server, and those of its authorities behind it.
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
    /// The authorities of the clients.
    pub client_ca_file: PathBuf,
    /// The revoked certificates; absent: none is.
    pub crl_file: Option<PathBuf>,
}

/// All rules in the file, and the origin of each value.
#[derive(Debug, Default)]
pub(super) struct PushRules {
    rules: Vec<(Permission, ValueOrigin)>,
    pub(super) explained: Vec<Explained>,
}

impl PushSettings {
    /// The push API, if it has an address.
    pub(super) fn read(
        effective: &Effective,
        rules: PushRules,
        deployments: &[DeploymentSettings],
    ) -> Result<Option<Self>, ConfigError> {
        let size_max = effective.read("push.size_max", parse_size)?;
        let permissions = rules.naming(deployments)?;
        let Some(address) = effective.read("push.address", parse_address)? else {
            return Ok(None);
        };
        let file = |key: &str| {
            effective.read(key, |text| match text.trim() {
                "" => Err("push.address needs push.cert_file, push.key_file and \
                           push.client_ca_file"),
                path => Ok(PathBuf::from(path)),
            })
        };
        let files = PushFiles {
            cert_file: file("push.cert_file")?,
            key_file: file("push.key_file")?,
            client_ca_file: file("push.client_ca_file")?,
            crl_file: effective.read("push.crl_file", |text| {
                Ok::<_, &str>(Some(text.trim()).filter(|it| !it.is_empty()).map(PathBuf::from))
            })?,
        };
        Ok(Some(Self { address, files, size_max, permissions }))
    }
}

impl PushRules {
    /// The rules, if each name in them is a deployment.
    fn naming(self, deployments: &[DeploymentSettings]) -> Result<Permissions, ConfigError> {
        let known = || deployments.iter().map(|deployment| deployment.name.as_str());
        for (rule, origin) in &self.rules {
            let PermittedNames::These(names) = &rule.names else { continue };
            if let Some(name) = names.iter().find(|name| !known().any(|it| it == *name)) {
                let hint = did_you_mean(name, known());
                return Err(ConfigError::BadValue {
                    key: format!("{PUSH_ALLOW}.deployments"),
                    origin: origin.clone(),
                    value: name.clone(),
                    why: format!("there is no [[deployment]] with this name{hint}"),
                });
            }
        }
        Ok(Permissions(self.rules.into_iter().map(|(rule, _)| rule).collect()))
    }
}

fn parse_address(text: &str) -> Result<Option<PushAddress>, String> {
    let text = text.trim();
    if let Some(number) = text.strip_prefix(PASSED) {
        let number = number.parse().ok().filter(|number| *number >= 3);
        let number = number.ok_or("the first socket of systemd is \"fd:3\"")?;
        return Ok(Some(PushAddress::Passed(number)));
    }
    Ok(parse_listen(text)?.map(PushAddress::Address))
}

fn parse_size(text: &str) -> Result<u64, &'static str> {
    let size = parse_bytes(text).ok_or("write it like \"2GB\" or \"500MB\"")?;
    if size < SIZE_MIN { Err("the smallest limit is 1MB") } else { Ok(size) }
}

/// Reads the tables `[[push.allow]]`.
pub(super) fn read_rules(
    source: &TomlSource<'_>,
    value: &DeValue<'_>,
    origin: &ValueOrigin,
) -> Result<PushRules, ConfigError> {
    let expected = "tables that begin with [[push.allow]]";
    let mut all = PushRules::default();
    for mut table in ListedTable::read_all(PUSH_ALLOW, expected, source, value, origin)? {
        let text = table.text("client")?.unwrap_or_default();
        let client: ClientPattern =
            text.parse().map_err(|error| table.wrong("client", &text, &format!("{error}")))?;
        table.set_name(&text);
        table.check_keys(&PUSH_ALLOW_KEYS)?;
        if all.rules.len() >= RULES_MAX {
            let why = format!("there are at most {RULES_MAX} rules");
            return Err(table.wrong("client", &text, &why));
        }
        let (names, acts) = (read_names(&table)?, read_acts(&table)?);
        all.explained.extend(table.explain("client", text));
        all.explained.extend(table.explain("deployments", joined(&table, "deployments")?));
        all.explained.extend(table.explain("acts", joined(&table, "acts")?));
        all.rules.push((Permission { client, names, acts }, table.origin().clone()));
    }
    Ok(all)
}

const NAMES_EXPECTED: &str = "a list of names, like [\"till\"], or [\"*\"] for all of them";
const ACTS_EXPECTED: &str = "a list of acts, like [\"load\", \"read\"], or [\"*\"] for all of them";

fn joined(table: &ListedTable<'_, '_>, key: &str) -> Result<String, ConfigError> {
    Ok(table.texts(key, NAMES_EXPECTED)?.unwrap_or_default().join(", "))
}

fn read_names(table: &ListedTable<'_, '_>) -> Result<PermittedNames, ConfigError> {
    let names = table.texts("deployments", NAMES_EXPECTED)?.unwrap_or_default();
    match names.as_slice() {
        [] => {
            let why = format!("each rule needs `deployments`: {NAMES_EXPECTED}");
            Err(table.wrong("deployments", "[]", &why))
        }
        [all] if all == ALL => Ok(PermittedNames::All),
        _ => Ok(PermittedNames::These(names.into_iter().collect())),
    }
}

fn read_acts(table: &ListedTable<'_, '_>) -> Result<Vec<PushAct>, ConfigError> {
    let words = table.texts("acts", ACTS_EXPECTED)?.unwrap_or_default();
    let known = || PushAct::ALL.map(PushAct::word);
    if words.is_empty() {
        let why = format!("each rule needs `acts`: {ACTS_EXPECTED}");
        return Err(table.wrong("acts", "[]", &why));
    }
    if words == [ALL] {
        return Ok(PushAct::ALL.to_vec());
    }
    let act = |word: &String| {
        PushAct::ALL.into_iter().find(|act| act.word() == word).ok_or_else(|| {
            let hint = did_you_mean(word, known());
            table.wrong("acts", word, &format!("it is one of {}{hint}", known().join(", ")))
        })
    };
    words.iter().map(act).collect()
}
