//! All keys: name, kind, default.

use crate::core::text::nearest;

/// The prefix of Pilotfish's variables.
pub(super) const VARIABLE_PREFIX: &str = "PILOTFISH_";

/// The table that contains one table per registry. It has no variables.
pub(super) const REGISTRIES: &str = "registries";

/// The keys of one registry.
pub const REGISTRY_KEYS: [&str; 5] =
    ["ca_file", "plain_http", "mirrors", "username", "password_file"];

/// The tables of the senders of webhooks. They have no variables.
pub(super) const SENDERS: &str = "webhook.sender";

/// The keys of one sender of webhooks.
pub const SENDER_KEYS: [&str; 5] = ["name", "kind", "secret_file", "references", "build"];

/// The tables of the rules of the mirror. They have no variables.
pub(super) const MIRROR: &str = "mirror";

/// The keys of one rule of the mirror.
pub const MIRROR_KEYS: [&str; 11] = [
    "name",
    "from",
    "to",
    "tags",
    "immutable",
    "platforms",
    "signatures",
    "keep",
    "schedule",
    "on_push",
    "rate",
];

/// The tables of the rules of the push API. They have no variables.
pub(super) const PUSH_ALLOW: &str = "push.allow";

/// The keys of one rule of the push API.
pub const PUSH_ALLOW_KEYS: [&str; 3] = ["client", "deployments", "acts"];

/// The tables of the deployments. They have no variables.
pub(super) const DEPLOYMENT: &str = "deployment";

/// The keys of one deployment.
pub const DEPLOYMENT_KEYS: [&str; 4] = ["name", "container", "create", "args"];

/// What a value is in TOML. In a variable and on the command line all of them are text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// A text in quotation marks.
    Text,
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Number,
}

impl ValueKind {
    /// What an error tells people to write.
    pub(super) const fn in_words(self) -> &'static str {
        match self {
            Self::Text => "a text in quotation marks",
            Self::Flag => "true or false, without quotation marks",
            Self::Number => "a whole number, without quotation marks",
        }
    }
}

/// A key of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The whole name: `state_dir`, `schedule.every`.
    pub name: &'static str,
    pub kind: ValueKind,
    /// The default value; absent if there is none.
    pub default: Option<&'static str>,
}

const fn key(name: &'static str, kind: ValueKind, default: &'static str) -> Key {
    Key { name, kind, default: Some(default) }
}

/// All keys except those in tables of lists and of registries, in the order of the documentation.
pub const KEYS: [Key; 49] = [
    key("state_dir", ValueKind::Text, "/var/lib/pilotfish"),
    key("docker_host", ValueKind::Text, "unix:///var/run/docker.sock"),
    key("opt_in", ValueKind::Flag, "true"),
    key("trust_image_labels", ValueKind::Flag, "false"),
    key("time_zone", ValueKind::Text, "local"),
    key("schedule.every", ValueKind::Text, "15m"),
    Key { name: "schedule.cron", kind: ValueKind::Text, default: None },
    key("schedule.jitter", ValueKind::Text, "10%"),
    key("pull.parallel", ValueKind::Number, "2"),
    key("pull.window", ValueKind::Text, ""),
    key("update.parallel", ValueKind::Number, "16"),
    key("update.window", ValueKind::Text, ""),
    key("health.timeout", ValueKind::Text, "60s"),
    key("health.stable", ValueKind::Text, "30s"),
    key("images.keep", ValueKind::Number, "1"),
    key("listen.address", ValueKind::Text, "127.0.0.1:9788"),
    key("listen.hosts", ValueKind::Text, ""),
    key("webhook.address", ValueKind::Text, ""),
    key("webhook.token_file", ValueKind::Text, ""),
    key("webhook.cert_file", ValueKind::Text, ""),
    key("webhook.key_file", ValueKind::Text, ""),
    key("device.name", ValueKind::Text, ""),
    key("mqtt.url", ValueKind::Text, ""),
    key("mqtt.plain", ValueKind::Flag, "false"),
    key("mqtt.ca_file", ValueKind::Text, ""),
    key("mqtt.cert_file", ValueKind::Text, ""),
    key("mqtt.key_file", ValueKind::Text, ""),
    key("mqtt.username", ValueKind::Text, ""),
    key("mqtt.password_file", ValueKind::Text, ""),
    key("mqtt.fleet", ValueKind::Text, "home"),
    key("mqtt.keep_alive", ValueKind::Text, "120s"),
    key("mqtt.commands", ValueKind::Flag, "false"),
    key("mqtt.home_assistant", ValueKind::Text, ""),
    key("fleet.size", ValueKind::Number, "0"),
    key("fleet.index", ValueKind::Text, ""),
    key("fleet.waves", ValueKind::Text, ""),
    key("fleet.patience", ValueKind::Text, "24h"),
    key("push.address", ValueKind::Text, ""),
    key("push.cert_file", ValueKind::Text, ""),
    key("push.key_file", ValueKind::Text, ""),
    key("push.client_ca_file", ValueKind::Text, ""),
    key("push.crl_file", ValueKind::Text, ""),
    key("push.size_max", ValueKind::Text, "2GB"),
    key("push.prefix", ValueKind::Text, ""),
    key("compat.watchtower", ValueKind::Flag, "false"),
    key("compat.scope", ValueKind::Text, ""),
    key("compat.lifecycle_hooks", ValueKind::Flag, "false"),
    key("log.format", ValueKind::Text, "auto"),
    key("log.level", ValueKind::Text, "info"),
];

