//! The push API: clients with a certificate push images, without a registry, and act on the
//! containers of deployments. On an address of its own, which is off by default.
//!
//! A request passes the gates in this order: certificate, place, path, rule, existence, size,
//! agent. Nothing of its body is read before the last one.

mod audit;
mod connections;
mod digest_header;
mod following;
mod load;
mod refusal;
mod route;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json, Router};
use chrono::{DateTime, Utc};
use tokio_util::task::TaskTracker;

use crate::agent::{
    ActOnDeployment, AgentHandle, DeploymentAct, Question, ReadLog, ShowDeployments, ShowLayers,
};
use crate::core::deployment::Deployments;
use crate::core::deployment::refusal::PushRefusal;
use crate::core::push::client::PushClient;
use crate::core::push::permission::Permissions;
use crate::core::update::event::Asker;
use crate::documents::{DeploymentRow, DeploymentsDocument, LayersDocument, LogDocument};
use crate::journal::AuditLog;
use crate::metrics::Metrics;
use audit::Audited;
use refusal::ApiRefusal;
use route::{PushCall, Route};

pub use connections::{PushLimits, serve_push};
pub use tls::{PushTls, PushTlsError};

/// How long the agent may take to answer a question that changes nothing: it waits for the Engine.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Whether a connection got one of the places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Placement {
    Placed,
    /// All places are taken: the only answer is `busy`.
    Full,
}

/// What the push API works with.
pub struct PushState {
    pub agent: AgentHandle,
    pub permissions: Permissions,
    pub deployments: Arc<Deployments>,
    /// The largest archive in bytes.
    pub size_max: u64,
    pub limits: PushLimits,
    pub metrics: Arc<Metrics>,
    pub audit: AuditLog,
    /// The tasks that follow requests to their end.
    pub tasks: TaskTracker,
    /// The time of day.
    pub now: fn() -> DateTime<Utc>,
}

impl PushState {
    fn container_of(&self, name: &str) -> Option<&str> {
        self.deployments.find(name).ok().map(|deployment| deployment.container.as_str())
    }
}

/// A client, and where it comes from.
#[derive(Debug, Clone)]
struct Caller {
    client: Arc<PushClient>,
    from: String,
    placement: Placement,
}

/// The pages of the push API.
pub fn router(state: PushState) -> Router {
    Router::new().fallback(answer).with_state(Arc::new(state))
}

async fn answer(
    State(state): State<Arc<PushState>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    let route = Route::of(request.method(), request.uri().path(), request.uri().query());
    let (name, word, force) = match &route {
        Ok(Route::List) => ("", "list", false),
        Ok(Route::Of { name, call: PushCall::Load { force } }) => (name.as_str(), "load", *force),
        Ok(Route::Of { name, call }) => (name.as_str(), call.word(), false),
        Err(_) => ("", "", false),
    };
    let Caller { client, from, .. } = &caller;
    let audited = Audited::new(&state, client, from.clone(), (name, word, force));
    match gate(&state, &caller, request.headers(), route) {
        Err(refusal) => {
            audited.refused(refusal.word, 0);
            refusal.into_response()
        }
        Ok(Route::List) => list(&state, client, audited).await,
        Ok(Route::Of { name, call }) => {
            call_on(&state, &caller, (name, call), request, audited).await
        }
    }
}

/// The gates that need nothing of the agent.
fn gate(
    state: &PushState,
    Caller { client, placement, .. }: &Caller,
    headers: &HeaderMap,
    route: Result<Route, route::NoRoute>,
) -> Result<Route, ApiRefusal> {
    if *placement == Placement::Full {
        let detail = "this client, or all clients together, have too many requests in progress";
        return Err(ApiRefusal::new(StatusCode::TOO_MANY_REQUESTS, "busy", detail));
    }
    // A browser sends the certificate of its user with the request of any page.
    if headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site") {
        let detail = "this API is not for web pages";
        return Err(ApiRefusal::new(StatusCode::FORBIDDEN, "not_allowed", detail));
    }
    let route = route?;
    match &route {
        Route::Of { name, call } => {
            let exists = state.container_of(name).is_some();
            state.permissions.check(client, call.act(), name, exists)?;
        }
        Route::List if !state.permissions.know(client) => {
            let detail = format!("no [[push.allow]] knows {}", client.name());
            return Err(ApiRefusal::new(StatusCode::FORBIDDEN, "not_allowed", detail));
        }
        Route::List => {}
    }
    Ok(route)
}

async fn call_on(
    state: &Arc<PushState>,
    caller: &Caller,
    (deployment, call): (String, PushCall),
    request: Request,
    audited: Audited,
) -> Response {
    let act = match call {
        PushCall::Load { force } => {
            return load::load(state, caller, (deployment, force), request, audited).await;
        }
        PushCall::Show => return show(state, deployment, audited).await,
        PushCall::Layers => {
            let answer = ask(state, ShowLayers { deployment }).await;
            return json(answer.map(|known| LayersDocument::from(&known)), audited);
        }
        PushCall::Log { lines } => {
            let answer = ask(state, ReadLog { deployment, lines }).await;
            return json(answer.map(|lines| LogDocument { lines }), audited);
        }
        PushCall::Start => DeploymentAct::Start,
        PushCall::Stop => DeploymentAct::Stop,
        PushCall::Restart => DeploymentAct::Restart,
        PushCall::Rollback => DeploymentAct::RollBack,
        PushCall::Allow => DeploymentAct::Allow,
    };
    let question = ActOnDeployment { deployment, by: caller.client.name(), act };
    match following::begin(state, question) {
        Ok(followed) => {
            followed.follow(state, audited, following::TakenBody::default()).respond().await
        }
        Err(refusal) => refused(refusal, audited),
    }
}

async fn list(state: &PushState, client: &PushClient, audited: Audited) -> Response {
    let names = state.deployments.iter().map(|deployment| deployment.name.as_str());
    let names = state.permissions.readable(client, names);
    let answer = ask(state, ShowDeployments { names: Some(names) }).await;
    let document = answer.map(|all| {
        let deployments = all.iter().map(DeploymentRow::from).collect();
        DeploymentsDocument { deployments }
    });
    json(document, audited)
}

async fn show(state: &PushState, name: String, audited: Audited) -> Response {
    let answer = ask(state, ShowDeployments { names: Some(vec![name.clone()]) }).await;
    let row = answer.and_then(|all| {
        let none = || PushRefusal::no_such_deployment(&name);
        all.first().map(DeploymentRow::from).ok_or_else(|| none().into())
    });
    json(row, audited)
}

/// Asks what changes nothing.
async fn ask<Q: Question>(state: &PushState, question: Q) -> Result<Q::Answer, ApiRefusal> {
    let answer = state.agent.ask(Asker::Push, question);
    match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
        Ok(answer) => answer.map_err(ApiRefusal::from),
        Err(_) => {
            let detail = "the agent is starting, or the Engine does not answer";
            Err(ApiRefusal::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", detail))
        }
    }
}

fn json(document: Result<impl serde::Serialize, ApiRefusal>, audited: Audited) -> Response {
    match document {
        Ok(document) => {
            audited.ended("done");
            Json(document).into_response()
        }
        Err(refusal) => refused(refusal, audited),
    }
}

fn refused(refusal: ApiRefusal, audited: Audited) -> Response {
    audited.refused(refusal.word, 0);
    refusal.into_response()
}
