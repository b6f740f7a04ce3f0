//! A registry that fails in the middle of a layer: nothing was stopped yet, so nothing is lost.

use std::time::{Duration, Instant};

use crate::support::agent::Running;
use crate::support::images::Release;
use crate::support::registry::{PORT, Published, is_containerd_store};
use crate::support::relay::{Mishap, Relay};
use crate::support::{Pi, QUIET, WATCHED};

/// A layer that is long enough to be met in its middle.
const BALLAST: usize = 4 * 1024 * 1024;

/// How long an update may take to come to its pull.
const SOON: Duration = Duration::from_secs(60);

/// All private Engines' networks: what is fetched through the relay is fetched by plain http.
const INSECURE: &str = "--insecure-registry=10.77.128.0/17";

/// A Pi whose registry is reached through a relay.
struct Stage {
    relay: Relay,
    pi: Pi,
    one: Published,
    two: Published,
    old: String,
}

impl Stage {
    /// Version 1 runs; version 2, which has much to fetch, waits.
    fn new() -> Self {
        let mut pi = Pi::with(&[INSECURE], QUIET);
        let relay = Relay::start(pi.engine.reach(PORT));
        let name = format!("{}:{}", pi.engine.gateway(), relay.port());
        let settings = format!("{QUIET}\n[registries.\"{name}\"]\nplain_http = true");
        pi.agent.set(&pi.engine, &settings);
        let one = pi.registry.publish("till", &Release::new("1"));
        let reference = format!("{name}/till:latest");
        let old = pi.start("till", &reference, &WATCHED);
        let two = pi.registry.publish("till", &Release::new("2").with_ballast(BALLAST));
        Self { relay, pi, one, two, old }
    }

    /// The update under way, in the middle of the layer.
    fn in_mid_pull(&self, mishap: Mishap) -> Running {
        self.relay.set(Some(mishap));
        let agent = self.pi.agent.spawn(&self.pi.engine, &["update"]);
        self.relay.await_strike(SOON);
        agent
    }

    /// The old container was never touched, nothing is refused, and once the registry is well
    /// again the update is done.
    fn assert_unharmed(&self) {
        self.pi.assert_settled("till", &self.one, 1);
        assert_eq!(self.pi.id("till"), self.old, "the old container was touched");
        self.relay.set(None);
        self.pi.update(&["till"]).expect_code(0);
        self.pi.assert_settled("till", &self.two, 1);
        assert_eq!(self.pi.check("till")["verdict"], "up_to_date");
    }
}

/// An update that ends by itself, undone, with the Engine's words about the layer.
fn ends_undone(mishap: Mishap) {
    let stage = Stage::new();

    let told = stage.in_mid_pull(mishap).finish().expect_code(1);

    assert!(told.out.contains("the pull failed"), "{}", told.out);
    let history = stage.pi.history("till");
    assert_eq!(history[0]["outcome"], "failed", "{history:?}");
    stage.assert_unharmed();
}

/// Engines give up, but for containerd's store: it asks for the rest until it has arrived.
#[test]
fn a_layer_that_always_ends_too_early() {
    if !is_containerd_store() {
        return ends_undone(Mishap::Truncate);
    }
    let stage = Stage::new();
    stage.in_mid_pull(Mishap::Truncate).finish().expect_code(0);
    stage.pi.assert_settled("till", &stage.two, 1);
}

#[test]
fn a_layer_with_something_else_in_it() {
    ends_undone(Mishap::Falsify);
}

#[test]
fn a_registry_that_dies_in_the_middle_of_a_layer() {
    let mut stage = Stage::new();
    let agent = stage.in_mid_pull(Mishap::Stall);

    stage.pi.registry.stop();
    stage.relay.set(Some(Mishap::Truncate));

    agent.finish().expect_code(1);
    stage.pi.registry.start_again(&stage.pi.engine);
    stage.assert_unharmed();
}

/// A pull may be silent for ten minutes; nobody who wants the agent to end waits so long.
#[test]
fn a_registry_that_stalls_holds_up_neither_the_service_nor_the_end_of_the_agent() {
    const LIMIT: Duration = Duration::from_secs(10);
    let stage = Stage::new();
    let agent = stage.in_mid_pull(Mishap::Stall);
    assert_eq!(stage.pi.names(), ["till running"]);

    let begun = Instant::now();
    agent.terminate().expect_code(1);

    let took = begun.elapsed();
    eprintln!("SIGTERM in the middle of a pull: {took:?}");
    assert!(took < LIMIT, "it took {took:?}");
    assert_eq!(stage.pi.names(), ["till running"]);
    stage.relay.set(None);
    stage.pi.agent.run(&stage.pi.engine, &["recover"]).expect_code(0);
    stage.assert_unharmed();
}

/// The Engine resolves `container:till` to an ID when the other one starts: that one would be left
/// with a network that nobody is in any more.
#[test]
fn a_container_that_joins_while_the_image_is_pulled_is_found_before_the_switch() {
    let stage = Stage::new();
    let side = stage.pi.registry.publish("side", &Release::new("side").with("TILL_PORT", "8081"));
    let agent = stage.in_mid_pull(Mishap::Stall);
    let joins = [&WATCHED[..], &["--network=container:till"]].concat();
    stage.pi.start("side", &side.reference, &joins);
    stage.relay.set(None);

    let told = agent.finish();

    assert!(told.out.contains("side shares the network of till since"), "{}", told.out);
    assert_eq!(stage.pi.id("till"), stage.old, "the old container was touched");
    stage.pi.update(&[]).expect_code(0);
    stage.pi.assert_settled("till", &stage.two, 2);
    let mode = &stage.pi.inspect("side")["HostConfig"]["NetworkMode"];
    assert_eq!(*mode, format!("container:{}", stage.pi.id("till")));
}
