//! The mirror with its real ports.

use std::sync::Arc;

use super::{reading, registry};
use crate::config::Settings;
use crate::core::time::schedule::DeviceFraction;
use crate::host::{Host, RealHost};
use crate::journal::{RealDisk, StateDirectory};
use crate::mirror::{Mirror, MirrorClock, MirrorListener, PlannedRule, Turns};
use crate::ports::{AllMirrorPorts, MirrorPorts};
use crate::registry::{HttpRegistry, RegistryObserver};

/// The ports of a program that only mirrors.
pub type RealMirrorPorts = AllMirrorPorts<HttpRegistry, RealDisk, RealHost>;

/// The ports of the mirror, with the state directory locked.
///
/// # Errors
/// The state directory cannot be used, or a setting is invalid.
pub fn mirror_owner(
    settings: &Settings,
    observer: Arc<dyn RegistryObserver>,
) -> anyhow::Result<RealMirrorPorts> {
    mirror_ports(settings, StateDirectory::open(&settings.state_dir)?, observer)
}

/// The ports of a mirror that changes nothing in the state directory.
///
/// # Errors
/// The state directory cannot be read, or a setting is invalid.
pub fn mirror_reader(
    settings: &Settings,
    observer: Arc<dyn RegistryObserver>,
) -> anyhow::Result<RealMirrorPorts> {
    mirror_ports(settings, reading(&settings.state_dir)?, observer)
}

fn mirror_ports(
    settings: &Settings,
    state: StateDirectory<RealDisk>,
    observer: Arc<dyn RegistryObserver>,
) -> anyhow::Result<RealMirrorPorts> {
    let registry = registry(settings, observer)?;
    Ok(AllMirrorPorts { registry, state, host: RealHost::default() })
}

/// The rules of the settings, not yet carried out.
#[must_use]
pub fn mirror<P: MirrorPorts>(
    settings: &Settings,
    ports: Arc<P>,
    turns: Turns,
    listener: Arc<dyn MirrorListener>,
) -> Mirror<P> {
    let rules = settings.mirror.iter().map(|it| PlannedRule {
        rule: it.rule.clone(),
        schedule: it.schedule.clone(),
        on_push: it.on_push,
    });
    let clock = MirrorClock {
        zone: settings.time_zone.clone(),
        jitter: settings.jitter,
        device: DeviceFraction::from_identity(&RealHost::default().machine_id()),
    };
    Mirror::new(ports, rules.collect(), clock, turns, listener)
}
