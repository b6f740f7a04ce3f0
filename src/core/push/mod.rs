//! The push API: which client may do what, and what a client may leave out of an archive.

// A client, known by its certificate.
pub mod client;
// Who may do what with which deployment.
pub mod permission;
// The address of a device.
pub mod device_url;
// The arguments of `docker run` as the definition of a deployment.
pub mod run_arguments;
