//! What distribution really does, because the mirror relies on it: 2.8 as Debian has it, and 3.1
//! (`make test-registries`). If a later version does something else, this page shows where.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use pilotfish::core::docker::manifest::{OCI_INDEX, OCI_MANIFEST};
use pilotfish::core::docker::reference::Digest;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, LINK, LOCATION, RANGE};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::images::{Image, descriptor, index, index_of};
use crate::real::{Real, Setup, http, program};

/// A registry with one image, and plain requests to it.
struct Facts {
    real: Real,
    image: Image,
    /// Whether it is version 3 of distribution.
    is_three: bool,
    _directory: TempDir,
}

impl Facts {
    async fn new() -> Self {
        let directory = tempdir().expect("a directory");
        let storage = "  delete:\n    enabled: true\n";
        let real = Real::start(directory.path(), &Setup { storage, ..Setup::default() });
        let image = Image::new("fact", "linux/arm64");
        real.push_image("a/b", &image).await;
        real.push_manifest("a/b", "v1", image.media_type, &image.manifest).await;
        let version = Command::new(program()).arg("--version").output().expect("its version");
        let is_three = String::from_utf8_lossy(&version.stdout).contains("v3.");
        Self { real, image, is_three, _directory: directory }
    }

    /// The fact of this version.
    fn of<T>(&self, two: T, three: T) -> T {
        if self.is_three { three } else { two }
    }

    fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        http().request(method, format!("http://{}/v2/{path}", self.real.registry))
    }

    async fn status(&self, request: RequestBuilder) -> u16 {
        request.send().await.expect("an answer").status().as_u16()
    }

    async fn code(&self, request: RequestBuilder) -> (u16, String) {
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        let json: Value = answer.json().await.unwrap_or_default();
        (status, json["errors"][0]["code"].as_str().unwrap_or_default().to_owned())
    }

    async fn headers(&self, request: RequestBuilder) -> HeaderMap {
        request.send().await.expect("an answer").headers().clone()
    }

    /// Where an upload continues.
    async fn upload(&self) -> String {
        let headers = self.headers(self.ask(Method::POST, "a/b/blobs/uploads/")).await;
        headers[LOCATION].to_str().expect("text").to_owned()
    }

    fn put_manifest(&self, target: &str, kind: &str, content: Vec<u8>) -> RequestBuilder {
        let put = self.ask(Method::PUT, &format!("a/b/manifests/{target}"));
        put.header(CONTENT_TYPE, kind).body(content)
    }
}

#[tokio::test]
async fn a_mount_or_an_upload_in_one_request_may_only_begin_an_upload() {
    let facts = Facts::new().await;
    let layer = Digest::of(&facts.image.layer);
    let mount = |digest: &Digest, from: &str| {
        facts.ask(Method::POST, &format!("c/d/blobs/uploads/?mount={digest}{from}"))
    };
    let absent = Digest::of(b"absent");
    assert_eq!(facts.status(mount(&layer, "&from=a/b")).await, 201);
    assert_eq!(facts.status(mount(&absent, "&from=a/b")).await, 202);
    assert_eq!(facts.status(mount(&layer, "&from=x/y")).await, 202);
    assert_eq!(facts.status(mount(&layer, "")).await, 202);
    let path = format!("a/b/blobs/uploads/?digest={absent}");
    assert_eq!(facts.status(facts.ask(Method::POST, &path).body("absent")).await, 202);
    let head = facts.ask(Method::HEAD, &format!("a/b/blobs/{absent}"));
    assert_eq!(facts.status(head).await, 404, "the body was ignored");
}

#[tokio::test]
async fn a_broken_upload_is_lost_on_two_and_a_wrong_one_is_refused_by_both() {
    let facts = Facts::new().await;
    let location = facts.upload().await;
    let digest = Digest::of(&[7; 1000]);
    let rest = location.strip_prefix("http://").expect("plain http");
    let (host, path) = rest.split_once('/').expect("a path");
    let mut connection = TcpStream::connect(host).expect("a connection");
    let head = format!(
        "PUT /{path}&digest={digest} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000\r\n\r\n"
    );
    connection
        .write_all(head.as_bytes())
        .and_then(|()| connection.write_all(&[7; 500]))
        .expect("it");
    std::thread::sleep(Duration::from_millis(300));
    drop(connection);
    std::thread::sleep(Duration::from_millis(300));
    let client = http();
    assert_eq!(facts.status(client.get(&location)).await, facts.of(404, 204));
    let location = facts.upload().await;
    let put = client.put(format!("{location}&digest={digest}")).body("something else");
    assert_eq!(facts.code(put).await, (400, "DIGEST_INVALID".to_owned()));
    let location = facts.upload().await;
    let put = client.put(format!("{location}&digest={digest}")).body(vec![7; 1000]);
    assert_eq!(facts.status(put).await, 201);
    let part = facts.ask(Method::GET, &format!("a/b/blobs/{digest}")).header(RANGE, "bytes=0-0");
    let answer = part.send().await.expect("an answer");
    assert_eq!((answer.status().as_u16(), answer.bytes().await.expect("it").len()), (206, 1));
}

