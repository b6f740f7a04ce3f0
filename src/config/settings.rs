//! The third stage: all values parsed and typed.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::deployment::{DeploymentSettings, DeploymentTables};
use crate::config::docker::{DockerHost, DockerTls};
use crate::config::effective::{Effective, Explained};
use crate::config::environment::{DOCKER_CERT_PATH, DOCKER_TLS_VERIFY, Environment};
use crate::config::error::{ConfigError, ValueOrigin};
use crate::config::fleet::FleetSettings;
use crate::config::mirror::{MirrorRules, MirrorSettings};
use crate::config::mqtt::MqttSettings;
use crate::config::push::{PushRules, PushSettings};
use crate::config::registries::{Registries, RegistryHostSettings};
use crate::config::time_zone;
use crate::config::webhook::{self, Senders, WebhookSettings};
use crate::core::docker::authority::split_authority;
use crate::core::fleet::names::{DeviceName, NameError};
use crate::core::policy::health_policy::{parse_stable, parse_timeout};
use crate::core::policy::watchtower::Watchtower;
use crate::core::policy::{PolicyDefaults, parse_images_keep};
use crate::core::text::did_you_mean;
use crate::core::time::schedule::{Jitter, Schedule};
use crate::core::time::window::Windows;
use crate::core::time::zone::Zone;

/// The format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text. A log collector can ask for JSON.
    Auto,
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// The least important level that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Failures.
    Error,
    /// Things that a person should look at.
    Warn,
    /// Events.
    Info,
    /// Also what changed nothing.
    Debug,
    /// Everything.
    Trace,
}

/// The tables that only a file has.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) registries: Registries,
    pub(super) senders: Senders,
    pub(super) mirror: MirrorRules,
    pub(super) push: PushRules,
    pub(super) deployments: DeploymentTables,
}

/// The valid configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The directory of the journal, the history and the control socket.
    pub state_dir: PathBuf,
    pub docker_host: DockerHost,
    /// TLS settings for a `tcp://` Engine; absent: no TLS.
    pub docker_tls: Option<DockerTls>,
    /// Whether a container must ask to be watched.
    pub opt_in: bool,
    /// Whether labels of images count like those of their containers.
    pub trust_image_labels: bool,
    /// The time zone of cron and windows.
    pub time_zone: Zone,
    /// When to check.
    pub schedule: Schedule,
    /// The spread over a fleet.
    pub jitter: Jitter,
    /// When images may be pulled.
    pub pull_window: Windows,
    /// Most pulls that run at the same time.
    pub pull_parallel: usize,
    /// Most updates that run at the same time.
    pub update_parallel: usize,
    /// When containers may be replaced.
    pub update_window: Windows,
    /// How long a new container may take to become healthy.
    pub health_timeout: Duration,
    /// How long it must then stay healthy.
    pub health_stable: Duration,
    /// How many previous images stay on disk.
    pub images_keep: u32,
    /// The address of `/metrics`, `/healthz` and `/readyz`; absent: none.
    pub listen_address: Option<SocketAddr>,
    /// More names of this machine, for both addresses.
    pub listen_hosts: Vec<String>,
    /// The webhook listener; absent: none.
    pub webhook: Option<WebhookSettings>,
    /// The name of this device on topics; absent: the name of the machine.
    pub device_name: Option<DeviceName>,
    /// The broker; absent: none.
    pub mqtt: Option<MqttSettings>,
    pub fleet: FleetSettings,
    /// The rules of the mirror.
    pub mirror: Vec<MirrorSettings>,
    /// The push API; absent: none.
    pub push: Option<PushSettings>,
    pub deployments: Vec<DeploymentSettings>,
    /// Watchtower's settings, if its labels count.
    pub watchtower: Option<Watchtower>,
    pub log_format: LogFormat,
    pub log_level: LogLevel,
    /// Settings for single registries, by `HOST` or `HOST:PORT`.
    pub registries: BTreeMap<String, RegistryHostSettings>,
    /// Notes for a person at the start, each a sentence or two.
    pub notes: Vec<String>,
    explained: Vec<Explained>,
}

