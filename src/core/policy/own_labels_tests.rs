//! Which labels count.

use std::time::Duration;

use super::*;
use crate::core::policy::watchtower::Watchtower;
use crate::core::policy::{LABEL_IMAGES_KEEP, LABEL_MODE, LABEL_UPDATE_WINDOW, Mode};

const WATCHTOWER_ENABLE: &str = "com.centurylinklabs.watchtower.enable";
const DEPENDS_ON: &str = "com.centurylinklabs.watchtower.depends-on";
const HOOK: &str = "com.centurylinklabs.watchtower.lifecycle.pre-update";
const OWN_HOOK: (&str, &str) = ("pilotfish.hook.pre-update", "/own");

fn defaults() -> PolicyDefaults {
    PolicyDefaults {
        opt_in: true,
        trusts_image_labels: false,
        deployments: std::sync::Arc::default(),
        update_window: "04:00-05:00".parse().expect("a window"),
        health_timeout: Duration::from_secs(60),
        health_stable: Duration::from_secs(30),
        images_keep: 1,
        watchtower: None,
    }
}

fn with_watchtower(defaults: PolicyDefaults) -> PolicyDefaults {
    let watchtower = Watchtower { scope: None, runs_hooks: true };
    PolicyDefaults { watchtower: Some(watchtower), ..defaults }
}

fn trusting() -> PolicyDefaults {
    PolicyDefaults { trusts_image_labels: true, ..defaults() }
}

fn labels(all: &[(&str, &str)]) -> Labels {
    all.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect()
}

/// The labels that an Engine shows for a container: its image's labels, and its own over them.
fn merged(own: &[(&str, &str)], of_image: &[(&str, &str)]) -> Labels {
    labels(&[of_image, own].concat())
}

fn selected(
    own: &[(&str, &str)],
    of_image: &[(&str, &str)],
    defaults: &PolicyDefaults,
) -> Selection {
    read(&merged(own, of_image), &labels(of_image), defaults)
}

#[track_caller]
fn policy(own: &[(&str, &str)], of_image: &[(&str, &str)], defaults: &PolicyDefaults) -> Policy {
    match selected(own, of_image, defaults) {
        Selection::Watched(policy) => policy,
        other => panic!("{other:?}"),
    }
}

const ENABLED: (&str, &str) = (LABEL_ENABLE, "true");

#[test]
fn an_image_does_not_opt_its_container_in() {
    assert_eq!(selected(&[], &[ENABLED], &defaults()), Selection::OptedOut);
    // Docker does not show who wrote a label that both have.
    assert_eq!(selected(&[ENABLED], &[ENABLED], &defaults()), Selection::OptedOut);
    let watchtower = [(WATCHTOWER_ENABLE, "true")];
    let defaults = with_watchtower(defaults());
    assert_eq!(selected(&[], &watchtower, &defaults), Selection::OptedOut);
    policy(&watchtower, &[], &defaults);
}

#[test]
fn an_image_changes_nothing_about_how_its_container_is_treated() {
    let plain = policy(&[ENABLED], &[], &with_watchtower(defaults()));
    for of_image in [
        (LABEL_UPDATE_WINDOW, "00:00-24:00"),
        (LABEL_MODE, "notify"),
        (LABEL_IMAGES_KEEP, "50"),
        (LABEL_ORIGIN, "registry"),
        (LABEL_HEALTH_PROBE, "http://127.0.0.1:2375/"),
        ("pilotfish.health.stable", "0s"),
        ("pilotfish.schedule", "1s"),
        ("pilotfish.nonsense", "x"),
        (DEPENDS_ON, "db"),
        (HOOK, "exit 1"),
        ("com.centurylinklabs.watchtower.no-pull", "true"),
        ("com.centurylinklabs.watchtower.stop-signal", "SIGKILL"),
    ] {
        let defaults = with_watchtower(defaults());
        assert_eq!(policy(&[ENABLED], &[of_image], &defaults), plain, "{of_image:?}");
        // A label that the container has with another value is its own.
        let own = selected(&[ENABLED, (of_image.0, "x")], &[of_image], &defaults);
        assert_ne!(own, Selection::OptedOut, "{of_image:?}");
    }
}

#[test]
fn a_label_that_opts_out_always_counts() {
    let every_container = PolicyDefaults { opt_in: false, ..with_watchtower(defaults()) };
    for out in [(LABEL_ENABLE, "false"), (WATCHTOWER_ENABLE, "false")] {
        assert_eq!(selected(&[], &[out], &every_container), Selection::OptedOut);
        assert_eq!(selected(&[out], &[out], &every_container), Selection::OptedOut);
    }
    // But not against the container's own label.
    policy(&[ENABLED], &[(LABEL_ENABLE, "false")], &every_container);
}

