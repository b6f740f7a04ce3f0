//! Sources and targets that break, stall and lie. Nothing wrong is ever stored.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use pilotfish::core::mirror::refusal::CopyError;
use pilotfish::registry::transfer::{Flow, Transfer as _, UploadStart};
use pilotfish::registry::{HttpRegistry, Limits};
use tempfile::{TempDir, tempdir};

use crate::real::Real;
use crate::support::{Observed, settings, short_limits};
use crate::transfer::{at, copy, error_text};
use crate::transfer_peer::{Fault, Peer, content};

/// A source with a fault, a real target, and a client that waits a third of a second for bytes.
struct Broken {
    _directory: TempDir,
    source: Peer,
    target: Real,
    client: HttpRegistry,
}

fn impatient(directory: &TempDir) -> HttpRegistry {
    let limits = Limits { stall_timeout: Duration::from_millis(300), ..short_limits() };
    let observed = std::sync::Arc::new(Observed::default());
    HttpRegistry::with_limits(settings(directory.path()), observed, limits).expect("good settings")
}

impl Broken {
    async fn start(size: usize, fault: Fault) -> Self {
        let directory = tempdir().expect("a directory");
        let target = Real::plain(directory.path());
        let client = impatient(&directory);
        let source = Peer::start(content(size), fault).await;
        Self { _directory: directory, source, target, client }
    }

    async fn copy(&self) -> Result<(), CopyError> {
        let (from, to) = (at(&self.source.registry, "a"), at(&self.target.registry, "a"));
        copy(&self.client, &from, &to, &self.source.blob).await
    }

    async fn has_blob(&self) -> bool {
        let to = at(&self.target.registry, "a");
        self.client.has_blob(&to, &self.source.blob).await.expect("an answer")
    }
}

const SIZE: usize = 2_000_000;

#[tokio::test]
async fn a_source_is_read_on_where_it_broke() {
    let broken = Broken::start(SIZE, Fault::Cuts(6, 90_000)).await;
    assert_eq!(error_text(broken.copy().await, &broken.source.registry), "ok");
    assert!(broken.has_blob().await);
    let (asked, sent) = (&broken.source.asked, &broken.source.sent);
    assert_eq!(asked.load(Ordering::SeqCst), 7, "six cuts are six more requests");
    assert_eq!(sent.load(Ordering::SeqCst), SIZE as u64, "and no byte is sent twice");
}

#[tokio::test]
async fn a_source_without_ranges_is_read_again() {
    let broken = Broken::start(SIZE, Fault::CutWithoutRange(500_000)).await;
    assert_eq!(error_text(broken.copy().await, &broken.source.registry), "ok");
    assert!(broken.has_blob().await);
    assert_eq!(broken.source.sent.load(Ordering::SeqCst), (SIZE + 500_000) as u64);
}

#[tokio::test]
async fn what_is_wrong_is_never_stored() {
    let broken = Broken::start(SIZE, Fault::Wrong).await;
    let digest = &broken.source.blob.digest;
    let expected = format!("registry_error: HOST sent something other than a@{digest}");
    assert_eq!(error_text(broken.copy().await, &broken.source.registry), expected);
    assert!(!broken.has_blob().await);
    let broken = Broken::start(SIZE, Fault::Endless).await;
    let answer = error_text(broken.copy().await, &broken.source.registry);
    let sum = "HOST sent something other than a@";
    let long = format!("HOST sent more than the {SIZE} bytes of a@");
    assert!(answer.contains(sum) || answer.contains(&long), "{answer}");
    assert!(!broken.has_blob().await);
    let sent = broken.source.sent.load(Ordering::SeqCst);
    assert!(sent < 20 * SIZE as u64, "an endless body was read for {sent} bytes");
}

#[tokio::test]
async fn a_source_that_stalls_is_noticed() {
    let broken = Broken::start(SIZE, Fault::Stall(0)).await;
    let begun = Instant::now();
    let answer = error_text(broken.copy().await, &broken.source.registry);
    assert!(begun.elapsed() < Duration::from_secs(5));
    let expected =
        format!("source_stalled: HOST sent nothing of a@{} for 0.3 s", broken.source.blob.digest);
    assert_eq!(answer, expected);
    assert!(!broken.has_blob().await);
}

#[tokio::test]
async fn a_source_that_stalls_again_and_again_but_gives_bytes_is_read_to_the_end() {
    let broken = Broken::start(SIZE, Fault::Stall(700_000)).await;
    assert_eq!(error_text(broken.copy().await, &broken.source.registry), "ok");
    assert_eq!(broken.source.asked.load(Ordering::SeqCst), 3);
    assert!(broken.has_blob().await);
}

#[tokio::test]
async fn a_target_that_stops_or_breaks_is_an_error_and_the_next_upload_succeeds() {
    let directory = tempdir().expect("a directory");
    let client = impatient(&directory);
    let source = Peer::start(content(SIZE * 4), Fault::None).await;
    let from = at(&source.registry, "a");
    for (fault, expected) in [
        (Fault::Deaf, "registry_unreachable: HOST did not answer within 0.3 s"),
        (Fault::Breaks(300_000), "registry_unreachable: HOST broke the connection off"),
    ] {
        let target = Peer::start(Vec::new(), fault).await;
        let to = at(&target.registry, "a");
        let answer = copy(&client, &from, &to, &source.blob).await;
        assert_eq!(error_text(answer, &target.registry), expected, "{fault:?}");
    }
    let target = Real::plain(directory.path());
    let to = at(&target.registry, "a");
    copy(&client, &from, &to, &source.blob).await.expect("a copy");
    assert_eq!(client.has_blob(&to, &source.blob).await, Ok(true));
}

#[tokio::test]
async fn a_rate_is_kept() {
    let broken = Broken::start(400_000, Fault::None).await;
    let (from, to) = (at(&broken.source.registry, "a"), at(&broken.target.registry, "a"));
    let blob = &broken.source.blob;
    let Ok(UploadStart::Open(upload)) = broken.client.begin_upload(&to, blob, None).await else {
        panic!("no upload")
    };
    let flow = Flow { rate: Some(1_000_000), ..Flow::default() };
    let begun = Instant::now();
    broken.client.send_blob(&from, &to, upload, blob, &flow).await.expect("a copy");
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(300), "{took:?}");
    assert_eq!(flow.received.load(Ordering::SeqCst), 400_000);
}
