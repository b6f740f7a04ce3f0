//! What shows where an image came from, and what is decided from it.

use std::collections::BTreeSet;

use super::*;
use crate::core::decide::evidence::{Evidence, missing as lacks};
use crate::core::decide::memory::Memory;
use crate::core::decide::tests::{circumstances as at, observation, offer};
use crate::core::decide::{Decision, decide};
use crate::core::subject::Subject;
use crate::core::time::zone::Zone;
use crate::core::update::history::GroupRecord;

const TILL: &str = "shop/till:stable";

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn repo_digest(repository: &str, text: &str) -> String {
    format!("{repository}@{}", digest(text))
}

/// What is known of an image with this ID and these `RepoDigests`, on the classic store or not.
fn origin(id: &str, repo_digests: &[String], is_classic: bool, memory: &Memory) -> ImageOrigin {
    let reference = TILL.parse().expect("a reference");
    let image_id = digest(id);
    let traces = OriginTraces {
        reference: &reference,
        image_id: image_id.as_str(),
        repo_digests,
        is_classic,
    };
    known(&traces, memory)
}

#[test]
fn a_digest_of_that_very_repository_shows_it_on_the_classic_store_alone() {
    let none = Memory::default();
    let own = [repo_digest("shop/till", "manifest")];
    let by_full_name = [repo_digest("docker.io/shop/till", "manifest")];
    let of_another = [
        repo_digest("other/till", "manifest"),
        repo_digest("registry.example/shop/till", "manifest"),
    ];
    // What a build or `docker tag` gets on containerd's store: its digest is the image's ID.
    let of_a_build = [repo_digest("shop/till", "config")];
    assert_eq!(origin("config", &own, true, &none), ImageOrigin::Shown);
    assert_eq!(origin("config", &by_full_name, true, &none), ImageOrigin::Shown);
    assert_eq!(origin("config", &of_another, true, &none), ImageOrigin::Unasked);
    assert_eq!(origin("config", &[], true, &none), ImageOrigin::Unasked);
    assert_eq!(origin("config", &of_a_build, false, &none), ImageOrigin::Unasked);
    // An older Engine with that store does not name the manifest.
    assert_eq!(origin("config", &of_a_build, true, &none), ImageOrigin::Unasked);
    // Podman writes them for builds as well.
    assert_eq!(origin("config", &own, false, &none), ImageOrigin::Unasked);
}

#[test]
fn what_was_learnt_is_remembered_for_that_image_under_that_name() {
    let mut memory = Memory::default();
    let (till, other): (Reference, Reference) =
        (TILL.parse().expect("a name"), "other/till:stable".parse().expect("a name"));
    let image = digest("config");
    assert!(memory.learn_origin(image.as_str(), &other, RememberedOrigin::Pulled));
    assert_eq!(origin("config", &[], true, &memory), ImageOrigin::Unasked);
    assert!(memory.learn_origin(image.as_str(), &till, RememberedOrigin::Missing(None)));
    assert_eq!(origin("config", &[], true, &memory), ImageOrigin::Missing { offered: None });
    // Pulled by hand meanwhile.
    let own = [repo_digest("shop/till", "manifest")];
    assert_eq!(origin("config", &own, true, &memory), ImageOrigin::Shown);
    assert!(memory.learn_origin(image.as_str(), &till, RememberedOrigin::Published));
    assert!(!memory.learn_origin(image.as_str(), &till, RememberedOrigin::Published));
    assert_eq!(origin("config", &[], false, &memory), ImageOrigin::Shown);
    assert!(memory.learn_origin(image.as_str(), &till, RememberedOrigin::Pulled));
    assert!(!memory.learn_origin(image.as_str(), &till, RememberedOrigin::Missing(None)));
    assert_eq!(origin("another", &[], false, &memory), ImageOrigin::Unasked);
    // It survives a restart.
    let written = serde_json::to_string(&memory).expect("JSON");
    assert_eq!(serde_json::from_str::<Memory>(&written).expect("a memory"), memory);
}

