//! Layer 3: the command line, as types. What a command does is in `commands`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

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

const CHECK_HELP: &str = "\
For every watched container: the running digest, the offered digest, the verdict, and for every \
`held` or `error` the reason and what to do about it. Writes nothing, pulls nothing.

Verdicts: up_to_date, update, held (not updated on purpose), error (could not be checked).";

const CHECK_EXAMPLES: &str = "\
Examples:
  pilotfish check
  pilotfish check web db --fresh
  pilotfish check --json | jq -r '.containers[] | select(.verdict == \"held\") | .container'

Exit code 4: one or more containers could not be checked; the others were.";

const UPDATE_HELP: &str = "\
One round now: checks every watched container, or the named ones, and updates each that has a new \
image and nothing that forbids it. If a new container is not healthy, the old one replaces it \
again, and its image is refused.";

const UPDATE_EXAMPLES: &str = "\
Examples:
  pilotfish update
  pilotfish update web --dry-run
  pilotfish update web --force    now, outside of its window, and even a refused image

Exit code 3: an update was rolled back, the old container runs again.";

const HISTORY_HELP: &str = "\
Every recorded update, newest first: when, from which digest to which, how it ended and why, how \
long the service was down, and the last log lines of a failed container.";

const HISTORY_EXAMPLES: &str = "\
Examples:
  pilotfish history
  pilotfish history web --json | jq '.updates[0].reason'";

const ROLLBACK_HELP: &str = "\
Restores the previous image with the same care as an update: the container is recreated on it and \
watched; if it is not healthy, the present container stays. Needs no registry. The digest that was \
running is refused.";

const ROLLBACK_EXAMPLES: &str = "\
Example:
  pilotfish rollback web

Exit code 1: there is no previous image, or it was not healthy; the present container stays.";

const ALLOW_HELP: &str = "\
A failed image is refused: Pilotfish does not start it again by itself. This command forgets the \
refused digests of a container, so that the next round may try the offered image.";

const ALLOW_EXAMPLES: &str = "\
Examples:
  pilotfish allow web
  pilotfish allow web && pilotfish update web";

const STATUS_HELP: &str = "\
The state of the running agent: what it watches, its last and its next check, and running \
updates.";

const STATUS_EXAMPLES: &str = "\
Examples:
  pilotfish status
  pilotfish status --json | jq .next_check

Exit code 1: no agent runs with this state directory.";

const RECOVER_HELP: &str = "\
Finishes or undoes every update that a kill, a crash or a power cut has interrupted. `run` and \
`update` do this first, by themselves; use this command for updates that wait for their next try.";

const RECOVER_EXAMPLES: &str = "\
Example:
  pilotfish recover";

const CONFIG_HELP: &str = "\
Every key with its value and its origin: the file, a variable, the command line, or the default. \
The configuration contains no secrets, so none are shown.";

const CONFIG_EXAMPLES: &str = "\
Examples:
  pilotfish config
  pilotfish config --check /etc/pilotfish/pilotfish.toml
  docker inspect watchtower | pilotfish config --from-watchtower - > pilotfish.toml

Exit code 2: the configuration is not valid.";

const HEALTHCHECK_HELP: &str = "\
Asks the agent through its control socket whether it is healthy. Made for a HEALTHCHECK in an \
image without a shell.";

const HEALTHCHECK_EXAMPLES: &str = "\
Example, in a Dockerfile:
  HEALTHCHECK CMD [\"/pilotfish\", \"healthcheck\"]";

const ASSIST_HELP: &str = "\
The agent starts a container with this command to update its own container, because it cannot stop \
itself and continue. It updates the agent's container, and waits until the agent removes it.";

const ASSIST_EXAMPLES: &str = "\
Example:
  pilotfish assist    the agent runs this itself";

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
        let pairs = [
            ("state_dir", &self.state_dir),
            ("docker_host", &self.docker_host),
            ("log.level", &self.log_level),
            ("log.format", &self.log_format),
        ];
        let given = |(key, value): (&str, &Option<String>)| {
            value.as_ref().map(|value| (key.to_owned(), value.clone()))
        };
        pairs.into_iter().filter_map(given).collect()
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
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!(error.kind(), expected, "{line}");
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
