//! Floor 3: the log, on standard error.
//!
//! Standard output belongs to what a person asked for. Here stands what the agent does by itself:
//! one line per thing a person wants to know, with the same words as in the metrics and the JSON.

mod sanitize;
mod log_listener;

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing::subscriber::{SetGlobalDefaultError, set_global_default};
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::{MakeWriter, layer};
use tracing_subscriber::layer::SubscriberExt;

pub use log_listener::LogListener;
use sanitize::Harmless;

/// How the log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// What suits the place. Today that is text everywhere: a terminal and the journal both want
    /// it, and whoever collects JSON asks for it.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Writes the log of the whole process to standard error from now on.
///
/// `may_colour` is what the user allows; colour also needs a terminal.
///
/// # Errors
/// A log was set up before.
pub fn init(format: Format, level: Level, may_colour: bool) -> Result<(), SetGlobalDefaultError> {
    let colour = may_colour && std::io::stderr().is_terminal();
    set_global_default(subscriber(format, level, colour, std::io::stderr))
}

/// A log that goes to `writer`.
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

/// Our own level for our own lines. Crates below us speak of connections and frames, which only
/// matters when something is wrong.
fn targets(level: Level) -> Targets {
    let ours = LevelFilter::from_level(level);
    Targets::new().with_default(ours.min(LevelFilter::WARN)).with_target("pilotfish", ours)
}
