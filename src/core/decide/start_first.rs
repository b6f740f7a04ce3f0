//! Whether two of a container can run at the same time, which an update that starts the new one
//! first needs. What stands in the way is named, and the update is held: to stop the old one first
//! would be the gap that the user wants to avoid.

use serde_json::Value;

use super::No;
use super::dependents::Follower;
use super::observation::Readiness;
use super::reason::Reason;
use super::start_requirements::shown;
use crate::core::docker::inspect;
use crate::core::policy::Policy;
use crate::core::policy::update_order::{LABEL_UPDATE_SHARED, UpdateOrder};
use crate::core::recreate::Recreation;
use crate::core::recreate::dependents::{anchors, means};
use crate::core::update::healthcheck::is_judged;
use crate::core::update::plan::Strategy;

/// Fields of the host configuration that give a container devices of the machine.
const DEVICES: [&str; 3] = ["Devices", "DeviceRequests", "DeviceCgroupRules"];

/// Networks that give a container no name.
const WITHOUT_NAMES: [&str; 4] = ["", "default", "bridge", "none"];

/// Everything that tells whether two of a container can run at the same time.
pub(super) struct Twins<'a> {
    pub(super) policy: &'a Policy,
    pub(super) readiness: &'a Readiness,
    pub(super) followers: &'a [Follower<'a>],
    pub(super) recreation: &'a Recreation,
    /// Whether the agent runs in the container.
    pub(super) is_self: bool,
}

/// How the new container takes over.
///
/// # Errors
/// A label asks for `start-first`, and something stands in the way. All of it is named.
pub(super) fn strategy(twins: &Twins<'_>) -> Result<Strategy, No> {
    let UpdateOrder::StartFirst { drain, is_shared } = twins.policy.update_order() else {
        return Ok(Strategy::StopFirst);
    };
    let mut obstacles = twins.obstacles();
    if !is_shared {
        let shared = twins.shared();
        obstacles.extend(
            shared
                .into_iter()
                .map(|what| format!("{what} (the label {LABEL_UPDATE_SHARED}=ok allows it)")),
        );
    }
    if obstacles.is_empty() {
        return Ok(Strategy::StartFirst { drain });
    }
    Err(No::new(Reason::CannotStartFirst, obstacles.join("; ")))
}

impl Twins<'_> {
    /// What no user can allow.
    fn obstacles(&self) -> Vec<String> {
        let original = &self.readiness.original;
        let mut found = Vec::new();
        if self.is_self {
            found.push("the agent runs in it".to_owned());
        }
        if !self.readiness.can_update {
            found.push("this Engine cannot change the restart policy of a container".to_owned());
        }
        if let Some(membership) = self.policy.membership() {
            let group = crate::core::text::shown(&membership.group);
            found.push(format!("the members of group {group} stop and start one after the other"));
        }
        found.extend(published_ports(original));
        found.extend(fixed_addresses(original, self.recreation));
        found.extend(devices(original));
        found.extend(self.ties());
        found.extend(self.without_health());
        found
    }

    /// A container that depends on another one, or has dependents, is one of a pair: they are
    /// recreated together, and the Engine joins each to one partner.
    fn ties(&self) -> Vec<String> {
        let (original, others) = (&self.readiness.original, &self.readiness.others);
        // A value that cannot be read is refused when the container is recreated.
        let anchors = anchors(original).unwrap_or_default();
        let to_others = anchors.iter().map(|anchor| {
            let is_it =
                |other: &&Value| means(&anchor.container, inspect::id(other), inspect::name(other));
            let found = others.iter().map(AsRef::as_ref).find(is_it);
            format!("it {}", anchor.how.of(&shown(anchor, found)))
        });
        let ties = self.followers.iter().map(|follower| &follower.tie);
        to_others.chain(ties.map(|tie| format!("{} {}", tie.name, tie.how.of(&tie.on)))).collect()
    }

    /// Why nothing would show that the new container works while the old one serves.
    fn without_health(&self) -> Option<String> {
        let probe = self.policy.health.probe.as_ref();
        if let Some(host) = probe.and_then(|probe| probe.host()) {
            return Some(format!("its probe asks {host}, where the old container may answer"));
        }
        let is_judged = is_judged(&self.policy.health, &self.readiness.original);
        (!is_judged).then(|| "it has no HEALTHCHECK and no probe".to_owned())
    }

    /// What a user may allow, because nobody else can know whether two may share it.
    fn shared(&self) -> Vec<String> {
        let original = &self.readiness.original;
        let mut found = writable_mounts(original);
        let mode = inspect::text(original, "/HostConfig/NetworkMode");
        if mode == "host" {
            found.push("it uses the host's network".to_owned());
        } else if WITHOUT_NAMES.contains(&mode) {
            found.push("it is on no network of its own project, which could name both".to_owned());
        }
        found.extend(fixed_hostname(original));
        found.extend(perhaps_fixed_addresses(original, self.recreation));
        found
    }
}

