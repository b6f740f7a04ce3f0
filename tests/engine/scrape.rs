//! The real Prometheus scrapes the agent, and the test queries it.

use std::fs;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::Pi;
use crate::support::agent::{METRICS_PORT, scrape};
use crate::support::command::{run, wait_for, wait_until};
use crate::support::http::Peer;
use crate::support::images::Release;

/// The port of the Prometheus of a test, in the network of its Pi.
const PROMETHEUS_PORT: u16 = 9090;

/// Longer than Prometheus takes to start, and to scrape a change.
const SOON: Duration = Duration::from_secs(60);

/// A Prometheus that scrapes the agent of a Pi; stopped when dropped.
struct Prometheus {
    process: Child,
    peer: Peer,
}

impl Prometheus {
    fn start(pi: &Pi) -> Self {
        let directory = pi.engine.directory().join("prometheus");
        fs::create_dir_all(&directory).expect("a directory");
        // JSON is YAML.
        let settings = json!({
            "global": { "scrape_interval": "200ms", "scrape_timeout": "200ms" },
            "scrape_configs": [{
                "job_name": "pilotfish",
                "static_configs": [{ "targets": [format!("127.0.0.1:{METRICS_PORT}")] }],
            }],
        });
        let file = directory.join("prometheus.yml");
        fs::write(&file, settings.to_string()).expect("the settings");
        let mut command = pi.engine.command("prometheus");
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", directory.join("data").display()));
        command.arg(format!("--web.listen-address=0.0.0.0:{PROMETHEUS_PORT}"));
        let log = fs::File::create(directory.join("log")).expect("a log");
        let process = command.stdout(Stdio::null()).stderr(log).spawn().expect("prometheus");
        Self { process, peer: Peer::Tcp(pi.engine.address_of(PROMETHEUS_PORT)) }
    }

    /// The samples of an expression: their labels, and their value as text.
    fn ask(&self, expression: &str) -> Vec<(Value, String)> {
        let expression: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let Ok(answer) = self.peer.get(&format!("/api/v1/query?query={expression}")) else {
            return Vec::new();
        };
        if answer.status != 200 {
            return Vec::new();
        }
        let document = answer.json();
        let samples = document["data"]["result"].as_array().cloned().unwrap_or_default();
        let value = |sample: &Value| sample["value"][1].as_str().unwrap_or_default().to_owned();
        samples.iter().map(|sample| (sample["metric"].clone(), value(sample))).collect()
    }

    /// The only sample of an expression, once there is one.
    fn wait_for(&self, expression: &str) -> (Value, String) {
        wait_for(&format!("Prometheus knows {expression}"), SOON, || self.ask(expression).pop())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// `promtool check metrics`; a complaint fails the test.
fn promtool_accepts(page: &str) {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = command.stdout(Stdio::piped()).spawn().expect("promtool");
    promtool.stdin.take().expect("its input").write_all(page.as_bytes()).expect("the page");
    let output = promtool.wait_with_output().expect("promtool ends");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && stderr.is_empty(), "promtool: {stderr}\n{page}");
}

/// Panels without data if nothing is refused, or no registry has a quota.
const MAY_BE_EMPTY: [&str; 2] = ["Refused digests", "Quota left"];

/// Grafana fills in the selection of its user; here everything is selected.
fn every_panel_of_the_dashboard_shows_something(prometheus: &Prometheus) {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/grafana-dashboard.json");
    let dashboard = fs::read_to_string(file).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&dashboard).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    assert!(panels.len() > 10);
    for panel in panels {
        let title = panel["title"].as_str().expect("a title");
        for target in panel["targets"].as_array().expect("targets") {
            let expression = target["expr"].as_str().expect("an expression");
            let expression = expression.replace("$instance", ".*");
            let expression = expression.replace("$__rate_interval", "1m");
            if MAY_BE_EMPTY.contains(&title) {
                prometheus.wait_for(&format!("absent({expression})"));
            } else {
                prometheus.wait_for(&expression);
            }
        }
    }
}

#[test]
fn the_alerts_fire_when_they_should_and_only_then() {
    for words in
        [["check", "rules", "deploy/alerts.yml"], ["test", "rules", "deploy/alerts.test.yml"]]
    {
        let mut promtool = Command::new("promtool");
        run(promtool.args(words).current_dir(env!("CARGO_MANIFEST_DIR")));
    }
}

#[test]
fn prometheus_scrapes_the_state_and_the_updates_of_the_agent() {
    let pi = Pi::with(&[], "every = \"1s\"\njitter = \"0%\"");
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start_watched("till", &one.reference, 8080, &[]);
    pi.start_watched("kiosk", &one.reference, 8081, &["--label=pilotfish.mode=notify"]);
    let agent = pi.agent.spawn(&pi.engine, &["run"]);
    let prometheus = Prometheus::start(&pi);
    let (labels, _) = prometheus.wait_for("pilotfish_container_info{container=\"till\"}");
    assert_eq!(labels["running_digest"], one.digest.as_str());
    assert_eq!((&labels["verdict"], &labels["reason"]), (&"up_to_date".into(), &Value::Null));

    let two = pi.registry.publish("till", &Release::new("2"));

    let updated = "pilotfish_updates_total{container=\"till\",outcome=\"updated\"} == 1";
    prometheus.wait_for(updated);
    let (labels, _) =
        prometheus.wait_for("pilotfish_container_info{container=\"kiosk\",reason=\"notify_only\"}");
    assert_eq!(labels["offered_digest"], two.digest.as_str());
    for expression in [
        "pilotfish_update_available{container=\"kiosk\"} == 1",
        "pilotfish_build_info == 1",
        "pilotfish_checks_total{outcome=\"ok\"} > 1",
        "pilotfish_check_duration_seconds_count > 1",
        "time() - pilotfish_last_success_timestamp_seconds < 60",
        "pilotfish_last_check_timestamp_seconds > 0",
        "pilotfish_service_gap_seconds_count == 1",
        "pilotfish_refused_digests{container=\"till\"} == 0",
        "pilotfish_registry_requests_total{registry=\"127.0.0.1:5000\",code=\"200\"} > 2",
        "pilotfish_pulled_bytes_total{registry=\"127.0.0.1:5000\"}",
        "pilotfish_update_in_flight == 0",
        "pilotfish_stuck == 0",
        "up == 1",
    ] {
        prometheus.wait_for(expression);
    }
    promtool_accepts(&scrape(&pi.engine, "/metrics"));
    every_panel_of_the_dashboard_shows_something(&prometheus);
    pi.engine.docker(&["rm", "--force", "kiosk"]);
    wait_until("the series of a container that is gone disappear", SOON, || {
        prometheus.ask("{container=\"kiosk\"}").is_empty()
    });
    assert!(!scrape(&pi.engine, "/metrics").contains("kiosk"));
    agent.terminate().expect_code(0);
}
