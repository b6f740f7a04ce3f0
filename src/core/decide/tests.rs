//! Update windows and pull windows, and the agent's own container.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::core::decide::memory::Refusal;
use crate::core::decide::observation::{Offered, Previous, Running};
use crate::core::decide::offer::{Compression, Layer};
use crate::core::decide::origin::ImageOrigin;
use crate::core::docker::api_version::ApiVersion;
use crate::core::docker::reference::Platform;
use crate::core::policy::{Policy, PolicyDefaults, Selection};
use crate::core::recreate::dependents::DependsOn;
use crate::core::time::zone::zone;

const COMMON: Compression = Compression::Common;

/// An image that is published under this name.
pub(in crate::core) fn offer(name: &str) -> Offer {
    let digest = |part: &str| Digest::of(format!("{name} {part}").as_bytes());
    Offer {
        index: digest("index"),
        manifest: digest("manifest"),
        config: digest("config"),
        platform: Platform { os: "linux".into(), architecture: "arm64".into(), variant: "".into() },
        layers: vec![Layer { digest: digest("layer"), size: 1_000_000, packing: COMMON }],
        diff_ids: vec![digest("unpacked")],
        version: None,
    }
}

/// A container that runs one image, is offered another, and may be replaced in this window.
pub(in crate::core) fn observation(update_window: &str) -> Observation {
    let defaults = PolicyDefaults {
        opt_in: false,
        trusts_image_labels: false,
        deployments: std::sync::Arc::default(),
        update_window: update_window.parse().expect("a window"),
        health_timeout: Duration::from_secs(60),
        health_stable: Duration::from_secs(30),
        images_keep: 1,
        watchtower: None,
    };
    let policy = match Policy::from_labels(&BTreeMap::new(), &defaults) {
        Selection::Watched(policy) => Ok(policy),
        other => panic!("{other:?}"),
    };
    let one = offer("one");
    Observation {
        id: "0123".into(),
        name: "till".into(),
        is_self: false,
        state: "running".into(),
        exit_code: None,
        is_job: false,
        image: "shop/till:stable".into(),
        reference: "shop/till:stable".parse(),
        manager: None,
        policy,
        running: Ok(Running {
            image_id: one.config.as_str().to_owned(),
            digests: BTreeSet::from([one.index.clone()]),
            digest: Some(one.index),
            platform: one.platform,
            origin: ImageOrigin::Shown,
            is_inspected: true,
            ..Running::default()
        }),
        offered: Offered::Image(Box::new(offer("two"))),
        refusal: None,
        failing: None,
        hold: None,
        deployment: None,
        previous: Previous::None,
        open_update: None,
        readiness: Some(Box::new(readiness())),
    }
}

fn readiness() -> Readiness {
    Readiness {
        original: json!({
            "Id": "0123".repeat(16),
            "Name": "/till",
            "Image": offer("one").config.as_str(),
            "Config": { "Image": "shop/till:stable" },
            "HostConfig": {
                "AutoRemove": false,
                "NetworkMode": "host",
                "RestartPolicy": { "Name": "always", "MaximumRetryCount": 0 },
            },
            "Mounts": [],
            "NetworkSettings": { "Networks": { "host": {} } },
        }),
        image: json!({
            "Id": offer("one").config.as_str(), "Os": "linux", "Architecture": "arm64", "Config": {},
        }),
        others: Vec::new(),
        can_update: true,
        unpacks_zstd: true,
        depends_on: DependsOn::new(),
        dependent_facts: BTreeMap::new(),
        api: ApiVersion::V1_41,
        free_bytes: None,
        probe: None,
        lock: None,
        declared_files: Vec::new(),
        copied_files: Vec::new(),
        start_needs: Vec::new(),
        is_pulled: false,
        is_prefetched: false,
    }
}

/// How far the offered image has come to this machine.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Here {
    No,
    /// It is here, and a person may remove it.
    Pulled,
    Kept,
}

use Here::{Kept, Pulled};

