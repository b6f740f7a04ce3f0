//! The contents of the create body, case by case.

use serde_json::{Value, json};

use crate::core::docker::api_version::ApiVersion;
use crate::core::recreate::layer_files::{may_hold_declared_files, written};
use crate::core::recreate::tests::{Documents, changed, small};
use crate::core::recreate::{RestartPolicy, restart_policy, set_compose_image, set_restart_policy};

fn body(documents: &Documents) -> Value {
    documents.recreate().unwrap_or_else(|error| panic!("{error}")).body
}

fn refused_field(documents: &Documents) -> String {
    documents.recreate().expect_err("it is refused").field
}

#[test]
fn a_container_without_settings_requests_nothing() {
    let expected = json!({
        "Image": "shop/till:stable",
        "Env": [],
        "HostConfig": {
            "AutoRemove": false,
            "NetworkMode": "front",
            "RestartPolicy": { "Name": "always", "MaximumRetryCount": 0 },
        },
        "NetworkingConfig": { "EndpointsConfig": { "front": {} } },
        "OnBuild": null,
    });
    assert_eq!(body(&small()), expected);
}

#[test]
fn a_setting_of_the_user_stays_in_the_body() {
    // field, what inspect shows, what the body requests
    let rows = [
        ("User", json!("two"), json!("two")),
        ("WorkingDir", json!("/mine"), json!("/mine")),
        ("StopSignal", json!("SIGINT"), json!("SIGINT")),
        ("Shell", json!(["/bin/bash"]), json!(["/bin/bash"])),
        ("OnBuild", json!(["ENV B=1"]), json!(["ENV B=1"])),
        ("Hostname", json!("till"), json!("till")),
        ("Tty", json!(true), json!(true)),
        ("StopTimeout", json!(3), json!(3)),
        ("Env", json!(["PATH=/bin", "SHARED=mine", "NEW=1"]), json!(["SHARED=mine", "NEW=1"])),
        ("Env", json!(["SHARED", "PATH=/bin"]), json!(["SHARED"])),
        ("Env", json!(["SHARED=x", "SHARED=old"]), json!(["SHARED=x", "SHARED=old"])),
        ("Env", json!(["SHARED=", "OPTIONS=a=b"]), json!(["SHARED=", "OPTIONS=a=b"])),
        ("Labels", json!({"which": "mine", "same": "1"}), json!({"which": "mine"})),
        ("Volumes", json!({"/data": {}, "/mine": {}}), json!({"/mine": {}})),
        ("ExposedPorts", json!({"80/tcp": {}, "81/tcp": {}}), json!({"81/tcp": {}})),
        (
            "Healthcheck",
            json!({"Test": ["CMD", "ask"], "Interval": 7, "Retries": 2}),
            json!({"Interval": 7}),
        ),
        (
            "Healthcheck",
            json!({"Test": ["NONE"], "Interval": 5, "Retries": 2}),
            json!({"Test": ["NONE"]}),
        ),
        ("Marmalade", json!({"Kind": 1}), json!({"Kind": 1})),
    ];
    for (field, shown, expected) in rows {
        let documents = changed(|it| it.container["Config"][field] = shown.clone());
        assert_eq!(body(&documents)[field], expected, "{field}: {shown}");
    }
}

#[test]
fn a_field_that_engines_never_merge_is_the_users_although_the_image_has_it() {
    let documents = changed(|it| {
        it.container["Config"]["Tty"] = json!(true);
        it.image["Config"]["Tty"] = json!(true);
    });
    assert_eq!(body(&documents)["Tty"], json!(true));
}

#[test]
fn an_unknown_field_of_the_image_follows() {
    let documents = changed(|it| {
        it.container["Config"]["Marmalade"] = json!("old");
        it.image["Config"]["Marmalade"] = json!("old");
    });
    assert_eq!(body(&documents).get("Marmalade"), None);
}

#[test]
fn a_published_port_stays_exposed() {
    let documents = changed(|it| {
        it.container["HostConfig"]["PortBindings"] = json!({"80/tcp": [{"HostPort": "8080"}]});
    });
    assert_eq!(body(&documents)["ExposedPorts"], json!({"80/tcp": {}}));
}

#[test]
fn names_that_create_refuses_to_take_back_are_left_out() {
    // network mode, UTS mode, whether the host name and the domain name stay
    let rows = [
        ("container:db", "", false, false),
        ("host", "", true, true),
        ("front", "host", false, true),
        ("front", "", true, true),
    ];
    for (network, uts, hostname, domainname) in rows {
        let documents = changed(|it| {
            it.container["HostConfig"]["NetworkMode"] = json!(network);
            it.container["HostConfig"]["UTSMode"] = json!(uts);
            it.container["Config"]["Hostname"] = json!("till");
            it.container["Config"]["Domainname"] = json!("example");
        });
        let body = body(&documents);
        assert_eq!(body.get("Hostname").is_some(), hostname, "{network} {uts}");
        assert_eq!(body.get("Domainname").is_some(), domainname, "{network} {uts}");
    }
}

