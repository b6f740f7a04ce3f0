//! What a start needs, and what the agent can see of it.

use serde_json::json;

use super::*;

fn container(host_config: impl Into<Value>) -> Value {
    json!({ "Id": "1", "Name": "/till", "HostConfig": host_config.into() })
}

fn device(path: &str) -> StartRequirement {
    StartRequirement::Device(path.into())
}

fn source(path: &str) -> StartRequirement {
    StartRequirement::Source(path.into())
}

#[test]
fn a_start_needs_devices_and_the_sources_of_bind_mounts() {
    let needs = paths(&container(json!({
        "Devices": [{ "PathOnHost": "/dev/ttyUSB0", "PathInContainer": "/dev/ttyUSB0" }],
        "Binds": ["/srv/data:/data:ro", "named:/cache", "/etc/localtime:/etc/localtime"],
        "Mounts": [
            { "Type": "bind", "Source": "/srv/conf", "Target": "/conf" },
            { "Type": "bind", "Source": "/srv/made", "Target": "/made",
              "BindOptions": { "CreateMountpoint": true } },
            { "Type": "volume", "Source": "named", "Target": "/v" },
            { "Type": "tmpfs", "Target": "/t" },
        ],
    })));
    let expected = [
        device("/dev/ttyUSB0"),
        source("/srv/data"),
        source("/etc/localtime"),
        source("/srv/conf"),
    ];
    assert_eq!(needs, expected);
}

#[test]
fn a_privileged_container_has_the_devices_that_keep_their_path() {
    let needs = paths(&container(json!({
        "Privileged": true,
        "Devices": [
            { "PathOnHost": "/dev/ttyUSB0", "PathInContainer": "/dev/ttyUSB0" },
            { "PathOnHost": "/dev/ttyUSB1", "PathInContainer": "/dev/modem" },
        ],
    })));
    assert_eq!(needs, [device("/dev/ttyUSB1")]);
}

#[test]
fn a_volume_may_stand_for_a_path_of_the_machine() {
    let named = json!({ "Mounts": [
        { "Type": "volume", "Name": "usb", "Driver": "local" },
        { "Type": "volume", "Name": "a".repeat(64), "Driver": "local" },
        { "Type": "volume", "Name": "far", "Driver": "rclone" },
        { "Type": "bind", "Source": "/srv" },
    ] });
    assert_eq!(volumes(&named).collect::<Vec<_>>(), ["usb"]);
    let of = |kind: &str, device: &str| {
        source_of_volume(&json!({ "Options": { "type": kind, "device": device } }))
    };
    assert_eq!(of("none", "/mnt/usb"), Some(source("/mnt/usb")));
    assert_eq!(of("ext4", "/dev/sda1"), Some(source("/dev/sda1")));
    assert_eq!(of("tmpfs", "tmpfs"), None);
    assert_eq!(of("nfs", ":/export"), None);
    assert_eq!(of("nfs4", "/export"), None);
    assert_eq!(of("cifs", "//server/share"), None);
    assert_eq!(source_of_volume(&json!({ "Options": null })), None);
}

#[test]
fn documents_of_any_shape_need_nothing() {
    for document in [json!(null), json!([]), container(json!({ "Devices": 7, "Binds": [1] }))] {
        assert_eq!(paths(&document), []);
        assert_eq!(network_that_was_left(&document), None);
        assert_eq!(windows(&document), []);
    }
}

#[test]
fn what_is_missing_holds_and_what_cannot_be_seen_does_not() {
    let held = |need, seen| met("", &[CheckedRequirement { need, seen }]).err().map(|no| no.reason);
    let folder = |may_hold_devices| Presence::Directory { may_hold_devices };
    for (seen, of_a_device, of_a_source) in [
        (Presence::Unknown, None, None),
        (Presence::Missing, Some(Reason::DeviceMissing), Some(Reason::StartWouldFail)),
        (Presence::Device, None, None),
        (Presence::Other, Some(Reason::DeviceMissing), None),
        (folder(true), None, None),
        (folder(false), Some(Reason::DeviceMissing), None),
    ] {
        assert_eq!(held(device("/dev/x"), seen), of_a_device, "{seen:?}");
        assert_eq!(held(source("/srv/x"), seen), of_a_source, "{seen:?}");
    }
}

