//! Bodies that are too slow, too large, cut off, or not wanted.

use std::process::Stdio;
use std::time::Duration;

use pilotfish::api::push::PushLimits;
use pilotfish::core::deployment::refusal::RefusalWord;
use pilotfish::core::update::history::Outcome;
use tokio::io::AsyncWriteExt as _;

use crate::fixture::{Answer, LIMIT, Served, said};

const LOAD: &str = "/v1/deployments/till/load";

#[tokio::test]
async fn a_client_that_sends_a_byte_a_second_is_ended() {
    let limits = PushLimits {
        progress_timeout: Duration::from_secs(3),
        progress_bytes: 1000,
        ..PushLimits::DEFAULT
    };
    let served = Served::with(limits).await;
    let mut curl = served.curl("till");
    curl.args(["-T", "-"]).arg(served.url(LOAD));
    let mut child = curl.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("curl");
    let mut input = child.stdin.take().expect("a pipe");
    let drip = async {
        loop {
            if input.write_all(b"x").await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let ended = tokio::select! {
        () = drip => unreachable!(),
        ended = tokio::time::timeout(LIMIT, child.wait_with_output()) => ended,
    };
    let output = ended.expect("it ends").expect("curl");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("less than 1000 bytes in 3 seconds") && said.ends_with("400"), "{said}");
    let audit = served.audit();
    assert_eq!(audit[0]["outcome"], "bad_archive");
    assert!(audit[0]["bytes"].as_u64().is_some_and(|bytes| bytes <= 5), "{audit:?}");
}

#[tokio::test]
async fn an_archive_is_too_large_by_its_header_or_by_its_bytes() {
    let served = Served::new().await;
    let file = served.file(11_000_000);
    for declares in [true, false] {
        let mut curl = served.curl("till");
        let source = if declares {
            Stdio::null()
        } else {
            Stdio::from(std::fs::File::open(&file).expect("a file"))
        };
        curl.arg("-T").arg(if declares { file.as_os_str() } else { "-".as_ref() });
        curl.arg(served.url(LOAD)).stdin(source);
        let (status, body, error) = said(curl).await;
        assert_eq!(status, "413", "{declares}: {body} {error}");
        assert!(body.contains("too_large") && body.contains("push.size_max"), "{body}");
    }
    let audit = served.audit();
    assert_eq!((&audit[0]["bytes"], &audit[0]["outcome"]), (&0.into(), &"too_large".into()));
    assert_eq!(audit[1]["outcome"], "too_large");
    assert!(audit[1]["bytes"].as_u64().is_some_and(|bytes| bytes > 10_000_000), "{audit:?}");
}

/// `Expect: 100-continue` is answered only after the gates: curl sends nothing before.
#[tokio::test]
async fn what_is_refused_at_once_is_not_sent() {
    let served = Served::new().await;
    served.answers(Answer::RefusesAtOnce(RefusalWord::UpdateInFlight));
    let file = served.file(9_000_000);
    let mut curl = served.curl("till");
    curl.args(["-w", "\n%{size_upload} %{http_code}"]);
    curl.arg("-T").arg(&file).arg(served.url(LOAD));
    let (status, body, _) = said(curl).await;
    assert_eq!(status, "0 409", "{body}");
}

/// The answer arrives although the client is still sending.
#[tokio::test]
async fn a_refusal_in_the_middle_is_read_by_the_client() {
    let served = Served::new().await;
    served.answers(Answer::RefusesAfter(1_000_000, RefusalWord::DiskFull));
    let file = served.file(9_000_000);
    for _ in 0..5 {
        let mut curl = served.curl("till");
        curl.args(["-H", "Expect:", "-T"]).arg(&file).arg(served.url(LOAD));
        let (status, body, error) = said(curl).await;
        assert_eq!(status, "507", "{body} {error}");
        assert!(body.contains("disk_full"), "{body}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_has_sent_no_whole_archive() {
    let served = Served::new().await;
    let mut curl = served.curl("till");
    curl.args(["--limit-rate", "100k", "--max-time", "2", "-T"]);
    curl.arg(served.file(9_000_000)).arg(served.url(LOAD));
    let _ = said(curl).await;
    let until = async {
        while served.received.lock().expect("a lock").is_empty() || served.audit().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, until).await.expect("the agent hears of it");
    assert!(!served.received.lock().expect("a lock")[0].is_whole);
    assert_eq!(served.audit()[0]["outcome"], "bad_archive");
}

#[tokio::test]
async fn a_rollback_is_a_200_whose_last_line_says_so() {
    let served = Served::new().await;
    served.answers(Answer::Takes(Outcome::RolledBack));
    let mut curl = served.curl("till");
    curl.arg("-T").arg(served.file(5000)).arg(served.url(LOAD));
    let (status, body, _) = said(curl).await;
    assert_eq!(status, "200");
    let last: serde_json::Value =
        serde_json::from_str(body.lines().last().expect("a line")).expect("JSON");
    assert_eq!(last["answer"]["ended"]["outcome"], "rolled_back");
    let audit = served.audit();
    assert_eq!(audit[0]["outcome"], "rolled_back");
    assert_eq!((&audit[0]["bytes"], &audit[0]["update"]), (&5000.into(), &"7".into()));
    let page = served.page();
    let series = r#"{act="load",deployment="till",outcome="rolled_back"} 1"#;
    assert!(page.contains(series), "{page}");
}
