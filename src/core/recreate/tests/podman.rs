//! What Podman does not show, or shows in another form: with documents of Podman 4.3.

use serde_json::{Value, json};

use crate::core::recreate::LIBPOD;
use crate::core::recreate::tests::{Documents, fixture, refused};

fn plain() -> Documents {
    fixture("podman-4.3-plain")
}

/// The path of the field for which these documents are refused.
fn refusal(documents: &Documents) -> String {
    documents.recreate().expect_err("a refusal").field
}

#[test]
fn what_a_podman_image_brought_is_left_out_although_podman_says_it_in_other_words() {
    let body = plain().recreate().expect("a body").body;
    for field in ["StopSignal", "Healthcheck", "WorkingDir", "Cmd", "Entrypoint", "Labels"] {
        assert_eq!(body.get(field), None, "{field}");
    }
    assert_eq!(body["Env"], json!([]));
}

#[test]
fn what_the_user_of_podman_wrote_stays() {
    let body = fixture("podman-4.3-hosted").recreate().expect("a body").body;
    assert_eq!(body["StopSignal"], "2");
    assert_eq!(body["WorkingDir"], "/srv/mine");
    assert_eq!(body["Labels"], json!({ "mine": "1" }));
    assert_eq!(body["Env"], json!(["MINE=1"]));
    let limits = [json!({ "Name": "nofile", "Soft": 512, "Hard": 1024 })];
    assert!(limits.iter().all(|limit| {
        body["HostConfig"]["Ulimits"].as_array().is_some_and(|all| all.contains(limit))
    }));
}

/// An interval equal to the image's is the user's all the same: without it, Podman takes 30 s.
#[test]
fn a_health_check_of_the_user_is_kept_whole() {
    let documents = fixture("podman-4.3-hosted");
    let shown = &documents.container["Config"]["Healthcheck"];
    assert_eq!(shown["Interval"], documents.image["Config"]["Healthcheck"]["Interval"]);
    assert_eq!(documents.recreate().expect("a body").body["Healthcheck"], *shown);
}

#[test]
fn defaults_of_podman_are_not_the_users() {
    let mut documents = plain();
    documents.image["Config"]["StopSignal"].take();
    documents.image["Config"]["WorkingDir"].take();
    documents.container["Config"]["StopSignal"] = json!("15");
    documents.container["Config"]["WorkingDir"] = json!("/");
    let body = documents.recreate().expect("a body").body;
    assert_eq!((body.get("StopSignal"), body.get("WorkingDir")), (None, None));
}

#[test]
fn the_mac_address_is_asked_for_again() {
    let documents = plain();
    let shown = &documents.container["NetworkSettings"]["Networks"]["podman"]["MacAddress"];
    let body = documents.recreate().expect("a body").body;
    assert!(shown.is_string());
    assert_eq!(body["NetworkingConfig"]["EndpointsConfig"]["podman"]["MacAddress"], *shown);
}

#[test]
fn addresses_that_podman_does_not_tell_are_refused_by_name() {
    let mut documents = refused("podman-4.3-network");
    assert_eq!(refusal(&documents), "NetworkSettings.Networks.blue.IPAMConfig");
    // A Podman that shows them hides nothing.
    documents.container["NetworkSettings"]["Networks"]["blue"]["IPAMConfig"] = json!({});
    assert!(documents.recreate().is_ok());
}

#[test]
fn what_the_podman_command_made_is_refused_by_name() {
    let documents = refused("podman-4.3-command");
    assert_eq!(refusal(&documents), "Libpod.Config.CreateCommand");
}

#[test]
fn settings_that_only_podman_has_are_refused_by_name() {
    let own = refused("podman-4.3-command").container[LIBPOD]["Config"].take();
    for (field, value) in [
        ("/Config/Secrets", own["Secrets"].clone()),
        ("/Config/Timezone", own["Timezone"].clone()),
        ("/Pod", json!("7e7068eb717d")),
    ] {
        assert!(!value.is_null(), "{field}");
        let mut documents = plain();
        let (parent, name) = field.rsplit_once('/').expect("a path");
        documents.container[LIBPOD].pointer_mut(parent).expect("an object")[name] = value;
        assert_eq!(refusal(&documents), format!("{LIBPOD}{}", field.replace('/', ".")));
    }
}

/// What Podman 4.3 shows for `--device /dev/null:/dev/nothing:r`.
#[test]
fn rights_to_a_device_that_podman_does_not_tell_are_refused_by_name() {
    let mut documents = plain();
    let mut device = json!({
        "PathOnHost": "/dev/null", "PathInContainer": "/dev/nothing", "CgroupPermissions": "",
    });
    documents.container["HostConfig"]["Devices"] = json!([device]);
    assert_eq!(refusal(&documents), "HostConfig.Devices[0].CgroupPermissions");
    device["CgroupPermissions"] = json!("r");
    documents.container["HostConfig"]["Devices"] = json!([device]);
    assert!(documents.recreate().is_ok());
}

/// Without Podman's own document none of this applies to a container, independent of its image.
#[test]
fn an_image_that_calls_itself_podman_changes_nothing_on_dockers_engine() {
    let mut documents = fixture("engine-20.10-plain");
    documents.container["Config"]["Env"] = json!(["container=podman", "TERM=xterm"]);
    let body = documents.recreate().expect("a body").body;
    assert_eq!(body["Env"], json!(["container=podman", "TERM=xterm"]));
    assert_eq!(documents.container.get(LIBPOD), None::<&Value>);
}
