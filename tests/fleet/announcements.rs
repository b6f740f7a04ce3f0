//! An announcement leads to one look at the registry, and never to more.

use std::time::{Duration, Instant};

use pilotfish::core::docker::reference::Reference;
use pilotfish::core::fleet::topic::ReferenceKey;
use serde_json::{Value, json};

use crate::member::{Member, Operator, SOON};
use crate::support::broker::Mosquitto;
use crate::support::command::wait_until;
use crate::support::images::Release;

fn device() -> (Member, Mosquitto) {
    let mut broker = None;
    let mut member = Member::new("till-1", &mut broker, &["till-1", "operator", "bridge"], "");
    member.start();
    (member, broker.expect("a broker"))
}

fn topic(reference: &str) -> String {
    let reference: Reference = reference.parse().expect("a reference");
    format!("announce/{}", ReferenceKey::of(&reference).expect("a tag").as_str())
}

fn announcement(reference: &str, digest: Option<&str>) -> Value {
    match digest {
        Some(digest) => json!({"v": 1, "ref": reference, "digest": digest, "by": "test"}),
        None => json!({"v": 1, "ref": reference}),
    }
}

#[test]
fn a_push_is_announced_and_runs_a_moment_later() {
    let (member, broker) = device();
    let bridge = Operator::with_filters(&broker, "bridge", &[]);
    let mut operator = Operator::new(&broker);
    let two = member.pi.registry.publish("till", &Release::new("2"));
    let (before, begun) = (member.heads(), Instant::now());

    bridge.retain(&topic(&two.reference), &announcement(&two.reference, Some(&two.digest)));

    wait_until("the registry is asked", SOON, || member.heads() > before);
    eprintln!("from PUBLISH to HEAD: {} ms", begun.elapsed().as_millis());
    operator.wait("device/till-1/container/till", |it| {
        it["busy"] == false && it["running"] == two.digest.as_str()
    });
    member.pi.assert_settled("till", &two, 1);
    // The announcement is one HEAD. The other one is that of the look after every update.
    assert!(member.heads() - before <= 2, "{} HEADs", member.heads() - before);
}

#[test]
fn repeated_announcements_and_floods_cost_nothing() {
    let (member, broker) = device();
    let bridge = Operator::with_filters(&broker, "bridge", &[]);
    let reference = member.one.reference.as_str();
    member.pi.check("till");
    let before = member.heads();

    // The digest runs, so there is nothing to look for.
    bridge.retain(&topic(reference), &announcement(reference, Some(&member.one.digest)));
    // No container follows this reference.
    let other = "registry:443/shop/other:v1";
    bridge.retain(&topic(other), &announcement(other, None));
    // Nonsense.
    bridge.publish(&topic(reference), &json!({"v": 2, "ref": reference}));
    bridge.publish(&topic(reference), &json!({"v": 1, "ref": other}));
    bridge.publish("announce/nonsense", &json!({"v": 1, "ref": other}));
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(member.heads(), before, "the registry was asked for nothing");

    let lie = format!("sha256:{}", "0".repeat(64));
    for _ in 0..50 {
        bridge.retain(&topic(reference), &announcement(reference, Some(&lie)));
    }
    wait_until("the registry is asked", SOON, || member.heads() > before);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(member.heads() - before, 1, "fifty times the same digest is one HEAD");
    assert_eq!(member.pi.check("till")["verdict"], "up_to_date");
}

#[test]
fn a_retained_announcement_of_yesterday_costs_one_look_at_most() {
    let (mut member, mut broker) = device();
    member.pi.check("till");
    let reference = member.one.reference.clone();
    {
        let bridge = Operator::with_filters(&broker, "bridge", &[]);
        bridge.retain(&topic(&reference), &announcement(&reference, Some(&member.one.digest)));
    }
    broker.stop();
    broker.start_again();
    wait_until("the agent is back", SOON, || {
        member.log().matches("connected to the broker").count() == 2
    });
    let before = member.heads();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(member.heads(), before);
    member.take_agent().terminate().expect_code(0);
}
