//! Logins: our own settings first, then docker's configuration and the helpers it names.

use std::collections::{BTreeMap, HashMap};
use std::env;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::fs;

use crate::core::docker::credentials::Credentials;
use crate::core::secret_file::exposed;
use crate::registry::docker_config::{DockerConfig, Login, server_of};
use crate::registry::failure::Failure;
use crate::registry::helper;
use crate::registry::settings::{HostSettings, Limits, RegistrySettings};

/// How long a helper's answer is taken for true. A round asks for every image; a helper is a
/// program to start. Cloud registries' logins live for hours.
const HELPER_ANSWER_LIFE: Duration = Duration::from_secs(5 * 60);

/// How long a helper's answer stands even if it is refused, so that a hundred images of one
/// registry with a wrong password do not start a hundred programs.
const HELPER_ANSWER_YOUNG: Duration = Duration::from_secs(30);

/// Largest configuration or password file, in bytes: whatever is larger is something else.
const FILE_MAX: u64 = 1024 * 1024;

/// Finds logins, and reads the docker configuration again when it has changed on disk.
pub(super) struct CredentialFinder {
    hosts: BTreeMap<String, HostSettings>,
    docker_config: Option<PathBuf>,
    helper_timeout: Duration,
    read: Mutex<Option<(Stamp, Arc<DockerConfig>)>>,
    heard: Mutex<HashMap<String, Heard>>,
}

/// What tells one version of a file from the next.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    seconds: i64,
    nanoseconds: i64,
    size: u64,
    inode: u64,
}

struct Heard {
    helper: String,
    at: Instant,
    login: Option<Credentials>,
}

impl CredentialFinder {
    pub fn new(settings: RegistrySettings, limits: &Limits) -> Self {
        Self {
            hosts: settings.hosts,
            docker_config: settings.docker_config.or_else(default_docker_config),
            helper_timeout: limits.helper_timeout,
            read: Mutex::default(),
            heard: Mutex::default(),
        }
    }

    /// The login for a registry; nothing where there is none.
    pub async fn find(&self, registry: &str) -> Result<Option<Credentials>, Failure> {
        if let Some((username, file)) = self.own_login(registry) {
            return read_password(username, file).await.map(Some);
        }
        let Some(path) = &self.docker_config else { return Ok(None) };
        let Some(config) = self.docker_config(path).await? else { return Ok(None) };
        match config.login(registry) {
            Ok(Login::Here(login)) => Ok(Some(login)),
            Ok(Login::Helper(name)) => self.ask_helper(&name, registry).await,
            Ok(Login::Nowhere) => Ok(None),
            Err(error) => {
                let path = path.display();
                Err(Failure::unauthorized(format!("the login for {registry} in {path}: {error}")))
            }
        }
    }

    /// A registry refused the login: a helper is asked again, unless it was asked just now.
    pub fn refused(&self, registry: &str) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.retain(|known, heard| known != registry || heard.at.elapsed() < HELPER_ANSWER_YOUNG);
    }

    fn own_login(&self, registry: &str) -> Option<(&str, &Path)> {
        let host = self.hosts.get(registry)?;
        Some((host.username.as_deref()?, host.password_file.as_deref()?))
    }

    async fn docker_config(&self, path: &Path) -> Result<Option<Arc<DockerConfig>>, Failure> {
        let unreadable = |problem: &str| {
            let path = path.display();
            Failure::unauthorized(format!("the docker configuration {path} {problem}"))
        };
        let stamp = match fs::metadata(path).await {
            Ok(metadata) => Stamp::of(&metadata),
            Err(error) if is_absent(error.kind()) => return Ok(None),
            Err(error) => return Err(unreadable(&format!("cannot be read: {}", error.kind()))),
        };
        if let Some(config) = self.remembered(stamp) {
            return Ok(Some(config));
        }
        let bytes = read_small(path).await.map_err(|problem| unreadable(&problem))?;
        let config = DockerConfig::parse(&bytes).ok_or_else(|| unreadable("is not its JSON"))?;
        let config = Arc::new(config);
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clear();
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = Some((stamp, config.clone()));
        Ok(Some(config))
    }

    fn remembered(&self, stamp: Stamp) -> Option<Arc<DockerConfig>> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.as_ref().filter(|(known, _)| *known == stamp).map(|(_, config)| config.clone())
    }

    async fn ask_helper(&self, name: &str, registry: &str) -> Result<Option<Credentials>, Failure> {
        {
            let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh =
                |heard: &&Heard| heard.helper == name && heard.at.elapsed() < HELPER_ANSWER_LIFE;
            if let Some(heard) = heard.get(registry).filter(fresh) {
                return Ok(heard.login.clone());
            }
        }
        let answer = helper::ask(name, server_of(registry), self.helper_timeout).await;
        let login = answer
            .map_err(|error| Failure::unauthorized(format!("no login for {registry}: {error}")))?;
        let heard = Heard { helper: name.to_owned(), at: Instant::now(), login: login.clone() };
        let mut all = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(registry.to_owned(), heard);
        Ok(login)
    }
}

impl Stamp {
    fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            seconds: metadata.mtime(),
            nanoseconds: metadata.mtime_nsec(),
            size: metadata.size(),
            inode: metadata.ino(),
        }
    }
}

/// Where Docker's client keeps its configuration. A service of root may have no `HOME`.
#[expect(
    clippy::disallowed_methods,
    reason = "where Docker's client looks is Docker's own rule, asked anew for each login"
)]
fn default_docker_config() -> Option<PathBuf> {
    if let Some(directory) = env::var_os("DOCKER_CONFIG").filter(|value| !value.is_empty()) {
        return Some(PathBuf::from(directory).join("config.json"));
    }
    let root = || rustix::process::geteuid().is_root().then(|| "/root".into());
    let home = env::var_os("HOME").filter(|value| !value.is_empty()).or_else(root)?;
    Some(PathBuf::from(home).join(".docker/config.json"))
}

fn is_absent(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory)
}

async fn read_password(username: &str, file: &Path) -> Result<Credentials, Failure> {
    let unreadable = |problem: &str| {
        Failure::unauthorized(format!("the password file {} {problem}", file.display()))
    };
    let bytes = read_small(file).await.map_err(|problem| unreadable(&problem))?;
    if let Some(why) = fs::metadata(file).await.ok().and_then(|it| exposed(file, it.mode())) {
        return Err(Failure::unauthorized(format!("the password is no secret: {why}")));
    }
    let text = String::from_utf8(bytes).map_err(|_| unreadable("is not text"))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let password = line.strip_suffix('\r').unwrap_or(line);
    Ok(Credentials::with_password(username, password))
}

/// Reads a file that cannot be large, or says what is wrong with it.
async fn read_small(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("cannot be read: {}", error.kind());
    let size = fs::metadata(path).await.map_err(failed)?.size();
    if size > FILE_MAX {
        return Err(format!("is larger than {FILE_MAX} bytes"));
    }
    fs::read(path).await.map_err(failed)
}
