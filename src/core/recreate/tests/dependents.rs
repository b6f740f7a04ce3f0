//! Which containers depend on which.

use serde_json::{Value, json};

use crate::core::recreate::dependents::{
    DependsOn, Tie, anchors, dependents, direct_dependents, ties_alone,
};
use crate::core::recreate::tests::{fixture, small};
use crate::core::recreate::{NetworkEndpoint, Recreation, ReplacedContainer, relink};

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
        let found = direct_dependents(&container, &[other(&host_config)], &DependsOn::new())
            .expect("readable documents");
        let how: Vec<Tie> = found.iter().map(|dependent| dependent.how).collect();
        assert_eq!(how, expected, "{host_config}");
        assert!(found.iter().all(|dependent| dependent.name == "other"), "{host_config}");
    }
}

#[test]
fn a_link_on_a_network_of_the_user_is_a_tie() {
    let mut linked = other(&json!({}));
    linked["NetworkSettings"] = json!({"Networks": {"front": {"Links": ["till:pay"]}}});
    let found = direct_dependents(&small().container, &[linked], &DependsOn::new())
        .expect("readable documents");
    assert_eq!(found[0].how, Tie::Link);
}

#[test]
fn a_container_does_not_depend_on_itself() {
    let mut container = small().container;
    container["HostConfig"]["VolumesFrom"] = json!(["till"]);
    assert_eq!(
        direct_dependents(&container, std::slice::from_ref(&container), &DependsOn::new()),
        Ok(vec![])
    );
}

#[test]
fn a_document_that_hides_a_tie_is_refused() {
    let unreadable = other(&json!({"VolumesFrom": "till"}));
    for document in [unreadable.clone(), ties_alone(unreadable)] {
        let refused = direct_dependents(&small().container, &[document], &DependsOn::new())
            .expect_err("it is refused");
        assert_eq!(refused.field, "HostConfig.VolumesFrom");
    }
}

#[test]
fn real_documents_contain_their_anchors() {
    for engine in ["engine-20.10", "engine-28.5", "engine-28.5-containerd"] {
        let ties = |name: &str| -> Vec<(String, Tie)> {
            let container = fixture(&format!("{engine}-{name}")).container;
            let found = anchors(&container).expect("a readable document");
            let kept = ties_alone(container);
            assert_eq!(anchors(&kept).as_ref(), Ok(&found), "{kept:#}");
            assert!(kept.to_string().len() < 700, "{engine}-{name} keeps more: {kept:#}");
            found.into_iter().map(|anchor| (anchor.container, anchor.how)).collect()
        };
        let till = [("db".to_owned(), Tie::Volumes), ("db".to_owned(), Tie::Link)];
        assert_eq!(ties("till"), till, "{engine}");
        let guest: Vec<Tie> = ties("guest").into_iter().map(|(_, how)| how).collect();
        assert_eq!(guest, [Tie::Network, Tie::Pid], "{engine}");
        assert_eq!(ties("plain"), [], "{engine}");
    }
}

fn named(name: &str, host_config: &Value) -> Value {
    let state = json!({ "Status": "running" });
    let id = format!("{name}{}", "0".repeat(60));
    json!({ "Id": id, "Name": format!("/{name}"), "HostConfig": host_config, "State": state })
}

fn names_in_order(others: &[Value]) -> Vec<(String, String)> {
    let found =
        dependents(&small().container, others, &DependsOn::new()).expect("readable documents");
    found.into_iter().map(|it| (it.name, it.on)).collect()
}

#[test]
fn indirect_dependents_are_found_and_ordered_after_their_anchors() {
    let till = named("a", &json!({ "NetworkMode": "container:till" }));
    // It depends on the main container as well, and is found there first.
    let both = named("b", &json!({ "VolumesFrom": ["till"], "PidMode": "container:c" }));
    let chain = named("c", &json!({ "PidMode": "container:a" }));
    let none = named("d", &json!({ "NetworkMode": "host" }));
    let all = [both, chain, none, till];
    let names: Vec<_> = names_in_order(&all).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["a", "c", "b"]);
    assert_eq!(names_in_order(&[]), []);
}

