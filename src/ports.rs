//! The ports as the use cases see them: one of each. Only `app.rs` names the adapters.

use crate::engine::Engine;
use crate::host::Host;
use crate::journal::{Disk, StateDirectory};
use crate::registry::Registry;
use crate::registry::transfer::Transfer;

/// One of each port.
pub trait Ports: Send + Sync + 'static {
    /// The container Engine.
    type Engine: Engine;
    /// The registries.
    type Registry: Registry;
    /// The disk of the state directory.
    type Disk: Disk;
    /// The machine.
    type Host: Host;

    /// The container Engine.
    fn engine(&self) -> &Self::Engine;
    /// The registries.
    fn registry(&self) -> &Self::Registry;
    /// The state directory.
    fn state(&self) -> &StateDirectory<Self::Disk>;
    /// The machine.
    fn host(&self) -> &Self::Host;
}

/// The ports that the mirror needs: no Engine.
pub trait MirrorPorts: Send + Sync + 'static {
    /// The registries.
    type Registry: Transfer + Registry;
    /// The disk of the state directory.
    type Disk: Disk;
    /// The machine.
    type Host: Host;

    /// The registries.
    fn registry(&self) -> &Self::Registry;
    /// The state directory.
    fn state(&self) -> &StateDirectory<Self::Disk>;
    /// The machine.
    fn host(&self) -> &Self::Host;
}

impl<P: Ports<Registry: Transfer>> MirrorPorts for P {
    type Registry = P::Registry;
    type Disk = P::Disk;
    type Host = P::Host;

    fn registry(&self) -> &P::Registry {
        Ports::registry(self)
    }

    fn state(&self) -> &StateDirectory<P::Disk> {
        Ports::state(self)
    }

    fn host(&self) -> &P::Host {
        Ports::host(self)
    }
}

/// The ports of a program that only mirrors.
#[derive(Debug)]
pub struct AllMirrorPorts<R, D, H> {
    /// The registries.
    pub registry: R,
    /// The state directory.
    pub state: StateDirectory<D>,
    /// The machine.
    pub host: H,
}

impl<R: Transfer + Registry, D: Disk, H: Host> MirrorPorts for AllMirrorPorts<R, D, H> {
    type Registry = R;
    type Disk = D;
    type Host = H;

    fn registry(&self) -> &R {
        &self.registry
    }

    fn state(&self) -> &StateDirectory<D> {
        &self.state
    }

    fn host(&self) -> &H {
        &self.host
    }
}

/// The usual implementation: one adapter of each kind.
#[derive(Debug)]
pub struct AllPorts<E, R, D, H> {
    /// The container Engine.
    pub engine: E,
    /// The registries.
    pub registry: R,
    /// The state directory.
    pub state: StateDirectory<D>,
    /// The machine.
    pub host: H,
}

impl<E: Engine, R: Registry, D: Disk, H: Host> Ports for AllPorts<E, R, D, H> {
    type Engine = E;
    type Registry = R;
    type Disk = D;
    type Host = H;

    fn engine(&self) -> &E {
        &self.engine
    }

    fn registry(&self) -> &R {
        &self.registry
    }

    fn state(&self) -> &StateDirectory<D> {
        &self.state
    }

    fn host(&self) -> &H {
        &self.host
    }
}