fn volume(destination: &str) -> Value {
    json!({
        "Type": "volume", "Name": "v1", "Destination": destination, "Driver": "local", "RW": true,
    })
}

#[test]
fn an_anonymous_volume_is_attached_by_its_name() {
    let named = json!([{"Type": "volume", "Source": "v1", "Target": "/data"}]);
    let null = Value::Null;
    let bind = |text: &str| json!([text]);
    // Binds, Mounts and VolumesFrom shown; Binds and Mounts requested
    let rows = [
        [&null, &null, &null, &null, &named],
        [&bind("v1:/data"), &null, &null, &bind("v1:/data"), &null],
        [&bind("v1:/data/:ro"), &null, &null, &bind("v1:/data/:ro"), &null],
        [&bind("/data"), &null, &null, &bind("v1:/data"), &null],
        [&bind("/other"), &null, &null, &bind("/other"), &named],
        [
            &null,
            &json!([{"Type": "volume", "Target": "/data/"}]),
            &null,
            &null,
            &json!([{"Type": "volume", "Target": "/data/", "Source": "v1"}]),
        ],
        [
            &null,
            &json!([{"Type": "volume", "Target": "/data", "Source": "w"}]),
            &null,
            &null,
            &json!([{"Type": "volume", "Target": "/data", "Source": "w"}]),
        ],
        // The image declares it, so it may be the container's own in addition to the inherited
        // ones.
        [&null, &null, &json!(["db"]), &null, &named],
    ];
    for [binds, mounts, from, expected_binds, expected_mounts] in rows {
        let documents = changed(|it| {
            let host_config = &mut it.container["HostConfig"];
            host_config["Binds"] = binds.clone();
            host_config["Mounts"] = mounts.clone();
            host_config["VolumesFrom"] = from.clone();
            it.container["Mounts"] = json!([volume("/data")]);
        });
        let host_config = &body(&documents)["HostConfig"];
        assert_eq!(&host_config["Binds"], expected_binds, "{binds} {mounts} {from}");
        assert_eq!(&host_config["Mounts"], expected_mounts, "{binds} {mounts} {from}");
    }
}

#[test]
fn a_volume_of_another_container_comes_from_there_again() {
    let documents = changed(|it| {
        it.container["HostConfig"]["VolumesFrom"] = json!(["db"]);
        it.container["Mounts"] = json!([volume("/shared")]);
    });
    assert_eq!(body(&documents)["HostConfig"].get("Mounts"), None);
}

#[test]
fn a_volume_keeps_its_driver_and_stays_read_only() {
    let documents = changed(|it| {
        let mut volume = volume("/data");
        volume["Driver"] = json!("nfs");
        volume["RW"] = json!(false);
        it.container["Mounts"] = json!([volume]);
    });
    let expected = json!([{
        "Type": "volume", "Source": "v1", "Target": "/data", "ReadOnly": true,
        "VolumeOptions": {"DriverConfig": {"Name": "nfs"}},
    }]);
    assert_eq!(body(&documents)["HostConfig"]["Mounts"], expected);
}

#[test]
fn a_volume_without_a_name_is_found_by_its_directory_or_refused() {
    let name = "d".repeat(64);
    let with_source = |source: String| {
        changed(|it| {
            let mut volume = volume("/data");
            volume["Name"] = Value::Null;
            volume["Source"] = json!(source);
            it.container["Mounts"] = json!([volume]);
        })
    };
    let documents = with_source(format!("/var/lib/docker/volumes/{name}/_data"));
    assert_eq!(body(&documents)["HostConfig"]["Mounts"][0]["Source"], json!(name));
    let unknown = with_source("/elsewhere".to_owned());
    assert_eq!(refused_field(&unknown), "Mounts[0].Name");
}

fn on_networks(api: ApiVersion, mode: &str, networks: &Value) -> Documents {
    changed(|it| {
        it.api = api;
        it.container["HostConfig"]["NetworkMode"] = json!(mode);
        it.container["NetworkSettings"]["Networks"] = networks.clone();
    })
}

