//! What a request asks for, from its method, its path and its query.

use axum::http::Method;

use crate::agent::LOG_LINES_MAX;
use crate::core::push::permission::PushAct;

/// Lines of a log if the request names no number.
const LOG_LINES: usize = 100;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// All deployments that the client may see.
    List,
    Of {
        name: String,
        call: PushCall,
    },
}

/// What is asked of one deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PushCall {
    Show,
    Layers,
    Log { lines: usize },
    Load { force: bool },
    Start,
    Stop,
    Restart,
    Rollback,
    Allow,
}

/// Why a request asks for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoRoute {
    /// There is nothing at this path.
    NotFound,
    /// The path takes these methods.
    Method(&'static str),
    /// A value in the query.
    Query(&'static str),
}

impl PushCall {
    /// The act that the client needs a rule for.
    pub(super) const fn act(self) -> PushAct {
        match self {
            Self::Show | Self::Log { .. } => PushAct::Read,
            Self::Layers | Self::Load { .. } => PushAct::Load,
            Self::Start => PushAct::Start,
            Self::Stop => PushAct::Stop,
            Self::Restart => PushAct::Restart,
            Self::Rollback => PushAct::Rollback,
            Self::Allow => PushAct::Allow,
        }
    }

    /// The word in the audit and in the metric.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Layers => "layers",
            Self::Log { .. } => "log",
            other => other.act().word(),
        }
    }
}

impl Route {
    pub(super) fn of(method: &Method, path: &str, query: Option<&str>) -> Result<Self, NoRoute> {
        let path = path.strip_prefix("/v1/").ok_or(NoRoute::NotFound)?;
        let parts: Vec<_> = path.split('/').collect();
        let (name, action) = match *parts.as_slice() {
            ["deployments"] => return read(method).map(|()| Self::List),
            ["deployments", name] => (name, ""),
            ["deployments", name, action] => (name, action),
            [name, "load"] => (name, "load"),
            _ => return Err(NoRoute::NotFound),
        };
        let call = match action {
            "" => read(method).map(|()| PushCall::Show)?,
            "layers" => read(method).map(|()| PushCall::Layers)?,
            "log" => read(method).and_then(|()| Ok(PushCall::Log { lines: lines(query)? }))?,
            "load" if [Method::POST, Method::PUT].contains(method) => {
                PushCall::Load { force: force(query)? }
            }
            "load" => return Err(NoRoute::Method("POST, PUT")),
            "start" => post(method, PushCall::Start)?,
            "stop" => post(method, PushCall::Stop)?,
            "restart" => post(method, PushCall::Restart)?,
            "rollback" => post(method, PushCall::Rollback)?,
            "allow" => post(method, PushCall::Allow)?,
            _ => return Err(NoRoute::NotFound),
        };
        Ok(Self::Of { name: name.to_owned(), call })
    }
}

fn read(method: &Method) -> Result<(), NoRoute> {
    if *method == Method::GET { Ok(()) } else { Err(NoRoute::Method("GET")) }
}

fn post(method: &Method, call: PushCall) -> Result<PushCall, NoRoute> {
    if *method == Method::POST { Ok(call) } else { Err(NoRoute::Method("POST")) }
}

fn value<'a>(query: Option<&'a str>, key: &str) -> Option<&'a str> {
    let pairs = query.unwrap_or_default().split('&');
    pairs.filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == key).map(|it| it.1)
}

fn force(query: Option<&str>) -> Result<bool, NoRoute> {
    match value(query, "force") {
        None | Some("0" | "false") => Ok(false),
        Some("1" | "true") => Ok(true),
        Some(_) => Err(NoRoute::Query("force is 1 or 0")),
    }
}

fn lines(query: Option<&str>) -> Result<usize, NoRoute> {
    let Some(text) = value(query, "lines") else { return Ok(LOG_LINES) };
    let number = text.parse().ok().filter(|number| (1..=LOG_LINES_MAX).contains(number));
    number.ok_or(NoRoute::Query("lines is a number from 1 to 1000"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(method: &str, uri: &str) -> Result<Route, NoRoute> {
        let uri: axum::http::Uri = uri.parse().expect("a URI");
        Route::of(&method.parse().expect("a method"), uri.path(), uri.query())
    }

    fn of(name: &str, call: PushCall) -> Result<Route, NoRoute> {
        Ok(Route::Of { name: name.to_owned(), call })
    }

    #[test]
    fn every_path_is_understood() {
        let load = PushCall::Load { force: false };
        for (method, uri, expected) in [
            ("GET", "/v1/deployments", Ok(Route::List)),
            ("GET", "/v1/deployments/till", of("till", PushCall::Show)),
            ("GET", "/v1/deployments/load", of("load", PushCall::Show)),
            ("GET", "/v1/deployments/till/layers", of("till", PushCall::Layers)),
            ("GET", "/v1/deployments/till/log", of("till", PushCall::Log { lines: 100 })),
            ("GET", "/v1/deployments/till/log?a=b&lines=7", of("till", PushCall::Log { lines: 7 })),
            ("POST", "/v1/deployments/till/load", of("till", load)),
            ("PUT", "/v1/deployments/till/load?force=0", of("till", load)),
            ("POST", "/v1/till/load", of("till", load)),
            ("PUT", "/v1/till/load?force=1", of("till", PushCall::Load { force: true })),
            ("POST", "/v1/deployments/till/start", of("till", PushCall::Start)),
            ("POST", "/v1/deployments/till/stop", of("till", PushCall::Stop)),
            ("POST", "/v1/deployments/till/restart", of("till", PushCall::Restart)),
            ("POST", "/v1/deployments/till/rollback", of("till", PushCall::Rollback)),
            ("POST", "/v1/deployments/till/allow", of("till", PushCall::Allow)),
        ] {
            assert_eq!(route(method, uri), expected, "{method} {uri}");
        }
    }

    #[test]
    fn what_is_no_request_says_why() {
        for (method, uri, expected) in [
            ("GET", "/", NoRoute::NotFound),
            ("GET", "/metrics", NoRoute::NotFound),
            ("GET", "/v1/till", NoRoute::NotFound),
            ("POST", "/v1/deployments/till/load/", NoRoute::NotFound),
            ("POST", "/v1/deployments/till/dance", NoRoute::NotFound),
            ("GET", "/v1/deployments/till/load", NoRoute::Method("POST, PUT")),
            ("DELETE", "/v1/deployments/till", NoRoute::Method("GET")),
            ("PUT", "/v1/deployments/till/stop", NoRoute::Method("POST")),
            ("POST", "/v1/till/load?force=yes", NoRoute::Query("force is 1 or 0")),
            (
                "GET",
                "/v1/deployments/till/log?lines=0",
                NoRoute::Query("lines is a number from 1 to 1000"),
            ),
        ] {
            assert_eq!(route(method, uri), Err(expected), "{method} {uri}");
        }
    }

    #[test]
    fn what_a_client_needs_a_rule_for() {
        assert_eq!(PushCall::Layers.act(), PushAct::Load);
        assert_eq!((PushCall::Layers.word(), PushCall::Show.word()), ("layers", "read"));
        assert_eq!(PushCall::Log { lines: 1 }.act(), PushAct::Read);
    }
}
