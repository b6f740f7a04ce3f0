//! The words of the API's errors, each with its status.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::route::NoRoute;
use crate::agent::{AskError, RoundError};
use crate::core::decide::reason::Reason;
use crate::core::deployment::refusal::{PushRefusal, RefusalWord};
use crate::documents::RefusalDocument;
use crate::output::one_line;

/// When a client that has to wait may try again, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("30");

/// A refused request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiRefusal {
    status: StatusCode,
    pub(super) word: &'static str,
    pub(super) detail: String,
    /// The methods that the path takes.
    methods: Option<&'static str>,
}

impl ApiRefusal {
    pub(super) fn new(status: StatusCode, word: &'static str, detail: impl Into<String>) -> Self {
        Self { status, word, detail: one_line(&detail.into()), methods: None }
    }
}

const fn status(word: RefusalWord) -> StatusCode {
    match word {
        RefusalWord::BadArchive => StatusCode::BAD_REQUEST,
        RefusalWord::NotAllowed => StatusCode::FORBIDDEN,
        RefusalWord::NoSuchDeployment => StatusCode::NOT_FOUND,
        RefusalWord::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        RefusalWord::Busy => StatusCode::TOO_MANY_REQUESTS,
        RefusalWord::NotReady => StatusCode::SERVICE_UNAVAILABLE,
        RefusalWord::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
        RefusalWord::EngineError => StatusCode::INTERNAL_SERVER_ERROR,
        RefusalWord::Held(Reason::PlatformMissing | Reason::CannotRecreate) => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        RefusalWord::NoSuchContainer
        | RefusalWord::UpdateInFlight
        | RefusalWord::LayersMissing
        | RefusalWord::Held(_) => StatusCode::CONFLICT,
    }
}

impl From<PushRefusal> for ApiRefusal {
    fn from(PushRefusal { word, detail }: PushRefusal) -> Self {
        // The deployment that is loaded may be one that this client may not know.
        let detail = match word {
            RefusalWord::Busy => "another image is being loaded; try again after it".to_owned(),
            _ => detail,
        };
        Self::new(status(word), word.word(), detail)
    }
}

impl From<AskError> for ApiRefusal {
    fn from(error: AskError) -> Self {
        let word = match error {
            AskError::Push(refusal) => return refusal.into(),
            AskError::No { reason, .. } => RefusalWord::Held(reason),
            AskError::Round(RoundError::AnotherAgent(_)) => RefusalWord::NotReady,
            AskError::Round(_) => RefusalWord::EngineError,
            AskError::NothingBefore { .. } => {
                return Self::new(StatusCode::CONFLICT, "nothing_before", error.to_string());
            }
            AskError::LeftOpen(_) | AskError::UpdateLeftOpen(_) => RefusalWord::UpdateInFlight,
            AskError::TooMany => RefusalWord::Busy,
            AskError::NotTaken | AskError::Ended => RefusalWord::NotReady,
        };
        Self::new(status(word), word.word(), error.to_string())
    }
}

impl From<NoRoute> for ApiRefusal {
    fn from(why: NoRoute) -> Self {
        match why {
            NoRoute::NotFound => {
                let detail = "this address has /v1/deployments and the paths below it";
                Self::new(StatusCode::NOT_FOUND, "not_found", detail)
            }
            NoRoute::Method(methods) => Self {
                methods: Some(methods),
                ..Self::new(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "method_not_allowed",
                    format!("use {methods}"),
                )
            },
            NoRoute::Query(why) => Self::new(StatusCode::BAD_REQUEST, "bad_request", why),
        }
    }
}

impl IntoResponse for ApiRefusal {
    fn into_response(self) -> Response {
        let document = RefusalDocument { error: self.word.to_owned(), detail: self.detail };
        let mut response = (self.status, Json(document)).into_response();
        if let Some(methods) = self.methods {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
        }
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response
    }
}
