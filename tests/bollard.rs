//! Facts about bollard for which parts of the Engine port do not use it. If one of these tests
//! fails after an update of bollard, the workaround that it names can be removed.

#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::sync::{Arc, Mutex};

use bollard::auth::DockerCredentials;
use bollard::models::{ContainerInspectResponse, ContainerSummary};
use bollard::query_parameters::CreateImageOptions;
use bollard::{ClientVersion, Docker};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Answers one request on a socket with an empty list, and returns the request.
async fn one_request(directory: &tempfile::TempDir) -> (String, tokio::task::JoinHandle<String>) {
    let path = directory.path().join("engine.sock");
    let listener = tokio::net::UnixListener::bind(&path).expect("a socket");
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut request = vec![0; 8192];
        let length = stream.read(&mut request).await.expect("a request");
        let answer =
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]";
        stream.write_all(answer).await.expect("an answer");
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    (path.to_string_lossy().into_owned(), server)
}

fn connect(path: &str) -> Docker {
    let version = ClientVersion { major_version: 1, minor_version: 41 };
    Docker::connect_with_unix(path, 10, &version).expect("a client")
}

#[test]
fn inspect_drops_fields_it_does_not_know() {
    let document = json!({ "Id": "1", "HostConfig": { "FutureField": 7, "KernelMemory": 9 } });
    let typed: ContainerInspectResponse = serde_json::from_value(document).expect("typed");
    let back: Value = serde_json::to_value(typed).expect("raw again");
    assert!(back.pointer("/HostConfig/FutureField").is_none());
    assert!(back.pointer("/HostConfig/KernelMemory").is_none());
}

#[test]
fn one_unknown_state_fails_a_whole_list() {
    let list = json!([{ "Id": "1", "State": "running" }, { "Id": "2", "State": "hibernating" }]);
    assert!(serde_json::from_value::<Vec<ContainerSummary>>(list).is_err());
}

#[tokio::test]
async fn the_api_version_is_never_sent() {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, server) = one_request(&directory).await;
    connect(&path)
        .list_images(None::<bollard::query_parameters::ListImagesOptions>)
        .await
        .expect("an answer");
    let request = server.await.expect("a request");
    assert!(request.starts_with("GET /images/json"), "{request}");
}

#[tokio::test]
async fn credentials_have_a_base64_alphabet_that_engines_do_not_decode() {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, server) = one_request(&directory).await;
    let seen = Arc::new(Mutex::new(String::new()));
    let sink = Arc::clone(&seen);
    let docker = connect(&path).with_request_modifier(move |request| {
        let header = request.headers().get("x-registry-auth").expect("credentials");
        *sink.lock().expect("the lock") = header.to_str().expect("text").to_owned();
        request
    });
    let options = CreateImageOptions { from_image: Some("x".into()), ..Default::default() };
    let password = Some("??>>~~??>>~~??>>".to_owned());
    let credentials = DockerCredentials { password, ..DockerCredentials::default() };
    let mut pull = Box::pin(docker.create_image(Some(options), None, Some(credentials)));
    while pull.next().await.is_some_and(|line| line.is_ok()) {}
    server.await.expect("a request");
    let header = seen.lock().expect("the lock").clone();
    assert!(header.contains('/') || header.contains('+'), "{header} is URL-safe now");
}