#[test]
fn an_image_id_and_a_name_are_distinguished() {
    let id = "sha256:1a2b3c4d5e6f7a8b9c0d1e2f3a4b5c6d7e8f9a0b1c2d3e4f5a6b7c8d9e0f1a2b";
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    for (text, tags, expected) in [
        ("1a2b3c4d", &[][..], true),
        ("1a2b", &[], true),
        ("sha256:1a2b3c4d", &[], true),
        (id, &[], true),
        (&id[7..], &["till:latest"], true),
        // Names.
        ("1a2b3c4e", &[], false),
        ("1a2b3c4d", &["1a2b3c4d:latest"], false),
        ("1a2b:1", &["1a2b:1"], false),
        ("1a2", &[], false),
        ("till", &[], false),
        ("shop/1a2b3c4d", &[], false),
    ] {
        assert_eq!(is_written_as_id(text, id, &names(tags)), expected, "{text} {tags:?}");
    }
}

#[test]
fn few_digests_are_asked_for_and_each_once() {
    let running = |own: Option<&str>, manifest: Option<&str>, all: &[&str]| Running {
        digest: own.map(digest),
        manifest: manifest.map(digest),
        digests: all.iter().map(|text| digest(text)).collect(),
        ..Running::default()
    };
    assert_eq!(digests_to_ask(&running(None, None, &[])), []);
    let one = running(Some("index"), Some("index"), &["index"]);
    assert_eq!(digests_to_ask(&one), [digest("index")]);
    let two = running(Some("index"), Some("manifest"), &["index"]);
    assert_eq!(digests_to_ask(&two), [digest("index"), digest("manifest")]);
    let many: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    let many = running(None, None, &many.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(digests_to_ask(&many).len(), QUESTIONS_MAX);
}

fn circumstances(force: bool) -> Circumstances {
    Circumstances { force, ..at(Zone::utc(), "2027-01-01T12:00:00Z", "") }
}

/// A container that runs `one`, with this origin and this offer.
fn seen(origin: ImageOrigin, offered: Offered) -> Observation {
    let mut seen = observation("");
    seen.running.as_mut().expect("it is known").origin = origin;
    seen.offered = offered;
    seen
}

fn two() -> Offered {
    Offered::Digest(offer("two").index)
}

fn whole_two() -> Offered {
    Offered::Image(Box::new(offer("two")))
}

fn no_tag() -> Offered {
    Offered::Unknown(LookupError::new(Reason::NotFound, "no such tag"))
}

fn reason(seen: &Observation, force: bool) -> Option<Reason> {
    match decide(seen, &circumstances(force)) {
        Decision::No(no) => Some(no.reason),
        _ => None,
    }
}

fn missing(offered: &Offered) -> ImageOrigin {
    ImageOrigin::Missing { offered: offered.digest().cloned() }
}

#[test]
fn nothing_is_asked_of_origin_while_nothing_else_is_offered() {
    for (origin, offered, expected) in [
        (ImageOrigin::Unasked, Offered::Unasked, Some(Evidence::OfferedDigest)),
        (ImageOrigin::Unasked, Offered::Digest(offer("one").index), None),
        (ImageOrigin::Unasked, two(), Some(Evidence::Origin)),
        (ImageOrigin::Unasked, no_tag(), Some(Evidence::Origin)),
        (ImageOrigin::Shown, two(), Some(Evidence::OfferedImage)),
        (ImageOrigin::ShownNow, two(), Some(Evidence::OfferedImage)),
        (ImageOrigin::Shown, no_tag(), None),
        (missing(&two()), two(), None),
        (missing(&no_tag()), no_tag(), None),
        // The tag points elsewhere since then.
        (missing(&no_tag()), two(), Some(Evidence::Origin)),
        (ImageOrigin::Missing { offered: Some(digest("three")) }, two(), Some(Evidence::Origin)),
    ] {
        let seen = seen(origin, offered);
        assert_eq!(lacks(&seen, &circumstances(false)), expected, "{seen:?}");
    }
}

#[test]
fn the_engine_is_asked_about_the_running_image_before_any_registry_is_asked_more() {
    for (origin, offered, expected) in [
        (ImageOrigin::Unasked, Offered::Unasked, Some(Evidence::OfferedDigest)),
        (ImageOrigin::Unasked, two(), Some(Evidence::RunningImage)),
        (ImageOrigin::Shown, two(), Some(Evidence::RunningImage)),
        (missing(&two()), two(), None),
    ] {
        let mut seen = seen(origin, offered);
        seen.running.as_mut().expect("it is known").is_inspected = false;
        assert_eq!(lacks(&seen, &circumstances(false)), expected, "{seen:?}");
    }
}

#[test]
fn what_never_came_from_there_is_not_replaced_and_no_force_helps() {
    for force in [false, true] {
        let held = |origin, offered| reason(&seen(origin, offered), force);
        assert_eq!(held(missing(&two()), two()), Some(Reason::BuiltLocally));
        assert_eq!(held(missing(&two()), whole_two()), Some(Reason::BuiltLocally));
        assert_eq!(held(missing(&no_tag()), no_tag()), Some(Reason::BuiltLocally));
        assert_eq!(held(ImageOrigin::Shown, no_tag()), Some(Reason::NotFound));
        assert_eq!(held(ImageOrigin::Shown, whole_two()), None);
        assert_eq!(held(ImageOrigin::ShownNow, whole_two()), None);
        // The registry was not asked: nothing is done either.
        assert_eq!(held(ImageOrigin::Unasked, whole_two()), Some(Reason::RegistryError));
        for error in [
            Reason::RegistryUnauthorized,
            Reason::RegistryUnreachable,
            Reason::RegistryError,
            Reason::RateLimited,
        ] {
            let unanswered = ImageOrigin::Unanswered(LookupError::new(error, "no answer"));
            assert_eq!(held(unanswered, whole_two()), Some(error));
        }
    }
}

#[test]
fn the_users_word_counts_where_nothing_else_shows_it() {
    for origin in [ImageOrigin::Unasked, missing(&two())] {
        let mut seen = seen(origin, whole_two());
        seen.policy.as_mut().expect("a policy").is_from_registry = true;
        assert_eq!(reason(&seen, false), None);
        // Even if the Engine names no digest at all, as after `docker load`.
        seen.running.as_mut().expect("it is known").digests.clear();
        assert_eq!(reason(&seen, false), None);
    }
}

#[test]
fn what_follows_a_local_tag_needs_no_registry() {
    let mut seen = seen(ImageOrigin::Unasked, whole_two());
    seen.policy.as_mut().expect("a policy").commands.is_local = true;
    assert_eq!(reason(&seen, false), None);
}

#[test]
fn a_short_id_is_no_name_to_follow() {
    let mut seen = seen(ImageOrigin::Unasked, Offered::Unasked);
    seen.running.as_mut().expect("it is known").is_written_as_id = true;
    assert_eq!(lacks(&seen, &circumstances(true)), None);
    assert_eq!(reason(&seen, true), Some(Reason::PinnedByDigest));
    // The user's label is about a name, and this is no name.
    seen.policy.as_mut().expect("a policy").is_from_registry = true;
    assert_eq!(reason(&seen, true), Some(Reason::PinnedByDigest));
}

#[test]
fn an_image_that_has_no_digest_is_asked_for_nowhere() {
    let mut seen = seen(ImageOrigin::Unasked, Offered::Unasked);
    seen.running.as_mut().expect("it is known").digests.clear();
    assert_eq!(lacks(&seen, &circumstances(true)), None);
    assert_eq!(reason(&seen, true), Some(Reason::BuiltLocally));
}

#[test]
fn a_rollback_asks_the_same() {
    let roll_back = |origin| {
        let seen = seen(origin, Offered::Unasked);
        let readiness = seen.readiness.as_ref().expect("it is there");
        let plan =
            crate::core::decide::roll_back(&seen, readiness, &offer("two"), &circumstances(true));
        plan.map_err(|no| no.reason).err()
    };
    assert_eq!(roll_back(ImageOrigin::Shown), None);
    assert_eq!(roll_back(ImageOrigin::ShownNow), None);
    assert_eq!(roll_back(missing(&two())), Some(Reason::BuiltLocally));
    assert_eq!(roll_back(missing(&no_tag())), Some(Reason::BuiltLocally));
    let error = LookupError::new(Reason::RegistryUnreachable, "no answer");
    assert_eq!(roll_back(ImageOrigin::Unanswered(error)), Some(Reason::RegistryUnreachable));
}

#[test]
fn docker_hub_hides_what_it_has_not_but_no_official_image_is_private() {
    let refused = |is_anonymous| LookupError {
        is_anonymous,
        ..LookupError::new(Reason::RegistryUnauthorized, "wants a login")
    };
    let unreachable_behind_a_mirror = LookupError {
        is_missing_on_mirror: true,
        ..LookupError::new(Reason::RegistryUnreachable, "no answer")
    };
    for (name, error, expected) in [
        ("shopfront-shop", refused(true), true),
        ("shopfront-shop", refused(false), false),
        ("somebody/shop", refused(true), false),
        ("registry.example/library/shop", refused(true), false),
        ("registry.example/shop", LookupError::new(Reason::NotFound, "no such tag"), true),
        ("shop", LookupError::new(Reason::RegistryUnreachable, "no answer"), false),
        ("shop", unreachable_behind_a_mirror, true),
    ] {
        let name: Reference = name.parse().expect("a name");
        assert_eq!(has_nothing(&error, &name), expected, "{name} {error:?}");
    }
}

#[test]
fn only_news_are_remembered() {
    let news = |origin, offered| news(&seen(origin, offered), &circumstances(false));
    let same = || Offered::Digest(offer("one").index);
    let republished = || {
        let mut again = offer("one");
        again.index = digest("another index");
        Offered::Image(Box::new(again))
    };
    assert_eq!(news(ImageOrigin::Shown, same()), None);
    assert_eq!(news(ImageOrigin::Shown, two()), None);
    assert_eq!(news(ImageOrigin::Unasked, two()), None);
    assert_eq!(news(ImageOrigin::Unasked, same()), Some(RememberedOrigin::Published));
    assert_eq!(news(ImageOrigin::Unasked, republished()), Some(RememberedOrigin::Published));
    assert_eq!(news(missing(&two()), same()), Some(RememberedOrigin::Published));
    assert_eq!(news(ImageOrigin::ShownNow, two()), Some(RememberedOrigin::Published));
    let of_two = RememberedOrigin::Missing(two().digest().cloned());
    assert_eq!(news(missing(&two()), two()), Some(of_two));
    let error = LookupError::new(Reason::RegistryUnauthorized, "wants a login");
    assert_eq!(news(ImageOrigin::Unanswered(error), two()), None);
}

#[test]
fn an_older_history_tells_what_this_agent_pulled() {
    let mut record = Record {
        by: None,
        id: "1".into(),
        subject: Subject::container("till"),
        image: TILL.into(),
        from: None,
        to: Some(digest("index")),
        started_at: chrono::DateTime::UNIX_EPOCH,
        finished_at: chrono::DateTime::UNIX_EPOCH,
        outcome: Outcome::Updated,
        reason: None,
        gap_seconds: None,
        log: Vec::new(),
        dependents: Vec::new(),
        group: GroupRecord::default(),
        tries: 1,
    };
    let digests = BTreeSet::from([digest("index")]);
    let running = Running { digests, ..Running::default() };
    let till: Reference = TILL.parse().expect("a name");
    let is_shown =
        |record: &Record| was_pulled(std::slice::from_ref(record), "till", &till, &running);
    assert!(is_shown(&record));
    record.outcome = Outcome::RolledBack;
    assert!(!is_shown(&record));
    record.outcome = Outcome::Updated;
    record.image = "other/till:stable".into();
    assert!(!is_shown(&record));
    record.image = TILL.into();
    record.to = Some(digest("other"));
    assert!(!is_shown(&record));
}
