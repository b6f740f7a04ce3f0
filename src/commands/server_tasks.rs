//! The tasks of a command that serves.

use futures_util::FutureExt as _;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

/// The tasks of a command that serves. The runtime sees all of them as one type, so that its code
/// for a task is in the program once.
#[derive(Debug, Clone, Default)]
pub(super) struct ServerTasks(TaskTracker);

impl ServerTasks {
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.0.spawn(task.boxed())
    }

    /// For tasks of other layers, which end with these.
    pub(super) fn tracker(&self) -> &TaskTracker {
        &self.0
    }

    /// Waits until all have ended. No more begin after this.
    pub(super) async fn wait(&self) {
        self.0.close();
        self.0.wait().await;
    }
}
