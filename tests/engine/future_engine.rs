//! An Engine that is newer than this program: it shows fields that nobody here has heard of.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::images::Release;
use crate::support::{Pi, WATCHED};

/// What stands in the Engine's answers, and what the proxy makes of it: as long, so that the
/// lengths that HTTP announces stay right. One in `Config` (which the image
/// must not have as well), one in `HostConfig`, one in an endpoint.
const NEWS: [(&[u8], &[u8]); 3] = [
    (b"\"Tty\":true", b"\"Marma\":77"),
    (b"\"CpuPercent\":0", b"\"Marmalade\":77"),
    (b"\"EndpointID\":", b"\"Marmalades\":"),
];

/// Stands at `socket` for the Engine; gives everything that clients say to it.
fn stand_before(engine: PathBuf, socket: &Path) -> Arc<Mutex<Vec<u8>>> {
    let listener = UnixListener::bind(socket).expect("the proxy's socket");
    let said = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&said);
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let engine = UnixStream::connect(&engine).expect("the Engine");
            let (answers, back) = (engine.try_clone().expect("a socket"), client.try_clone());
            let back = back.expect("a socket");
            thread::spawn(move || renew(answers, back));
            let heard = Arc::clone(&heard);
            thread::spawn(move || pass_on(client, engine, &heard));
        }
    });
    said
}

fn pass_on(
    mut client: UnixStream,
    mut engine: UnixStream,
    heard: &Mutex<Vec<u8>>,
) -> io::Result<()> {
    let mut buffer = [0; 65536];
    loop {
        let length = client.read(&mut buffer)?;
        if length == 0 {
            return engine.shutdown(Shutdown::Both);
        }
        heard.lock().expect("what was heard").extend_from_slice(&buffer[..length]);
        engine.write_all(&buffer[..length])?;
    }
}

/// Passes answers on with the news in them. A piece that may be the begin of something to replace
/// waits for the rest of it.
fn renew(mut engine: UnixStream, mut client: UnixStream) -> io::Result<()> {
    let mut buffer = [0; 65536];
    let mut held = Vec::new();
    loop {
        let length = engine.read(&mut buffer)?;
        if length == 0 {
            client.write_all(&held)?;
            return client.shutdown(Shutdown::Both);
        }
        held.extend_from_slice(&buffer[..length]);
        for (old, new) in NEWS {
            for place in 0..held.len() {
                if held[place..].starts_with(old) {
                    held[place..place + new.len()].copy_from_slice(new);
                }
            }
        }
        let is_begun = |place: &usize| NEWS.iter().any(|(old, _)| old.starts_with(&held[*place..]));
        let end = (0..held.len()).find(is_begun).unwrap_or(held.len());
        client.write_all(&held[..end])?;
        held.drain(..end);
    }
}

#[test]
fn what_a_newer_engine_shows_is_carried_over_untouched() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.engine.docker(&["network", "create", "shop"]);
    let mut all = vec!["run", "--detach", "--name=till", "--tty", "--network=shop"];
    all.extend(WATCHED);
    all.push(&one.reference);
    pi.engine.docker(&all);
    let two = pi.registry.publish("till", &Release::new("2"));
    let socket = pi.engine.directory().join("newer.sock");
    let said = stand_before(pi.engine.socket(), &socket);
    pi.agent.connect_to(&socket);

    pi.update(&[]).expect_code(0);

    assert_eq!(pi.image("till"), two.image);
    let said = String::from_utf8_lossy(&said.lock().expect("what was said")).into_owned();
    let create = said.split("POST ").find(|call| call.contains("/containers/create?"));
    let create = create.expect("a create");
    for (_, news) in NEWS {
        let news = String::from_utf8_lossy(news);
        assert!(create.contains(&*news), "{news} is not in {create}");
    }
}
