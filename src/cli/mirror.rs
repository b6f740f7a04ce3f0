//! The command line of `pilotfish mirror`.

use clap::Args;

pub(super) const MIRROR_HELP: &str = "\
Copies images from one registry to another by the [[mirror]] rules of the configuration: every \
platform, byte by byte, with signatures, and the tag last. A copy that was interrupted is completed \
by the next run. Needs no Engine.

Without an option it runs until SIGTERM or Ctrl-C: each rule on its schedule, and at once when a \
push is reported by a webhook (webhook.address) or by the broker (mqtt.url). `pilotfish run` does the \
same beside its own work.";

pub(super) const MIRROR_EXAMPLES: &str = "\
Examples:
  pilotfish mirror --dry-run            what would be copied, and what it costs
  pilotfish mirror --once               copy now; the agent does it if one runs here
  pilotfish mirror till --once --json | jq -r '.rules[].tags[] | select(.reason) | .reason'
  pilotfish mirror --config /etc/pilotfish/mirror.toml

Exit codes:
  0  everything at the targets is as it is at the sources
  1  nothing could be copied
  2  there is no such rule, or the configuration is wrong
  4  a tag or a rule failed, others were copied";

/// The arguments of `mirror`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct MirrorArguments {
    /// Names of rules; without a name all. A rule without a `name` has that of its target
    #[arg(value_name = "RULE")]
    pub rules: Vec<String>,
    /// Carry out the rules once, then exit
    #[arg(long)]
    pub once: bool,
    /// Print what would be copied: tags, missing bytes, pulls. Writes nothing
    #[arg(long, conflicts_with = "once")]
    pub dry_run: bool,
    /// With --once or --dry-run: one JSON document instead of a table
    #[arg(long)]
    pub json: bool,
}
