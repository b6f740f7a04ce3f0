//! Whole rounds of the program, with a fake Engine and a scripted registry.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use pilotfish::core::docker::manifest::{OCI_INDEX, OCI_MANIFEST};
use pilotfish::core::docker::reference::Digest;
use serde_json::Value;
use tempfile::tempdir;
use tokio::process::Command;

use crate::certificates::{Authority, Flaw};
use crate::fake_engine::{Papers, serve};
use crate::images::{Image, index};
use crate::real::{Real, Setup};
use crate::scripted::{Reply, Scripted, manifest, reply};

/// The most calls of the Engine in a fresh check, for any number of containers.
const CALLS_MAX: usize = 8;

/// The output of `pilotfish check`; a container that could not be checked is no failure here.
async fn check(directory: &Path, socket: &Path, flags: &[&str]) -> String {
    check_trusting(None, directory, socket, flags).await
}

/// The same with this file as the system's certificate store.
async fn check_trusting(
    store: Option<&Path>,
    directory: &Path,
    socket: &Path,
    flags: &[&str],
) -> String {
    let mut command = program(directory, socket, "");
    command.arg("check").args(flags);
    command.envs(store.map(|store| ("SSL_CERT_FILE", store)));
    let output = command.output().await.expect("the program");
    let (out, err) = [output.stdout, output.stderr]
        .map(|text| String::from_utf8_lossy(&text).into_owned())
        .into();
    assert!(matches!(output.status.code(), Some(0 | 4)), "{out}\n{err}");
    out
}

