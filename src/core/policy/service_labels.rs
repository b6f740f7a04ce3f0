//! Which labels a service of a Swarm may have.
//!
//! The tasks of a service run on other machines. So a hook, a lock or an order that a label asks
//! for could not be kept, and an update that ignored it could do harm: a backup would be missing.
//! Such a label is an error, so that the service is held.

use std::collections::BTreeMap;

use super::{
    LABEL_ENABLE, LABEL_HEALTH_PROBE, LABEL_HEALTH_STABLE, LABEL_HEALTH_TIMEOUT, LABEL_IMAGES_KEEP,
    LABEL_MODE, LABEL_ORIGIN, LABEL_PREFIX, LABEL_SCHEDULE, LABEL_UPDATE_WINDOW, LabelError,
    Policy, PolicyDefaults, Selection,
};

/// Labels that mean the same as for a container, and those that have no effect and do no harm.
const ALLOWED: [&str; 9] = [
    LABEL_ENABLE,
    LABEL_MODE,
    LABEL_SCHEDULE,
    LABEL_UPDATE_WINDOW,
    LABEL_HEALTH_TIMEOUT,
    LABEL_HEALTH_STABLE,
    LABEL_HEALTH_PROBE,
    LABEL_IMAGES_KEEP,
    LABEL_ORIGIN,
];

/// Reads the labels of a service.
///
/// A service has no image labels, and Watchtower knows no services. It must always ask.
#[must_use]
pub fn read(labels: &BTreeMap<String, String>, defaults: &PolicyDefaults) -> Selection {
    let defaults = PolicyDefaults { opt_in: true, watchtower: None, ..defaults.clone() };
    match Policy::from_labels(labels, &defaults) {
        Selection::Watched(policy) => {
            let errors: Vec<_> = labels.iter().filter_map(of_a_container_alone).collect();
            if errors.is_empty() {
                Selection::Watched(policy)
            } else {
                Selection::BadLabels(errors)
            }
        }
        other => other,
    }
}

fn of_a_container_alone((label, value): (&String, &String)) -> Option<LabelError> {
    let is_allowed = !label.starts_with(LABEL_PREFIX) || ALLOWED.contains(&label.as_str());
    (!is_allowed).then(|| LabelError {
        label: label.clone(),
        value: value.clone(),
        why: "it has no effect on a service, whose tasks run on other machines; remove it".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::policy::LABELS;
    use crate::core::policy::tests::defaults;

    fn selected(label: &str, value: &str) -> Selection {
        let labels = [(LABEL_ENABLE, "true"), (label, value)];
        let labels = labels.map(|(label, value)| (label.to_owned(), value.to_owned()));
        read(&BTreeMap::from(labels), &defaults(true))
    }

    #[test]
    fn a_label_whose_promise_a_service_cannot_keep_holds_it() {
        for (label, value) in [
            ("pilotfish.hook.pre-update", "/backup"),
            ("pilotfish.hook.pre-update.timeout", "1m"),
            ("pilotfish.update.lock", "/lock"),
        ] {
            let Selection::BadLabels(errors) = selected(label, value) else { panic!("{label}") };
            assert_eq!(errors[0].label, label);
        }
        assert!(matches!(selected("pilotfish.images.keep", "2"), Selection::Watched(_)));
        assert!(matches!(selected("com.example", "2"), Selection::Watched(_)));
    }

    #[test]
    fn what_is_allowed_is_a_label() {
        assert!(ALLOWED.iter().all(|label| LABELS.contains(label)));
    }
}
