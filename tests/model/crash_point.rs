//! Counts every point at which a fault can be injected, and injects the planned ones.

use crate::fault::Fault;

/// The panic payload of a kill. Only the session catches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crash;

/// The points of a run, in order, and the faults planned for some of them.
#[derive(Debug, Clone, Default)]
pub struct CrashPoints {
    /// How many points were passed.
    pub passed: usize,
    /// Which fault happens at which point.
    pub armed: Vec<(usize, Fault)>,
    /// Whether read-only calls are points too. A crash around a read leaves the same state as a
    /// crash before the next write, so the crash pairs do without them.
    pub counts_reads: bool,
}

impl CrashPoints {
    /// Passes one more point. Returns the fault that is planned here.
    pub fn pass(&mut self) -> Option<Fault> {
        let here = self.passed;
        self.passed += 1;
        let position = self.armed.iter().position(|(point, _)| *point == here)?;
        Some(self.armed.swap_remove(position).1)
    }
}
