//! Pilotfish keeps the containers of a Raspberry Pi up to date, and never loses one.
//!
//! This page is the map: it lists the modules in the best order for reading. `ARCHITECTURE.md` has
//! the design, the glossary, and the invariants.
//!
//! # One update
//!
//! ```text
//! observe   tag -> HEAD -> digest -> Observation      facts, no decisions
//! core      Observation -> decide -> Plan             pure; or a Reason, which is a "no"
//! journal   the Plan and its undo, flushed            before the first action
//! execute   pull sync create run switch start verify commit clean
//!             any failure: back to the recorded state
//! recover   open updates are finished or undone, before anything else begins
//! ```
//!
//! # The layers
//!
//! Imports go down only, and never sideways between ports; `tests/tidy` checks this.

// clippy.toml lists what the library may reach only through a port. Tests may use everything.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

// Facts in, decisions out: begin with `core::update` and `core::decide`.
pub mod core;

// The container Engine: one method for one call of Docker's API.
pub mod engine;
// Registries: the digest behind a tag, the image behind a digest, and logins.
pub mod registry;
// The MQTT broker: one connection that comes back by itself.
pub mod broker;
// The disk: journals of running updates, memory, history, and the lock of the state directory.
pub mod journal;
// The machine: its clock, its boot, its file systems, its ports.
pub mod host;

// One of each port, as the use cases see them.
pub mod ports;
// The commands and probes of labels, run in or against a running container.
pub mod exec;
// Checks what only a start needs of the machine.
pub mod start_requirements;
// Finds out what is known of every watched container, with as few questions as possible.
pub mod observe;
// Carries out one plan: journal, act, journal; a rollback after every failure.
pub mod execute;
// Finishes or undoes every open update.
pub mod recover;
// Carries out one rule of the mirror: copies between registries.
pub mod mirror;
// The one loop that owns the state: rounds, updates in flight, questions and their answers.
pub mod agent;

// The public JSON of all edges.
pub mod documents;
// File, environment and command line; each error names its origin.
pub mod config;
// The command line, as types.
pub mod cli;
// The texts on the terminal, and the JSON for scripts.
pub mod output;
// The metrics for Prometheus.
pub mod metrics;
// The log.
pub mod telemetry;
// HTTP on the listen address.
pub mod api;
// The device in its fleet: messages over the broker.
pub mod fleet;

// --- Above all: where the program is put together.

// From settings to an agent with its real ports. The only file that names concrete adapters.
pub mod app;
// The control socket: both ends of it.
pub mod control;
// What each command does.
pub mod commands;
