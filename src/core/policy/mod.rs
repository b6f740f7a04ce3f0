//! What the labels of a container ask for, on top of the agent's defaults.

// How long a new container is watched, and how its health is checked.
pub mod health_policy;
// The probe of a label.
pub mod probe;
// Watchtower's labels, for users who move from it.
pub mod watchtower;
// Commands that run in a container: what they are, and those of Watchtower's labels.
pub mod hooks;
// The same from Pilotfish's own labels.
pub mod own_hooks;
// The path in a container that holds its updates.
pub mod update_lock;
// How many previous images stay on disk.
mod images_keep;
// The group of a container, and its part in it.
pub mod group;
// Which of the two containers stops or starts first.
pub mod update_order;
// Which labels count: the container's own, and not its image's.
pub mod own_labels;
// Which labels a service of a Swarm may have.
pub mod service_labels;
// Other programs that create and replace containers.
pub mod managers;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::deployment::Deployments;
use crate::core::policy::group::{GROUP_LABELS, Membership, is_group_label};
use crate::core::policy::health_policy::{HealthSettings, parse_stable, parse_timeout};
use crate::core::policy::hooks::{Hook, Moment};
use crate::core::policy::own_hooks::{HOOK_LABELS, OWN_HOOK_PREFIX, OwnHooks, UpdateHooks};
use crate::core::policy::update_lock::{
    LABEL_UPDATE_LOCK, LABEL_UPDATE_LOCK_MAX, LockLabels, UpdateLock,
};
use crate::core::policy::update_order::{
    LABEL_UPDATE_DRAIN, LABEL_UPDATE_ORDER, LABEL_UPDATE_SHARED, OrderLabels, UpdateOrder,
};
use crate::core::policy::watchtower::{CompatSettings, Translated, Watchtower};
use crate::core::text::{did_you_mean, nearest, shown};
use crate::core::time::schedule::Schedule;
use crate::core::time::window::Windows;
pub use images_keep::{IMAGES_KEEP_MAX, ImagesKeepError, parse_images_keep};

/// The prefix of Pilotfish's labels.
pub const LABEL_PREFIX: &str = "pilotfish.";

/// Opts a container in or out.
pub const LABEL_ENABLE: &str = "pilotfish.enable";
/// `update` or `notify`.
pub const LABEL_MODE: &str = "pilotfish.mode";
/// The container's own interval or cron.
pub const LABEL_SCHEDULE: &str = "pilotfish.schedule";
/// When the container may be replaced.
pub const LABEL_UPDATE_WINDOW: &str = "pilotfish.update.window";
/// How long the new container may take to become healthy.
pub const LABEL_HEALTH_TIMEOUT: &str = "pilotfish.health.timeout";
/// How long the new container must then stay healthy.
pub const LABEL_HEALTH_STABLE: &str = "pilotfish.health.stable";
/// A probe from outside.
pub const LABEL_HEALTH_PROBE: &str = "pilotfish.health.probe";
/// How many previous images stay on disk.
pub const LABEL_IMAGES_KEEP: &str = "pilotfish.images.keep";

/// `registry`: the image came from the registry of its name, although nothing shows it.
pub const LABEL_ORIGIN: &str = "pilotfish.origin";

/// The hash of the definition that the container of a deployment was created from. The agent
/// writes it, and it changes nothing.
pub const LABEL_DEPLOYMENT: &str = "pilotfish.deployment";

/// All labels, for suggestions, documentation and tests.
pub const LABELS: [&str; 30] = [
    LABEL_ENABLE,
    LABEL_MODE,
    LABEL_SCHEDULE,
    LABEL_UPDATE_WINDOW,
    LABEL_HEALTH_TIMEOUT,
    LABEL_HEALTH_STABLE,
    LABEL_HEALTH_PROBE,
    LABEL_IMAGES_KEEP,
    LABEL_ORIGIN,
    LABEL_UPDATE_LOCK,
    LABEL_UPDATE_LOCK_MAX,
    LABEL_UPDATE_ORDER,
    LABEL_UPDATE_DRAIN,
    LABEL_UPDATE_SHARED,
    HOOK_LABELS[0],
    HOOK_LABELS[1],
    HOOK_LABELS[2],
    HOOK_LABELS[3],
    HOOK_LABELS[4],
    HOOK_LABELS[5],
    HOOK_LABELS[6],
    HOOK_LABELS[7],
    HOOK_LABELS[8],
    GROUP_LABELS[0],
    GROUP_LABELS[1],
    GROUP_LABELS[2],
    GROUP_LABELS[3],
    GROUP_LABELS[4],
    GROUP_LABELS[5],
    LABEL_DEPLOYMENT,
];

