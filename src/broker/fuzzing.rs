//! Entry point for the fuzzer: the packets of a hostile broker. They are not returned.

use futures_util::FutureExt as _;

use super::wire::Reader;

/// Reads packets until the bytes end, or until one is not MQTT 5.
pub fn packets(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    loop {
        match reader.next() {
            Ok(Some(packet)) => drop(packet),
            // A slice is always ready.
            Ok(None) => match reader.read().now_or_never() {
                Some(Ok(())) => {}
                _ => return,
            },
            Err(_) => return,
        }
    }
}
