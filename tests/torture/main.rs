//! The torture suite: a real agent on a real private Engine, with a fault at every call it makes.
//!
//! ```text
//! proxy          between the agent and the Engine; counts calls, injects a fault at call n
//! fault          the faults: a kill, a lost reply, a restart, a power cut, …  <- begin here
//! releases       the images for the updates: good, and bad in four ways
//! service        how the watched service was started: alone, from a compose file, with dependents
//! second_service a second service that is updated in the same round; steer brings both updates to
//!                a pair of steps
//! rig            a machine with the service and a control container; runs one case
//! pushes         releases that a client pushes, without a registry
//! group          both services and a job as one group
//! settle         rounds after a fault, until nothing is in flight
//! inject         injects the faults that the proxy leaves to it; user_actions: people's actions
//! compose        the real docker-compose; dependents: two dependents in the service's network
//! service_watch  counts the running containers of the service by the Engine's events
//! invariants     checks the invariants on the Engine and the disk alone
//! disk           a disk that loses what was not flushed
//! kills          a sample for `make test`; so are answers, external_changes and side_by_side
//! cases          cases for every call, distributed over several machines
//! results        counts the results; page writes docs/reliability.md
//! ```
//!
//! A run without a fault counts the calls of an update; they are not written down. So a new step is
//! covered from its first day. `make torture` runs every case; the tests without `#[ignore]` are a
//! sample that fits into `make test`.

#[cfg(test)]
#[expect(dead_code, reason = "other test programs use more of the support code")]
#[path = "../support/mod.rs"]
mod support;

#[cfg(test)]
mod answers;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod compose;
#[cfg(test)]
mod dependents;
#[cfg(test)]
mod user_actions;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod fault;
#[cfg(test)]
mod group;
#[cfg(test)]
mod inject;
#[cfg(test)]
mod invariants;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod page;
#[cfg(test)]
mod external_changes;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod pushes;
#[cfg(test)]
mod releases;
#[cfg(test)]
#[expect(dead_code, reason = "the model uses more of it")]
#[path = "../model/seed.rs"]
mod seed;
#[cfg(test)]
mod second_service;
#[cfg(test)]
mod service;
#[cfg(test)]
mod settle;
#[cfg(test)]
mod side_by_side;
#[cfg(test)]
mod steer;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod results;
#[cfg(test)]
mod torture;
#[cfg(test)]
mod service_watch;
