//! What a login for a copy allows, and where it goes.

use std::fs;
use std::sync::{Arc, Mutex};

use pilotfish::core::docker::reference::Digest;
use pilotfish::registry::HostSettings;
use pilotfish::registry::transfer::{Flow, Transfer as _, UploadStart};
use tempfile::tempdir;

use crate::scripted::{Reply, Scripted, reply};
use crate::support::{client, settings, settings_for};
use crate::transfer::{at, error_text};
use crate::transfer_peer::{content, descriptor};

/// The `scope` parameters of a token request, decoded.
fn scopes(target: &str) -> String {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let scopes = query.split('&').filter_map(|pair| pair.strip_prefix("scope="));
    let decode = |text: &str| text.replace("%3A", ":").replace("%2F", "/").replace("%2C", ",");
    scopes.map(decode).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn each_request_has_a_token_for_what_it_does() {
    let directory = tempdir().expect("a directory");
    let tokens = Scripted::start(|_| reply(200, &[], r#"{"token":"x","expires_in":60}"#)).await;
    let challenge = format!(r#"Bearer realm="http://{}/token",service="s""#, tokens.registry());
    let registry = Scripted::start(move |asked| match &asked.authorization {
        None => reply(401, &[("www-authenticate", &challenge)], ""),
        Some(_) if asked.method == "POST" => reply(201, &[], ""),
        Some(_) if asked.method == "DELETE" => reply(202, &[], ""),
        Some(_) => reply(404, &[], ""),
    })
    .await;
    let allowed = HostSettings { plain_http: true, ..HostSettings::default() };
    let client = client(&settings_for(directory.path(), &tokens.registry(), allowed));
    let (here, blob) = (at(&registry.registry(), "a/b"), descriptor(b"x"));
    assert_eq!(client.digest_of(&here, "v1").await, Ok(None));
    assert_eq!(client.has_blob(&here, &blob).await, Ok(false));
    assert_eq!(client.begin_upload(&here, &blob, Some("c")).await, Ok(UploadStart::Mounted));
    assert_eq!(client.delete(&here, &blob.digest).await, Ok(()));
    assert_eq!(client.digest_of(&here, "v2").await, Ok(None));
    let found: Vec<_> = tokens.asked().iter().map(|asked| scopes(&asked.target)).collect();
    let expected = [
        "repository:a/b:pull",
        "repository:a/b:pull,push",
        "repository:a/b:pull,push repository:c:pull",
        "repository:a/b:pull,delete",
    ];
    assert_eq!(found, expected, "and each of them once");
}

/// A registry that wants a password, and answers as the script says.
async fn guarded<F>(script: F) -> Scripted
where
    F: Fn(&str) -> Reply + Send + Sync + 'static,
{
    Scripted::start(move |asked| match &asked.authorization {
        None => reply(401, &[("www-authenticate", "Basic realm=\"x\"")], ""),
        Some(_) => script(&asked.method),
    })
    .await
}

fn write_login(directory: &std::path::Path, registry: &str) {
    let config = format!(r#"{{"auths":{{"{registry}":{{"auth":"dXNlcjpwYXNz"}}}}}}"#);
    fs::write(directory.join("config.json"), config).expect("a file");
}

#[tokio::test]
async fn a_blob_may_come_from_elsewhere_without_the_login() {
    let directory = tempdir().expect("a directory");
    let bytes = content(50_000);
    let blob = descriptor(&bytes);
    let cdn = Scripted::start(move |_| reply(200, &[], bytes.clone())).await;
    let location = format!("http://{}/signed", cdn.registry());
    let source = guarded(move |_| reply(307, &[("location", &location)], "")).await;
    write_login(directory.path(), &source.registry());
    let target = crate::real::Real::plain(directory.path());
    let client = client(&settings(directory.path()));
    let (from, to) = (at(&source.registry(), "a"), at(&target.registry, "a"));
    crate::transfer::copy(&client, &from, &to, &blob).await.expect("a copy");
    assert_eq!(client.has_blob(&to, &blob).await, Ok(true));
    assert!(cdn.asked().iter().all(|asked| asked.authorization.is_none()));
}

#[tokio::test]
async fn no_content_and_no_login_follow_a_redirect() {
    let directory = tempdir().expect("a directory");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let elsewhere = Scripted::start(move |asked| {
        log.lock().expect("not poisoned").push(asked.authorization.clone());
        reply(201, &[], "")
    })
    .await;
    let location = format!("http://{}/v2/x", elsewhere.registry());
    let target = guarded(move |method| match method {
        "POST" => reply(202, &[("location", &location)], ""),
        _ => reply(307, &[("location", &location)], ""),
    })
    .await;
    write_login(directory.path(), &target.registry());
    let allowed = HostSettings { plain_http: true, ..HostSettings::default() };
    let client = client(&settings_for(directory.path(), &elsewhere.registry(), allowed));
    let to = at(&target.registry(), "a");
    let refused = client.delete(&to, &Digest::of(b"x")).await;
    let expected = "registry_error: HOST sent a redirect that is not followed: the request would change another registry";
    assert_eq!(error_text(refused, &target.registry()), expected);
    assert!(elsewhere.asked().is_empty());
    // The target may name another place for the content; that place gets no login.
    let Ok(UploadStart::Open(upload)) = client.begin_upload(&to, &descriptor(b""), None).await
    else {
        panic!("no upload")
    };
    let sent = client.send_blob(&to, &to, upload, &descriptor(b""), &Flow::default()).await;
    assert_eq!(error_text(sent, &target.registry()), "ok");
    assert_eq!(*seen.lock().expect("not poisoned"), [None]);
}
