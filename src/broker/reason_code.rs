//! The reason codes of MQTT 5 (section 2.4).

use std::fmt;

/// A reason code of a broker. From 128 on it is a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReasonCode(pub u8);

/// The codes that brokers send, with their meaning for an operator (section 2.4 and the tables of
/// CONNACK, PUBACK, SUBACK and DISCONNECT).
const MEANINGS: [(u8, &str); 31] = [
    (0x00, "success"),
    (0x10, "no program subscribes to it"),
    (0x80, "unspecified error"),
    (0x81, "malformed packet"),
    (0x82, "protocol error"),
    (0x83, "implementation specific error"),
    (0x84, "unsupported protocol version"),
    (0x85, "client identifier not valid"),
    (0x86, "bad user name or password"),
    (0x87, "not authorized"),
    (0x88, "server unavailable"),
    (0x89, "server busy"),
    (0x8A, "banned"),
    (0x8B, "server shutting down"),
    (0x8C, "bad authentication method"),
    (0x8D, "keep-alive timeout"),
    (0x8E, "session taken over"),
    (0x8F, "topic filter invalid"),
    (0x90, "topic name invalid"),
    (0x91, "packet identifier in use"),
    (0x93, "receive maximum exceeded"),
    (0x95, "packet too large"),
    (0x96, "message rate too high"),
    (0x97, "quota exceeded"),
    (0x98, "administrative action"),
    (0x99, "payload format invalid"),
    (0x9A, "retain not supported"),
    (0x9B, "QoS not supported"),
    (0x9C, "use another server"),
    (0x9D, "server moved"),
    (0x9F, "connection rate exceeded"),
];

impl ReasonCode {
    /// The user or the password is wrong.
    pub const BAD_LOGIN: Self = Self(0x86);
    /// A missing right, or an unknown user.
    pub const NOT_AUTHORIZED: Self = Self(0x87);
    /// The broker wants to see nothing of this client.
    pub const BANNED: Self = Self(0x8A);
    /// The broker wants another kind of login.
    pub const BAD_METHOD: Self = Self(0x8C);
    /// Another client with the same ID has connected.
    pub const TAKEN_OVER: Self = Self(0x8E);
    /// A topic that is empty, too long, or has wildcards.
    pub const BAD_TOPIC: Self = Self(0x90);
    /// A packet that is larger than agreed.
    pub const TOO_LARGE: Self = Self(0x95);
    /// More than this client may have.
    pub const QUOTA: Self = Self(0x97);
    /// The broker retains nothing.
    pub const NO_RETAIN: Self = Self(0x9A);
    /// Another address, for now.
    pub const ANOTHER_SERVER: Self = Self(0x9C);
    /// Another address, from now on.
    pub const MOVED: Self = Self(0x9D);
    /// Connections that come too often.
    pub const RATE: Self = Self(0x9F);

    /// Whether the broker refused something.
    #[must_use]
    pub fn is_failure(self) -> bool {
        self.0 >= 0x80
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meaning = MEANINGS.iter().find(|(code, _)| *code == self.0);
        match meaning {
            Some((code, words)) => write!(f, "{words} ({code})"),
            None => write!(f, "reason {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_words() {
        assert_eq!(ReasonCode::NOT_AUTHORIZED.to_string(), "not authorized (135)");
        assert_eq!(ReasonCode(0xA2).to_string(), "reason 162");
        assert!(!ReasonCode(0x10).is_failure() && ReasonCode(0x80).is_failure());
        assert!(MEANINGS.is_sorted_by_key(|(code, _)| *code));
    }
}
