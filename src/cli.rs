//! Layer 3: the command line, as types. What a command does is in `commands`.

mod fleet;
mod help;
mod mirror;
mod push;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use fleet::{FLEET_EXAMPLES, FLEET_HELP};
use help::{
    ALLOW_EXAMPLES, ALLOW_HELP, ASSIST_EXAMPLES, ASSIST_HELP, CHECK_EXAMPLES, CHECK_HELP,
    CONFIG_EXAMPLES, CONFIG_HELP, HEALTHCHECK_EXAMPLES, HEALTHCHECK_HELP, HISTORY_EXAMPLES,
    HISTORY_HELP, RECOVER_EXAMPLES, RECOVER_HELP, ROLLBACK_EXAMPLES, ROLLBACK_HELP,
    STATUS_EXAMPLES, STATUS_HELP, UPDATE_EXAMPLES, UPDATE_HELP,
};
use mirror::{MIRROR_EXAMPLES, MIRROR_HELP};
use push::{DEPLOYMENTS_EXAMPLES, DEPLOYMENTS_HELP, PUSH_EXAMPLES, PUSH_HELP};

pub use fleet::{BrokerOptions, FleetAction, FleetArguments, FleetStopArguments};
pub use mirror::MirrorArguments;
pub use push::{DeploymentsAction, DeploymentsArguments, ExportArguments, PushArguments};

const ABOUT: &str = "Keeps the containers of this machine up to date, and never loses one";

const LONG_ABOUT: &str = "\
Pilotfish asks the registry whether the image of a labelled container has changed and pulls the \
new one. It replaces the container by one with the same configuration, watches its health, and \
restores the old one if the new one is not healthy.

A container takes part when it has the label pilotfish.enable=true.";

const EXAMPLES: &str = "\
Examples:
  docker run -d --name web --label pilotfish.enable=true nginx:1.27
  pilotfish check              what is new, and why something is not updated
  pilotfish update web         replace one container now
  pilotfish run                check and update on schedule

Exit codes:
  0  done, or nothing to do
  1  failed
  2  wrong arguments or configuration
  3  an update was rolled back
  4  one or more containers could not be checked";

const RUN_HELP: &str = "\
Checks on schedule, updates, and serves /metrics, /healthz and /readyz, until SIGTERM or Ctrl-C \
stops it. Running updates then stop at their next step, and the next start finishes or undoes them.

The log goes to standard error.";

const RUN_EXAMPLES: &str = "\
Example:
  pilotfish run --log-level debug
  PILOTFISH_SCHEDULE_EVERY=5m pilotfish run";

const BRIDGE_HELP: &str = "\
Takes webhooks of registries and CI systems at webhook.address, and publishes each push as an \
announcement to the fleet of mqtt.url. A sender gets 202 only after the broker took its message, and \
503 while the broker is away.

Needs no Engine and no state directory. /readyz says whether the broker is connected.";

const BRIDGE_EXAMPLES: &str = "\
Example:
  pilotfish bridge --config /etc/pilotfish/bridge.toml
  curl -H \"Authorization: Bearer $TOKEN\" -d '{\"v\":1,\"pushed\":[\"registry:443/shop/till:v1\"]}' \\
    https://bridge:9789/v1/webhook";

const EVERYWHERE: &str = "Options of every command";

/// The whole command line.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(name = "pilotfish", version, about = ABOUT, long_about = LONG_ABOUT)]
#[command(after_help = EXAMPLES, max_term_width = 100, subcommand_required = true)]
#[command(arg_required_else_help = true)]
pub struct Cli {
    /// The options of every command.
    #[command(flatten)]
    pub global: GlobalOptions,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The options of every command. The configuration parses the values, and reports a wrong one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = EVERYWHERE)]
pub struct GlobalOptions {
    /// The configuration file [default: /etc/pilotfish/pilotfish.toml, if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory of the journal and the history (key state_dir)
    #[arg(long, global = true, value_name = "DIRECTORY")]
    pub state_dir: Option<String>,
    /// Address of the Engine, such as unix:///var/run/docker.sock (key docker_host)
    #[arg(long, global = true, value_name = "URL")]
    pub docker_host: Option<String>,
    /// Log level: error, warn, info, debug or trace (key log.level)
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Log format: auto, text or json (key log.format)
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// No colour, as with the variable NO_COLOR
    #[arg(long, global = true)]
    pub no_color: bool,
}

impl GlobalOptions {
    /// The settings from the command line: pairs of key and value.
    #[must_use]
    pub fn settings(&self) -> Vec<(String, String)> {
        given(&[
            ("state_dir", &self.state_dir),
            ("docker_host", &self.docker_host),
            ("log.level", &self.log_level),
            ("log.format", &self.log_format),
        ])
    }
}

