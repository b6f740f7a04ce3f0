//! Topics: what is built is read again, and what is hostile is not read.

use super::*;

fn topics() -> Topics {
    Topics::new(&"shop".parse().expect("a fleet"))
}

fn device() -> DeviceName {
    "till-07".parse().expect("a device")
}

fn key(text: &str) -> ReferenceKey {
    ReferenceKey::of(&text.parse().expect("a reference")).expect("a tag")
}

#[test]
fn all_ways_to_write_a_reference_have_one_key() {
    // printf 'docker.io/library/nginx:latest' | sha256sum
    let nginx = key("nginx");
    assert_eq!(nginx.as_str().len(), KEY_DIGITS);
    let whole = Digest::of(b"docker.io/library/nginx:latest");
    assert!(whole.hex().starts_with(nginx.as_str()));
    for same in [
        "nginx:latest",
        "library/nginx",
        "docker.io/library/nginx:latest",
        "index.docker.io/library/nginx:latest",
    ] {
        assert_eq!(key(same), nginx, "{same}");
    }
    let pinned = format!("nginx:latest@{whole}");
    assert_eq!(key(&pinned), nginx);
    for other in ["nginx:1", "shop/nginx", "registry:443/library/nginx:latest"] {
        assert_ne!(key(other), nginx, "{other}");
    }
    let digest_only: Reference = format!("nginx@{whole}").parse().expect("a reference");
    assert_eq!(ReferenceKey::of(&digest_only), None);
}

#[test]
fn what_is_built_is_read_again() {
    let (name, build) = ("web.1_a-b".parse().expect("a name"), "ci-main".parse().expect("a name"));
    let nginx = key("nginx");
    let hex = nginx.as_str().to_owned();
    let of = |subject: Subject| Topic::of_subject(device(), &subject).expect("a topic");
    let rows = [
        (Topic::Online(device()), "device/till-07/online".to_owned(), true),
        (Topic::Agent(device()), "device/till-07/agent".to_owned(), true),
        (Topic::Container(device(), name), "device/till-07/container/web.1_a-b".to_owned(), true),
        (of(Subject::container("web")), "device/till-07/container/web".to_owned(), true),
        (of(Subject::service("web")), "device/till-07/service/web".to_owned(), true),
        (Topic::Event(device()), "device/till-07/event".to_owned(), false),
        (Topic::Reply(device()), "device/till-07/reply".to_owned(), false),
        (Topic::Verdict(nginx.clone(), device()), format!("verdict/{hex}/till-07"), true),
        (Topic::Announce(nginx), format!("announce/{hex}"), true),
        (Topic::Build(build), "build/ci-main".to_owned(), true),
        (Topic::Stop, "stop".to_owned(), true),
    ];
    let commands = CommandKind::ALL.map(|kind| {
        (Topic::Command(device(), kind), format!("command/till-07/{}", kind.word()), false)
    });
    for (topic, text, is_retained) in rows.into_iter().chain(commands) {
        let name = topics().name(&topic);
        assert_eq!(name, format!("pilotfish/1/shop/{text}"));
        assert_eq!(topics().parse(&name), Some(topic.clone()), "{name}");
        assert_eq!(topic.is_retained(), is_retained, "{name}");
    }
}

#[test]
fn foreign_and_hostile_topics_are_not_read() {
    let hex = "0123456789abcdef";
    let rows = [
        "",
        "stop",
        "pilotfish/1/shop",
        "pilotfish/1/shop/",
        "pilotfish/1/shop/stop/",
        "pilotfish/1/shop/stop/x",
        "pilotfish/1/shop2/stop",
        "pilotfish/2/shop/stop",
        "$SYS/pilotfish/1/shop/stop",
        "pilotfish/1/shop/device//online",
        "pilotfish/1/shop/device/+/online",
        "pilotfish/1/shop/device/#/online",
        "pilotfish/1/shop/device/a b/online",
        "pilotfish/1/shop/device/a\u{0}/online",
        "pilotfish/1/shop/device/till/online/x",
        "pilotfish/1/shop/device/till/container/",
        "pilotfish/1/shop/device/till/container/../x",
        "pilotfish/1/shop/device/till/container/-x",
        "pilotfish/1/shop/command/till/force",
        "pilotfish/1/shop/announce/0123456789ABCDEF",
        "pilotfish/1/shop/announce/0123456789abcde",
        "pilotfish/1/shop/build/a b",
    ];
    for name in rows {
        assert_eq!(topics().parse(name), None, "{name:?}");
    }
    assert!(topics().parse(&format!("pilotfish/1/shop/announce/{hex}")).is_some());
    let long = format!("pilotfish/1/shop/verdict/{hex}/{}", "x".repeat(65));
    assert_eq!(topics().parse(&long), None);
    assert!(Topic::of_subject(device(), &Subject::container("a/b")).is_err());
}

#[test]
fn a_device_subscribes_to_what_concerns_it() {
    let of = |is_staged| {
        let filters = topics().device_filters(&device(), is_staged).into_iter();
        let short = |it: String| it.strip_prefix("pilotfish/1/shop/").map(str::to_owned);
        filters.map(|filter| short(filter).expect("the fleet's topics")).collect::<Vec<_>>()
    };
    let always = ["announce/+", "stop", "device/till-07/container/+", "device/till-07/service/+"];
    assert_eq!(of(false), always);
    assert_eq!(of(true), [&always[..], &["verdict/+/+"]].concat());
    assert_eq!(topics().command_filter(&device()), "pilotfish/1/shop/command/till-07/+");
}

proptest::proptest! {
    #[test]
    fn reading_never_panics(text in "(pilotfish/1/shop/)?[a-z/+#0-9\\PC]{0,80}") {
        if let Some(topic) = topics().parse(&text) {
            proptest::prop_assert_eq!(topics().name(&topic), text);
        }
    }
}
