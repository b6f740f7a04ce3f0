//! A client of the push API, known by its certificate, and the patterns that rules know it by.

use std::fmt;
use std::str::FromStr;

/// Length of a SHA-256 in hexadecimal digits.
const FINGERPRINT_LENGTH: usize = 64;

/// The longest serial number in hexadecimal digits: 20 bytes (RFC 5280, 4.1.2.2).
const SERIAL_LENGTH_MAX: usize = 40;

/// What a verified certificate says about its client. The common name is not among it: it is text
/// without rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PushClient {
    /// The DNS names among the alternative names.
    pub dns_names: Vec<String>,
    /// The URIs among the alternative names.
    pub uris: Vec<String>,
    /// The serial number, in hexadecimal digits without leading zeros.
    pub serial: String,
    /// The SHA-256 of the certificate, in hexadecimal digits.
    pub fingerprint: String,
}

impl PushClient {
    /// The client with this serial number and this SHA-256 of its certificate.
    #[must_use]
    pub fn new(serial: &[u8], fingerprint: &[u8]) -> Self {
        let serial = without_zeros(&hex(serial));
        Self { serial, fingerprint: hex(fingerprint), ..Self::default() }
    }

    /// The client in the history and in the audit: its first URI, DNS name, or its serial number.
    #[must_use]
    pub fn name(&self) -> String {
        match (self.uris.first(), self.dns_names.first()) {
            (Some(uri), _) => format!("uri:{uri}"),
            (None, Some(name)) => format!("dns:{name}"),
            (None, None) => format!("serial:{}", self.serial),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn without_zeros(digits: &str) -> String {
    match digits.trim_start_matches('0') {
        "" => "0".to_owned(),
        rest => rest.to_owned(),
    }
}

/// How a rule names a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientPattern {
    /// A DNS name among the alternative names; its case does not count.
    Dns(String),
    /// A URI among the alternative names, exactly.
    Uri(String),
    /// The serial number of the certificate.
    Serial(String),
    /// The SHA-256 of the certificate.
    Fingerprint(String),
}

impl ClientPattern {
    /// Whether this is the client.
    #[must_use]
    pub fn matches(&self, client: &PushClient) -> bool {
        match self {
            Self::Dns(name) => client.dns_names.iter().any(|it| it.eq_ignore_ascii_case(name)),
            Self::Uri(uri) => client.uris.contains(uri),
            Self::Serial(serial) => client.serial == *serial,
            Self::Fingerprint(fingerprint) => client.fingerprint == *fingerprint,
        }
    }
}

/// Why a text names no client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientPatternError {
    #[error(
        "write \"uri:…\" or \"dns:…\" for a name in the certificate, \"serial:…\" for its serial \
         number, or \"sha256:…\" for its fingerprint"
    )]
    Kind,
    #[error("a serial number has 1 to {SERIAL_LENGTH_MAX} hexadecimal digits")]
    Serial,
    #[error("a fingerprint has {FINGERPRINT_LENGTH} hexadecimal digits")]
    Fingerprint,
}

impl FromStr for ClientPattern {
    type Err = ClientPatternError;

    /// Hexadecimal digits may have colons between them, as `openssl` prints them.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, rest) = text.split_once(':').ok_or(ClientPatternError::Kind)?;
        let digits = || {
            let digits = rest.replace(':', "").to_ascii_lowercase();
            digits.chars().all(|digit| digit.is_ascii_hexdigit()).then_some(digits)
        };
        match kind {
            _ if rest.trim().is_empty() => Err(ClientPatternError::Kind),
            "dns" => Ok(Self::Dns(rest.to_ascii_lowercase())),
            "uri" => Ok(Self::Uri(rest.to_owned())),
            "serial" => digits()
                .filter(|digits| (1..=SERIAL_LENGTH_MAX).contains(&digits.len()))
                .map(|digits| Self::Serial(without_zeros(&digits)))
                .ok_or(ClientPatternError::Serial),
            "sha256" => digits()
                .filter(|digits| digits.len() == FINGERPRINT_LENGTH)
                .map(Self::Fingerprint)
                .ok_or(ClientPatternError::Fingerprint),
            _ => Err(ClientPatternError::Kind),
        }
    }
}

impl fmt::Display for ClientPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => write!(formatter, "dns:{name}"),
            Self::Uri(uri) => write!(formatter, "uri:{uri}"),
            Self::Serial(serial) => write!(formatter, "serial:{serial}"),
            Self::Fingerprint(fingerprint) => write!(formatter, "sha256:{fingerprint}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> PushClient {
        PushClient {
            dns_names: vec!["CI.example".into()],
            uris: vec!["pilotfish://push/till".into()],
            ..PushClient::new(&[0x00, 0xA0, 0x00], &[0xAB; 32])
        }
    }

    #[test]
    fn a_client_is_known_by_its_names_its_serial_or_its_fingerprint() {
        let fingerprint = format!("sha256:{}", "AB:".repeat(32).trim_end_matches(':'));
        for (pattern, expected) in [
            ("dns:ci.EXAMPLE", true),
            ("dns:example", false),
            ("dns:*.example", false),
            ("uri:pilotfish://push/till", true),
            ("uri:PILOTFISH://push/till", false),
            ("uri:pilotfish://push/", false),
            ("serial:A000", true),
            ("serial:00:a0:00", true),
            ("serial:A001", false),
            (fingerprint.as_str(), true),
        ] {
            let parsed: ClientPattern = pattern.parse().expect(pattern);
            assert_eq!(parsed.matches(&client()), expected, "{pattern}");
            assert_eq!(parsed.to_string().parse(), Ok(parsed), "{pattern}");
        }
    }

    #[test]
    fn a_wrong_pattern_says_what_is_right() {
        let long = format!("serial:{}", "1".repeat(41));
        for (pattern, expected) in [
            ("", ClientPatternError::Kind),
            ("till", ClientPatternError::Kind),
            ("cn:till", ClientPatternError::Kind),
            ("uri: ", ClientPatternError::Kind),
            ("serial:xyz", ClientPatternError::Serial),
            (long.as_str(), ClientPatternError::Serial),
            ("sha256:abcd", ClientPatternError::Fingerprint),
        ] {
            assert_eq!(pattern.parse::<ClientPattern>(), Err(expected), "{pattern}");
        }
    }

    #[test]
    fn a_client_is_shown_by_the_name_that_a_person_gave_it() {
        let mut client = client();
        assert_eq!(client.name(), "uri:pilotfish://push/till");
        client.uris.clear();
        assert_eq!(client.name(), "dns:CI.example");
        client.dns_names.clear();
        assert_eq!(client.name(), "serial:a000");
        assert_eq!(PushClient::new(&[0], &[]).serial, "0");
    }

    proptest::proptest! {
        #[test]
        fn reading_a_pattern_never_panics(text in ".{0,80}") {
            let _ = text.parse::<ClientPattern>();
        }
    }
}
