//! Where an address is, as seen from this machine, and which registries may redirect to it.
//!
//! A registry names addresses: the realm of its tokens, the targets of its redirects. It must not
//! make this agent send requests to addresses that only this machine or its network can reach. So a
//! registry may name an address as far inside as its own, and no further.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where an address is. The later variants are further inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressScope {
    /// The public Internet.
    Internet,
    /// A private network (RFC 1918, RFC 4193, RFC 6598).
    LocalNetwork,
    /// The local link, where clouds keep their metadata services, and addresses that are no single
    /// host: multicast and reserved ones.
    Link,
    /// This machine.
    ThisMachine,
}

impl AddressScope {
    /// Where an address is (the IANA registries of special-purpose addresses). An IPv6 address that
    /// wraps an IPv4 one counts as that one.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => wrapped(address).map_or_else(|| of_v6(address), of_v4),
        }
    }

    /// Whether a registry in this scope may redirect to an address in that one.
    #[must_use]
    pub fn may_lead_to(self, there: Self) -> bool {
        match there {
            Self::Internet => true,
            Self::LocalNetwork => self != Self::Internet,
            Self::Link | Self::ThisMachine => self == there,
        }
    }

    /// A description for people.
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Internet => "an address of the Internet",
            Self::LocalNetwork => "an address of a private network",
            Self::Link => "a link-local or reserved address",
            Self::ThisMachine => "an address of this machine",
        }
    }
}

/// An address that a registry names: the realm of its tokens, or the target of a redirect.
#[derive(Debug, Clone, Copy)]
pub struct NamedAddress {
    /// Whether it uses TLS.
    pub is_tls: bool,
    /// Whether it is the same host and port as the registry that named it.
    pub is_same: bool,
    /// Whether the operator named this host, in Pilotfish's settings or in the Engine's.
    pub is_operators: bool,
    /// Whether the operator allows this host without TLS.
    pub may_speak_plain: bool,
    /// Its scope, if it is written as an IP address.
    pub literal: Option<AddressScope>,
}

/// Why no request is sent to an address that a registry named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressRefusal {
    /// It would leave TLS.
    Plain,
    /// It is further inside than the registry that named it.
    Inside(AddressScope),
}

impl NamedAddress {
    /// Whether a registry that answered from this scope, with or without TLS, may redirect to this
    /// address. Returns the innermost scope that the name may resolve to; `None` if there is no
    /// limit.
    ///
    /// # Errors
    /// The redirect is not allowed.
    pub fn judge(
        &self,
        from: AddressScope,
        came_by_tls: bool,
    ) -> Result<Option<AddressScope>, AddressRefusal> {
        let is_plain_all_along = !came_by_tls && self.is_same;
        if !self.is_tls && !is_plain_all_along && !self.may_speak_plain {
            return Err(AddressRefusal::Plain);
        }
        if self.is_same || self.is_operators || self.may_speak_plain {
            return Ok(None);
        }
        match self.literal.filter(|there| !from.may_lead_to(*there)) {
            Some(there) => Err(AddressRefusal::Inside(there)),
            None => Ok(Some(from)),
        }
    }
}

fn of_v4(address: Ipv4Addr) -> AddressScope {
    match address.octets() {
        [0 | 127, ..] => AddressScope::ThisMachine,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => {
            AddressScope::LocalNetwork
        }
        // 198.18.0.0/15 is for network benchmarks, 192.0.0.0/24 for protocols.
        [198, 18..=19, ..] | [192, 0, 0, _] => AddressScope::LocalNetwork,
        [169, 254, ..] | [224..=255, ..] => AddressScope::Link,
        _ => AddressScope::Internet,
    }
}

fn of_v6(address: Ipv6Addr) -> AddressScope {
    if address.is_loopback() || address.is_unspecified() {
        return AddressScope::ThisMachine;
    }
    match address.segments() {
        [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] => AddressScope::LocalNetwork,
        // Teredo contains the IPv4 address of a relay and of a client.
        [0xfe80..=0xfebf | 0xff00..=0xffff, ..] | [0x2001, 0, ..] => AddressScope::Link,
        _ => AddressScope::Internet,
    }
}

