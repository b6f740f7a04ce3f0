//! The configuration for users: files, variables, flags, and wrong values in all of them.

#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pilotfish::config::{
    ConfigError, ConfigFile, DeploymentSource, DockerHost, Environment, KEYS, LogFormat, LogLevel,
    PushAddress, REGISTRY_KEYS, SENDER_KEYS, Settings, Sources, ValueOrigin, load,
};
use pilotfish::core::docker::webhook::SenderKind;
use pilotfish::core::mirror::rule::SignatureMode;
use pilotfish::core::time::schedule::{Jitter, Schedule};
use pilotfish::core::time::zone::Zone;

/// A configuration in its own directory, and a made-up environment.
struct Fixture {
    directory: tempfile::TempDir,
    sources: Sources,
}

impl Fixture {
    /// Without a file, variables or flags, in Berlin.
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = ConfigFile::Optional(directory.path().join("pilotfish.toml"));
        let environment = Environment {
            variables: BTreeMap::new(),
            local_zone: Some("Europe/Berlin".to_owned()),
        };
        Self { directory, sources: Sources { file, environment, flags: Vec::new() } }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("pilotfish.toml")
    }

    fn file(self, text: &str) -> Self {
        std::fs::write(self.path(), text).expect("the file is written");
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.sources.environment.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    fn flag(mut self, key: &str, value: &str) -> Self {
        self.sources.flags.push((key.to_owned(), value.to_owned()));
        self
    }

    fn settings(&self) -> Settings {
        load(&self.sources).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The error, with the path of the file shortened to its name.
    fn error(&self) -> String {
        let error = load(&self.sources).expect_err("an error").to_string();
        error.replace(&format!("{}/", self.directory.path().display()), "")
    }
}

fn zone(name: &str) -> Zone {
    Zone::named(name).expect("a zone")
}

fn file_error(text: &str) -> String {
    Fixture::new().file(text).error()
}

/// Keys and values without their sources.
fn values(settings: &Settings) -> Vec<(&str, &str)> {
    settings.explain().iter().map(|row| (row.key.as_str(), row.value.as_str())).collect()
}

const EXAMPLE: &str = include_str!("../config/pilotfish.toml");

/// The example with every line after a bare `#` activated.
fn activated_example() -> String {
    let activated = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => rest.to_owned(),
        _ => line.to_owned(),
    };
    let lines = EXAMPLE.lines().filter(|line| !line.starts_with("every"));
    lines.map(activated).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_equals_the_defaults() {
    let (example, defaults) = (Fixture::new().file(EXAMPLE), Fixture::new());
    let (example, defaults) = (example.settings(), defaults.settings());
    assert_eq!(values(&example), values(&defaults));
    let without_rows = |settings: &Settings| {
        let text = format!("{settings:?}");
        text.split("explained").next().map(str::to_owned)
    };
    assert_eq!(without_rows(&example), without_rows(&defaults));
}

#[test]
fn the_example_names_every_key_and_its_commented_lines_are_valid() {
    let fixture = Fixture::new().file(&activated_example());
    let settings = fixture.settings();
    let written: Vec<_> = settings
        .explain()
        .iter()
        .filter(|row| matches!(row.origin, ValueOrigin::File { .. }))
        .map(|row| row.key.as_str())
        .collect();
    for key in KEYS.iter().filter(|key| key.name != "schedule.every") {
        assert!(written.contains(&key.name), "{} is missing", key.name);
    }
    for key in REGISTRY_KEYS {
        let key = format!("registries.\"registry:443\".{key}");
        assert!(written.contains(&key.as_str()), "{key} is missing");
    }
    for key in SENDER_KEYS {
        let key = format!("webhook.sender.\"till-ci\".{key}");
        assert!(written.contains(&key.as_str()), "{key} is missing");
    }
    assert!(EXAMPLE.contains("\nevery = "));
}

#[test]
fn the_defaults_are_those_of_the_documentation() {
    let settings = Fixture::new().settings();
    assert_eq!(settings.state_dir, Path::new("/var/lib/pilotfish"));
    assert_eq!(settings.docker_host, DockerHost::Unix("/var/run/docker.sock".into()));
    assert_eq!(settings.docker_tls, None);
    assert!(settings.opt_in);
    assert!(!settings.trust_image_labels);
    assert_eq!(settings.time_zone, zone("Europe/Berlin"));
    assert_eq!(settings.schedule, Schedule::Every(Duration::from_secs(900)));
    assert_eq!(settings.jitter, Jitter::Percent(10));
    assert!(settings.pull_window.is_always());
    assert!(settings.update_window.is_always());
    assert_eq!(settings.health_timeout, Duration::from_secs(60));
    assert_eq!(settings.health_stable, Duration::from_secs(30));
    assert_eq!(settings.images_keep, 1);
    assert_eq!((settings.pull_parallel, settings.update_parallel), (2, 16));
    assert_eq!(settings.listen_address, "127.0.0.1:9788".parse().ok());
    assert_eq!(settings.log_format, LogFormat::Auto);
    assert_eq!(settings.log_level, LogLevel::Info);
    assert!(settings.registries.is_empty());
    assert_eq!(settings.notes, Vec::<String>::new());
    let defaults = settings.policy_defaults();
    assert!(defaults.opt_in && defaults.update_window.is_always());
    assert_eq!(defaults.health_timeout, settings.health_timeout);
    assert_eq!(defaults.health_stable, settings.health_stable);
    assert_eq!(defaults.images_keep, settings.images_keep);
}

#[test]
fn every_key_is_read_from_the_file() {
    let settings = Fixture::new()
        .file(
            r#"
            state_dir = "/data"
            docker_host = "tcp://pi:2376"
            opt_in = false
            trust_image_labels = true
            time_zone = "America/New_York"
            schedule = { cron = "0 4 * * 1", jitter = "5m" }
            pull.window = "01:00-05:00"
            [update]
            window = "Mon-Fri 04:00-05:00"
            [health]
            timeout = "2m"
            stable = "0s"
            [images]
            keep = 3
            [listen]
            address = ""
            [log]
            format = "json"
            level = "debug"
            "#,
        )
        .settings();
    assert_eq!(settings.state_dir, Path::new("/data"));
    assert_eq!(settings.docker_host, DockerHost::Tcp { host: "pi".into(), port: 2376 });
    assert!(!settings.opt_in);
    assert!(settings.trust_image_labels && settings.policy_defaults().trusts_image_labels);
    assert_eq!(settings.time_zone, zone("America/New_York"));
    assert_eq!(settings.schedule.to_string(), "0 4 * * 1");
    assert_eq!(settings.jitter, Jitter::Span(Duration::from_secs(300)));
    assert_eq!(settings.pull_window.to_string(), "01:00-05:00");
    assert_eq!(settings.update_window.to_string(), "Mon-Fri 04:00-05:00");
    assert_eq!(settings.health_timeout, Duration::from_secs(120));
    assert_eq!(settings.health_stable, Duration::ZERO);
    assert_eq!(settings.images_keep, 3);
    assert_eq!(settings.listen_address, None);
    assert_eq!(settings.log_format, LogFormat::Json);
    assert_eq!(settings.log_level, LogLevel::Debug);
    assert!(settings.notes[0].contains("cannot be flushed"), "{:?}", settings.notes);
}

#[test]
fn every_key_is_read_from_its_variable_and_from_its_flag() {
    let other = |name: &str| match name {
        "state_dir" => "/elsewhere",
        "docker_host" => "unix:///elsewhere.sock",
        "opt_in" => "false",
        "trust_image_labels" | "compat.watchtower" | "compat.lifecycle_hooks" => "true",
        "compat.scope" => "shop",
        "time_zone" => "UTC",
        "schedule.every" => "1h",
        "schedule.cron" => "@daily",
        "schedule.jitter" => "0%",
        "pull.window" | "update.window" => "02:00-03:00",
        "health.timeout" | "health.stable" => "5s",
        "images.keep" | "pull.parallel" | "update.parallel" => "2",
        "listen.address" | "webhook.address" => "0.0.0.0:1",
        "listen.hosts" => "pi.example.com, pi.lan",
        "webhook.token_file" => "/elsewhere/token",
        "webhook.cert_file" | "webhook.key_file" => "/elsewhere/tls.pem",
        "device.name" => "till-2",
        "mqtt.url" => "mqtts://broker",
        "mqtt.plain" | "mqtt.commands" => "true",
        "mqtt.ca_file" | "mqtt.cert_file" | "mqtt.key_file" => "/elsewhere/mqtt.pem",
        "mqtt.username" => "robot",
        "mqtt.password_file" => "/elsewhere/password",
        "mqtt.fleet" => "shop",
        "mqtt.keep_alive" => "60s",
        "mqtt.home_assistant" => "homeassistant",
        "fleet.size" => "20",
        "fleet.index" => "7",
        "fleet.waves" => "day",
        "fleet.patience" => "never",
        "push.address" => "0.0.0.0:2",
        "push.cert_file" | "push.key_file" | "push.client_ca_file" => "/elsewhere/push.pem",
        "push.crl_file" => "/elsewhere/crl.pem",
        "push.size_max" => "500MB",
        "push.prefix" => "ed_",
        "log.format" => "text",
        "log.level" => "trace",
        unknown => panic!("no other value for {unknown}"),
    };
    for key in KEYS {
        // Some keys need another key too.
        let fixture = || {
            let file = "[webhook]\ntoken_file = \"/token\"\ncert_file = \"/c\"\nkey_file = \"/k\"\n\
                        [mqtt]\nurl = \"mqtts://b\"\ncert_file = \"/c\"\nkey_file = \"/k\"\n\
                        username = \"u\"\npassword_file = \"/p\"\n[fleet]\nsize = 10\n\
                        [push]\ncert_file = \"/c\"\nkey_file = \"/k\"\nclient_ca_file = \"/a\"\n";
            Fixture::new().file(file)
        };
        let by_variable = fixture().variable(&key.variable(), other(key.name)).settings();
        let by_flag = fixture().flag(key.name, other(key.name)).settings();
        for (settings, origin) in
            [(by_variable, ValueOrigin::Variable(key.variable())), (by_flag, ValueOrigin::Flag)]
        {
            let row = settings.explain().iter().find(|row| row.key == key.name).expect("a row");
            assert_eq!((row.value.as_str(), &row.origin), (other(key.name), &origin));
        }
    }
}

#[test]
fn flags_override_variables_and_variables_override_the_file() {
    let file = "[images]\nkeep = 2\n[health]\ntimeout = \"1m\"\n[log]\nlevel = \"warn\"\n";
    let fixture = Fixture::new()
        .file(file)
        .variable("PILOTFISH_HEALTH_TIMEOUT", "2m")
        .variable("PILOTFISH_LOG_LEVEL", "debug")
        .flag("log.level", "trace");
    let settings = fixture.settings();
    assert_eq!(settings.images_keep, 2);
    assert_eq!(settings.health_timeout, Duration::from_secs(120));
    assert_eq!(settings.log_level, LogLevel::Trace);
}

#[test]
fn the_two_forms_of_a_schedule_replace_each_other_but_not_in_one_source() {
    let cron = "[schedule]\ncron = \"@daily\"\n";
    let schedule = |fixture: Fixture| fixture.settings().schedule.to_string();
    assert_eq!(schedule(Fixture::new().file(cron)), "@daily");
    let fixture = Fixture::new().file(cron).variable("PILOTFISH_SCHEDULE_EVERY", "5m");
    assert_eq!(schedule(fixture), "5m");
    let fixture =
        Fixture::new().variable("PILOTFISH_SCHEDULE_EVERY", "5m").flag("schedule.cron", "@hourly");
    assert_eq!(schedule(fixture), "@hourly");
    assert_eq!(
        file_error("[schedule]\nevery = \"5m\"\ncron = \"@daily\"\n"),
        "pilotfish.toml, line 3: `schedule.every` and `schedule.cron` exclude each other: keep one of them"
    );
}

#[test]
fn dockers_variables_count_as_environment() {
    let fixture = || Fixture::new().file("docker_host = \"unix:///file.sock\"\n");
    let host = |fixture: Fixture| fixture.settings().docker_host.to_string();
    assert_eq!(host(fixture()), "unix:///file.sock");
    assert_eq!(host(fixture().variable("DOCKER_HOST", "")), "unix:///file.sock");
    let fixture = fixture().variable("DOCKER_HOST", "unix:///docker.sock");
    let settings = fixture.settings();
    assert_eq!(settings.explain()[1].origin, ValueOrigin::Variable("DOCKER_HOST".into()));
    assert_eq!(
        host(fixture.variable("PILOTFISH_DOCKER_HOST", "unix:///own.sock")),
        "unix:///own.sock"
    );

    let fixture =
        Fixture::new().variable("DOCKER_TLS_VERIFY", "1").variable("DOCKER_CERT_PATH", "/certs");
    let settings = fixture.settings();
    let tls = settings.docker_tls.as_ref().expect("TLS");
    assert!(tls.verify);
    assert_eq!(tls.cert_path, Path::new("/certs"));
    let rows = values(&settings);
    assert!(rows.contains(&("DOCKER_TLS_VERIFY", "1")), "{rows:?}");
    assert!(rows.contains(&("DOCKER_CERT_PATH", "/certs")), "{rows:?}");
}

#[test]
fn ssh_is_refused_by_name() {
    assert_eq!(
        Fixture::new().variable("DOCKER_HOST", "ssh://pi").error(),
        "environment variable DOCKER_HOST: `docker_host` cannot be \"ssh://pi\": ssh:// is not supported: run the agent on that machine, or use tcp:// with TLS"
    );
}

#[test]
fn an_unknown_key_is_reported_with_its_line_and_a_suggestion() {
    for (text, expected) in [
        (
            "\nopt_on = true\n",
            "pilotfish.toml, line 2: there is no key `opt_on`; did you mean `opt_in`?",
        ),
        (
            "[schedule]\n\nevry = \"5m\"\n",
            "pilotfish.toml, line 3: there is no key `schedule.evry`; did you mean `schedule.every`?",
        ),
        (
            "[schedul]\nevery = \"5m\"\n",
            "pilotfish.toml, line 1: there is no key `schedul`; did you mean `schedule`?",
        ),
        (
            "schedule.interval = \"5m\"\n",
            "pilotfish.toml, line 1: there is no key `schedule.interval`; in [schedule] there are every, cron, jitter",
        ),
        (
            "jitter = \"5m\"\n",
            "pilotfish.toml, line 1: there is no key `jitter`; did you mean `schedule.jitter`?",
        ),
        (
            "[registries.\"a:1\"]\npassword = \"secret\"\n",
            "pilotfish.toml, line 2: there is no key `registries.\"a:1\".password`; did you mean `password_file`?",
        ),
        // The first wrong key is named first.
        (
            "zzz = 1\naaa = 1\n",
            "pilotfish.toml, line 1: there is no key `zzz`; there are state_dir, docker_host, opt_in, trust_image_labels, time_zone, schedule, pull, update, health, images, listen, webhook, device, mqtt, fleet, push, compat, log, deployment, mirror, registries",
        ),
    ] {
        assert_eq!(file_error(text), expected);
    }
    let error = Fixture::new().flag("log.levl", "info").error();
    assert_eq!(error, "command line: there is no key `log.levl`; did you mean `log.level`?");
}

#[test]
fn an_unknown_variable_is_reported_with_a_suggestion() {
    for (name, hint) in [
        ("PILOTFISH_SCHEDULE_EVRY", "; did you mean `PILOTFISH_SCHEDULE_EVERY`?"),
        ("PILOTFISH_DOCKER_TLS_VERIFY", "; did you mean `DOCKER_TLS_VERIFY`?"),
        (
            "PILOTFISH_REGISTRIES_GHCR_IO_CA_FILE",
            "; registries have no variables: write them in the configuration file",
        ),
        ("PILOTFISH_XYZ", ""),
    ] {
        let expected = format!(
            "environment variable {name} sets no key{hint}; unset it if it is not meant for Pilotfish"
        );
        assert_eq!(Fixture::new().variable(name, "x").error(), expected);
    }
    let _ = Fixture::new().variable("PILOTFISHY", "x").settings();
}

#[test]
fn a_wrong_type_is_reported_with_key_file_and_line() {
    for (text, expected) in [
        (
            "opt_in = \"true\"\n",
            "line 1: `opt_in` is a text: write true or false, without quotation marks",
        ),
        (
            "\n[schedule]\nevery = 15\n",
            "line 3: `schedule.every` is a whole number: write a text in quotation marks",
        ),
        (
            "[images]\nkeep = 1.5\n",
            "line 2: `images.keep` is a number: write a whole number, without quotation marks",
        ),
        ("health = 60\n", "line 1: `health` is a whole number: write a table"),
        ("[state_dir]\nx = 1\n", "line 1: `state_dir` is a table: write a text in quotation marks"),
        ("registries = []\n", "line 1: `registries` is a list: write a table"),
        (
            "[registries]\n\"a:1\" = true\n",
            "line 2: `registries.\"a:1\"` is true or false: write a table",
        ),
        (
            "[registries.\"a:1\"]\nmirrors = \"m\"\n",
            "line 2: `registries.\"a:1\".mirrors` is a text: write a list of texts, like [\"https://mirror:443\"]",
        ),
        (
            "[registries.\"a:1\"]\nplain_http = 1\n",
            "line 2: `registries.\"a:1\".plain_http` is a whole number: write true or false, without quotation marks",
        ),
    ] {
        assert_eq!(file_error(text), format!("pilotfish.toml, {expected}"));
    }
}

#[test]
fn a_wrong_value_is_reported_with_key_file_line_and_advice() {
    for (text, expected) in [
        ("state_dir = \"\"\n", "line 1: `state_dir` cannot be \"\": name a directory"),
        (
            "time_zone = \"Europe/Berln\"\n",
            "line 1: `time_zone` cannot be \"Europe/Berln\": `Europe/Berln` is not a time zone; did you mean `Europe/Berlin`?",
        ),
        (
            "[schedule]\nevery = \"5 minuts\"\n",
            "line 2: `schedule.every` cannot be \"5 minuts\": `minuts` is not a unit of time: use s, m, h, d or w",
        ),
        (
            "[schedule]\nevery = \"500ms\"\n",
            "line 2: `schedule.every` cannot be \"500ms\": `500ms` is too short: the shortest interval is 1s",
        ),
        (
            "[schedule]\nevery = \"@daily\"\n",
            "line 2: `schedule.every` cannot be \"@daily\": this is cron: write it as schedule.cron",
        ),
        (
            "[schedule]\ncron = \"5m\"\n",
            "line 2: `schedule.cron` cannot be \"5m\": this is an interval: write it as schedule.every",
        ),
        (
            "[schedule]\njitter = \"200%\"\n",
            "line 2: `schedule.jitter` cannot be \"200%\": `200%` is not a share of the interval: write `0%` to `100%`, without decimals",
        ),
        (
            "[pull]\nwindow = \"1-5\"\n",
            "line 2: `pull.window` cannot be \"1-5\": `1-5` is not a window: write `01:00-05:00` or `Mon-Fri 09:00-17:00`",
        ),
        (
            "[health]\ntimeout = \"2d\"\n",
            "line 2: `health.timeout` cannot be \"2d\": `2d` is too long: use 1d or less",
        ),
        (
            "[images]\nkeep = -1\n",
            "line 2: `images.keep` cannot be \"-1\": `-1` is not a number from 0 to 100",
        ),
        (
            "[update]\nparallel = 0\n",
            "line 2: `update.parallel` cannot be \"0\": write a whole number from 1 to 64",
        ),
        (
            "[listen]\naddress = \":9000\"\n",
            "line 2: `listen.address` cannot be \":9000\": write `127.0.0.1:9000` for this machine alone, `0.0.0.0:9000` for every address, or nothing (\"\") to switch it off",
        ),
        (
            "[webhook]\naddress = \"0.0.0.0:9789\"\ntoken_file = \"\"\n",
            "line 3: `webhook.token_file` cannot be \"\": webhook.address needs a token file too, or a [[webhook.sender]]",
        ),
        (
            "[log]\nlevel = \"inof\"\n",
            "line 2: `log.level` cannot be \"inof\": it is one of error, warn, info, debug, trace; did you mean `info`?",
        ),
    ] {
        assert_eq!(file_error(text), format!("pilotfish.toml, {expected}"));
    }
    assert_eq!(
        Fixture::new().variable("PILOTFISH_OPT_IN", "1").error(),
        "environment variable PILOTFISH_OPT_IN: `opt_in` cannot be \"1\": it is one of true, false"
    );
    assert_eq!(
        Fixture::new().flag("images.keep", "many").error(),
        "command line: `images.keep` cannot be \"many\": `many` is not a number from 0 to 100"
    );
}

#[test]
fn invalid_toml_is_reported_with_its_line() {
    let error = file_error("opt_in = true\nstate_dir = \"/x\n");
    assert!(error.starts_with("pilotfish.toml, line 2: this is not TOML: "), "{error}");
    let error = file_error("opt_in = true\nopt_in = false\n");
    assert!(
        error.starts_with(
            "pilotfish.toml, line 2: this is not TOML: duplicate key: a key or a table may stand only \
             once."
        ),
        "{error}"
    );
    let error = file_error("[registries.registry:443]\nplain_http = true\n");
    assert!(error.starts_with("pilotfish.toml, line 1: this is not TOML: "), "{error}");
    let hint = "; a registry stands in quotation marks, like [registries.\"registry:443\"]";
    assert!(error.ends_with(hint), "{error}");
}

#[test]
fn registries_are_read_by_host() {
    let fixture = Fixture::new().file(
        r#"
        [registries."registry:443"]
        ca_file = "/etc/pilotfish/ca.crt"
        plain_http = true
        mirrors = ["https://mirror:443", "other:5000"]
        username = "fish"
        password_file = "/run/secrets/registry"
        [registries."index.docker.io"]
        [registries."[::1]:5000"]
        plain_http = true
        "#,
    );
    let settings = fixture.settings();
    let hosts: Vec<_> = settings.registries.keys().map(String::as_str).collect();
    // Docker Hub has the name that image references use for it.
    assert_eq!(hosts, ["[::1]:5000", "docker.io", "registry:443"]);
    let registry = &settings.registries["registry:443"];
    assert_eq!(registry.ca_file.as_deref(), Some(Path::new("/etc/pilotfish/ca.crt")));
    assert!(registry.plain_http);
    assert_eq!(registry.mirrors, ["https://mirror:443", "other:5000"]);
    assert_eq!(registry.username.as_deref(), Some("fish"));
    assert_eq!(registry.password_file.as_deref(), Some(Path::new("/run/secrets/registry")));
    let key = "registries.\"registry:443\".password_file";
    let row = settings.explain().iter().find(|row| row.key == key).expect("a row");
    assert_eq!(row.value, "/run/secrets/registry");
    assert_eq!(row.origin, ValueOrigin::File { path: fixture.path(), line: 7 });
}

#[test]
fn a_wrong_registry_is_named() {
    let quotes = "a registry stands in quotation marks, like [registries.\"registry:443\"]";
    for (text, expected) in [
        ("[registries.\"https://a\"]\n", format!("`registries.\"https://a\"` cannot be \"https://a\": write HOST or HOST:PORT without https://; {quotes}")),
        ("[registries.ghcr.io]\nplain_http = true\n", format!("`registries.\"ghcr\"` cannot be \"ghcr\": write HOST or HOST:PORT without https://; {quotes}")),
        ("[registries.localhost.x]\n", format!("there is no key `registries.\"localhost\".x`; {quotes}")),
        ("[registries.\"a:1\"]\nusername = \"x\"\n", "`registries.\"a:1\"` cannot be \"a:1\": username needs a password_file too".to_owned()),
        ("[registries.\"a:1\"]\npassword_file = \"x\"\n", "`registries.\"a:1\"` cannot be \"a:1\": password_file needs a username too".to_owned()),
        ("[registries.\"a:1\"]\nca_file = \"\"\n", "`registries.\"a:1\".ca_file` cannot be \"\": it must not be empty".to_owned()),
        ("[registries.\"a:1\"]\nmirrors = [\"https://u:secret@m\"]\n", "`registries.\"a:1\".mirrors` cannot be this value (not shown: it may hold a password): write https://HOST:PORT or HOST:PORT, without a user or a password".to_owned()),
    ] {
        let error = file_error(text);
        let error = error.split_once(": ").map(|(_, rest)| rest.to_owned());
        assert_eq!(error, Some(expected), "{text}");
    }
    for host in ["", "ghcr", "library", "a/b", "a.b/library", "x/y.docker.io", "a b", "a:x"] {
        let error = file_error(&format!("[registries.\"{host}\"]\n"));
        assert!(error.contains("write HOST or HOST:PORT"), "{host}: {error}");
    }
}

#[test]
fn a_given_file_must_exist_and_be_readable() {
    let mut fixture = Fixture::new();
    let path = fixture.path();
    assert_eq!(fixture.settings().images_keep, 1);
    fixture.sources.file = ConfigFile::Required(path.clone());
    assert_eq!(fixture.error(), "there is no configuration file pilotfish.toml: check the path");
    // A directory cannot be read as a file, not even by root.
    std::fs::create_dir(&path).expect("a directory");
    for file in [ConfigFile::Required(path.clone()), ConfigFile::Optional(path.clone())] {
        fixture.sources.file = file;
        let error = load(&fixture.sources).expect_err("a directory is no file");
        assert!(matches!(error, ConfigError::Unreadable { .. }), "{error}");
        assert!(error.to_string().contains("must be a text file that the user"), "{error}");
    }
}

#[test]
fn a_file_that_is_too_large_is_not_read_to_its_end() {
    let mut text = String::new();
    while text.len() <= 1024 * 1024 {
        writeln!(text, "# {}", "x".repeat(1000)).expect("a string takes everything");
    }
    let error = file_error(&text);
    assert!(error.contains("is larger than 1048576 bytes"), "{error}");
    let fixture = Fixture::new();
    std::fs::write(fixture.path(), [0xff, 0xfe, 0x00]).expect("the file is written");
    assert!(fixture.error().contains("must be a text file"), "{}", fixture.error());
}

#[test]
fn a_zone_without_a_name_is_utc_with_a_note_at_the_start() {
    let mut fixture = Fixture::new();
    fixture.sources.environment.local_zone = None;
    let settings = fixture.settings();
    assert_eq!(settings.time_zone, Zone::utc());
    assert!(settings.notes[0].contains("times of day are UTC"), "{:?}", settings.notes);
    let fixture = fixture.variable("TZ", "Europe/Vienna");
    assert_eq!(fixture.settings().time_zone, zone("Europe/Vienna"));
    assert_eq!(fixture.settings().notes, Vec::<String>::new());
}

#[test]
fn every_value_has_its_source() {
    let fixture = Fixture::new()
        .file("\n[health]\nstable = \"10s\"\n")
        .variable("PILOTFISH_LOG_LEVEL", "debug")
        .flag("state_dir", "/tmp/state");
    let settings = fixture.settings();
    let mut table = String::new();
    for row in settings.explain() {
        writeln!(table, "{} = {} ({})", row.key, row.value, row.origin).expect("a string");
    }
    let table = table.replace(&format!("{}/", fixture.directory.path().display()), "");
    let expected = "\
state_dir = /tmp/state (command line)
docker_host = unix:///var/run/docker.sock (default)
opt_in = true (default)
trust_image_labels = false (default)
time_zone = local (default)
schedule.every = 15m (default)
schedule.jitter = 10% (default)
pull.parallel = 2 (default)
pull.window =  (default)
update.parallel = 16 (default)
update.window =  (default)
health.timeout = 60s (default)
health.stable = 10s (pilotfish.toml, line 3)
images.keep = 1 (default)
listen.address = 127.0.0.1:9788 (default)
listen.hosts =  (default)
webhook.address =  (default)
webhook.token_file =  (default)
webhook.cert_file =  (default)
webhook.key_file =  (default)
device.name =  (default)
mqtt.url =  (default)
mqtt.plain = false (default)
mqtt.ca_file =  (default)
mqtt.cert_file =  (default)
mqtt.key_file =  (default)
mqtt.username =  (default)
mqtt.password_file =  (default)
mqtt.fleet = home (default)
mqtt.keep_alive = 120s (default)
mqtt.commands = false (default)
mqtt.home_assistant =  (default)
fleet.size = 0 (default)
fleet.index =  (default)
fleet.waves =  (default)
fleet.patience = 24h (default)
push.address =  (default)
push.cert_file =  (default)
push.key_file =  (default)
push.client_ca_file =  (default)
push.crl_file =  (default)
push.size_max = 2GB (default)
push.prefix =  (default)
compat.watchtower = false (default)
compat.scope =  (default)
compat.lifecycle_hooks = false (default)
log.format = auto (default)
log.level = debug (environment variable PILOTFISH_LOG_LEVEL)
";
    assert_eq!(table, expected);
}

#[test]
fn the_real_environment_can_be_read() {
    let environment = Environment::of_process();
    assert_eq!(environment.variables.get("PATH").cloned(), std::env::var("PATH").ok());
}

const SENDER: &str = "[[webhook.sender]]\nname = \"ci\"\nsecret_file = \"/ci\"\n";

#[test]
fn senders_of_webhooks_are_read_with_their_kind_and_references() {
    let text = format!(
        "[webhook]\naddress = \"127.0.0.1:9789\"\ntoken_file = \"/token\"\n{SENDER}kind = \"circleci\"\n\
         build = \"till\"\nreferences = [\"ghcr.io/shop/*\"]\n"
    );
    let settings = Fixture::new().file(&text).settings();
    let webhook = settings.webhook.as_ref().expect("a listener");
    let names: Vec<_> = webhook.senders.iter().map(|it| (it.name.as_str(), it.kind)).collect();
    assert_eq!(names, [("token", SenderKind::Auto), ("ci", SenderKind::CircleCi)]);
    assert_eq!(webhook.senders[1].build.as_deref(), Some("till"));
    assert_eq!(webhook.tls, None);
    let rows = values(&settings);
    assert!(rows.contains(&("webhook.sender.\"ci\".references", "ghcr.io/shop/*")), "{rows:?}");
    let without_token = format!("webhook.address = \"127.0.0.1:9789\"\n{SENDER}");
    let settings = Fixture::new().file(&without_token).settings();
    assert_eq!(settings.webhook.map(|webhook| webhook.senders.len()), Some(1));
}

#[test]
fn wrong_senders_of_webhooks_are_named_with_what_would_be_right() {
    for (text, expected) in [
        (
            "[webhook]\nsender = 7\n",
            "line 2: `webhook.sender` is a whole number: write tables that begin with [[webhook.sender]]",
        ),
        (
            "[[webhook.sender]]\nkind = \"auto\"\n",
            "line 1: `webhook.sender.name` cannot be \"\": each sender needs a name of letters, digits, `-` and `_`, at most 64 of them",
        ),
        (
            "[[webhook.sender]]\nname = \"a b\"\n",
            "line 2: `webhook.sender.name` cannot be \"a b\": each sender needs a name of letters, digits, `-` and `_`, at most 64 of them",
        ),
        (
            "[[webhook.sender]]\nname = \"ci\"\n",
            "line 1: `webhook.sender.\"ci\".secret_file` cannot be \"\": each sender needs a file with its secret",
        ),
        (
            &format!("{SENDER}{SENDER}"),
            "line 5: `webhook.sender.\"ci\".name` cannot be \"ci\": another sender has this name",
        ),
        (
            &format!("{SENDER}kind = \"githup\"\n"),
            "line 4: `webhook.sender.\"ci\".kind` cannot be \"githup\": it is one of auto, cncf, dockerhub, github, gitlab, gitea, harbor, quay, acr, artifactory, circleci, bitbucket, plain; did you mean `github`?",
        ),
        (
            &format!("{SENDER}secret = \"x\"\n"),
            "line 4: there is no key `webhook.sender.\"ci\".secret`",
        ),
    ] {
        let error = file_error(text);
        assert!(error.starts_with(&format!("pilotfish.toml, {expected}")), "{error}");
    }
}

#[test]
fn wrong_references_builds_and_files_of_webhooks_are_named() {
    let too_many: String =
        (0..17).map(|n| SENDER.replace("\"ci\"", &format!("\"a{n}\""))).collect();
    for (text, expected) in [
        (
            &*format!("{SENDER}references = [\"*/till\"]\n"),
            "line 4: `webhook.sender.\"ci\".references` cannot be \"*/till\": write \"registry/repository\", \"registry/repository:tag\", or either with a `*` at its end, such as \"ghcr.io/shop/*\"; `*` alone is every reference",
        ),
        (
            &format!("{SENDER}references = []\n"),
            "line 4: `webhook.sender.\"ci\".references` cannot be \"[]\": leave the key out to allow all of them",
        ),
        (
            &format!("{SENDER}references = \"*\"\n"),
            "line 4: `webhook.sender.\"ci\".references` is a text: write a list of texts, like [\"ghcr.io/shop/*\"]",
        ),
        (
            &format!("{SENDER}kind = \"quay\"\nbuild = \"till\"\n"),
            "line 5: `webhook.sender.\"ci\".build` cannot be \"till\": only circleci, bitbucket, gitlab and auto report builds",
        ),
        (
            &format!("{SENDER}build = \"shop/+\"\n"),
            "line 4: `webhook.sender.\"ci\".build` cannot be \"shop/+\": use letters, digits, `-`, `_` and `.`, at most 64 of them",
        ),
        (
            &*too_many,
            "line 50: `webhook.sender.\"a16\".name` cannot be \"a16\": there are at most 16 senders",
        ),
        (
            "[webhook]\ncert_file = \"/c\"\nkey_file = \"\"\n",
            "line 3: `webhook.key_file` cannot be \"\": webhook.cert_file needs webhook.key_file too",
        ),
        (
            "[webhook]\nkey_file = \"/k\"\ncert_file = \"\"\n",
            "line 3: `webhook.cert_file` cannot be \"\": webhook.key_file needs webhook.cert_file too",
        ),
    ] {
        let error = file_error(text);
        assert!(error.starts_with(&format!("pilotfish.toml, {expected}")), "{error}");
    }
    let text = SENDER.replace("\"ci\"", "\"token\"");
    let text = format!("webhook.address = \"127.0.0.1:1\"\nwebhook.token_file = \"/t\"\n{text}");
    assert!(file_error(&text).contains("its sender has the name `token`"));
}

#[test]
fn what_is_wrong_with_a_fleet_is_said_with_its_key() {
    let broker = "[device]\nname = \"till-3\"\n[mqtt]\nurl = \"mqtts://broker\"\n";
    for (text, expected) in [
        ("[fleet]\nwaves = \"day\"\n".to_owned(), "fleet.waves needs a broker: set mqtt.url"),
        ("[mqtt]\nurl = \"mqtt://broker\"\n".to_owned(), "use mqtts://, or set `plain = true`"),
        ("[mqtt]\nurl = \"mqtts://a:b@broker\"\n".to_owned(), "logins and paths do not belong"),
        (format!("{broker}cert_file = \"/c\"\n"), "mqtt.cert_file needs mqtt.key_file too"),
        (format!("{broker}password_file = \"/c\"\n"), "needs mqtt.username too"),
        (format!("{broker}keep_alive = \"1s\"\n"), "it is between 10s and 1h"),
        (format!("{broker}fleet = \"a/b\"\n"), "`a/b` has the character `/`"),
        (format!("{broker}home_assistant = \"#\"\n"), "`#` has the character `#`"),
        (format!("{broker}[fleet]\nwaves = \"soon\"\n"), "`soon` is no wave"),
        (format!("{broker}[fleet]\npatience = \"long\"\n"), "or write `never`"),
        (format!("{broker}[fleet]\nindex = \"x\"\n"), "a number from 0 to fleet.size - 1"),
        ("[device]\nname = \"a b\"\n".to_owned(), "`a b` has the character ` `"),
    ] {
        let error = file_error(&text);
        assert!(error.contains(expected), "{text}: {error}");
        assert!(!error.contains("a:b"), "{error}");
    }
}

const RULE: &str = "[[mirror]]\nfrom = \"table/till\"\nto = \"registry:443/table/till\"\n";

#[test]
fn rules_of_the_mirror_are_read_with_their_defaults() {
    let text = format!(
        "{RULE}{}name = \"web\"\ntags = \"^v\"\nimmutable = [\"v1\"]\nplatforms = [\"linux/arm/v7\"]\n\
         signatures = \"required\"\nkeep = 3\nschedule = \"@daily\"\non_push = false\nrate = \"2MB/s\"\n",
        RULE.replace("till", "web")
    );
    let settings = Fixture::new().file(&text).settings();
    let [till, web] = &settings.mirror[..] else { panic!("two rules") };
    assert_eq!(till.rule.name, "registry:443/table/till");
    assert_eq!(till.rule.from.to_string(), "docker.io/table/till");
    assert!(till.rule.tags.contains("latest") && !till.rule.tags.contains("v1"));
    assert_eq!((till.rule.signatures, till.rule.keep), (SignatureMode::Copy, 0));
    assert_eq!(
        (till.schedule.as_ref().map(ToString::to_string), till.on_push),
        (Some("15m".into()), true)
    );
    assert!(web.rule.tags.contains("v2") && !web.rule.tags.contains("latest"));
    assert!(web.rule.is_immutable("v1") && !web.rule.is_immutable("v2"));
    assert_eq!((web.rule.signatures, web.rule.keep), (SignatureMode::Require, 3));
    assert_eq!((web.rule.rate, web.on_push), (Some(2_000_000), false));
    let rows = values(&settings);
    assert!(rows.contains(&("mirror.\"web\".schedule", "@daily")), "{rows:?}");
    assert!(rows.contains(&("mirror.\"registry:443/table/till\".to", "registry:443/table/till")));
}

#[test]
fn wrong_rules_of_the_mirror_are_named_with_what_would_be_right() {
    let named = "`mirror.\"registry:443/table/till\"";
    for (text, expected) in [
        (
            "mirror = 7\n".to_owned(),
            "line 1: `mirror` is a whole number: write tables that begin with [[mirror]]".to_owned(),
        ),
        (
            "[[mirror]]\nfrom = \"a/b\"\n".to_owned(),
            "line 1: `mirror.to` cannot be \"\": each rule needs `from` and `to`, like \"docker.io/table/till\"".to_owned(),
        ),
        (
            RULE.replace("table/till\"\nto", "table/till:v1\"\nto"),
            format!("line 2: {named}.from` cannot be \"table/till:v1\": write the repository without a tag or a digest: the tags are in `tags`"),
        ),
        (
            RULE.replace("\"table/till\"", "\"registry:443/table/till\""),
            format!("line 3: {named}.to` cannot be \"registry:443/table/till\": a repository cannot be copied to itself"),
        ),
        (
            RULE.replace("registry:443", "registry"),
            "line 3: `mirror.to` cannot be \"registry/table/till\": name the registry, such as \"registry:443/table/till\"; Docker Hub is \"docker.io/table/till\"".to_owned(),
        ),
        (
            format!("{RULE}{RULE}"),
            format!("line 4: {named}.name` cannot be \"registry:443/table/till\": another rule has this name: give this one a `name` of its own"),
        ),
        (
            format!("{RULE}tags = [\"^v\"]\n"),
            format!("line 4: {named}.tags` cannot be \"^v\": a tag has letters, digits, `_`, `.` and `-`; an expression is not in a list"),
        ),
        (
            format!("{RULE}tags = \"v(1|2)\"\n"),
            format!("line 4: {named}.tags` cannot be \"v(1|2)\": `(` has no meaning here: there are no groups and no counts"),
        ),
        (
            format!("{RULE}schedule = \"\"\non_push = false\n"),
            format!("line 4: {named}.schedule` cannot be \"\": a rule without a schedule and without on_push would never run"),
        ),
        (
            format!("{RULE}signatures = \"yes\"\n"),
            format!("line 4: {named}.signatures` cannot be \"yes\": it is true, false or \"required\""),
        ),
        (
            format!("{RULE}keep = -1\n"),
            format!("line 4: {named}.keep` cannot be \"-1\": write a whole number from 0"),
        ),
        (
            format!("{RULE}rate = \"1kB/s\"\n"),
            format!("line 4: {named}.rate` cannot be \"1kB/s\": the slowest rate is 10 kB/s"),
        ),
        (
            format!("{RULE}platform = [\"linux/arm64\"]\n"),
            format!("line 4: there is no key {named}.platform`; did you mean `platforms`?"),
        ),
    ] {
        let error = file_error(&text);
        assert!(error.starts_with(&format!("pilotfish.toml, {expected}")), "{error}\n{expected}");
    }
    let many: String = (0..33).map(|n| RULE.replace("/till", &format!("/t{n}"))).collect();
    let error = file_error(&many);
    assert!(error.ends_with("there are at most 32 rules"), "{error}");
}

const PUSH: &str = "[push]\naddress = \"fd:3\"\ncert_file = \"/c\"\nkey_file = \"/k\"\n\
                    client_ca_file = \"/a\"\nprefix = \"ed_\"\n";

const DEPLOYMENT: &str = "[[deployment]]\nname = \"till\"\n";

const ALLOW: &str =
    "[[push.allow]]\nclient = \"serial:0A:00\"\ndeployments = [\"till\"]\nacts = [\"load\"]\n";

#[test]
fn the_push_api_is_read_with_its_clients_and_deployments() {
    let text = format!(
        "{PUSH}{DEPLOYMENT}[[deployment]]\nname = \"web\"\ncontainer = \"website\"\n\
         args = [\"-p\", \"80:8000\", \"-e\", \"KEY=secret\"]\n\
         [[deployment]]\nname = \"db\"\ncreate = \"/etc/db.json\"\n\
         {ALLOW}[[push.allow]]\nclient = \"uri:x://y\"\ndeployments = [\"*\"]\nacts = [\"*\"]\n"
    );
    let settings = Fixture::new().file(&text).settings();
    let push = settings.push.as_ref().expect("a push API");
    assert_eq!(push.address, PushAddress::Passed(3));
    assert_eq!(push.size_max, 2_000_000_000);
    assert_eq!(push.permissions.0.len(), 2);
    assert!(push.permissions.use_serials());
    let names: Vec<_> =
        settings.deployments.iter().map(|it| (it.name.as_str(), it.container.as_str())).collect();
    assert_eq!(names, [("till", "ed_till"), ("web", "website"), ("db", "ed_db")]);
    assert!(
        matches!(&settings.deployments[2].source, DeploymentSource::File(file) if file.ends_with("db.json"))
    );
    let rows = values(&settings);
    assert!(rows.contains(&("deployment.\"web\".args", "4 arguments")), "{rows:?}");
    assert!(rows.contains(&("push.allow.\"serial:0A:00\".acts", "load")), "{rows:?}");
    assert!(!format!("{rows:?}").contains("secret"));
    // Without an address there is no server, but the deployments are there.
    let settings = Fixture::new().file(DEPLOYMENT).settings();
    assert!(settings.push.is_none() && settings.deployments.len() == 1);
}

#[test]
fn what_is_wrong_with_the_push_api_is_said_with_its_key() {
    for (text, expected) in [
        (
            "push.address = \"0.0.0.0:9790\"\n".to_owned(),
            "`push.cert_file` cannot be \"\": push.address needs push.cert_file, push.key_file and push.client_ca_file",
        ),
        ("push.address = \"fd:0\"\n".to_owned(), "the first socket of systemd is \"fd:3\""),
        ("push.address = \"9790\"\n".to_owned(), "write `127.0.0.1:9790` for this machine alone"),
        ("push.size_max = \"2\"\n".to_owned(), "write it like \"2GB\" or \"500MB\""),
        ("push.size_max = \"1kB\"\n".to_owned(), "the smallest limit is 1MB"),
        ("push.prefix = \"/\"\n".to_owned(), "`push.prefix` cannot be \"/\""),
        ("push.alow = 1\n".to_owned(), "did you mean `push.allow`?"),
        (
            "[[deployment]]\nname = \"a b\"\n".to_owned(),
            "line 2: `deployment.name` cannot be \"a b\"",
        ),
        (
            "[[deployment]]\nname = \"deployments\"\n".to_owned(),
            "the API has this word in its paths",
        ),
        (format!("{DEPLOYMENT}{DEPLOYMENT}"), "another deployment has this name"),
        (
            format!("{DEPLOYMENT}create = \"a\"\nargs = []\n"),
            "line 3: `deployment.\"till\".create` cannot be \"a\": `create` and `args` exclude each other: keep one",
        ),
        (format!("{DEPLOYMENT}args = \"-p 80:80\"\n"), "`deployment.\"till\".args` is a text"),
        (format!("{DEPLOYMENT}image = \"a\"\n"), "there is no key `deployment.\"till\".image`"),
        (
            format!("{DEPLOYMENT}[[deployment]]\nname = \"web\"\ncontainer = \"till\"\n"),
            "the deployments till and web would have the same container, till",
        ),
        (ALLOW.to_owned(), "cannot be \"till\": there is no [[deployment]] with this name"),
        (ALLOW.replace("serial:0A:00", "CN=till"), "write \"uri:…\" or \"dns:…\""),
        (
            ALLOW.replace("\"load\"", "\"laod\""),
            "`push.allow.\"serial:0A:00\".acts` cannot be \"laod\"",
        ),
        (ALLOW.replace("[\"till\"]", "[]"), "each rule needs `deployments`"),
        (
            "[[push.allow]]\nclient = \"dns:a\"\ndeployments = [\"*\"]\n".to_owned(),
            "each rule needs `acts`",
        ),
    ] {
        let error = file_error(&text);
        assert!(error.contains(expected), "{text}\n{error}");
    }
}