fn seen(here: Here, update_window: &str) -> Observation {
    let mut observation = observation(update_window);
    let readiness = observation.readiness.as_mut().expect("it is there");
    readiness.is_pulled = here != Here::No;
    readiness.is_prefetched = here == Kept;
    observation
}

pub(in crate::core) fn circumstances(zone: Zone, now: &str, pull_window: &str) -> Circumstances {
    Circumstances {
        now: now.parse().expect("a time in UTC"),
        zone,
        pull_window: pull_window.parse().expect("a window"),
        force: false,
        tries_at_once: false,
        own_container: None,
        engine_endpoint: None,
        other_agent: None,
        state_dir: "/var/lib/pilotfish".into(),
    }
}

/// A plan from `decide`.
pub(in crate::core) fn plan() -> Plan {
    let now = circumstances(zone("UTC"), "2027-01-01T08:00:00Z", "");
    match decide(&seen(Pulled, ""), &now) {
        Decision::Update(plan) => *plan,
        other => panic!("no plan: {other:?}"),
    }
}

/// What was decided, in few words.
fn describe(decision: &Decision) -> String {
    match decision {
        Decision::UpToDate | Decision::Republished(_) => "up to date".into(),
        Decision::Update(_) | Decision::Together(_) => "update".into(),
        Decision::HandOver(_) => "hand over".into(),
        Decision::Fetch(fetch) => format!("fetch: {}", fetch.waits.detail),
        Decision::No(no) => format!("{}: {}", no.reason, no.detail),
    }
}

/// When, pull window, update window, where the image is, and what is decided. 2027-01-01 is a
/// Friday; Berlin is an hour ahead of UTC in winter, and two in summer.
type Row = (&'static str, &'static str, &'static str, Here, &'static str);

#[track_caller]
fn assert_decided(rows: &[Row]) {
    let berlin = zone("Europe/Berlin");
    for (now, pull_window, update_window, here, expected) in rows {
        let circumstances = circumstances(berlin.clone(), now, pull_window);
        let decision = decide(&seen(*here, update_window), &circumstances);
        assert_eq!(describe(&decision), *expected, "{now} {pull_window} {update_window} {here:?}");
    }
}

#[test]
fn an_image_is_fetched_in_its_window_and_waits_for_the_other_one() {
    assert_decided(&[
        // No windows at all.
        ("2027-01-01T12:00:00Z", "", "", Here::No, "update"),
        // Both open, both closed, and one of each.
        ("2027-01-01T00:30:00Z", "01:00-05:00", "01:00-02:00", Here::No, "update"),
        (
            "2027-01-01T00:30:00Z",
            "01:00-03:00",
            "04:00-05:00",
            Here::No,
            "fetch: to be pulled; the update window opens Fri 01 Jan 04:00",
        ),
        (
            "2027-01-01T00:30:00Z",
            "01:00-03:00",
            "04:00-05:00",
            Pulled,
            "fetch: pulled; the update window opens Fri 01 Jan 04:00",
        ),
        (
            "2027-01-01T00:30:00Z",
            "01:00-03:00",
            "04:00-05:00",
            Kept,
            "outside_window: pulled; the update window opens Fri 01 Jan 04:00",
        ),
        (
            "2027-01-01T03:30:00Z",
            "01:00-03:00",
            "04:00-05:00",
            Here::No,
            "outside_window: the pull window opens Sat 02 Jan 01:00",
        ),
        ("2027-01-01T03:30:00Z", "01:00-03:00", "04:00-05:00", Kept, "update"),
        ("2027-01-01T03:30:00Z", "01:00-03:00", "04:00-05:00", Pulled, "update"),
        (
            "2027-01-01T12:00:00Z",
            "01:00-03:00",
            "Mon 04:00-05:00",
            Here::No,
            "outside_window: the pull window opens Sat 02 Jan 01:00, the update window opens Mon 04 Jan 04:00",
        ),
    ]);
}

