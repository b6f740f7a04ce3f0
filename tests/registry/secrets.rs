//! A login never appears in output, whatever goes wrong with it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pilotfish::registry::{HostSettings, Registry as _};
use tempfile::tempdir;

use crate::scripted::{RecordedRequest, Reply, Scripted, reply};
use crate::support::{Observed, client_with_observer, platform, reference, settings_for};

const PASSWORD: &str = "hunter2-password";
const IDENTITY: &str = "hunter2-identity";
const TOKEN: &str = "hunter2-token";
const SIGNATURE: &str = "hunter2-signature";

/// Echoes the credentials in every way a server can.
fn echo(asked: &RecordedRequest, token_server: &str) -> Reply {
    let credentials = asked.authorization.clone().unwrap_or_default();
    let body = format!(r#"{{"errors":[{{"code":"{credentials}","message":"{credentials}"}}]}}"#);
    let location = format!("http://0.0.0.0:1/x?signature={SIGNATURE}");
    match asked.image().0 {
        "moved" => reply(307, &[("location", &location)], body),
        "ill" => reply(500, &[], body),
        "bearer" if credentials.starts_with("Bearer") => reply(403, &[], body),
        "bearer" | "renewed" => {
            let challenge = format!(r#"Bearer realm="http://{token_server}/{TOKEN}""#);
            reply(401, &[("www-authenticate", &challenge)], body)
        }
        "named" => reply(200, &[("docker-content-digest", &credentials)], ""),
        _ => reply(401, &[("www-authenticate", "Basic realm=\"x\"")], body),
    }
}

#[tokio::test]
async fn no_printable_value_contains_a_secret() {
    let directory = tempdir().expect("a directory");
    let tokens = Scripted::start(|asked| match asked.method.as_str() {
        "GET" => reply(200, &[], format!(r#"{{"token":"{TOKEN}"}}"#)),
        _ => reply(400, &[], asked.body.clone()),
    })
    .await;
    let address = tokens.registry();
    let server = Scripted::start(move |asked| echo(asked, &address)).await;
    let host = server.registry();
    let password_file = directory.path().join("password");
    fs::write(&password_file, PASSWORD).expect("a file");
    fs::set_permissions(&password_file, fs::Permissions::from_mode(0o600)).expect("its mode");
    let own = HostSettings {
        username: Some("hunter2-name".into()),
        password_file: Some(password_file),
        ..HostSettings::default()
    };
    let docker = STANDARD.encode(format!("hunter2-name:{PASSWORD}"));
    let configs = [
        (own, String::new()),
        (HostSettings::default(), format!(r#"{{"auth":"{docker}"}}"#)),
        (HostSettings::default(), format!(r#"{{"auth":"{PASSWORD}"}}"#)),
        (HostSettings::default(), format!(r#"{{"identitytoken":"{IDENTITY}"}}"#)),
        (HostSettings::default(), format!(r#"{{"auth":{{"{PASSWORD}":1}}}}"#)),
    ];
    let mut printed = String::new();
    for (host_settings, entry) in configs {
        fs::write(
            directory.path().join("config.json"),
            format!(r#"{{"auths":{{"{host}":{entry}}}}}"#),
        )
        .expect("a file");
        let observed = Arc::new(Observed::default());
        let mut settings = settings_for(directory.path(), &host, host_settings);
        // It uses plain HTTP on another port than the registry.
        let allowed = HostSettings { plain_http: true, ..HostSettings::default() };
        settings.hosts.insert(tokens.registry(), allowed);
        let client = client_with_observer(&settings, observed.clone());
        for image in ["basic", "bearer", "renewed", "moved", "ill", "named"] {
            let reference = reference(&host, image);
            let digest = pilotfish::core::docker::reference::Digest::of(b"");
            let head = client.head(&reference).await;
            let offer = client.resolve(&reference, &digest, &platform("linux/arm64")).await;
            let login = client.credentials(&host).await;
            printed.push_str(&format!("{head:?}\n{offer:?}\n{login:?}\n"));
            for error in [head.err(), offer.err(), login.err()].into_iter().flatten() {
                printed.push_str(&format!("{error}\n"));
            }
        }
        let requests = observed.requests.lock().expect("not poisoned").clone();
        // Pilotfish's own settings name the user, and so does the password file.
        let settings = format!("{settings:?}").replace("hunter2-name", "");
        printed.push_str(&format!("{client:?}\n{settings}\n{requests:?}\n"));
    }
    assert!(printed.contains("registry_") || printed.contains("Registry"), "{printed}");
    for secret in ["hunter2", &docker] {
        let line = printed.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "holds {secret}");
    }
    // The secrets were sent, so they could have been printed.
    let shown: Vec<_> = server.asked().into_iter().filter_map(|it| it.authorization).collect();
    assert!(shown.contains(&format!("Basic {docker}")));
    assert!(shown.contains(&format!("Bearer {TOKEN}")));
    assert!(tokens.asked().iter().any(|asked| asked.body.contains(IDENTITY)));
}
