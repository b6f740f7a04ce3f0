//! The pages of `status`.

use pilotfish::core::decide::snapshot::{ActiveUpdate, Snapshot};
use pilotfish::core::subject::Subject;
use pilotfish::core::update::Step;
use pilotfish::documents::StatusDocument;
use pilotfish::output::{Screen, status, status_json};
use serde_json::Value;

use crate::fixtures::{berlin, snapshot};
use crate::golden::compare;

fn agent(snapshot: &Snapshot) -> StatusDocument {
    StatusDocument::new("1.2.3", 812, snapshot)
}

#[test]
fn status_shows_an_agent_updating_starting_and_in_trouble() {
    let busy = Snapshot {
        in_flight: vec![ActiveUpdate {
            subject: Subject::container("web"),
            step: Some(Step::Verify),
        }],
        stuck: vec![Subject::container("db")],
        is_ready: true,
        ..snapshot()
    };
    let error = Some("the Engine at unix:///var/run/docker.sock cannot be reached".to_owned());
    let pages = [busy, Snapshot::default(), Snapshot { error, ..Snapshot::default() }]
        .map(|snapshot| status(&agent(&snapshot), &berlin(), Screen::NONE));
    compare("status", &pages.join("\n"));
}

#[test]
fn status_for_scripts_is_the_documented_document() {
    let page = status_json(&agent(&snapshot())).expect("JSON");
    compare("status-json", &page);
    let document: Value = serde_json::from_str(&page).expect("JSON");
    let status: StatusDocument = serde_json::from_str(&page).expect("a status");
    assert_eq!(status, agent(&snapshot()));
    assert_eq!(document["containers"].as_array().map(Vec::len), Some(snapshot().reports.len()));
}
