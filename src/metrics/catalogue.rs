//! All metrics. A published name never changes, because dashboards and alerts use it.

/// The type of a metric for Prometheus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only rises, except when the agent restarts.
    Counter,
    /// Describes the present.
    Gauge,
    /// Counts durations by size.
    Histogram,
}

impl MetricKind {
    /// The word after `# TYPE`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric: its name and its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Description {
    /// The name, unit included.
    pub name: &'static str,
    pub kind: MetricKind,
    /// The names of its labels, in the order of their values.
    pub labels: &'static [&'static str],
    /// The meaning, for the person who builds a dashboard.
    pub help: &'static str,
}

macro_rules! catalogue {
    ($($constant:ident: $kind:ident $name:literal $labels:tt $help:literal;)+) => {
        $(
            #[doc = $help]
            pub const $constant: Description = Description {
                name: $name,
                kind: MetricKind::$kind,
                labels: &$labels,
                help: $help,
            };
        )+

        /// Every metric, in the order of the documentation.
        pub const ALL: &[Description] = &[$($constant),+];
    };
}

catalogue! {
    BUILD_INFO: Gauge "pilotfish_build_info" ["version", "target"]
        "Always 1: the version of this agent and the machine it was built for.";
    CHECKS: Counter "pilotfish_checks_total" ["outcome"]
        "Rounds that ended: ok if every container could be checked, failed otherwise.";
    CHECK_DURATION: Histogram "pilotfish_check_duration_seconds" []
        "How long a round took, in seconds.";
    LAST_CHECK: Gauge "pilotfish_last_check_timestamp_seconds" []
        "When the last round ended, in seconds since 1970; 0 before the first one.";
    LAST_SUCCESS: Gauge "pilotfish_last_success_timestamp_seconds" []
        "When the last round ended in which every container could be checked, in seconds since 1970; 0 before the first one.";
    CONTAINER_INFO: Gauge "pilotfish_container_info"
        ["container", "image", "running_digest", "offered_digest", "verdict", "reason"]
        "Always 1: the result of the last check of a watched container.";
    UPDATE_AVAILABLE: Gauge "pilotfish_update_available" ["container"]
        "1 if another image is offered than the running one, held or not.";
    UPDATES: Counter "pilotfish_updates_total" ["container", "outcome"]
        "Updates that ended, by container and outcome.";
    SERVICE_GAP: Histogram "pilotfish_service_gap_seconds" []
        "How long no proven container ran during an update, in seconds.";
    REFUSED_DIGESTS: Gauge "pilotfish_refused_digests" ["container"]
        "How many digests are refused because they failed before.";
    REGISTRY_REQUESTS: Counter "pilotfish_registry_requests_total" ["registry", "code"]
        "Requests to registries by HTTP status, or by a word if there was no answer.";
    RATE_LIMIT_REMAINING: Gauge "pilotfish_registry_rate_limit_remaining" ["registry"]
        "Pulls that are left of the registry's quota, from its last answer.";
    WEBHOOKS: Counter "pilotfish_webhooks_total" ["sender", "outcome"]
        "Webhooks by sender and answer; the sender is empty if the secret was missing or wrong.";
    PULLED_BYTES: Counter "pilotfish_pulled_bytes_total" ["registry"]
        "Bytes of layers that were pulled.";
    UPDATE_IN_FLIGHT: Gauge "pilotfish_update_in_flight" []
        "1 while a container is being updated.";
    STUCK: Gauge "pilotfish_stuck" []
        "Containers whose update can be neither finished nor undone: a person is needed.";
    SERVICE_DOWN: Gauge "pilotfish_service_down" ["container"]
        "1 if an update has stopped the service and it could not be started since then.";
    MQTT_CONNECTED: Gauge "pilotfish_mqtt_connected" []
        "1 while there is a connection to the MQTT broker; absent without a broker.";
    MQTT_RECONNECTS: Counter "pilotfish_mqtt_reconnects_total" []
        "How often the connection to the MQTT broker came back; absent without a broker.";
    MQTT_REFUSED: Counter "pilotfish_mqtt_refused_total" ["reason"]
        "MQTT messages and subscriptions that the broker refused, and messages that this device ignored.";
    ROLLOUT_PLACE: Gauge "pilotfish_rollout_place" ["container"]
        "The place of this device, from 1, in the staged rollout that the container waits in.";
    FLEET_STOPPED: Gauge "pilotfish_fleet_stopped_seconds" []
        "For how many seconds an operator has stopped the fleet; absent while nothing is stopped.";
    SERVICE_INFO: Gauge "pilotfish_service_info"
        ["service", "image", "running_digest", "offered_digest", "verdict", "reason"]
        "Always 1: the result of the last check of a watched service of the Swarm; absent without services.";
    SERVICE_UPDATES: Counter "pilotfish_service_updates_total" ["service", "outcome"]
        "Updates of services that ended, by service and outcome; absent without services.";
    SERVICE_TASKS: Gauge "pilotfish_service_tasks" ["service", "state"]
        "Tasks that a service shall run, by their state in the last check; absent without services.";
    PUSH_REQUESTS: Counter "pilotfish_push_requests_total" ["deployment", "act", "outcome"]
        "Requests to the push API by deployment, act and outcome; both are empty if the client has no valid certificate.";
    MIRROR_BYTES: Counter "pilotfish_mirror_bytes_total" ["rule"]
        "Bytes of blobs that the source of a mirror rule sent; absent without rules.";
    MIRROR_COPIED: Counter "pilotfish_mirror_copied_total" ["rule", "outcome"]
        "Tags of a mirror rule that were copied, that got documents such as signatures, or that failed.";
    MIRROR_LAG: Gauge "pilotfish_mirror_lag_seconds" ["rule"]
        "For how long the target of a mirror rule is known to be behind its source, in seconds; 0 if it is not.";
    MIRROR_LAST_SUCCESS: Gauge "pilotfish_mirror_last_success_timestamp_seconds" ["rule"]
        "When the last run of a mirror rule ended in which nothing failed, in seconds since 1970; 0 before the first one.";
}
