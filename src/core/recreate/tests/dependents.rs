//! What hangs on what.

use serde_json::{Value, json};

use crate::core::recreate::dependents::{Tie, anchors, dependents};
use crate::core::recreate::tests::{fixture, small};

fn other(host_config: &Value) -> Value {
    json!({ "Id": "fedcba", "Name": "/other", "HostConfig": host_config })
}

#[test]
fn every_tie_is_found_by_name_and_by_id() {
    let container = small().container;
    let id = container["Id"].as_str().expect("an ID");
    let rows = [
        (json!({"NetworkMode": "container:till"}), vec![Tie::Network]),
        (json!({"NetworkMode": format!("container:{id}")}), vec![Tie::Network]),
        (json!({"NetworkMode": "container:0123456789ab"}), vec![Tie::Network]),
        (json!({"PidMode": "container:till"}), vec![Tie::Pid]),
        (json!({"IpcMode": "container:till"}), vec![Tie::Ipc]),
        (json!({"VolumesFrom": ["x", "till:ro"]}), vec![Tie::Volumes]),
        (json!({"Links": ["/till:/other/pay"]}), vec![Tie::Link]),
        (
            json!({"NetworkMode": "container:till", "PidMode": "container:till"}),
            vec![Tie::Network, Tie::Pid],
        ),
        (json!({"NetworkMode": "till", "PidMode": "host", "IpcMode": null}), vec![]),
        (json!({"NetworkMode": "container:tilly", "VolumesFrom": ["till2"]}), vec![]),
        (json!({"NetworkMode": "container:"}), vec![]),
    ];
    for (host_config, expected) in rows {
        let found = dependents(&container, &[other(&host_config)]).expect("readable documents");
        let how: Vec<Tie> = found.iter().map(|dependent| dependent.how).collect();
        assert_eq!(how, expected, "{host_config}");
        assert!(found.iter().all(|dependent| dependent.name == "other"), "{host_config}");
    }
}

#[test]
fn a_link_on_a_network_of_the_user_is_a_tie() {
    let mut linked = other(&json!({}));
    linked["NetworkSettings"] = json!({"Networks": {"front": {"Links": ["till:pay"]}}});
    let found = dependents(&small().container, &[linked]).expect("readable documents");
    assert_eq!(found[0].how, Tie::Link);
}

#[test]
fn a_container_does_not_hang_on_itself() {
    let mut container = small().container;
    container["HostConfig"]["VolumesFrom"] = json!(["till"]);
    assert_eq!(dependents(&container, std::slice::from_ref(&container)), Ok(vec![]));
}

#[test]
fn a_document_that_hides_a_tie_is_refused() {
    let unreadable = other(&json!({"VolumesFrom": "till"}));
    let refused = dependents(&small().container, &[unreadable]).expect_err("it is refused");
    assert_eq!(refused.field, "HostConfig.VolumesFrom");
}

#[test]
fn real_documents_tell_what_they_hang_on() {
    for engine in ["engine-20.10", "engine-28.5", "engine-28.5-containerd"] {
        let ties = |name: &str| -> Vec<(String, Tie)> {
            let container = fixture(&format!("{engine}-{name}")).container;
            let anchors = anchors(&container).expect("a readable document");
            anchors.into_iter().map(|anchor| (anchor.container, anchor.how)).collect()
        };
        let till = [("db".to_owned(), Tie::Volumes), ("db".to_owned(), Tie::Link)];
        assert_eq!(ties("till"), till, "{engine}");
        let guest: Vec<Tie> = ties("guest").into_iter().map(|(_, how)| how).collect();
        assert_eq!(guest, [Tie::Network, Tie::Pid], "{engine}");
        assert_eq!(ties("plain"), [], "{engine}");
    }
}