#[test]
fn only_what_was_asked_for_goes_into_an_endpoint() {
    let endpoint = json!({
        "IPAMConfig": {"IPv4Address": "10.0.0.9"},
        "Aliases": ["pay", "0123456789ab", "till"],
        "DriverOpts": {"a": "b"},
        "Links": ["db:database"],
        "GwPriority": 7,
        "Marmalade": true,
        "IPAddress": "10.0.0.9",
        "GlobalIPv6Address": "fd00::9",
        "DNSNames": ["till", "pay"],
        "NetworkID": "f00d",
    });
    let mut documents = on_networks(ApiVersion::V1_41, "front", &json!({ "front": endpoint }));
    documents.container["Config"]["Hostname"] = json!("till");
    let expected = json!({
        "IPAMConfig": {"IPv4Address": "10.0.0.9"},
        "Aliases": ["pay"],
        "DriverOpts": {"a": "b"},
        "Links": ["db:database"],
        "GwPriority": 7,
        "Marmalade": true,
    });
    assert_eq!(body(&documents)["NetworkingConfig"]["EndpointsConfig"]["front"], expected);
}

#[test]
fn below_1_44_all_networks_but_one_are_connected_later() {
    let networks = json!({"back": {"NetworkID": "bad"}, "front": {"NetworkID": "f00d"}});
    // API, network mode, at create, later
    let rows = [
        (ApiVersion::V1_41, "front", vec!["front"], vec!["back"]),
        (ApiVersion::V1_41, "f00d", vec!["front"], vec!["back"]),
        (ApiVersion::V1_41, "gone", vec!["back"], vec!["front"]),
        (ApiVersion::V1_44, "front", vec!["back", "front"], vec![]),
    ];
    for (api, mode, at_create, later) in rows {
        let recreation = on_networks(api, mode, &networks).recreate().expect("a body");
        let endpoints = &recreation.body["NetworkingConfig"]["EndpointsConfig"];
        let names: Vec<&String> = endpoints.as_object().expect("an object").keys().collect();
        let connect: Vec<&str> =
            recreation.connect.iter().map(|endpoint| endpoint.network.as_str()).collect();
        assert_eq!(names, at_create, "{api} {mode}");
        assert_eq!(connect, later, "{api} {mode}");
    }
}

#[test]
fn host_none_and_shared_networks_have_no_endpoint() {
    for mode in ["host", "none", "container:db"] {
        let networks = json!({"host": {"Aliases": ["x"]}});
        let body = body(&on_networks(ApiVersion::V1_51, mode, &networks));
        assert_eq!(body["NetworkingConfig"]["EndpointsConfig"], json!({}), "{mode}");
    }
}

#[test]
fn the_default_bridge_has_no_aliases() {
    let networks = json!({"bridge": {"Aliases": ["pay"]}});
    let body = body(&on_networks(ApiVersion::V1_51, "default", &networks));
    assert_eq!(body["NetworkingConfig"]["EndpointsConfig"], json!({"bridge": {}}));
}

#[test]
fn a_mac_address_stays_where_it_was_asked_for() {
    let (fixed, derived, random) = ("02:11:22:33:44:55", "02:42:0a:00:00:02", "ea:23:17:27:ad:2e");
    let (v1_41, v1_44, v1_51) = (ApiVersion::V1_41, ApiVersion::V1_44, ApiVersion::V1_51);
    let v1_52 = ApiVersion::new(1, 52);
    // API, network of the endpoint, Config.MacAddress, shown in the endpoint; then in Config and in
    // the endpoint of the body
    let rows = [
        (v1_41, "front", Some(fixed), fixed, Some(fixed), None),
        (v1_41, "front", None, derived, None, None),
        (v1_44, "front", Some(fixed), fixed, None, Some(fixed)),
        (v1_51, "front", None, random, None, None),
        (v1_44, "front", None, derived, None, None),
        // Engine 25.0.0 showed its own address in Config (moby issue 47228).
        (v1_44, "front", Some(derived), derived, None, None),
        // Nothing shows whether it was requested: kept.
        (v1_51, "back", None, random, None, Some(random)),
        (v1_51, "back", None, derived, None, None),
        (v1_52, "front", None, fixed, None, Some(fixed)),
        (v1_52, "front", None, derived, None, None),
    ];
    for (api, network, configured, shown, in_config, in_endpoint) in rows {
        let endpoint = json!({"IPAddress": "10.0.0.2", "MacAddress": shown});
        let mut documents = on_networks(api, "front", &json!({ network: endpoint }));
        documents.container["Config"]["MacAddress"] = json!(configured);
        let body = body(&documents);
        let got = &body["NetworkingConfig"]["EndpointsConfig"][network]["MacAddress"];
        assert_eq!(got, &json!(in_endpoint), "{api} {network} {configured:?} {shown}");
        assert_eq!(body["MacAddress"], json!(in_config), "{api} {network} {configured:?} {shown}");
    }
}