#[tokio::test]
async fn a_manifest_is_taken_only_if_everything_below_it_is_there() {
    let facts = Facts::new().await;
    let other = Image::new("other", "linux/amd64");
    let sparse = index(OCI_INDEX, &[&facts.image, &other]);
    let unknown = (400, "MANIFEST_BLOB_UNKNOWN".to_owned());
    assert_eq!(facts.code(facts.put_manifest("v2", OCI_INDEX, sparse)).await, unknown);
    assert_eq!(
        facts.code(facts.put_manifest("v2", OCI_MANIFEST, other.manifest.clone())).await,
        unknown
    );
    let inner = index(OCI_INDEX, &[&facts.image]);
    let inner_digest = Digest::of(&inner);
    let put = facts.put_manifest(inner_digest.as_str(), OCI_INDEX, inner.clone());
    assert_eq!(facts.status(put).await, 201);
    let nested = index_of(OCI_INDEX, &[descriptor(OCI_INDEX, &inner, None)]);
    assert_eq!(facts.status(facts.put_manifest("nested", OCI_INDEX, nested)).await, 201);
    let wrong_type = facts.put_manifest("v3", OCI_INDEX, facts.image.manifest.clone());
    assert_eq!(facts.status(wrong_type).await, 400);
    let mut spaced = facts.image.manifest.clone();
    spaced.push(b'\n');
    let put = facts.put_manifest(facts.image.digest().as_str(), OCI_MANIFEST, spaced);
    assert_eq!(facts.code(put).await, (400, "DIGEST_INVALID".to_owned()));
    let large = vec![b' '; 4 * 1024 * 1024 + 1];
    assert_eq!(facts.status(facts.put_manifest("large", OCI_MANIFEST, large)).await, 400);
}

#[tokio::test]
async fn lists_deletions_and_referrers_differ_between_the_versions() {
    let facts = Facts::new().await;
    for tag in ["v3", "v2"] {
        facts.real.push_manifest("a/b", tag, OCI_MANIFEST, &facts.image.manifest).await;
    }
    let answer = facts.ask(Method::GET, "a/b/tags/list?n=2").send().await.expect("an answer");
    assert_eq!(answer.headers().contains_key(LINK), facts.is_three);
    let list: Value = answer.json().await.expect("JSON");
    assert_eq!(list["tags"].as_array().map(Vec::len), Some(facts.of(3, 2)), "{list}");
    let referrers = format!("a/b/referrers/{}", facts.image.digest());
    assert_eq!(facts.status(facts.ask(Method::GET, &referrers)).await, 404);
    let index = index(OCI_INDEX, &[&facts.image]);
    facts.real.push_manifest("a/b", "index", OCI_INDEX, &index).await;
    let get = facts.ask(Method::GET, "a/b/manifests/index").header(ACCEPT, OCI_MANIFEST);
    assert_eq!(facts.status(get).await, facts.of(404, 200));
    let by_tag = facts.ask(Method::DELETE, "a/b/manifests/v3");
    assert_eq!(facts.status(by_tag).await, facts.of(400, 202));
    let digest = facts.image.digest();
    let delete = facts.ask(Method::DELETE, &format!("a/b/manifests/{digest}"));
    assert_eq!(facts.status(delete).await, 202, "also of one that an index needs");
    for (tag, expected) in [("v1", 404), ("v2", 404), ("index", 200)] {
        let path = format!("a/b/manifests/{tag}");
        let head =
            facts.ask(Method::HEAD, &path).header(ACCEPT, format!("{OCI_MANIFEST}, {OCI_INDEX}"));
        assert_eq!(facts.status(head).await, expected, "{tag}");
    }
}

#[tokio::test]
async fn the_answer_to_a_client_that_sends_too_little_is_no_success() {
    let facts = Facts::new().await;
    let location = facts.upload().await;
    let (host, path) =
        location.strip_prefix("http://").and_then(|it| it.split_once('/')).expect("it");
    let mut connection = TcpStream::connect(host).expect("a connection");
    let digest = Digest::of(&[7; 1000]);
    let head = format!(
        "PUT /{path}&digest={digest} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000\r\n\r\n"
    );
    connection
        .write_all(head.as_bytes())
        .and_then(|()| connection.write_all(&[7; 999]))
        .expect("it");
    connection.shutdown(std::net::Shutdown::Write).expect("a half-closed connection");
    connection.set_read_timeout(Some(Duration::from_secs(5))).expect("a time-out");
    let mut answer = String::new();
    // The registry may close the connection without an answer.
    let _ = connection.read_to_string(&mut answer);
    assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    let head = facts.ask(Method::HEAD, &format!("a/b/blobs/{digest}"));
    assert_eq!(facts.status(head).await, 404);
}
