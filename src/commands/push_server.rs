//! The push API of a running agent.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::daemon::DaemonState;
use super::server_tasks::ServerTasks;
use crate::api;
use crate::api::push::{self, PushLimits, PushState, PushTls};
use crate::app;
use crate::config::{PushAddress, PushSettings, Settings};
use crate::core::deployment::Deployments;
use crate::host::passed_socket;

/// The push API, its rules and its certificates.
pub(super) struct PushServer {
    listener: TcpListener,
    tls: PushTls,
    settings: PushSettings,
    deployments: Arc<Deployments>,
}

impl PushServer {
    /// Reads the certificates before it listens, so that a wrong one ends nothing.
    pub(super) async fn listen(
        settings: &PushSettings,
        deployments: Arc<Deployments>,
    ) -> anyhow::Result<Self> {
        let tls = PushTls::read(&settings.files, settings.permissions.use_serials())?;
        let listener = match settings.address {
            PushAddress::Address(address) => api::bind("push.address", address).await?,
            PushAddress::Passed(number) => {
                let socket = passed_socket(number).context("push.address cannot be used")?;
                TcpListener::from_std(socket).context("push.address cannot be used")?
            }
        };
        Ok(Self { listener, tls, settings: settings.clone(), deployments })
    }

    /// Serves the push API until `end`.
    pub(super) fn serve(
        self,
        settings: &Settings,
        process: &DaemonState,
        tasks: &ServerTasks,
        end: &CancellationToken,
    ) {
        let Self { listener, tls, settings: push, deployments } = self;
        if let Ok(address) = listener.local_addr() {
            let count = deployments.iter().count();
            tracing::info!(%address, deployments = count, "listening for pushes");
        }
        let limits = PushLimits::DEFAULT;
        let state = PushState {
            agent: process.agent.clone(),
            permissions: push.permissions,
            deployments,
            size_max: push.size_max,
            limits,
            metrics: process.metrics(),
            audit: app::audit(settings),
            tasks: tasks.tracker().clone(),
            now: app::now,
        };
        let (router, context) = (push::router(state), (tls, process.metrics()));
        tasks.spawn(push::serve_push(listener, router, limits, context, end.clone()));
    }
}
