//! The torture bench: a real agent on a real private Engine, struck at every call it makes.
//!
//! ```text
//! proxy       stands between the agent and the Engine, counts calls, strikes at call n
//! fault       what a strike is: a kill, a lost reply, a restart, a power cut, …  <- begin here
//! releases    the images it is tried with: good, and bad in four ways
//! service     how the watched service came to be: alone, from a compose file, with dependents
//! bench       a machine with it, and a container that nobody touches; plays one case
//! hands       carries out what the proxy leaves to the bench; deeds: what people do
//! compose     the real docker-compose; crew: two dependents in the service's network
//! watch       hears from the Engine how many containers of the service run
//! judge       asks the Engine and the disk alone whether the invariants hold
//! disk        a disk that loses what was not flushed
//! kills       a sample for `make test`; answers, people: wrong answers, other hands
//! sweep       cases for every call, shared out among several machines
//! tally       counts; page writes docs/reliability.md
//! ```
//!
//! How many calls an update makes is counted by a dry run, and written down nowhere: a new step is
//! covered by these tests on the day on which it is written. `make torture` plays every case; the
//! tests without `#[ignore]` are a sample that fits into `make test`.

#[cfg(test)]
#[expect(dead_code, reason = "other tests use more of their support than this one does")]
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
mod releases;
#[cfg(test)]
#[expect(dead_code, reason = "the model draws more from it")]
#[path = "../model/seed.rs"]
mod seed;
#[cfg(test)]
mod service;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod results;
#[cfg(test)]
mod torture;
#[cfg(test)]
mod service_watch;
