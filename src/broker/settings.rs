//! What an operator sets for the connection.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;

/// The port of MQTT over TLS (IANA, `secure-mqtt`).
const TLS_PORT: u16 = 8883;

/// The port of MQTT without TLS (IANA, `mqtt`).
const PLAIN_PORT: u16 = 1883;

/// The keep-alive if none is set. Many routers forget a silent connection after five minutes, and a
/// ping costs a wake-up.
const KEEP_ALIVE_TIME: Duration = Duration::from_secs(120);

/// How long a connection may take, from the name to CONNACK. A handshake with a Pi as broker takes
/// a second while many devices come back together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the broker may take to answer PINGREQ, PUBLISH or SUBSCRIBE. After this time the
/// connection counts as dead: a broker that lives answers each of them at once.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// How long the connection waits, when it is stopped, for answers to what was published before.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// The shortest time over which the first attempt after a failure is spread.
const PAUSE_BASE: Duration = Duration::from_secs(1);

/// A connection that lived this long was a good one: the pauses begin anew.
const GOOD_LIFE: Duration = Duration::from_secs(60);

/// Settings of one connection. Files are read anew for each attempt to connect, so a renewed
/// certificate needs no restart.
#[derive(Debug, Clone)]
pub struct BrokerSettings {
    pub address: BrokerAddress,
    /// The authorities that may sign the broker's certificate. Without it these are the authorities
    /// of the bundle and of the system.
    pub ca_file: Option<PathBuf>,
    /// The certificate of this device, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    pub login: Option<BrokerLogin>,
    pub client_id: String,
    pub keep_alive: Duration,
    pub last_will: Option<LastWill>,
    pub subscriptions: Vec<TopicSubscription>,
    /// How many devices may come back at the same time.
    pub fleet_size: u32,
    pub limits: BrokerLimits,
}

/// A user and the file with the password.
#[derive(Debug, Clone)]
pub struct BrokerLogin {
    pub username: String,
    pub password_file: Option<PathBuf>,
}

/// What the broker publishes after this device has disappeared.
#[derive(Debug, Clone)]
pub struct LastWill {
    pub topic: String,
    pub payload: Vec<u8>,
    pub is_retained: bool,
    /// How long the broker waits for the device to come back.
    pub delay: Duration,
}

/// Topics to receive.
#[derive(Debug, Clone)]
pub struct TopicSubscription {
    pub filter: String,
    /// Which messages arrive with `is_retained`. `true`: all that were published with the flag
    /// (MQTT 5, 3.8.3.1, Retain As Published), so a command with the flag is known at once.
    /// `false`: only those that the broker had kept from before the subscription.
    pub shows_retain_flag: bool,
}

/// Times of a connection; tests set shorter ones.
#[derive(Debug, Clone, Copy)]
pub struct BrokerLimits {
    pub connect: Duration,
    pub answer: Duration,
    pub stop: Duration,
    /// The first pause between attempts is at most this long.
    pub pause: Duration,
    /// A connection that lived this long was a good one.
    pub good_life: Duration,
}

impl Default for BrokerLimits {
    fn default() -> Self {
        Self {
            connect: CONNECT_TIMEOUT,
            answer: ANSWER_TIMEOUT,
            stop: STOP_TIMEOUT,
            pause: PAUSE_BASE,
            good_life: GOOD_LIFE,
        }
    }
}

impl BrokerSettings {
    /// The settings for a broker, with the defaults for everything else.
    #[must_use]
    pub fn new(address: BrokerAddress, client_id: impl Into<String>) -> Self {
        Self {
            address,
            ca_file: None,
            identity: None,
            login: None,
            client_id: client_id.into(),
            keep_alive: KEEP_ALIVE_TIME,
            last_will: None,
            subscriptions: Vec::new(),
            fleet_size: 1,
            limits: BrokerLimits::default(),
        }
    }
}

/// Where the broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerAddress {
    pub host: String,
    pub port: u16,
    pub has_tls: bool,
}

