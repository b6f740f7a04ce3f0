//! What these tests need of the common support.

#[path = "../support/broker.rs"]
pub mod broker;
#[path = "../support/command.rs"]
pub mod command;
