//! `HOST:PORT` as in a URL (RFC 3986, 3.2), for places that a person writes by hand.

use std::net::Ipv6Addr;

use crate::core::text::shown;

/// Why a text is not `HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// The host is not a name or an address. It may be a password, so it is not shown.
    #[error("the host is not a host name or an address")]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("`{0}` is not a port: use 1 to 65535")]
    Port(String),
}

/// Splits into host, without the brackets of an IPv6 address, and port. Either may be missing.
///
/// # Errors
/// A user and password before the host are refused like any other invalid host.
pub fn split_authority(text: &str) -> Result<(Option<String>, Option<u16>), AuthorityError> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (address, behind) = rest.split_once(']').ok_or(AuthorityError::Host)?;
        address.parse::<Ipv6Addr>().map_err(|_| AuthorityError::Host)?;
        match behind.strip_prefix(':') {
            None if !behind.is_empty() => return Err(AuthorityError::Host),
            port => (address, port),
        }
    } else {
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        (check_name(host)?, port)
    };
    let host = (!host.is_empty()).then(|| host.to_owned());
    Ok((host, port.map(parse_port).transpose()?))
}

fn check_name(host: &str) -> Result<&str, AuthorityError> {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if host.bytes().all(is_letter) { Ok(host) } else { Err(AuthorityError::Host) }
}

fn parse_port(text: &str) -> Result<u16, AuthorityError> {
    // The text after a colon in `user:password@host` is not repeated.
    if text.contains('@') {
        return Err(AuthorityError::Host);
    }
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|port| *port > 0 && is_number);
    port.ok_or_else(|| AuthorityError::Port(shown(text)))
}

/// A host as it is written before a port: an IPv6 address in brackets, an empty text for no host.
#[must_use]
pub fn in_brackets(host: Option<&str>) -> String {
    match host {
        Some(address) if address.contains(':') => format!("[{address}]"),
        host => host.unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_are_taken_apart() {
        for (text, host, port) in [
            ("", None, None),
            (":80", None, Some(80)),
            ("pi", Some("pi"), None),
            ("my_pi.local:65535", Some("my_pi.local"), Some(65535)),
            ("192.0.2.1:1", Some("192.0.2.1"), Some(1)),
            ("[::1]", Some("::1"), None),
            ("[2001:db8::1]:80", Some("2001:db8::1"), Some(80)),
        ] {
            assert_eq!(split_authority(text), Ok((host.map(str::to_owned), port)), "{text}");
        }
        assert_eq!(in_brackets(Some("::1")), "[::1]");
        assert_eq!(in_brackets(Some("pi")), "pi");
        assert_eq!(in_brackets(None), "");
    }

    #[test]
    fn what_is_neither_is_refused_and_no_password_is_repeated() {
        let port = |text: &str| AuthorityError::Port(text.to_owned());
        for (text, expected) in [
            ("pi:", port("")),
            ("pi:0", port("0")),
            ("pi:+1", port("+1")),
            ("pi:65536", port("65536")),
            ("a b", AuthorityError::Host),
            ("user@pi", AuthorityError::Host),
            ("user:secret@pi", AuthorityError::Host),
            ("[::1", AuthorityError::Host),
            ("[zz]:1", AuthorityError::Host),
            ("[::1]x", AuthorityError::Host),
        ] {
            assert_eq!(split_authority(text), Err(expected), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn splitting_never_panics(text in ".{0,40}", likely in "[\\]\\[a-z:0-9.@]{0,20}") {
            let _ = split_authority(&text);
            let _ = split_authority(&likely);
        }
    }
}