#[test]
fn containers_that_depend_on_each_other_are_refused() {
    let one = named("a", &json!({ "VolumesFrom": ["till", "b"] }));
    let other = named("b", &json!({ "VolumesFrom": ["a"] }));
    let refused = dependents(&small().container, &[one, other], &DependsOn::new())
        .expect_err("it is refused");
    assert!(refused.to_string().contains("depend on each other"), "{refused}");
}

#[test]
fn what_names_the_old_container_by_id_names_the_new_one_and_names_stay() {
    let old = "0123456789abcdef";
    let moved = [ReplacedContainer { name: "till".into(), from: old.into(), to: "new".into() }];
    let short = &old[..12];
    let rows = [
        (
            json!({"NetworkMode": format!("container:{old}")}),
            json!({"NetworkMode": "container:new"}),
        ),
        (json!({"PidMode": format!("container:{short}")}), json!({"PidMode": "container:new"})),
        (json!({"IpcMode": "container:till"}), json!({"IpcMode": "container:new"})),
        (
            json!({"NetworkMode": "host", "Links": null}),
            json!({"NetworkMode": "host", "Links": null}),
        ),
        (json!({"VolumesFrom": ["till:ro", "x"]}), json!({"VolumesFrom": ["till:ro", "x"]})),
        (json!({"VolumesFrom": [format!("{old}:ro")]}), json!({"VolumesFrom": ["new:ro"]})),
        (json!({"VolumesFrom": [old]}), json!({"VolumesFrom": ["new"]})),
        (
            json!({"Links": ["/till:/side/pay", "/db:/side/db"]}),
            json!({"Links": ["new:pay", "/db:/side/db"]}),
        ),
    ];
    for (before, after) in rows {
        let body = json!({ "HostConfig": before });
        let recreation = Recreation { body, connect: Vec::new(), platform: None };
        assert_eq!(relink(&recreation, &moved).body["HostConfig"], after, "{before}");
    }
}

#[test]
fn links_on_networks_of_the_user_keep_their_names() {
    let old = "0123456789abcdef";
    let moved = [ReplacedContainer { name: "till".into(), from: old.into(), to: "new".into() }];
    let endpoint = json!({ "Links": ["till:pay", format!("{old}:cash")] });
    let body = json!({ "NetworkingConfig": { "EndpointsConfig": { "front": endpoint } } });
    let connect = vec![NetworkEndpoint { network: "back".into(), config: endpoint.clone() }];
    let recreation = relink(&Recreation { body, connect, platform: None }, &moved);
    let expected = json!({ "Links": ["till:pay", "new:cash"] });
    assert_eq!(recreation.body["NetworkingConfig"]["EndpointsConfig"]["front"], expected);
    assert_eq!(recreation.connect[0].config, expected);
}

#[test]
fn a_label_is_a_tie_and_stands_behind_those_that_break() {
    let asks = |who: &Value, on: &str| {
        let id = who["Id"].as_str().expect("an ID").to_owned();
        (id, vec![on.to_owned()])
    };
    let (a, b) = (named("a", &json!({})), named("b", &json!({})));
    let both = named("c", &json!({ "VolumesFrom": ["till"] }));
    let asked = DependsOn::from([asks(&a, "till"), asks(&b, "a"), asks(&both, "till")]);
    let found = dependents(&small().container, &[b, both, a], &asked).expect("readable documents");
    let told: Vec<_> = found.iter().map(|it| (it.name.as_str(), it.how.of(&it.on))).collect();
    let of = |name, told: &str| (name, told.to_owned());
    assert_eq!(
        told,
        [
            of("c", "mounts the volumes of till"),
            of("a", "depends on till"),
            of("b", "depends on a")
        ]
    );
    // A name is compared as a whole: the beginning of an ID does not count.
    let start = named("d", &json!({}));
    let asked =
        DependsOn::from([asks(&start, &small().container["Id"].as_str().expect("an ID")[..8])]);
    assert_eq!(dependents(&small().container, &[start], &asked), Ok(vec![]));
}
