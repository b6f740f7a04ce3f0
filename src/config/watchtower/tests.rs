//! The translation of each option, and of invalid values.

use super::*;

fn started(environment: &[(&str, &str)], words: &[&str]) -> Started {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Started {
        environment: environment.iter().map(pair).collect(),
        words: words.iter().map(|word| (*word).to_owned()).collect(),
    }
}

#[test]
fn flags_win_over_the_environment_and_everything_is_accounted_for() {
    let page = translate(&started(
        &[
            ("WATCHTOWER_POLL_INTERVAL", "300"),
            ("WATCHTOWER_CLEANUP", "true"),
            ("WATCHTOWER_NOTIFICATION_URL", "discord://token@id"),
            ("WATCHTOWER_SCOPE", "shop"),
            ("WATCHTOWER_HTTP_API_METRICS", "false"),
            ("WATCHTOWER_PONDER", "1"),
            ("TZ", "Europe/Berlin"),
            ("PATH", "/"),
        ],
        &["--interval", "60", "--label-enable", "-t=30s", "till"],
    ))
    .to_string();
    assert_eq!(
        page,
        "\
# Translated from Watchtower, for Pilotfish: /etc/pilotfish/pilotfish.toml

# COULD NOT BE READ, and is not in this file:
# - WATCHTOWER_PONDER: no variable of this name is known
opt_in = true
time_zone = \"Europe/Berlin\"

[compat]
watchtower = true
scope = \"shop\"

[schedule]
every = \"60s\"

# Pilotfish does without a setting:
# - WATCHTOWER_CLEANUP: previous images beyond images.keep are removed

# Has no counterpart:
# - till: only this container was watched: opt it in with the label pilotfish.enable=true
# - --stop-timeout: each container is given its own time (docker run --stop-timeout)
# - WATCHTOWER_NOTIFICATION_URL: Pilotfish sends no messages; Prometheus does, by the alerts in deploy/alerts.yml
"
    );
}

/// The translation of each option: a line of the configuration, or a word of its reason.
#[test]
fn every_option_has_its_row() {
    let rows = include_str!("options.txt").lines().filter(|line| !line.starts_with('#'));
    let mut variables = Vec::new();
    for row in rows {
        let (variable, rest) = row.split_once('=').expect("VARIABLE=VALUE | BECOMES");
        let (value, expected) = rest.split_once(" | ").expect("VARIABLE=VALUE | BECOMES");
        let page = translate(&started(&[(variable, value)], &[])).to_string();
        let line = page.lines().find(|line| line.contains(expected));
        let line = line.unwrap_or_else(|| panic!("{row}:\n{page}"));
        assert!(!line.starts_with("# -") || line.contains(variable), "{row}:\n{page}");
        // The flag gives the same as the variable.
        let option = options().find(|option| option.variable_name() == variable).expect(row);
        let flag = [format!("--{}", option.flag), value.to_owned()];
        let words = if option.takes_value { &flag[..] } else { &flag[..1] };
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let by_flag = translate(&started(&[], &words)).to_string();
        assert_eq!(by_flag.replacen(&flag[0], variable, 1), page, "{row}");
        variables.push(variable);
    }
    let all: Vec<_> = options().map(WatchtowerOption::variable_name).collect();
    let unproved: Vec<_> = all.iter().filter(|it| !variables.contains(&it.as_str())).collect();
    assert!(unproved.is_empty(), "options.txt has no row for {unproved:?}");
}

#[test]
fn without_options_watchtower_checks_all_containers_once_a_day() {
    let page = translate(&Started::default()).to_string();
    assert!(page.contains("\nopt_in = false\n"), "{page}");
    assert!(page.contains("\nevery = \"24h\"\n"), "{page}");
}

#[test]
fn a_value_that_makes_no_sense_is_named_and_not_repeated() {
    let page = translate(&started(&[("WATCHTOWER_POLL_INTERVAL", "soon")], &["--nonsense=1", "-"]));
    let page = page.to_string();
    assert!(page.contains("# - WATCHTOWER_POLL_INTERVAL: its value could not be"), "{page}");
    assert!(page.contains("# - --nonsense: Watchtower has no such flag"), "{page}");
    assert!(page.contains("# - -: only this container was watched"), "{page}");
    assert!(page.contains("every = \"24h\""), "never our own default: {page}");
    assert!(!page.contains("soon"));
}

