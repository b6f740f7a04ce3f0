//! Every answer that a registry should not give, and what must not happen because of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use futures_util::future::join_all;
use pilotfish::core::docker::manifest::{DOCKER_INDEX, OCI_INDEX, OCI_MANIFEST};
use pilotfish::core::docker::reference::Digest;
use pilotfish::registry::{HttpRegistry, Limits, Registry as _};
use tempfile::tempdir;

use crate::images::Image;
use crate::scripted::{RecordedRequest, Reply, Scripted, manifest, reply};
use crate::support::{
    Observed, client, client_with_observer, error_text, platform, reference, settings,
};

/// More than the size limit of a manifest.
const TOO_MUCH: usize = 5 * 1024 * 1024;

fn hostile(asked: &RecordedRequest, good: &Image) -> Reply {
    let html = [("content-type", "text/html")];
    let digest = good.digest();
    let page = [("content-type", "text/html"), ("docker-content-digest", digest.as_str())];
    match asked.image().0 {
        "good" => manifest(OCI_MANIFEST, &good.manifest),
        "nameless" => reply(200, &[("content-type", OCI_MANIFEST)], good.manifest.clone()),
        "headless-400" if asked.method == "HEAD" => reply(400, &[], ""),
        "headless-403" if asked.method == "HEAD" => reply(403, &[], ""),
        "headless-404" if asked.method == "HEAD" => reply(404, &[], ""),
        "headless-405" if asked.method == "HEAD" => reply(405, &[], ""),
        "headless-500" if asked.method == "HEAD" => reply(500, &[], ""),
        "headless-501" if asked.method == "HEAD" => reply(501, &[], ""),
        "headless-page" if asked.method == "HEAD" => reply(200, &page, ""),
        "headless-digest" if asked.method == "HEAD" => {
            reply(200, &[("content-type", OCI_MANIFEST), ("docker-content-digest", "x")], "")
        }
        image if image.starts_with("headless") => manifest(OCI_MANIFEST, &good.manifest),
        "bare-401" => reply(401, &[], ""),
        "forbidden" => reply(403, &[], ""),
        "gone" => reply(404, &[], r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#),
        "limited" => reply(429, &[], ""),
        "limited-for" => reply(429, &[("retry-after", "120")], ""),
        "ill" => reply(500, &[], "<html>"),
        "busy" => reply(503, &[], ""),
        "odd" => reply(418, &[], ""),
        "nowhere" => reply(307, &[], ""),
        "round" => reply(307, &[("location", asked.target.as_str())], ""),
        "away" => reply(307, &[("location", "http://0.0.0.0:1/x")], ""),
        "page" => reply(200, &page, ""),
        "page-body" => reply(200, &html, "<html>"),
        "no-digest" => {
            reply(200, &[("content-type", OCI_MANIFEST), ("docker-content-digest", "sha256:x")], "")
        }
        "large" => reply(200, &[("content-type", OCI_MANIFEST)], vec![b' '; TOO_MUCH]),
        "endless" if asked.method == "HEAD" => reply(200, &[], ""),
        "endless" => {
            let chunk = || Ok::<_, std::io::Error>(vec![b' '; 65536]);
            reply(200, &[], Body::from_stream(futures_util::stream::repeat_with(chunk)))
        }
        "rubbish" => reply(200, &[], "{\"schemaVersion\":2}"),
        _ => reply(404, &[], ""),
    }
}

#[tokio::test]
async fn each_wrong_answer_has_one_reason_and_affects_no_other_image() {
    let directory = tempdir().expect("a directory");
    let good = Image::new("x", "linux/arm64");
    let image = good.clone();
    let server = Scripted::start(move |asked| hostile(asked, &image)).await;
    let host = server.registry();
    let client = client(&settings(directory.path()));
    let redirect = "registry_error: HOST sent a redirect that is not followed: ";
    let table = [
        ("bare-401", "registry_unauthorized: HOST wants an unknown kind of login for bare-401:1".to_owned()),
        ("forbidden", "registry_unauthorized: HOST answered 403 when asked for forbidden:1".into()),
        ("gone", "not_found: HOST answered 404 (MANIFEST_UNKNOWN) when asked for gone:1".into()),
        ("limited", "rate_limited: HOST answered 429 when asked for limited:1".into()),
        ("limited-for", "rate_limited: HOST answered 429 when asked for limited-for:1".into()),
        ("ill", "registry_error: HOST answered 500 when asked for ill:1".into()),
        ("busy", "registry_error: HOST answered 503 when asked for busy:1".into()),
        ("odd", "registry_error: HOST answered 418 when asked for odd:1".into()),
        ("nowhere", format!("{redirect}it leads nowhere")),
        ("round", format!("{redirect}there are too many")),
        ("away", format!("{redirect}it leaves TLS")),
        ("page", "registry_error: HOST answered with something that is not a manifest for page:1".into()),
        ("page-body", "registry_error: HOST answered with something that is not a manifest for page-body:1".into()),
        ("no-digest", "registry_error: the answer of HOST for no-digest:1 is unusable: it is not JSON of the expected shape (line 1, column 0)".into()),
        ("large", "registry_error: HOST sent more than the 4194304 bytes such an answer may have".into()),
        ("endless", "registry_error: HOST sent more than the 4194304 bytes such an answer may have".into()),
        ("rubbish", "registry_error: the answer of HOST for rubbish:1 is unusable: it is neither a manifest nor an index".into()),
    ];
    for (image, expected) in table {
        assert_eq!(
            error_text(client.head(&reference(&host, &format!("{image}:1"))).await, &host),
            expected,
            "{image}"
        );
        assert_eq!(client.head(&reference(&host, "good:1")).await, Ok(good.digest()), "{image}");
    }
    let headless = ["400", "403", "404", "405", "500", "501", "page", "digest"];
    let headless = headless.map(|why| format!("headless-{why}"));
    for image in ["nameless".to_owned()].iter().chain(&headless) {
        assert_eq!(client.head(&reference(&host, image)).await, Ok(good.digest()), "{image}");
    }
}

#[tokio::test]
async fn all_four_manifest_types_are_accepted() {
    let directory = tempdir().expect("a directory");
    let good = Image::new("x", "linux/arm64");
    let server = Scripted::start(move |_| manifest(OCI_MANIFEST, &good.manifest)).await;
    let client = client(&settings(directory.path()));
    client.head(&reference(&server.registry(), "a:1")).await.expect("a digest");
    let accept = server.asked()[0].accept.clone().expect("a header");
    for media_type in [DOCKER_INDEX, OCI_INDEX, OCI_MANIFEST] {
        assert!(accept.contains(media_type), "{accept}");
    }
    assert_eq!(server.lines(), ["HEAD /v2/a/manifests/1"]);
}

/// A blob may be on another host, but the login must not go there.
#[tokio::test]
async fn no_login_crosses_a_redirect_to_another_host() {
    let directory = tempdir().expect("a directory");
    let image = Image::new("x", "linux/arm64");
    let config = image.config.clone();
    let elsewhere = Scripted::start(move |_| reply(200, &[], config.clone())).await;
    let location = format!("http://{}/cdn?signature=hidden", elsewhere.registry());
    let content = image.manifest.clone();
    let server = Scripted::start(move |asked| match asked.authorization {
        None => reply(401, &[("www-authenticate", "Basic realm=\"x\"")], ""),
        Some(_) if asked.path().contains("/blobs/") => {
            reply(307, &[("location", location.as_str())], "")
        }
        Some(_) => manifest(OCI_MANIFEST, &content),
    })
    .await;
    let host = server.registry();
    let config = format!(r#"{{"auths":{{"{host}":{{"auth":"dTpw"}}}}}}"#);
    std::fs::write(directory.path().join("config.json"), config).expect("a file");
    let client = client(&settings(directory.path()));
    let reference = reference(&host, "a:1");
    let offer = client.resolve(&reference, &image.digest(), &platform("linux/arm64")).await;
    assert_eq!(offer.expect("an offer").config, Digest::of(&image.config));
    let asked = elsewhere.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].authorization, None);
    let shown = server.asked().pop().expect("a request").authorization;
    assert_eq!(shown.as_deref(), Some("Basic dTpw"));
}

