//! Every label, right and wrong.

use super::*;
use crate::core::policy::probe::Probe;

pub(super) fn defaults(opt_in: bool) -> PolicyDefaults {
    PolicyDefaults {
        opt_in,
        trusts_image_labels: false,
        deployments: Arc::default(),
        update_window: "04:00-05:00".parse().expect("a window"),
        health_timeout: Duration::from_secs(60),
        health_stable: Duration::from_secs(30),
        images_keep: 1,
        watchtower: None,
    }
}

fn select(opt_in: bool, labels: &[(&str, &str)]) -> Selection {
    let labels = labels.iter().map(|(label, value)| ((*label).into(), (*value).into())).collect();
    Policy::from_labels(&labels, &defaults(opt_in))
}

/// The policy of an opted-in container with one more label.
fn policy_with(label: &str, value: &str) -> Policy {
    match select(true, &[(LABEL_ENABLE, "true"), (label, value)]) {
        Selection::Watched(policy) => policy,
        other => panic!("{label}={value}: {other:?}"),
    }
}

/// All errors of an opted-in container with one more label.
fn errors_with(label: &str, value: &str) -> String {
    match select(true, &[(LABEL_ENABLE, "true"), (label, value)]) {
        Selection::BadLabels(errors) => {
            errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        }
        other => panic!("{label}={value}: {other:?}"),
    }
}

#[test]
fn enable_decides_who_is_watched() {
    let other = ("com.example", "x");
    for (opt_in, labels, watched) in [
        (true, vec![], false),
        (true, vec![other], false),
        (true, vec![(LABEL_ENABLE, "false")], false),
        (true, vec![(LABEL_ENABLE, "true"), other], true),
        (true, vec![(LABEL_ENABLE, " true ")], true),
        (false, vec![], true),
        (false, vec![other], true),
        (false, vec![(LABEL_ENABLE, "true")], true),
        (false, vec![(LABEL_ENABLE, "false")], false),
        // An opt-out counts, independent of the other labels.
        (true, vec![("pilotfish.mode", "nonsense"), ("pilotfish.typo", "x")], false),
        (false, vec![(LABEL_ENABLE, "false"), ("pilotfish.typo", "x")], false),
    ] {
        let selection = select(opt_in, &labels);
        assert_eq!(matches!(selection, Selection::Watched(_)), watched, "{opt_in} {labels:?}");
        assert_eq!(selection == Selection::OptedOut, !watched, "{opt_in} {labels:?}");
    }
}

#[test]
fn enable_that_is_neither_true_nor_false_is_an_error() {
    for opt_in in [true, false] {
        let Selection::BadLabels(errors) = select(opt_in, &[(LABEL_ENABLE, "True")]) else {
            panic!("`True` was accepted");
        };
        let expected =
            "label `pilotfish.enable`: `True` is neither `true` nor `false`; did you mean `true`?";
        assert_eq!(errors[0].to_string(), expected);
        assert_eq!(errors[0].value, "True");
    }
}

#[test]
fn without_labels_the_defaults_stand() {
    let policy = policy_with("other", "label");
    assert_eq!(policy.mode, Mode::Update);
    assert_eq!(policy.schedule, None);
    assert_eq!(policy.update_window.to_string(), "04:00-05:00");
    assert_eq!(policy.health.timeout, None);
    assert_eq!(policy.health.default_timeout, Duration::from_secs(60));
    assert_eq!(policy.health.stable, Duration::from_secs(30));
    assert_eq!(policy.health.probe, None);
    assert_eq!(policy.images_keep, 1);
}

#[test]
fn each_label_says_what_it_means() {
    assert_eq!(policy_with("pilotfish.mode", "notify").mode, Mode::Notify);
    assert_eq!(policy_with("pilotfish.mode", "update").mode, Mode::Update);
    let schedule = policy_with("pilotfish.schedule", "0 4 * * *").schedule;
    assert_eq!(schedule, "0 4 * * *".parse().ok());
    let window = policy_with("pilotfish.update.window", "22:00-02:00").update_window;
    assert_eq!(window.to_string(), "22:00-02:00");
    assert!(policy_with("pilotfish.update.window", "").update_window.is_always());
    let health = policy_with("pilotfish.health.timeout", "2m").health;
    assert_eq!(health.timeout, Some(Duration::from_secs(120)));
    let health = policy_with("pilotfish.health.stable", "0s").health;
    assert_eq!(health.stable, Duration::ZERO);
    let health = policy_with("pilotfish.health.probe", "tcp://:5432").health;
    assert_eq!(health.probe, Some(Probe::Tcp { host: None, port: 5432 }));
    assert_eq!(policy_with("pilotfish.images.keep", "0").images_keep, 0);
}

#[test]
fn each_wrong_value_is_named_with_what_would_be_right() {
    for (label, value, expected) in [
        (
            "pilotfish.mode",
            "notfy",
            "`notfy` is neither `update` nor `notify`; did you mean `notify`?",
        ),
        ("pilotfish.mode", "", "`` is neither `update` nor `notify`"),
        ("pilotfish.schedule", "15", "`15` has no unit: write `15s`, `15m` or `15h`"),
        (
            "pilotfish.schedule",
            "61 * * * *",
            "`61` does not fit the minute: use 0-59, `*`, lists (`1,5`), ranges (`1-5`) and steps (`*/5`)",
        ),
        (
            "pilotfish.update.window",
            "4-5",
            "`4-5` is not a window: write `01:00-05:00` or `Mon-Fri 09:00-17:00`",
        ),
        ("pilotfish.health.timeout", "0s", "`0s` is too short: use 1s or more"),
        ("pilotfish.health.stable", "1w", "`7d` is too long: use 1d or less"),
        ("pilotfish.health.probe", "tcp://db", "a tcp:// probe needs a port: write `tcp://:5432`"),
        ("pilotfish.images.keep", "-1", "`-1` is not a number from 0 to 100"),
        ("pilotfish.images.keep", "101", "`101` is not a number from 0 to 100"),
        (
            "pilotfish.helth.timeout",
            "60s",
            "there is no such label; did you mean `pilotfish.health.timeout`?",
        ),
        ("pilotfish.", "", "there is no such label"),
        ("pilotfish.foo", "", "there is no such label"),
    ] {
        assert_eq!(errors_with(label, value), format!("label `{label}`: {expected}"));
    }
}

