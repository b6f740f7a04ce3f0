//! Layer 3: the texts on the terminal, and the JSON for scripts.
//!
//! Everything except the [`TerminalListener`] is a pure function from facts to text, so the tests
//! compare whole pages. Text from outside (names, messages of registries and Engines, a container's
//! log) is made harmless for a terminal before it is shown.

mod check;
mod fleet;
mod history;
mod json;
mod live;
mod mirror;
mod plan;
mod progress;
mod screen;
mod sentence;
mod status;
mod summary;
mod table;
mod terminal;
mod text;
mod transcript;

pub use check::{check, ignored_labels, quotas};
pub use fleet::{FleetPage, fleet, stop_scope, stopped};
pub use history::history;
pub use json::{check_json, dry_run_json, fleet_json, history_json, mirror_json, status_json};
pub use live::LivePage;
pub use mirror::{CopyUnderWay, copies_under_way, mirror};
pub use plan::dry_run;
pub use screen::{Screen, may_colour};
pub use sentence::{bytes, change, ended, of_member, seconds, together};
pub use status::{config, status};
pub use summary::update_summary;
pub use terminal::TerminalListener;
pub use text::one_line;
pub use transcript::Transcript;