#[tokio::test]
async fn the_quota_is_recorded() {
    let directory = tempdir().expect("a directory");
    let image = Image::new("x", "linux/arm64");
    let digest = image.digest();
    let server = Scripted::start(move |_| {
        let headers = [
            ("content-type", OCI_MANIFEST),
            ("docker-content-digest", digest.as_str()),
            ("ratelimit-limit", "100;w=21600"),
            ("ratelimit-remaining", "73;w=21600"),
        ];
        reply(200, &headers, "")
    })
    .await;
    let observed = Arc::new(Observed::default());
    let client = client_with_observer(&settings(directory.path()), observed.clone());
    client.head(&reference(&server.registry(), "a:1")).await.expect("a digest");
    let remaining = observed.remaining.lock().expect("not poisoned").clone();
    assert_eq!(remaining, [(server.registry(), 73)]);
}

#[tokio::test]
async fn during_a_pause_nothing_is_sent_and_the_error_is_the_same() {
    let directory = tempdir().expect("a directory");
    let image = Image::new("x", "linux/arm64");
    let good = image.clone();
    let server = Scripted::start(move |asked| hostile(asked, &good)).await;
    let host = server.registry();
    let client = HttpRegistry::with_limits(
        settings(directory.path()),
        Arc::new(Observed::default()),
        Limits { pause_first: Duration::from_secs(100), ..Limits::default() },
    )
    .expect("good settings");
    let limited = reference(&host, "limited-for:1");
    let first = client.head(&limited).await.expect_err("a refusal");
    assert_eq!(first.retry_after, Some(Duration::from_secs(120)));
    let second = client.head(&limited).await.expect_err("a refusal");
    assert_eq!((second.reason, &second.detail), (first.reason, &first.detail));
    let left = second.retry_after.expect("a time");
    assert!(left > Duration::from_secs(100) && left <= Duration::from_secs(125), "{left:?}");
    assert_eq!(server.asked().len(), 1);
    assert_eq!(client.head(&reference(&host, "good:1")).await, Ok(image.digest()));
}

