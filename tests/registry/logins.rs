//! Logins from Docker's configuration and from Pilotfish's own settings, against a real registry.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pilotfish::core::docker::manifest::OCI_MANIFEST;
use pilotfish::core::docker::reference::{Digest, Reference};
use pilotfish::registry::{HostSettings, HttpRegistry, Registry as _, SettingsError};
use secrecy::ExposeSecret as _;
use tempfile::{TempDir, tempdir};

use crate::images::Image;
use crate::real::{Real, Setup};
use crate::scripted::{Scripted, manifest, reply};
use crate::support::{Observed, client, error_text, reference, settings, settings_for};

/// A password with characters that expose encoding errors: `?`, `>`, `~`, a colon and non-ASCII.
const PASSWORD: &str = "p?>~:ä";

/// `htpasswd -B` of the password.
const HTPASSWD: &str = "matrose:$2y$05$abcdefghijklmnopqrstuuO4OeUZqIbBTRY2dzAplwkAa6ox5/lsG";

struct Guarded {
    directory: TempDir,
    real: Real,
    digest: Digest,
    reference: Reference,
}

/// A registry that requires the password, with `a/b:v1` in it.
async fn guarded() -> Guarded {
    let directory = tempdir().expect("a directory");
    let image = Image::new("x", "linux/arm64");
    let plain = Real::plain(directory.path());
    plain.push_image("a/b", &image).await;
    let digest = plain.push_manifest("a/b", "v1", OCI_MANIFEST, &image.manifest).await;
    let setup = Setup { htpasswd: Some(HTPASSWD), ..Setup::default() };
    let real = Real::start(directory.path(), &setup);
    let reference = reference(&real.registry, "a/b:v1");
    Guarded { directory, real, digest, reference }
}

