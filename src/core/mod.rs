//! Layer 0: all decisions. No async, no clock, no environment, no sockets.
//!
//! The code here takes facts and returns decisions, so every rule can be tested with a table. Read
//! `update` and `decide` first: they hold the order of an update and the rules for starting one.
//! The other modules are the types they use.

// The update: its steps, their order, and what to do with an unfinished one.
pub mod update;
// The decision: facts in, a plan or a "no" with a reason out.
pub mod decide;
// The same for services of a Swarm, whose tasks Swarm replaces by itself.
pub mod service;
// Containers that are updated together, and jobs that run before they are replaced.
pub mod group;
// From an inspect document to the body that creates the container again.
pub mod recreate;
// What an update is about: a container or a service.
pub mod subject;
// What the user asks for: labels over defaults.
pub mod policy;
// Schedules, windows, and wall-clock time.
pub mod time;
// Archives of images: read while they are uploaded.
pub mod archive;
// Services whose images are pushed to this machine, without a registry.
pub mod deployment;
// Clients of the push API, and what they may do.
pub mod push;
// Many devices and a broker: messages, and the rules of a staged rollout.
pub mod fleet;
// The mirror: what is copied between registries, in which order, and what is refused.
pub mod mirror;
// Docker's and OCI's data.
pub mod docker;
// Allowed modes of a file with a secret.
pub mod secret_file;
// Foreign text in a message, and suggestions for typos.
pub mod text;
