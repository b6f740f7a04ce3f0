//! Logins: from Pilotfish's settings first, then from docker's configuration and its credential
//! helpers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::env;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::fs;

use crate::core::docker::credentials::Credentials;
use crate::core::secret_file::exposed;
use crate::registry::protocol::credential_helper;
use crate::registry::protocol::docker_config::{DockerConfig, LoginSource, server_of};
use crate::registry::protocol::settings::{HostSettings, Limits, RegistrySettings};

/// How long the answer of a credential helper is reused. A round asks for every image, and each
/// question starts a program. Logins of cloud registries live for hours.
const HELPER_ANSWER_LIFE: Duration = Duration::from_secs(5 * 60);

/// How long an answer is reused even if the registry refuses it, so that a hundred images of one
/// registry with a wrong password do not start a hundred programs.
const HELPER_ANSWER_YOUNG: Duration = Duration::from_secs(30);

/// Largest configuration or password file in bytes: a larger file is something else.
const FILE_MAX: u64 = 1024 * 1024;

/// Most registries with a remembered answer, and most warnings that are remembered.
const REMEMBERED_MAX: usize = 200;

/// Finds logins, and reads the docker configuration again after it has changed on disk.
pub(in crate::registry) struct CredentialFinder {
    hosts: BTreeMap<String, HostSettings>,
    docker_config: Option<PathBuf>,
    helper_timeout: Duration,
    read: Mutex<Option<(Stamp, Arc<ReadConfig>)>>,
    answers: Mutex<HashMap<String, LoginSlot>>,
    warned: Mutex<BTreeSet<String>>,
}

/// The result of a search. A login that was not found is no error: most images need none, and
/// `docker pull` continues as well. The reason is reported if the registry wants a login.
#[derive(Debug, Default)]
pub(in crate::registry) struct FoundCredentials {
    pub login: Option<Credentials>,
    /// Why there is no login although there should be one.
    pub error: Option<String>,
}

/// A docker configuration as it was read, or what is wrong with it.
type ReadConfig = Result<DockerConfig, String>;

/// The last answer of a credential helper. A lookup that needs it during a question waits for that
/// answer.
type LoginSlot = Arc<tokio::sync::Mutex<Option<CachedLogin>>>;

/// Identifies one version of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    seconds: i64,
    nanoseconds: i64,
    size: u64,
    inode: u64,
}

struct CachedLogin {
    helper: String,
    at: Instant,
    /// Whether the registry has refused it since then.
    is_refused: bool,
    answer: Result<Option<Credentials>, String>,
}

impl CachedLogin {
    /// A useless answer is requested again sooner.
    fn is_fresh(&self, helper: &str) -> bool {
        let is_useless = self.is_refused || self.answer.is_err();
        let life = if is_useless { HELPER_ANSWER_YOUNG } else { HELPER_ANSWER_LIFE };
        self.helper == helper && self.at.elapsed() < life
    }
}

impl CredentialFinder {
    /// A finder that has read nothing yet.
    pub fn new(settings: RegistrySettings, limits: &Limits) -> Self {
        Self {
            hosts: settings.hosts,
            docker_config: settings.docker_config.or_else(default_docker_config),
            helper_timeout: limits.helper_timeout,
            read: Mutex::default(),
            answers: Mutex::default(),
            warned: Mutex::default(),
        }
    }

    /// The login for a registry. Without one, the reason if there should be one.
    pub async fn find(&self, registry: &str) -> FoundCredentials {
        match self.look(registry).await {
            Ok(login) => FoundCredentials { login, error: None },
            Err(error) => {
                self.warn_once(&error);
                FoundCredentials { login: None, error: Some(error) }
            }
        }
    }

    async fn look(&self, registry: &str) -> Result<Option<Credentials>, String> {
        if let Some((username, file)) = self.own_login(registry) {
            return read_password(username, file).await.map(Some);
        }
        let Some(path) = &self.docker_config else { return Ok(None) };
        let Some(config) = self.docker_config(path).await else { return Ok(None) };
        let config = config.as_ref().as_ref().map_err(Clone::clone)?;
        match config.login(registry) {
            Ok(LoginSource::Here(login)) => Ok(Some(login)),
            Ok(LoginSource::Helper(name)) => self.ask_helper(&name, registry).await,
            Ok(LoginSource::Nowhere) => Ok(None),
            Err(problem) => {
                Err(format!("the login for {registry} in {}: {problem}", path.display()))
            }
        }
    }