impl Key {
    /// The key with this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        KEYS.into_iter().find(|key| key.name == name)
    }

    /// The environment variable that sets it: `PILOTFISH_SCHEDULE_EVERY`.
    #[must_use]
    pub fn variable(self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.name.replace('.', "_").to_uppercase())
    }
}

/// Whether there are keys below this name.
pub(super) fn is_section(name: &str) -> bool {
    KEYS.into_iter().any(|key| section_of(key.name) == Some(name))
}

fn section_of(name: &str) -> Option<&str> {
    name.split_once('.').map(|(section, _)| section)
}

/// The names in a section; on the top level keys and sections. The empty name is the top level.
fn children(section: &str) -> Vec<&'static str> {
    if section.is_empty() {
        let first_part = |key: Key| key.name.split('.').next().unwrap_or(key.name);
        let mut names: Vec<_> =
            KEYS.into_iter().map(first_part).chain([DEPLOYMENT, MIRROR, REGISTRIES]).collect();
        names.dedup();
        return names;
    }
    let below = |key: Key| key.name.strip_prefix(section)?.strip_prefix('.');
    let tables = [SENDERS, PUSH_ALLOW].into_iter();
    let tables = tables.filter_map(|it| it.strip_prefix(section)?.strip_prefix('.'));
    KEYS.into_iter().filter_map(below).chain(tables).collect()
}

/// The end of a message about an unknown key: a suggestion, or the existing keys.
pub(super) fn hint(unknown: &str) -> String {
    let (section, word) = unknown.rsplit_once('.').unwrap_or(("", unknown));
    let whole = |child: &str| match section {
        "" => child.to_owned(),
        section => format!("{section}.{child}"),
    };
    let children = children(section);
    if let Some(child) = nearest(word, children.iter().copied()) {
        return format!("; did you mean `{}`?", whole(child));
    }
    // The right word in the wrong section.
    if let Some(key) = KEYS.into_iter().find(|key| key.name.rsplit('.').next() == Some(word)) {
        return format!("; did you mean `{}`?", key.name);
    }
    match section {
        _ if children.is_empty() => String::new(),
        "" => format!("; there are {}", children.join(", ")),
        section => format!("; in [{section}] there are {}", children.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_its_name_and_has_one_variable() {
        let key = Key::find("schedule.every").expect("a known key");
        assert_eq!(key.variable(), "PILOTFISH_SCHEDULE_EVERY");
        assert_eq!(Key::find("schedule"), None);
        let mut variables: Vec<_> = KEYS.into_iter().map(Key::variable).collect();
        variables.sort_unstable();
        variables.dedup();
        assert_eq!(variables.len(), KEYS.len());
    }

    #[test]
    fn an_unknown_key_gets_a_suggestion() {
        for (unknown, expected) in [
            ("schedule.evry", "; did you mean `schedule.every`?"),
            ("optin", "; did you mean `opt_in`?"),
            ("schedul", "; did you mean `schedule`?"),
            ("jitter", "; did you mean `schedule.jitter`?"),
            ("log.address", "; did you mean `listen.address`?"),
            ("schedule.interval", "; in [schedule] there are every, cron, jitter"),
            ("helth.timeout", "; did you mean `health.timeout`?"),
            ("nothing.alike", ""),
        ] {
            assert_eq!(hint(unknown), expected, "{unknown}");
        }
        assert!(hint("zzzzzzzz").starts_with(
            "; there are state_dir, docker_host, opt_in, trust_image_labels, time_zone"
        ));
    }
}
