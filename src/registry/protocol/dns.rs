//! Resolves names that a registry redirects to: they may not lead further inside than the registry
//! itself.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::core::docker::address_scope::AddressScope;

/// A name from a registry leads only to addresses of this machine or its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it leads to {}, and this registry may not redirect there", .0.in_words())]
pub(in crate::registry) struct LeadsInside(pub AddressScope);

/// Resolves names, without addresses further inside than the registry that named them.
#[derive(Debug)]
pub(in crate::registry) struct Guarded {
    pub from: AddressScope,
    /// The proxies' own names, because the operator set them.
    pub proxies: Arc<BTreeSet<String>>,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (from, name) = (self.from, name.as_str().to_owned());
        let is_free = self.proxies.contains(&name);
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((name, 0)).await?.collect();
            let addresses: Box<dyn Iterator<Item = SocketAddr> + Send> = match is_free {
                true => Box::new(found.into_iter()),
                false => Box::new(reachable(from, found)?.into_iter()),
            };
            Ok(addresses as Addrs)
        })
    }
}

fn reachable(from: AddressScope, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, LeadsInside> {
    let place = |address: &SocketAddr| AddressScope::of(address.ip());
    let inside = found.iter().map(place).find(|there| !from.may_lead_to(*there));
    let left: Vec<_> =
        found.into_iter().filter(|address| from.may_lead_to(place(address))).collect();
    match inside {
        Some(inside) if left.is_empty() => Err(LeadsInside(inside)),
        _ => Ok(left),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(from: AddressScope, found: &[&str]) -> Result<Vec<String>, LeadsInside> {
        let found = found.iter().map(|text| SocketAddr::new(text.parse().expect("an IP"), 0));
        let left = reachable(from, found.collect())?;
        Ok(left.into_iter().map(|address| address.ip().to_string()).collect())
    }

    #[test]
    fn a_name_that_leads_inside_is_refused() {
        let inside = Err(LeadsInside(AddressScope::ThisMachine));
        assert_eq!(left(AddressScope::Internet, &["127.0.0.1", "::1"]), inside);
        assert_eq!(left(AddressScope::LocalNetwork, &["::ffff:127.0.0.1"]), inside);
        assert_eq!(
            left(AddressScope::Internet, &["10.0.0.1", "192.0.2.1"]),
            Ok(vec!["192.0.2.1".into()])
        );
        assert_eq!(left(AddressScope::LocalNetwork, &["10.0.0.1"]), Ok(vec!["10.0.0.1".into()]));
        assert_eq!(left(AddressScope::Internet, &[]), Ok(Vec::new()));
    }

    #[tokio::test]
    async fn localhost_is_a_name_of_this_machine() {
        let guarded = |from| Guarded { from, proxies: Arc::default() };
        let name = || "localhost".parse().expect("a name");
        assert!(guarded(AddressScope::Internet).resolve(name()).await.is_err());
        assert!(guarded(AddressScope::ThisMachine).resolve(name()).await.is_ok());
    }
}
