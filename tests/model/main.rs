//! The model: the whole agent over an Engine, a disk, a registry and a clock that are made up, but
//! behave like the real ones where it matters, and forget like the real ones when the power goes.
//!
//! ```text
//! machine     everything around the agent, in one place that can be copied   <- begin here
//!   engine      containers, images, restart policies, boots, event streams
//!   disk        files that forget what was not flushed
//!   registry    what is pushed under which tag
//!   fuse, hand  what goes wrong, and when
//! session     the life of one agent on a machine, until it ends or is killed
//! judge       asks the Engine and the disk alone whether the invariants hold
//! scenarios   tests/scenarios/*.txt: script in, transcript out
//! crashes     every crash point, then every crash point of the recovery
//! side_by_side  two updates in flight
//! schedules   random faults from a seed
//! ```

#![expect(clippy::expect_used, reason = "a test that cannot set its stage ends there")]
#![expect(clippy::needless_pass_by_value, reason = "the random schedules pass on what they draw")]

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
mod machine;
mod registry;
mod scenarios;
mod schedules;
mod script;
#[expect(dead_code, reason = "the torture draws more from it")]
mod seed;
mod service;
mod session;
mod side_by_side;
