//! A staged rollout: canaries first, and the others follow or stay.

use serde_json::json;

use crate::member::{Member, Operator};
use crate::support::images::Release;
use crate::support::registry::Published;

/// Two devices with one release each, of the same digest, and which of them is the canary for it.
struct Pair {
    members: Vec<Member>,
    broker: crate::support::broker::Mosquitto,
}

const NAMES: [&str; 2] = ["till-0", "till-1"];

const STAGED: &str = "commands = true\n[fleet]\nsize = 2\nwaves = \"canary\"";

impl Pair {
    fn new() -> Self {
        let mut broker = None;
        let all = ["till-0", "till-1", "operator"];
        let mut members: Vec<_> =
            NAMES.iter().map(|name| Member::new(name, &mut broker, &all, STAGED)).collect();
        members.iter_mut().for_each(Member::start);
        Self { members, broker: broker.expect("a broker") }
    }

    /// Publishes a release in both registries. Both have the same digest.
    fn publish(&self, release: &Release) -> Published {
        let published: Vec<_> =
            self.members.iter().map(|it| it.pi.registry.publish("till", release)).collect();
        assert_eq!(published[0].digest, published[1].digest);
        published.into_iter().next().expect("two")
    }
}

/// The number of the canary, by what the devices say about their place.
fn canary(operator: &mut Operator) -> usize {
    let verdicts = NAMES.map(|name| {
        operator.publish(&format!("command/{name}/check"), &json!({"v": 1, "id": name}));
        let id = json!(name);
        operator.wait(&format!("device/{name}/reply"), |it| it["id"] == id);
        let row = operator.wait(&format!("device/{name}/container/till"), |_| true);
        row["verdict"].as_str().map(str::to_owned).unwrap_or_default()
    });
    assert_eq!(verdicts.iter().filter(|verdict| *verdict == "update").count(), 1, "{verdicts:?}");
    verdicts.iter().position(|verdict| verdict == "update").expect("a canary")
}

#[test]
fn a_bad_release_stops_at_the_canary() {
    let pair = Pair::new();
    let mut operator = Operator::new(&pair.broker);
    let bad = pair.publish(&Release::new("2").with("TILL_EXIT_AFTER", "0s"));
    let first = canary(&mut operator);
    let second = 1 - first;
    let row = |number: usize| format!("device/{}/container/till", NAMES[number]);
    let waiting = operator.wait(&row(second), |it| it["offered"] == bad.digest.as_str());
    assert_eq!(waiting["reason"], "waiting_for_canaries", "{waiting}");
    let detail = waiting["detail"].as_str().unwrap_or_default();
    assert!(detail.starts_with("place 2 of 2: the image works on 0 of 1 canaries"), "{detail}");

    let update = format!("command/{}/update", NAMES[first]);
    operator.publish(&update, &json!({"v": 1, "id": "up", "container": "till"}));
    operator.wait(&format!("device/{}/reply", NAMES[first]), |it| it["id"] == "up");

    let refused = operator.wait(&row(second), |it| it["reason"] == "fleet_refused");
    let detail = refused["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("failed on 1 of 1 devices that tried it"), "{detail}");
    let update = format!("command/{}/update", NAMES[second]);
    operator.publish(&update, &json!({"v": 1, "id": "up", "container": "till"}));
    let reply = operator.wait(&format!("device/{}/reply", NAMES[second]), |it| it["id"] == "up");
    assert_eq!(reply["detail"], "1 checked: 0 update, 1 held, 0 errors");
    for member in &pair.members {
        member.pi.assert_settled("till", &member.one, 1);
    }
    assert!(pair.members[second].pi.history("till").is_empty(), "it never tried");
}

#[test]
fn a_good_release_is_released_by_the_canary_and_a_stop_survives_a_restart() {
    let mut pair = Pair::new();
    let mut operator = Operator::new(&pair.broker);
    let two = pair.publish(&Release::new("2"));
    let first = canary(&mut operator);
    let second = 1 - first;
    let name = NAMES[second];
    let row = format!("device/{name}/container/till");
    let update = format!("command/{}/update", NAMES[first]);
    operator.publish(&update, &json!({"v": 1, "id": "up", "container": "till"}));
    operator.wait(&format!("device/{}/reply", NAMES[first]), |it| it["id"] == "up");

    let released = |it: &serde_json::Value| {
        it["detail"].as_str().is_some_and(|it| it.contains("its turn comes in"))
    };
    operator.wait(&row, released);
    pair.members[first].pi.assert_settled("till", &two, 1);
    pair.members[second].pi.assert_settled("till", &pair.members[second].one, 1);

    let stop = json!({"v": 1, "refs": ["*"], "why": "market day", "by": "ann"});
    operator.retain("stop", &stop);
    let stopped = operator.wait(&row, |it| it["reason"] == "fleet_stopped");
    assert_eq!(stopped["detail"], "the fleet is stopped by ann: market day");
    // Neither a restart nor a broker that has lost its memory lifts it.
    pair.members[second].take_agent().terminate().expect_code(0);
    operator.clear("stop");
    pair.members[second].start();
    let check = pair.members[second].pi.check("till");
    assert_eq!(check["reason"], "fleet_stopped", "{check}");

    operator.retain("stop", &json!({"v": 1, "refs": []}));
    operator.wait(&row, |it| it["reason"] == "waiting_for_canaries");
    let allow = format!("command/{name}/allow");
    operator.publish(&allow, &json!({"v": 1, "id": "go", "container": "till"}));
    operator.wait(&format!("device/{name}/reply"), |it| it["id"] == "go");
    let update = format!("command/{name}/update");
    operator.publish(&update, &json!({"v": 1, "id": "up", "container": "till"}));
    operator.wait(&format!("device/{name}/reply"), |it| it["id"] == "up");
    pair.members[second].pi.assert_settled("till", &two, 1);
}

#[test]
fn a_check_without_an_agent_knows_the_stop_and_writes_nothing() {
    let mut broker = None;
    let all = ["till-0", "operator"];
    let mut member = Member::new("till-0", &mut broker, &all, STAGED);
    let broker = broker.expect("a broker");
    let file = member.pi.agent.state().join("fleet.json");
    member.pi.registry.publish("till", &Release::new("2"));
    member.pi.check("till");
    assert!(!file.exists(), "a check has written {}", file.display());

    member.start();
    let mut operator = Operator::new(&broker);
    operator.retain("stop", &json!({"v": 1, "refs": ["*"]}));
    operator.publish("command/till-0/check", &json!({"v": 1, "id": "a"}));
    operator.wait("device/till-0/container/till", |it| it["reason"] == "fleet_stopped");
    member.take_agent().terminate().expect_code(0);

    let before = std::fs::read(&file).expect("the stop is on the disk");
    assert_eq!(member.pi.check("till")["reason"], "fleet_stopped");
    assert_eq!(std::fs::read(&file).expect("the same"), before);
}
