//! Watchtower's options, and the translation of each.

use crate::core::time::schedule::Schedule;

/// One line of Pilotfish's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TomlLine {
    pub(super) key: &'static str,
    /// The value, as TOML.
    pub(super) value: String,
}

impl TomlLine {
    pub(super) const fn new(key: &'static str, value: String) -> Self {
        Self { key, value }
    }

    fn text(key: &'static str, value: &str) -> Self {
        Self::new(key, toml::Value::String(value.to_owned()).to_string())
    }
}

/// The translation of an option.
#[derive(Debug, Clone, Copy)]
pub(super) enum Becomes {
    /// A line; `None` if the value is invalid.
    Setting(fn(&str) -> Option<TomlLine>),
    /// It is handled elsewhere.
    Told,
    /// Pilotfish does this without a setting.
    Anyway(&'static str),
    /// It has no counterpart, for this reason.
    Nothing(&'static str),
}

/// One of Watchtower's options.
#[derive(Debug, Clone, Copy)]
pub(super) struct WatchtowerOption {
    pub(super) flag: &'static str,
    pub(super) short: Option<&'static str>,
    /// Set if it is not the flag in capitals after [`VARIABLE_PREFIX`].
    variable: Option<&'static str>,
    pub(super) takes_value: bool,
    /// Whether it excludes containers, so that without it more would be updated than before.
    pub(super) narrows: bool,
    pub(super) becomes: Becomes,
}

/// The prefix of Watchtower's own variables.
pub(super) const VARIABLE_PREFIX: &str = "WATCHTOWER_";

impl WatchtowerOption {
    pub(super) const fn short(mut self, short: &'static str) -> Self {
        self.short = Some(short);
        self
    }

    pub(super) const fn narrows(mut self) -> Self {
        self.narrows = true;
        self
    }

    pub(super) const fn variable(mut self, variable: &'static str) -> Self {
        self.variable = Some(variable);
        self
    }

    /// The variable of the same option.
    pub(super) fn variable_name(&self) -> String {
        let by_rule = || VARIABLE_PREFIX.to_owned() + &self.flag.to_uppercase().replace('-', "_");
        self.variable.map_or_else(by_rule, str::to_owned)
    }
}

/// An option with a value.
pub(super) const fn value(flag: &'static str, becomes: Becomes) -> WatchtowerOption {
    let takes_value = true;
    WatchtowerOption { flag, short: None, variable: None, takes_value, narrows: false, becomes }
}

/// An option that is on or off.
pub(super) const fn switch(flag: &'static str, becomes: Becomes) -> WatchtowerOption {
    WatchtowerOption { takes_value: false, ..value(flag, becomes) }
}

const BY_LABEL: Becomes =
    Becomes::Nothing("labels select the containers: pilotfish.enable=true or =false");
const RUNNING_ONLY: Becomes =
    Becomes::Nothing("only running containers are updated, and stopped ones are not started");
const LOOKS: Becomes = Becomes::Nothing("it only concerns the format of Watchtower's log");
const EACH_ITS_OWN: Becomes =
    Becomes::Nothing("certificates are trusted per registry: /etc/docker/certs.d/HOST:PORT/ca.crt");

const AS_THE_CONTAINER: Becomes = Becomes::Nothing("a hook runs as its container's own user");
const AS_IT_WAS: Becomes =
    Becomes::Anyway("a container is recreated with the same settings, on Podman as well");
const AT_ONCE: Becomes =
    Becomes::Nothing("an image is tried at once, and the old one comes back if it is bad");

/// All options, by subject.
pub(super) const OPTIONS: &[WatchtowerOption] = &[
    value("interval", Becomes::Setting(interval)).short("i").variable("WATCHTOWER_POLL_INTERVAL"),
    value("schedule", Becomes::Setting(cron)).short("s"),
    value("time-zone", Becomes::Setting(|zone| Some(TomlLine::text("time_zone", zone))))
        .variable("TZ"),
    switch("label-enable", Becomes::Told).short("e"),
    value("scope", Becomes::Setting(scope)),
    switch("enable-lifecycle-hooks", Becomes::Setting(hooks))
        .variable("WATCHTOWER_LIFECYCLE_HOOKS"),
    value("host", Becomes::Setting(docker_host)).short("H").variable("DOCKER_HOST"),
    value("log-level", Becomes::Setting(log_level)),
    switch("debug", Becomes::Setting(|_| log_level("debug"))).short("d"),
    switch("trace", Becomes::Setting(|_| log_level("trace"))),
    switch("tlsverify", Becomes::Anyway("DOCKER_TLS_VERIFY keeps its meaning"))
        .short("v")
        .variable("DOCKER_TLS_VERIFY"),
    value("cert-path", Becomes::Anyway("DOCKER_CERT_PATH keeps its meaning"))
        .variable("DOCKER_CERT_PATH"),
    value("api-version", Becomes::Anyway("the version is negotiated"))
        .short("a")
        .variable("DOCKER_API_VERSION"),
    switch("cleanup", Becomes::Anyway("previous images beyond images.keep are removed")).short("c"),
    switch("rolling-restart", Becomes::Anyway("containers are replaced one at a time")),
    switch("update-on-start", Becomes::Anyway("the first round comes soon after the start")),
    switch("label-take-precedence", Becomes::Anyway("labels win over the configuration")),
    switch("no-startup-message", Becomes::Anyway("there is none")),
    switch("http-api-metrics", Becomes::Told),
    switch(
        "run-once",
        Becomes::Nothing("one round, then the end, is the command `pilotfish update`"),
    )
    .short("R"),
    value(
        "stop-timeout",
        Becomes::Nothing("each container is given its own time (docker run --stop-timeout)"),
    )
    .short("t")
    .variable("WATCHTOWER_TIMEOUT"),
    switch("monitor-only", Becomes::Nothing("give the containers the label pilotfish.mode=notify"))
        .short("m")
        .narrows(),
    switch(
        "no-pull",
        Becomes::Nothing("give the containers the label com.centurylinklabs.watchtower.no-pull"),
    ),
    switch(
        "no-restart",
        Becomes::Nothing("an update without a start would leave the service missing"),
    )
    .narrows(),
    switch(
        "remove-volumes",
        Becomes::Nothing("volumes are data: they are attached again, and never removed"),
    ),
    value("cooldown-delay", AT_ONCE),
    value("cooldown-platform-os", AT_ONCE),
    value("cooldown-platform-arch", AT_ONCE),
    value("cooldown-platform-variant", AT_ONCE),
    switch(
        "ephemeral-self-update",
        Becomes::Anyway("the agent's own container is updated where it is labelled"),
    ),
    value("lifecycle-uid", AS_THE_CONTAINER),
    value("lifecycle-gid", AS_THE_CONTAINER),
    switch("disable-memory-swappiness", AS_IT_WAS),
    value("cpu-copy-mode", AS_IT_WAS),
    switch(
        "health-check",
        Becomes::Nothing("a HEALTHCHECK is the command `pilotfish healthcheck`"),
    ),
    value("docker-config", Becomes::Anyway("DOCKER_CONFIG keeps its meaning"))
        .variable("DOCKER_CONFIG"),
    switch("include-stopped", RUNNING_ONLY).short("S"),
    switch(
        "include-restarting",
        Becomes::Anyway("a container that the Engine restarts again and again is updated as well"),
    ),
    switch("revive-stopped", RUNNING_ONLY),
    value("disable-containers", BY_LABEL).short("x").narrows(),
    value("monitor-image-names", BY_LABEL).narrows(),
    value("skip-image-names", BY_LABEL).narrows(),
    value("enable-containers-by-label", BY_LABEL).narrows(),
    value("disable-containers-by-label", BY_LABEL).narrows(),
    switch(
        "use-compose-depends-on",
        Becomes::Nothing("only what breaks without it is recreated along with a container"),
    ),
    switch("registry-tls-skip", EACH_ITS_OWN),
    value("registry-tls-min-version", EACH_ITS_OWN),
    value("warn-on-head-failure", LOOKS),
    value("repo-user", LOGIN).variable("REPO_USER"),
    value("repo-pass", LOGIN).variable("REPO_PASS"),
    value("porcelain", LOOKS).short("P"),
    value("log-format", LOOKS).short("l"),
    switch("no-color", LOOKS),
];

const LOGIN: Becomes = Becomes::Nothing(
    "logins are those of `docker login`, or username and password_file of one registry",
);

/// A number of seconds, as Watchtower takes it, or a duration with its unit.
fn interval(text: &str) -> Option<TomlLine> {
    let every = if is_number(text) { format!("{text}s") } else { text.to_owned() };
    match every.parse::<Schedule>().ok()? {
        Schedule::Every(_) => Some(TomlLine::text("schedule.every", &every)),
        Schedule::Cron(_) => None,
    }
}

/// The forms of robfig/cron: six fields, seconds first, the short forms, and `@every 1h30m`.
fn cron(text: &str) -> Option<TomlLine> {
    if let Some(every) = text.strip_prefix("@every ") {
        return interval(every.trim()).filter(|_| !is_number(every.trim()));
    }
    match text.parse::<Schedule>().ok()? {
        Schedule::Cron(_) => Some(TomlLine::text("schedule.cron", text)),
        Schedule::Every(_) => None,
    }
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn scope(text: &str) -> Option<TomlLine> {
    Some(TomlLine::text("compat.scope", text))
}

fn hooks(_: &str) -> Option<TomlLine> {
    Some(TomlLine::new("compat.lifecycle_hooks", "true".to_owned()))
}

fn docker_host(text: &str) -> Option<TomlLine> {
    Some(TomlLine::text("docker_host", text))
}

/// logrus has more levels than Pilotfish.
fn log_level(text: &str) -> Option<TomlLine> {
    let text = text.to_lowercase();
    let level = match text.as_str() {
        "panic" | "fatal" | "error" => "error",
        "warn" | "warning" => "warn",
        "info" | "debug" | "trace" => &text,
        _ => return None,
    };
    Some(TomlLine::text("log.level", level))
}
