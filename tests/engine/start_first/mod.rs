//! Updates that start the new container first, on a real Engine, with clients that ask all the
//! time.

mod compose;

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::agent::Finished;
use crate::support::clients::{Client, ClientKind, Requests, Target};
use crate::support::command::wait_until;
use crate::support::haproxy::Retry;
use crate::support::images::Release;
use crate::support::shop::{ALIAS, CHECK_INTERVAL, Shop, release};
use crate::support::{Pi, WATCHED, text};

const START_FIRST: &str = "--label=pilotfish.update.order=start-first";
const DRAIN: &str = "--label=pilotfish.update.drain=1s";

/// On a slow machine a test needs some time until the container whose verification began is sick.
const LONG_VERIFICATION: &str = "--label=pilotfish.health.stable=5s";

/// Long enough to see what the last step does to clients.
const AFTERWARDS: Duration = Duration::from_secs(1);

/// Longer than an update takes to come to any step.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);

fn shop() -> Shop {
    Shop::open(Pi::new(), &[START_FIRST, DRAIN])
}

/// No client of these kinds has seen a failure.
#[track_caller]
fn assert_none_failed(requests: &[(String, Requests)], kinds: &[String]) {
    for (kind, requests) in requests.iter().filter(|(kind, _)| kinds.contains(kind)) {
        assert!(requests.failed.is_empty(), "{kind}: {requests}: {:?}", requests.failed);
        assert!(requests.count > 100, "{kind}: only {} requests", requests.count);
    }
}

/// The clients that must not see a hand-over: those that ask another address if one fails.
fn careful() -> Vec<String> {
    vec![ClientKind::TriesAll.to_string(), Retry::Once.to_string()]
}

/// All clients.
fn all_kinds() -> Vec<String> {
    let direct = ClientKind::ALL.map(|kind| kind.to_string());
    direct.into_iter().chain([Retry::No, Retry::Once].map(|retry| retry.to_string())).collect()
}

/// What must not change of a container that is not touched.
fn life(pi: &Pi) -> [Value; 3] {
    let till = pi.inspect("till");
    [till["Id"].clone(), till["State"]["StartedAt"].clone(), till["RestartCount"].clone()]
}

#[test]
fn a_good_image_takes_over_without_a_failed_request() {
    let mut shop = shop();
    let two = shop.pi.registry.publish("till", &release("2"));
    shop.ask();

    let output = shop.pi.update(&[]).expect_code(0);

    shop.pi.assert_settled("till", &two, 2);
    let requests = shop.close(AFTERWARDS);
    assert_none_failed(&requests, &careful());
    assert!(requests[0].1.answers.contains(&"till 2".to_owned()), "{requests:?}");
    let words = ["create", "launch", "prove", "join", "switch", "verify", "commit", "clean"];
    let places: Vec<_> = words.map(|word| output.out.find(&format!("till: {word} "))).into();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{}", output.out);
    assert_eq!(shop.pi.history("till")[0]["gap_seconds"], 0.0);
    let aliases = &shop.pi.inspect("till")["NetworkSettings"]["Networks"]["shop"]["Aliases"];
    assert!(aliases.as_array().is_some_and(|all| all.contains(&json!(ALIAS))), "{aliases}");
    // What it has now is what the next update begins with.
    let three = shop.pi.registry.publish("till", &release("3"));
    shop.pi.update(&[]).expect_code(0);
    shop.pi.assert_settled("till", &three, 2);
}

#[test]
fn a_bad_image_costs_no_request_and_the_old_container_is_not_touched() {
    let mut shop = shop();
    let before = life(&shop.pi);
    let bad = [
        ("exits", release("2").with("TILL_EXIT_AFTER", "0s")),
        ("dies", release("3").with("TILL_EXIT_AFTER", "900ms")),
        ("is never healthy", release("4").with("TILL_UNHEALTHY_AFTER", "0s")),
        ("sickens", release("5").with("TILL_UNHEALTHY_AFTER", "1s")),
        ("dies when both serve", release("6").with("TILL_EXIT_AFTER", "3s")),
    ];
    for (how, release) in bad {
        let next = shop.pi.registry.publish("till", &release);
        shop.ask();
        let output = shop.pi.update(&[]).expect_code(3);
        let requests = shop.close(AFTERWARDS);
        // The last one had joined: a client that takes one address may have asked it.
        let careful = if how == "dies when both serve" { careful() } else { all_kinds() };
        assert_none_failed(&requests, &careful);
        shop.pi.assert_settled("till", &shop.one, 2);
        assert_eq!(life(&shop.pi), before, "an image that {how}: {}", output.out);
        assert_eq!(shop.pi.check("till")["reason"], "refused_digest", "{}", output.out);
        let record = &shop.pi.history("till")[0];
        assert_eq!(
            (&record["to"], &record["outcome"]),
            (&json!(next.digest), &json!("rolled_back"))
        );
    }
}