/// What is wrong with the URL of a broker. The URL itself is not repeated: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BrokerAddressError {
    /// It is no URL of a broker.
    #[error("write the URL of the broker as mqtts://HOST or mqtts://HOST:PORT")]
    Shape,
    /// It has a part that does nothing.
    #[error(
        "the URL of the broker has only a host and a port: logins and paths do not belong there"
    )]
    Surplus,
    /// It has no TLS and leads to another machine.
    #[error(
        "mqtt:// sends everything in clear text, so it is for this machine only: use mqtts://, or \
         set `plain = true`"
    )]
    Plain,
}

impl BrokerAddress {
    /// Reads `mqtts://HOST[:PORT]`, or `mqtt://` for this machine. `is_plain_allowed` permits
    /// `mqtt://` to all hosts.
    ///
    /// # Errors
    /// It is no such URL.
    pub fn parse(text: &str, is_plain_allowed: bool) -> Result<Self, BrokerAddressError> {
        let url: Url = text.parse().map_err(|_| BrokerAddressError::Shape)?;
        let has_tls = match url.scheme() {
            "mqtts" => true,
            "mqtt" => false,
            _ => return Err(BrokerAddressError::Shape),
        };
        let host = url.host_str().filter(|host| !host.is_empty());
        // An IPv6 address is in brackets in a URL, and nowhere else.
        let host = host.ok_or(BrokerAddressError::Shape)?.trim_matches(['[', ']']).to_owned();
        let is_bare = url.username().is_empty()
            && url.password().is_none()
            && matches!(url.path(), "" | "/")
            && url.query().is_none()
            && url.fragment().is_none();
        if !is_bare {
            return Err(BrokerAddressError::Surplus);
        }
        if !has_tls && !is_plain_allowed && !is_this_machine(&host) {
            return Err(BrokerAddressError::Plain);
        }
        let port = url.port().unwrap_or(if has_tls { TLS_PORT } else { PLAIN_PORT });
        Ok(Self { host, port, has_tls })
    }

    /// `host:port`, for people.
    #[must_use]
    pub fn in_words(&self) -> String {
        match self.host.parse::<Ipv6Addr>() {
            Ok(host) => format!("[{host}]:{}", self.port),
            Err(_) => format!("{}:{}", self.host, self.port),
        }
    }
}

fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_host_and_a_port() {
        use BrokerAddressError::{Plain, Shape, Surplus};
        for (text, is_plain_allowed, expected) in [
            ("mqtts://broker", false, Ok("broker:8883 tls")),
            ("mqtts://broker:1", false, Ok("broker:1 tls")),
            ("mqtts://[::1]/", false, Ok("[::1]:8883 tls")),
            ("mqtt://127.0.0.1", false, Ok("127.0.0.1:1883 plain")),
            ("mqtt://localhost:18", false, Ok("localhost:18 plain")),
            ("mqtt://[::1]", false, Ok("[::1]:1883 plain")),
            ("mqtt://broker", true, Ok("broker:1883 plain")),
            ("mqtt://broker", false, Err(Plain)),
            ("mqtt://127.0.0.1.example.org", false, Err(Plain)),
            ("mqtts://user:word@broker", false, Err(Surplus)),
            ("mqtts://broker/a", false, Err(Surplus)),
            ("mqtts://broker?a", false, Err(Surplus)),
            ("https://broker", false, Err(Shape)),
            ("broker:8883", false, Err(Shape)),
            ("mqtts://", false, Err(Shape)),
            ("mqtts://broker:99999", false, Err(Shape)),
            ("", false, Err(Shape)),
        ] {
            let words = |address: BrokerAddress| {
                let tls = if address.has_tls { "tls" } else { "plain" };
                format!("{} {tls}", address.in_words())
            };
            let found = BrokerAddress::parse(text, is_plain_allowed).map(words);
            assert_eq!(found, expected.map(str::to_owned), "{text}");
        }
    }
}
