//! The command line of `pilotfish fleet`.

use clap::{Args, Subcommand};

use super::given;
use crate::core::docker::reference::Reference;
use crate::core::fleet::message::stop::{STOP_REFERENCES_MAX, stop_reference};

pub(super) const FLEET_HELP: &str = "\
Everything that the devices of a fleet tell through its MQTT broker: which are online, what each \
runs, and rollouts under way. On a terminal the table is live until Ctrl-C; otherwise, and with \
--once, --all or --json, it is printed once.

The broker is the one of the configuration; options override it. The broker must let this client \
read everything: use the certificate `operator`. One certificate is one connection: with the \
certificate of a device, this command and the agent of the device would disconnect each other.";

pub(super) const FLEET_EXAMPLES: &str = "\
Examples:
  pilotfish fleet --url mqtts://broker.lan --ca-file ca.crt --cert-file client.crt \\
      --key-file client.key
  pilotfish fleet --json | jq -r '.devices[] | select(.online | not) | .device'
  pilotfish fleet stop --why 'market day'
  pilotfish fleet go

Exit code 1: the broker cannot be reached, or refuses this client.";

const FLEET_STOP_HELP: &str = "\
No device of the fleet begins an update, until `pilotfish fleet go`. With references only their \
containers stop. A running update ends. A device that is away hears of the stop when it connects. \
There is one stop for the fleet: another one takes its place.";

const FLEET_STOP_EXAMPLES: &str = "\
Examples:
  pilotfish fleet stop --why 'market day'
  pilotfish fleet stop registry.lan/shop/till:stable registry.lan/shop/web:stable

Exit code 1: the broker cannot be reached, or refuses the stop.";

const FLEET_GO_HELP: &str = "\
Lifts the stop of the fleet, no matter who set it. Devices then update as before.";

const FLEET_GO_EXAMPLES: &str = "\
Example:
  pilotfish fleet go";

const BROKER: &str = "Options for the broker";

/// The arguments of `fleet`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct FleetArguments {
    /// Print the table once, also on a terminal
    #[arg(long)]
    pub once: bool,
    /// Print every row once, also those that do not fit the terminal
    #[arg(long)]
    pub all: bool,
    /// One JSON document instead of a table
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub broker: BrokerOptions,
    #[command(subcommand)]
    pub action: Option<FleetAction>,
}

/// What is done to a fleet.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum FleetAction {
    /// No device begins an update any more
    #[command(long_about = FLEET_STOP_HELP, after_help = FLEET_STOP_EXAMPLES)]
    Stop(FleetStopArguments),
    /// Lift the stop
    #[command(long_about = FLEET_GO_HELP, after_help = FLEET_GO_EXAMPLES)]
    Go,
}

/// The arguments of `fleet stop`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct FleetStopArguments {
    /// The images to stop; without one all
    #[arg(value_name = "REFERENCE", value_parser = stop_reference)]
    #[arg(num_args = 0..=STOP_REFERENCES_MAX)]
    pub references: Vec<Reference>,
    /// The reason, for people
    #[arg(long, value_name = "TEXT")]
    pub why: Option<String>,
}

/// The options for the broker. The configuration parses the values, and reports a wrong one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = BROKER)]
pub struct BrokerOptions {
    /// Address of the broker, such as mqtts://broker.lan (key mqtt.url)
    #[arg(long, global = true, value_name = "URL")]
    pub url: Option<String>,
    /// The CA of the broker's certificate (key mqtt.ca_file)
    #[arg(long, global = true, value_name = "FILE")]
    pub ca_file: Option<String>,
    /// The certificate of the operator (key mqtt.cert_file)
    #[arg(long, global = true, value_name = "FILE", requires = "key_file")]
    pub cert_file: Option<String>,
    /// The key of this certificate (key mqtt.key_file)
    #[arg(long, global = true, value_name = "FILE", requires = "cert_file")]
    pub key_file: Option<String>,
    /// The user name at the broker (key mqtt.username)
    #[arg(long, global = true, value_name = "NAME", requires = "password_file")]
    pub username: Option<String>,
    /// The file with the password (key mqtt.password_file)
    #[arg(long, global = true, value_name = "FILE", requires = "username")]
    pub password_file: Option<String>,
    /// The name of the fleet (key mqtt.fleet)
    #[arg(long, global = true, value_name = "NAME")]
    pub fleet: Option<String>,
}

impl BrokerOptions {
    /// The settings from the command line: pairs of key and value.
    #[must_use]
    pub fn settings(&self) -> Vec<(String, String)> {
        given(&[
            ("mqtt.url", &self.url),
            ("mqtt.ca_file", &self.ca_file),
            ("mqtt.cert_file", &self.cert_file),
            ("mqtt.key_file", &self.key_file),
            ("mqtt.username", &self.username),
            ("mqtt.password_file", &self.password_file),
            ("mqtt.fleet", &self.fleet),
        ])
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parse(line: &str) -> FleetArguments {
        match Cli::try_parse_from(line.split_whitespace()).expect(line).command {
            Command::Fleet(arguments) => *arguments,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_broker_of_a_fleet_may_be_given_before_and_behind_what_is_done() {
        for line in [
            "pilotfish fleet --url mqtts://b --cert-file c --key-file k stop shop/till:1 nginx",
            "pilotfish fleet stop shop/till:1 nginx --key-file k --cert-file c --url mqtts://b",
        ] {
            let fleet = parse(line);
            let settings: Vec<_> = fleet
                .broker
                .settings()
                .into_iter()
                .map(|(key, it)| format!("{key}={it}"))
                .collect();
            let expected = ["mqtt.url=mqtts://b", "mqtt.cert_file=c", "mqtt.key_file=k"];
            assert_eq!(settings, expected, "{line}");
            let Some(FleetAction::Stop(stop)) = fleet.action else { panic!("{line}") };
            let references: Vec<_> = stop.references.iter().map(ToString::to_string).collect();
            assert_eq!(references.len(), 2, "{references:?}");
        }
    }
}