/// The agent's configuration for containers without labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyDefaults {
    /// Whether a container must ask to be watched; if not, it must ask to be left alone.
    pub opt_in: bool,
    /// Whether the labels of a container's image count like its own.
    pub trusts_image_labels: bool,
    /// When containers may be replaced.
    pub update_window: Windows,
    /// How long a new container may take to become healthy.
    pub health_timeout: Duration,
    /// How long it must then stay healthy.
    pub health_stable: Duration,
    /// How many previous images stay on disk.
    pub images_keep: u32,
    /// The deployments, whose containers are watched without a label.
    pub deployments: Arc<Deployments>,
    /// Watchtower's settings, if its labels count.
    pub watchtower: Option<Watchtower>,
}

/// What happens with a new image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The container is replaced.
    #[default]
    Update,
    /// It is reported; nothing is pulled or touched.
    Notify,
}

/// How one watched container is treated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub mode: Mode,
    /// The container's own schedule; absent: the agent's.
    pub schedule: Option<Schedule>,
    /// When it may be replaced.
    pub update_window: Windows,
    /// How the new container is judged.
    pub health: HealthSettings,
    /// How many previous images stay on disk for a rollback.
    pub images_keep: u32,
    /// The user says that the image came from the registry of its name.
    pub is_from_registry: bool,
    /// Hooks, a lock, an order and a group from Pilotfish's own labels; few containers have them.
    pub around_updates: Option<Box<AroundUpdates>>,
    /// Further settings from Watchtower's labels; few containers have them.
    pub commands: Box<CompatSettings>,
}

/// What a container has to say around its updates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AroundUpdates {
    pub hooks: OwnHooks,
    /// The path that holds its updates.
    pub lock: LockLabels,
    /// Which of the two containers stops or starts first.
    pub order: OrderLabels,
    /// Its group, and its part in it.
    pub group: Option<Membership>,
}

/// Whether a container is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// It is not watched.
    OptedOut,
    /// It is watched, with this policy.
    Watched(Policy),
    /// It asks to be watched, but these labels are wrong. It is left as it is.
    BadLabels(Vec<LabelError>),
}

/// A label that is unknown, or whose value is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct LabelError {
    pub label: String,
    pub value: String,
    /// What is wrong, and what would be right.
    pub why: String,
}

impl fmt::Display for LabelError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "label `{}`: {}", shown(&self.label), self.why)
    }
}

impl Policy {
    /// Reads labels that count; [`own_labels::read`] decides which ones do.
    ///
    /// A container that is opted out causes no error, independent of its other labels.
    #[must_use]
    pub fn from_labels(labels: &BTreeMap<String, String>, defaults: &PolicyDefaults) -> Selection {
        let Some(watchtower) = &defaults.watchtower else {
            return Self::from_our_labels(labels, defaults);
        };
        let Translated { labels, commands, errors } = watchtower::translate(labels, watchtower);
        match Self::from_our_labels(&labels, defaults) {
            Selection::OptedOut => Selection::OptedOut,
            Selection::Watched(policy) if errors.is_empty() => {
                Selection::Watched(Policy { commands: Box::new(commands), ..policy })
            }
            Selection::Watched(_) => Selection::BadLabels(errors),
            Selection::BadLabels(ours) => Selection::BadLabels([ours, errors].concat()),
        }
    }

    fn from_our_labels(labels: &BTreeMap<String, String>, defaults: &PolicyDefaults) -> Selection {
        match labels.get(LABEL_ENABLE).map(|value| value.trim()) {
            Some("false") => return Selection::OptedOut,
            None if defaults.opt_in => return Selection::OptedOut,
            _ => {}
        }
        let mut policy = Self::without_labels(defaults);
        let mut errors: Vec<LabelError> = labels
            .iter()
            .filter(|(label, _)| label.starts_with(LABEL_PREFIX))
            .filter_map(|(label, value)| policy.apply(label, value).err())
            .collect();
        match group::read(labels) {
            Ok(Some(group)) => policy.around().group = Some(group),
            Ok(None) => {}
            Err(of_group) => errors.extend(of_group),
        }
        let errors = if errors.is_empty() { policy.lonely_labels() } else { errors };
        if errors.is_empty() { Selection::Watched(policy) } else { Selection::BadLabels(errors) }
    }

    fn without_labels(defaults: &PolicyDefaults) -> Self {
        Self {
            mode: Mode::default(),
            schedule: None,
            update_window: defaults.update_window.clone(),
            health: HealthSettings {
                timeout: None,
                default_timeout: defaults.health_timeout,
                stable: defaults.health_stable,
                probe: None,
            },
            images_keep: defaults.images_keep,
            is_from_registry: false,
            around_updates: None,
            commands: Box::default(),
        }
    }

    /// Labels that belong to another one which is not there.
    fn lonely_labels(&self) -> Vec<LabelError> {
        let Some(around) = &self.around_updates else { return Vec::new() };
        let AroundUpdates { hooks, lock, order, .. } = &**around;
        let without_command = hooks.without_command().into_iter();
        without_command.chain(lock.without_path()).chain(order.without_order()).collect()
    }

    /// Its part in its group, if it is in one.
    #[must_use]
    pub fn membership(&self) -> Option<&Membership> {
        self.around_updates.as_ref()?.group.as_ref()
    }

