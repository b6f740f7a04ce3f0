//! Entry points for the fuzzer: the parsers of this port that read foreign input. Their results are
//! not returned.

use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};

use crate::registry::protocol::challenge::choose;
use crate::registry::protocol::docker_config::DockerConfig;

/// Reads `WWW-Authenticate`, one header for each line.
pub fn challenge(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(WWW_AUTHENTICATE, value);
        }
    }
    drop(choose(&headers));
}

/// Reads Docker's `config.json`, and its entry for a registry.
pub fn docker_config(bytes: &[u8], registry: &str) {
    if let Some(config) = DockerConfig::parse(bytes) {
        drop(config.login(registry));
    }
}
