//! Layer 3: the commands. A command reads settings, builds what it needs through `app.rs`, and
//! prints; it decides nothing about a container.

mod allow;
mod bridge;
mod config;
mod fleet;
mod fleet_observation;
mod healthcheck;
mod self_update_helper;
mod check;
mod copy_progress;
mod history;
mod stale_socket;
mod mirror;
mod mirror_service;
mod recover;
mod rollback;
mod status;
mod daemon;
mod deployments;
mod push;
mod push_server;
mod run;
mod server_tasks;
mod servers;
mod standby;
mod systemd;
mod via_agent;
mod update;

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::agent::{Events, RoundListener};
use crate::app::Listeners;
use crate::cli::{Cli, Command, ConfigArguments, GlobalOptions};
use crate::config::{ConfigError, ConfigFile, Environment, LogFormat, LogLevel, Settings, Sources};
use crate::core::decide::report::Verdict;
use crate::core::subject::{self, Subject};
use crate::core::text::harmless_page;
use crate::core::update::history::Outcome;
use crate::documents::RoundDocument;
use crate::output::{Screen, may_colour, one_line};
use crate::registry::RegistryObserver;
use crate::telemetry;

/// The exit status of the program. Of several the worst counts: wrong use, failed, rolled back,
/// unchecked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or nothing to do.
    Done,
    Failed,
    /// Wrong arguments or configuration.
    Usage,
    /// An update was rolled back.
    RolledBack,
    /// One or more containers could not be checked; the others were.
    Unchecked,
}

impl Exit {
    /// The exit code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::RolledBack => 3,
            Self::Unchecked => 4,
        }
    }

    /// The exit status for an error: an error of the configuration is wrong use, all others are
    /// failures.
    #[must_use]
    pub fn of_error(error: &anyhow::Error) -> Self {
        if error.is::<ConfigError>() { Self::Usage } else { Self::Failed }
    }

    /// The exit status for a round.
    #[must_use]
    pub fn of_round(round: &RoundDocument) -> Self {
        let ended = |outcome| round.updates.iter().any(|update| update.outcome == outcome);
        if [Outcome::Failed, Outcome::Interrupted, Outcome::Stuck].into_iter().any(ended) {
            Self::Failed
        } else if ended(Outcome::RolledBack) {
            Self::RolledBack
        } else if round.check.containers.iter().any(|row| row.verdict == Verdict::Error) {
            Self::Unchecked
        } else {
            Self::Done
        }
    }
}

/// The context of every command.
struct CommandContext {
    settings: Settings,
    /// The command line, for reading the configuration again.
    global: GlobalOptions,
    screen: Screen,
    is_terminal: bool,
}

/// Runs the command.
///
/// # Errors
/// It failed; the chain of causes says why and what to do.
pub async fn dispatch(cli: Cli) -> anyhow::Result<Exit> {
    if let Command::Config(ConfigArguments { check: Some(file), .. }) = &cli.command {
        return config::check_config(file);
    }
    if let Command::Config(ConfigArguments { from_watchtower: Some(file), .. }) = &cli.command {
        return config::from_watchtower(file);
    }
    let setting = prepare(&cli)?;
    match cli.command {
        Command::Run => Box::pin(run::run(setting)).await,
        Command::Bridge => Box::pin(bridge::bridge(setting)).await,
        Command::Mirror(arguments) => Box::pin(mirror::mirror(setting, arguments)).await,
        Command::Check(arguments) => check::check(&setting, arguments).await,
        Command::Update(arguments) => update::update(&setting, arguments).await,
        Command::Rollback(arguments) => rollback::roll_back(&setting, arguments.name).await,
        Command::Allow(arguments) => allow::allow(&setting, arguments.name).await,
        Command::History(arguments) => history::history(&setting, &arguments),
        Command::Status(arguments) => status::status(&setting, arguments.json).await,
        Command::Recover => recover::recover(&setting).await,
        Command::Config(_) => config::config(&setting),
        Command::Fleet(arguments) => Box::pin(fleet::fleet(&setting, *arguments)).await,
        Command::Push(arguments) => Box::pin(push::push(&setting, arguments)).await,
        Command::Deployments(arguments) => deployments::deployments(&setting, arguments).await,
        Command::Healthcheck => healthcheck::healthcheck(&setting).await,
        Command::Assist => Box::pin(self_update_helper::assist(&setting)).await,
    }
}

