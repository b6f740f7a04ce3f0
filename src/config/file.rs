//! The first stage for the file: TOML to fragments, each with its line. Only the keys and the types
//! of their values are checked here.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use crate::config::deployment;
use crate::config::environment::Fragment;
use crate::config::error::{ConfigError, ValueOrigin};
use crate::config::keys::{
    self, DEPLOYMENT, Key, MIRROR, PUSH_ALLOW, REGISTRIES, SENDERS, ValueKind,
};
use crate::config::mirror;
use crate::config::push;
use crate::config::registries;
use crate::config::settings::Tables;
use crate::config::table::{TomlSource, as_table, in_order, wrong_type};
use crate::config::webhook;

/// The default path of the file.
pub const DEFAULT_FILE: &str = "/etc/pilotfish/pilotfish.toml";

/// Largest configuration file in bytes: a thousand registries fit, and a wrong path to a disk image
/// does not fill the memory of a Pi.
const FILE_MAX: u64 = 1024 * 1024;

/// Which file is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigFile {
    /// This one, if it exists.
    Optional(PathBuf),
    /// This one; it is an error if it does not exist.
    Required(PathBuf),
}

impl Default for ConfigFile {
    fn default() -> Self {
        Self::Optional(DEFAULT_FILE.into())
    }
}

/// The content of a file.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) fragments: Vec<Fragment>,
    pub(super) tables: Tables,
}

pub(super) fn read(file: &ConfigFile) -> Result<Contents, ConfigError> {
    let (path, is_required) = match file {
        ConfigFile::Optional(path) => (path, false),
        ConfigFile::Required(path) => (path, true),
    };
    let text = match read_text(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound && is_required => {
            return Err(ConfigError::Missing { path: path.clone() });
        }
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Contents::default()),
        Err(source) => return Err(ConfigError::Unreadable { path: path.clone(), source }),
    };
    if u64::try_from(text.len()).is_ok_and(|length| length > FILE_MAX) {
        return Err(ConfigError::TooLarge { path: path.clone(), limit: FILE_MAX });
    }
    parse(&text, path)
}

/// One byte more than allowed shows that the file is too large.
fn read_text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_MAX + 1).read_to_string(&mut text)?;
    Ok(text)
}

pub(super) fn parse(text: &str, path: &Path) -> Result<Contents, ConfigError> {
    let source = TomlSource { text, path };
    let table = DeTable::parse(text).map_err(|error| syntax_error(&source, &error))?;
    let mut contents = Contents::default();
    walk(&source, "", table.get_ref(), &mut contents)?;
    Ok(contents)
}

/// The parser's message about a key or a table that stands twice.
const DUPLICATE: &str = "duplicate key";

/// What to do about it: a person often appends a table to the shipped file.
const STANDS_ONCE: &str = ": a key or a table may stand only once. The shipped file has every table, \
                           so look for it above, and change its keys there";

fn syntax_error(source: &TomlSource<'_>, error: &toml::de::Error) -> ConfigError {
    let span = error.span().unwrap_or_default();
    let line_start = source.text.get(..span.start).and_then(|before| before.rfind('\n'));
    let line = source.text.get(line_start.map_or(0, |start| start + 1)..).unwrap_or_default();
    let mut message = error.message().lines().collect::<Vec<_>>().join("; ");
    if line.trim_start().starts_with("[registries.") {
        message.push_str("; ");
        message.push_str(registries::QUOTE_THE_HOST);
    }
    if message == DUPLICATE {
        message.push_str(STANDS_ONCE);
    }
    ConfigError::Syntax { origin: source.origin(span), message }
}

fn walk(
    source: &TomlSource<'_>,
    section: &str,
    table: &DeTable<'_>,
    contents: &mut Contents,
) -> Result<(), ConfigError> {
    for (name, value) in in_order(table) {
        let separator = if section.is_empty() { "" } else { "." };
        let path = format!("{section}{separator}{}", name.get_ref());
        let origin = source.origin(name.span());
        if let Some(key) = Key::find(&path) {
            let value = scalar(key, value.get_ref(), &origin)?;
            contents.fragments.push(Fragment { key, value, origin });
        } else if path == REGISTRIES {
            let hosts = as_table(&path, value.get_ref(), &origin)?;
            contents.tables.registries = registries::read(source, hosts)?;
        } else if path == SENDERS {
            contents.tables.senders = webhook::read_senders(source, value.get_ref(), &origin)?;
        } else if path == MIRROR {
            contents.tables.mirror = mirror::read(source, value.get_ref(), &origin)?;
        } else if path == PUSH_ALLOW {
            contents.tables.push = push::read_rules(source, value.get_ref(), &origin)?;
        } else if path == DEPLOYMENT {
            contents.tables.deployments = deployment::read(source, value.get_ref(), &origin)?;
        } else if keys::is_section(&path) {
            walk(source, &path, as_table(&path, value.get_ref(), &origin)?, contents)?;
        } else {
            return Err(ConfigError::UnknownKey { hint: keys::hint(&path), key: path, origin });
        }
    }
    Ok(())
}

fn scalar(key: Key, value: &DeValue<'_>, origin: &ValueOrigin) -> Result<String, ConfigError> {
    match (key.kind, value) {
        (ValueKind::Text, DeValue::String(text)) => Ok(text.clone().into_owned()),
        (ValueKind::Flag, DeValue::Boolean(flag)) => Ok(flag.to_string()),
        (ValueKind::Number, DeValue::Integer(number)) => Ok(number.to_string()),
        _ => Err(wrong_type(key.name, key.kind.in_words(), value, origin)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn reading_a_file_never_panics(
            text in ".{0,200}",
            likely in "((state_dir|\\[schedule\\]|every|\\[registries\\.\"a:1\"\\]|opt_in|keep) ?(=|) ?(\"x\"|1|true|\\[\\]|\\{\\}|)\n){0,6}",
        ) {
            let _ = parse(&text, Path::new("a.toml"));
            let _ = parse(&likely, Path::new("a.toml"));
        }
    }
}
