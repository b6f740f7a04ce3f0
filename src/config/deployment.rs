//! The deployments, `[[deployment]]`: services whose images are pushed to this machine.

use std::path::PathBuf;

use toml::de::DeValue;

use crate::config::effective::{Effective, Explained};
use crate::config::error::{ConfigError, ValueOrigin};
use crate::config::keys::{DEPLOYMENT, DEPLOYMENT_KEYS};
use crate::config::listed_table::ListedTable;
use crate::config::table::TomlSource;

/// Most deployments: a Pi runs no more containers.
const DEPLOYMENTS_MAX: usize = 64;

/// Longest name of a deployment in bytes; it is the label of a metric and a part of paths.
const NAME_BYTES_MAX: usize = 64;

/// Most arguments of one deployment.
const ARGUMENTS_MAX: usize = 256;

/// The name that is a part of the paths of the API.
const RESERVED_NAME: &str = "deployments";

/// One deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentSettings {
    pub name: String,
    /// The name of its container.
    pub container: String,
    pub source: DeploymentSource,
}

/// Where the definition of its container is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeploymentSource {
    /// In the container, which exists.
    Container,
    /// In this file: the JSON body of `POST /containers/create`.
    File(PathBuf),
    /// In these arguments of `docker run`.
    Arguments(Vec<String>),
}

/// All deployments in the file, and the origin of each value.
#[derive(Debug, Default)]
pub(super) struct DeploymentTables {
    tables: Vec<DeploymentTable>,
    pub(super) explained: Vec<Explained>,
}

#[derive(Debug)]
struct DeploymentTable {
    name: String,
    container: Option<String>,
    source: DeploymentSource,
}

impl DeploymentTables {
    /// The deployments; one without `container` has the prefix and its name as its container.
    pub(super) fn named(
        &self,
        effective: &Effective,
    ) -> Result<Vec<DeploymentSettings>, ConfigError> {
        let prefix = effective.read("push.prefix", parse_prefix)?;
        let mut all: Vec<DeploymentSettings> = Vec::new();
        for DeploymentTable { name, container, source } in &self.tables {
            let container = container.clone().unwrap_or_else(|| format!("{prefix}{name}"));
            if let Some(other) = all.iter().find(|other| other.container == container) {
                let why = format!(
                    "the deployments {} and {name} would have the same container, {container}",
                    other.name
                );
                effective.read("push.prefix", |_| Err::<(), _>(&why))?;
            }
            all.push(DeploymentSettings { name: name.clone(), container, source: source.clone() });
        }
        Ok(all)
    }
}

/// Whether the Engine accepts it as the name of a container.
fn is_container_name(name: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let begins_well = name.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    name.len() >= 2 && begins_well && name.chars().all(is_word)
}

fn parse_prefix(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || is_container_name(&format!("{text}x")) {
        return Ok(text.to_owned());
    }
    Err("use letters, digits, `_`, `.` and `-`, and begin with a letter or a digit")
}

/// Reads the tables `[[deployment]]`.
pub(super) fn read(
    source: &TomlSource<'_>,
    value: &DeValue<'_>,
    origin: &ValueOrigin,
) -> Result<DeploymentTables, ConfigError> {
    let expected = "tables that begin with [[deployment]]";
    let mut all = DeploymentTables::default();
    for mut table in ListedTable::read_all(DEPLOYMENT, expected, source, value, origin)? {
        let name = read_name(&table)?;
        table.set_name(&name);
        table.check_keys(&DEPLOYMENT_KEYS)?;
        if all.tables.iter().any(|other| other.name == name) {
            return Err(table.wrong("name", &name, "another deployment has this name"));
        }
        if all.tables.len() >= DEPLOYMENTS_MAX {
            let why = format!("there are at most {DEPLOYMENTS_MAX} deployments");
            return Err(table.wrong("name", &name, &why));
        }
        all.tables.push(read_deployment(&table, &mut all.explained)?);
    }
    Ok(all)
}

fn read_name(table: &ListedTable<'_, '_>) -> Result<String, ConfigError> {
    let name = table.text("name")?.unwrap_or_default();
    if name == RESERVED_NAME {
        return Err(table.wrong("name", &name, "the API has this word in its paths"));
    }
    // A container needs two characters, but a prefix may come before this name.
    if name.len() > NAME_BYTES_MAX || !is_container_name(&format!("{name}x")) || name.is_empty() {
        let why = "each deployment needs a name of letters, digits, `_`, `.` and `-`, at most 64 \
                   of them; the first is a letter or a digit";
        return Err(table.wrong("name", &name, why));
    }
    Ok(name)
}

fn read_deployment(
    table: &ListedTable<'_, '_>,
    explained: &mut Vec<Explained>,
) -> Result<DeploymentTable, ConfigError> {
    let container = table.text("container")?;
    if let Some(container) = container.as_ref().filter(|it| !is_container_name(it)) {
        let why = "this is no name of a container: use letters, digits, `_`, `.` and `-`";
        return Err(table.wrong("container", container, why));
    }
    let create = table.text("create")?;
    let args = table.texts("args", "a list of texts, like [\"-p\", \"80:8000\"]")?;
    let source = read_source(table, create.as_deref(), args.clone())?;
    // Values of variables may be secrets, so the arguments are not shown.
    let args = args.map(|args| format!("{} arguments", args.len()));
    let values = [
        ("name", Some(table.name().to_owned())),
        ("container", container.clone()),
        ("create", create),
        ("args", args),
    ];
    explained.extend(values.into_iter().filter_map(|(name, value)| table.explain(name, value?)));
    Ok(DeploymentTable { name: table.name().to_owned(), container, source })
}

fn read_source(
    table: &ListedTable<'_, '_>,
    create: Option<&str>,
    args: Option<Vec<String>>,
) -> Result<DeploymentSource, ConfigError> {
    match (create, args) {
        (Some(file), Some(_)) => {
            Err(table.wrong("create", file, "`create` and `args` exclude each other: keep one"))
        }
        (Some(file), None) if file.trim().is_empty() => {
            Err(table.wrong("create", file, "name a file with a JSON body"))
        }
        (Some(file), None) => Ok(DeploymentSource::File(PathBuf::from(file))),
        (None, Some(args)) if args.len() > ARGUMENTS_MAX => {
            let why = format!("there are at most {ARGUMENTS_MAX} arguments");
            Err(table.wrong("args", "[…]", &why))
        }
        (None, Some(args)) => Ok(DeploymentSource::Arguments(args)),
        (None, None) => Ok(DeploymentSource::Container),
    }
}
