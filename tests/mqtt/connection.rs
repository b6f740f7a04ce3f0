//! Connections to a real Mosquitto: with certificates, with a password, and all that is wrong with
//! either. Each failure has its words, and ends without a restart of the client.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pilotfish::broker::{BrokerLogin, BrokerSettings};

use crate::support::broker::{BrokerClient, BrokerKind, Mosquitto};

/// The part of a file that no message may contain.
const KEY_BEGINS: usize = 40;

/// The words of the next loss. Nothing of the client's key is in them.
async fn words(client: &mut BrokerClient, settings: &BrokerSettings) -> String {
    let loss = client.loss().await;
    let words = format!("{loss} {loss:?}");
    if let Some(key) = settings.identity.as_ref().and_then(|(_, key)| fs::read_to_string(key).ok())
    {
        let secret: String = key.lines().nth(1).unwrap_or("-").chars().take(KEY_BEGINS).collect();
        assert!(!words.contains(&secret), "{words}");
    }
    assert!(!words.contains("opensesame") && !words.contains("open sesame"), "{words}");
    loss.to_string().replace(&settings.address.in_words(), "ADDRESS")
}

/// A directory whose files are those of a name, to be changed by a test.
fn own_files(broker: &Mosquitto, name: &str) -> (PathBuf, BrokerSettings) {
    let directory = broker.path("own");
    fs::create_dir_all(&directory).expect("a directory");
    let mut settings = broker.settings(name);
    settings.ca_file = Some(directory.join("ca.crt"));
    settings.identity = Some((directory.join("client.crt"), directory.join("client.key")));
    put(broker, name, &directory, &["ca.crt", "client.crt", "client.key"]);
    (directory, settings)
}

/// Copies files of a name, each in one step, because a client may read them at any time.
fn put(broker: &Mosquitto, name: &str, directory: &Path, files: &[&str]) {
    for file in files {
        let new = directory.join("new");
        fs::copy(broker.file_of(name, file), &new).expect("a copy");
        fs::rename(new, directory.join(file)).expect("its name");
    }
}

#[tokio::test]
async fn certificates_connect_both_ways() {
    let broker = Mosquitto::start(BrokerKind::Shipped, &["pi-1", "operator"]);
    let device = BrokerClient::connect(broker.settings("pi-1")).await;
    let filters = ["pilotfish/1/home/device/#"];
    let mut operator = BrokerClient::connect(broker.subscriber("operator", &filters)).await;
    assert_eq!(device.publish("pilotfish/1/home/device/pi-1/event", "{}").await, Ok(()));
    let message = operator.message().await;
    assert_eq!(message.topic, "pilotfish/1/home/device/pi-1/event");
    assert_eq!((message.payload.as_slice(), message.is_retained), (b"{}".as_slice(), false));
    assert!(broker.log().contains("as pi-1 (p5, c1, k120, u'pi-1')"), "{}", broker.log());
    device.leave().await;
    operator.leave().await;
}

#[tokio::test]
async fn the_name_in_the_certificate_is_the_client_id() {
    let broker = Mosquitto::start(BrokerKind::Shipped, &["pi-1", "pi-2"]);
    let mut settings = broker.settings("pi-1");
    settings.client_id = "pi-2".to_owned();
    let mut second = BrokerClient::connect(broker.settings("pi-2")).await;
    let first = BrokerClient::connect(settings).await;
    assert_eq!(second.next_within(Duration::from_millis(300)).await, None);
    assert_eq!(second.publish("pilotfish/1/home/device/pi-2/event", "{}").await, Ok(()));
    first.leave().await;
    second.leave().await;
}

#[tokio::test]
async fn two_programs_with_one_certificate_end_each_other() {
    let broker = Mosquitto::start(BrokerKind::Shipped, &["pi-1"]);
    let settings = broker.settings("pi-1");
    let mut first = BrokerClient::connect(settings.clone()).await;
    let second = BrokerClient::connect(settings.clone()).await;
    // Mosquitto 2.0.11 gives no reason.
    let words = words(&mut first, &settings).await;
    assert_eq!(words, "the broker closed the connection");
    drop((first, second));
}

