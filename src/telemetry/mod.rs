//! Layer 3: the log, on standard error.
//!
//! Standard output is for the answers to a person's commands. The log has what the agent does by
//! itself: one line per event that matters to a person, with the same words as in the metrics and
//! the JSON.

mod sanitize;
mod log_listener;
mod mirror_log;

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing::subscriber::{SetGlobalDefaultError, set_global_default};
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::{MakeWriter, layer};
use tracing_subscriber::layer::SubscriberExt;

pub use log_listener::LogListener;
pub use mirror_log::MirrorLog;
use sanitize::Harmless;

/// How the log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// The format that fits the output. Today that is always text: a terminal and the journal both
    /// need text, and a log collector can ask for JSON.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Sets up the log of the whole process on standard error.
///
/// `may_colour` is the user's setting; colour also needs a terminal.
///
/// # Errors
/// A log is already set up.
pub fn init(format: Format, level: Level, may_colour: bool) -> Result<(), SetGlobalDefaultError> {
    let colour = may_colour && std::io::stderr().is_terminal();
    set_global_default(subscriber(format, level, colour, std::io::stderr))
}

/// A log that writes to `writer`.
pub fn subscriber<W>(
    format: Format,
    level: Level,
    colour: bool,
    writer: W,
) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = match format {
        Format::Json => layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_writer(Harmless { inner: writer, escape: sanitize::json_line })
            .boxed(),
        Format::Auto | Format::Text => {
            let escape = if colour { sanitize::coloured_line } else { sanitize::plain_line };
            let writer = Harmless { inner: writer, escape };
            layer().with_ansi(colour).with_target(false).with_writer(writer).boxed()
        }
    };
    tracing_subscriber::registry().with(targets(level)).with(layer)
}

/// The level for Pilotfish's own lines. The crates below log connections and frames, which only
/// matters if something is wrong.
fn targets(level: Level) -> Targets {
    let ours = LevelFilter::from_level(level);
    Targets::new().with_default(ours.min(LevelFilter::WARN)).with_target("pilotfish", ours)
}