#[test]
fn a_container_on_two_networks_gets_all_its_aliases() {
    // Docker 28 does not tell whether the second address was asked for.
    let shared = "--label=pilotfish.update.shared=ok";
    let mut shop = Shop::open(Pi::new(), &[START_FIRST, DRAIN, shared]);
    shop.pi.engine.docker(&["network", "create", "back"]);
    shop.pi.engine.docker(&["network", "connect", "--alias=ledger", "back", "till"]);
    shop.pi.engine.docker(&["network", "connect", "back", "client"]);
    let two = shop.pi.registry.publish("till", &release("2"));
    let by_name = Target { name: "till".to_owned(), ..shop.target.clone() };
    let by_name = Client::start(ClientKind::TriesAll, by_name);
    shop.ask();

    shop.pi.update(&[]).expect_code(0);

    // The name of the container has a moment between the two renames.
    let by_name = by_name.stop();
    assert!(by_name.failed.len() <= 2, "{by_name}: {:?}", by_name.failed);
    shop.pi.assert_settled("till", &two, 2);
    assert_none_failed(&shop.close(AFTERWARDS), &careful());
    let networks = &shop.pi.inspect("till")["NetworkSettings"]["Networks"];
    for (network, alias) in [("shop", ALIAS), ("back", "ledger")] {
        let aliases = networks[network]["Aliases"].as_array().expect("aliases");
        assert!(aliases.contains(&json!(alias)), "{networks:#}");
    }
}

fn update_to_an_image_that_sickens_after_the_switch(pi: &Pi) -> Finished {
    let agent = pi.update_until("verify");
    pi.engine.docker(&["exec", "till", "/till", "sicken"]);
    agent.finish().expect_code(3)
}

/// It fails when it serves alone: the old one comes back before the new one stops.
#[test]
fn an_image_that_fails_after_the_switch_gives_the_service_back() {
    let mut shop = Shop::open(Pi::new(), &[START_FIRST, DRAIN, LONG_VERIFICATION]);
    shop.pi.registry.publish("till", &release("2"));
    shop.ask();

    let output = update_to_an_image_that_sickens_after_the_switch(&shop.pi);

    assert!(output.out.contains("till: switch "), "{}", output.out);
    shop.pi.assert_settled("till", &shop.one, 2);
    assert_none_failed(&shop.close(AFTERWARDS), &[ClientKind::TriesAll.to_string()]);
    assert_eq!(shop.pi.check("till")["reason"], "refused_digest");
}

/// Also if the update began before its first check, and if only a probe shows that it works.
#[test]
fn the_old_container_is_healthy_before_a_failed_new_one_stops() {
    let probed = Release::new("1").with("TILL_HEALTHY_AFTER", "3s");
    let slow = probed.clone().with_healthcheck(CHECK_INTERVAL, 60);
    let probe = "--label=pilotfish.health.probe=http://:8080/healthz";
    let rows = [(slow, release("2"), None), (probed, Release::new("2"), Some(probe))];
    for (old, new, probe) in rows {
        let pi = Pi::new();
        let one = pi.registry.publish("till", &old);
        pi.engine.docker(&["network", "create", "shop"]);
        let options = ["--network=shop", START_FIRST, DRAIN, LONG_VERIFICATION];
        let options = [&WATCHED[..], &options, probe.as_slice()].concat();
        pi.start("till", &one.reference, &options);
        let id = pi.id("till");
        pi.registry.publish("till", &new);
        if probe.is_some() {
            // An update does not begin before the probe passes.
            let passes = || pi.check("till")["reason"] != "probe_failing";
            wait_until("the probe passes", STEP_TIMEOUT, passes);
        }

        update_to_an_image_that_sickens_after_the_switch(&pi);

        pi.assert_settled("till", &one, 1);
        assert_eq!(pi.id("till"), id);
        let start = format!("container={id}");
        let start = last_event(&pi, &["--filter=event=start", "--filter", &start]);
        let die = last_event(&pi, &["--filter=event=die"]);
        let beside = die.saturating_sub(start);
        assert!(beside >= Duration::from_secs(3), "{probe:?}: it was alone after {beside:?}");
    }
}

/// When the Engine sent its last event of this kind.
fn last_event(pi: &Pi, filters: &[&str]) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs();
    let next = (now + 1).to_string();
    let range = ["events", "--since=0", "--until", &next, "--format={{.TimeNano}}"];
    let all = pi.engine.docker(&[&range[..], filters].concat());
    let last = all.lines().last().unwrap_or_else(|| panic!("no event {filters:?}"));
    Duration::from_nanos(last.parse().expect("a time"))
}

#[test]
fn an_image_without_a_healthcheck_is_not_started_beside_the_old_one() {
    let shop = shop();
    let before = life(&shop.pi);
    shop.pi.registry.publish("till", &Release::new("2"));
    let output = shop.pi.update(&[]);
    assert!(output.out.contains("the new image has no HEALTHCHECK"), "{output:?}");
    assert_eq!(life(&shop.pi), before);
    shop.pi.assert_settled("till", &shop.one, 2);
}