    /// The lock that holds its updates.
    #[must_use]
    pub fn update_lock(&self) -> Option<UpdateLock> {
        self.around_updates.as_ref()?.lock.lock()
    }

    /// Which of the two containers stops or starts first.
    #[must_use]
    pub fn update_order(&self) -> UpdateOrder {
        self.around_updates.as_ref().map(|around| around.order.order()).unwrap_or_default()
    }

    /// The hook that runs before an update. The one of Pilotfish's own label counts.
    #[must_use]
    pub fn pre_update(&self) -> Option<Hook> {
        self.own_hook(Moment::PreUpdate).or_else(|| self.commands.hooks.at(Moment::PreUpdate))
    }

    /// Watchtower's hook in the new container. It does not run if a label of Pilotfish's own names
    /// another one.
    #[must_use]
    pub fn post_update_of_watchtower(&self) -> Option<Hook> {
        match self.own_hook(Moment::PostUpdate) {
            Some(_) => None,
            None => self.commands.hooks.at(Moment::PostUpdate),
        }
    }

    /// Pilotfish's own hooks that run during an update.
    #[must_use]
    pub fn update_hooks(&self) -> UpdateHooks {
        self.around_updates.as_ref().map(|around| around.hooks.during_update()).unwrap_or_default()
    }

    fn own_hook(&self, moment: Moment) -> Option<Hook> {
        self.around_updates.as_ref()?.hooks.at(moment)
    }

    fn around(&mut self) -> &mut AroundUpdates {
        self.around_updates.get_or_insert_default()
    }

    /// Applies one label.
    fn apply(&mut self, label: &str, value: &str) -> Result<(), LabelError> {
        self.take(label, value.trim()).map_err(|why| LabelError {
            label: label.to_owned(),
            value: value.to_owned(),
            why,
        })
    }

    fn take(&mut self, label: &str, value: &str) -> Result<(), String> {
        match label {
            LABEL_ENABLE => check_enable(value)?,
            LABEL_MODE => self.mode = parse_mode(value)?,
            LABEL_SCHEDULE => self.schedule = Some(value.parse().map_err(in_words)?),
            LABEL_UPDATE_WINDOW => self.update_window = value.parse().map_err(in_words)?,
            LABEL_HEALTH_TIMEOUT => {
                self.health.timeout = Some(parse_timeout(value).map_err(in_words)?);
            }
            LABEL_HEALTH_STABLE => self.health.stable = parse_stable(value).map_err(in_words)?,
            LABEL_HEALTH_PROBE => self.health.probe = Some(value.parse().map_err(in_words)?),
            LABEL_IMAGES_KEEP => self.images_keep = parse_images_keep(value).map_err(in_words)?,
            LABEL_ORIGIN => self.is_from_registry = check_origin(value)?,
            LABEL_UPDATE_LOCK => self.around().lock.take_path(value)?,
            LABEL_UPDATE_LOCK_MAX => self.around().lock.take_max(value)?,
            label if is_group_label(label) => {}
            LABEL_UPDATE_ORDER => self.around().order.take_order(value)?,
            LABEL_UPDATE_DRAIN => self.around().order.take_drain(value)?,
            LABEL_UPDATE_SHARED => self.around().order.take_shared(value)?,
            hook if hook.starts_with(OWN_HOOK_PREFIX) => self.around().hooks.take(hook, value)?,
            LABEL_DEPLOYMENT => {}
            unknown => return Err(unknown_label(unknown)),
        }
        Ok(())
    }
}

fn in_words(error: impl fmt::Display) -> String {
    error.to_string()
}

fn unknown_label(label: &str) -> String {
    // The prefix is the same in all labels: it would make any two of them look alike.
    let behind = |label: &'static str| label.strip_prefix(LABEL_PREFIX).unwrap_or(label);
    let word = label.strip_prefix(LABEL_PREFIX).unwrap_or(label);
    let suggestion = nearest(word, LABELS.map(behind));
    let suggestion =
        suggestion.map(|suggestion| format!("; did you mean `{LABEL_PREFIX}{suggestion}`?"));
    format!("there is no such label{}", suggestion.unwrap_or_default())
}

/// `false` is already handled.
fn check_enable(value: &str) -> Result<(), String> {
    if value == "true" {
        return Ok(());
    }
    let suggestion = did_you_mean(value, ["true", "false"]);
    Err(format!("`{}` is neither `true` nor `false`{suggestion}", shown(value)))
}

fn check_origin(value: &str) -> Result<bool, String> {
    if value == "registry" {
        return Ok(true);
    }
    let suggestion = did_you_mean(value, ["registry"]);
    Err(format!("`{}` is not `registry`{suggestion}", shown(value)))
}

fn parse_mode(value: &str) -> Result<Mode, String> {
    match value {
        "update" => Ok(Mode::Update),
        "notify" => Ok(Mode::Notify),
        other => {
            let suggestion = did_you_mean(other, ["update", "notify"]);
            Err(format!("`{}` is neither `update` nor `notify`{suggestion}", shown(other)))
        }
    }
}

#[cfg(test)]
mod tests;
