//! The deployments of the configuration, with the definitions of their containers.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use serde_json::Value;

use super::engine;
use crate::config::{DeploymentSettings, DeploymentSource, Settings};
use crate::core::deployment::{Definition, Deployment, Deployments};
use crate::core::policy::LABEL_DEPLOYMENT;
use crate::core::push::run_arguments;
use crate::core::recreate::{Original, recreate};
use crate::engine::{Containers as _, Engine as _, Images as _};
use crate::host::{Host as _, RealHost, record_create};

/// Largest file with a body in bytes.
const BODY_BYTES_MAX: u64 = 1024 * 1024;

/// How long the Engine may take to tell its API version. An Engine that is away at the start of the
/// agent is no reason to wait.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(2);

/// The API version if the Engine does not tell it: the oldest that Docker 29 speaks.
const COMMON_API: &str = "1.44";

/// All deployments. Files are read, and arguments are translated.
///
/// # Errors
/// A definition that cannot be used; the error names the deployment.
pub async fn deployments(settings: &Settings) -> anyhow::Result<Arc<Deployments>> {
    let mut all = Vec::new();
    for deployment in &settings.deployments {
        let DeploymentSettings { name, container, source } = deployment;
        let body = match source {
            DeploymentSource::Container => None,
            DeploymentSource::File(file) => Some(body_in(file)),
            DeploymentSource::Arguments(arguments) => Some(translated(settings, arguments).await),
        };
        let definition = body.map(|body| {
            let definition = body
                .and_then(|body| Definition::read(name, body).map_err(|error| anyhow!("{error}")));
            definition.with_context(|| format!("the deployment {name} cannot be created"))
        });
        let definition = definition.transpose()?;
        all.push(Deployment { name: name.clone(), container: container.clone(), definition });
    }
    Ok(Arc::new(all.into_iter().collect()))
}

fn body_in(file: &Path) -> anyhow::Result<Value> {
    let name = file.display();
    let metadata = std::fs::metadata(file).with_context(|| format!("cannot read {name}"))?;
    if !metadata.is_file() || metadata.len() > BODY_BYTES_MAX {
        bail!("{name} is not a file of at most {BODY_BYTES_MAX} bytes");
    }
    let text = std::fs::read(file).with_context(|| format!("cannot read {name}"))?;
    serde_json::from_slice(&text).with_context(|| format!("{name} is not JSON"))
}

async fn translated(settings: &Settings, arguments: &[String]) -> anyhow::Result<Value> {
    let arguments = run_arguments::prepare(arguments).map_err(|error| anyhow!("{error}"))?;
    let api = match tokio::time::timeout(ENGINE_TIMEOUT, engine(settings)?.info()).await {
        Ok(Ok(info)) => info.api.to_string(),
        _ => COMMON_API.to_owned(),
    };
    let directory = PrivateDirectory::new()?;
    let body = record_create(&directory.0, &api, &arguments).await?;
    run_arguments::read(&body).map_err(|error| anyhow!("{error}"))
}

/// A directory of this process, which is removed with everything in it.
struct PrivateDirectory(PathBuf);

impl PrivateDirectory {
    fn new() -> anyhow::Result<Self> {
        let name = format!("pilotfish-{}", RealHost::default().random_id());
        let path = std::env::temp_dir().join(name);
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The body that creates this container again, in the words of the Engine's API: the definition of
/// a deployment, for `create`.
///
/// # Errors
/// There is no such container, or it cannot be created again.
pub async fn definition_of(settings: &Settings, container: &str) -> anyhow::Result<Value> {
    let engine = engine(settings)?;
    let api = engine.info().await.context("the Engine does not answer")?.api;
    let found = engine.inspect(container).await?;
    let Some(found) = found else { bail!("there is no container named {container}") };
    let id = found["Image"].as_str().unwrap_or_default();
    let image = engine.inspect_image(id).await?;
    let Some(image) = image else { bail!("the image of {container} is gone: {id}") };
    let original = Original { container: &found, image: &image, api };
    let recreation =
        recreate(&original).with_context(|| format!("{container} cannot be created again"))?;
    let mut body = recreation.body;
    if let Some(labels) = body.get_mut("Labels").and_then(Value::as_object_mut) {
        labels.remove(LABEL_DEPLOYMENT);
    }
    if let Some(endpoints) = body["NetworkingConfig"]["EndpointsConfig"].as_object_mut() {
        let later = recreation.connect.into_iter();
        endpoints.extend(later.map(|endpoint| (endpoint.network, endpoint.config)));
    }
    without_nulls(&mut body);
    Ok(body)
}

/// Removes the fields without a value: the Engine takes them like fields that are absent.
fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}
