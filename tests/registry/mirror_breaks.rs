//! The mirror on connections that break at any byte, and killed at any moment. Afterwards what each
//! tag points at is complete, and the next run finishes.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

use pilotfish::core::docker::reference::Digest;
use pilotfish::core::mirror::companions::fallback_tag;
use pilotfish::core::mirror::memory::RuleMemory;
use pilotfish::mirror::RuleRun;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::mirror_cuts::is_complete;
use crate::mirror_program::{Program, rule};
use crate::mirror_rules::Pair;
use crate::transfer::at;

/// Bytes between two places where connections break. All bytes of one copy are some 40 kB.
const STEP: usize = 4_999;

/// The same, for `make test-registries`.
const SMALL_STEP: usize = 61;

/// How many times the program is killed.
const KILLS: u64 = 12;

/// Passes bytes on until a number of them has passed; then it closes all connections, once.
struct Cutter {
    address: String,
    passed: Arc<AtomicUsize>,
}

impl Cutter {
    async fn start(server: &str, cut_at: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (passed, cut) = (Arc::<AtomicUsize>::default(), Arc::<Notify>::default());
        let (server, count) = (server.to_owned(), passed.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (server, count, cut) = (server.clone(), count.clone(), cut.clone());
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(server).await else { return };
                    let ((from_client, to_client), (from_server, to_server)) =
                        (client.into_split(), server.into_split());
                    let limit = (count, cut_at, cut.clone());
                    tokio::select! {
                        () = pass(from_client, to_server, limit.clone()) => {}
                        () = pass(from_server, to_client, limit) => {}
                        () = cut.notified() => {}
                    }
                });
            }
        });
        Self { address, passed }
    }
}

async fn pass(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    (count, cut_at, cut): (Arc<AtomicUsize>, usize, Arc<Notify>),
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let before = count.fetch_add(length, Ordering::Relaxed);
        let is_cut = before < cut_at && before + length >= cut_at;
        let length = if is_cut { cut_at - before } else { length };
        if to.write_all(&buffer[..length]).await.is_err() || is_cut {
            cut.notify_waiters();
            return;
        }
    }
}

/// Copies with connections to one side that break once, after each number of bytes.
async fn cut_everywhere(is_source: bool, step: usize) {
    let mut pair = Pair::start();
    let (source, target) = (pair.source.registry.clone(), pair.target.registry.clone());
    let digest = pair.publish("latest").await;
    pair.sign(&digest).await;
    let mut cut_at = step;
    let mut rounds = 0;
    loop {
        let cutter = Cutter::start(if is_source { &source } else { &target }, cut_at).await;
        let repository = format!("copy/{rounds}");
        if is_source {
            pair.rule.from = at(&cutter.address, "shop/till");
            pair.rule.to = at(&target, &repository);
        } else {
            pair.rule.to = at(&cutter.address, &repository);
        }
        let mut memory = RuleMemory::new(&pair.rule);
        let cut = RuleRun::new(&pair.client, &pair.rule).run(&mut memory).await;
        pair.rule.from = at(&source, "shop/till");
        pair.rule.to = at(&target, &repository);
        let what = format!("cut after {cut_at} bytes: {cut:?}");
        assert!(is_complete(&pair.client, &pair.rule.to, "latest").await, "{what}");
        let (tag, signature) =
            (pair.at_target("latest").await, pair.at_target(&fallback_tag(&digest)).await);
        assert!(tag.is_none() || signature.is_some(), "the tag is the last; {what}");
        let report = pair.run(&mut memory).await;
        assert!(report.is_success(), "{what}, then {report:?}");
        assert_eq!(pair.at_target("latest").await, Some(digest.clone()), "{what}");
        if cutter.passed.load(Ordering::Relaxed) < cut_at {
            break;
        }
        (cut_at, rounds) = (cut_at + step, rounds + 1);
    }
    assert!(cut_at > 10_000, "only {cut_at} bytes passed");
}

#[tokio::test]
async fn the_source_may_break_anywhere() {
    cut_everywhere(true, STEP).await;
}

#[tokio::test]
async fn the_target_may_break_anywhere() {
    cut_everywhere(false, STEP).await;
}

#[tokio::test]
#[ignore = "takes minutes: make test-registries"]
async fn the_source_may_break_every_few_bytes() {
    cut_everywhere(true, SMALL_STEP).await;
}

#[tokio::test]
#[ignore = "takes minutes: make test-registries"]
async fn the_target_may_break_every_few_bytes() {
    cut_everywhere(false, SMALL_STEP).await;
}

#[tokio::test]
async fn the_program_may_be_killed_at_any_moment() {
    let pair = Pair::start();
    let mut copies: Vec<Digest> = Vec::new();
    for number in 0..3 {
        let digest = pair.publish(&format!("v{number}")).await;
        pair.sign(&digest).await;
        copies.push(digest);
    }
    let program = Program::new(&pair, &rule(&pair, "tags = \"^v\"\nkeep = 2"));
    for kill in 0..KILLS {
        let mut child = program
            .command("mirror --once")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program runs");
        sleep(Duration::from_millis(kill * 13));
        // It may have ended by itself.
        let _ = child.kill();
        child.wait().expect("its end");
        for (number, digest) in copies.iter().enumerate() {
            let tag = format!("v{number}");
            assert!(is_complete(&pair.client, &pair.rule.to, &tag).await, "{tag}, kill {kill}");
            let is_signed = pair.at_target(&fallback_tag(digest)).await.is_some();
            assert!(pair.at_target(&tag).await.is_none() || is_signed, "{tag}, kill {kill}");
        }
    }
    let (done, code) = program.json("--once");
    assert_eq!(code, Some(0), "{done}");
    assert_eq!(pair.at_target("v2").await.as_ref(), copies.last());
}