impl Settings {
    pub(super) fn from_effective(
        effective: &Effective,
        tables: Tables,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        let zone = effective.read("time_zone", |text| time_zone::find(text, environment))?;
        let docker_host: DockerHost = effective.read("docker_host", str::parse)?;
        let mut explained = effective.explain();
        explained.extend(explain_docker(environment));
        explained.extend(tables.senders.explained.iter().cloned());
        explained.extend(tables.mirror.explained);
        explained.extend(tables.push.explained.iter().cloned());
        explained.extend(tables.deployments.explained.iter().cloned());
        explained.extend(tables.registries.explained);
        let mqtt = MqttSettings::read(effective)?;
        let deployments = tables.deployments.named(effective)?;
        Ok(Self {
            state_dir: effective.read("state_dir", parse_state_dir)?,
            docker_tls: DockerTls::from_environment(environment)?,
            opt_in: effective.read("opt_in", |text| choose(text, FLAGS))?,
            trust_image_labels: effective.read("trust_image_labels", |text| choose(text, FLAGS))?,
            time_zone: zone.zone,
            schedule: read_schedule(effective)?,
            jitter: effective.read("schedule.jitter", str::parse)?,
            pull_window: effective.read("pull.window", str::parse)?,
            pull_parallel: effective.read("pull.parallel", parse_parallel)?,
            update_parallel: effective.read("update.parallel", parse_parallel)?,
            update_window: effective.read("update.window", str::parse)?,
            health_timeout: effective.read("health.timeout", parse_timeout)?,
            health_stable: effective.read("health.stable", parse_stable)?,
            images_keep: effective.read("images.keep", parse_images_keep)?,
            listen_address: effective.read("listen.address", parse_listen)?,
            listen_hosts: effective.read("listen.hosts", parse_hosts)?,
            webhook: webhook::read(effective, &tables.senders)?,
            device_name: effective.read("device.name", parse_device_name)?,
            fleet: FleetSettings::read(effective, mqtt.is_some())?,
            mqtt,
            mirror: tables.mirror.rules,
            push: PushSettings::read(effective, tables.push, &deployments)?,
            deployments,
            watchtower: read_watchtower(effective)?,
            log_format: effective.read("log.format", |text| choose(text, LOG_FORMATS))?,
            log_level: effective.read("log.level", |text| choose(text, LOG_LEVELS))?,
            registries: tables.registries.hosts,
            notes: zone.note.into_iter().chain(note_on(&docker_host)).collect(),
            docker_host,
            explained,
        })
    }

    /// The defaults for containers without labels.
    #[must_use]
    pub fn policy_defaults(&self) -> PolicyDefaults {
        PolicyDefaults {
            opt_in: self.opt_in,
            trusts_image_labels: self.trust_image_labels,
            deployments: Arc::default(),
            update_window: self.update_window.clone(),
            health_timeout: self.health_timeout,
            health_stable: self.health_stable,
            images_keep: self.images_keep,
            watchtower: self.watchtower.clone(),
        }
    }

    /// Every value with its origin, in the order of the documentation.
    #[must_use]
    pub fn explain(&self) -> &[Explained] {
        &self.explained
    }
}

/// Docker's variables that have no key.
fn explain_docker(environment: &Environment) -> impl Iterator<Item = Explained> {
    let explained = |name: &str| {
        let (key, value) = (name.to_owned(), environment.filled(name)?.to_owned());
        Some(Explained { origin: ValueOrigin::Variable(key.clone()), key, value })
    };
    [DOCKER_TLS_VERIFY, DOCKER_CERT_PATH].into_iter().filter_map(explained)
}

fn note_on(docker_host: &DockerHost) -> Option<String> {
    let DockerHost::Tcp { .. } = docker_host else { return None };
    Some(format!(
        "The Engine is at {docker_host}: what is pulled there cannot be flushed to its disk before \
         a container is replaced, so a power cut there may leave a new image broken"
    ))
}

