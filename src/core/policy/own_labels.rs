//! Which labels count: those that were set on the container, and not those of its image.
//!
//! Docker merges an image's labels into the container's. So a label that both have with the same
//! value counts as the image's, by the rule that `recreate` uses to separate them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::core::text::shown;

use super::hooks::{HOOK_PREFIX, Moment};
use super::own_hooks::OWN_HOOK_PREFIX;
use super::watchtower::{self, WATCHTOWER_PREFIX};
use super::{
    LABEL_ENABLE, LABEL_HEALTH_PROBE, LABEL_ORIGIN, LABEL_PREFIX, LabelError, Policy,
    PolicyDefaults, Selection,
};

/// Labels as the Engine shows them.
pub type Labels = BTreeMap<String, String>;

/// Why labels do not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IgnoredFor {
    /// They are labels of the image.
    #[default]
    Image,
    /// They are Watchtower's hooks, and Pilotfish's own labels name hooks for the same moments.
    OwnHook,
    /// They are no labels, but hooks of a Compose file, which only Compose runs.
    ComposeHook,
}

impl IgnoredFor {
    /// Whether they are labels of the image.
    #[must_use]
    pub fn is_image(&self) -> bool {
        *self == Self::Image
    }
}

/// Labels that concern a container, and do not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoredLabels {
    pub container: String,
    pub because: IgnoredFor,
    /// The labels, with their values.
    pub labels: Labels,
    /// Whether the container is watched all the same.
    pub watched: bool,
}

impl IgnoredLabels {
    /// What does not count, and what to do about it, in one sentence.
    #[must_use]
    pub fn in_words(&self) -> String {
        let labels =
            self.labels.iter().map(|(label, value)| format!("{}={}", shown(label), shown(value)));
        let labels: Vec<_> = labels.collect();
        let (label, does) = if labels.len() == 1 { ("label", "does") } else { ("labels", "do") };
        let labels = labels.join(", ");
        match self.because {
            IgnoredFor::Image => format!(
                "image {label} {labels} {does} not count; set it on the container, or trust_image_labels = true"
            ),
            IgnoredFor::OwnHook => {
                format!("{label} {labels} {does} not count beside Pilotfish's own label")
            }
            IgnoredFor::ComposeHook => self.compose_hooks_in_words(),
        }
    }
}

impl IgnoredLabels {
    fn compose_hooks_in_words(&self) -> String {
        let hooks: Vec<_> = self.labels.keys().map(|hook| shown(hook)).collect();
        let files: BTreeSet<_> = self.labels.values().map(|file| shown(file)).collect();
        let files: Vec<_> = files.into_iter().collect();
        format!(
            "Pilotfish does not run {} of {}, only Compose does; use its own hooks",
            hooks.join(", "),
            files.join(", ")
        )
    }
}

/// Whether a label says how a container is treated.
#[must_use]
pub fn is_policy(label: &str) -> bool {
    label.starts_with(LABEL_PREFIX) || label.starts_with(WATCHTOWER_PREFIX)
}

/// Whether any of these labels says how a container is treated.
#[must_use]
pub fn has_policy(labels: &Labels) -> bool {
    labels.keys().any(|label| is_policy(label))
}

/// The labels of an image that say how a container is treated; only these are kept.
#[must_use]
pub fn policy_alone(labels: Labels) -> Labels {
    labels.into_iter().filter(|(label, _)| is_policy(label)).collect()
}

/// The container's own labels. `of_image` are those of its image's configuration.
///
/// A label that asks to leave the container alone always counts: programs that replace their own
/// containers write it into their images, and a person may have written the same.
fn own(labels: &Labels, of_image: &Labels) -> Labels {
    let counts = |(label, value): &(&String, &String)| {
        of_image.get(*label) != Some(value) || leaves_alone(label, value)
    };
    labels.iter().filter(counts).map(|(label, value)| (label.clone(), value.clone())).collect()
}

