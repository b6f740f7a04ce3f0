//! Whether the old container stops before the new one starts, or both serve for a moment.

use std::time::Duration;

use super::LabelError;
use crate::core::text::{did_you_mean, shown};
use crate::core::time::duration::{format_duration, parse_duration};

/// `stop-first` or `start-first`.
pub const LABEL_UPDATE_ORDER: &str = "pilotfish.update.order";

/// How long both containers serve.
pub const LABEL_UPDATE_DRAIN: &str = "pilotfish.update.drain";

/// `ok`: two of these containers may share what only the user can know to be safe.
pub const LABEL_UPDATE_SHARED: &str = "pilotfish.update.shared";

/// How long both serve if no label says it: a client that keeps a name for a few seconds learns of
/// the new container in this time.
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// Longest time in which both serve. Two versions beside each other are meant to be a moment;
/// clients that keep an address for longer need a proxy.
pub const DRAIN_TIME_MAX: Duration = Duration::from_secs(10 * 60);

/// The order in which a container is replaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UpdateOrder {
    /// The old container stops, then the new one starts.
    #[default]
    StopFirst,
    /// The new container proves itself while the old one serves.
    StartFirst {
        /// How long both serve then.
        drain: Duration,
        /// The user says that two may share mounts, the host's network or the default bridge.
        is_shared: bool,
    },
}

/// What the order labels of one container say so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrderLabels {
    starts_first: bool,
    drain: Option<Duration>,
    is_shared: bool,
}

impl OrderLabels {
    /// The order.
    #[must_use]
    pub fn order(&self) -> UpdateOrder {
        if !self.starts_first {
            return UpdateOrder::StopFirst;
        }
        UpdateOrder::StartFirst {
            drain: self.drain.unwrap_or(DRAIN_TIME),
            is_shared: self.is_shared,
        }
    }

    pub(super) fn take_order(&mut self, value: &str) -> Result<(), String> {
        self.starts_first = match value {
            "stop-first" => false,
            "start-first" => true,
            other => {
                let suggestion = did_you_mean(other, ["stop-first", "start-first"]);
                let shown = shown(other);
                return Err(format!(
                    "`{shown}` is neither `stop-first` nor `start-first`{suggestion}"
                ));
            }
        };
        Ok(())
    }

    pub(super) fn take_drain(&mut self, value: &str) -> Result<(), String> {
        let drain = parse_duration(value).map_err(|error| error.to_string())?;
        if drain > DRAIN_TIME_MAX {
            let most = format_duration(DRAIN_TIME_MAX);
            return Err(format!("`{}` is more than {most}", shown(value)));
        }
        self.drain = Some(drain);
        Ok(())
    }

    pub(super) fn take_shared(&mut self, value: &str) -> Result<(), String> {
        if value != "ok" {
            let suggestion = did_you_mean(value, ["ok"]);
            return Err(format!("`{}` is not `ok`{suggestion}", shown(value)));
        }
        self.is_shared = true;
        Ok(())
    }

    /// Labels that count only with `start-first`. A user who wrote them believes that both
    /// containers serve for a moment.
    pub(super) fn without_order(&self) -> Vec<LabelError> {
        if self.starts_first {
            return Vec::new();
        }
        let drain = self.drain.map(|drain| (LABEL_UPDATE_DRAIN, format_duration(drain)));
        let shared = self.is_shared.then(|| (LABEL_UPDATE_SHARED, "ok".to_owned()));
        let lonely = drain.into_iter().chain(shared);
        lonely
            .map(|(label, value)| LabelError {
                label: label.to_owned(),
                value,
                why: format!("it counts only with `{LABEL_UPDATE_ORDER}=start-first`"),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(order: Option<&str>, drain: Option<&str>, shared: Option<&str>) -> OrderLabels {
        let mut labels = OrderLabels::default();
        let taken = [
            order.map_or(Ok(()), |value| labels.take_order(value)),
            drain.map_or(Ok(()), |value| labels.take_drain(value)),
            shared.map_or(Ok(()), |value| labels.take_shared(value)),
        ];
        assert!(taken.iter().all(Result::is_ok), "{taken:?}");
        labels
    }

    #[test]
    fn the_old_container_stops_first_unless_a_label_says_more() {
        assert_eq!(labels(None, None, None).order(), UpdateOrder::StopFirst);
        assert_eq!(labels(Some("stop-first"), None, None).order(), UpdateOrder::StopFirst);
        let seconds = Duration::from_secs;
        for (drain, shared, expected) in [
            (None, None, (10, false)),
            (Some("0s"), None, (0, false)),
            (Some("10m"), Some("ok"), (600, true)),
        ] {
            let (drain_seconds, is_shared) = expected;
            let order = UpdateOrder::StartFirst { drain: seconds(drain_seconds), is_shared };
            assert_eq!(labels(Some("start-first"), drain, shared).order(), order);
        }
    }

    #[test]
    fn a_wrong_order_drain_or_word_is_an_error() {
        let mut wrong = OrderLabels::default();
        let error = wrong.take_order("startfirst").expect_err("a typing error");
        assert!(error.contains("did you mean `start-first`?"), "{error}");
        for value in ["", "11m", "10", "-1s"] {
            assert!(wrong.take_drain(value).is_err(), "{value:?}");
        }
        for value in ["", "true", "yes"] {
            assert!(wrong.take_shared(value).is_err(), "{value:?}");
        }
    }

    #[test]
    fn a_drain_without_start_first_is_an_error() {
        let names = |labels: &OrderLabels| {
            labels.without_order().into_iter().map(|error| error.label).collect::<Vec<_>>()
        };
        assert!(names(&labels(Some("start-first"), Some("5s"), Some("ok"))).is_empty());
        assert_eq!(names(&labels(None, Some("5s"), None)), [LABEL_UPDATE_DRAIN]);
        assert_eq!(
            names(&labels(Some("stop-first"), Some("5s"), Some("ok"))),
            [LABEL_UPDATE_DRAIN, LABEL_UPDATE_SHARED]
        );
    }
}