fn parse_state_dir(text: &str) -> Result<PathBuf, &'static str> {
    if text.trim().is_empty() { Err("name a directory") } else { Ok(PathBuf::from(text)) }
}

/// The form of the schedule that was set last.
fn read_schedule(effective: &Effective) -> Result<Schedule, ConfigError> {
    if !effective.has("schedule.cron") {
        return effective.read("schedule.every", |text| match text.parse() {
            Ok(Schedule::Cron(_)) => Err("this is cron: write it as schedule.cron".to_owned()),
            Ok(every) => Ok(every),
            Err(error) => Err(error.to_string()),
        });
    }
    effective.read("schedule.cron", |text| match text.parse() {
        Ok(Schedule::Every(_)) => Err("this is an interval: write it as schedule.every".to_owned()),
        Ok(cron) => Ok(cron),
        Err(error) => Err(error.to_string()),
    })
}

fn read_watchtower(effective: &Effective) -> Result<Option<Watchtower>, ConfigError> {
    let scope =
        effective.read("compat.scope", |text| Ok::<_, Infallible>(text.trim().to_owned()))?;
    let scope = Some(scope).filter(|scope| !scope.is_empty());
    let is_on = effective.read("compat.watchtower", |text| choose(text, FLAGS))?;
    let runs_hooks = effective.read("compat.lifecycle_hooks", |text| choose(text, FLAGS))?;
    Ok(is_on.then_some(Watchtower { scope, runs_hooks }))
}

fn parse_device_name(text: &str) -> Result<Option<DeviceName>, String> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    text.trim().parse().map(Some).map_err(|error: NameError| error.to_string())
}

/// A number of parallel tasks, from 1 to [`PARALLEL_MAX`].
fn parse_parallel(text: &str) -> Result<usize, String> {
    let number = text.trim().parse().ok().filter(|number| (1..=PARALLEL_MAX).contains(number));
    number.ok_or_else(|| format!("write a whole number from 1 to {PARALLEL_MAX}"))
}

pub(super) fn parse_listen(text: &str) -> Result<Option<SocketAddr>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        let port = text.rsplit(':').next().filter(|port| port.parse::<u16>().is_ok());
        let port = port.unwrap_or("9788");
        format!(
            "write `127.0.0.1:{port}` for this machine alone, `0.0.0.0:{port}` for every address, \
             or nothing (\"\") to switch it off"
        )
    })
}

/// Names, or `*` for every name, separated by commas.
fn parse_hosts(text: &str) -> Result<Vec<String>, &'static str> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    let names: Vec<_> = names.map(str::to_owned).collect();
    let is_name =
        |name: &String| name == "*" || matches!(split_authority(name), Ok((Some(_), None)));
    if names.iter().all(is_name) {
        return Ok(names);
    }
    Err("write host names without a port, separated by commas, such as `pi.example.com`, or `*`")
}

/// Most pulls or updates at the same time that can be set. Each running update costs memory for its
/// journal and its event stream, and disk space for an image; a Pi has no more containers than
/// this.
const PARALLEL_MAX: usize = 64;

pub(super) const FLAGS: &[(&str, bool)] = &[("true", true), ("false", false)];

const LOG_FORMATS: &[(&str, LogFormat)] =
    &[("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)];

const LOG_LEVELS: &[(&str, LogLevel)] = &[
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];

/// One of a few words.
pub(super) fn choose<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let words = || choices.iter().map(|(word, _)| *word);
    let chosen = choices.iter().find(|(word, _)| *word == text.trim());
    chosen.map(|(_, value)| *value).ok_or_else(|| {
        let all = words().collect::<Vec<_>>().join(", ");
        format!("it is one of {all}{}", did_you_mean(text, words()))
    })
}

impl fmt::Display for LogLevel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = LOG_LEVELS.iter().find(|(_, level)| level == self).map_or("", |(word, _)| word);
        formatter.write_str(word)
    }
}
