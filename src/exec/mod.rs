//! Layer 2: runs what a label asks for in or against a running container.

// The command of a hook label.
pub mod hook;
// The probe of a label.
pub mod probe;
