//! What the memory keeps, counts and forgets.

use super::*;

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn refusal(digests: &[&str]) -> Refusal {
    let digests = digests.iter().map(|text| digest(text)).collect();
    Refusal { digests, at: DateTime::UNIX_EPOCH, detail: "exited".into() }
}

#[test]
fn a_refusal_holds_for_the_manifest_and_every_index_that_led_to_it() {
    let mut memory = Memory::default();
    assert!(memory.refuse("till", refusal(&["manifest", "index 1"])));
    assert!(memory.refuse("till", refusal(&["manifest", "index 2"])));
    assert!(!memory.refuse("till", refusal(&["manifest", "index 2"])));
    for known in ["manifest", "index 1", "index 2"] {
        assert!(memory.refusal("till", &digest(known)).is_some(), "{known}");
    }
    assert!(memory.refusal("till", &digest("other")).is_none());
    assert!(memory.refusal("other", &digest("manifest")).is_none());
    assert_eq!(memory.allow("till"), 1);
    assert!(memory.refusal("till", &digest("manifest")).is_none());
}

#[test]
fn an_image_that_proved_itself_is_no_longer_refused() {
    let mut memory = Memory::default();
    memory.refuse("till", refusal(&["a"]));
    memory.refuse("till", refusal(&["b"]));
    memory.succeed("till", &BTreeSet::from([digest("b")]), "sha256:before");
    assert!(memory.refusal("till", &digest("a")).is_some());
    assert!(memory.refusal("till", &digest("b")).is_none());
    assert_eq!(memory.previous["till"], "sha256:before");
}

#[test]
fn refusals_are_bounded() {
    let mut memory = Memory::default();
    for number in 0..300 {
        memory.refuse("till", refusal(&[&number.to_string()]));
    }
    assert_eq!(memory.refused["till"].len(), REFUSALS_MAX);
    assert!(memory.refusal("till", &digest("299")).is_some());
}

#[test]
fn interruptions_are_counted_per_digest() {
    let mut memory = Memory::default();
    assert_eq!(memory.interrupt("till", &digest("a")), 1);
    assert_eq!(memory.interrupt("till", &digest("a")), 2);
    assert_eq!(memory.interrupt("till", &digest("b")), 1);
    memory.succeed("till", &BTreeSet::new(), "sha256:before");
    assert_eq!(memory.interrupt("till", &digest("b")), 1);
}

#[test]
fn the_third_try_that_is_cut_short_refuses_its_own_image() {
    let mut memory = Memory::default();
    let rows = [("a", false), ("a", false), ("b", false), ("a", false), ("a", false), ("a", true)];
    for (image, is_refused) in rows {
        memory.note_interruption("till", &digest(image), refusal(&[image]));
        assert_eq!(memory.refusal("till", &digest(image)).is_some(), is_refused, "{image}");
    }
    let why = memory.refusal("till", &digest("a")).map(|refusal| refusal.detail.as_str());
    assert_eq!(why, Some("3 tries were interrupted, the last one: exited"));
}

#[test]
fn only_an_image_that_is_to_blame_or_ends_the_machine_is_refused() {
    let rows = [
        (Fault::Image, true, 1, true, false),
        (Fault::Surroundings, false, 5, false, true),
        (Fault::Surroundings, true, 5, false, true),
        (Fault::Interruption, false, 5, false, false),
        (Fault::Interruption, true, 2, false, false),
        (Fault::Interruption, true, 3, true, false),
        (Fault::DamagedCopy, true, 2, false, false),
        (Fault::DamagedCopy, true, 3, true, false),
        (Fault::Person, true, 5, false, false),
    ];
    for (fault, was_outage, times, is_refused, is_paused) in rows {
        let mut memory = Memory::default();
        for _ in 0..times {
            let failed = FailedTry {
                manifest: digest("a"),
                digests: BTreeSet::from([digest("a")]),
                container_id: "1".into(),
                at: DateTime::UNIX_EPOCH,
                was_outage,
                detail: "why".into(),
            };
            memory.note_failure("till", fault, failed, true);
        }
        assert_eq!(memory.refusal("till", &digest("a")).is_some(), is_refused, "{fault:?}");
        assert_eq!(memory.failing("till", "1", &digest("a")).is_some(), is_paused, "{fault:?}");
    }
}

#[test]
fn tries_that_fail_are_counted_per_container_and_image() {
    let failed = |image: &str, id: &str| FailedTry {
        manifest: digest(image),
        digests: BTreeSet::from([digest(image)]),
        container_id: id.into(),
        at: DateTime::UNIX_EPOCH,
        was_outage: false,
        detail: "the pull failed".into(),
    };
    let mut memory = Memory::default();
    memory.fail("till", failed("a", "1"));
    memory.fail("till", failed("a", "1"));
    assert_eq!(memory.failing("till", "1", &digest("a")).map(|it| it.count), Some(2));
    assert_eq!(memory.failing("till", "2", &digest("a")), None);
    memory.fail("till", failed("b", "1"));
    assert_eq!(memory.failing("till", "1", &digest("a")), None);
    assert_eq!(memory.failing("till", "1", &digest("b")).map(|it| it.count), Some(1));
    memory.allow("till");
    assert_eq!(memory.failing("till", "1", &digest("b")), None);
    for number in 0..600 {
        memory.fail(&number.to_string(), failed("a", "1"));
    }
    assert_eq!(memory.failing.len(), FAILING_MAX);
}

#[test]
fn hosts_that_spoke_tls_are_remembered_once_and_bounded() {
    let mut memory = Memory::default();
    assert!(memory.learn_tls(["a".to_owned(), "b".to_owned()]));
    assert!(!memory.learn_tls(["b".to_owned()]));
    assert_eq!(memory.tls_hosts, ["a", "b"]);
    memory.learn_tls((0..300).map(|number| number.to_string()));
    assert_eq!(memory.tls_hosts.len(), TLS_HOSTS_MAX);
    assert!(!memory.learn_tls((0..300).map(|number| number.to_string())));
    assert_eq!(memory.tls_hosts[..2], ["a", "b"]);
}

#[test]
fn an_older_file_without_a_table_is_read() {
    let memory: Memory = serde_json::from_str("{}").expect("an empty memory");
    assert_eq!(memory, Memory::default());
}
