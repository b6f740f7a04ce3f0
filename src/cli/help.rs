//! The long help of the commands about containers.

pub(super) const CHECK_HELP: &str = "\
For every watched container: the running digest, the offered digest, the verdict, and for every \
`held` or `error` the reason and what to do about it. Writes nothing, pulls nothing.

Verdicts: up_to_date, update, held (not updated on purpose), error (could not be checked).";

pub(super) const CHECK_EXAMPLES: &str = "\
Examples:
  pilotfish check
  pilotfish check web db --fresh
  pilotfish check --json | jq -r '.containers[] | select(.verdict == \"held\") | .container'

Exit code 4: one or more containers could not be checked; the others were.";

pub(super) const UPDATE_HELP: &str = "\
One round now: checks every watched container, or the named ones, and updates each that has a new \
image and nothing that forbids it. If a new container is not healthy, the old one replaces it \
again, and its image is refused.";

pub(super) const UPDATE_EXAMPLES: &str = "\
Examples:
  pilotfish update
  pilotfish update web --dry-run
  pilotfish update web --force    now, outside of its window, and even a refused image

Exit code 3: an update was rolled back, the old container runs again.";

pub(super) const HISTORY_HELP: &str = "\
Every recorded update, newest first: when, from which digest to which, how it ended and why, how \
long the service was down, and the last log lines of a failed container.";

pub(super) const HISTORY_EXAMPLES: &str = "\
Examples:
  pilotfish history
  pilotfish history web --json | jq '.updates[0].reason'";

pub(super) const ROLLBACK_HELP: &str = "\
Restores the previous image with the same care as an update: the container is recreated on it and \
watched; if it is not healthy, the present container stays. Needs no registry. The digest that was \
running is refused.";

pub(super) const ROLLBACK_EXAMPLES: &str = "\
Example:
  pilotfish rollback web

Exit code 1: there is no previous image, or it was not healthy; the present container stays.";

pub(super) const ALLOW_HELP: &str = "\
A failed image is refused: Pilotfish does not start it again by itself. This command forgets the \
refused digests of a container, so that the next round may try the offered image.";

pub(super) const ALLOW_EXAMPLES: &str = "\
Examples:
  pilotfish allow web
  pilotfish allow web && pilotfish update web";

pub(super) const STATUS_HELP: &str = "\
The state of the running agent: what it watches, its last and its next check, and running \
updates.";

pub(super) const STATUS_EXAMPLES: &str = "\
Examples:
  pilotfish status
  pilotfish status --json | jq .next_check

Exit code 1: no agent runs with this state directory.";

pub(super) const RECOVER_HELP: &str = "\
Finishes or undoes every update that a kill, a crash or a power cut has interrupted. `run` and \
`update` do this first, by themselves; use this command for updates that wait for their next try.";

pub(super) const RECOVER_EXAMPLES: &str = "\
Example:
  pilotfish recover";

pub(super) const CONFIG_HELP: &str = "\
Every key with its value and its origin: the file, a variable, the command line, or the default. \
The configuration contains no secrets, so none are shown.";

pub(super) const CONFIG_EXAMPLES: &str = "\
Examples:
  pilotfish config
  pilotfish config --check /etc/pilotfish/pilotfish.toml
  docker inspect watchtower | pilotfish config --from-watchtower - > pilotfish.toml

Exit code 2: the configuration is not valid.";

pub(super) const HEALTHCHECK_HELP: &str = "\
Asks the agent through its control socket whether it is healthy. Made for a HEALTHCHECK in an \
image without a shell.";

pub(super) const HEALTHCHECK_EXAMPLES: &str = "\
Example, in a Dockerfile:
  HEALTHCHECK CMD [\"/pilotfish\", \"healthcheck\"]";

pub(super) const ASSIST_HELP: &str = "\
The agent starts a container with this command to update its own container, because it cannot stop \
itself and continue. It updates the agent's container, and waits until the agent removes it.";

pub(super) const ASSIST_EXAMPLES: &str = "\
Example:
  pilotfish assist    the agent runs this itself";