#[tokio::test]
async fn many_requests_run_in_parallel_but_not_all() {
    const IMAGES: usize = 600;
    let directory = tempdir().expect("a directory");
    let image = Image::new("x", "linux/arm64");
    let (digest, content) = (image.digest(), image.manifest.clone());
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (running, peak) = (now.clone(), most.clone());
    let server = Scripted::start_slow(move |_| {
        let (running, peak, content) = (running.clone(), peak.clone(), content.clone());
        async move {
            let count = running.fetch_add(1, Ordering::SeqCst) + 1;
            peak.fetch_max(count, Ordering::SeqCst);
            // A network latency; without it the requests would never overlap.
            tokio::time::sleep(Duration::from_millis(20)).await;
            running.fetch_sub(1, Ordering::SeqCst);
            manifest(OCI_MANIFEST, &content)
        }
    })
    .await;
    let client = client(&settings(directory.path()));
    let references: Vec<_> =
        (0..IMAGES).map(|number| reference(&server.registry(), &format!("a{number}:1"))).collect();
    let results = join_all(references.iter().map(|reference| client.head(reference))).await;
    assert!(results.iter().all(|result| result.as_ref() == Ok(&digest)));
    assert_eq!(server.asked().len(), IMAGES);
    let most = most.load(Ordering::SeqCst);
    assert!((128..=256).contains(&most), "{most} at once");
}