#[tokio::test]
async fn without_tls_a_user_has_a_password() {
    let broker = Mosquitto::start(BrokerKind::Password, &[]);
    let file = broker.path("password");
    let write = |text: &str, mode: u32| {
        fs::write(&file, text).expect("a password");
        fs::set_permissions(&file, PermissionsExt::from_mode(mode)).expect("its mode");
    };
    let mut settings = broker.settings("pi-1");
    let username = "robot".to_owned();
    settings.login = Some(BrokerLogin { username, password_file: Some(file.clone()) });
    write("opensesame\n", 0o644);
    let mut client = BrokerClient::start(settings.clone());
    let file = file.display();
    assert_eq!(
        words(&mut client, &settings).await,
        format!(
            "mqtt.password_file is not secret: {file} can be read by every user of this \
             machine: `chmod o= {file}`"
        )
    );
    write("opensesame\n", 0o600);
    client.connected().await;
    client.leave().await;
    write("open sesame", 0o600);
    let mut client = BrokerClient::start(settings.clone());
    assert_eq!(
        words(&mut client, &settings).await,
        "the broker refuses the connection: not authorized (135); check user, password and the \
         grants of this device; the next attempt is in an hour"
    );
    drop(client);
}

#[tokio::test]
async fn a_broker_that_stops_is_left_and_found_again() {
    let mut broker = Mosquitto::start(BrokerKind::Shipped, &["pi-1"]);
    let settings = broker.settings("pi-1");
    let mut client = BrokerClient::connect(settings.clone()).await;
    broker.stop();
    assert_eq!(words(&mut client, &settings).await, "the broker closed the connection");
    broker.start_again();
    client.connected().await;
    client.leave().await;
}

#[tokio::test]
async fn a_plain_broker_serves_this_machine() {
    let broker = Mosquitto::start(BrokerKind::Plain, &[]);
    let client = BrokerClient::connect(broker.subscriber("pi-1", &["a"])).await;
    assert_eq!(client.publish("a", "1").await, Ok(()));
    client.leave().await;
}