/// The IPv4 address in an IPv6 one: mapped (`::ffff:0:0/96`), compatible (`::/96`), translated by
/// NAT64 (`64:ff9b::/96`, `64:ff9b:1::/48`), or in the prefix of 6to4 (`2002::/16`).
fn wrapped(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    let of = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low]
        | [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_an_address_of_this_machine() {
        for text in [
            "127.0.0.1",
            "127.255.0.9",
            "0.0.0.0",
            "0.1.2.3",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::7f00:1",
            "2002:7f00:1::",
            "::ffff:0.0.0.0",
        ] {
            let address = text.parse().expect("an address");
            assert_eq!(AddressScope::of(address), AddressScope::ThisMachine, "{text}");
        }
    }

    #[test]
    fn other_places() {
        let table = [
            ("10.0.0.1", AddressScope::LocalNetwork),
            ("172.31.255.1", AddressScope::LocalNetwork),
            ("192.168.178.2", AddressScope::LocalNetwork),
            ("100.64.0.1", AddressScope::LocalNetwork),
            ("fd00::1", AddressScope::LocalNetwork),
            ("::ffff:10.1.2.3", AddressScope::LocalNetwork),
            ("2002:c0a8:101::1", AddressScope::LocalNetwork),
            ("169.254.169.254", AddressScope::Link),
            ("::ffff:169.254.169.254", AddressScope::Link),
            ("fe80::1", AddressScope::Link),
            ("ff02::1", AddressScope::Link),
            ("224.0.0.1", AddressScope::Link),
            ("255.255.255.255", AddressScope::Link),
            ("172.32.0.1", AddressScope::Internet),
            ("1.1.1.1", AddressScope::Internet),
            ("2606:4700::1111", AddressScope::Internet),
            ("64:ff9b::101:101", AddressScope::Internet),
        ];
        for (text, place) in table {
            assert_eq!(AddressScope::of(text.parse().expect("an address")), place, "{text}");
        }
    }

    #[test]
    fn tokens_are_asked_for_by_tls_or_of_the_very_host() {
        let named = NamedAddress {
            is_tls: false,
            is_same: false,
            is_operators: false,
            may_speak_plain: false,
            literal: None,
        };
        let here = AddressScope::ThisMachine;
        for (named, came_by_tls, expected) in [
            (named, false, Err(AddressRefusal::Plain)),
            (named, true, Err(AddressRefusal::Plain)),
            (NamedAddress { is_same: true, ..named }, false, Ok(None)),
            (NamedAddress { is_same: true, ..named }, true, Err(AddressRefusal::Plain)),
            (NamedAddress { is_operators: true, ..named }, false, Err(AddressRefusal::Plain)),
            (NamedAddress { may_speak_plain: true, ..named }, false, Ok(None)),
            (NamedAddress { is_tls: true, ..named }, true, Ok(Some(here))),
            (NamedAddress { is_tls: true, ..named }, false, Ok(Some(here))),
        ] {
            assert_eq!(named.judge(here, came_by_tls), expected, "{named:?} {came_by_tls}");
        }
    }

    #[test]
    fn a_registry_of_the_internet_names_nothing_inside() {
        let https = |literal, is_operators| {
            let (is_tls, is_same, may_speak_plain) = (true, false, false);
            let named = NamedAddress { is_tls, is_same, is_operators, may_speak_plain, literal };
            named.judge(AddressScope::Internet, true)
        };
        for inside in [AddressScope::ThisMachine, AddressScope::LocalNetwork, AddressScope::Link] {
            assert_eq!(https(Some(inside), false), Err(AddressRefusal::Inside(inside)));
            assert_eq!(https(Some(inside), true), Ok(None));
        }
        assert_eq!(https(Some(AddressScope::Internet), false), Ok(Some(AddressScope::Internet)));
    }

    #[test]
    fn no_registry_redirects_further_inside_than_itself() {
        use AddressScope::{Internet, Link, LocalNetwork, ThisMachine};
        let from = |from: AddressScope| {
            [Internet, LocalNetwork, Link, ThisMachine].map(|there| from.may_lead_to(there))
        };
        assert_eq!(from(Internet), [true, false, false, false]);
        assert_eq!(from(LocalNetwork), [true, true, false, false]);
        assert_eq!(from(Link), [true, true, true, false]);
        assert_eq!(from(ThisMachine), [true, true, false, true]);
    }
}
