//! Why a call to the Engine failed.

/// Why a call to the Engine failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The Engine cannot be reached, or access is denied.
    #[error("the Engine at {host} cannot be reached: {detail}")]
    Unreachable {
        /// The address that was tried.
        host: String,
        /// The system's error, and what to do about it.
        detail: String,
    },
    /// No answer within the time-out. It is not known whether the call was carried out.
    #[error("the Engine did not answer `{call}` within {seconds} s")]
    TimedOut {
        /// The call.
        call: &'static str,
        /// The time-out.
        seconds: u64,
    },
    /// The connection broke before the answer. It is not known whether the call was carried out.
    #[error("the connection to the Engine broke during `{call}`: {detail}")]
    Broken {
        /// The call.
        call: &'static str,
        /// The system's error.
        detail: String,
    },
    /// A pull that is too slow to end. The Engine stopped it when the agent closed the request.
    #[error("the registry sent only {bytes} bytes within {seconds} s, so the pull was stopped")]
    PullTooSlow {
        /// What was pulled in that time.
        bytes: u64,
        /// The measured time.
        seconds: u64,
    },
    /// The container, image, volume or network does not exist (404).
    #[error("{message}")]
    NotFound {
        /// The Engine's own words.
        message: String,
    },
    /// A conflict with another thing or action (409).
    #[error("{message}")]
    Conflict {
        /// The Engine's own words.
        message: String,
    },
    /// Any other error status.
    #[error("the Engine answered `{call}` with {status}: {message}")]
    Refused {
        /// The call.
        call: &'static str,
        /// The HTTP status.
        status: u16,
        /// The Engine's own words.
        message: String,
    },
    /// The answer is invalid: this is no Engine, or an unknown one.
    #[error("the answer to `{call}` is not an Engine's: {detail}")]
    Garbage {
        /// The call.
        call: &'static str,
        /// What is wrong with it.
        detail: String,
    },
}

impl EngineError {
    /// Whether the Engine was away, so that the call says nothing about its subject.
    #[must_use]
    pub const fn is_engine_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Broken { .. })
    }

    /// The Engine's own message; empty if it has sent none.
    #[must_use]
    pub fn words(&self) -> &str {
        match self {
            Self::NotFound { message }
            | Self::Conflict { message }
            | Self::Refused { message, .. } => message,
            _ => "",
        }
    }

    /// Whether the subject of the call does not exist.
    #[must_use]
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether a service was changed by another client since it was read. Swarm reports it as an
    /// internal error (500), with these words since its first version.
    #[must_use]
    pub fn is_out_of_sequence(&self) -> bool {
        matches!(self, Self::Refused { status: 500, message, .. }
            if message.contains("update out of sequence"))
    }

    /// Whether the Engine is no manager of a Swarm, or the Swarm has no leader now (503).
    #[must_use]
    pub const fn is_no_manager(&self) -> bool {
        matches!(self, Self::Refused { status: 503, .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The messages are those of Engine 20.10.
    #[test]
    fn refusals_of_a_swarm_are_told_apart() {
        let refused = |status, message: &str| EngineError::Refused {
            call: "update service",
            status,
            message: message.into(),
        };
        let stale = refused(500, "rpc error: code = Unknown desc = update out of sequence");
        assert!(stale.is_out_of_sequence() && !stale.is_no_manager());
        let worker = refused(503, "This node is not a swarm manager. Worker nodes can't be used");
        assert!(worker.is_no_manager() && !worker.is_out_of_sequence());
        let wrong = "rpc error: code = Unknown desc = constraint expected one operator from ==, !=";
        assert!(!refused(500, wrong).is_out_of_sequence());
    }
}
