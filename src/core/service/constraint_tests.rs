//! Which nodes a service may use.

use super::*;
use crate::core::service::node::{Availability, NodeState};

fn node() -> SwarmNode {
    SwarmNode {
        id: "bxkjm9secdvjkfv9ld7sii235".into(),
        hostname: "Table-7".into(),
        address: "10.78.0.2".into(),
        role: "worker".into(),
        is_leader: false,
        state: NodeState::Ready,
        availability: Availability::Active,
        os: "linux".into(),
        architecture: "aarch64".into(),
        labels: [("type", "table"), ("room", "north wing"), ("Type", "chair")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        engine_labels: [("disk".to_owned(), "ssd".to_owned())].into(),
    }
}

#[test]
fn every_form_of_a_constraint_is_understood() {
    let rows = [
        ("node.labels.type==table", true),
        ("node.labels.type == table", true),
        ("  node.labels.type  ==  TABLE  ", true),
        ("node.labels.type!=table", false),
        ("node.labels.type != chair", true),
        // The name of a label is case-sensitive, the prefix is not.
        ("Node.Labels.Type==chair", true),
        ("node.labels.TYPE==table", false),
        ("node.labels.room == north wing", true),
        ("node.labels.room == north", false),
        // A missing label is an empty value.
        ("node.labels.absent==x", false),
        ("node.labels.absent!=x", true),
        ("node.labels.==x", false),
        ("engine.labels.disk==ssd", true),
        ("engine.labels.disk!=SSD", false),
        ("node.id==bxkjm9secdvjkfv9ld7sii235", true),
        ("node.id!=another", true),
        ("node.hostname==table-7", true),
        ("node.hostname!=table-8", true),
        ("node.role==worker", true),
        ("node.role!=manager", true),
        ("node.role==manager", false),
        ("node.platform.os==linux", true),
        // As the kernel says it, not as images do.
        ("node.platform.arch==aarch64", true),
        ("node.platform.arch==arm64", false),
        ("node.platform.arch!=x86_64", true),
        ("node.ip==10.78.0.2", true),
        ("node.ip!=10.78.0.2", false),
        ("node.ip==10.78.0.0/24", true),
        ("node.ip!=10.78.0.0/24", false),
        ("node.ip==10.78.1.0/24", false),
        ("node.ip==0.0.0.0/0", true),
        ("node.ip==fe80::/10", false),
        ("node.ip!=fe80::/10", true),
        ("node.ip==nonsense", false),
        ("node.ip!=nonsense", false),
        // Swarm gives an unknown key to no node, with either operator.
        ("node.unknown==x", false),
        ("node.unknown!=x", false),
    ];
    for (text, expected) in rows {
        let constraint = Constraint::parse(text).expect(text);
        assert_eq!(constraint.is_met_by(&node()), expected, "{text}");
    }
    assert_eq!(Constraint::parse("node.labels.type=table"), None);
}

#[test]
fn a_node_without_an_address_is_in_no_network() {
    let nowhere = SwarmNode { address: String::new(), ..node() };
    let met = |text| Constraint::parse(text).expect(text).is_met_by(&nowhere);
    assert!(!met("node.ip==10.78.0.0/24") && met("node.ip!=10.78.0.0/24"));
}

#[test]
fn platforms_are_compared_as_swarm_does() {
    let of = |os: &str, architecture: &str| PlacedPlatform {
        os: os.into(),
        architecture: architecture.into(),
    };
    let on = |architecture: &str| SwarmNode { architecture: architecture.into(), ..node() };
    let rows = [
        (of("linux", "arm64"), "aarch64", true),
        (of("linux", "amd64"), "x86_64", true),
        (of("linux", "x86_64"), "x86_64", true),
        (of("linux", "amd64"), "aarch64", false),
        (of("windows", "arm64"), "aarch64", false),
        (of("linux", ""), "armv7l", true),
        (of("", ""), "riscv64", true),
        // What an image for 32-bit ARM would be without the rule for it.
        (of("linux", "arm"), "armv7l", false),
    ];
    for (platform, architecture, expected) in rows {
        assert_eq!(platform.fits(&on(architecture)), expected, "{platform:?} on {architecture}");
    }
}

#[test]
fn an_image_for_arm_names_no_architecture() {
    let image = |architecture: &str, variant: &str| Platform {
        os: "linux".into(),
        architecture: architecture.into(),
        variant: variant.into(),
    };
    let arm = PlacedPlatform::of_image(&image("arm", "v7"));
    assert_eq!((arm.os.as_str(), arm.architecture.as_str()), ("linux", ""));
    let arm64 = PlacedPlatform::of_image(&image("arm64", "v8"));
    assert_eq!(arm64.architecture, "arm64");
}