/// The written line, or the sentence about an invalid value. In quotation marks, as Compose keeps
/// them, each value means the same.
#[test]
fn every_option_is_written_or_named_and_never_becomes_a_default() {
    let rows = [
        ("TZ", "Europe/Brussels", Some("time_zone = \"Europe/Brussels\"")),
        ("TZ", "Europe/Nowhere", None),
        ("TZ", "CET-1CEST", None),
        ("WATCHTOWER_POLL_INTERVAL", "300", Some("every = \"300s\"")),
        ("WATCHTOWER_POLL_INTERVAL", "5m", Some("every = \"5m\"")),
        ("WATCHTOWER_POLL_INTERVAL", "0", None),
        ("WATCHTOWER_POLL_INTERVAL", "-5", None),
        ("WATCHTOWER_POLL_INTERVAL", "1.5", None),
        ("WATCHTOWER_POLL_INTERVAL", "99999999999", None),
        ("WATCHTOWER_POLL_INTERVAL", "0 0 4 * * *", None),
        ("WATCHTOWER_SCHEDULE", "0 0 4 * * *", Some("cron = \"0 0 4 * * *\"")),
        ("WATCHTOWER_SCHEDULE", "0 30 3 ? * MON-FRI", Some("cron = \"0 30 3 ? * MON-FRI\"")),
        ("WATCHTOWER_SCHEDULE", "@daily", Some("cron = \"@daily\"")),
        ("WATCHTOWER_SCHEDULE", "@midnight", Some("cron = \"@midnight\"")),
        ("WATCHTOWER_SCHEDULE", "@every 1h30m", Some("every = \"1h30m\"")),
        ("WATCHTOWER_SCHEDULE", "@every 1h0m0s", Some("every = \"1h0m0s\"")),
        ("WATCHTOWER_SCHEDULE", "@every 3600", None),
        ("WATCHTOWER_SCHEDULE", "@every", None),
        ("WATCHTOWER_SCHEDULE", "0 0 25 * * *", None),
        ("WATCHTOWER_SCHEDULE", "0 0 4 * *  * * *", None),
        ("WATCHTOWER_SCHEDULE", "3600", None),
        ("WATCHTOWER_SCHEDULE", "tomorrow", None),
        ("WATCHTOWER_LABEL_ENABLE", "1", Some("opt_in = true")),
        ("WATCHTOWER_LABEL_ENABLE", "T", Some("opt_in = true")),
        ("WATCHTOWER_LABEL_ENABLE", "TRUE", Some("opt_in = true")),
        ("WATCHTOWER_LABEL_ENABLE", "f", Some("opt_in = false")),
        ("WATCHTOWER_LABEL_ENABLE", "False", Some("opt_in = false")),
        ("WATCHTOWER_LABEL_ENABLE", "yes", None),
        ("WATCHTOWER_LIFECYCLE_HOOKS", "True", Some("lifecycle_hooks = true")),
        ("WATCHTOWER_LIFECYCLE_HOOKS", "on", None),
        ("WATCHTOWER_LOG_LEVEL", "INFO", Some("level = \"info\"")),
        ("WATCHTOWER_LOG_LEVEL", "loud", None),
        ("DOCKER_HOST", "tcp://proxy:2375", Some("docker_host = \"tcp://proxy:2375\"")),
        ("DOCKER_HOST", "ssh://pi@pi", None),
        ("DOCKER_HOST", "npipe:////./pipe/docker_engine", None),
        ("WATCHTOWER_CLEANUP", "ja", None),
        ("WATCHTOWER_NONESUCH", "1", None),
    ];
    for (name, value, expected) in rows {
        for quoted in [value.to_owned(), format!("\"{value}\""), format!("'{value}'")] {
            let text = serde_json::json!({"Config": {"Env": [format!("{name}={quoted}")]}});
            let made = translate(&read(&text.to_string()).expect("a container"));
            let page = made.to_string();
            let settings = super::super::load_text(&page, Path::new("made"));
            assert!(settings.is_ok(), "{name}={quoted}: {settings:?}\n{page}");
            assert_eq!(made.is_whole(), expected.is_some(), "{name}={quoted}\n{page}");
            let is_said = match expected {
                Some(line) => page.lines().any(|it| it == line),
                None => page.contains(&format!("# - {name}: ")) && !page.contains(value),
            };
            assert!(is_said || value == "1", "{name}={quoted}\n{page}");
            assert!(page.contains("every = ") || page.contains("cron = "), "{page}");
        }
    }
}