/// Reads the configuration.
fn load(global: &GlobalOptions) -> Result<Settings, ConfigError> {
    load_with(global, Vec::new())
}

/// The same, with further settings of the command line.
fn load_with(global: &GlobalOptions, more: Vec<(String, String)>) -> Result<Settings, ConfigError> {
    let environment = Environment::of_process();
    let file = global.config.clone().map_or_else(ConfigFile::default, ConfigFile::Required);
    let flags = global.settings().into_iter().chain(more).collect();
    crate::config::load(&Sources { file, environment, flags })
}

fn prepare(cli: &Cli) -> anyhow::Result<CommandContext> {
    let environment = Environment::of_process();
    let no_color = environment.variables.get("NO_COLOR").map(String::as_str);
    let may_colour = may_colour(cli.global.no_color, no_color);
    let more = match &cli.command {
        Command::Fleet(arguments) => arguments.broker.settings(),
        _ => Vec::new(),
    };
    let settings = load_with(&cli.global, more)?;
    let format = match settings.log_format {
        LogFormat::Auto => telemetry::Format::Auto,
        LogFormat::Text => telemetry::Format::Text,
        LogFormat::Json => telemetry::Format::Json,
    };
    telemetry::init(format, level(settings.log_level), may_colour)
        .context("cannot set up the log")?;
    let is_terminal = std::io::stdout().is_terminal();
    let width = is_terminal.then(terminal_width).flatten();
    let screen = Screen { width, colour: may_colour && is_terminal };
    Ok(CommandContext { settings, global: cli.global.clone(), screen, is_terminal })
}

const fn level(level: LogLevel) -> tracing::Level {
    match level {
        LogLevel::Error => tracing::Level::ERROR,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Debug => tracing::Level::DEBUG,
        LogLevel::Trace => tracing::Level::TRACE,
    }
}

fn terminal_width() -> Option<usize> {
    terminal_size().0
}

/// Columns and lines of the terminal.
fn terminal_size() -> (Option<usize>, Option<usize>) {
    let Ok(size) = rustix::termios::tcgetwinsize(std::io::stdout()) else { return (None, None) };
    let known = |number: u16| (number > 0).then(|| usize::from(number));
    (known(size.ws_col), known(size.ws_row))
}

/// Names from the command line: none means all watched containers.
fn names(names: Vec<String>) -> Option<BTreeSet<String>> {
    (!names.is_empty()).then(|| names.into_iter().collect())
}

/// A token that Ctrl-C or SIGTERM cancels.
///
/// # Errors
/// The system provides no signals.
#[expect(clippy::disallowed_methods, reason = "it listens until the process ends")]
fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    let stopped = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stopped.cancel();
    });
    Ok(stop)
}

/// Ignores everything: for commands that serve no metrics.
struct NullRoundListener;

impl RoundListener for NullRoundListener {
    fn round(&self, _succeeded: bool, _took: Duration) {}
}

impl RegistryObserver for NullRoundListener {
    fn request(&self, _registry: &str, _code: &str) {}
    fn rate_limit_remaining(&self, _registry: &str, _remaining: u64) {}
}

/// Listeners of a command that serves no metrics.
fn quiet(events: Arc<Events>) -> Listeners {
    let snapshot = watch::Sender::new(Arc::default());
    Listeners {
        snapshot,
        events,
        rounds: Arc::new(NullRoundListener),
        registries: Arc::new(NullRoundListener),
    }
}

/// Says something about the command itself, on standard error.
fn say(text: &str) {
    use std::io::Write as _;
    // If standard error is closed, there is no other place for a message.
    let _ = writeln!(std::io::stderr().lock(), "{}", harmless_page(text));
}

/// Says that the agent is busy.
fn waits_for(busy: &[Subject]) {
    let busy = one_line(&subject::in_words(busy));
    say(&format!("the agent is updating {busy}; this waits for it"));
}

/// Prints to standard output. A closed pipe (`| head`) is no error.
fn print(text: &str) -> anyhow::Result<()> {
    print_raw(&harmless_page(text))
}

/// The same for a text that moves the cursor.
fn print_raw(text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut output = std::io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}