/// A port of the machine belongs to one container at a time.
fn published_ports(original: &Value) -> Option<String> {
    let bindings = original.pointer("/HostConfig/PortBindings").and_then(Value::as_object);
    let is_bound = |bound: &Value| bound.as_array().is_none_or(|bound| !bound.is_empty());
    let bindings = bindings.into_iter().flatten().filter(|(_, bound)| !bound.is_null());
    let ports: Vec<&str> =
        bindings.filter(|(_, bound)| is_bound(bound)).map(|(port, _)| port.as_str()).collect();
    if !ports.is_empty() {
        return Some(format!("it publishes {}", ports.join(", ")));
    }
    let all = inspect::flag(original, "/HostConfig/PublishAllPorts");
    all.then(|| "it publishes all its ports".to_owned())
}

/// Addresses that the user chose. The new container would ask for the same ones.
fn fixed_addresses(original: &Value, recreation: &Recreation) -> Vec<String> {
    let networks = original.pointer("/NetworkSettings/Networks").and_then(Value::as_object);
    let fixed_ip = networks.into_iter().flatten().filter_map(|(network, endpoint)| {
        let fields = ["/IPAMConfig/IPv4Address", "/IPAMConfig/IPv6Address"];
        let address = fields.map(|field| inspect::text(endpoint, field));
        let address = address.into_iter().find(|address| !address.is_empty())?;
        Some(format!("it has the fixed address {address} on the network {network}"))
    });
    let asked_for = inspect::text(original, "/Config/MacAddress");
    let others = mac_addresses(recreation);
    let others = others.into_iter().filter(|it| *it != asked_for && !is_chosen_at_random(it));
    let mac = [asked_for].into_iter().filter(|address| !address.is_empty()).chain(others);
    fixed_ip.chain(mac.map(|address| format!("it has the fixed MAC address {address}"))).collect()
}

/// Addresses that the user or the Engine chose: for the second and further networks of a container
/// nothing tells which, since Docker 28 draws them at random. With start-first the new container
/// gets other ones.
fn perhaps_fixed_addresses(original: &Value, recreation: &Recreation) -> Vec<String> {
    let asked_for = inspect::text(original, "/Config/MacAddress");
    let others = mac_addresses(recreation);
    let others = others.into_iter().filter(|it| *it != asked_for && is_chosen_at_random(it));
    let in_words = |address| format!("it may need its MAC address {address}");
    others.map(in_words).collect()
}

/// The MAC addresses that the new container would ask for in its networks.
fn mac_addresses(recreation: &Recreation) -> Vec<&str> {
    let at_create = recreation.body.pointer("/NetworkingConfig/EndpointsConfig");
    let at_create = at_create.and_then(Value::as_object).into_iter().flatten();
    let at_create = at_create.map(|(_, config)| config);
    let later = recreation.connect.iter().map(|endpoint| &endpoint.config);
    let mac = at_create.chain(later).map(|config| inspect::text(config, "/MacAddress"));
    mac.filter(|address| !address.is_empty()).collect()
}

/// Whether no manufacturer has given this address: its second bit says so (IEEE 802).
fn is_chosen_at_random(address: &str) -> bool {
    const LOCAL: u8 = 0b10;
    let first = address.get(..2).and_then(|first| u8::from_str_radix(first, 16).ok());
    first.is_some_and(|first| first & LOCAL != 0)
}

/// A device seldom bears two users.
fn devices(original: &Value) -> Option<String> {
    if inspect::flag(original, "/HostConfig/Privileged") {
        return Some("it is privileged, so it may use every device".to_owned());
    }
    let is_given = |field: &&str| {
        let list = original.pointer(&format!("/HostConfig/{field}")).and_then(Value::as_array);
        list.is_some_and(|list| !list.is_empty())
    };
    DEVICES.iter().any(is_given).then(|| "it uses devices".to_owned())
}

/// Whether data bears two writers cannot be seen from outside.
fn writable_mounts(original: &Value) -> Vec<String> {
    let mounts = original.get("Mounts").and_then(Value::as_array).into_iter().flatten();
    let is_writable = |mount: &&Value| {
        // Each container has its own tmpfs.
        inspect::text(mount, "/Type") != "tmpfs" && mount.get("RW") != Some(&Value::Bool(false))
    };
    let place = |mount: &Value| format!("it may write to {}", inspect::text(mount, "/Destination"));
    mounts.filter(is_writable).map(place).collect()
}

/// The Engine's DNS answers with a host name of the user as soon as a container starts, and not
/// only when it is healthy.
fn fixed_hostname(original: &Value) -> Option<String> {
    let name = inspect::text(original, "/Config/Hostname");
    let is_hosts = inspect::text(original, "/HostConfig/NetworkMode") == "host";
    let is_automatic = name.is_empty() || inspect::id(original).starts_with(name);
    (!is_automatic && !is_hosts).then(|| format!("it has the host name {name}"))
}

#[cfg(test)]
#[path = "start_first_tests.rs"]
mod tests;