#[test]
fn all_wrong_labels_are_named_at_once() {
    let labels = [(LABEL_ENABLE, "yes"), (LABEL_MODE, "x"), ("pilotfish.typo", ""), ("other", "")];
    let Selection::BadLabels(errors) = select(true, &labels) else { panic!("accepted") };
    let labels: Vec<_> = errors.iter().map(|error| error.label.as_str()).collect();
    assert_eq!(labels, [LABEL_ENABLE, LABEL_MODE, "pilotfish.typo"]);
}

proptest::proptest! {
    #[test]
    fn reading_labels_never_panics(
        label in proptest::sample::select(LABELS.to_vec()),
        value in ".{0,60}",
        unknown in "pilotfish\\..{0,20}",
    ) {
        let _ = select(true, &[(LABEL_ENABLE, "true"), (label, &value), (&unknown, &value)]);
    }
}

#[test]
fn watchtowers_labels_keep_their_meaning() {
    const OURS: (&str, &str) = (LABEL_ENABLE, "true");
    let watchtower = |word: &str| format!("{}{word}", watchtower::WATCHTOWER_PREFIX);
    let (enable, monitor_only) = (watchtower("enable"), watchtower("monitor-only"));
    let (scope, typo) = (watchtower("scope"), watchtower("monitoronly"));
    let (enable, monitor_only) = (enable.as_str(), monitor_only.as_str());
    let (scope, typo) = (scope.as_str(), typo.as_str());
    let select = |opt_in: bool, own: Option<&str>, labels: &[(&str, &str)]| {
        let labels = labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let scope = own.map(str::to_owned);
        let defaults = PolicyDefaults {
            watchtower: Some(Watchtower { scope, ..Watchtower::default() }),
            ..defaults(opt_in)
        };
        match Policy::from_labels(&labels, &defaults) {
            Selection::OptedOut => "out".to_owned(),
            Selection::Watched(policy) => format!("{:?}", policy.mode).to_lowercase(),
            Selection::BadLabels(errors) => errors[0].to_string(),
        }
    };
    for (opt_in, own, labels, expected) in [
        (true, None, vec![(enable, "true")], "update"),
        (true, None, vec![(enable, "1"), (monitor_only, "true")], "notify"),
        (true, None, vec![(monitor_only, "true")], "out"),
        (false, None, vec![(monitor_only, "false")], "update"),
        (false, None, vec![(enable, "false")], "out"),
        // Pilotfish's label wins.
        (true, None, vec![(enable, "false"), OURS], "update"),
        (true, None, vec![OURS, (monitor_only, "true"), (LABEL_MODE, "update")], "update"),
        (false, Some("shop"), vec![], "out"),
        (false, Some("shop"), vec![(scope, "home")], "out"),
        (false, Some("shop"), vec![(scope, "shop")], "update"),
        (false, None, vec![(scope, "home")], "update"),
        // Left alone with an error, but only if it is watched.
        (true, None, vec![(typo, "true")], "out"),
    ] {
        assert_eq!(select(opt_in, own, &labels), expected, "{opt_in} {own:?} {labels:?}");
    }
    let said = select(true, None, &[(enable, "true"), (typo, "true")]);
    assert!(
        said.ends_with("did you mean `com.centurylinklabs.watchtower.monitor-only`?"),
        "{said}"
    );
    let labels = [(watchtower("depends-on"), " db, /till ,".to_owned())].into();
    let watchtower = Some(Watchtower::default());
    let selection = Policy::from_labels(&labels, &PolicyDefaults { watchtower, ..defaults(false) });
    let Selection::Watched(policy) = selection else { panic!("{selection:?}") };
    assert_eq!(policy.commands.depends_on, ["db", "till"]);
    let signal = format!("{}stop-signal", watchtower::WATCHTOWER_PREFIX);
    let said = select(false, None, &[(signal.as_str(), "SIGNAL")]);
    assert!(said.ends_with("`SIGNAL` is no signal, such as `SIGQUIT`"), "{said}");
    let labels = [(signal, " sigquit ".to_owned())].into();
    let watchtower = Some(Watchtower::default());
    let selection = Policy::from_labels(&labels, &PolicyDefaults { watchtower, ..defaults(false) });
    let Selection::Watched(policy) = selection else { panic!("{selection:?}") };
    assert_eq!(policy.commands.stop_signal.as_deref(), Some("SIGQUIT"));
    let said = select(false, None, &[(enable, "perhaps")]);
    assert!(said.ends_with("`perhaps` is neither `true` nor `false`"), "{said}");
}

#[test]
fn the_label_of_a_deployment_changes_nothing() {
    let with = BTreeMap::from([
        (LABEL_ENABLE.to_owned(), "true".to_owned()),
        (LABEL_DEPLOYMENT.to_owned(), "0123456789abcdef".to_owned()),
    ]);
    let without = BTreeMap::from([(LABEL_ENABLE.to_owned(), "true".to_owned())]);
    let read = |labels| Policy::from_labels(&labels, &defaults(true));
    assert_eq!(read(with), read(without));
}
