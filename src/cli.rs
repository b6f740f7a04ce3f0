//! Floor 3: the command line, as types. What a command does stands elsewhere.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

const ABOUT: &str = "Keeps the containers of this machine fresh, and never loses one";

const LONG_ABOUT: &str = "\
Pilotfish asks the registry whether the image behind a labelled container has changed, pulls the \
new one, puts a container with the very same configuration in its place, watches its health, and \
puts the old one back if the new one is not well.

A container takes part when it has the label pilotfish.enable=true.";

const EXAMPLES: &str = "\
Examples:
  docker run -d --name web --label pilotfish.enable=true nginx:1.27
  pilotfish check              what is new, and why nothing happens where nothing happens
  pilotfish update web         replace one container now
  pilotfish run                do it by itself from now on

Exit codes:
  0  done, or nothing to do
  1  could not do it
  2  wrong arguments or configuration
  3  an update was rolled back
  4  one or more containers could not be checked";

const RUN_HELP: &str = "\
Checks on schedule, updates, and serves /metrics, /healthz and /readyz, until it is told to stop \
with SIGTERM or Ctrl-C. An update that is under way is then left at the next step, and finished or \
undone by the next start.

The log goes to standard error.";

const RUN_EXAMPLES: &str = "\
Example:
  pilotfish run --log-level debug
  PILOTFISH_SCHEDULE_EVERY=5m pilotfish run";

const CHECK_HELP: &str = "\
For every watched container: the digest that runs, the digest that is offered, the verdict, and \
for every `held` or `error` the reason and what to do about it. Writes nothing, pulls nothing.

Verdicts: up_to_date, update, held (stays as it is on purpose), error (could not be checked).";

const CHECK_EXAMPLES: &str = "\
Examples:
  pilotfish check
  pilotfish check web db --fresh
  pilotfish check --json | jq -r '.containers[] | select(.verdict == \"held\") | .container'

Exit code 4: one or more containers could not be checked, the others were.";

const UPDATE_HELP: &str = "\
One round now: every watched container, or those that are named, is checked, and updated where \
something new is offered and nothing is in its way. A new container that is not well is replaced \
by the old one again, and its image is refused from then on.";

const UPDATE_EXAMPLES: &str = "\
Examples:
  pilotfish update
  pilotfish update web --dry-run
  pilotfish update web --force    now, whatever the window; also an image that was refused

Exit code 3: an update was rolled back, the old container serves.";

const HISTORY_HELP: &str = "\
Every update ever tried, newest first: when, from which digest to which, how it ended and why, how \
long the service was away, and the last lines that a failed container wrote.";

const HISTORY_EXAMPLES: &str = "\
Examples:
  pilotfish history
  pilotfish history web --json | jq '.updates[0].reason'";

const ROLLBACK_HELP: &str = "\
Puts the image before the present one back, with the same care as an update: the container is made \
again on it, watched, and if it is not well the present one stays. Needs no registry. The digest \
that is left behind is refused from then on.";

const ROLLBACK_EXAMPLES: &str = "\
Example:
  pilotfish rollback web

Exit code 1: there is no image to go back to, or it was not well; the present container serves.";

const ALLOW_HELP: &str = "\
An image that failed is refused: it is never started again by itself. This forgets the refused \
digests of a container, so that the next round may try what is offered.";

const ALLOW_EXAMPLES: &str = "\
Examples:
  pilotfish allow web
  pilotfish allow web && pilotfish update web";

const STATUS_HELP: &str = "\
How the running agent stands: what it watches, when it looked last and looks next, and an update \
that is under way.";

const STATUS_EXAMPLES: &str = "\
Examples:
  pilotfish status
  pilotfish status --json | jq .next_check

Exit code 1: no agent runs with this state directory.";

const RECOVER_HELP: &str = "\
Finishes or undoes every update that was left open by a kill, a crash or a power cut. `run` and \
`update` do this first, by themselves; this is for one that waits for its next try.";

const RECOVER_EXAMPLES: &str = "\
Example:
  pilotfish recover";

const CONFIG_HELP: &str = "\
Every key with its effective value and where that came from: the file, a variable, the command \
line, or the default. Secrets are not part of the configuration and never shown.";

const CONFIG_EXAMPLES: &str = "\
Examples:
  pilotfish config
  pilotfish config --check /etc/pilotfish/pilotfish.toml
  docker inspect watchtower | pilotfish config --from-watchtower - > pilotfish.toml

Exit code 2: the configuration is not valid.";

const HEALTHCHECK_HELP: &str = "\
Asks the agent through its control socket whether it is well. Made for a HEALTHCHECK in an image \
without a shell.";