#[test]
fn the_detail_names_the_thing_and_the_container() {
    let looked = [CheckedRequirement { need: device("/dev/ttyUSB0"), seen: Presence::Missing }];
    let no = met("side: ", &looked).expect_err("it is missing");
    let detail =
        "side: the device /dev/ttyUSB0 is not there: it runs, but could not be started again";
    assert_eq!(no.detail, detail);
}

#[test]
fn a_disconnected_network_is_detected() {
    let mut document = container(json!({ "NetworkMode": "shop" }));
    document["NetworkSettings"] = json!({ "Networks": { "other": { "NetworkID": "5" } } });
    assert_eq!(network_that_was_left(&document), Some("shop"));
    document["NetworkSettings"] = json!({ "Networks": { "shop": { "NetworkID": "5" } } });
    assert_eq!(network_that_was_left(&document), None);
    document["HostConfig"]["NetworkMode"] = json!("5");
    assert_eq!(network_that_was_left(&document), None);
    for mode in ["bridge", "default", "host", "none", "container:5"] {
        document["HostConfig"]["NetworkMode"] = json!(mode);
        assert_eq!(network_that_was_left(&document), None, "{mode}");
    }
}

#[test]
fn an_agent_in_a_container_sees_what_is_mounted_into_it() {
    let own = json!({ "Mounts": [
        { "Type": "bind", "Source": "/dev", "Destination": "/host/dev" },
        { "Type": "bind", "Source": "/", "Destination": "/host" },
        { "Type": "bind", "Source": "/srv/x", "Destination": "/x" },
        { "Type": "volume", "Source": "/var/lib/docker/volumes/s/_data", "Destination": "/s" },
    ] });
    let windows = windows(&own);
    let shown = |path| {
        let window = window_of(&windows, Path::new(path));
        window.map(|window| window.shown_at.display().to_string())
    };
    assert_eq!(shown("/dev/ttyUSB0").as_deref(), Some("/host/dev"));
    assert_eq!(shown("/device").as_deref(), Some("/host"));
    assert_eq!(shown("/srv/x/y").as_deref(), Some("/x"));
    assert_eq!(shown("/srv/x").as_deref(), Some("/host"), "a mount outlives its path");
    assert_eq!(window_of(&windows[..1], Path::new("/srv")), None);
}

#[test]
fn a_container_whose_network_is_joined_must_run() {
    let id = "5".repeat(64);
    let other = |name: &str, is_running: bool| json!({ "Id": id, "Name": name, "State": { "Running": is_running } });
    let mode = format!("container:{id}");
    let document = container(json!({ "NetworkMode": mode }));
    let describe = |others: &[Value]| joins("", &document, others).err().map(|no| no.detail);
    let end = "it runs, but could not be started again";
    assert_eq!(describe(&[other("/vpn", true)]), None);
    let stopped = format!("it shares the network of vpn, which does not run: {end}");
    assert_eq!(describe(&[other("/vpn", false)]), Some(stopped));
    let gone = format!("it shares the network of 555555555555, which is not there: {end}");
    assert_eq!(describe(&[]), Some(gone));
}

#[test]
fn a_link_needs_the_other_container_on_the_default_bridge_alone() {
    for (mode, is_held) in [("default", true), ("bridge", true), ("shop", false)] {
        let document = container(json!({ "NetworkMode": mode, "Links": ["/db:/till/db"] }));
        assert_eq!(joins("", &document, &[] as &[Value]).is_err(), is_held, "{mode}");
    }
    let volumes = container(json!({ "NetworkMode": "default", "VolumesFrom": ["gone"] }));
    assert_eq!(joins("", &volumes, &[] as &[Value]), Ok(()));
}
