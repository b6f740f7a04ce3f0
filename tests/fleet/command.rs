//! `pilotfish fleet`: an operator sees a running agent and other devices, stops them, and lets them
//! go on.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use crate::member::{Member, Operator, SOON};
use crate::support::broker::Mosquitto;
use crate::support::command::{output, wait_for, wait_until};
use crate::support::images::Release;

/// The program with the certificate of a name.
fn fleet(broker: &Mosquitto, name: &str, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pilotfish"));
    let url = format!("mqtts://{}", broker.address());
    command.env_clear().env("USER", "ann").env("PILOTFISH_STATE_DIR", broker.path("no-agent"));
    // Not the configuration of this machine.
    let configuration = broker.path("pilotfish.toml");
    fs::write(&configuration, "").expect("a configuration");
    command.arg("--config").arg(configuration).args(["fleet", "--url", &url]);
    for (option, file) in
        [("--ca-file", "ca.crt"), ("--cert-file", "client.crt"), ("--key-file", "client.key")]
    {
        command.arg(option).arg(broker.file_of(name, file));
    }
    command.args(words);
    command
}

/// Runs it to its end: its exit code, its output, and its errors.
fn run(broker: &Mosquitto, name: &str, words: &[&str]) -> (Option<i32>, String, String) {
    let output = output(&mut fleet(broker, name, words));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[track_caller]
fn done(broker: &Mosquitto, words: &[&str]) -> String {
    let (code, out, err) = run(broker, "operator", words);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    out
}

fn document(broker: &Mosquitto) -> Value {
    serde_json::from_str(&done(broker, &["--json"])).expect("JSON")
}

/// The program on a terminal, which writes into a file. It ends with the test.
struct OnTerminal(Child, PathBuf);

impl OnTerminal {
    /// Starts it with the certificate of the administrator: that of the operator is for the other
    /// commands, because one certificate is one connection.
    fn start(broker: &Mosquitto, file: &str) -> Self {
        let command = fleet(broker, "administrator", &[]);
        let mut line = "stty cols 140 rows 30; exec env -i".to_owned();
        line.push_str(&format!(" PILOTFISH_STATE_DIR={:?}", broker.path("no-agent")));
        let words = [command.get_program()].into_iter().chain(command.get_args());
        words.for_each(|word| line.push_str(&format!(" {word:?}")));
        let screen = broker.path(file);
        let child = Command::new("script")
            .args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(File::create(&screen).expect("a file"))
            .spawn()
            .expect("script, of util-linux");
        Self(child, screen)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.1).unwrap_or_default()).into_owned()
    }

    #[track_caller]
    fn wait(&self, words: &str) {
        wait_until(words, SOON, || self.text().contains(words));
    }

    fn ended(&mut self) -> bool {
        self.0.try_wait().expect("its state").is_some()
    }

    /// Its exit code.
    #[track_caller]
    fn code(&mut self) -> Option<i32> {
        wait_for("the table ends", SOON, || self.0.try_wait().expect("its state")).code()
    }

    fn press_control_c(&mut self) {
        let keys = self.0.stdin.as_mut().expect("its keyboard");
        keys.write_all(b"\x03").and_then(|()| keys.flush()).expect("a key");
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn an_operator_sees_a_fleet_stops_it_and_lets_it_go_on() {
    let mut broker = None;
    let names = ["till-1", "till-2", "till-3", "operator", "administrator"];
    let mut member = Member::new("till-1", &mut broker, &names, "commands = true");
    member.start();
    let broker = broker.expect("a broker");
    {
        let other = Operator::with_filters(&broker, "till-2", &[]);
        other.retain("device/till-2/online", &json!({"v": 1, "state": "offline", "boot": 1}));
        let evil = json!({"v": 1, "image": "evil\u{1b}[2J", "verdict": "held", "reason": "\u{7}"});
        other.retain("device/till-2/container/evil", &evil);
    }
    member.pi.check("till");
    wait_until("the agent has told of its container", SOON, || {
        document(&broker)["devices"][0]["containers"][0]["container"] == "till"
    });

    let seen = document(&broker);
    let till = &seen["devices"][0];
    assert_eq!((&till["device"], &till["online"]), (&json!("till-1"), &json!(true)), "{seen:#}");
    assert_eq!(till["containers"][0]["running"], member.one.digest.as_str(), "{seen:#}");
    assert_eq!(seen["devices"][1]["online"], false, "{seen:#}");
    let page = done(&broker, &["--once"]);
    assert!(page.starts_with("fleet home: 2 devices, 1 online, 1 away\n"), "{page}");
    assert!(page.contains(r"evil\u{1b}[2J") && !page.contains('\u{1b}'), "{page}");

    // With the configuration of the agent it would be the agent's own certificate.
    let own = member.pi.agent.run(&member.pi.engine, &["fleet", "--once"]);
    assert!(own.err.contains("is the certificate of the agent that runs here"), "{own:?}");

    let stopped = done(&broker, &["stop", &member.one.reference, "--why", "market day"]);
    assert!(stopped.starts_with("The fleet home is stopped for "), "{stopped}");
    let two = member.pi.registry.publish("till", &Release::new("2"));
    wait_until("the agent holds the update", SOON, || {
        member.pi.agent.run(&member.pi.engine, &["check", "--fresh"]);
        member.pi.check("till")["reason"] == "fleet_stopped"
    });
    let detail = member.pi.check("till")["detail"].as_str().unwrap_or_default().to_owned();
    assert!(detail.starts_with("the fleet is stopped by ann@"), "{detail}");
    assert!(detail.ends_with(": market day"), "{detail}");
    let all = done(&broker, &["stop"]);
    assert!(all.contains("\nBefore: stopped by ann@"), "{all}");
    assert_eq!(document(&broker)["stop"]["references"], json!(["*"]));

    let mut live = OnTerminal::start(&broker, "screen");
    live.wait("held: fleet_stopped");
    let gone = done(&broker, &["go"]);
    assert!(gone.starts_with("The stop of the fleet home is lifted.\nBefore: "), "{gone}");
    {
        let operator = Operator::with_filters(&broker, "operator", &[]);
        operator.publish("command/till-1/update", &json!({"v": 1, "container": "till"}));
    }
    live.wait("updating: ");
    live.wait(&two.digest["sha256:".len()..][..12]);
    wait_until("the new release runs", SOON, || {
        document(&broker)["devices"][0]["containers"][0]["running"] == two.digest.as_str()
    });
    member.pi.assert_settled("till", &two, 1);
    assert!(done(&broker, &["go"]).starts_with("The fleet home was not stopped."));
    live.press_control_c();
    assert_eq!(live.code(), Some(0), "{}", live.text());
}

#[test]
fn two_programs_with_one_certificate_do_not_fight() {
    let broker = Mosquitto::start(crate::support::broker::BrokerKind::Shipped, &["administrator"]);
    let mut first = OnTerminal::start(&broker, "first");
    first.wait("fleet home: ");
    let mut second = OnTerminal::start(&broker, "second");
    let ended = wait_for("one of them ends", SOON, || {
        [&mut first, &mut second].into_iter().find_map(|it| it.ended().then(|| it.text()))
    });
    assert!(ended.contains("does another program use the same certificate?"), "{ended}");
}

#[test]
fn the_certificate_of_a_device_cannot_stop_a_fleet() {
    let broker =
        Mosquitto::start(crate::support::broker::BrokerKind::Shipped, &["till-1", "operator"]);
    let (code, out, err) = run(&broker, "till-1", &["stop"]);
    assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
    assert!(err.contains("does not let this client stop a fleet: not authorized (135)"), "{err}");
    assert!(err.contains("the certificate of the operator"), "{err}");
    assert_eq!(document(&broker)["stop"], Value::Null);
    // It may read only about itself.
    let (code, out, _) = run(&broker, "till-1", &["--once"]);
    assert_eq!(code, Some(0));
    assert!(out.starts_with("fleet home: no device has told anything; "), "{out}");
}

#[test]
fn a_broker_that_is_away_is_an_error_at_once() {
    let mut broker = Mosquitto::start(crate::support::broker::BrokerKind::Shipped, &["operator"]);
    broker.stop();
    for words in [&["--once"][..], &["--json"], &["stop"], &["go"]] {
        let begun = Instant::now();
        let (code, out, err) = run(&broker, "operator", words);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
        assert!(err.contains("no broker answers at 127.0.0.1:"), "{err}");
        assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
    }
}