fn leaves_alone(label: &str, value: &str) -> bool {
    (label == LABEL_ENABLE && value.trim() == "false") || watchtower::opts_out(label, value)
}

/// Reads the labels of a container, given those of its image.
///
/// Two things an image may not say even if images' labels are trusted: that it came from a
/// registry, and that a probe goes to another host than the container.
#[must_use]
pub fn read(labels: &Labels, of_image: &Labels, defaults: &PolicyDefaults) -> Selection {
    let own = own(labels, of_image);
    if !defaults.trusts_image_labels {
        return Policy::from_labels(&own, defaults);
    }
    match Policy::from_labels(labels, defaults) {
        Selection::Watched(mut policy) => {
            policy.is_from_registry &= own.contains_key(LABEL_ORIGIN);
            let probe = policy.health.probe.as_ref();
            let is_foreign = probe.is_some_and(|probe| probe.host().is_some());
            if is_foreign && !own.contains_key(LABEL_HEALTH_PROBE) {
                return Selection::BadLabels(vec![foreign_probe(labels)]);
            }
            Selection::Watched(policy)
        }
        other => other,
    }
}

fn foreign_probe(labels: &Labels) -> LabelError {
    LabelError {
        label: LABEL_HEALTH_PROBE.to_owned(),
        value: labels.get(LABEL_HEALTH_PROBE).cloned().unwrap_or_default(),
        why: "an image's probe may not name a host; give the label to the container".to_owned(),
    }
}

/// The image's labels that are ignored. None if they are trusted, and none if the container is not
/// watched and they would not change that.
#[must_use]
pub fn ignored_labels(
    container: &str,
    (labels, of_image): (&Labels, &Labels),
    defaults: &PolicyDefaults,
) -> Option<IgnoredLabels> {
    if defaults.trusts_image_labels {
        return None;
    }
    let own = own(labels, of_image);
    let is_understood = |label: &str| {
        label.starts_with(LABEL_PREFIX) || (is_policy(label) && defaults.watchtower.is_some())
    };
    let left_out =
        labels.iter().filter(|(label, _)| is_understood(label) && !own.contains_key(*label));
    let left_out: Labels = left_out.map(|(label, value)| (label.clone(), value.clone())).collect();
    let is_watched = |labels| Policy::from_labels(labels, defaults) != Selection::OptedOut;
    let watched = is_watched(&own);
    let is_worth_a_word = !left_out.is_empty() && (watched || is_watched(labels));
    is_worth_a_word.then(|| IgnoredLabels {
        container: container.to_owned(),
        because: IgnoredFor::Image,
        labels: left_out,
        watched,
    })
}

/// Watchtower's hooks that do not run, because Pilotfish's own labels name hooks for the same
/// moments. None if Watchtower's hooks are switched off, or the container is not watched.
#[must_use]
pub fn overridden_hooks(
    container: &str,
    (labels, of_image): (&Labels, &Labels),
    defaults: &PolicyDefaults,
) -> Option<IgnoredLabels> {
    defaults.watchtower.as_ref().filter(|watchtower| watchtower.runs_hooks)?;
    let own = if defaults.trusts_image_labels { labels.clone() } else { own(labels, of_image) };
    let overridden = Moment::OF_WATCHTOWER.into_iter().filter_map(|moment| {
        own.contains_key(&format!("{OWN_HOOK_PREFIX}{moment}")).then_some(())?;
        own.get_key_value(&format!("{WATCHTOWER_PREFIX}{HOOK_PREFIX}{moment}"))
    });
    let labels: Labels =
        overridden.map(|(label, command)| (label.clone(), command.clone())).collect();
    let is_told = !labels.is_empty() && Policy::from_labels(&own, defaults) != Selection::OptedOut;
    is_told.then(|| IgnoredLabels {
        container: container.to_owned(),
        because: IgnoredFor::OwnHook,
        labels,
        watched: true,
    })
}

#[cfg(test)]
#[path = "own_labels_tests.rs"]
mod tests;