#[test]
fn a_person_may_trust_images() {
    let policy = policy(&[], &[ENABLED, (LABEL_MODE, "notify")], &trusting());
    assert_eq!(policy.mode, Mode::Notify);
}

#[test]
fn an_image_never_speaks_for_its_origin_nor_sends_a_probe_elsewhere() {
    let origin = (LABEL_ORIGIN, "registry");
    assert!(!policy(&[ENABLED], &[origin], &trusting()).is_from_registry);
    assert!(policy(&[ENABLED, origin], &[], &trusting()).is_from_registry);
    assert!(policy(&[ENABLED, origin], &[], &defaults()).is_from_registry);
    for (probe, is_refused) in [
        ("http://127.0.0.1:2375/", true),
        ("http://[::1]/", true),
        ("tcp://router.lan:80", true),
        ("http://:8080/", false),
        ("exec:true", false),
    ] {
        let probe = (LABEL_HEALTH_PROBE, probe);
        let of_image = matches!(
            selected(&[ENABLED], &[probe], &trusting()),
            Selection::BadLabels(errors) if errors[0].to_string().contains("may not name a host")
        );
        assert_eq!(of_image, is_refused, "{probe:?}");
        // The operator may write it on the container.
        policy(&[ENABLED, probe], &[], &trusting());
        policy(&[ENABLED, probe], &[], &defaults());
    }
}

#[test]
fn what_is_passed_over_is_named_where_it_would_have_said_something() {
    let window = (LABEL_UPDATE_WINDOW, "00:00-24:00");
    let passed = |own: &[(&str, &str)], of_image: &[(&str, &str)], defaults: &PolicyDefaults| {
        ignored_labels("till", (&merged(own, of_image), &labels(of_image)), defaults)
            .map(|it| (it.in_words(), it.watched))
    };
    let ends = "not count; set it on the container, or trust_image_labels = true";
    assert_eq!(
        passed(&[], &[ENABLED], &defaults()),
        Some((format!("image label pilotfish.enable=true does {ends}"), false))
    );
    assert_eq!(
        passed(&[ENABLED], &[window, (LABEL_MODE, "notify")], &defaults()),
        Some((
            format!(
                "image labels pilotfish.mode=notify, pilotfish.update.window=00:00-24:00 do {ends}"
            ),
            true
        ))
    );
    // A container that is not watched either way, a trusted image, a label that is not read.
    assert_eq!(passed(&[], &[window], &defaults()), None);
    assert_eq!(passed(&[], &[ENABLED], &trusting()), None);
    assert_eq!(passed(&[ENABLED], &[(DEPENDS_ON, "db")], &defaults()), None);
    assert!(passed(&[ENABLED], &[(DEPENDS_ON, "db")], &with_watchtower(defaults())).is_some());
    assert_eq!(passed(&[ENABLED], &[("org.opencontainers.image.title", "x")], &defaults()), None);
}

#[test]
fn a_hook_of_pilotfishs_own_label_counts_and_the_other_one_is_named() {
    let theirs = (HOOK, "/theirs");
    let words = |own: &[(&str, &str)], of_image: &[(&str, &str)], defaults: &PolicyDefaults| {
        overridden_hooks("till", (&merged(own, of_image), &labels(of_image)), defaults)
            .map(|it| it.in_words())
    };
    let both = [ENABLED, theirs, OWN_HOOK];
    let told = format!("label {HOOK}=/theirs does not count beside Pilotfish's own label");
    assert_eq!(words(&both, &[], &with_watchtower(defaults())), Some(told));
    let hook = policy(&both, &[], &with_watchtower(defaults())).pre_update().expect("a hook");
    assert_eq!(hook.words(), ["/own"]);
    // Hooks are off, only one label is there, a label is the image's, nothing is watched.
    assert_eq!(words(&both, &[], &defaults()), None);
    assert_eq!(words(&[ENABLED, OWN_HOOK], &[], &with_watchtower(defaults())), None);
    assert_eq!(words(&[ENABLED, OWN_HOOK], &[theirs], &with_watchtower(defaults())), None);
    assert_eq!(words(&[theirs, OWN_HOOK], &[], &with_watchtower(defaults())), None);
    // Another moment is another hook.
    let after = ("pilotfish.hook.post-update", "/own");
    let hooks = policy(&[ENABLED, theirs, after], &[], &with_watchtower(defaults()));
    assert_eq!(hooks.pre_update().expect("a hook").words(), ["sh", "-c", "/theirs"]);
    assert_eq!(hooks.post_update_of_watchtower(), None);
    // An image may name a hook only if its labels are trusted.
    assert_eq!(policy(&[ENABLED], &[OWN_HOOK], &defaults()).pre_update(), None);
    assert!(policy(&[ENABLED], &[OWN_HOOK], &trusting()).pre_update().is_some());
}
