//! The address of the push API of a device, as a person types it.

use std::fmt;
use std::str::FromStr;

use crate::core::docker::authority::split_authority;

/// `https://HOST:PORT`, without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceUrl(String);

/// Why a text is no address of a device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceUrlError {
    #[error("write it like https://pi:9790: a client proves itself over TLS")]
    Scheme,
    #[error("write a host and a port, like https://pi:9790, and no path")]
    Host,
}

impl FromStr for DeviceUrl {
    type Err = DeviceUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.trim().strip_prefix("https://").ok_or(DeviceUrlError::Scheme)?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        match split_authority(authority) {
            Ok((Some(_), _)) => Ok(Self(format!("https://{authority}"))),
            _ => Err(DeviceUrlError::Host),
        }
    }
}

impl fmt::Display for DeviceUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_no_path() {
        for (text, expected) in [
            ("https://pi:9790", Ok("https://pi:9790")),
            ("https://192.168.1.2:9790/", Ok("https://192.168.1.2:9790")),
            ("https://[2001:db8::1]:9790", Ok("https://[2001:db8::1]:9790")),
            ("https://pi.lan", Ok("https://pi.lan")),
            ("http://pi:9790", Err(DeviceUrlError::Scheme)),
            ("pi:9790", Err(DeviceUrlError::Scheme)),
            ("https://pi:9790/v1", Err(DeviceUrlError::Host)),
            ("https://user@pi:9790", Err(DeviceUrlError::Host)),
            ("https://", Err(DeviceUrlError::Host)),
            ("https://pi:x", Err(DeviceUrlError::Host)),
        ] {
            let parsed = text.parse::<DeviceUrl>().map(|url| url.to_string());
            assert_eq!(parsed, expected.map(str::to_owned), "{text}");
        }
    }
}