const HEALTHCHECK_EXAMPLES: &str = "\
Example, in a Dockerfile:
  HEALTHCHECK CMD [\"/pilotfish\", \"healthcheck\"]";

const ASSIST_HELP: &str = "\
The agent starts a container with this command when its own container is to be updated, because it \
cannot stop itself and go on. It updates the agent's container, and waits until the agent removes it.";

const ASSIST_EXAMPLES: &str = "\
Example:
  pilotfish assist    nobody types it; the agent does";

const EVERYWHERE: &str = "Options of every command";

/// The whole command line.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(name = "pilotfish", version, about = ABOUT, long_about = LONG_ABOUT)]
#[command(after_help = EXAMPLES, max_term_width = 100, subcommand_required = true)]
#[command(arg_required_else_help = true)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: GlobalOptions,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes. The values are read by the configuration, which knows every form of
/// them and says what is wrong with one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = EVERYWHERE)]
pub struct GlobalOptions {
    /// The configuration file [default: /etc/pilotfish/pilotfish.toml, if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where journal and history are (key state_dir)
    #[arg(long, global = true, value_name = "DIRECTORY")]
    pub state_dir: Option<String>,
    /// Where the Engine is, such as unix:///var/run/docker.sock (key docker_host)
    #[arg(long, global = true, value_name = "URL")]
    pub docker_host: Option<String>,
    /// What is logged: error, warn, info, debug or trace (key log.level)
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// How it is logged: auto, text or json (key log.format)
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// No colour, as with the variable NO_COLOR
    #[arg(long, global = true)]
    pub no_color: bool,
}

impl GlobalOptions {
    /// What the command line says of the configuration: pairs of key and value.
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

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// The agent: checks on schedule and updates by itself
    #[command(long_about = RUN_HELP, after_help = RUN_EXAMPLES)]
    Run,
    /// What is new, and what is in its way
    #[command(long_about = CHECK_HELP, after_help = CHECK_EXAMPLES)]
    Check(CheckArguments),
    /// One round now, then exit
    #[command(long_about = UPDATE_HELP, after_help = UPDATE_EXAMPLES)]
    Update(UpdateArguments),
    /// Back to the image before
    #[command(long_about = ROLLBACK_HELP, after_help = ROLLBACK_EXAMPLES)]
    Rollback(NameArgument),
    /// Forget the refused digests of a container
    #[command(long_about = ALLOW_HELP, after_help = ALLOW_EXAMPLES)]
    Allow(NameArgument),
    /// Every update ever tried
    #[command(long_about = HISTORY_HELP, after_help = HISTORY_EXAMPLES)]
    History(HistoryArguments),
    /// The agent as it stands
    #[command(long_about = STATUS_HELP, after_help = STATUS_EXAMPLES)]
    Status(StatusArguments),
    /// Finish or undo an interrupted update
    #[command(long_about = RECOVER_HELP, after_help = RECOVER_EXAMPLES)]
    Recover,
    /// The effective configuration, and where each value came from
    #[command(long_about = CONFIG_HELP, after_help = CONFIG_EXAMPLES)]
    Config(ConfigArguments),
    /// Exit 0 if the agent on this machine is well
    #[command(long_about = HEALTHCHECK_HELP, after_help = HEALTHCHECK_EXAMPLES)]
    Healthcheck,
    /// In the container of a helper: updates the agent's own container
    #[command(hide = true, long_about = ASSIST_HELP, after_help = ASSIST_EXAMPLES)]
    Assist,
}

/// What `rollback` and `allow` take.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct NameArgument {
    /// The container by its exact name
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// What `status` takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct StatusArguments {
    /// One JSON document instead of text
    #[arg(long)]
    pub json: bool,
}

/// What `config` takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct ConfigArguments {
    /// Only say whether this file is valid
    #[arg(long, value_name = "FILE")]
    pub check: Option<PathBuf>,
    /// Print the configuration that does what a Watchtower did: FILE is what `docker inspect`
    /// prints of its container, or its file of variables; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    pub from_watchtower: Option<PathBuf>,
}

/// What `check` takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct CheckArguments {
    /// Containers by their exact names; all watched ones if none is given
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// One JSON document instead of a table
    #[arg(long)]
    pub json: bool,
    /// Ask the registries now, even where a running agent has an answer
    #[arg(long)]
    pub fresh: bool,
}

/// What `update` takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct UpdateArguments {
    /// Containers by their exact names; all watched ones if none is given
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Print what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Override schedule, window and refused digests; never what keeps a service safe
    #[arg(long)]
    pub force: bool,
    /// With --dry-run: one JSON document instead of text
    #[arg(long, requires = "dry_run")]
    pub json: bool,
}

/// What `history` takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct HistoryArguments {
    /// One container by its exact name; all if none is given
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
