//! The model: the whole agent on a simulated Engine, disk, registry and clock. They behave like the
//! real ones where it matters, and lose data like the real ones in a power cut.
//!
//! ```text
//! machine      everything around the agent, in one place that can be copied  <- begin here
//!   engine       containers, images, restart policies, boots, event streams
//!   disk         files that lose what was not flushed
//!   registry     which image each tag points to
//!   crash_point, inject   which faults happen, and when
//! session      one run of the agent on a machine, until it ends or is killed
//! invariants   checks the invariants on the Engine and the disk alone
//! scenarios    tests/scenarios/*.txt: a script and its expected transcript
//! crashes      every crash point, then every crash point of the recovery
//! label_hooks  Pilotfish's own hooks: every crash point of an update with each of them
//! projects     a group with a job: every crash point
//! side_by_side two updates in flight
//! start_first  both containers serve for a moment: every crash point, and no gap
//! pushes       every crash point of a push to a deployment
//! schedules    random faults from a seed
//! ```

#![expect(clippy::expect_used, reason = "a test that cannot set up its fixture ends there")]
#![expect(clippy::needless_pass_by_value, reason = "the random schedules pass generated values on")]

mod crashes;
mod disk;
mod engine;
mod crash_point;
mod fault;
mod inject;
mod host;
mod liveness;
mod images;
mod invariants;
mod label_hooks;
mod machine;
mod projects;
mod pushes;
mod registry;
mod scenarios;
mod schedules;
mod script;
#[expect(dead_code, reason = "the torture suite uses more of it")]
mod seed;
mod service;
mod session;
mod side_by_side;
mod start_first;
