//! The push API of a real agent in front of a real Engine, with the real curl and `pilotfish push`.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::command::wait_until;
use crate::support::images::Release;
use crate::support::pushed::{PUSHED, PushedPi, path};
use crate::support::{Pi, QUIET, text};

const TILL: &str = "[[deployment]]\nname = \"till\"\n";

#[test]
fn a_pushed_image_replaces_an_adopted_container_and_only_new_layers_are_sent() {
    let mut pushed = PushedPi::new(TILL, QUIET);
    let one = pushed.pi.registry.publish("till", &Release::new("1"));
    let old = pushed.pi.start("till", &one.reference, &["--publish=8080:8080"]);
    pushed.pi.wait_until_serving(8080);
    let two = pushed.save(&Release::new("2").with_ballast(100_000), "two");
    pushed.run();

    let whole = pushed.push("till", &two, &["--whole"]).expect_code(0);

    assert!(whole.out.contains("1 updated"), "{whole:?}");
    assert_ne!(pushed.pi.id("till"), old);
    assert_eq!(pushed.pi.serving(8080).as_deref(), Some("till 2"));
    assert_eq!(pushed.pi.inspect("till")["Config"]["Image"], one.reference.as_str());
    let shown = pushed.show("till");
    assert_eq!(shown["state"], "running");
    assert_eq!(shown["pushed"]["by"], "uri:pilotfish://push/ci");
    // The next one shares the program, which is nearly all of it.
    let three = pushed.save(&Release::new("3").with_ballast(1000), "three");
    let thin = pushed.push("till", &three, &[]).expect_code(0);
    assert!(thin.out.contains("layers are on the device"), "{thin:?}");
    assert_eq!(pushed.pi.serving(8080).as_deref(), Some("till 3"));
    let again = pushed.push("till", &three, &[]).expect_code(0);
    assert!(again.out.contains("runs this image already"), "{again:?}");
    let audit = fs::read_to_string(pushed.pi.agent.state().join("audit.jsonl")).expect("an audit");
    assert_eq!(audit.lines().filter(|line| line.contains("\"act\":\"load\"")).count(), 3);
    let history = pushed.pi.history("till");
    assert_eq!(history.len(), 2);
    assert_eq!(history[0]["by"], "uri:pilotfish://push/ci");
}

