//! An Engine that is newer than this program: it shows unknown fields.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::images::Release;
use crate::support::{Pi, WATCHED};

/// Replacements in the Engine's answers, of the same length, so that the announced HTTP lengths
/// stay right: one in `Config` (the image must not have it as well), one in `HostConfig`, one in an
/// endpoint.
const REPLACEMENTS: [(&[u8], &[u8]); 3] = [
    (b"\"Tty\":true", b"\"Marma\":77"),
    (b"\"CpuPercent\":0", b"\"Marmalade\":77"),
    (b"\"EndpointID\":", b"\"Marmalades\":"),
];

/// A proxy for the Engine at `socket`; returns all bytes that clients send.
fn start_proxy(engine: PathBuf, socket: &Path) -> Arc<Mutex<Vec<u8>>> {
    let listener = UnixListener::bind(socket).expect("the proxy's socket");
    let recorded = Arc::new(Mutex::new(Vec::new()));
    let requests = Arc::clone(&recorded);
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let engine = UnixStream::connect(&engine).expect("the Engine");
            let (answers, back) = (engine.try_clone().expect("a socket"), client.try_clone());
            let back = back.expect("a socket");
            thread::spawn(move || forward_with_replacements(answers, back));
            let requests = Arc::clone(&requests);
            thread::spawn(move || forward_and_record(client, engine, &requests));
        }
    });
    recorded
}

fn forward_and_record(
    mut client: UnixStream,
    mut engine: UnixStream,
    requests: &Mutex<Vec<u8>>,
) -> io::Result<()> {
    let mut buffer = [0; 65536];
    loop {
        let length = client.read(&mut buffer)?;
        if length == 0 {
            return engine.shutdown(Shutdown::Both);
        }
        requests.lock().expect("the requests").extend_from_slice(&buffer[..length]);
        engine.write_all(&buffer[..length])?;
    }
}

/// Forwards answers with the replacements. A chunk end that may be the start of a match waits for
/// the rest.
fn forward_with_replacements(mut engine: UnixStream, mut client: UnixStream) -> io::Result<()> {
    let mut buffer = [0; 65536];
    let mut held = Vec::new();
    loop {
        let length = engine.read(&mut buffer)?;
        if length == 0 {
            client.write_all(&held)?;
            return client.shutdown(Shutdown::Both);
        }
        held.extend_from_slice(&buffer[..length]);
        for (old, new) in REPLACEMENTS {
            for place in 0..held.len() {
                if held[place..].starts_with(old) {
                    held[place..place + new.len()].copy_from_slice(new);
                }
            }
        }
        let is_begun =
            |place: &usize| REPLACEMENTS.iter().any(|(old, _)| old.starts_with(&held[*place..]));
        let end = (0..held.len()).find(is_begun).unwrap_or(held.len());
        client.write_all(&held[..end])?;
        held.drain(..end);
    }
}

#[test]
fn unknown_fields_of_a_newer_engine_are_carried_over() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.engine.docker(&["network", "create", "shop"]);
    let mut all = vec!["run", "--detach", "--name=till", "--tty", "--network=shop"];
    all.extend(WATCHED);
    all.push(&one.reference);
    pi.engine.docker(&all);
    let two = pi.registry.publish("till", &Release::new("2"));
    let socket = pi.engine.directory().join("newer.sock");
    let recorded = start_proxy(pi.engine.socket(), &socket);
    pi.agent.connect_to(&socket);

    pi.update(&[]).expect_code(0);

    assert_eq!(pi.image("till"), two.image);
    let recorded = String::from_utf8_lossy(&recorded.lock().expect("the requests")).into_owned();
    let create = recorded.split("POST ").find(|call| call.contains("/containers/create?"));
    let create = create.expect("a create");
    for (_, news) in REPLACEMENTS {
        let news = String::from_utf8_lossy(news);
        assert!(create.contains(&*news), "{news} is not in {create}");
    }
}
