//! Which commands are done: a repeated or a retained one does nothing.

use std::collections::VecDeque;

use crate::core::fleet::message::command::FleetCommand;

/// Most IDs of commands that are remembered. A command expires in the broker after a minute, so a
/// repetition of an older one does not come.
const IDS_MAX: usize = 64;

/// Why a command is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum IgnoredCommand {
    /// The broker kept it: it would be done again after each connection.
    #[error("a command must not be retained: publish it without the retain flag, and remove it")]
    Retained,
    /// Its ID was seen. QoS 1 may deliver a message twice.
    #[error("a command with this ID was done already")]
    Repeated,
}

impl IgnoredCommand {
    /// The word used in the log and the metric.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Retained => "retained_command",
            Self::Repeated => "repeated_command",
        }
    }
}

/// The IDs of the last commands.
#[derive(Debug, Default)]
pub struct SeenCommands {
    ids: VecDeque<String>,
}

impl SeenCommands {
    /// Takes a command that has arrived; its ID is seen from now on. A command without an ID is
    /// done each time.
    ///
    /// # Errors
    /// Why the command does nothing. An ID of a retained command is not remembered, because the
    /// same command may still come as it should.
    pub fn take(
        &mut self,
        command: FleetCommand,
        is_retained: bool,
    ) -> Result<FleetCommand, IgnoredCommand> {
        if is_retained {
            return Err(IgnoredCommand::Retained);
        }
        let Some(id) = &command.id else { return Ok(command) };
        if self.ids.contains(id) {
            return Err(IgnoredCommand::Repeated);
        }
        if self.ids.len() >= IDS_MAX {
            self.ids.pop_front();
        }
        self.ids.push_back(id.clone());
        Ok(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::fleet::topic::CommandKind;

    fn command(id: Option<&str>) -> FleetCommand {
        FleetCommand { kind: CommandKind::Check, id: id.map(str::to_owned), subject: None }
    }

    #[test]
    fn an_id_is_done_once_and_a_retained_command_never() {
        use IgnoredCommand::{Repeated, Retained};
        let mut seen = SeenCommands::default();
        for (id, is_retained, expected) in [
            (Some("a"), true, Err(Retained)),
            (Some("a"), false, Ok(())),
            (Some("a"), false, Err(Repeated)),
            (Some("a"), true, Err(Retained)),
            (Some("b"), false, Ok(())),
            (None, false, Ok(())),
            (None, false, Ok(())),
            (None, true, Err(Retained)),
        ] {
            let taken = seen.take(command(id), is_retained);
            assert_eq!(taken, expected.map(|()| command(id)), "{id:?} {is_retained}");
        }
    }

    #[test]
    fn the_ring_keeps_the_last_64() {
        let mut seen = SeenCommands::default();
        for number in 0..=IDS_MAX {
            assert!(seen.take(command(Some(&number.to_string())), false).is_ok());
        }
        assert_eq!(seen.ids.len(), IDS_MAX);
        let repeated = Err(IgnoredCommand::Repeated);
        assert_eq!(seen.take(command(Some("1")), false), repeated);
        assert_eq!(seen.take(command(Some(&IDS_MAX.to_string())), false), repeated);
        assert!(seen.take(command(Some("0")), false).is_ok());
    }
}
