//! A registry that fails in the middle of a layer. No container is stopped yet, so nothing is lost.

use std::time::{Duration, Instant};

use crate::support::agent::Running;
use crate::support::images::Release;
use crate::support::registry::{PORT, Published, is_containerd_store};
use crate::support::relay::{Relay, RelayFault};
use crate::support::{Pi, QUIET, WATCHED};

/// A layer that is long enough to be interrupted in its middle.
const BALLAST: usize = 4 * 1024 * 1024;

/// How long an update may take to reach its pull.
const SOON: Duration = Duration::from_secs(60);

/// For the networks of all private Engines, because pulls through the relay use plain HTTP. An
/// Engine that gives up after the second try does so in five seconds; by default it takes 75.
const FLAGS: [&str; 2] = ["--insecure-registry=10.77.128.0/17", "--max-download-attempts=2"];

/// A Pi whose registry is reached through a relay.
struct Fixture {
    relay: Relay,
    pi: Pi,
    one: Published,
    two: Published,
    old: String,
}

impl Fixture {
    /// Version 1 runs; version 2, with a large layer, is published.
    fn new() -> Self {
        let mut pi = Pi::with(&FLAGS, QUIET);
        let relay = Relay::start(pi.engine.address_of(PORT));
        let name = format!("{}:{}", pi.engine.gateway(), relay.port());
        let settings = format!("{QUIET}\n[registries.\"{name}\"]\nplain_http = true");
        pi.agent.set(&pi.engine, &settings);
        let one = pi.registry.publish("till", &Release::new("1"));
        let reference = format!("{name}/till:latest");
        let old = pi.start("till", &reference, &WATCHED);
        let two = pi.registry.publish("till", &Release::new("2").with_ballast(BALLAST));
        Self { relay, pi, one, two, old }
    }

    /// A running update, in the middle of the layer.
    fn start_mid_pull(&self, fault: RelayFault) -> Running {
        self.relay.set(Some(fault));
        let agent = self.pi.agent.spawn(&self.pi.engine, &["update"]);
        self.relay.wait_for_fault(SOON);
        agent
    }

    /// The old container was not touched, nothing is refused, and the update succeeds once the
    /// registry works again.
    fn assert_unchanged(&self) {
        self.pi.assert_settled("till", &self.one, 1);
        assert_eq!(self.pi.id("till"), self.old, "the old container was touched");
        self.relay.set(None);
        self.pi.update(&["till"]).expect_code(0);
        self.pi.assert_settled("till", &self.two, 1);
        assert_eq!(self.pi.check("till")["verdict"], "up_to_date");
    }
}

/// An update that ends by itself, undone, with the Engine's message about the layer.
fn assert_undone(fault: RelayFault) {
    let fixture = Fixture::new();

    let output = fixture.start_mid_pull(fault).finish().expect_code(1);

    assert!(output.out.contains("the pull failed"), "{}", output.out);
    let history = fixture.pi.history("till");
    assert_eq!(history[0]["outcome"], "failed", "{history:?}");
    fixture.assert_unchanged();
}

/// Engines give up here. Containerd's store instead requests the rest until it has arrived.
#[test]
fn a_layer_that_always_ends_too_early() {
    if !is_containerd_store() {
        return assert_undone(RelayFault::Truncate);
    }
    let fixture = Fixture::new();
    fixture.start_mid_pull(RelayFault::Truncate).finish().expect_code(0);
    fixture.pi.assert_settled("till", &fixture.two, 1);
}

#[test]
fn a_layer_with_wrong_content() {
    assert_undone(RelayFault::Falsify);
}

#[test]
fn a_registry_that_dies_in_the_middle_of_a_layer() {
    let mut fixture = Fixture::new();
    let agent = fixture.start_mid_pull(RelayFault::Stall);

    fixture.pi.registry.stop();
    fixture.relay.set(Some(RelayFault::Truncate));

    agent.finish().expect_code(1);
    fixture.pi.registry.start_again(&fixture.pi.engine);
    fixture.assert_unchanged();
}

/// A pull may be silent for ten minutes, but a stop of the agent must not wait so long.
#[test]
fn a_registry_that_stalls_delays_neither_the_service_nor_the_end_of_the_agent() {
    const LIMIT: Duration = Duration::from_secs(10);
    let fixture = Fixture::new();
    let agent = fixture.start_mid_pull(RelayFault::Stall);
    assert_eq!(fixture.pi.names(), ["till running"]);

    let begun = Instant::now();
    agent.terminate().expect_code(1);

    let took = begun.elapsed();
    eprintln!("SIGTERM in the middle of a pull: {took:?}");
    assert!(took < LIMIT, "it took {took:?}");
    assert_eq!(fixture.pi.names(), ["till running"]);
    fixture.relay.set(None);
    fixture.pi.agent.run(&fixture.pi.engine, &["recover"]).expect_code(0);
    fixture.assert_unchanged();
}

/// The Engine resolves `container:till` to an ID when the joining container starts, so it would
/// stay in the network of a removed container.
#[test]
fn a_container_that_joins_while_the_image_is_pulled_is_found_before_the_switch() {
    let fixture = Fixture::new();
    let side = fixture.pi.registry.publish("side", &Release::new("side").with("TILL_PORT", "8081"));
    let agent = fixture.start_mid_pull(RelayFault::Stall);
    let joins = [&WATCHED[..], &["--network=container:till"]].concat();
    fixture.pi.start("side", &side.reference, &joins);
    fixture.relay.set(None);

    let output = agent.finish();

    assert!(output.out.contains("side shares the network of till since"), "{}", output.out);
    assert_eq!(fixture.pi.id("till"), fixture.old, "the old container was touched");
    fixture.pi.update(&[]).expect_code(0);
    fixture.pi.assert_settled("till", &fixture.two, 2);
    let mode = &fixture.pi.inspect("side")["HostConfig"]["NetworkMode"];
    assert_eq!(*mode, format!("container:{}", fixture.pi.id("till")));
}