/// The command.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// The agent: checks on schedule and updates by itself
    #[command(long_about = RUN_HELP, after_help = RUN_EXAMPLES)]
    Run,
    /// Webhooks become messages to a fleet
    #[command(long_about = BRIDGE_HELP, after_help = BRIDGE_EXAMPLES)]
    Bridge,
    /// Copies images from one registry to another
    #[command(long_about = MIRROR_HELP, after_help = MIRROR_EXAMPLES)]
    Mirror(MirrorArguments),
    /// Send an image to a device that has no registry
    #[command(long_about = PUSH_HELP, after_help = PUSH_EXAMPLES)]
    Push(PushArguments),
    /// The services whose images are pushed to this machine
    #[command(long_about = DEPLOYMENTS_HELP, after_help = DEPLOYMENTS_EXAMPLES)]
    #[command(arg_required_else_help = true)]
    Deployments(DeploymentsArguments),
    /// What is new, and what forbids an update
    #[command(long_about = CHECK_HELP, after_help = CHECK_EXAMPLES)]
    Check(CheckArguments),
    /// One round now, then exit
    #[command(long_about = UPDATE_HELP, after_help = UPDATE_EXAMPLES)]
    Update(UpdateArguments),
    /// Restore the previous image
    #[command(long_about = ROLLBACK_HELP, after_help = ROLLBACK_EXAMPLES)]
    Rollback(NameArgument),
    /// Forget the refused digests of a container
    #[command(long_about = ALLOW_HELP, after_help = ALLOW_EXAMPLES)]
    Allow(NameArgument),
    /// Every recorded update
    #[command(long_about = HISTORY_HELP, after_help = HISTORY_EXAMPLES)]
    History(HistoryArguments),
    /// The state of the running agent
    #[command(long_about = STATUS_HELP, after_help = STATUS_EXAMPLES)]
    Status(StatusArguments),
    /// Finish or undo interrupted updates
    #[command(long_about = RECOVER_HELP, after_help = RECOVER_EXAMPLES)]
    Recover,
    /// The effective configuration, and where each value came from
    #[command(long_about = CONFIG_HELP, after_help = CONFIG_EXAMPLES)]
    Config(ConfigArguments),
    /// The devices of the fleet, what each runs, and rollouts
    #[command(long_about = FLEET_HELP, after_help = FLEET_EXAMPLES)]
    Fleet(Box<FleetArguments>),
    /// Exit 0 if the agent on this machine is healthy
    #[command(long_about = HEALTHCHECK_HELP, after_help = HEALTHCHECK_EXAMPLES)]
    Healthcheck,
    /// In the self-update helper: updates the agent's own container
    #[command(hide = true, long_about = ASSIST_HELP, after_help = ASSIST_EXAMPLES)]
    Assist,
}

/// The arguments of `rollback` and `allow`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct NameArgument {
    /// The exact name of the container
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// The arguments of `status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct StatusArguments {
    /// One JSON document instead of text
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `config`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct ConfigArguments {
    /// Only check whether this file is valid
    #[arg(long, value_name = "FILE")]
    pub check: Option<PathBuf>,
    /// Print the configuration that replaces a Watchtower: FILE is the output of `docker inspect`
    /// for its container, or its file of variables; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    pub from_watchtower: Option<PathBuf>,
}

/// The arguments of `check`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct CheckArguments {
    /// Exact names of containers; without a name all watched ones
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// One JSON document instead of a table
    #[arg(long)]
    pub json: bool,
    /// Ask the registries now, even if a running agent has an answer
    #[arg(long)]
    pub fresh: bool,
}

/// The arguments of `update`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct UpdateArguments {
    /// Exact names of containers; without a name all watched ones
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Print what would be done, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Override schedule, window and refused digests, but no safety check
    #[arg(long)]
    pub force: bool,
    /// With --dry-run: one JSON document instead of text
    #[arg(long, requires = "dry_run")]
    pub json: bool,
}

/// The arguments of `history`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct HistoryArguments {
    /// The exact name of one container; without a name all
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// One JSON document instead of a table
    #[arg(long)]
    pub json: bool,
}

/// The pairs that have a value.
fn given(pairs: &[(&str, &Option<String>)]) -> Vec<(String, String)> {
    let given = pairs.iter().filter_map(|(key, value)| Some((*key, value.as_ref()?)));
    given.map(|(key, value)| (key.to_owned(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_types_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_is_read_with_what_it_takes() {
        let names = vec!["web".to_owned(), "db".to_owned()];
        for (line, expected) in [
            ("pilotfish run", Command::Run),
            (
                "pilotfish check web db --json --fresh",
                Command::Check(CheckArguments { names: names.clone(), json: true, fresh: true }),
            ),
            (
                "pilotfish update web db --dry-run --force --json",
                Command::Update(UpdateArguments { names, dry_run: true, force: true, json: true }),
            ),
            (
                "pilotfish history web",
                Command::History(HistoryArguments { name: Some("web".into()), json: false }),
            ),
        ] {
            assert_eq!(parse(line).expect(line).command, expected);
        }
    }

    #[test]
    fn what_every_command_takes_may_stand_before_and_behind_it() {
        for line in [
            "pilotfish --state-dir /tmp/s --log-level debug --no-color check",
            "pilotfish check --state-dir /tmp/s --log-level debug --no-color",
        ] {
            let global = parse(line).expect(line).global;
            let setting = |key: &str, value: &str| (key.to_owned(), value.to_owned());
            let expected = [setting("state_dir", "/tmp/s"), setting("log.level", "debug")];
            assert_eq!(global.settings(), expected, "{line}");
            assert!(global.no_color, "{line}");
        }
    }

    #[test]
    fn wrong_lines_are_named() {
        for (line, expected) in [
            ("pilotfish", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
            ("pilotfish chekc", ErrorKind::InvalidSubcommand),
            ("pilotfish history web db", ErrorKind::UnknownArgument),
            ("pilotfish update --json", ErrorKind::MissingRequiredArgument),
            ("pilotfish check --wide", ErrorKind::UnknownArgument),
            ("pilotfish fleet --cert-file c", ErrorKind::MissingRequiredArgument),
            ("pilotfish fleet stop Shop/Till", ErrorKind::ValueValidation),
            ("pilotfish fleet start", ErrorKind::InvalidSubcommand),
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!(error.kind(), expected, "{line}");
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
