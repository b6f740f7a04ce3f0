//! What a person types, with the real curl.

use std::process::Stdio;

use crate::fixture::{Served, said};

#[tokio::test]
async fn curl_loads_a_file_or_a_pipe_at_both_paths() {
    let served = Served::new().await;
    let file = served.file(3_000_000);
    for path in ["/v1/deployments/till/load", "/v1/till/load"] {
        for (upload, method, size) in [
            ("FILE", "PUT", Some(3_000_000)),
            ("-", "PUT", None),
            ("-", "POST", None),
            ("FILE", "POST", Some(3_000_000)),
        ] {
            let mut curl = served.curl("till");
            curl.args(["-X", method, "-T"]);
            if upload == "-" {
                curl.arg("-").stdin(Stdio::from(std::fs::File::open(&file).expect("a file")));
            } else {
                curl.arg(&file);
            }
            curl.arg(served.url(path));
            let (status, body, error) = said(curl).await;
            assert_eq!(status, "200", "{path} {upload} {method}: {body} {error}");
            assert!(body.contains(r#""outcome":"updated""#), "{body}");
            let received = served.received.lock().expect("a lock").pop().expect("a load");
            assert!(received.is_whole, "{path} {upload} {method}");
            assert_eq!((received.bytes, received.size), (3_000_000, size));
            assert_eq!(received.by, "uri:pilotfish://push/till");
            assert!(!received.force);
        }
    }
}

#[tokio::test]
async fn the_digest_and_the_force_of_a_request_reach_the_agent() {
    let served = Served::new().await;
    let digest = format!("sha256:{}", "a".repeat(64));
    let mut curl = served.curl("owner");
    curl.arg("-H").arg(format!("X-Pilotfish-Digest: {digest}")).arg("-T");
    curl.arg(served.file(10)).arg(served.url("/v1/till/load?force=1"));
    assert_eq!(said(curl).await.0, "200");
    let received = served.received.lock().expect("a lock").pop().expect("a load");
    assert_eq!(received.digest.as_deref(), Some(digest.as_str()));
    assert!(received.force);
    let mut curl = served.curl("owner");
    curl.args(["-H", "Content-Digest: sha-256=:nonsense:", "-T"]);
    curl.arg(served.file(10)).arg(served.url("/v1/till/load"));
    assert_eq!(said(curl).await.0, "400");
}
