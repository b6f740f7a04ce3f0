//! The page and the document of `pilotfish fleet`, compared as a whole.

use std::time::Duration;

use pilotfish::core::fleet::names::FleetName;
use pilotfish::core::fleet::overview::FleetOverview;
use pilotfish::core::fleet::topic::Topics;
use pilotfish::documents::FleetDocument;
use pilotfish::output::{FleetPage, Screen, fleet, fleet_json};
use serde_json::{Value, json};

use crate::fixtures::{berlin, digest};
use crate::golden::{compare, compare_within};

/// The reference that is rolled out.
const TILL: &str = "registry.lan/shop/till:stable";

fn home() -> FleetName {
    "home".parse().expect("a name")
}

fn note(overview: &mut FleetOverview, topic: &str, payload: &Value, now: Option<u64>) {
    let topic = Topics::new(&home()).parse(&format!("pilotfish/1/home/{topic}")).expect("a topic");
    let time = Duration::from_secs(now.unwrap_or_default());
    overview.note(&topic, payload.to_string().as_bytes(), now.is_none(), time);
}

fn online(state: &str) -> Value {
    json!({"v": 1, "state": state, "boot": 1, "version": "0.1.0"})
}

fn row(image: &str, running: &str, offered: &str, verdict: &str, reason: Option<&str>) -> Value {
    json!({
        "v": 1, "image": image, "running": digest(running), "offered": digest(offered),
        "verdict": verdict, "reason": reason, "busy": false,
    })
}

/// A fleet in the middle of a rollout, with one hostile device.
fn overview() -> FleetOverview {
    let mut fleet = FleetOverview::default();
    let mut busy = row(TILL, "till-1", "till-2", "update", None);
    busy["busy"] = json!(true);
    (busy["step"], busy["percent"]) = (json!("pull"), json!(35));
    let mut evil = row("evil\u{1b}[2J\u{202e}\n", "x", "x", "error", Some("\u{1b}]0;owned\u{7}"));
    evil["version"] = json!("\u{9b}31m");
    let checked = json!({
        "v": 1, "watched": 1, "last_check": "2026-11-20T12:00:00Z", "error": "the Engine\r\nis away",
    });
    for (topic, payload) in [
        ("device/till-1/online", online("online")),
        ("device/till-1/container/till", row(TILL, "till-2", "till-2", "up_to_date", None)),
        ("device/till-1/container/web", row("nginx:1.27", "web", "web", "up_to_date", None)),
        ("device/till-2/online", online("online")),
        ("device/till-2/container/till", busy),
        ("device/till-10/online", online("offline")),
        ("device/till-10/agent", checked),
        (
            "device/till-10/container/till",
            row(TILL, "till-1", "till-2", "held", Some("waiting_for_canaries")),
        ),
        ("device/zero/online", online("online")),
        ("device/zero/agent", json!({"v": 1, "watched": 2})),
        ("device/evil/container/evil", evil),
        ("stop", json!({"v": 1, "refs": [TILL], "why": "market\u{1b}[1mday", "by": "ann@desk"})),
        ("verdict/0000000000000000/till-1", json!("not a verdict")),
    ] {
        note(&mut fleet, topic, &payload, None);
    }
    note(&mut fleet, "device/till-2/online", &online("offline"), Some(60));
    note(&mut fleet, "device/till-2/online", &online("online"), Some(130));
    fleet
}

fn page(screen: Screen, observed: Option<u64>, lines: Option<usize>) -> String {
    let (fleet_name, overview, zone) = (home(), overview(), berlin());
    let observed = observed.map(Duration::from_secs);
    let page =
        FleetPage { fleet: &fleet_name, overview: &overview, observed, loss: None, zone: &zone };
    fleet(&page, screen, lines)
}

#[test]
fn a_fleet_into_a_pipe_has_full_width() {
    let text = page(Screen::NONE, None, None);
    assert!(!text.contains(['\x1b', '\r', '\x07', '\u{202e}', '\u{9b}']), "{text:?}");
    compare("fleet-pipe", &text);
}

#[test]
fn a_fleet_fits_every_terminal() {
    for width in [120, 80, 50] {
        let screen = Screen { width: Some(width), colour: false };
        compare_within(&format!("fleet-{width}"), &page(screen, Some(300), None), width);
    }
}

#[test]
fn a_page_is_no_longer_than_its_terminal() {
    for (width, lines) in [(120, 40), (120, 15), (80, 12), (50, 24), (50, 12)] {
        let text = page(Screen { width: Some(width), colour: true }, Some(300), Some(lines));
        let found = text.lines().count();
        assert!(found <= lines, "{found} lines, not {lines} ({width} columns):\n{text}");
    }
    let screen = Screen { width: Some(120), colour: false };
    compare("fleet-lines", &page(screen, Some(300), Some(15)));
}

#[test]
fn a_fleet_that_tells_nothing_has_advice() {
    let (name, overview, zone) = (home(), FleetOverview::default(), berlin());
    let loss = Some("the broker closed the connection");
    let page = FleetPage { fleet: &name, overview: &overview, observed: None, loss, zone: &zone };
    compare_within(
        "fleet-empty",
        &fleet(&page, Screen { width: Some(80), colour: false }, None),
        80,
    );
}

#[test]
fn a_fleet_of_ten_thousand_is_shown_at_once() {
    let mut overview = FleetOverview::default();
    for number in 0..10_000 {
        let of = |topic: &str| format!("device/till-{number:04}/{topic}");
        note(&mut overview, &of("online"), &online("online"), None);
        let (running, verdict) = if number % 2 == 0 { ("a", "up_to_date") } else { ("b", "held") };
        note(&mut overview, &of("container/till"), &row(TILL, running, "a", verdict, None), None);
    }
    let (name, zone) = (home(), berlin());
    let observed = Some(Duration::from_secs(9));
    let page = FleetPage { fleet: &name, overview: &overview, observed, loss: None, zone: &zone };
    let screen = Screen { width: Some(100), colour: false };
    compare("fleet-ten-thousand", &fleet(&page, screen, Some(20)));
}

#[test]
fn a_fleet_for_scripts_is_the_documented_document() {
    let page = fleet_json(&FleetDocument::new(&home(), &overview())).expect("JSON");
    compare("fleet-json", &page);
    assert!(!page.contains(['\x1b', '\u{202e}', '\u{9b}']), "{page:?}");
    let read: FleetDocument = serde_json::from_str(&page).expect("a fleet");
    assert_eq!(read, FleetDocument::new(&home(), &overview()));
}
