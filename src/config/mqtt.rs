//! The broker, and this device's place in its fleet.

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use super::effective::Effective;
use super::error::ConfigError;
use super::settings::{FLAGS, choose};
use crate::broker::BrokerAddress;
use crate::core::fleet::names::FleetName;
use crate::core::time::duration::parse_duration;

/// Shortest keep-alive: each one wakes the agent and the radio of its Pi.
const KEEP_ALIVE_MIN: Duration = Duration::from_secs(10);

/// Longest keep-alive: MQTT 5 has 16 bits of seconds, and a device that is gone is noticed after
/// one and a half of it.
const KEEP_ALIVE_MAX: Duration = Duration::from_secs(60 * 60);

/// The settings of the connection to a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqttSettings {
    pub address: BrokerAddress,
    /// The CA of the broker's certificate; absent: those of the system.
    pub ca_file: Option<PathBuf>,
    /// The certificate of this device, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The user name, and the file whose first line is the password.
    pub login: Option<(String, PathBuf)>,
    /// The fleet: topics begin with `pilotfish/1/FLEET/`.
    pub fleet: FleetName,
    pub keep_alive: Duration,
    /// Whether commands that arrive over MQTT are carried out.
    pub commands: bool,
    /// The discovery prefix of Home Assistant; absent: no discovery.
    pub home_assistant: Option<String>,
}

impl MqttSettings {
    /// Reads the section `[mqtt]`. `None`: there is no broker.
    pub(super) fn read(effective: &Effective) -> Result<Option<Self>, ConfigError> {
        let is_plain = effective.read("mqtt.plain", |text| choose(text, FLAGS))?;
        let address = effective.read("mqtt.url", |text| parse_url(text, is_plain))?;
        let Some(address) = address else { return Ok(None) };
        let file = |name: &str| effective.read(name, |text| Ok::<_, Infallible>(path(text)));
        Ok(Some(Self {
            ca_file: file("mqtt.ca_file")?,
            identity: read_pair(effective, "mqtt.cert_file", "mqtt.key_file")?
                .map(|(certificate, key)| (PathBuf::from(certificate), key)),
            login: read_pair(effective, "mqtt.username", "mqtt.password_file")?,
            fleet: effective.read("mqtt.fleet", str::parse)?,
            keep_alive: effective.read("mqtt.keep_alive", parse_keep_alive)?,
            commands: effective.read("mqtt.commands", |text| choose(text, FLAGS))?,
            home_assistant: effective.read("mqtt.home_assistant", parse_prefix)?,
            address,
        }))
    }
}

/// Two keys of which none is of use without the other. The second one is a file.
fn read_pair(
    effective: &Effective,
    first: &str,
    second: &str,
) -> Result<Option<(String, PathBuf)>, ConfigError> {
    let text = effective.read(first, |text| Ok::<_, Infallible>(text.trim().to_owned()))?;
    let file = effective.read(second, |file| match (text.is_empty(), path(file)) {
        (true, Some(_)) => Err(format!("{second} needs {first} too")),
        (false, None) => Err(format!("{first} needs {second} too")),
        (_, file) => Ok(file),
    })?;
    Ok(file.map(|file| (text, file)))
}

fn path(text: &str) -> Option<PathBuf> {
    let text = text.trim();
    (!text.is_empty()).then(|| PathBuf::from(text))
}

/// The URL of the broker; nothing: no broker.
fn parse_url(text: &str, is_plain_allowed: bool) -> Result<Option<BrokerAddress>, String> {
    match text.trim() {
        "" => Ok(None),
        text => BrokerAddress::parse(text, is_plain_allowed)
            .map(Some)
            .map_err(|error| error.to_string()),
    }
}

fn parse_keep_alive(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text).map_err(|error| error.to_string())?;
    if (KEEP_ALIVE_MIN..=KEEP_ALIVE_MAX).contains(&time) {
        return Ok(time);
    }
    Err("it is between 10s and 1h".to_owned())
}

/// The first level of Home Assistant's discovery topics; nothing: no discovery.
fn parse_prefix(text: &str) -> Result<Option<String>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    text.parse::<FleetName>().map(|name| Some(name.to_string())).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keep_alive_has_bounds() {
        assert_eq!(parse_keep_alive("120s"), Ok(Duration::from_secs(120)));
        assert!(parse_keep_alive("1s").is_err() && parse_keep_alive("1d").is_err());
    }
}