/// The program, configured for this Engine, with more settings.
fn program(directory: &Path, socket: &Path, more: &str) -> Command {
    let config = directory.join("pilotfish.toml");
    let state = directory.join("state");
    let engine = socket.display();
    let text = format!("state_dir = {state:?}\ndocker_host = \"unix://{engine}\"\n{more}");
    fs::write(&config, text).expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_pilotfish"));
    command.arg("--config").arg(config).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// An answer with the rest of a quota of 100.
fn limited(mut reply: Reply, remaining: &str) -> Reply {
    let headers = reply.headers_mut();
    headers.insert("ratelimit-limit", "100;w=21600".parse().expect("a value"));
    headers.insert("ratelimit-remaining", remaining.parse().expect("a value"));
    reply
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rest_of_a_quota_is_used_for_some_and_the_others_are_held() {
    let directory = tempdir().expect("a directory");
    let image = Image::new("new", "linux/arm64");
    let served = image.clone();
    let registry = Scripted::start(move |asked| {
        let body = match asked.path() {
            path if path.contains("/blobs/") => return reply(200, &[], served.config.clone()),
            _ => manifest(OCI_MANIFEST, &served.manifest),
        };
        // The quota is enough for two checks with their pulls, and the HEAD of a third.
        limited(body, "5;w=21600")
    })
    .await;
    let host = registry.registry();
    let images = ["a", "b", "c", "d"].map(|name| format!("{host}/{name}:1")).to_vec();
    let socket = serve(directory.path(), Papers { images, ..Papers::default() });
    let text = check(directory.path(), &socket, &["--json"]).await;
    let document: Value = serde_json::from_str(&text).expect("JSON");
    let held = |row: &&Value| row["verdict"] == "held" && row["reason"] == "rate_limited";
    let rows = document["containers"].as_array().expect("rows");
    let names: Vec<_> = rows.iter().filter(held).map(|row| &row["container"]).collect();
    assert_eq!(names, ["c002", "c003"], "{document:#}");
    let detail = rows[2]["detail"].as_str().expect("a detail");
    assert!(
        detail.ends_with("has 5 of 100 pulls left, per 6h; 2 other images go first"),
        "{detail}"
    );
    assert_eq!(rows[2]["offered"], image.digest().as_str(), "it was checked all the same");
    let gets = registry.asked().iter().filter(|asked| asked.path().contains("/c/")).count();
    assert_eq!(gets, 1, "one HEAD, and no GET");
    let people = check(directory.path(), &socket, &[]).await;
    let closing = format!("{host}: 5 of 100 pulls left, per 6h\n");
    assert!(people.ends_with(&closing), "{people}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engines_mirrors_are_asked_before_docker_hub() {
    let directory = tempdir().expect("a directory");
    let image = Image::new("new", "linux/arm64");
    let served = image.clone();
    let mirror = Scripted::start(move |asked| match asked.path() {
        "/v2/library/nginx/manifests/1" => manifest(OCI_MANIFEST, &served.manifest),
        _ => reply(404, &[], ""),
    })
    .await;
    let papers = Papers {
        images: vec!["nginx:1".to_owned()],
        mirrors: vec!["no host".to_owned(), format!("http://{}/", mirror.registry())],
        running: Some(image.digest()),
        ..Papers::default()
    };
    let socket = serve(directory.path(), papers);
    let text = check(directory.path(), &socket, &["--json"]).await;
    let document: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(document["containers"][0]["verdict"], "up_to_date", "{document:#}");
    assert_eq!(mirror.lines(), ["HEAD /v2/library/nginx/manifests/1"]);
}

/// The usual 32-bit Raspberry Pi OS runs on a 64-bit kernel, and the Engine reports the kernel's
/// architecture. The running image shows what the machine can run.
#[tokio::test(flavor = "multi_thread")]
async fn a_32_bit_userland_on_a_64_bit_kernel_gets_its_own_image() {
    let directory = tempdir().expect("a directory");
    let (arm, arm64) = (Image::new("new", "linux/arm/v7"), Image::new("new", "linux/arm64/v8"));
    let served = [arm.clone(), arm64.clone()];
    let registry = Scripted::start(move |asked| {
        let path = asked.path();
        let is_asked = |image: &&Image| {
            path.ends_with(image.digest().as_str())
                || path.ends_with(Digest::of(&image.config).as_str())
        };
        match served.iter().find(is_asked) {
            Some(image) if path.contains("/blobs/") => reply(200, &[], image.config.clone()),
            Some(image) => manifest(OCI_MANIFEST, &image.manifest),
            None => manifest(OCI_INDEX, &index(OCI_INDEX, &[&served[1], &served[0]])),
        }
    })
    .await;
    let papers = Papers {
        images: vec![format!("{}/till:1", registry.registry())],
        userland: Some(("arm", "v7")),
        ..Papers::default()
    };
    let socket = serve(directory.path(), papers);

    let text = check(directory.path(), &socket, &["--json"]).await;

    let document: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(document["containers"][0]["verdict"], "update", "{document:#}");
    let gets = registry.asked().into_iter().map(|asked| asked.path().to_owned());
    let gets: Vec<String> = gets.collect();
    assert!(gets.iter().any(|path| path.ends_with(arm.digest().as_str())), "{gets:?}");
    assert!(!gets.iter().any(|path| path.ends_with(arm64.digest().as_str())), "{gets:?}");
}

/// The dependents of a container are found among all other containers. If all are due, the number
/// of calls must not grow with the number of pairs.
#[tokio::test(flavor = "multi_thread")]
async fn the_containers_are_listed_once_however_many_are_due() {
    const CONTAINERS: usize = 20;
    let directory = tempdir().expect("a directory");
    let image = Image::new("new", "linux/arm64");
    let registry = Scripted::start(move |asked| match asked.path() {
        path if path.contains("/blobs/") => reply(200, &[], image.config.clone()),
        _ => manifest(OCI_MANIFEST, &image.manifest),
    })
    .await;
    let images = (0..CONTAINERS).map(|number| format!("{}/a{number}:1", registry.registry()));
    let papers = Papers { images: images.collect(), ..Papers::default() };
    let asked = papers.asked.clone();
    let socket = serve(directory.path(), papers);
    let text = check(directory.path(), &socket, &["--json"]).await;
    let document: Value = serde_json::from_str(&text).expect("JSON");
    let rows = document["containers"].as_array().expect("rows");
    let due = rows.iter().filter(|row| row["verdict"] == "update").count();
    assert_eq!(due, CONTAINERS, "{document:#}");
    let asked = asked.lock().expect("the list");
    let inspects = asked.iter().filter(|path| {
        path.split_once("/containers/")
            .is_some_and(|(_, rest)| rest.len() > 64 && rest.ends_with("/json"))
    });
    // Once for a plan of an update, and once for the dependents.
    assert_eq!(inspects.count(), 2 * CONTAINERS, "{asked:#?}");
    let infos = asked.iter().filter(|path| path.ends_with("/info")).count();
    assert_eq!(infos, 2, "one for the mirrors, one for the updates");
}

/// The number of calls of the Engine in a check does not grow with the number of containers.
#[tokio::test(flavor = "multi_thread")]
async fn a_look_costs_lists_and_not_inspects() {
    let image = Image::new("same", "linux/arm64");
    let (running, served) = (Some(image.digest()), image.clone());
    let registry = Scripted::start(move |_| manifest(OCI_MANIFEST, &served.manifest)).await;
    let asked_for = async |count: usize, on_each_image: usize, lists_no_images: bool| {
        let directory = tempdir().expect("a directory");
        let images = (0..count).map(|number| format!("{}/a{number}:1", registry.registry()));
        let (images, running) = (images.collect(), running.clone());
        let papers =
            Papers { images, running, on_each_image, lists_no_images, ..Papers::default() };
        let asked = papers.asked.clone();
        let socket = serve(directory.path(), papers);
        let text = check(directory.path(), &socket, &["--json"]).await;
        let same = text.matches("\"up_to_date\"").count();
        assert_eq!(same, count * on_each_image, "{text}");
        let asked = asked.lock().expect("the list");
        asked.clone()
    };
    let few = asked_for(5, 1, false).await;
    assert!(few.len() <= CALLS_MAX, "{few:#?}");
    assert_eq!(asked_for(40, 4, false).await, few);
    let inspects = asked_for(5, 4, true).await.len() - few.len();
    assert_eq!(inspects, 5, "what the list does not tell, an inspect does, once for each image");
}

/// The usual round of a Pi.
#[tokio::test(flavor = "multi_thread")]
async fn a_round_without_news_is_one_request_to_each() {
    const ROUNDS: usize = 3;
    let directory = tempdir().expect("a directory");
    let image = Image::new("same", "linux/arm64");
    let running = Some(image.digest());
    let registry = Scripted::start(move |_| manifest(OCI_MANIFEST, &image.manifest)).await;
    let images = vec![format!("{}/till:1", registry.registry())];
    let papers = Papers { images, running, ..Papers::default() };
    let asked = papers.asked.clone();
    let socket = serve(directory.path(), papers);
    let often = "[schedule]\nevery = \"1s\"\njitter = \"0%\"\n[listen]\naddress = \"\"\n";
    let mut command = program(directory.path(), &socket, often);
    let _agent = command.arg("run").stderr(Stdio::null()).spawn().expect("the program");
    let have_been_made = async |count: usize| {
        while registry.asked().len() < count {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        asked.lock().expect("the list").len()
    };
    // In the first round the agent reads the Engine and the container for the first time.
    let before = have_been_made(2).await;
    let after = have_been_made(2 + ROUNDS).await;
    let asked = asked.lock().expect("the list")[before..after].to_vec();
    assert_eq!(asked, ["/v1.41/containers/json"; ROUNDS]);
    assert!(registry.asked().iter().all(|asked| asked.method == "HEAD"), "{:?}", registry.lines());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_in_the_systems_store_is_trusted() {
    let directory = tempdir().expect("a directory");
    let image = Image::new("new", "linux/arm64");
    let authority = Authority::new("company");
    let files = authority.issue(directory.path(), "registry", Flaw::None);
    let storage = directory.path().join("registry");
    let plain = Real::plain(&storage);
    plain.push_image("till", &image).await;
    plain.push_manifest("till", "1", OCI_MANIFEST, &image.manifest).await;
    let real = Real::start(&storage, &Setup { tls: Some(&files), ..Setup::default() });
    let images = vec![format!("{}/till:1", real.registry)];
    let papers = Papers { images, running: Some(image.digest()), ..Papers::default() };
    let socket = serve(directory.path(), papers);
    let store = directory.path().join("store.crt");
    authority.write(&store);
    let with = check_trusting(Some(&store), directory.path(), &socket, &["--json"]).await;
    assert!(with.contains("\"up_to_date\""), "{with}");
    let without = check(directory.path(), &socket, &["--json"]).await;
    assert!(without.contains("\"registry_certificate\""), "{without}");
}
