//! The ports as the use cases see them: one of each. Only `app.rs` names the adapters.

use crate::engine::Engine;
use crate::host::Host;
use crate::journal::{Disk, StateDirectory};
use crate::registry::Registry;

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

/// The usual implementation: one field for each port.
#[derive(Debug)]
/// One adapter of each kind.
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