#[test]
fn a_schedule_may_name_its_zone_and_excludes_an_interval() {
    let zoned = [("WATCHTOWER_SCHEDULE", "CRON_TZ=Asia/Tokyo 0 0 4 * * *"), ("TZ", "UTC")];
    let page = translate(&started(&zoned, &[])).to_string();
    assert!(page.contains("time_zone = \"Asia/Tokyo\""), "{page}");
    assert!(page.contains("cron = \"0 0 4 * * *\""), "{page}");
    let both = translate(&started(&[("WATCHTOWER_POLL_INTERVAL", "60")], &["-s", "@daily"]));
    assert!(!both.is_whole() && both.to_string().contains("exclude each other"), "{both}");
    let five = translate(&started(&[("WATCHTOWER_SCHEDULE", "0 4 * * *")], &[])).to_string();
    assert!(five.contains("has five fields") && five.contains("cron = \"0 4 * * *\""), "{five}");
}

#[test]
fn what_was_kept_from_watchtower_is_not_updated_by_pilotfish() {
    for (environment, words) in [
        (&[][..], &["till"][..]),
        (&[], &["--debug", "--", "till"]),
        (&[("WATCHTOWER_MONITOR_ONLY", "1")], &[]),
        (&[("WATCHTOWER_NO_RESTART", "true")], &[]),
        (&[("WATCHTOWER_DISABLE_CONTAINERS", "db,cache")], &[]),
        (&[("WATCHTOWER_SKIP_IMAGE_NAMES", "db")], &[]),
    ] {
        let page = translate(&started(environment, words)).to_string();
        assert!(page.contains("\nopt_in = true\n") && page.contains("# - opt_in: "), "{page}");
    }
    let page = translate(&started(&[("WATCHTOWER_MONITOR_ONLY", "false")], &[])).to_string();
    assert!(page.contains("\nopt_in = false\n"), "{page}");
}

#[test]
fn flags_are_read_as_watchtower_reads_them() {
    for words in [
        &["-ci60"][..],
        &["-c", "-i", "60"],
        &["-ci", "60"],
        &["-i=60", "-c=true"],
        &["--interval=60", "--cleanup"],
        &["--interval", "\"60\"", "--cleanup=1"],
    ] {
        let made = translate(&started(&[], words));
        let page = made.to_string();
        assert!(made.is_whole() && page.contains("every = \"60s\""), "{words:?}\n{page}");
        assert!(page.contains("# - --cleanup: "), "{words:?}\n{page}");
    }
    for words in [&["--interval"][..], &["-i"], &["-cz"], &["--nonsense"], &["--cleanup=maybe"]] {
        assert!(!translate(&started(&[], words)).is_whole(), "{words:?}");
    }
    let odd = translate(&started(&[], &["--x\ntrap = 1"])).to_string();
    assert!(!odd.contains("\ntrap"), "{odd}");
}

#[test]
fn of_several_words_for_the_log_the_last_one_counts_and_metrics_keep_their_address() {
    let told = [
        ("WATCHTOWER_DEBUG", "1"),
        ("WATCHTOWER_LOG_LEVEL", "warn"),
        ("WATCHTOWER_HTTP_API_METRICS", "1"),
        ("WATCHTOWER_HTTP_API_PORT", "9000"),
    ];
    let page = translate(&started(&told, &[])).to_string();
    assert!(page.contains("level = \"debug\"") && !page.contains("warn"), "{page}");
    assert!(page.contains("address = \"0.0.0.0:9000\""), "{page}");
}
