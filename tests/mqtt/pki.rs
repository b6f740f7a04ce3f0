//! `deploy/mosquitto/pki`: what it refuses, and the modes of its files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use pilotfish::core::fleet::names::DeviceName;
use tempfile::TempDir;

use crate::support::broker::{BrokerClient, BrokerKind, Mosquitto};
use crate::support::command::output;

/// Runs it in an empty directory; the error is what it prints.
fn pki(directory: &TempDir, arguments: &[&str]) -> Result<String, String> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/mosquitto/pki");
    let output = output(Command::new(program).args(arguments).current_dir(directory.path()));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

fn with_authority() -> TempDir {
    let directory = TempDir::new().expect("a directory");
    pki(&directory, &["init", "--broker", "broker.lan"]).expect("an authority");
    directory
}

#[test]
fn it_takes_the_names_that_pilotfish_takes() {
    let directory = with_authority();
    let longest = "x".repeat(64);
    for name in [
        "pi-1",
        "0",
        "a.b_c-d",
        "Till",
        &longest,
        &format!("{longest}x"),
        "",
        "a/b",
        "+",
        "a#",
        "$SYS",
        "a b",
        "a\n",
        "süd",
        ".a",
        "_a",
        "a'b",
        "a\"b",
    ] {
        let is_name = name.parse::<DeviceName>().is_ok();
        assert_eq!(pki(&directory, &["device", "--", name]).is_ok(), is_name, "{name:?}");
    }
}

#[test]
fn a_name_has_one_role_and_nothing_is_overwritten() {
    let directory = with_authority();
    pki(&directory, &["device", "pi-1"]).expect("a certificate");
    pki(&directory, &["operator"]).expect("a certificate");
    for (arguments, error) in [
        (&["init"][..], "pki: certificates/authority exists: nothing is overwritten\n"),
        (
            &["device", "pi-1"],
            "pki: certificates/pi-1 exists: nothing is overwritten; see `pki renew`\n",
        ),
        (
            &["bridge", "pi-1"],
            "pki: certificates/pi-1 exists: nothing is overwritten; see `pki renew`\n",
        ),
        (
            &["device", "bridge"],
            "pki: the ACL gives the rights of a role to the name bridge: choose another one\n",
        ),
        (
            &["device", "mirror"],
            "pki: the ACL gives the rights of a role to the name mirror: choose another one\n",
        ),
        (
            &["mirroring-device", "operator"],
            "pki: the ACL gives the rights of a role to the name operator: choose another one\n",
        ),
        (&["device", "authority"], "pki: the name authority has another use\n"),
        (&["revoke", "pi-9"], "pki: pi-9 is revoked, or was never made\n"),
        (&["renew", "pi-9"], "pki: there is no certificates/pi-9/client.key\n"),
        (&["device", "pi-2", "--days", "0"], "pki: --days 0 is not a number of days\n"),
        (&["devices", "pi-2"], "pki: unknown command devices; see `pki --help`\n"),
    ] {
        assert_eq!(pki(&directory, arguments), Err(error.to_owned()), "{arguments:?}");
    }
    let empty = TempDir::new().expect("a directory");
    assert_eq!(
        pki(&empty, &["device", "pi-1"]),
        Err("pki: there is no authority in certificates/authority: `pki init` makes it\n"
            .to_owned())
    );
}

#[test]
fn keys_are_for_their_owner() {
    let directory = with_authority();
    pki(&directory, &["device", "pi-1"]).expect("a certificate");
    for (file, expected) in [
        ("authority/ca.key", 0o600),
        ("broker/broker.key", 0o600),
        ("pi-1/client.key", 0o600),
        ("pi-1/client.crt", 0o644),
        ("broker/crl.pem", 0o644),
        ("authority", 0o700),
    ] {
        let path = directory.path().join("certificates").join(file);
        let mode = fs::metadata(path).expect("a file").permissions().mode() & 0o777;
        assert_eq!(mode, expected, "{file}");
    }
}

#[test]
fn a_revoked_name_is_free_after_its_directory_is_gone() {
    let directory = with_authority();
    pki(&directory, &["device", "pi-1"]).expect("a certificate");
    pki(&directory, &["renew", "pi-1"]).expect("a certificate");
    pki(&directory, &["revoke", "pi-1"]).expect("a list");
    assert!(pki(&directory, &["renew", "pi-1"]).is_err());
    fs::remove_dir_all(directory.path().join("certificates/pi-1")).expect("a directory");
    pki(&directory, &["device", "pi-1"]).expect("a certificate");
    let list = pki(&directory, &["list"]).expect("a list");
    let states: Vec<_> = list
        .lines()
        .filter(|line| line.starts_with("pi-1 "))
        .filter_map(|line| line.split_whitespace().nth(2))
        .collect();
    assert_eq!(states, ["revoked", "revoked", "valid"]);
}

#[test]
fn a_device_becomes_a_mirror_with_the_certificate_that_it_has() {
    let directory = with_authority();
    pki(&directory, &["device", "pi-1"]).expect("a certificate");
    let file = directory.path().join("certificates/pi-1/client.crt");
    let before = fs::read(&file).expect("a certificate");
    let said = pki(&directory, &["mirroring-device", "pi-1"]).expect("a role");
    let expected = "certificates/pi-1: this device also mirrors from now on; its certificate stays\n\
                    pilotfish.acl must have the line `user pi-1`, and below it \
                    `topic write pilotfish/1/home/announce/#`\n";
    assert_eq!(said, expected);
    assert_eq!(fs::read(&file).expect("a certificate"), before);
    assert!(pki(&directory, &["mirroring-device", "pi-1"]).is_err(), "it is one already");
    let list = pki(&directory, &["list"]).expect("a list");
    let line = list.lines().find(|line| line.starts_with("pi-1 ")).expect("a row");
    assert!(line.contains("mirroring-device valid"), "{line}");
}

#[tokio::test]
async fn the_administrator_clears_what_a_lost_device_left() {
    let broker = Mosquitto::start(BrokerKind::Shipped, &["pi-1", "operator", "administrator"]);
    let device = BrokerClient::connect(broker.settings("pi-1")).await;
    let topic = "pilotfish/1/home/device/pi-1/agent";
    assert_eq!(device.retain(topic, "x").await, Ok(()));
    device.leave().await;
    let filter = ["-t", "pilotfish/1/home/device/pi-1/#"];
    let retained = ["--retained-only", "-W", "1", "-v"];
    let look =
        || broker.run_client("mosquitto_sub", "operator", &[&retained[..], &filter].concat());
    assert!(look().starts_with(&format!("{topic} x")), "{}", look());
    let clear = [&["--remove-retained"], &retained[..], &filter].concat();
    broker.run_client("mosquitto_sub", "administrator", &clear);
    assert!(!look().contains(topic), "{}", look());
}
