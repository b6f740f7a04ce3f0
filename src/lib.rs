//! Pilotfish keeps the containers of a Raspberry Pi up to date, and never loses one.
//!
//! This page is the map. `ARCHITECTURE.md` tells why the house is built like this; here is where
//! everything lives, in the order in which it is best read.
//!
//! # One update
//!
//! ```text
//! observe   tag -> HEAD -> digest -> Observation      facts, no opinions
//! core      Observation -> decide -> Plan             pure; or a Reason, which is a named "no"
//! journal   the Plan and the way back, flushed        before the first act
//! execute   pull sync create switch start verify commit clean
//!             any failure: back to the recorded state
//! recover   whatever was left open is ended, before anything else begins
//! ```
//!
//! # Invariants
//!
//! - **Nothing in `core` knows the time, waits, or touches anything.** What it takes are facts,
//!   what it gives back are decisions.
//! - **Nothing is decided outside of `core`.** `check`, `update --dry-run` and the agent print and
//!   carry out the same value.
//! - **Nothing of the old container is given up before the new one has proved itself.**
//! - **No act without its line in the journal**, on the disk before the act.
//! - **No error is a reason to pull**, and no registry or container stops another.
//! - **No typed model stands between inspect and create**: both travel as raw JSON, so a field that
//!   this program has never heard of survives.
//! - **No round that changes nothing writes anything.**
//! - **No credentials in any error, log line, file, or `Debug` text.**
//!
//! # The floors
//!
//! Imports go down only, and never sideways between ports; `tests/tidy` reads the tree and says
//! where they do not.

// What the library reaches through a port alone stands in clippy.toml. Tests may touch the world.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

// --- Floor 0: everything that is decided.

// Facts in, decisions out: begin with `core::update` and `core::decide`.
pub mod core;

// --- Floor 1: ports. Each is a trait and its real adapter for one thing outside. None decides.

// The container Engine: one method for one call of Docker's API.
pub mod engine;
// Registries: what a tag points at, what is behind a digest, and who may ask.
pub mod registry;
// The disk: journals of updates in flight, memory, history, and the lock of the state directory.
pub mod journal;
// The machine: its clock, its boot, its file systems, its ports.
pub mod host;

// --- Floor 2: use cases. They know the traits of the ports, never the adapters.

// One of each port, as the use cases see them.
pub mod ports;
// The commands and probes of labels, run in or against a running container.
pub mod exec;
// What only a start needs of the machine, looked at.
pub mod start_requirements;
// What is known of every watched container, for as few questions as a decision needs.
pub mod observe;
// One plan, carried out: journal, act, journal; back on every failure.
pub mod execute;
// Every update that was left open, finished or undone.
pub mod recover;
// The one loop that owns the state: a tick or a wish starts a round, one at a time.
pub mod agent;

// --- Floor 3: edges, where people and programs meet the agent.

// The public JSON of all edges.
pub mod documents;
// File, environment and command line, understood, each error with its place.
pub mod config;
// The command line, as types.
pub mod cli;
// What a person reads on the terminal, and the JSON for scripts.
pub mod output;
// What Prometheus scrapes.
pub mod metrics;
// The log.
pub mod telemetry;
// HTTP on the listen address.
pub mod api;

// --- Above all: where the program is put together.

// From settings to an agent with its real ports. The only file that names concrete adapters.
pub mod app;
// The control socket: both ends of it.
pub mod control;
// What each command does.
pub mod commands;