#[test]
fn windows_cross_midnight_and_follow_days_and_summer_time() {
    assert_decided(&[
        // Across midnight, and on days of the week.
        (
            "2027-01-01T23:30:00Z",
            "22:00-02:00",
            "Sun 03:00-04:00",
            Here::No,
            "fetch: to be pulled; the update window opens Sun 03 Jan 03:00",
        ),
        ("2027-01-02T00:59:00Z", "Fri 22:00-02:00", "Fri 23:00-03:00", Here::No, "update"),
        (
            "2027-01-02T01:00:00Z",
            "Fri 22:00-02:00",
            "Fri 23:00-03:00",
            Here::No,
            "outside_window: the pull window opens Fri 08 Jan 22:00",
        ),
        // Summer time begins on 28 March at two: a window in the hour that is left out.
        (
            "2027-03-28T00:30:00Z",
            "",
            "02:30-02:45",
            Here::No,
            "fetch: to be pulled; the update window opens Mon 29 Mar 02:30",
        ),
        ("2027-03-28T01:00:00Z", "", "02:30-03:30", Here::No, "update"),
        // It ends on 31 October at three: an hour that is shown twice.
        (
            "2027-10-31T00:30:00Z",
            "",
            "02:10-02:30",
            Kept,
            "outside_window: pulled; the update window opens Sun 31 Oct 02:10",
        ),
        ("2027-10-31T01:15:00Z", "", "02:10-02:30", Kept, "update"),
    ]);
}

#[test]
fn force_overrides_both_windows() {
    for here in [Here::No, Pulled, Kept] {
        let closed = circumstances(Zone::utc(), "2027-01-01T12:00:00Z", "01:00-03:00");
        let forced = Circumstances { force: true, ..closed };
        assert_eq!(describe(&decide(&seen(here, "04:00-05:00"), &forced)), "update");
    }
}

#[test]
fn it_is_known_when_to_look_again() {
    let opens = |here, pull_window: &str| {
        let circumstances = circumstances(Zone::utc(), "2027-01-01T12:00:00Z", pull_window);
        match decide(&seen(here, "04:00-05:00"), &circumstances) {
            Decision::Fetch(fetch) => fetch.waits.opens,
            Decision::No(no) => no.opens,
            other => panic!("{other:?}"),
        }
    };
    let update_window = "2027-01-02T04:00:00Z".parse().ok();
    let pull_window = "2027-01-02T01:00:00Z".parse().ok();
    assert_eq!(opens(Here::No, ""), update_window);
    assert_eq!(opens(Kept, "01:00-03:00"), update_window);
    assert_eq!(opens(Here::No, "01:00-03:00"), pull_window);
}

#[test]
fn what_could_never_be_applied_is_not_fetched() {
    let night = circumstances(Zone::utc(), "2027-01-01T01:30:00Z", "01:00-03:00");
    let decided = |change: &dyn Fn(&mut Observation)| {
        let mut observation = seen(Here::No, "04:00-05:00");
        change(&mut observation);
        match decide(&observation, &night) {
            Decision::No(no) => no.reason,
            other => panic!("{other:?}"),
        }
    };
    let ready = |change: fn(&mut Readiness)| {
        decided(&|it| change(it.readiness.as_mut().expect("it is there")))
    };
    assert_eq!(ready(|it| it.free_bytes = Some(1)), Reason::DiskFull);
    assert_eq!(ready(|it| it.probe = Some(Err("no answer".into()))), Reason::ProbeFailing);
    assert_eq!(
        ready(|it| it.declared_files = vec!["/run/secrets/key".into()]),
        Reason::CannotRecreate
    );
    let removes_itself = ready(|it| it.original["HostConfig"]["AutoRemove"] = json!(true));
    assert_eq!(removes_itself, Reason::CannotRecreate);
    let platform = decided(&|it| {
        let mut other = offer("two");
        other.platform.architecture = "amd64".into();
        it.offered = Offered::Image(Box::new(other));
    });
    assert_eq!(platform, Reason::PlatformMissing);
    let refused = decided(&|it| {
        let (digests, at) = (offer("two").digests(), DateTime::UNIX_EPOCH);
        it.refusal = Some(Box::new(Refusal { digests, at, detail: "exited".into() }));
    });
    assert_eq!(refused, Reason::RefusedDigest);
    let notify = decided(&|it| it.policy.as_mut().expect("labels").mode = Mode::Notify);
    assert_eq!(notify, Reason::NotifyOnly);
}