    /// Each problem is logged once, and not for each image of each round.
    fn warn_once(&self, error: &str) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.len() < REMEMBERED_MAX && warned.insert(error.to_owned()) {
            tracing::warn!("{error}; registries are asked without a login");
        }
    }

    /// Records that a registry refused the login: the helper is asked again, unless it was asked
    /// just now.
    pub fn refused(&self, registry: &str) {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        // A slot in use is being filled again.
        if let Some(Ok(mut slot)) = answers.get(registry).map(|slot| slot.try_lock())
            && let Some(cached) = slot.as_mut()
        {
            cached.is_refused = true;
        }
    }

    fn own_login(&self, registry: &str) -> Option<(&str, &Path)> {
        let host = self.hosts.get(registry)?;
        Some((host.username.as_deref()?, host.password_file.as_deref()?))
    }

    async fn docker_config(&self, path: &Path) -> Option<Arc<ReadConfig>> {
        let unreadable = |problem: &str| {
            Arc::new(Err(format!("the docker configuration {} {problem}", path.display())))
        };
        let stamp = match fs::metadata(path).await {
            Ok(metadata) => Stamp::of(&metadata),
            Err(error) if is_absent(error.kind()) => return None,
            Err(error) => return Some(unreadable(&format!("cannot be read: {}", error.kind()))),
        };
        if let Some(config) = self.remembered(stamp) {
            return Some(config);
        }
        let config = match read_small(path).await {
            Ok(bytes) => DockerConfig::parse(&bytes)
                .map_or_else(|| unreadable("is not JSON"), |it| Arc::new(Ok(it))),
            Err(problem) => unreadable(&problem),
        };
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = Some((stamp, config.clone()));
        Some(config)
    }

    fn remembered(&self, stamp: Stamp) -> Option<Arc<ReadConfig>> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.as_ref().filter(|(known, _)| *known == stamp).map(|(_, config)| config.clone())
    }

    async fn ask_helper(&self, name: &str, registry: &str) -> Result<Option<Credentials>, String> {
        let slot = {
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            if answers.len() >= REMEMBERED_MAX {
                answers.retain(|_, slot| Arc::strong_count(slot) > 1);
            }
            answers.entry(registry.to_owned()).or_default().clone()
        };
        let mut slot = slot.lock().await;
        if let Some(cached) = slot.as_ref().filter(|cached| cached.is_fresh(name)) {
            return cached.answer.clone();
        }
        let answer = credential_helper::ask(name, server_of(registry), self.helper_timeout).await;
        let answer = answer.map_err(|error| format!("no login for {registry}: {error}"));
        let (helper, at) = (name.to_owned(), Instant::now());
        *slot = Some(CachedLogin { helper, at, is_refused: false, answer: answer.clone() });
        answer
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

async fn read_password(username: &str, file: &Path) -> Result<Credentials, String> {
    let unreadable = |problem: &str| format!("the password file {} {problem}", file.display());
    let bytes = read_small(file).await.map_err(|problem| unreadable(&problem))?;
    if let Some(why) = fs::metadata(file).await.ok().and_then(|it| exposed(file, it.mode())) {
        return Err(format!("the password file is not secret: {why}"));
    }
    let text = String::from_utf8(bytes).map_err(|_| unreadable("is not text"))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let password = line.strip_suffix('\r').unwrap_or(line);
    Ok(Credentials::with_password(username, password))
}

/// Reads a small file, or says what is wrong with it.
async fn read_small(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("cannot be read: {}", error.kind());
    let metadata = fs::metadata(path).await.map_err(failed)?;
    // Reading a pipe could wait without a limit.
    if !metadata.is_file() {
        return Err("is not a regular file".to_owned());
    }
    if metadata.size() > FILE_MAX {
        return Err(format!("is larger than {FILE_MAX} bytes"));
    }
    fs::read(path).await.map_err(failed)
}
