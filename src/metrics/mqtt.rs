//! The metrics of the connection to the MQTT broker. Without a broker none is shown.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use prometheus::core::Collector;
use prometheus::{Error, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::{catalogue, counter};

/// The counters and the gauge of the connection.
#[derive(Debug)]
pub(super) struct MqttMetrics {
    connected: IntGaugeVec,
    reconnects: IntCounterVec,
    refused: IntCounterVec,
    shown: Once,
    was_connected: AtomicBool,
}

impl MqttMetrics {
    pub(super) fn new() -> Result<Self, Error> {
        let (name, help) = (catalogue::MQTT_CONNECTED.name, catalogue::MQTT_CONNECTED.help);
        Ok(Self {
            connected: IntGaugeVec::new(Opts::new(name, help), catalogue::MQTT_CONNECTED.labels)?,
            reconnects: counter(&catalogue::MQTT_RECONNECTS)?,
            refused: counter(&catalogue::MQTT_REFUSED)?,
            shown: Once::new(),
            was_connected: AtomicBool::new(false),
        })
    }

    /// Shows the metrics from now on, because there is a broker.
    pub(super) fn show(&self, registry: &Registry) {
        self.shown.call_once(|| {
            // Both have no label and begin with zero.
            self.connected.with_label_values::<&str>(&[]).set(0);
            self.reconnects.with_label_values::<&str>(&[]);
            let collectors: [Box<dyn Collector>; 3] = [
                Box::new(self.connected.clone()),
                Box::new(self.reconnects.clone()),
                Box::new(self.refused.clone()),
            ];
            for collector in collectors {
                if let Err(error) = registry.register(collector) {
                    tracing::error!(%error, "a metric of the broker cannot be shown");
                }
            }
        });
    }

    pub(super) fn connected(&self, is_connected: bool) {
        self.connected.with_label_values::<&str>(&[]).set(i64::from(is_connected));
        if is_connected && self.was_connected.swap(true, Ordering::Relaxed) {
            self.reconnects.with_label_values::<&str>(&[]).inc();
        }
    }

    pub(super) fn refused(&self, reason: &str) {
        self.refused.with_label_values(&[reason]).inc();
    }
}
