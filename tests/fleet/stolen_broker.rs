//! A broker in wrong hands: it can say anything to every device. It can cause looks, delays, and
//! updates that the registry offers anyway, and nothing else. `administrator` may write all topics,
//! as a stolen broker can.

use std::time::Duration;

use pilotfish::core::docker::reference::Reference;
use pilotfish::core::fleet::topic::ReferenceKey;
use serde_json::{Value, json};

use crate::member::{Member, Operator, SOON};
use crate::support::command::wait_until;
use crate::support::images::Release;

const NAMES: [&str; 3] = ["till-0", "administrator", "operator"];

/// Longer than a look at the registry takes.
const A_WHILE: Duration = Duration::from_secs(2);

fn key(reference: &str) -> String {
    let reference: Reference = reference.parse().expect("a reference");
    ReferenceKey::of(&reference).expect("a tag").as_str().to_owned()
}

fn digest(number: u32) -> String {
    format!("sha256:{number:064}")
}

#[test]
fn lies_about_pushes_lead_to_looks_and_to_no_other_image() {
    let mut broker = None;
    let mut member = Member::new("till-0", &mut broker, &NAMES, "commands = true");
    let broker = broker.expect("a broker");
    member.start();
    member.pi.check("till");
    let thief = Operator::with_filters(&broker, "administrator", &[]);
    let reference = member.one.reference.clone();
    let all = member.pi.registry.requests().len();

    // Images that no container follows, on machines that the thief would like to be asked.
    for other in ["evil.example.com/till:latest", "127.0.0.1:5000/till:evil", "till:latest"] {
        let announcement = json!({"v": 1, "ref": other, "digest": digest(1)});
        thief.retain(&format!("announce/{}", key(other)), &announcement);
        // The topic of the followed image, with the text of another one.
        thief.retain(&format!("announce/{}", key(&reference)), &announcement);
    }
    std::thread::sleep(A_WHILE);
    assert_eq!(member.pi.registry.requests().len(), all, "no registry was asked");

    let before = member.heads();
    for number in 0..200 {
        let announcement = json!({"v": 1, "ref": reference, "digest": digest(number)});
        thief.retain(&format!("announce/{}", key(&reference)), &announcement);
    }
    std::thread::sleep(A_WHILE);
    let asked = member.heads() - before;
    assert!((1..=6).contains(&asked), "200 lies in a moment were {asked} looks");

    // Commands with more than they may hold, and names that no container has.
    for (word, payload) in [
        (
            "update",
            json!({"v": 1, "id": "1", "container": "till", "image": "evil:1", "force": true}),
        ),
        ("update", json!({"v": 1, "id": "2", "container": "../till"})),
        ("rollback", json!({"v": 1, "id": "3", "container": "till"})),
        ("exec", json!({"v": 1, "id": "4", "container": "till", "command": ["sh"]})),
        ("rollback", json!({"v": 1, "id": "5"})),
    ] {
        thief.publish(&format!("command/till-0/{word}"), &payload);
    }
    std::thread::sleep(A_WHILE);
    member.pi.assert_settled("till", &member.one, 1);
    assert!(member.pi.history("till").is_empty(), "{:?}", member.pi.history("till"));
    member.take_agent().terminate().expect_code(0);
}

#[test]
fn forged_verdicts_and_stops_delay_or_hasten_only_what_the_registry_offers() {
    let mut broker = None;
    let staged = "[fleet]\nsize = 1000\nwaves = \"canary\"";
    let mut member = Member::new("till-0", &mut broker, &NAMES, staged);
    let broker = broker.expect("a broker");
    member.start();
    let mut operator = Operator::new(&broker);
    let thief = Operator::with_filters(&broker, "administrator", &[]);
    let two = member.pi.registry.publish("till", &Release::new("2"));
    let row = |pi: &crate::support::Pi| pi.agent.json(&pi.engine, &["check", "--fresh", "--json"]);
    let reason = |document: &Value| document["containers"][0]["reason"].clone();
    assert_eq!(reason(&row(&member.pi)), "waiting_for_canaries");

    // Every name of the fleet says that it works: at most ten minutes are won.
    let verdict = |digest: &str, ok: bool| json!({"v": 1, "ref": two.reference, "digest": digest, "ok": ok, "why": "\u{1b}[2J"});
    let topic = |name: &str| format!("verdict/{}/{name}", key(&two.reference));
    for number in 0..1000 {
        thief.retain(&topic(&format!("till-{number}")), &verdict(&two.digest, true));
    }
    let turn = |it: &Value| {
        it["detail"].as_str().is_some_and(|detail| detail.contains("its turn comes in"))
    };
    operator.wait("device/till-0/container/till", turn);
    member.pi.assert_settled("till", &member.one, 1);

    // Names that are none of the fleet count for nothing; failures of its names hold the image.
    for name in ["bridge", "till", "till-1001", "till-99999999999"] {
        thief.retain(&topic(name), &verdict(&two.digest, false));
    }
    std::thread::sleep(A_WHILE);
    assert_eq!(reason(&row(&member.pi)), "waiting_for_canaries");
    for number in 0..1000 {
        thief.retain(&topic(&format!("till-{number}")), &verdict(&two.digest, false));
    }
    operator.wait("device/till-0/container/till", |it| it["reason"] == "fleet_refused");

    // A stop and its end, a hundred times: the disk is not written each time.
    for number in 0..100 {
        let refs = if number % 2 == 0 { json!(["*"]) } else { json!([]) };
        thief.retain("stop", &json!({"v": 1, "refs": refs, "why": number.to_string()}));
    }
    wait_until("the last word counts", SOON, || reason(&row(&member.pi)) == "fleet_refused");
    // Nonsense does not lift a stop, and an empty message does not either.
    thief.retain("stop", &json!({"v": 1, "refs": ["*"], "why": "the last one"}));
    thief.retain("stop", &json!({"v": 2, "refs": []}));
    thief.retain("stop", &json!({"refs": []}));
    thief.clear("stop");
    std::thread::sleep(A_WHILE);
    assert_eq!(reason(&row(&member.pi)), "fleet_stopped");

    // A person on the device decides.
    let update = member.pi.agent.run(&member.pi.engine, &["update", "till", "--force"]);
    update.expect_code(0);
    member.pi.assert_settled("till", &two, 1);
    let log = member.log();
    assert!(!log.contains('\u{1b}'), "{log}");
    member.take_agent().terminate().expect_code(0);
}