#[tokio::test]
async fn files_that_are_wrong_are_read_again_after_each_failure() {
    let broker = Mosquitto::start(BrokerKind::Shipped, &["pi-1", "pi-2", "pi-3"]);
    let other = Mosquitto::stopped(broker.address().ip(), BrokerKind::Shipped, &["pi-1"]);
    broker.expire("pi-2");
    broker.pki(&["revoke", "pi-3"]);
    broker.reload();
    let (own, settings) = own_files(&broker, "pi-1");
    let all = ["ca.crt", "client.crt", "client.key"];
    let key = own.join("client.key");
    let certificate = own.join("client.crt");
    for (from, name, files, expected) in [
        (
            &other,
            "pi-1",
            &all[..1],
            "the certificate of ADDRESS is signed by an authority that is not trusted: check \
             mqtt.ca_file"
                .to_owned(),
        ),
        (
            &other,
            "pi-1",
            &all[1..],
            "the broker does not know the authority of this device's certificate".to_owned(),
        ),
        (
            &broker,
            "pi-2",
            &all,
            "the broker says \"expired\": either the certificate of this device has expired, or \
             the revocation list (CRL) of the broker"
                .to_owned(),
        ),
        (
            &broker,
            "pi-3",
            &all,
            "the broker says that the certificate of this device is revoked".to_owned(),
        ),
        (
            &broker,
            "pi-2",
            &all[2..],
            format!("{} is not the key of {}", key.display(), certificate.display()),
        ),
    ] {
        put(&broker, "pi-1", &own, &all);
        put(from, name, &own, files);
        let mut client = BrokerClient::start(settings.clone());
        assert_eq!(words(&mut client, &settings).await, expected, "{name} {files:?}");
        put(&broker, "pi-1", &own, &all);
        client.connected().await;
        client.leave().await;
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_hears_what_to_set() {
    let broker = Mosquitto::start(BrokerKind::Shipped, &["pi-1"]);
    let mut settings = broker.settings("pi-1");
    settings.identity = None;
    let mut client = BrokerClient::start(settings.clone());
    assert_eq!(
        words(&mut client, &settings).await,
        "the broker wants a certificate: set mqtt.cert_file and mqtt.key_file"
    );
    drop(client);
}

#[tokio::test]
async fn a_brokers_certificate_must_be_valid_and_hold_its_name() {
    let mut broker = Mosquitto::start(BrokerKind::Shipped, &["pi-1"]);
    let settings = broker.settings("pi-1");
    broker.pki(&["renew", "broker", "--broker", "elsewhere.example"]);
    broker.stop();
    broker.start_again();
    let mut client = BrokerClient::start(settings.clone());
    assert_eq!(
        words(&mut client, &settings).await,
        "the certificate of ADDRESS is for another name: its subjectAltName must hold the host of \
         mqtt.url"
    );
    broker.expire("broker");
    broker.stop();
    broker.start_again();
    loop {
        // Attempts may meet the broker while it starts.
        let words = words(&mut client, &settings).await;
        if words == "the certificate of ADDRESS has expired, or the clock of this device is wrong" {
            break;
        }
        assert!(words.starts_with("no broker answers at ADDRESS"), "{words}");
    }
    broker.pki(&["renew", "broker", "--broker", "127.0.0.1"]);
    broker.stop();
    broker.start_again();
    client.connected().await;
    client.leave().await;
}

#[tokio::test]
async fn an_expired_revocation_list_locks_all_clients_out_until_it_is_renewed() {
    let broker = Mosquitto::start(BrokerKind::Shipped, &["pi-1"]);
    let settings = broker.settings("pi-1");
    broker.expire_list();
    broker.reload();
    let mut client = BrokerClient::start(settings.clone());
    assert_eq!(
        words(&mut client, &settings).await,
        "the broker says \"expired\": either the certificate of this device has expired, or the \
         revocation list (CRL) of the broker"
    );
    broker.pki(&["renew-crl"]);
    broker.reload();
    client.connected().await;
    client.leave().await;
}

#[tokio::test]
async fn a_renewed_certificate_is_used_at_the_next_connection() {
    let mut broker = Mosquitto::start(BrokerKind::Shipped, &["pi-1"]);
    let mut client = BrokerClient::connect(broker.settings("pi-1")).await;
    let first = broker.path("first");
    fs::copy(broker.file_of("pi-1", "client.crt"), &first).expect("a copy");
    broker.pki(&["renew", "pi-1"]);
    // With the file that it began with, the client could not come back.
    broker.revoke_one(&first);
    broker.stop();
    broker.start_again();
    client.connected().await;
    client.leave().await;
}

#[tokio::test]
async fn tls_and_plain_do_not_mix() {
    let broker = Mosquitto::start(BrokerKind::Shipped, &["pi-1"]);
    let mut settings = broker.settings("pi-1");
    settings.address.has_tls = false;
    let mut client = BrokerClient::start(settings.clone());
    assert_eq!(
        words(&mut client, &settings).await,
        "the broker closed the connection before it accepted this device; its log says why"
    );
    let plain = Mosquitto::start(BrokerKind::Plain, &[]);
    settings.address.has_tls = true;
    settings.address.port = plain.address().port();
    let mut client = BrokerClient::start(settings.clone());
    assert_eq!(
        words(&mut client, &settings).await,
        "the broker closed the connection before it accepted this device; its log says why"
    );
    drop(client);
}

#[tokio::test]
async fn an_address_without_a_broker_is_named() {
    let mut broker = Mosquitto::start(BrokerKind::Plain, &[]);
    broker.stop();
    let mut settings = broker.settings("pi-1");
    let mut client = BrokerClient::start(settings.clone());
    assert_eq!(
        words(&mut client, &settings).await,
        "no broker answers at ADDRESS (connection refused)"
    );
    broker.start_again();
    client.connected().await;
    settings.address.host = "no-such-host.invalid".to_owned();
    let mut client = BrokerClient::start(settings.clone());
    assert_eq!(
        words(&mut client, &settings).await,
        "the name no-such-host.invalid is not found: check mqtt.url, and the DNS server of this \
         machine"
    );
    drop(client);
}
