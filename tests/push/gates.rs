//! Who gets in, and what each client is told.

use std::time::Duration;

use pilotfish::core::deployment::refusal::RefusalWord;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::certificates::{Authority, Flaw};
use crate::fixture::{Answer, LIMIT, Served, said};

const LIST: &str = "/v1/deployments";

async fn get(served: &Served, client: &str, path: &str) -> (String, String, String) {
    let mut curl = served.curl(client);
    curl.arg(served.url(path));
    said(curl).await
}

#[tokio::test]
async fn only_a_valid_certificate_of_the_authority_gets_in() {
    let served = Served::new().await;
    let path = served.path();
    served.authority.client(path, "expired", 10, Flaw::Expired);
    served.authority.client(path, "not-yet", 11, Flaw::NotYet);
    Authority::new("the authority of the clients").client(path, "stranger", 12, Flaw::None);
    served.authority.revoke(path, &[4], 2999);
    assert_eq!(get(&served, "owner", LIST).await.0, "200");
    for (client, alert) in [
        ("", "certificate required"),
        ("expired", "certificate expired"),
        ("not-yet", "expired"),
        ("stranger", ""),
        ("revoked", "certificate revoked"),
    ] {
        let (status, body, error) = get(&served, client, LIST).await;
        assert_eq!((status.as_str(), body.as_str()), ("000", ""), "{client}: {error}");
        assert!(error.contains(alert), "{client}: {error}");
    }
    assert_eq!(served.audit().len(), 1, "only who has proved itself is audited");
    let page = served.page();
    assert!(page.contains(r#"act="",deployment="",outcome="unauthenticated"} 5"#), "{page}");
}

/// A certificate is looked at again at each connection, also one that a client had before.
#[tokio::test]
async fn a_list_that_changes_while_the_server_runs_counts_at_once() {
    let served = Served::new().await;
    assert_eq!(get(&served, "owner", LIST).await.0, "200");
    served.authority.revoke(served.path(), &[2], 2999);
    let (status, _, error) = get(&served, "owner", LIST).await;
    assert_eq!(status, "000", "{error}");
    served.authority.revoke(served.path(), &[], 2999);
    assert_eq!(get(&served, "owner", LIST).await.0, "200");
    // A file that is no list changes nothing.
    std::fs::write(served.path().join("crl.pem"), "half a file").expect("a file");
    assert_eq!(get(&served, "owner", LIST).await.0, "200");
    // A list that is out of date lets nobody in.
    served.authority.revoke(served.path(), &[], 2021);
    assert_eq!(get(&served, "owner", LIST).await.0, "000");
}

#[tokio::test]
async fn another_authority_counts_from_the_next_connection_on() {
    let served = Served::new().await;
    let other = Authority::new("another authority");
    other.client(served.path(), "owner", 2, Flaw::None);
    other.revoke(served.path(), &[], 2999);
    assert_eq!(get(&served, "owner", LIST).await.0, "000");
    let old = std::fs::read_to_string(served.path().join("ca.crt")).expect("a file");
    other.write(served.path(), "new");
    let new = std::fs::read_to_string(served.path().join("new.crt")).expect("a file");
    std::fs::write(served.path().join("ca.crt"), old + &new).expect("a file");
    assert_eq!(get(&served, "owner", LIST).await.0, "200");
}

#[tokio::test]
async fn a_client_sees_and_does_what_its_rules_say() {
    let served = Served::new().await;
    let list = |body: &str| -> Vec<String> {
        let document: serde_json::Value = serde_json::from_str(body).expect("JSON");
        let rows = document["deployments"].as_array().expect("a list");
        rows.iter().map(|row| row["deployment"].as_str().expect("a name").to_owned()).collect()
    };
    let (status, body, _) = get(&served, "owner", LIST).await;
    assert_eq!((status.as_str(), list(&body)), ("200", vec!["till".into(), "web".into()]));
    let (status, body, _) = get(&served, "till", LIST).await;
    assert_eq!((status.as_str(), list(&body)), ("200", vec![]));
    assert_eq!(get(&served, "unknown", LIST).await.0, "403");
    assert_eq!(get(&served, "till", "/v1/deployments/till/layers").await.0, "200");
    assert_eq!(get(&served, "owner", "/v1/deployments/web/log?lines=5").await.0, "200");
    assert_eq!(get(&served, "owner", "/v1/deployments/none").await.0, "404");
    // No client learns which names exist.
    let (status, one, _) = get(&served, "till", "/v1/deployments/web").await;
    let (_, other, _) = get(&served, "till", "/v1/deployments/none").await;
    assert_eq!((status.as_str(), &one), ("403", &other));
    assert!(one.contains(r#""error":"not_allowed""#), "{one}");
}

#[tokio::test]
async fn acts_are_asked_with_post_alone() {
    let served = Served::new().await;
    for (client, path, expected) in [
        ("till", "/v1/deployments/till/restart", "200"),
        ("till", "/v1/deployments/till/stop", "403"),
        ("owner", "/v1/deployments/web/stop", "200"),
        ("owner", "/v1/deployments/web/start", "200"),
        ("owner", "/v1/deployments/web/rollback", "200"),
        ("owner", "/v1/deployments/web/allow", "200"),
    ] {
        assert_eq!(get(&served, client, path).await.0, "405", "{client} {path}");
        let mut curl = served.curl(client);
        curl.args(["-X", "POST"]).arg(served.url(path));
        let (status, body, _) = said(curl).await;
        assert_eq!(status, expected, "{client} {path}: {body}");
    }
    let audit = served.audit();
    let of = |act: &str| audit.iter().find(|line| line["act"] == act).expect("a line").clone();
    assert_eq!(of("restart")["outcome"], "done");
    assert_eq!(of("restart")["client"], "uri:pilotfish://push/till");
    assert_eq!(of("restart")["serial"], "1");
    assert_eq!(of("stop")["outcome"], "not_allowed");
}

/// A browser would send the certificate of its user with a form of any page.
#[tokio::test]
async fn the_request_of_a_web_page_is_refused() {
    let served = Served::new().await;
    for header in ["Origin: https://evil.example", "Sec-Fetch-Site: cross-site"] {
        let mut curl = served.curl("owner");
        curl.args(["-X", "POST", "-H", header]);
        curl.arg(served.url("/v1/deployments/web/stop"));
        assert_eq!(said(curl).await.0, "403", "{header}");
    }
}

#[tokio::test]
async fn each_refusal_of_the_agent_has_its_status() {
    let served = Served::new().await;
    let file = served.file(100);
    for (word, expected) in [
        (RefusalWord::BadArchive, "400"),
        (RefusalWord::UpdateInFlight, "409"),
        (RefusalWord::LayersMissing, "409"),
        (RefusalWord::Busy, "429"),
        (RefusalWord::NotReady, "503"),
        (RefusalWord::DiskFull, "507"),
        (RefusalWord::EngineError, "500"),
    ] {
        served.answers(Answer::RefusesAtOnce(word));
        let mut curl = served.curl("till");
        curl.arg("-T").arg(&file).arg(served.url("/v1/till/load"));
        let (status, body, _) = said(curl).await;
        assert_eq!(status, expected, "{body}");
        assert!(body.contains(word.word()), "{body}");
    }
}

/// Programs without a certificate hold no place of a client, and no connection for long.
#[tokio::test]
async fn many_silent_connections_keep_no_client_out() {
    let served = Served::new().await;
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(TcpStream::connect(served.address).await.expect("a connection"));
    }
    assert_eq!(get(&served, "owner", LIST).await.0, "200");
    let mut first = silent.swap_remove(0);
    let ended = tokio::time::timeout(LIMIT, first.read(&mut [0; 16])).await;
    assert!(matches!(ended, Ok(Ok(0) | Err(_))), "it was closed: {ended:?}");
    // What is no TLS at all gets an alert, or nothing.
    let mut plain = TcpStream::connect(served.address).await.expect("a connection");
    plain.write_all(b"GET / HTTP/1.1\r\nHost: pi\r\n\r\n").await.expect("it is open");
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(LIMIT, plain.read_to_end(&mut answer)).await;
    assert!(ended.is_ok() && !answer.starts_with(b"HTTP"), "{answer:?}");
}

#[tokio::test]
async fn one_client_has_so_many_places_and_another_one_its_own() {
    let served = Served::new().await;
    served.answers(Answer::Hangs);
    let file = served.file(100);
    let mut loads = Vec::new();
    for _ in 0..4 {
        let mut curl = served.curl("till");
        curl.arg("-T").arg(&file).arg(served.url("/v1/till/load"));
        loads.push(curl.spawn().expect("curl"));
    }
    let until = async {
        while served.received.lock().expect("a lock").len() < 4 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, until).await.expect("four loads");
    let (status, body, _) = get(&served, "till", "/v1/deployments/till/layers").await;
    assert_eq!(status, "429", "{body}");
    assert_eq!(get(&served, "owner", LIST).await.0, "200");
}