#[test]
fn a_bad_image_is_rolled_back_refused_and_allowed_again() {
    let mut pushed = PushedPi::new(TILL, QUIET);
    let one = pushed.pi.registry.publish("till", &Release::new("1"));
    pushed.pi.start("till", &one.reference, &["--publish=8080:8080"]);
    pushed.pi.wait_until_serving(8080);
    let bad = pushed.save(&Release::new("2").with_entrypoint("/does-not-exist"), "bad");
    pushed.run();
    pushed.push("till", &bad, &[]).expect_code(3);
    assert_eq!(pushed.pi.serving(8080).as_deref(), Some("till 1"));
    let refused = pushed.push("till", &bad, &[]).expect_code(1);
    assert!(refused.err.contains("refused_digest"), "{refused:?}");
    let (status, body) = pushed.curl(&["-X", "POST"], "/v1/deployments/till/allow");
    assert_eq!((status.as_str(), body.trim()), ("200", r#"{"answer":{"allowed":{"digests":1}}}"#));
    pushed.push("till", &bad, &[]).expect_code(3);
    assert_eq!(pushed.pi.image("till"), one.image);
}

#[test]
fn plain_curl_loads_from_a_pipe_and_acts() {
    let mut pushed = PushedPi::new(TILL, QUIET);
    let one = pushed.pi.registry.publish("till", &Release::new("1"));
    pushed.pi.start("till", &one.reference, &["--publish=8080:8080"]);
    pushed.pi.wait_until_serving(8080);
    let two = pushed.save(&Release::new("2"), "two");
    pushed.run();
    let client = pushed.files.join("certificates/ci");
    let script = format!(
        "gzip -c {} | curl -sS --cacert {c}/ca.crt --cert {c}/client.crt --key {c}/client.key \
         -T - https://127.0.0.1:9790/v1/till/load",
        two.display(),
        c = client.display()
    );
    let output = pushed.pi.engine.command("sh").arg("-c").arg(script).output().expect("sh");
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = lines.lines().last().unwrap_or_default();
    assert!(last.contains(r#""outcome":"updated""#), "{lines} {output:?}");
    assert_eq!(pushed.pi.serving(8080).as_deref(), Some("till 2"));
    let post = |act: &str| pushed.curl(&["-X", "POST"], &format!("/v1/deployments/till/{act}"));
    assert_eq!(post("stop").0, "200");
    assert_eq!(pushed.pi.serving(8080), None);
    assert_eq!(pushed.show("till")["stopped"]["by"], "uri:pilotfish://push/ci");
    assert_eq!(post("start").0, "200");
    pushed.pi.wait_until_serving(8080);
    assert_eq!(post("restart").0, "200");
    pushed.pi.wait_until_serving(8080);
    let (status, body) = post("rollback");
    assert!(status == "200" && body.contains(r#""outcome":"updated""#), "{status} {body}");
    pushed.pi.wait_until_serving(8080);
    assert_eq!(pushed.pi.serving(8080).as_deref(), Some("till 1"));
    let (status, log) = pushed.curl(&[], "/v1/deployments/till/log?lines=5");
    assert_eq!(status, "200", "{log}");
}

#[test]
fn a_deployment_without_a_container_is_created_from_arguments() {
    let deployment = "[[deployment]]\nname = \"web\"\nargs = [\"-d\", \"-it\", \"-p\", \
                      \"8081:8080\", \"-e\", \"SHIFT=night\", \"--restart\", \"always\"]\n";
    let mut pushed = PushedPi::new(deployment, QUIET);
    let one = pushed.save(&Release::new("1"), "one");
    pushed.run();
    let first = pushed.push("web", &one, &[]).expect_code(0);
    let told = ["create ", "start ", "verify ", "commit ", "updated"];
    let places: Vec<_> = told.map(|word| first.out.find(&format!("web: {word}"))).into();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{first:?}");
    pushed.pi.wait_until_serving(8081);
    let container = pushed.pi.inspect("web");
    assert_eq!(container["Config"]["Tty"], true);
    assert_eq!(container["Config"]["Image"], "web:latest");
    assert_eq!(container["HostConfig"]["RestartPolicy"]["Name"], "always");
    assert!(container["Config"]["Env"].to_string().contains("SHIFT=night"));
    let tagged = pushed.pi.engine.call("GET", "/images/web:latest/json");
    assert_eq!(text(&tagged.succeeded("the tag").json()["Id"]), pushed.pi.image("web"));
}

#[test]
fn an_exported_definition_creates_the_container_again() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    let options = ["--env=SHIFT=day", "--label=shop=corner", "--publish=8080:8080"];
    pi.start("till", &one.reference, &options);
    pi.wait_until_serving(8080);
    let before = pi.inspect("till");
    let exported = pi.agent.run(&pi.engine, &["deployments", "export", "till"]).expect_code(0);
    let body: Value = serde_json::from_str(&exported.out).expect("JSON");
    assert_eq!(body["Image"], one.reference.as_str());
    assert_eq!(body["Env"].to_string(), r#"["SHIFT=day"]"#, "the image's own are not in it");
    pi.engine.docker(&["rm", "--force", "till"]);
    let file = pi.engine.directory().join("till.json");
    fs::write(&file, &exported.out).expect("a file");
    let script = format!(
        "curl -sS -H 'Content-Type: application/json' --unix-socket {} -d @{} \
         'http://docker/containers/create?name=till'",
        pi.engine.socket().display(),
        file.display()
    );
    let output = Command::new("sh").arg("-c").arg(script).output().expect("curl");
    assert!(output.status.success(), "{output:?}");
    pi.engine.docker(&["start", "till"]);
    pi.wait_until_serving(8080);
    let after = pi.inspect("till");
    for field in ["Env", "Labels", "Image", "Cmd", "Entrypoint"] {
        assert_eq!(after["Config"][field], before["Config"][field], "{field}");
    }
    assert_eq!(after["HostConfig"], before["HostConfig"]);
    pi.agent.run(&pi.engine, &["deployments", "export", "nowhere"]).expect_code(1);
}

#[test]
fn a_push_in_the_middle_of_an_update_is_refused_and_the_other_way_round() {
    let deployment = "[[deployment]]\nname = \"till\"\n";
    let mut pushed = PushedPi::new(deployment, "every = \"1s\"\njitter = \"0%\"");
    let one = pushed.pi.registry.publish("till", &Release::new("1"));
    pushed.pi.start_watched("till", &one.reference, 8080, &["--label=pilotfish.health.stable=4s"]);
    let archive = pushed.save(&Release::new("9"), "nine");
    pushed.run();
    // The poll updates, and a push comes while the new container is on trial.
    pushed.pi.registry.publish("till", &Release::new("2"));
    let is_open = || !pushed.pi.agent.journals().is_empty();
    wait_until("an update is open", PUSHED, is_open);
    let refused = pushed.push("till", &archive, &[]).expect_code(1);
    assert!(refused.err.contains("update_in_flight"), "{refused:?}");
    wait_until("it ends", PUSHED, || !is_open());
    assert_eq!(pushed.pi.serving(8080).as_deref(), Some("till 2"));
    // The push updates, and the registry has news while its container is on trial.
    let certificates = pushed.files.join("certificates/ci");
    let words =
        ["push", "till", path(&archive), "--to", "https://127.0.0.1:9790", "--certificates"];
    let words = [&words[..], &[path(&certificates)]].concat();
    let push = pushed.pi.agent.spawn(&pushed.pi.engine, &words);
    wait_until("the push is tried", PUSHED, is_open);
    pushed.pi.registry.publish("till", &Release::new("3"));
    push.finish().expect_code(0);
    // A pushed image is followed by no round.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(pushed.pi.serving(8080).as_deref(), Some("till 9"));
}

#[test]
fn two_clients_at_once_are_one_load_and_one_busy() {
    let deployments = "[[deployment]]\nname = \"till\"\n[[deployment]]\nname = \"web\"\n";
    let mut pushed = PushedPi::new(deployments, QUIET);
    let one = pushed.pi.registry.publish("till", &Release::new("1"));
    pushed.pi.start("till", &one.reference, &["--publish=8080:8080"]);
    pushed.pi.start("web", &one.reference, &["--publish=8081:8080"]);
    pushed.pi.wait_until_serving(8080);
    let archive = pushed.save(&Release::new("2").with_ballast(1_500_000), "two");
    pushed.run();
    let client = pushed.files.join("certificates/ci");
    let slow = format!(
        "curl -sS --limit-rate 500k --cacert {c}/ca.crt --cert {c}/client.crt --key {c}/client.key \
         -T {} https://127.0.0.1:9790/v1/till/load",
        archive.display(),
        c = client.display()
    );
    let mut slow_push = pushed.pi.engine.command("sh");
    slow_push.arg("-c").arg(slow).stdout(std::process::Stdio::piped());
    let slow_push = slow_push.spawn().expect("curl");
    let open = pushed.pi.agent.state().join("push.json");
    wait_until("the load begins", PUSHED, || {
        fs::read_to_string(&open).is_ok_and(|open| open.contains("unnamed"))
    });
    let (status, body) = pushed.curl(&["-T", path(&archive)], "/v1/web/load");
    assert_eq!(status, "429", "{body}");
    let output = slow_push.wait_with_output().expect("curl");
    assert!(String::from_utf8_lossy(&output.stdout).contains(r#""outcome":"updated""#));
    pushed.push("web", &archive, &[]).expect_code(0);
    pushed.pi.wait_until_serving(8081);
    assert_eq!(pushed.pi.serving(8081).as_deref(), Some("till 2"));
}
