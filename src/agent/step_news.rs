//! How the loop hears of the steps of the updates in flight: it shows them in the snapshot.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::core::subject::Subject;
use crate::core::update::Step;
use crate::core::update::event::{Event, Listener};

/// A step begins.
pub(super) struct StepNews {
    pub(super) subject: Subject,
    pub(super) step: Step,
}

/// Passes each event on, and each step to the loop as well.
struct StepListener {
    inner: Arc<dyn Listener>,
    steps: mpsc::UnboundedSender<StepNews>,
}

impl Listener for StepListener {
    fn hear(&self, event: &Event) {
        self.inner.hear(event);
        if let Event::StepBegun { subject, step } = event {
            // A loop that has ended shows nothing any more. An update has eight steps, so the
            // queue stays short.
            let _ = self.steps.send(StepNews { subject: subject.clone(), step: *step });
        }
    }
}

/// A listener that also tells the loop of steps.
pub(super) fn step_news(
    inner: Arc<dyn Listener>,
) -> (Arc<dyn Listener>, mpsc::UnboundedReceiver<StepNews>) {
    let (steps, receiver) = mpsc::unbounded_channel();
    (Arc::new(StepListener { inner, steps }), receiver)
}
