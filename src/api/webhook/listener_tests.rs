//! The answers of the listener, which depend on the receiver.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Mutex;

use axum::body::to_bytes;

use super::*;
use crate::config::WebhookSenderSettings;
use crate::core::decide::snapshot::Snapshot;
use crate::core::docker::webhook::{AllowedReferences, SenderKind, WebhookContent, parse};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Remembers what it took; it answers as the test wants.
#[derive(Default)]
struct FakeSink {
    taken: Mutex<Vec<(String, WebhookNews)>>,
    answers: Mutex<Vec<SinkError>>,
}

impl WebhookSink for FakeSink {
    async fn take(&self, sender: &str, news: WebhookNews) -> Result<(), SinkError> {
        // The answer comes later, as that of a broker.
        tokio::task::yield_now().await;
        if let Some(error) = self.answers.lock().expect("a lock").pop() {
            return Err(error);
        }
        self.taken.lock().expect("a lock").push((sender.to_owned(), news));
        Ok(())
    }
}

fn state() -> Arc<WebhookState<FakeSink>> {
    let directory = tempfile::tempdir().expect("a directory");
    let secret_file = directory.path().join("secret");
    std::fs::write(&secret_file, SECRET).expect("a file");
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&secret_file, mode).expect("a mode");
    let references = AllowedReferences::parse(["ghcr.io/shop/*"]).expect("a pattern");
    let sender = WebhookSenderSettings {
        name: "ci".to_owned(),
        kind: SenderKind::Auto,
        secret_file,
        references,
        build: Some("till".to_owned()),
        key: String::new(),
    };
    let senders = WebhookSenders::read(&[sender], chrono::DateTime::default).expect("a sender");
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    Arc::new(WebhookState { senders, sink: FakeSink::default(), metrics })
}

/// The status, `Retry-After` and the words.
async fn send(
    state: &Arc<WebhookState<FakeSink>>,
    token: &str,
    body: &'static str,
) -> (u16, Option<String>, String) {
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, format!("Bearer {token}").parse().expect("a value"));
    headers.insert("webhook-id", "7".parse().expect("a value"));
    let uri = Uri::from_static("/v1/webhook");
    let answer = receive(State(state.clone()), uri, headers, Bytes::from_static(body.as_bytes()));
    let answer = answer.await;
    let retry = answer.headers().get(header::RETRY_AFTER).map(|it| it.to_str().expect("text"));
    let (status, retry) = (answer.status().as_u16(), retry.map(str::to_owned));
    let words = to_bytes(answer.into_body(), 4096).await.expect("a body");
    (status, retry, String::from_utf8(words.to_vec()).expect("text"))
}

const PUSH: &str = r#"{"v":1,"pushed":["ghcr.io/shop/till:v1"]}"#;

#[tokio::test]
async fn a_webhook_is_accepted_only_after_the_receiver_took_it() {
    let state = state();
    let busy = SinkError::Busy {
        why: "the broker is away".to_owned(),
        retry_after: Duration::from_millis(30_500),
    };
    state.sink.answers.lock().expect("a lock").push(busy);
    let answer = send(&state, SECRET, PUSH).await;
    assert_eq!(answer, (503, Some("30".to_owned()), "the broker is away\n".to_owned()));
    // What was not taken is no repetition.
    assert_eq!(send(&state, SECRET, PUSH).await.0, 202);
    let taken = state.sink.taken.lock().expect("a lock").clone();
    let [(sender, WebhookNews::Pushed(pushed))] = taken.as_slice() else { panic!("{taken:?}") };
    assert_eq!((sender.as_str(), pushed.len()), ("ci", 1));
    let again = send(&state, SECRET, PUSH).await;
    assert!(again.0 == 202 && again.2.starts_with("this delivery was accepted"), "{again:?}");
    assert_eq!(state.sink.taken.lock().expect("a lock").len(), 1, "a repetition is not taken");
}

#[tokio::test]
async fn what_the_receiver_never_takes_is_a_400_with_its_words() {
    let state = state();
    let unwanted = SinkError::Unwanted("no builds here".to_owned());
    state.sink.answers.lock().expect("a lock").push(unwanted);
    let build = include_str!("../../../fuzz/corpus/notification/circleci-workflow.json");
    assert_eq!(send(&state, SECRET, build).await, (400, None, "no builds here\n".to_owned()));
    assert_eq!(send(&state, SECRET, build).await.0, 202);
    let taken = state.sink.taken.lock().expect("a lock").clone();
    let [(_, WebhookNews::Built(build))] = taken.as_slice() else { panic!("{taken:?}") };
    assert_eq!((build.name.as_str(), build.ok), ("till", true));
}

#[tokio::test]
async fn what_is_refused_never_reaches_the_receiver() {
    let state = state();
    assert_eq!(send(&state, "0123456789abcdef", PUSH).await.0, 401);
    assert_eq!(send(&state, SECRET, r#"{"v":1,"pushed":["ghcr.io/bank/till:v1"]}"#).await.0, 403);
    assert_eq!(send(&state, SECRET, "{}").await.0, 400);
    assert_eq!(send(&state, SECRET, r#"{"zen":"Keep it logically awesome."}"#).await.0, 200);
    assert!(state.sink.taken.lock().expect("a lock").is_empty());
    let page = state.metrics.render(&Snapshot::default(), chrono::DateTime::UNIX_EPOCH);
    for (sender, outcome) in
        [("", "unauthorized"), ("ci", "not_allowed"), ("ci", "unreadable"), ("ci", "nothing")]
    {
        let line = format!("outcome=\"{outcome}\",sender=\"{sender}\"}} 1");
        let page = String::from_utf8_lossy(page.as_ref());
        assert!(page.contains(&line), "{line}");
        assert!(!page.contains(SECRET));
    }
}

/// The agent checks images, and it has only so many places for webhooks that wait.
#[tokio::test]
async fn the_agent_takes_pushes_until_its_queue_is_full() {
    let (sink, mut waiting) = queue();
    let content = |body: &str| parse(SenderKind::Auto, body.as_bytes()).expect("a webhook").content;
    let WebhookContent::Pushed(pushed) = content(PUSH) else { panic!("no push") };
    let push = || sink.take("ci", WebhookNews::Pushed(pushed.clone()));
    let mut count = 0;
    while push().await.is_ok() {
        count += 1;
    }
    assert_eq!(count, 64);
    let error = push().await.expect_err("a full queue");
    assert!(matches!(error, SinkError::Busy { .. }), "{error:?}");
    assert_eq!(waiting.recv().await.map(|it| it.len()), Some(1));
    assert_eq!(push().await, Ok(()));
    let build = include_str!("../../../fuzz/corpus/notification/circleci-job.json");
    let WebhookContent::Built(build) = content(build) else { panic!("no build") };
    let error = sink.take("ci", WebhookNews::Built(build)).await.expect_err("no image");
    assert!(matches!(error, SinkError::Unwanted(why) if why.contains("names no image")));
}