/// The agent's own container, with its state in a volume, or not.
fn own(has_volume: bool) -> Observation {
    let mut observation = observation("");
    observation.is_self = true;
    let original = &mut observation.readiness.as_mut().expect("it is there").original;
    original["Config"]["Entrypoint"] = json!(["/pilotfish"]);
    original["Config"]["Cmd"] = json!(["run"]);
    if has_volume {
        let mount = json!({
            "Type": "volume", "Name": "state", "Driver": "local",
            "Source": "/var/lib/docker/volumes/state/_data",
            "Destination": "/var/lib/pilotfish", "RW": true,
        });
        original["Mounts"] = json!([mount]);
        original["HostConfig"]["Binds"] = json!(["state:/var/lib/pilotfish"]);
    }
    observation
}

#[test]
fn the_agents_own_container_is_handed_over_where_a_helper_could_take_it() {
    let now = circumstances(Zone::utc(), "2027-01-01T12:00:00Z", "");
    assert_eq!(describe(&decide(&own(true), &now)), "hand over");
    let expected = "cannot_hand_over: Mounts have none for the state directory /var/lib/pilotfish";
    assert_eq!(describe(&decide(&own(false), &now)), expected);
    let forced = Circumstances { force: true, ..now.clone() };
    assert_eq!(describe(&decide(&own(false), &forced)), expected);
    // Where nothing is new, nothing is in its way either.
    let mut same = own(false);
    same.offered = Offered::Image(Box::new(offer("one")));
    assert_eq!(describe(&decide(&same, &now)), "up to date");
    // An unusual command is named, independent of the mounts.
    let mut other = own(true);
    let original = &mut other.readiness.as_mut().expect("it is there").original;
    original["Config"]["Cmd"] = json!(["update"]);
    assert_eq!(describe(&decide(&other, &now)), "cannot_hand_over: Config.Cmd has no word `run`");
}

#[test]
fn a_container_that_may_be_the_agents_is_not_touched() {
    let mut observation = observation("");
    let readiness = observation.readiness.as_mut().expect("it is there");
    readiness.original["HostConfig"]["NetworkMode"] = json!("container:4567");
    let other = json!({ "Id": "4567", "Name": "/vpn", "HostConfig": {}, "NetworkSettings": {} });
    readiness.others.push(other.into());
    let now = circumstances(Zone::utc(), "2027-01-01T12:00:00Z", "");
    let joined = Circumstances { own_container: Some("4567".into()), ..now.clone() };
    assert!(describe(&decide(&observation, &joined)).starts_with("cannot_hand_over: "));
    let elsewhere = Circumstances { own_container: Some("89ab".into()), ..now };
    assert_eq!(describe(&decide(&observation, &elsewhere)), "update");
}

#[test]
fn the_agents_own_container_waits_for_its_window_and_is_fetched_like_any_other() {
    let mut observation = own(true);
    observation.policy.as_mut().expect("a policy").update_window =
        "04:00-05:00".parse().expect("a window");
    let noon = circumstances(Zone::utc(), "2027-01-01T12:00:00Z", "");
    assert!(describe(&decide(&observation, &noon)).starts_with("fetch: "));
}

#[test]
fn a_rollback_of_the_agent_itself_needs_a_helper_as_well() {
    let now = circumstances(Zone::utc(), "2027-01-01T12:00:00Z", "");
    let decided = |observation: &Observation| {
        let readiness = observation.readiness.as_ref().expect("it is there");
        roll_back(observation, readiness, &offer("two"), &now).map_err(|no| no.reason)
    };
    assert!(decided(&own(true)).is_ok());
    assert_eq!(decided(&own(false)).err(), Some(Reason::CannotHandOver));
}
