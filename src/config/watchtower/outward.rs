//! Watchtower's options for messages and for its web interface. None of them has a counterpart.
//! They are listed so that each is named in the output, and so that its value is not read as a
//! container's name.

use super::options::{Becomes, WatchtowerOption, switch, value};

const NO_MESSAGES: Becomes = Becomes::Nothing(
    "Pilotfish sends no messages; Prometheus does, by the alerts in deploy/alerts.yml",
);
const API: Becomes = Becomes::Nothing(
    "registries send webhooks to POST /v1/webhook (webhook.address); people use the commands",
);

/// All options, by subject.
pub(super) const OUTWARD: &[WatchtowerOption] = &[
    switch("http-api-update", API),
    switch("http-api-containers", API),
    switch("http-api-periodic-polls", API),
    value("http-api-token", API),
    value("http-api-endpoints", API),
    value("http-api-host", API),
    value("http-api-port", API),
    value("http-api-events-token", API),
    value("http-api-rate-limit", API),
    value("http-api-tls-cert", API),
    value("http-api-tls-key", API),
    value("http-api-trusted-proxies", API),
    value("http-api-proxy-header", API),
    value("http-api-cors-origins", API),
    value("http-api-check-timeout", API),
    value("http-api-update-timeout", API),
    value("notifications", NO_MESSAGES).short("n"),
    value("notification-url", NO_MESSAGES),
    value("notifications-level", NO_MESSAGES),
    value("notifications-delay", NO_MESSAGES),
    value("notifications-hostname", NO_MESSAGES),
    value("notification-template", NO_MESSAGES),
    value("notification-template-file", NO_MESSAGES),
    value("notification-title-tag", NO_MESSAGES),
    value("notification-email-from", NO_MESSAGES),
    value("notification-email-to", NO_MESSAGES),
    value("notification-email-delay", NO_MESSAGES),
    value("notification-email-server", NO_MESSAGES),
    value("notification-email-server-port", NO_MESSAGES),
    value("notification-email-server-user", NO_MESSAGES),
    value("notification-email-server-password", NO_MESSAGES),
    value("notification-email-subjecttag", NO_MESSAGES),
    value("notification-slack-hook-url", NO_MESSAGES),
    value("notification-slack-identifier", NO_MESSAGES),
    value("notification-slack-channel", NO_MESSAGES),
    value("notification-slack-icon-emoji", NO_MESSAGES),
    value("notification-slack-icon-url", NO_MESSAGES),
    value("notification-gotify-url", NO_MESSAGES),
    value("notification-gotify-token", NO_MESSAGES),
    value("notification-msteams-hook", NO_MESSAGES)
        .variable("WATCHTOWER_NOTIFICATION_MSTEAMS_HOOK_URL"),
    switch("notification-report", NO_MESSAGES),
    switch("notification-skip-title", NO_MESSAGES),
    switch("notification-log-stdout", NO_MESSAGES),
    switch("notification-split-by-container", NO_MESSAGES),
    switch("notification-email-server-tls-skip-verify", NO_MESSAGES),
    switch("notification-gotify-tls-skip-verify", NO_MESSAGES),
    switch("notification-msteams-data", NO_MESSAGES)
        .variable("WATCHTOWER_NOTIFICATION_MSTEAMS_USE_LOG_DATA"),
];