fn write_config(directory: &Path, registry: &str, password: &str) {
    let auth = STANDARD.encode(format!("matrose:{password}"));
    let text = format!(r#"{{"auths":{{"{registry}":{{"auth":"{auth}"}}}}}}"#);
    fs::write(directory.join("config.json"), text).expect("a file");
}

#[tokio::test]
async fn a_login_that_changes_on_disk_is_read_again() {
    let Guarded { directory, real, digest, reference } = guarded().await;
    let client = client(&settings(directory.path()));
    let none = "registry_unauthorized: HOST wants a login for a/b:v1, and there is none";
    assert_eq!(error_text(client.head(&reference).await, &real.registry), none);
    write_config(directory.path(), &real.registry, "another one");
    let wrong = "registry_unauthorized: HOST refuses the login for a/b:v1";
    assert_eq!(error_text(client.head(&reference).await, &real.registry), wrong);
    write_config(directory.path(), &real.registry, PASSWORD);
    assert_eq!(client.head(&reference).await, Ok(digest));
    fs::write(directory.path().join("config.json"), "rubbish").expect("a file");
    let rubbish = error_text(client.head(&reference).await, &real.registry);
    let expected = format!("{none}; no login was sent: the docker configuration ");
    assert!(rubbish.starts_with(&expected), "{rubbish}");
}

/// `docker pull` continues without a login for each of these files.
#[tokio::test]
async fn without_a_login_the_image_is_still_checked() {
    let directory = tempdir().expect("a directory");
    let image = Image::new("x", "linux/arm64");
    let digest = image.digest();
    // A public image behind a challenge, as on Docker Hub: a client without credentials gets a
    // token.
    let content = image.manifest.clone();
    let open = Scripted::start(move |asked| match asked.path() {
        "/token" => match asked.authorization {
            None => reply(200, &[], r#"{"token":"anonymous"}"#),
            Some(_) => reply(401, &[], ""),
        },
        _ if asked.authorization.as_deref() == Some("Bearer anonymous") => {
            manifest(OCI_MANIFEST, &content)
        }
        _ => {
            let host = asked.host.as_deref().expect("a host");
            let challenge = format!(r#"Bearer realm="http://{host}/token""#);
            reply(401, &[("www-authenticate", &challenge)], "")
        }
    })
    .await;
    let (server, path) = (open.registry(), directory.path().join("config.json"));
    let helper = |name: &str| format!(r#"{{"credsStore":"pilotfish-{name}"}}"#);
    let broken_auth = format!(r#"{{"auths":{{"{server}":{{"auth":"%"}}}}}}"#);
    for config in [
        helper("is-not-there"),
        helper("../x"),
        broken_auth,
        r#"{"auths":"#.to_owned(),
        r#"{"auths":null,"credHelpers":null,"credsStore":null}"#.to_owned(),
        r#"{"auths":[1],"credsStore":{}}"#.to_owned(),
        String::new(),
        "null".to_owned(),
    ] {
        fs::write(&path, &config).expect("a file");
        let client = client(&settings(directory.path()));
        assert_eq!(
            client.head(&reference(&server, "a/b:v1")).await,
            Ok(digest.clone()),
            "{config}"
        );
        let login = client.credentials(&server).await.expect("no failure");
        assert!(login.is_none(), "the Engine pulls without a login as well: {config}");
    }
    fs::remove_file(&path).expect("the file");
    fs::create_dir(&path).expect("a directory in its place");
    let client = client(&settings(directory.path()));
    assert_eq!(client.head(&reference(&server, "a/b:v1")).await, Ok(digest));
}

#[tokio::test]
async fn our_own_login_is_used_before_dockers() {
    let Guarded { directory, real, digest, reference } = guarded().await;
    write_config(directory.path(), &real.registry, "another one");
    let password_file = directory.path().join("password");
    fs::write(&password_file, format!("{PASSWORD}\n")).expect("a file");
    fs::set_permissions(&password_file, fs::Permissions::from_mode(0o600)).expect("its mode");
    let host = HostSettings {
        username: Some("matrose".to_owned()),
        password_file: Some(password_file.clone()),
        ..HostSettings::default()
    };
    let client = client(&settings_for(directory.path(), &real.registry, host));
    assert_eq!(client.head(&reference).await, Ok(digest));
    let login = client.credentials(&real.registry).await.expect("readable").expect("a login");
    assert_eq!((login.username.as_str(), login.password.expose_secret()), ("matrose", PASSWORD));
    fs::set_permissions(&password_file, fs::Permissions::from_mode(0o644)).expect("its mode");
    assert!(client.credentials(&real.registry).await.expect("no failure").is_none());
    let open = error_text(client.head(&reference).await, &real.registry);
    assert!(open.contains("can be read by every user"), "{open}");
    fs::remove_file(&password_file).expect("a file");
    assert!(client.credentials(&real.registry).await.expect("no failure").is_none());
    let gone = error_text(client.head(&reference).await, &real.registry);
    assert!(gone.contains("no login was sent: the password file "), "{gone}");
}

#[tokio::test]
async fn a_pull_gets_the_same_login_as_with_docker() {
    let directory = tempdir().expect("a directory");
    let client = client(&settings(directory.path()));
    let nothing = client.credentials("ghcr.io").await.expect("no configuration is no failure");
    assert!(nothing.is_none());
    let text = r#"{"auths":{"ghcr.io":{"auth":"dXNlcjo=","identitytoken":"a token"}},
        "credHelpers":{"eu.example":"pilotfish-that-is-not-there"}}"#;
    fs::write(directory.path().join("config.json"), text).expect("a file");
    let login = client.credentials("ghcr.io").await.expect("readable").expect("a login");
    assert_eq!(login.identity_token.expect("a token").expose_secret(), "a token");
    // If no login is found, the Engine pulls without one, like `docker pull`.
    assert!(client.credentials("eu.example").await.expect("no failure").is_none());
}

#[test]
fn contradictory_settings_are_refused() {
    let refused = |host: HostSettings| {
        let settings = settings_for(Path::new("/nowhere"), "r:1", host);
        HttpRegistry::new(settings, std::sync::Arc::new(Observed::default())).err()
    };
    let registry = "r:1".to_owned();
    let half = HostSettings { username: Some("x".into()), ..HostSettings::default() };
    assert_eq!(refused(half), Some(SettingsError::HalfLogin { registry: registry.clone() }));
    let mirror = "https://m/path".to_owned();
    let path = HostSettings { mirrors: vec![mirror.clone()], ..HostSettings::default() };
    assert_eq!(refused(path), Some(SettingsError::Mirror { registry, mirror }));
    assert_eq!(refused(HostSettings::default()), None);
}
