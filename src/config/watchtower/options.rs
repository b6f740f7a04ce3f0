//! Watchtower's options, and what each of them becomes.

use crate::core::time::schedule::Schedule;

/// One line of our configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    /// The whole key.
    pub(super) key: &'static str,
    /// Its value, as TOML.
    pub(super) value: String,
}

impl Setting {
    pub(super) const fn new(key: &'static str, value: String) -> Self {
        Self { key, value }
    }

    fn text(key: &'static str, value: &str) -> Self {
        Self::new(key, toml::Value::String(value.to_owned()).to_string())
    }
}

/// What an option becomes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Becomes {
    /// A line; `None`: its value makes no sense.
    Setting(fn(&str) -> Option<Setting>),
    /// It is dealt with elsewhere.
    Told,
    /// Pilotfish does so without being told.
    Anyway(&'static str),
    /// It has no counterpart, for this reason.
    Nothing(&'static str),
}

/// One of Watchtower's options.
#[derive(Debug, Clone, Copy)]
pub(super) struct WatchtowerOption {
    pub(super) flag: &'static str,
    /// Empty: it has none.
    pub(super) short: &'static str,
    pub(super) variable: &'static str,
    pub(super) takes_value: bool,
    pub(super) becomes: Becomes,
}

/// An option with a value.
pub(super) const fn value(
    flag: &'static str,
    short: &'static str,
    variable: &'static str,
    becomes: Becomes,
) -> WatchtowerOption {
    WatchtowerOption { flag, short, variable, takes_value: true, becomes }
}

/// An option that is on or off.
pub(super) const fn switch(
    flag: &'static str,
    short: &'static str,
    variable: &'static str,
    becomes: Becomes,
) -> WatchtowerOption {
    WatchtowerOption { flag, short, variable, takes_value: false, becomes }
}

const BY_LABEL: Becomes =
    Becomes::Nothing("what is watched is said by labels: pilotfish.enable=true or =false");
const RUNNING_ONLY: Becomes =
    Becomes::Nothing("only running containers are updated, and none is started that was stopped");
const LOOKS: Becomes = Becomes::Nothing("it has to do with how Watchtower's log looks");
const EACH_ITS_OWN: Becomes =
    Becomes::Nothing("certificates are trusted per registry: /etc/docker/certs.d/HOST:PORT/ca.crt");

const AS_THE_CONTAINER: Becomes = Becomes::Nothing("a hook runs as its container's own user");
const AS_IT_WAS: Becomes =
    Becomes::Anyway("a container is made again as it was, on Podman as well");
const AT_ONCE: Becomes =
    Becomes::Nothing("an image is tried at once, and the old one comes back if it is bad");

/// All of them, by what they are about.
pub(super) const OPTIONS: &[WatchtowerOption] = &[
    value("interval", "i", "WATCHTOWER_POLL_INTERVAL", Becomes::Setting(interval)),
    value("schedule", "s", "WATCHTOWER_SCHEDULE", Becomes::Setting(cron)),
    value("time-zone", "", "TZ", Becomes::Setting(|zone| Some(Setting::text("time_zone", zone)))),
    switch("label-enable", "e", "WATCHTOWER_LABEL_ENABLE", Becomes::Told),
    value("scope", "", "WATCHTOWER_SCOPE", Becomes::Setting(scope)),
    switch("enable-lifecycle-hooks", "", "WATCHTOWER_LIFECYCLE_HOOKS", Becomes::Setting(hooks)),
    value("host", "H", "DOCKER_HOST", Becomes::Setting(docker_host)),
    value("log-level", "", "WATCHTOWER_LOG_LEVEL", Becomes::Setting(log_level)),
    switch("debug", "d", "WATCHTOWER_DEBUG", Becomes::Setting(|_| log_level("debug"))),
    switch("trace", "", "WATCHTOWER_TRACE", Becomes::Setting(|_| log_level("trace"))),
    switch(
        "tlsverify",
        "v",
        "DOCKER_TLS_VERIFY",
        Becomes::Anyway("DOCKER_TLS_VERIFY means what it meant"),
    ),
    value(
        "cert-path",
        "",
        "DOCKER_CERT_PATH",
        Becomes::Anyway("DOCKER_CERT_PATH means what it meant"),
    ),
    value("api-version", "a", "DOCKER_API_VERSION", Becomes::Anyway("the version is negotiated")),
    switch(
        "cleanup",
        "c",
        "WATCHTOWER_CLEANUP",
        Becomes::Anyway("previous images beyond images.keep are removed"),
    ),
    switch(
        "rolling-restart",
        "",
        "WATCHTOWER_ROLLING_RESTART",
        Becomes::Anyway("containers are replaced one at a time"),
    ),
    switch(
        "update-on-start",
        "",
        "WATCHTOWER_UPDATE_ON_START",
        Becomes::Anyway("the first round comes soon after the start"),
    ),
    switch(
        "label-take-precedence",
        "",
        "WATCHTOWER_LABEL_TAKE_PRECEDENCE",
        Becomes::Anyway("labels win over the configuration"),
    ),
    switch(
        "no-startup-message",
        "",
        "WATCHTOWER_NO_STARTUP_MESSAGE",
        Becomes::Anyway("there is none"),
    ),
    switch("http-api-metrics", "", "WATCHTOWER_HTTP_API_METRICS", Becomes::Setting(metrics)),
    switch(
        "run-once",
        "R",
        "WATCHTOWER_RUN_ONCE",
        Becomes::Nothing("one round, then the end, is the command `pilotfish update`"),
    ),
    value(
        "stop-timeout",
        "t",
        "WATCHTOWER_TIMEOUT",
        Becomes::Nothing("each container is given its own time (docker run --stop-timeout)"),
    ),
    switch(
        "monitor-only",
        "m",
        "WATCHTOWER_MONITOR_ONLY",
        Becomes::Nothing("give the containers the label pilotfish.mode=notify"),
    ),
    switch(
        "no-pull",
        "",
        "WATCHTOWER_NO_PULL",
        Becomes::Nothing("give the containers the label com.centurylinklabs.watchtower.no-pull"),
    ),
    switch(
        "no-restart",
        "",
        "WATCHTOWER_NO_RESTART",
        Becomes::Nothing("an update without a start would leave the service missing"),
    ),
    switch(
        "remove-volumes",
        "",
        "WATCHTOWER_REMOVE_VOLUMES",
        Becomes::Nothing("volumes are data: they are attached again, and never removed"),
    ),
    value("cooldown-delay", "", "WATCHTOWER_COOLDOWN_DELAY", AT_ONCE),
    value("cooldown-platform-os", "", "WATCHTOWER_COOLDOWN_PLATFORM_OS", AT_ONCE),
    value("cooldown-platform-arch", "", "WATCHTOWER_COOLDOWN_PLATFORM_ARCH", AT_ONCE),
    value("cooldown-platform-variant", "", "WATCHTOWER_COOLDOWN_PLATFORM_VARIANT", AT_ONCE),
    switch(
        "ephemeral-self-update",
        "",
        "WATCHTOWER_EPHEMERAL_SELF_UPDATE",
        Becomes::Anyway("the agent's own container is updated where it is labelled"),
    ),
    value("lifecycle-uid", "", "WATCHTOWER_LIFECYCLE_UID", AS_THE_CONTAINER),
    value("lifecycle-gid", "", "WATCHTOWER_LIFECYCLE_GID", AS_THE_CONTAINER),
    switch("disable-memory-swappiness", "", "WATCHTOWER_DISABLE_MEMORY_SWAPPINESS", AS_IT_WAS),
    value("cpu-copy-mode", "", "WATCHTOWER_CPU_COPY_MODE", AS_IT_WAS),
    switch(
        "health-check",
        "",
        "WATCHTOWER_HEALTH_CHECK",
        Becomes::Nothing("a HEALTHCHECK is the command `pilotfish healthcheck`"),
    ),
    value(
        "docker-config",
        "",
        "DOCKER_CONFIG",
        Becomes::Anyway("DOCKER_CONFIG means what it meant"),
    ),
    switch("include-stopped", "S", "WATCHTOWER_INCLUDE_STOPPED", RUNNING_ONLY),
    switch(
        "include-restarting",
        "",
        "WATCHTOWER_INCLUDE_RESTARTING",
        Becomes::Anyway("one that the Engine starts again and again is updated as well"),
    ),
    switch("revive-stopped", "", "WATCHTOWER_REVIVE_STOPPED", RUNNING_ONLY),
    value("disable-containers", "x", "WATCHTOWER_DISABLE_CONTAINERS", BY_LABEL),
    value("monitor-image-names", "", "WATCHTOWER_MONITOR_IMAGE_NAMES", BY_LABEL),
    value("skip-image-names", "", "WATCHTOWER_SKIP_IMAGE_NAMES", BY_LABEL),
    value("enable-containers-by-label", "", "WATCHTOWER_ENABLE_CONTAINERS_BY_LABEL", BY_LABEL),
    value("disable-containers-by-label", "", "WATCHTOWER_DISABLE_CONTAINERS_BY_LABEL", BY_LABEL),
    switch(
        "use-compose-depends-on",
        "",
        "WATCHTOWER_USE_COMPOSE_DEPENDS_ON",
        Becomes::Nothing("only what breaks without it is recreated along with a container"),
    ),
    switch("registry-tls-skip", "", "WATCHTOWER_REGISTRY_TLS_SKIP", EACH_ITS_OWN),
    value("registry-tls-min-version", "", "WATCHTOWER_REGISTRY_TLS_MIN_VERSION", EACH_ITS_OWN),
    value("warn-on-head-failure", "", "WATCHTOWER_WARN_ON_HEAD_FAILURE", LOOKS),
    value("repo-user", "", "REPO_USER", LOGIN),
    value("repo-pass", "", "REPO_PASS", LOGIN),
    value("porcelain", "P", "WATCHTOWER_PORCELAIN", LOOKS),
    value("log-format", "l", "WATCHTOWER_LOG_FORMAT", LOOKS),
    switch("no-color", "", "WATCHTOWER_NO_COLOR", LOOKS),
];

const LOGIN: Becomes = Becomes::Nothing(
    "logins are those of `docker login`, or username and password_file of one registry",
);

/// The same word for word: `60s`, from a number of seconds.
fn interval(text: &str) -> Option<Setting> {
    let seconds: u64 = text.parse().ok()?;
    let every = format!("{seconds}s");
    every.parse::<Schedule>().ok()?;
    Some(Setting::text("schedule.every", &every))
}

/// Six fields, seconds first, are read as well.
fn cron(text: &str) -> Option<Setting> {
    match text.parse::<Schedule>().ok()? {
        Schedule::Cron(_) => Some(Setting::text("schedule.cron", text)),
        Schedule::Every(_) => None,
    }
}

fn scope(text: &str) -> Option<Setting> {
    Some(Setting::text("compat.scope", text))
}

fn hooks(_: &str) -> Option<Setting> {
    Some(Setting::new("compat.lifecycle_hooks", "true".to_owned()))
}

fn docker_host(text: &str) -> Option<Setting> {
    Some(Setting::text("docker_host", text))
}

/// logrus knows more levels than there are here.
fn log_level(text: &str) -> Option<Setting> {
    let level = match text {
        "panic" | "fatal" | "error" => "error",
        "warn" | "warning" => "warn",
        "info" | "debug" | "trace" => text,
        _ => return None,
    };
    Some(Setting::text("log.level", level))
}

/// Watchtower's port in a container is reached where it is published.
fn metrics(_: &str) -> Option<Setting> {
    Some(Setting::text("listen.address", "0.0.0.0:8080"))
}
