//! What Home Assistant learns. The whole document stands in `tests/golden/home-assistant.json`,
//! which was checked with the schemas of Home Assistant 2025.4.4.

use super::*;
use crate::core::fleet::message::PAYLOAD_BYTES_MAX;

const GOLDEN: &str = include_str!("../../../tests/golden/home-assistant.json");

fn document(takes_commands: bool, names: &[&str], gone: &[&str]) -> (Value, DiscoveryDocument) {
    let topics = Topics::new(&"home".parse().expect("a name"));
    let device = "till-1".parse().expect("a name");
    let discovery =
        Discovery { topics: &topics, device: &device, version: "0.1.0", takes_commands };
    let subjects = |names: &[&str]| names.iter().map(|it| Subject::container(*it)).collect();
    let document = discovery.document(&subjects(names), &subjects(gone));
    assert!(document.payload.len() <= DOCUMENT_BYTES_MAX, "{}", document.payload.len());
    (serde_json::from_slice(&document.payload).expect("JSON"), document)
}

fn ids(document: &Value) -> Vec<&str> {
    document["cmps"].as_object().expect("components").keys().map(String::as_str).collect()
}

#[test]
fn the_document_is_as_home_assistant_knows_it() {
    let topics = Topics::new(&"home".parse().expect("a name"));
    let device = "till-1".parse().expect("a name");
    let discovery =
        Discovery { topics: &topics, device: &device, version: "0.1.0", takes_commands: true };
    let subjects = BTreeSet::from([
        Subject::container("web"),
        Subject::container("shop.db"),
        Subject::service("web"),
    ]);
    let gone = BTreeSet::from([Subject::container("old")]);
    let payload = discovery.document(&subjects, &gone).payload;
    let found: Value = serde_json::from_slice(&payload).expect("JSON");
    let golden: Value = serde_json::from_str(GOLDEN).expect("JSON");
    assert_eq!(found, golden, "found:\n{found:#}");
}

#[test]
fn without_commands_there_is_nothing_to_press() {
    let (document, _) = document(false, &["web"], &[]);
    let update = &document["cmps"]["c-web"];
    assert_eq!((&update["cmd_t"], &update["pl_inst"]), (&Value::Null, &Value::Null));
    assert_eq!(document["cmps"]["check"], json!({"p": "button"}));
}

#[test]
fn what_is_gone_is_marked_unless_it_is_back() {
    let (document, whole) = document(true, &["web"], &["old", "web"]);
    assert_eq!(document["cmps"]["c-old"], json!({"p": "update"}));
    assert_eq!(document["cmps"]["c-web"]["name"], "web");
    assert_eq!(whole.described, BTreeSet::from([Subject::container("web")]));
}

#[test]
fn ids_have_few_characters_and_never_meet() {
    let long = "x".repeat(255);
    let longer = format!("{}y", &long[1..]);
    let hashed = component_id(&Subject::container("a.b"));
    let names = [
        "a",
        "A",
        "a.b",
        "a_b",
        "a-b",
        "a..b",
        "a._b",
        "c-a",
        &hashed,
        &hashed[3..],
        &long,
        &longer,
        "../..",
        "-a",
        "--a",
        "",
        " ",
        "süß",
        "a\n",
        "a/b",
        "a+",
        "#",
        "a\u{202e}b",
    ];
    let subjects =
        names.iter().flat_map(|name| [Subject::container(*name), Subject::service(*name)]);
    let ids: Vec<_> = subjects.map(|subject| component_id(&subject)).collect();
    assert!(ids.iter().all(|id| is_id(id) && id.len() <= 100), "{ids:?}");
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
    let (document, whole) = document(true, &names, &[]);
    // Docker allows the others in no name.
    assert_eq!(whole.left_out, 11, "{document:#}");
    let unique: BTreeSet<_> = document["cmps"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(_, it)| &it["uniq_id"])
        .map(Value::as_str)
        .collect();
    assert_eq!(unique.len(), names.len() - whole.left_out + 3);
    for (name, expected) in
        [("Till.2__a", "till_2_a"), ("_a_", "a"), ("a--", "a"), (long.as_str(), &long[..64])]
    {
        assert_eq!(slug(name), expected);
    }
}

#[test]
fn many_containers_stay_below_the_limit_of_the_broker() {
    let names: Vec<String> = (0..80).map(|number| format!("container-of-shop-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (_, whole) = document(true, &names, &[]);
    assert_eq!(whole.left_out, 0, "{}", whole.payload.len());
    let names: Vec<String> = (0..3000).map(|number| format!("{number:0>255}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (_, whole) = document(true, &names[..1500], &names[1500..]);
    assert!(whole.payload.len() < PAYLOAD_BYTES_MAX && whole.left_out > 1000);
    assert_eq!(whole.described.len() + whole.left_out, 1500);
    let (found, _) = document(true, &[], &names);
    assert!(ids(&found).len() > 300);
}

#[test]
fn home_assistant_takes_no_dot_in_the_name_of_a_device() {
    for (name, expected) in [("till-1", true), ("Till_1", true), ("till.local", false)] {
        assert_eq!(takes_name(&name.parse().expect("a name")), expected, "{name}");
    }
}