#[test]
fn what_cannot_run_twice_is_named_and_never_stopped_first() {
    let pi = Pi::new();
    // A dozen containers with frequent HEALTHCHECKs would keep a small machine busy.
    let release = |version| Release::new(version).with_healthcheck(Duration::from_secs(2), 2);
    let one = pi.registry.publish("till", &release("1"));
    pi.engine.docker(&["network", "create", "--subnet=10.99.1.0/24", "shop"]);
    pi.start("other", &one.reference, &["--network=shop"]);
    let shared = "--label=pilotfish.update.shared=ok";
    let on_shop = "--network=shop";
    let rows: [(&str, &[&str], &str); 11] = [
        ("ports", &[on_shop, shared, "--publish=8099:8080"], "it publishes 8080/tcp"),
        ("all-ports", &[on_shop, shared, "--publish-all"], "it publishes all its ports"),
        ("address", &[on_shop, shared, "--ip=10.99.1.77"], "it has the fixed address 10.99.1.77"),
        ("device", &[on_shop, shared, "--device=/dev/null"], "it uses devices"),
        ("link", &[on_shop, shared, "--link=other:db"], "it links to other"),
        (
            "joined",
            &["--network=container:other", "--env=TILL_PORT=8097", shared],
            "it shares the network of other",
        ),
        ("unchecked", &[on_shop, shared, "--no-healthcheck"], "no HEALTHCHECK and no probe"),
        ("volume", &[on_shop, "--volume=data:/data"], "it may write to /data (the label"),
        ("host", &["--network=host", "--env=TILL_PORT=8098"], "it uses the host's network (the"),
        ("bridge", &[], "it is on no network of its own project, which could name both (the"),
        ("hostname", &[on_shop, "--hostname=api"], "it has the host name api (the label"),
    ];
    for (name, options, _) in rows {
        pi.start(name, &one.reference, &[&WATCHED[..], &[START_FIRST], options].concat());
    }
    let bare = [&WATCHED[..], &[START_FIRST, DRAIN, shared, on_shop, "--volume=data:/data"]];
    pi.start("allowed", &one.reference, &bare.concat());
    let before = pi.names();
    let ids: Vec<_> = rows.iter().map(|(name, ..)| pi.id(name)).collect();
    let two = pi.registry.publish("till", &release("2"));
    wait_until("all are healthy", STEP_TIMEOUT, || {
        let is_healthy = |name: &str| pi.inspect(name)["State"]["Health"]["Status"] == "healthy";
        rows.iter().all(|(name, ..)| *name == "unchecked" || is_healthy(name))
    });

    pi.update(&["--force"]).expect_code(0);

    for (name, _, expected) in rows {
        let row = pi.check(name);
        assert_eq!(row["reason"], "cannot_start_first", "{name}: {row:#}");
        assert!(text(&row["detail"]).contains(expected), "{name}: {row:#}");
    }
    assert_eq!(pi.names(), before);
    assert_eq!(rows.iter().map(|(name, ..)| pi.id(name)).collect::<Vec<_>>(), ids);
    assert_eq!(pi.image("allowed"), two.image, "the user says that two may share the volume");
}

#[test]
fn an_agent_that_is_killed_at_any_step_costs_no_request() {
    let mut shop = shop();
    let mut version = 1;
    for step in ["prove", "join", "switch", "commit"] {
        version += 1;
        let next = shop.pi.registry.publish("till", &release(&version.to_string()));
        shop.ask();
        let agent = shop.pi.update_until(step);
        agent.kill();
        shop.pi.agent.run(&shop.pi.engine, &["recover"]);
        shop.pi.update(&[]).expect_code(0);
        assert_none_failed(&shop.close(AFTERWARDS), &careful());
        shop.pi.assert_settled("till", &next, 2);
    }
}

#[test]
fn an_agent_that_is_asked_to_stop_leaves_one_container() {
    let shop = shop();
    let before = life(&shop.pi);
    shop.pi.registry.publish("till", &release("2"));
    let agent = shop.pi.update_until("prove");
    agent.terminate();
    shop.pi.assert_settled("till", &shop.one, 2);
    assert_eq!(life(&shop.pi), before);
    assert_eq!(shop.pi.history("till")[0]["outcome"], "interrupted");
}

/// Without its state the agent watches the two containers, and then removes the one on trial.
#[test]
fn a_new_container_on_trial_is_removed_after_the_state_was_lost() {
    let mut shop = shop();
    let before = life(&shop.pi);
    shop.pi.registry.publish("till", &release("2"));
    let agent = shop.pi.update_until("prove");
    agent.kill();
    fs::remove_dir_all(shop.pi.agent.state()).expect("the state");
    shop.ask();
    shop.pi.agent.run(&shop.pi.engine, &["recover"]);
    assert_none_failed(&shop.close(AFTERWARDS), &all_kinds());
    let names = shop.pi.names();
    assert_eq!(names, ["client running", "till running"], "one of them was on trial");
    assert_eq!(life(&shop.pi), before);
}
