//! Watchtower's options for messages and for its web interface. None of them has a counterpart, and
//! there are many: they are here so that each is named, and its value is not taken for a container.

use super::options::{Becomes, WatchtowerOption, switch, value};

const NO_MESSAGES: Becomes = Becomes::Nothing(
    "Pilotfish sends no messages; Prometheus does, by the alerts in deploy/alerts.yml",
);
const API: Becomes = Becomes::Nothing(
    "registries tell of pushes by POST /v1/notify (notify.address); people use the commands",
);

/// All of them, by what they are about.
pub(super) const OUTWARD: &[WatchtowerOption] = &[
    switch("http-api-update", "", "WATCHTOWER_HTTP_API_UPDATE", API),
    switch("http-api-containers", "", "WATCHTOWER_HTTP_API_CONTAINERS", API),
    switch("http-api-periodic-polls", "", "WATCHTOWER_HTTP_API_PERIODIC_POLLS", API),
    value("http-api-token", "", "WATCHTOWER_HTTP_API_TOKEN", API),
    value("http-api-endpoints", "", "WATCHTOWER_HTTP_API_ENDPOINTS", API),
    value("http-api-host", "", "WATCHTOWER_HTTP_API_HOST", API),
    value("http-api-port", "", "WATCHTOWER_HTTP_API_PORT", API),
    value("http-api-events-token", "", "WATCHTOWER_HTTP_API_EVENTS_TOKEN", API),
    value("http-api-rate-limit", "", "WATCHTOWER_HTTP_API_RATE_LIMIT", API),
    value("http-api-tls-cert", "", "WATCHTOWER_HTTP_API_TLS_CERT", API),
    value("http-api-tls-key", "", "WATCHTOWER_HTTP_API_TLS_KEY", API),
    value("http-api-trusted-proxies", "", "WATCHTOWER_HTTP_API_TRUSTED_PROXIES", API),
    value("http-api-proxy-header", "", "WATCHTOWER_HTTP_API_PROXY_HEADER", API),
    value("http-api-cors-origins", "", "WATCHTOWER_HTTP_API_CORS_ORIGINS", API),
    value("http-api-check-timeout", "", "WATCHTOWER_HTTP_API_CHECK_TIMEOUT", API),
    value("http-api-update-timeout", "", "WATCHTOWER_HTTP_API_UPDATE_TIMEOUT", API),
    value("notifications", "n", "WATCHTOWER_NOTIFICATIONS", NO_MESSAGES),
    value("notification-url", "", "WATCHTOWER_NOTIFICATION_URL", NO_MESSAGES),
    value("notifications-level", "", "WATCHTOWER_NOTIFICATIONS_LEVEL", NO_MESSAGES),
    value("notifications-delay", "", "WATCHTOWER_NOTIFICATIONS_DELAY", NO_MESSAGES),
    value("notifications-hostname", "", "WATCHTOWER_NOTIFICATIONS_HOSTNAME", NO_MESSAGES),
    value("notification-template", "", "WATCHTOWER_NOTIFICATION_TEMPLATE", NO_MESSAGES),
    value("notification-template-file", "", "WATCHTOWER_NOTIFICATION_TEMPLATE_FILE", NO_MESSAGES),
    value("notification-title-tag", "", "WATCHTOWER_NOTIFICATION_TITLE_TAG", NO_MESSAGES),
    value("notification-email-from", "", "WATCHTOWER_NOTIFICATION_EMAIL_FROM", NO_MESSAGES),
    value("notification-email-to", "", "WATCHTOWER_NOTIFICATION_EMAIL_TO", NO_MESSAGES),
    value("notification-email-delay", "", "WATCHTOWER_NOTIFICATION_EMAIL_DELAY", NO_MESSAGES),
    value("notification-email-server", "", "WATCHTOWER_NOTIFICATION_EMAIL_SERVER", NO_MESSAGES),
    value(
        "notification-email-server-port",
        "",
        "WATCHTOWER_NOTIFICATION_EMAIL_SERVER_PORT",
        NO_MESSAGES,
    ),
    value(
        "notification-email-server-user",
        "",
        "WATCHTOWER_NOTIFICATION_EMAIL_SERVER_USER",
        NO_MESSAGES,
    ),
    value(
        "notification-email-server-password",
        "",
        "WATCHTOWER_NOTIFICATION_EMAIL_SERVER_PASSWORD",
        NO_MESSAGES,
    ),
    value(
        "notification-email-subjecttag",
        "",
        "WATCHTOWER_NOTIFICATION_EMAIL_SUBJECTTAG",
        NO_MESSAGES,
    ),
    value("notification-slack-hook-url", "", "WATCHTOWER_NOTIFICATION_SLACK_HOOK_URL", NO_MESSAGES),
    value(
        "notification-slack-identifier",
        "",
        "WATCHTOWER_NOTIFICATION_SLACK_IDENTIFIER",
        NO_MESSAGES,
    ),
    value("notification-slack-channel", "", "WATCHTOWER_NOTIFICATION_SLACK_CHANNEL", NO_MESSAGES),
    value(
        "notification-slack-icon-emoji",
        "",
        "WATCHTOWER_NOTIFICATION_SLACK_ICON_EMOJI",
        NO_MESSAGES,
    ),
    value("notification-slack-icon-url", "", "WATCHTOWER_NOTIFICATION_SLACK_ICON_URL", NO_MESSAGES),
    value("notification-gotify-url", "", "WATCHTOWER_NOTIFICATION_GOTIFY_URL", NO_MESSAGES),
    value("notification-gotify-token", "", "WATCHTOWER_NOTIFICATION_GOTIFY_TOKEN", NO_MESSAGES),
    value("notification-msteams-hook", "", "WATCHTOWER_NOTIFICATION_MSTEAMS_HOOK_URL", NO_MESSAGES),
    switch("notification-report", "", "WATCHTOWER_NOTIFICATION_REPORT", NO_MESSAGES),
    switch("notification-skip-title", "", "WATCHTOWER_NOTIFICATION_SKIP_TITLE", NO_MESSAGES),
    switch("notification-log-stdout", "", "WATCHTOWER_NOTIFICATION_LOG_STDOUT", NO_MESSAGES),
    switch(
        "notification-split-by-container",
        "",
        "WATCHTOWER_NOTIFICATION_SPLIT_BY_CONTAINER",
        NO_MESSAGES,
    ),
    switch(
        "notification-email-server-tls-skip-verify",
        "",
        "WATCHTOWER_NOTIFICATION_EMAIL_SERVER_TLS_SKIP_VERIFY",
        NO_MESSAGES,
    ),
    switch(
        "notification-gotify-tls-skip-verify",
        "",
        "WATCHTOWER_NOTIFICATION_GOTIFY_TLS_SKIP_VERIFY",
        NO_MESSAGES,
    ),
    switch(
        "notification-msteams-data",
        "",
        "WATCHTOWER_NOTIFICATION_MSTEAMS_USE_LOG_DATA",
        NO_MESSAGES,
    ),
];