#[test]
fn the_platform_is_named_where_a_reference_may_stand_for_several() {
    assert_eq!(small().recreate().expect("a body").platform, None);
    let documents = changed(|it| {
        it.container["ImageManifestDescriptor"] =
            json!({"platform": {"os": "linux", "architecture": "arm", "variant": "v7"}});
    });
    let platform = documents.recreate().expect("a body").platform.expect("a platform");
    assert_eq!((platform.architecture.as_str(), platform.variant.as_str()), ("arm", "v7"));
}

#[test]
fn what_cannot_be_carried_over_is_refused_by_name() {
    type Change = fn(&mut Documents);
    let rows: [(&str, Change); 16] = [
        ("HostConfig.AutoRemove", |it| it.container["HostConfig"]["AutoRemove"] = json!(true)),
        ("Config.Labels.com.docker.swarm.task.id", |it| {
            it.container["Config"]["Labels"]["com.docker.swarm.task.id"] = json!("x");
        }),
        ("Image", |it| it.image["Id"] = json!("sha256:2")),
        ("image:Architecture", |it| {
            it.image["Architecture"] = json!("amd64");
            it.container["ImageManifestDescriptor"] =
                json!({"platform": {"os": "linux", "architecture": "arm64"}});
        }),
        ("NetworkSettings.Networks", |it| {
            it.container["NetworkSettings"]["Networks"] = json!({});
        }),
        ("Id", |it| it.container["Id"] = json!(7)),
        ("Config", |it| it.container["Config"] = json!(null)),
        ("Config.Image", |it| it.container["Config"]["Image"] = json!(null)),
        ("Config.Env[1]", |it| it.container["Config"]["Env"] = json!(["A=1", 2])),
        ("Config.Labels", |it| it.container["Config"]["Labels"] = json!(["a"])),
        ("Config.Cmd", |it| it.container["Config"]["Cmd"] = json!("serve")),
        ("HostConfig", |it| it.container["HostConfig"] = json!([])),
        ("HostConfig.AutoRemove", |it| it.container["HostConfig"]["AutoRemove"] = json!(null)),
        ("HostConfig.NetworkMode", |it| it.container["HostConfig"]["NetworkMode"] = json!(1)),
        ("Mounts", |it| it.container["Mounts"] = json!(null)),
        ("image:Config", |it| it.image = json!({"Id": "sha256:1"})),
    ];
    for (field, change) in rows {
        assert_eq!(refused_field(&changed(change)), field);
    }
}

#[test]
fn the_restart_policy_is_taken_away_and_given_back() {
    let mut body = body(&small());
    let original = restart_policy(&small().container).expect("a policy");
    assert_eq!(original, RestartPolicy::named("always"));
    set_restart_policy(&mut body, &RestartPolicy::no());
    assert!(restart_policy(&body).expect("a policy").is_no());
    set_restart_policy(&mut body, &original);
    assert_eq!(restart_policy(&body).expect("a policy"), original);
}

#[test]
fn the_label_of_compose_follows_only_where_it_was() {
    let label = "com.docker.compose.image";
    let mut without = body(&small());
    set_compose_image(&mut without, "sha256:2");
    assert_eq!(without.get("Labels"), None);
    let documents = changed(|it| it.container["Config"]["Labels"][label] = json!("sha256:1"));
    let mut with = body(&documents);
    set_compose_image(&mut with, "sha256:2");
    assert_eq!(with["Labels"], json!({ label: "sha256:2" }));
}

#[test]
fn only_containers_of_compose_may_hold_declared_files() {
    assert_eq!(may_hold_declared_files(&small().container), Ok(false));
    let documents =
        changed(|it| it.container["Config"]["Labels"]["com.docker.compose.project"] = json!("x"));
    assert_eq!(may_hold_declared_files(&documents.container), Ok(true));
}

#[test]
fn files_in_the_containers_own_layer_are_found() {
    let documents = changed(|it| {
        it.container["Mounts"] = json!([{"Destination": "/mnt/volume"}]);
        it.container["HostConfig"]["Tmpfs"] = json!({"/scratch/": ""});
    });
    let change = |path: &str, kind: u64| json!({"Path": path, "Kind": kind});
    let changes = json!([
        change("/run", 1),
        change("/run/secrets", 1),
        change("/run/secrets/env", 1),
        change("/srv", 0),
        change("/srv/inline.conf", 1),
        change("/srv/changed", 0),
        change("/srv/gone", 2),
        change("/mnt", 1),
        change("/mnt/volume", 1),
        change("/scratch", 1),
    ]);
    let expected = ["/run/secrets/env", "/srv/inline.conf", "/srv/changed"].map(str::to_owned);
    assert_eq!(written(&documents.container, &changes), Ok(expected.to_vec()));
    assert_eq!(written(&documents.container, &Value::Null), Ok(vec![]));
    let refused = written(&documents.container, &json!([{"Path": "/srv"}])).expect_err("no kind");
    assert_eq!(refused.field, "changes:[0].Kind");
}
