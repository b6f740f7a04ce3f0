//! The command line of `pilotfish push` and `pilotfish deployments`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::core::push::device_url::DeviceUrl;

pub(super) const PUSH_HELP: &str = "\
Sends the archive of an image to a device that has no registry, and shows what the device does with \
it: the image is loaded and the container of the deployment is replaced, with the same steps, the \
same trial and the same rollback as an update from a registry.

Layers that the device has are not sent. The archive is what `docker save`, `skopeo copy` or \
`docker buildx build --output type=docker` write; standard input and compressed archives are first \
written to a temporary file ($TMPDIR), if layers can be left out.

The device needs [push] and a [[deployment]] in its configuration, and a [[push.allow]] for the \
client of the certificate.";

pub(super) const PUSH_EXAMPLES: &str = "\
Examples:
  docker save till:latest | pilotfish push till - --to https://pi:9790 --certificates ./ci
  pilotfish push till till.tar.gz --to https://192.168.1.20:9790 --certificates ./ci

Exit codes:
  0  the container runs the image
  1  the device refused it, or cannot be reached
  2  wrong arguments
  3  the image was tried and rolled back";

pub(super) const DEPLOYMENTS_HELP: &str = "\
Deployments are the services whose images are pushed to this machine (`[[deployment]]` in the \
configuration).";

pub(super) const DEPLOYMENTS_EXAMPLES: &str = "\
Example:
  pilotfish deployments export web > /etc/pilotfish/web.json";

const EXPORT_HELP: &str = "\
Prints the definition of a running container: the body that creates it again, in the words of the \
Engine's API. Save it, and name the file in a [[deployment]] as `create`. The values of the \
container's environment are in it.";

const EXPORT_EXAMPLES: &str = "\
Example:
  pilotfish deployments export web > /etc/pilotfish/web.json";

/// The arguments of `push`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct PushArguments {
    /// The name of the deployment on the device
    #[arg(value_name = "NAME")]
    pub name: String,
    /// The archive of the image; `-` is standard input
    #[arg(value_name = "ARCHIVE")]
    pub archive: PathBuf,
    /// The push API of the device, such as https://pi:9790
    #[arg(long, value_name = "URL")]
    pub to: DeviceUrl,
    /// Directory with ca.crt, client.crt and client.key
    #[arg(long, value_name = "DIRECTORY")]
    pub certificates: PathBuf,
    /// Also outside of the window, and an image that was refused before
    #[arg(long)]
    pub force: bool,
    /// Send all layers, also those that the device has
    #[arg(long)]
    pub whole: bool,
}

/// The arguments of `deployments`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct DeploymentsArguments {
    #[command(subcommand)]
    pub action: DeploymentsAction,
}

/// What is done with a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum DeploymentsAction {
    /// Print the definition of a running container
    #[command(long_about = EXPORT_HELP, after_help = EXPORT_EXAMPLES)]
    Export(ExportArguments),
}

/// The arguments of `deployments export`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct ExportArguments {
    /// The exact name of the container
    #[arg(value_name = "NAME")]
    pub name: String,
}
